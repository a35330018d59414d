"""Traces in, scenarios out: `read(path)` recognises the format by what the file holds.

A format is one module with `DESCRIPTION`, `EXTENSIONS`, `sniff(path, head)`,
`read(path, **options)` and, where it can be written, `write(scenario, path)`. Adding one is a
module and a line below.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, Protocol, cast

from cerebrum.model.errors import ConfigError, TraceError, UnknownName
from cerebrum.model.options import parse_options, refuse_unknown
from cerebrum.model.scenario import Scenario
from cerebrum.traces import _files

FORMATS = {
    "table": "cerebrum.traces.table",
    "openb": "cerebrum.traces.openb",
    "simon": "cerebrum.traces.simon",
    "kubernetes": "cerebrum.traces.kubernetes",
    "gaia": "cerebrum.traces.gaia",
    "carbon_csv": "cerebrum.traces.carbon_csv",
    "swf": "cerebrum.traces.swf",
    "ecsched": "cerebrum.traces.ecsched",
    "synthetic": "cerebrum.traces.synthetic",
}
"""Format name -> module. The order is the order in which `detect` asks."""

GENERATED = {"synthetic": "synthetic", "openb-like": "synthetic"}
"""Names that stand for a scenario without a file -> the format that makes it."""


class Format(Protocol):
    """What a format's module offers. `write` is optional: see `writable`."""

    DESCRIPTION: str
    EXTENSIONS: tuple[str, ...]

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether the text that begins with `head` (b"" for a folder) is in this format."""
        ...

    def read(self, path: Path, **options: Any) -> Scenario:
        """The scenario in the file or folder."""
        ...

    def write(self, scenario: Scenario, path: Path) -> None:
        """Write the scenario's nodes and tasks."""
        ...


def load_format(name: str) -> Format:
    """The module behind a format's name; `UnknownName` with the nearest one otherwise."""
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    return cast(Format, importlib.import_module(FORMATS[name]))


def detect(path: Path) -> str:
    """The name of the format of a file or folder; `TraceError` when none claims it."""
    head = _files.head(path)
    try:
        for name in FORMATS:
            if load_format(name).sniff(path, head):
                return name
    except OSError as error:
        raise TraceError(f"cannot be read: {error.strerror or error}").at(path) from None
    _files.refuse_other_kinds(path, head)
    known = ", ".join(FORMATS)
    raise TraceError(f"not recognised; name its format, one of {known}").at(path)


def read(path: str | Path, format: str | None = None, **options: Any) -> Scenario:
    """The scenario at `path`, or the one a name such as `openb-like` stands for.

    `openb-like:nodes=100,seed=7` gives a generated scenario its options. `format` skips detection;
    other options are the format's own. Raises `TraceError` with path, line and field.
    """
    generated = _generated(path) if format is None else None
    if generated is not None:
        name, path, given = generated
        options = {**given, **options}
    else:
        name = format or detect(Path(path))
    module = load_format(name)
    _check_options(name, module, options)
    return module.read(Path(path), **options)


def writable(name: str) -> bool:
    """Whether the format can be written."""
    return hasattr(load_format(name), "write")


def write(scenario: Scenario, path: str | Path, format: str) -> None:
    """Write the scenario in a format that can be written."""
    module = load_format(format)
    if not writable(format):
        able = ", ".join(name for name in FORMATS if writable(name))
        raise ConfigError(f"format {format!r} can be read but not written: choose one of {able}")
    module.write(scenario, Path(path))


def _generated(path: str | Path) -> tuple[str, Path, dict[str, Any]] | None:
    """Format, name and options of `name:key=value,...`, unless a file of that name exists."""
    name, _, rest = str(path).partition(":")
    if name not in GENERATED or Path(path).exists():
        return None
    options = parse_options(rest, f"{name}:key=value,key=value")
    return GENERATED[name], Path(name), options


def _check_options(name: str, module: Format, options: dict[str, Any]) -> None:
    known = list(inspect.signature(module.read).parameters)[1:]
    refuse_unknown(options, known, of=f"format {name!r}")
