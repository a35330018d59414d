"""A large WfFormat file, decoded straight into the fields that are read.

Three times as fast as a tree of dicts, in half the memory, but it cannot say where something is
wrong. It only has to notice: whatever fails here is read again by `_workflow_json`, which names
file, task and field, or accepts what this is too strict for. What passes both must be the same
workflow; a property test holds them to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import msgspec

from cerebrum.model.errors import TraceError
from cerebrum.traces._workflow_json import Document, Rows
from cerebrum.traces._workflow_names import HashedNames, Ids, numbered
from cerebrum.traces._yaml import Data, Key


# The names are WfFormat's. Without gc, as none of these can be part of a cycle.
class _Task(msgspec.Struct, gc=False):
    id: str
    parents: list[str] | None = None
    children: list[str] | None = None
    inputFiles: list[str] | None = None
    outputFiles: list[str] | None = None


class _File(msgspec.Struct, gc=False):
    id: str
    sizeInBytes: float


class _Run(msgspec.Struct, gc=False):
    id: str
    runtimeInSeconds: float
    coreCount: float | None = None
    memoryInBytes: float | None = None


class _Machine(msgspec.Struct, gc=False):
    """Nothing of it is read."""


class _Specification(msgspec.Struct):
    tasks: list[_Task]
    files: list[_File] | None = None


class _Execution(msgspec.Struct):
    tasks: list[_Run]
    machines: list[_Machine] | None = None


class _Workflow(msgspec.Struct):
    specification: _Specification
    execution: _Execution | None = None


class _Root(msgspec.Struct):
    schemaVersion: str
    workflow: _Workflow
    name: str | None = None


_DECODER = msgspec.json.Decoder(_Root)


@dataclass(frozen=True, slots=True)
class TypedDocument(Document):
    """A WfFormat document of which only the wanted fields were kept, each of the right type."""

    @classmethod
    def load(cls, path: Path, data: bytes) -> TypedDocument:
        """Decode a file's text; a `TraceError` without details when it does not fit."""
        try:
            if not data.isascii():
                data.decode()  # the decoder does not look into texts that are left out
            root = _DECODER.decode(data)
        except (ValueError, RecursionError) as error:  # what msgspec raises is a ValueError
            raise TraceError(f"does not fit: {error}").at(path) from None
        return cls(path, data, cast(dict[str, Any], root))

    def error(self, problem: str, *keys: Key) -> TraceError:
        """Whatever it is, it will be read again."""
        return TraceError(problem).at(self.path)

    def get(self, *keys: str) -> Data:
        """The value at `keys`, None when any part is absent."""
        here: Data = self.root
        for key in keys:
            here = getattr(here, key, None)
        return here

    def has(self, *keys: str) -> bool:
        """Whether there is an object that is not empty."""
        return self.get(*keys) is not None

    def rows(self, *keys: str) -> TypedRows:
        """A list of structs, as columns; empty when it is absent."""
        return TypedRows(self, keys, self.get(*keys) or [])

    def index(self, names: list[str]) -> HashedNames:
        """Name -> place; equal names are refused."""
        try:
            return HashedNames(names)
        except ValueError as error:
            raise self.error(str(error)) from None


@dataclass(frozen=True, slots=True)
class TypedRows(Rows):
    """Structs, read by column. Their types were checked when they were decoded."""

    def error(self, row: int, problem: str, *keys: Key) -> TraceError:
        """Whatever it is, it will be read again."""
        return self.document.error(problem)

    def has(self, name: str) -> bool:
        """Whether any row has a value under this name."""
        return any(value is not None for value in self._column(name))

    def link(self, name: str, index: Mapping[str, int], what: str = "task") -> Ids:
        """The number in `index` of the text in every row."""
        try:
            return numbered(self.texts(name), index, len(self))
        except KeyError:
            raise self.error(0, f"there is no such {what}", name) from None

    def links(
        self, name: str, index: Mapping[str, int], what: str = "task", most: float = math.inf
    ) -> tuple[Ids, Ids]:
        """`(row, number)` of every text in the rows' lists, its number looked up in `index`."""
        rows, lists = self._listed(name)
        self._check_total(name, len(rows), most)
        try:
            return rows, numbered(chain.from_iterable(lists), index, len(rows))
        except KeyError:
            raise self.error(0, f"there is no such {what}", name) from None

    def _column(self, name: str) -> list[Data]:
        return list(map(attrgetter(name), self.values))

    def _check_types(self, found: list[Data], name: str, types: set[type], what: str) -> None:
        pass
