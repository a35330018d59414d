"""How a decomposer or an assigner is found: by name, in a file, or as an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cerebrum.model.errors import ConfigError, UnknownName, nearest
from cerebrum.model.literals import literal
from cerebrum.policies import loading
from cerebrum.policies.scorers import resolve


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
    found = resolve(table[name])
    return _finished(found, name, method, {**_inline(name, rest), **options})


def _inline(name: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"expected {name}:key=value, got {part!r}").at(field=name)
        options[key.strip()] = literal(value.strip())
    return options


def _finished(found: Any, name: str, method: str, options: dict[str, Any]) -> Any:
    """An object with the method; a class or function is called with the options."""
    if inspect.isclass(found) or (callable(found) and not hasattr(found, method)):
        known = list(inspect.signature(found).parameters)
        _refuse(name, options, known)
        try:
            found = found(**options)
        except TypeError as problem:
            raise ConfigError(f"cannot be made with {options or 'no options'}: {problem}").at(
                field=name
            ) from problem
    else:
        _refuse(name, options, [])
    if not callable(getattr(found, method, None)):
        raise ConfigError(f"expected an object with {method}(...), got {found!r}").at(field=name)
    return found


def _refuse(name: str, options: dict[str, Any], known: list[str]) -> None:
    for option in options:
        if option not in known:
            near = nearest(option, known)
            takes = ", ".join(known) or "none"
            hint = f"did you mean {near!r}?" if near else f"it takes {takes}"
            raise ConfigError(f"no option {option!r}: {hint}").at(field=name)
