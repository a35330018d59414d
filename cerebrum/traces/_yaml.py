"""YAML and JSON from strangers, as plain data: bounded, no tags, every value's line on demand.

libyaml's event stream is composed here without recursion, so depth, size and aliases are bounded
before anything is built: an alias costs what it stands for, which is what stops "billion laughs".
Only what every version of YAML reads as a number is one: 1e3, 012, 1_000 and yes are text. Lines
are not kept while reading; when an error needs one, the text is composed a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from cerebrum.model.errors import TraceError
from cerebrum.traces import _files

MAX_YAML_BYTES = 2**28
"""Bytes of YAML or JSON one file may hold."""
MAX_DEPTH = 64
"""How deep mappings and lists may be nested."""
MAX_VALUES = 20_000_000
"""Values one file may hold, counting what aliases stand for."""

Key = str | int
Data = Any
"""None, bool, int, float, str, list or dict with text keys."""

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL = re.compile(r"[-+]?0[0-9]")
_FLOAT = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]{1,3})?")
_WORDS: dict[str, Data] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))


class Source:
    """One file's documents, and where in the file a value stands."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = _files.read_text(path, MAX_YAML_BYTES) if text is None else text

    def documents(self) -> list[Data]:
        """Every document, in order; an empty one is None."""
        if self.text.lstrip()[:1] == "{":
            return [self._json()]
        return list(_Composer(self.path, self.text).documents())

    def line(self, document: int, keys: Sequence[Key]) -> int | None:
        """The line, from 1, of the value (or of the nearest thing around it)."""
        composer = _Composer(self.path, self.text, positions=True)
        try:
            for number, data in enumerate(composer.documents()):
                if number == document:
                    return composer.find(data, keys)
        except TraceError:
            pass
        return None

    def _json(self) -> Data:
        try:
            return json.loads(
                self.text, object_pairs_hook=self._no_twins, parse_constant=self._no_constant
            )
        except json.JSONDecodeError as error:
            problem, line = f"not valid JSON: {error.msg}", error.lineno
        except (RecursionError, ValueError) as error:
            problem, line = f"not valid JSON: {error}", None
        if line is None or not self.path.name.removesuffix(".gz").endswith(".json"):
            documents = list(_Composer(self.path, self.text).documents())
            if line is not None and len(documents) == 1:
                return documents[0]
        raise TraceError(problem).at(self.path, line)

    def _no_twins(self, pairs: list[tuple[str, Data]]) -> dict[str, Data]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twin = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {twin!r} stands twice in one object")
        return found

    def _no_constant(self, name: str) -> Data:
        raise ValueError(f"{name} is not a number")


@dataclass(slots=True)
class _Open:
    """A mapping or list that is not complete yet; `size` counts its values, aliases expanded."""

    value: Data
    is_list: bool
    anchor: str | None
    key: str | None = None
    merges: bool = False
    size: int = 1
    merged: list[Data] = field(default_factory=list[Data])


