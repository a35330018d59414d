"""Checkpoints of training: arrays and plain facts in one `.safetensors` file, written whole or not.

No pickle: a checkpoint from elsewhere can be wrong, but it cannot run anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]

from cerebrum.model.errors import ConfigError, InputError


def save(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write beside `path`, then put in its place: a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    beside = path.with_suffix(path.suffix + ".part")
    save_file(whole, str(beside), metadata={"facts": json.dumps(facts)})
    beside.replace(path)


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What `save` wrote. Raises `InputError`."""
    try:
        opened: Any = safe_open(str(path), framework="numpy")
        with opened as file:
            facts: dict[str, Any] = json.loads(str(file.metadata()["facts"]))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as problem:
        raise InputError(f"expected a checkpoint of training: {problem}").at(str(path)) from problem


def load_of(path: Path, settings: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """`load`, where the fact `settings` is that of a dataclass. Raises `ConfigError` otherwise."""
    arrays, facts = load(path)
    if facts["settings"] != json.loads(json.dumps(asdict(settings))):
        raise ConfigError("the checkpoint is of a run with other settings").at(str(path))
    return arrays, facts
