"""WfFormat 1.5, the JSON of WfCommons: tasks, files, and how an execution went.

Schema: github.com/wfcommons/WfFormat, 1.5. What is read, and how it maps:

- `parents` and `children` must agree; if a file gives only one side, that one counts. A file
  written by one task and read by another flows along their dependency, and makes one where none
  was declared (see `_workflow_flows`).
- a file that no task writes is input of its readers, one that no task reads output of its writer;
- of the execution `runtimeInSeconds` is the duration on the machine it ran on, `coreCount` (1
  when absent) and `memoryInBytes` what the task asks for. Machines and commands are left out: the
  programs of someone else's run are not on our machines.

1.4 is accepted where it has the same shape (a `specification` and an `execution`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import TraceError
from cerebrum.model.garbage import paused_gc
from cerebrum.model.workflow import Workflow
from cerebrum.traces import _workflow_build as build
from cerebrum.traces._workflow_flows import TooManyFlows, Uses, among, distinct, flows
from cerebrum.traces._workflow_json import STRICT_BYTES, Document, Rows
from cerebrum.traces._workflow_names import Ids
from cerebrum.traces._workflow_typed import TypedDocument
from cerebrum.traces._workflow_write import Execution, wfformat_text

DESCRIPTION = "WfFormat 1.5 (WfCommons instances): tasks, files, execution"
VERSIONS = ("1.4", "1.5")
_SPEC = ("workflow", "specification")
_EXECUTION = ("workflow", "execution")


def sniff(data: bytes) -> bool:
    """An object with a schema version, or with a specification inside a workflow."""
    if data.lstrip()[:1] != b"{":
        return False
    return b'"schemaVersion"' in data or (b'"workflow"' in data and b'"specification"' in data)


def parse(path: Path, data: bytes) -> build.WorkflowFile:
    """The workflow in a file's text; `path` is for messages."""
    with paused_gc():
        if len(data) > STRICT_BYTES:
            # Read again on any error, slowly, to say what and where it is.
            with suppress(TraceError):
                return _draft(TypedDocument.load(path, data)).finish()
        return _draft(Document.load(path, data)).finish()


def render(workflow: Workflow, execution: Execution | None = None) -> str:
    """The workflow as WfFormat 1.5; see `_workflow_write`."""
    with paused_gc():
        return wfformat_text(workflow, execution)


def _draft(document: Document) -> build.Draft:
    """Columns of everything."""
    tasks = _tasks(document)
    names = tasks.texts("id")
    index = document.index(names)
    build.check_names(names, index, lambda row, problem: tasks.error(row, problem, "id"))
    draft = build.Draft(document.path, "wfformat", _name(document), names)
    declared = _dependencies(tasks, index, draft)
    _add_flows(document, tasks, declared, draft)
    _add_runs(document, index, draft)
    return draft


def _name(document: Document) -> str:
    name = document.text("name", default=document.path.stem)
    if len(name) > build.MAX_NAME or not name.isprintable():
        raise document.error(f"expected at most {build.MAX_NAME} printable characters", "name")
    return name


def _tasks(document: Document) -> Rows:
    """The tasks of a version that we know."""
    version = document.get("schemaVersion")
    if version not in VERSIONS:
        got = f"got {version!r}" if version is not None else "found nothing"
        raise document.error(f"expected one of {', '.join(VERSIONS)}, {got}", "schemaVersion")
    if not document.get(*_SPEC):
        flat = document.get("workflow", "tasks") is not None
        hint = ": this is the older, flat shape; convert it with wfcommons" if flat else ""
        raise document.error(f"expected tasks and files, found nothing{hint}", *_SPEC)
    tasks = document.rows(*_SPEC, "tasks")
    build.check_count(document.path, len(tasks), "workflow.specification.tasks")
    return tasks


def _dependencies(tasks: Rows, index: Mapping[str, int], draft: build.Draft) -> Ids:
    """Sorted `before * tasks + after` of the declared dependencies, both sides compared."""
    n = len(tasks)
    child, parent = tasks.links("parents", index, most=build.MAX_DEPENDENCIES)
    from_parents = distinct(parent * n + child)
    owner, below = tasks.links("children", index, most=build.MAX_DEPENDENCIES)
    from_children = distinct(owner * n + below)
    if np.array_equal(from_parents, from_children):
        return from_parents
    if not len(from_parents) or not len(from_children):
        side = "children" if len(from_children) else "parents"
        draft.note(f"dependencies are taken from {side!r}: the other side is empty")
        return from_children if len(from_children) else from_parents
    pair = int(np.setxor1d(from_parents, from_children, assume_unique=True)[0])
    before, after = divmod(pair, n)
    names = draft.names
    if pair in from_parents:
        problem = f"the parent {names[before]!r} does not list it among its children"
        raise tasks.error(after, problem, "parents")
    problem = f"the child {names[after]!r} does not list it among its parents"
    raise tasks.error(before, problem, "children")


