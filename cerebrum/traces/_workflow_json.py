"""JSON of a workflow, by column: a wrong value is named by line, field and task.

A file of a size that people write is read strictly (no key twice, syntax errors with their
line). A larger one, which a program wrote, goes through the fastest parser at hand, where the
last of two equal keys wins. Values are checked by column; the row is looked up only on error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from cerebrum.model.errors import TraceError
from cerebrum.traces import _files
from cerebrum.traces._fields import field_name, shown
from cerebrum.traces._workflow_build import no_such, short
from cerebrum.traces._workflow_names import Ids, numbered
from cerebrum.traces._yaml import Data, Key, Source

MAX_JSON_BYTES = 2**30
"""Bytes of JSON one workflow may hold: a million tasks with their files."""
STRICT_BYTES = 2**22
"""Up to this size a file is read strictly."""
LINES_BYTES = 2**20
"""Up to this size an error's line is looked up, which takes longer than reading."""

Row = dict[str, Any]
_LINE = re.compile(r" at line (\d+) column \d+$")


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON object and where it came from."""

    path: Path
    data: bytes
    root: Row

    @classmethod
    def load(cls, path: Path, data: bytes) -> Document:
        """Parse a file's text; `TraceError` for anything but one object."""
        if len(data) > MAX_JSON_BYTES:
            raise TraceError(f"expected at most {MAX_JSON_BYTES:,} bytes").at(path)
        small = len(data) <= STRICT_BYTES
        root = _parse_strictly(path, data) if small else _parse_fast(path, data)
        if not isinstance(root, dict):
            raise TraceError(f"expected an object, got {shown(root)}").at(path)
        return cls(path, data, cast(Row, root))

    def error(self, problem: str, *keys: Key) -> TraceError:
        """A problem at `keys`, to be raised."""
        line = None
        if len(self.data) <= LINES_BYTES:
            source = Source(self.path, self.data.decode("utf-8", "replace"))
            line = source.line(0, keys) if keys else None
        return TraceError(problem).at(self.path, line, field_name(keys))

    def get(self, *keys: str) -> Data:
        """The value at `keys`, None when any part is absent; each part must be an object."""
        here: Data = self.root
        for depth, key in enumerate(keys):
            if not isinstance(here, dict):
                raise self.error(f"expected an object, got {shown(here)}", *keys[:depth])
            here = cast(Row, here).get(key)
            if here is None:
                return None
        return here

    def text(self, *keys: str, default: str) -> str:
        """A text, or the default when it is absent."""
        value = self.get(*keys)
        if value is not None and not isinstance(value, str):
            raise self.error(f"expected text, got {shown(value)}", *keys)
        return default if value is None else value

    def object(self, *keys: str) -> Row:
        """An object; empty when it is absent."""
        value = self.get(*keys)
        if value is not None and not isinstance(value, dict):
            raise self.error(f"expected an object, got {shown(value)}", *keys)
        return cast(Row, value or {})

    def has(self, *keys: str) -> bool:
        """Whether there is an object that is not empty."""
        return bool(self.object(*keys))

    def rows(self, *keys: str) -> Rows:
        """A list of objects, as columns; empty when it is absent."""
        value = self.get(*keys)
        if value is None:
            return Rows(self, keys, [])
        if not isinstance(value, list):
            raise self.error(f"expected a list, got {shown(value)}", *keys)
        rows = cast(list[Row], value)
        if set(map(type, rows)) - {dict}:
            wrong = next(i for i, row in enumerate(rows) if type(row) is not dict)
            raise self.error(f"expected an object, got {shown(rows[wrong])}", *keys, wrong)
        return Rows(self, keys, rows)

    def index(self, names: list[str]) -> Mapping[str, int]:
        """Name -> place; of equal names the last one's, so that it is shorter than `names`."""
        return dict(zip(names, range(len(names)), strict=True))