class _Composer:
    """Builds documents from events. With `positions`, notes the line of every key and item."""

    def __init__(self, path: Path, text: str, positions: bool = False) -> None:
        self.path = path
        self.text = text
        self.lines: dict[tuple[int, Key], int] | None = {} if positions else None
        self.values = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Data, int] | None] = {}

    def documents(self) -> Iterator[Data]:
        """The documents of the stream, one after the other."""
        parser = yaml.CSafeLoader(self.text)
        try:
            while parser.check_event():
                if isinstance(parser.get_event(), yaml.DocumentStartEvent):
                    self.anchors = {}
                    yield self._document(parser)
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from None
        finally:
            parser.dispose()

    def find(self, data: Data, keys: Sequence[Key]) -> int | None:
        """The line of the deepest part of `keys` that exists."""
        assert self.lines is not None
        line = self.lines.get((id(data), -1))
        for key in keys:
            line = self.lines.get((id(data), key), line)
            try:
                data = data[key]
            except (KeyError, IndexError, TypeError):
                break
        return line

    def _document(self, parser: Any) -> Data:
        while True:
            event = parser.get_event()
            kind = cast(Any, type(event))
            if kind is yaml.ScalarEvent:
                value, size = self._scalar(event), 1
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open({} if kind is yaml.MappingStartEvent else [], event)
                continue
            elif kind is yaml.AliasEvent:
                value, size = self._alias(event)
            elif kind is yaml.DocumentEndEvent:
                return None
            else:
                value, size = self._close(), 0
            self.values += size
            if self.values > MAX_VALUES:
                raise self._error(f"expected at most {MAX_VALUES:,} values, aliases counted", event)
            if not self.stack:
                parser.get_event()
                return value
            self._add(value, size, event)

    def _open(self, value: Data, event: Any) -> None:
        self._check_tag(event)
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(f"expected at most {MAX_DEPTH} levels of nesting", event)
        if self.stack and self.lines is not None:
            self._mark(self.stack[-1], event)
        elif self.lines is not None:
            self.lines[id(value), -1] = event.start_mark.line + 1
        self.values += 1
        self.stack.append(_Open(value, isinstance(value, list), event.anchor))
        if event.anchor:
            self.anchors[event.anchor] = None

    def _close(self) -> Data:
        done = self.stack.pop()
        for mapping in done.merged:
            for key, value in mapping.items():
                done.value.setdefault(key, value)
        if self.stack:
            self.stack[-1].size += done.size
        if done.anchor:
            self.anchors[done.anchor] = (done.value, done.size)
        return done.value

    def _add(self, value: Data, size: int, event: Any) -> None:
        """Put a complete value into the mapping or list it stands in."""
        parent = self.stack[-1]
        parent.size += size
        if parent.is_list:
            if self.lines is not None and size:
                self._mark(parent, event)
            parent.value.append(value)
        elif parent.key is None:
            if type(event) is not yaml.ScalarEvent:
                raise self._error("expected a text as key", event)
            parent.key = key = event.value
            parent.merges = key == "<<" and event.style in (None, "")
            if key in parent.value:
                raise self._error(f"the key {key!r} stands twice in one mapping", event)
            if self.lines is not None:
                self._mark(parent, event)
        else:
            key, parent.key = parent.key, None
            if parent.merges:
                parent.merges = False
                parent.merged += self._mappings(value, event)
            else:
                parent.value[key] = value

    def _mark(self, parent: _Open, event: Any) -> None:
        assert self.lines is not None
        key = len(parent.value) if parent.is_list else parent.key
        if key is not None:
            self.lines.setdefault((id(parent.value), key), event.start_mark.line + 1)

    def _mappings(self, value: Data, event: Any) -> list[Data]:
        found = cast(list[Data], value if isinstance(value, list) else [value])
        if not all(isinstance(mapping, dict) for mapping in found):
            raise self._error("expected a mapping to merge with <<", event)
        return found

    def _scalar(self, event: Any) -> Data:
        text = event.value
        if event.style in (None, "") and event.tag is None:
            if text in _WORDS:
                value = _WORDS[text]
            elif _INT.fullmatch(text):
                value = text if _OCTAL.match(text) else int(text)
            elif _FLOAT.fullmatch(text):
                value = float(text)
            else:
                value = text
        else:
            self._check_tag(event)
            value = text
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)
        return value

    def _alias(self, event: Any) -> tuple[Data, int]:
        found = self.anchors.get(event.anchor)
        if found is None:
            problem = "is not defined" if event.anchor not in self.anchors else "contains itself"
            raise self._error(f"the alias *{event.anchor} {problem}", event)
        return found

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _TAGS:
            raise self._error(f"the tag {event.tag!r} is refused: expected plain data", event)

    def _error(self, problem: str, event: Any) -> TraceError:
        return TraceError(problem).at(self.path, event.start_mark.line + 1)

    def _syntax_error(self, error: yaml.YAMLError) -> TraceError:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        if mark is None:
            return TraceError(f"not valid YAML: {problem}").at(self.path)
        return TraceError(f"not valid YAML: {problem} at column {mark.column + 1}").at(
            self.path, mark.line + 1
        )