def _add_flows(document: Document, tasks: Rows, declared: Ids, draft: build.Draft) -> None:
    """Dependencies with the volumes of the files that flow along them."""
    n = len(tasks)
    files, sizes = _files(document, tasks, draft)
    written = Uses.of(*tasks.links("outputFiles", files, "file"), n)
    read = Uses.of(*tasks.links("inputFiles", files, "file"), n)
    try:
        found = flows(written, read, sizes, n, declared)
    except TooManyFlows as error:
        name = build.short(list(files)[error.file])
        problem = f"file {name} is written and read by too many tasks"
        bound = f"expected at most {build.MAX_DEPENDENCIES:,} flows, got {error.count:,}"
        raise document.error(f"{problem}: {bound}", *_SPEC, "files") from None
    if found.undecided:
        task, file = found.undecided
        name = build.short(list(files)[file])
        problem = f"several tasks write {name} and it waits for none of them"
        raise tasks.error(task, f"{problem}: name one in parents", "inputFiles")
    flowing = distinct(found.before * n + found.after)
    bare = declared[:0]
    if not np.array_equal(flowing, declared):
        bare = declared[~among(declared, flowing)]
        if new := len(flowing) + len(bare) - len(declared):
            draft.note(f"{new:,} dependencies follow from files alone")
    draft.before = np.concatenate([bare // n, found.before])
    draft.after = np.concatenate([bare % n, found.after])
    draft.volume_mb = np.concatenate([np.zeros(len(bare)), found.volume_mb])
    draft.input_mb, draft.output_mb = found.input_mb, found.output_mb


def _files(
    document: Document, tasks: Rows, draft: build.Draft
) -> tuple[Mapping[str, int], NDArray[np.float64]]:
    """File id -> number, and sizes in 10^6 bytes."""
    rows = replace(document.rows(*_SPEC, "files"), what="file")
    if document.get(*_SPEC, "files") is None:
        used = [text for name in ("inputFiles", "outputFiles") for text in tasks.lists(name)[1]]
        if used:
            draft.note("there is no list of files: their sizes count as 0")
        names = list(dict.fromkeys(used))
        return document.index(names), np.zeros(len(names))
    names = rows.texts("id")
    index = document.index(names)
    if len(index) < len(names):
        row = next(i for i, name in enumerate(names) if index[name] != i)
        raise rows.error(index[names[row]], "the id is given to two files", "id")
    return index, rows.numbers("sizeInBytes", build.MAX_MB * 1e6) / 1e6


def _add_runs(document: Document, index: Mapping[str, int], draft: build.Draft) -> None:
    """Durations and requests from the execution."""
    draft.cpu_milli = 1000
    if not document.has(*_EXECUTION):
        seconds = build.UNKNOWN_DURATION_S
        draft.note(f"there is no execution: {seconds:g} s and one core a task are assumed")
        return
    runs = document.rows(*_EXECUTION, "tasks")
    row = _matched(runs, index, draft)
    draft.duration_s = runs.numbers("runtimeInSeconds", build.MAX_DURATION_S)[row]
    cores = runs.numbers("coreCount", build.MAX_CORES, default=1.0)[row]
    memory = runs.numbers("memoryInBytes", build.MAX_MEMORY_MIB * 2.0**20, default=0.0)[row]
    draft.cpu_milli = np.ceil(np.round(cores * 1000, 6)).astype(np.int64)
    draft.memory_mib = np.ceil(memory / 2**20).astype(np.int64)
    if not runs.has("coreCount"):
        draft.note("no task has a coreCount: one core each is assumed")
    if document.get(*_EXECUTION, "machines"):
        draft.note("machines of the execution are left out")


def _matched(runs: Rows, index: Mapping[str, int], draft: build.Draft) -> Ids:
    """int64[tasks]: which run is the task's; every task has exactly one."""
    if runs.texts("id") == draft.names:
        return np.arange(len(index))
    task = runs.link("id", index)
    row = np.full(len(index), -1, np.int64)
    row[task] = np.arange(len(task))  # of two runs the last one stays
    if (row[task] != np.arange(len(task))).any():
        first, second = np.argsort(task, kind="stable"), np.sort(task)
        twice = first[1:][second[1:] == second[:-1]]
        raise runs.error(int(twice.min()), "it has two runs", "id")
    if (row < 0).any():
        name = draft.names[int(np.argmax(row < 0))]
        problem = f"task {build.short(name)} has no run, and others have"
        raise runs.document.error(problem, *runs.keys)
    return row
