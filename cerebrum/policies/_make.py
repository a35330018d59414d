"""How a decomposer or an assigner is found: by name, in a file, or as an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.options import parse_options, refuse_unknown, resolve
from cerebrum.policies import loading


def make(
    kind: str, table: Mapping[str, str], method: str, source: Any, options: dict[str, Any]
) -> Any:
    """`get_decomposer` and `get_assigner`: `method` is what the object must have."""
    if not isinstance(source, str | Path):
        return _finished(source, kind, method, options)
    text = str(source)
    if loading.names_file(text):
        try:
            return _finished(loading.load(text), kind, method, options)
        except ConfigError as problem:
            problem.at(text.rpartition(":")[0])
            raise
    head, _, rest = text.partition(":")
    name = head.replace("_", "-").lower()
    if name not in table:
        raise UnknownName(kind, head, table)
    given = parse_options(rest, f"{name}:key=value", field=name)
    return _finished(resolve(table[name]), name, method, {**given, **options})


def _finished(found: Any, name: str, method: str, options: dict[str, Any]) -> Any:
    """An object with the method; a class or function is called with the options."""
    if inspect.isclass(found) or (callable(found) and not hasattr(found, method)):
        known = list(inspect.signature(found).parameters)
        refuse_unknown(options, known, field=name)
        try:
            found = found(**options)
        except TypeError as problem:
            raise ConfigError(f"cannot be made with {options or 'no options'}: {problem}").at(
                field=name
            ) from problem
    else:
        refuse_unknown(options, [], field=name)
    if not callable(getattr(found, method, None)):
        raise ConfigError(f"expected an object with {method}(...), got {found!r}").at(field=name)
    return found