@dataclass(frozen=True, slots=True)
class Rows:
    """A list of objects, read by column. `what` and the text under `id` name a row in errors."""

    document: Document
    keys: tuple[Key, ...]
    values: list[Row]
    what: str = "task"

    def __len__(self) -> int:
        return len(self.values)

    def error(self, row: int, problem: str, *keys: Key) -> TraceError:
        """A problem in one row, to be raised."""
        name = self.values[row].get("id")
        who = f"{self.what} {short(name)}: " if isinstance(name, str) else ""
        return self.document.error(f"{who}{problem}", *self.keys, row, *keys)

    def has(self, name: str) -> bool:
        """Whether any row has a value under this name; null means absent."""
        return any(row.get(name) is not None for row in self.values)

    def texts(self, name: str) -> list[str]:
        """A text in every row."""
        found = self._column(name)
        self._check_types(found, name, {str}, "text")
        return cast(list[str], found)

    def lists(self, name: str) -> tuple[Ids, list[str]]:
        """`(row, text)` of every text in the rows' lists; an absent list is empty."""
        rows, lists = self._listed(name)
        flat = list(chain.from_iterable(lists))
        if set(map(type, flat)) - {str}:
            wrong = next(i for i, x in enumerate(flat) if type(x) is not str)
            problem = f"expected text, got {shown(flat[wrong])}"
            raise self.error(int(rows[wrong]), problem, name, _place(rows, wrong))
        return rows, cast(list[str], flat)

    def link(self, name: str, index: Mapping[str, int], what: str = "task") -> Ids:
        """The number in `index` of the text in every row."""
        texts = self.texts(name)
        try:
            return numbered(texts, index, len(texts))
        except KeyError:
            row = next(i for i, text in enumerate(texts) if text not in index)
            raise self.error(row, no_such(texts[row], index, what), name) from None

    def links(
        self, name: str, index: Mapping[str, int], what: str = "task", most: float = math.inf
    ) -> tuple[Ids, Ids]:
        """`(row, number)` of every text in the rows' lists, its number looked up in `index`."""
        rows, texts = self.lists(name)
        self._check_total(name, len(texts), most)
        try:
            return rows, numbered(texts, index, len(texts))
        except KeyError:
            wrong = next(i for i, text in enumerate(texts) if text not in index)
            problem = no_such(texts[wrong], index, what)
            raise self.error(int(rows[wrong]), problem, name, _place(rows, wrong)) from None

    def numbers(self, name: str, high: float, default: float | None = None) -> NDArray[np.float64]:
        """A finite number 0..high in every row; None as `default`: it must be there."""
        found = self._column(name)
        if default is not None and None in found:  # null means absent
            found = [default if x is None else x for x in found]
        self._check_types(found, name, {int, float}, "a number")
        try:
            values = np.fromiter(cast(list[float], found), np.float64, len(found))
        except OverflowError:
            values = np.asarray([_as_float(x) for x in found], np.float64)
        wrong = ~((values >= 0) & (values <= high))
        if wrong.any():
            row = int(np.argmax(wrong))
            got = shown(found[row])
            raise self.error(row, f"expected a finite number 0..{high:g}, got {got}", name)
        return values

    def _listed(self, name: str) -> tuple[Ids, list[list[Data]]]:
        """The lists under one key, and for each of their elements the row it stands in."""
        found = self._column(name)
        self._check_types(found, name, {list, type(None)}, "a list")
        lists = cast(list[list[Data]], found)
        try:
            counts = np.fromiter(map(len, lists), np.int64, len(lists))
        except TypeError:  # some are None
            empty: list[Data] = []
            lists = [some or empty for some in lists]
            counts = np.fromiter(map(len, lists), np.int64, len(lists))
        return np.repeat(np.arange(len(lists)), counts), lists

    def _check_total(self, name: str, found: int, most: float) -> None:
        if found > most:
            problem = f"{name}: expected at most {most:,} in all, found {found:,}"
            raise self.document.error(problem, *self.keys)

    def _column(self, name: str) -> list[Data]:
        """The values under one key; None where there is none."""
        try:
            return list(map(itemgetter(name), self.values))
        except KeyError:
            return [row.get(name) for row in self.values]

    def _check_types(self, found: list[Data], name: str, types: set[type], what: str) -> None:
        if not set(map(type, found)) - types:
            return
        row = next(i for i, value in enumerate(found) if type(value) not in types)
        got = "found nothing" if found[row] is None else f"got {shown(found[row])}"
        raise self.error(row, f"expected {what}, {got}", name)


def _place(rows: Ids, wrong: int) -> int:
    """Where in its row's list an element stands, the rows being sorted."""
    return wrong - int(np.searchsorted(rows, int(rows[wrong])))


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _parse_strictly(path: Path, data: bytes) -> Data:
    """NaN and infinities pass here: whoever reads the number knows whose it is."""
    text = _files.decode(path, data)
    try:
        return json.loads(text, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        raise TraceError(f"not valid JSON: {error.msg}").at(path, error.lineno) from None
    except RecursionError:
        raise TraceError("not valid JSON: nested too deep").at(path) from None
    except ValueError as error:
        Source(path, text).documents()  # says on which line a key stands twice
        raise TraceError(f"not valid JSON: {error}").at(path) from None


def _no_twins(pairs: list[tuple[str, Data]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _parse_fast(path: Path, data: bytes) -> Data:
    parse = cast(Callable[..., Data], from_json)
    try:
        return parse(data, allow_inf_nan=True, cache_strings="all")
    except (ValueError, RecursionError) as error:
        problem = str(error)
        at = _LINE.search(problem)
        line = int(at[1]) if at else None
        raise TraceError(f"not valid JSON: {_LINE.sub('', problem)}").at(path, line) from None
