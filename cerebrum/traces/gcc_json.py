"""The JSON that the GCC prototype accepts at `/submit_workflow`.

    {"id": "w", "tasks": [{"id": "a", "image": "nginx", "cpu_req": 100, "mem_req": 128}, ...],
     "dependencies": {"b": ["a"]}, "data_volumes": {"a-b": 256}}

`cpu_req` is thousandths of a core as a number, `mem_req` MiB; as text both are Kubernetes
quantities ("500m", "0.5"; "64Mi"). A key of `data_volumes` joins two ids with a hyphen, in 10^6
bytes; ids may hold hyphens too, so a key is read in the way in which both ends exist. Ours, and
optional: a task's `duration_s`, `command` and `env`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from cerebrum.model import quantity
from cerebrum.model.errors import InputError, TraceError, nearest
from cerebrum.model.program import Program
from cerebrum.traces import _workflow_build as build
from cerebrum.traces._fields import shown
from cerebrum.traces._workflow_json import Document, Row, Rows

DESCRIPTION = "the GCC prototype's JSON (/submit_workflow)"
KEYS = ("id", "tasks", "dependencies", "data_volumes")
TASK_KEYS = ("id", "image", "cpu_req", "mem_req", "duration_s", "command", "env")
_MARKS = re.compile(rb'"(cpu_req|mem_req|data_volumes)"\s*:|"dependencies"\s*:\s*\{')

Edges = dict[tuple[int, int], float]


def sniff(data: bytes) -> bool:
    """An object with tasks in the prototype's words; our native JSON lists its dependencies."""
    if data.lstrip()[:1] != b"{" or b'"tasks"' not in data:
        return False
    return _MARKS.search(data) is not None


def parse(path: Path, data: bytes) -> build.WorkflowFile:
    """The workflow in a file's text; `path` is for messages."""
    document = Document.load(path, data)
    _only(document, document.root, KEYS)
    tasks = document.rows("tasks")
    build.check_count(path, len(tasks), "tasks")
    for i, task in enumerate(tasks.values):
        _only(document, task, TASK_KEYS, "tasks", i)
    names = tasks.texts("id")
    index = build.index_of(names, lambda row, problem: tasks.error(row, problem, "id"))
    draft = build.Draft(path, "gcc-json", _name(document), names)
    draft.cpu_milli = [_request(tasks, i, "cpu_req", _cpu_milli) for i in range(len(tasks))]
    draft.memory_mib = [_request(tasks, i, "mem_req", _memory_mib) for i in range(len(tasks))]
    _add_durations(tasks, draft)
    draft.programs = _programs(tasks)
    edges = _dependencies(document, index)
    _add_volumes(document, index, edges)
    draft.before = [before for before, _ in edges]
    draft.after = [after for _, after in edges]
    draft.volume_mb = list(edges.values())
    return draft.finish()


def _name(document: Document) -> str:
    name = document.text("id", default=document.path.stem)
    if not 1 <= len(name) <= build.MAX_NAME or not name.isprintable():
        raise document.error(f"expected 1 to {build.MAX_NAME} printable characters", "id")
    return name


def _only(document: Document, row: Row, known: tuple[str, ...], *keys: str | int) -> None:
    for key in row:
        if key not in known:
            near = nearest(key[:100], known)
            hint = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"
            raise document.error(f"unknown key: {hint}", *keys, key)


def _request(tasks: Rows, row: int, key: str, read: Callable[[Any], int]) -> int:
    try:
        return read(tasks.values[row].get(key))
    except InputError as error:
        raise tasks.error(row, error.problem, key) from None


def _cpu_milli(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return _bounded(quantity.cpu_milli(value), build.MAX_CORES * 1000, "thousandths of a core")
    return _bounded(_number(value), build.MAX_CORES * 1000, "thousandths of a core")


def _memory_mib(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, str):
        return _bounded(_number(value), build.MAX_MEMORY_MIB, "MiB")
    if value.isdigit():
        raise InputError(f"expected MiB as a number or a quantity, did you mean '{value[:20]}Mi'?")
    return _bounded(quantity.memory_mib(value), build.MAX_MEMORY_MIB, "MiB")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"expected a number or a quantity, got {shown(value)}")
    return value


def _bounded(value: float, high: int, unit: str) -> int:
    if not 0 <= value <= high:
        raise InputError(f"expected 0..{high} {unit}, got {shown(value)}")
    return math.ceil(value)


