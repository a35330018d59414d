"""Typed access to what a document or an object holds: a wrong value is named by line and field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from cerebrum.model.errors import InputError, TraceError, nearest

T = TypeVar("T")
Key = str | int
Data = Any
"""None, bool, int, float, str, list or dict with text keys."""


class Origin(Protocol):
    """Where a document was read from."""

    @property
    def path(self) -> Path:
        """The file, for messages."""
        ...

    def line(self, document: int, keys: Sequence[Key]) -> int | None:
        """The line, from 1, of the value at `keys`."""
        ...


class Fields:
    """A mapping inside a document. Absent and null mean the same, as in Kubernetes."""

    __slots__ = ("data", "document", "keys", "source")

    def __init__(
        self, source: Origin | None, document: int, keys: tuple[Key, ...], data: dict[str, Any]
    ) -> None:
        self.source = source
        self.document = document
        self.keys = keys
        self.data = data

    @classmethod
    def of(cls, data: dict[str, Any]) -> Fields:
        """An object that comes from no file; messages name the field only."""
        return cls(None, 0, (), data)

    def __contains__(self, name: str) -> bool:
        return self.data.get(name) is not None

    def error(self, problem: str, *keys: Key) -> TraceError:
        """A problem at `keys` below this mapping, to be raised."""
        path = (*self.keys, *keys)
        source = self.source
        line = source.line(self.document, path) if source else None
        return TraceError(problem).at(source.path if source else None, line, field_name(path))

    def child(self, name: str) -> Fields:
        """The mapping called `name`; empty when it is absent."""
        return self._below((name,), self._mapping(name))

    def at(self, *names: str) -> Fields:
        """The mapping at the end of a path of names; empty when any is absent."""
        here = self
        for name in names:
            here = here.child(name)
        return here

    def children(self, name: str) -> Iterator[Fields]:
        """The mappings in the list called `name`."""
        for i, item in enumerate(self._list(name)):
            if not isinstance(item, dict):
                raise self.error(f"expected a mapping, got {shown(item)}", name, i)
            yield self._below((name, i), cast(dict[str, Any], item))

    def text(self, name: str, default: str | None = None) -> str:
        """A text; numbers are refused except where they are written as text."""
        value = self.data.get(name)
        if value is None:
            if default is None:
                raise self.error("expected text, found nothing", name)
            return default
        if isinstance(value, str):
            return value
        raise self.error(f"expected text, got {shown(value)}", name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(name)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"expected text, got {shown(value)}", name, i)
        return tuple(values)

    def labels(self, name: str) -> dict[str, str]:
        """A mapping of texts to texts, such as labels; numbers and booleans count as text."""
        found: dict[str, str] = {}
        for key, value in self._mapping(name).items():
            if isinstance(value, (dict, list)):
                raise self.error(f"expected text, got {shown(value)}", name, key)
            found[key] = _as_text(value)
        return found

    def integer(self, name: str, default: int, low: int = 0, high: int = 2**31 - 1) -> int:
        """A whole number within bounds."""
        value = self.data.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(f"expected a whole number {low}..{high}, got {shown(value)}", name)
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A finite number within bounds."""
        value = self.data.get(name)
        if value is None:
            return default
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not low <= value <= high
        ):
            raise self.error(f"expected a number {low:g}..{high:g}, got {shown(value)}", name)
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.data.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.error(f"expected true or false, got {shown(value)}", name)

    def parse(self, name: str, parser: Callable[[Any], T], default: T) -> T:
        """A value through `parser`, whose `InputError` gets its place."""
        value = self.data.get(name)
        if value is None:
            return default
        try:
            return parser(value)
        except InputError as error:
            raise self.error(error.problem, name) from None

    def checked(self, build: Callable[[], T], *keys: Key) -> T:
        """What `build` makes; an `InputError` of it gets the place `keys`."""
        try:
            return build()
        except TraceError:
            raise  # it has its place
        except InputError as error:
            field = error.place.field
            problem = f"{field}: {error.problem}" if field and field not in keys else error.problem
            raise self.error(problem, *keys) from None

    def only(self, names: Sequence[str], kind: str) -> None:
        """Refuse keys that are not among `names`, with the nearest one that is."""
        for key in self.data:
            if key not in names:
                near = nearest(key, names)
                hint = f"did you mean {near!r}?" if near else f"known are {', '.join(names)}"
                raise self.error(f"unknown {kind}: {hint}", key)

    def _below(self, keys: tuple[Key, ...], data: dict[str, Any]) -> Fields:
        return Fields(self.source, self.document, (*self.keys, *keys), data)

    def _mapping(self, name: str) -> dict[str, Any]:
        value: Any = self.data.get(name)
        if value is None or isinstance(value, dict):
            return cast(dict[str, Any], value or {})
        raise self.error(f"expected a mapping, got {shown(value)}", name)

    def _list(self, name: str) -> list[Any]:
        value: Any = self.data.get(name)
        if value is None or isinstance(value, list):
            return cast(list[Any], value or [])
        raise self.error(f"expected a list, got {shown(value)}", name)


def field_name(keys: Sequence[Key]) -> str | None:
    """`spec.containers[0].image`; a key with dots or slashes is quoted in brackets."""
    name = ""
    for key in keys:
        if isinstance(key, int):
            name += f"[{key}]"
        elif key.isidentifier() or key.replace("-", "").isalnum():
            name += f".{key}" if name else key
        else:
            name += f"[{key}]"
    return name or None


def shown(value: Data) -> str:
    """A value in an error message, short."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else _as_text(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _as_text(value: Data) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