def _add_durations(tasks: Rows, draft: build.Draft) -> None:
    if not all("duration_s" in task for task in tasks.values):
        draft.note(f"tasks without duration_s are assumed to take {build.UNKNOWN_DURATION_S:g} s")
    draft.duration_s = tasks.numbers("duration_s", build.MAX_DURATION_S, build.UNKNOWN_DURATION_S)


def _programs(tasks: Rows) -> dict[str, Program]:
    """What to run, of the tasks that say so."""
    rows, words = tasks.lists("command")
    commands: list[list[str]] = [[] for _ in tasks.values]
    for row, word in zip(rows.tolist(), words, strict=True):
        commands[row].append(word)
    programs: dict[str, Program] = {}
    for i, task in enumerate(tasks.values):
        image: Any = task.get("image") or ""
        if not isinstance(image, str):
            raise tasks.error(i, f"expected text, got {shown(image)}", "image")
        if not (image or commands[i]):
            continue
        try:
            programs[task["id"]] = Program(tuple(commands[i]), image, _environment(tasks, i))
        except TraceError:
            raise
        except InputError as error:
            raise tasks.error(i, error.problem, error.place.field or "command") from None
    return programs


def _environment(tasks: Rows, row: int) -> dict[str, str]:
    value: Any = tasks.values[row].get("env") or {}
    if not isinstance(value, dict):
        raise tasks.error(row, f"expected an object of texts, got {shown(value)}", "env")
    found = cast(dict[str, Any], value)
    for key, text in found.items():
        if not isinstance(text, str):
            raise tasks.error(row, f"expected text, got {shown(text)}", "env", key)
    return found


def _dependencies(document: Document, index: dict[str, int]) -> Edges:
    """`(before, after)` -> 0.0; a task lists those it waits for."""
    edges: Edges = {}
    for after, listed in document.object("dependencies").items():
        place = ("dependencies", after)
        if after not in index:
            raise document.error(build.no_such(after, index), *place)
        if not isinstance(listed, list):
            raise document.error(f"expected a list of ids, got {shown(listed)}", *place)
        for i, before in enumerate(cast(list[Any], listed)):
            if not isinstance(before, str):
                raise document.error(f"expected text, got {shown(before)}", *place, i)
            if before not in index:
                problem = f"task {after!r}: {build.no_such(before, index)}"
                raise document.error(problem, *place, i)
            edges[index[before], index[after]] = 0.0
    return edges


def _add_volumes(document: Document, index: dict[str, int], edges: Edges) -> None:
    keys = document.object("data_volumes")
    for key, value in keys.items():
        place = ("data_volumes", key)
        number = not isinstance(value, bool) and isinstance(value, (int, float))
        if not number or not 0 <= value <= build.MAX_MB or not np.isfinite(value):
            problem = f"expected finite megabytes 0..{build.MAX_MB:g}, got {shown(value)}"
            raise document.error(problem, *place)
        edges[_ends(document, key, index, edges)] += float(value)


def _ends(document: Document, key: str, index: dict[str, int], edges: Edges) -> tuple[int, int]:
    """The dependency a key stands for: the only split whose ends exist and depend."""
    if len(key) > 2 * build.MAX_NAME + 1:
        raise document.error("a key is too long for two ids", "data_volumes")
    hyphens = [i for i, letter in enumerate(key) if letter == "-"]
    splits = [(key[:i], key[i + 1 :]) for i in hyphens]
    readings = [(a, b) for a, b in splits if a in index and b in index]
    declared = [(a, b) for a, b in readings if (index[a], index[b]) in edges]
    place = ("data_volumes", key)
    if not readings:
        ends = [end for a, b in splits for end in (a, b) if end not in index]
        hint = f": {build.no_such(ends[0], index)}" if len(splits) == 1 else ""
        raise document.error(f"expected two ids joined by a hyphen{hint}", *place)
    if len(declared) == 1:
        return index[declared[0][0]], index[declared[0][1]]
    if len(readings) > 1:
        both = " or ".join(f"{a!r} -> {b!r}" for a, b in (declared or readings)[:4])
        raise document.error(f"the key {build.short(key)} is ambiguous: {both}", *place)
    a, b = readings[0]
    raise document.error(f"{b!r} does not depend on {a!r}: add it to dependencies", *place)
