"""Pegasus DAX, the XML of Pegasus before 5.0: jobs, the files they use, child and parent.

Schema: Pegasus DAX 3.x (`adag`); 2.1, which the published synthetic workflows use, differs in
nothing that is read. `runtime` is the duration; the profiles `pegasus:cores`, `pegasus:memory`
(MiB) and `pegasus:runtime` count. Files flow as in WfFormat. The parser knows no document types,
hence no entities: a DOCTYPE is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from cerebrum.model.errors import TraceError
from cerebrum.traces import _files
from cerebrum.traces import _workflow_build as build
from cerebrum.traces._workflow_flows import TooManyFlows, Uses, distinct, flows

DESCRIPTION = "Pegasus DAX (XML, 2.1 and 3.x)"
MAX_XML_BYTES = 2**28
MAX_DEPTH = 32
_LINKS = ("input", "output", "inout", "checkpoint", "none")


def sniff(data: bytes) -> bool:
    """XML with an `adag` in it."""
    return data.lstrip()[:1] == b"<" and b"adag" in data[: _files.HEAD_BYTES]


def parse(path: Path, data: bytes) -> build.WorkflowFile:
    """The workflow in a file's text; `path` is for messages."""
    if len(data) > MAX_XML_BYTES:
        raise TraceError(f"expected at most {MAX_XML_BYTES:,} bytes").at(path)
    found = _Reader(path).read(_files.decode(path, data))
    build.check_count(path, len(found.jobs), "adag.job", "jobs")
    names = [job.id for job in found.jobs]
    index = build.index_of(
        names, lambda row, problem: TraceError(problem).at(path, found.jobs[row].line, "job.id")
    )
    draft = build.Draft(path, "pegasus-dax", found.name or path.stem, names)
    if any(math.isnan(job.runtime_s) for job in found.jobs):
        seconds = build.UNKNOWN_DURATION_S
        draft.note(f"jobs without a runtime are assumed to take {seconds:g} s")
    runtime_s = np.asarray([job.runtime_s for job in found.jobs])
    draft.duration_s = np.where(np.isnan(runtime_s), build.UNKNOWN_DURATION_S, runtime_s)
    draft.cpu_milli = [job.cores * 1000 for job in found.jobs]
    draft.memory_mib = [job.memory_mib for job in found.jobs]
    _connect(found, index, draft)
    return draft.finish()


@dataclass(slots=True)
class _Job:
    id: str
    line: int
    runtime_s: float = math.nan
    cores: int = 1
    memory_mib: int = 0


@dataclass(slots=True)
class _Found:
    """What the events of the parser add up to. Uses are (job, file, line)."""

    name: str = ""
    jobs: list[_Job] = field(default_factory=list[_Job])
    sizes: dict[str, float] = field(default_factory=dict[str, float])
    unsized: bool = False
    read: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])
    written: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])
    edges: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])


class _Reader:
    """Takes expat's events; every error has the line the parser is at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = _Found()
        self.open: list[str] = []
        self.child: str | None = None
        self.profile: tuple[str, list[str]] | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def read(self, text: str) -> _Found:
        """Everything in the text."""
        try:
            self.parser.Parse(text, True)
        except expat.ExpatError as error:
            problem = f"not valid XML: {expat.ErrorString(error.code)}"
            raise TraceError(problem).at(self.path, error.lineno) from None
        except ValueError as error:
            raise TraceError(f"not valid XML: {error}").at(self.path) from None
        return self.found

    @property
    def line(self) -> int:
        """Where the parser is, from 1."""
        return self.parser.CurrentLineNumber

    def error(self, problem: str, field: str) -> TraceError:
        """A problem at the current element, to be raised."""
        if field.startswith(("job.", "uses", "profile")) and self.found.jobs:
            problem = f"job {build.short(self.found.jobs[-1].id)}: {problem}"
        return TraceError(problem).at(self.path, self.line, field)

    def _doctype(self, *_: object) -> None:
        raise TraceError("a DOCTYPE is refused: expected plain XML").at(self.path, self.line)

    def _start(self, tag: str, given: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if not self.open and tag != "adag":
            raise self.error(f"expected adag, found {build.short(tag)}", "adag")
        if len(self.open) >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}", "adag")
        inside = self.open[-1] if self.open else ""
        self.open.append(tag)
        if tag == "adag":
            self._adag(given)
        elif inside == "adag" and tag == "job":
            self._job(given)
        elif inside == "adag" and tag in ("dax", "dag"):
            raise self.error("a workflow inside a workflow is not supported", tag)
        elif inside == "job" and tag == "uses":
            self._uses(given)
        elif inside == "job" and tag == "profile":
            self.profile = (given.get("key", "").lower(), [])
        elif inside == "adag" and tag == "child":
            self.child = self._attribute(given, "ref", "child")
        elif inside == "child" and tag == "parent":
            before = self._attribute(given, "ref", "parent")
            self.found.edges.append((before, self.child or "", self.line))

    def _end(self, tag: str) -> None:
        self.open.pop()
        if tag.rpartition(":")[2] == "profile" and self.profile:
            key, texts = self.profile
            self._apply_profile(key, "".join(texts).strip())
            self.profile = None

    def _text(self, text: str) -> None:
        if self.profile:
            self.profile[1].append(text[:100])

    def _adag(self, given: dict[str, str]) -> None:
        if len(self.open) > 1:
            raise self.error("a workflow inside a workflow is not supported", "adag")
        version = given.get("version", "")
        if version and version.split(".")[0] not in ("2", "3"):
            raise self.error(f"expected 2.1 or 3.x, got {build.short(version)}", "adag.version")
        self.found.name = given.get("name", "")[: build.MAX_NAME]

    def _job(self, given: dict[str, str]) -> None:
        job = _Job(self._attribute(given, "id", "job"), self.line)
        self.found.jobs.append(job)
        if len(self.found.jobs) > build.MAX_TASKS:
            raise self.error(f"expected at most {build.MAX_TASKS:,} jobs", "adag")
        if "runtime" in given:
            job.runtime_s = self._number(given["runtime"], build.MAX_DURATION_S, "job.runtime")

    def _apply_profile(self, key: str, text: str) -> None:
        job = self.found.jobs[-1]
        place = f"profile.{key}"
        if key == "cores":
            job.cores = math.ceil(self._number(text, build.MAX_CORES, place))
        elif key == "memory":
            job.memory_mib = math.ceil(self._number(text, build.MAX_MEMORY_MIB, place))
        elif key == "runtime" and math.isnan(job.runtime_s):
            job.runtime_s = self._number(text, build.MAX_DURATION_S, place)

    def _uses(self, given: dict[str, str]) -> None:
        found = self.found
        name = given.get("file") or given.get("name") or ""
        if not name:
            raise self.error("expected the file's name, found nothing", "uses.file")
        link = given.get("link", "none").lower()
        if link not in _LINKS:
            raise self.error(
                f"expected one of {', '.join(_LINKS)}, got {build.short(link)}", "uses.link"
            )
        if given.get("type") == "executable" or link in ("none", "checkpoint"):
            return
        if "size" in given:
            size = self._number(given["size"], build.MAX_MB * 1e6, "uses.size") / 1e6
            found.sizes[name] = max(size, found.sizes.get(name, 0.0))
        else:
            found.sizes.setdefault(name, 0.0)
            found.unsized = True
        use = (len(found.jobs) - 1, name, self.line)
        if link in ("input", "inout"):
            found.read.append(use)
        if link in ("output", "inout"):
            found.written.append(use)

    def _attribute(self, given: dict[str, str], name: str, tag: str) -> str:
        value = given.get(name, "")
        if not value:
            raise TraceError(f"expected {name}, found nothing").at(
                self.path, self.line, f"{tag}.{name}"
            )
        return value

    def _number(self, text: str, high: float, place: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if "_" in text or not 0 <= value <= high:
            raise self.error(
                f"expected a finite number 0..{high:g}, got {build.short(text)}", place
            )
        return value


def _connect(found: _Found, index: dict[str, int], draft: build.Draft) -> None:
    """Dependencies with the files that flow along them."""
    n = len(found.jobs)
    if len(found.edges) > build.MAX_DEPENDENCIES:
        raise TraceError(f"expected at most {build.MAX_DEPENDENCIES:,} parents").at(draft.path)
    for before, after, line in found.edges:
        for end, place in ((before, "parent.ref"), (after, "child.ref")):
            if end not in index:
                raise TraceError(build.no_such(end, index, "job")).at(draft.path, line, place)
    pairs = [index[before] * n + index[after] for before, after, _ in found.edges]
    declared = distinct(np.asarray(pairs, np.int64))
    if found.unsized:
        draft.note("files without a size count as 0")
    files = {name: i for i, name in enumerate(found.sizes)}
    sizes = np.asarray(list(found.sizes.values()), np.float64)
    try:
        moved = flows(
            _uses(found.written, files, n), _uses(found.read, files, n), sizes, n, declared
        )
    except TooManyFlows as error:
        name = list(files)[error.file]
        problem = f"file {build.short(name)} is written and read by too many jobs"
        raise TraceError(problem).at(draft.path, field="uses") from None
    if moved.undecided:
        _refuse_undecided(found, list(files)[moved.undecided[1]], moved.undecided[0], draft.path)
    draft.before = np.concatenate([declared // n, moved.before])
    draft.after = np.concatenate([declared % n, moved.after])
    draft.volume_mb = np.concatenate([np.zeros(len(declared)), moved.volume_mb])
    draft.input_mb, draft.output_mb = moved.input_mb, moved.output_mb


def _uses(used: list[tuple[int, str, int]], files: dict[str, int], tasks: int) -> Uses:
    jobs: Any = [job for job, _, _ in used]
    which: Any = [files[name] for _, name, _ in used]
    return Uses.of(np.asarray(jobs, np.int64), np.asarray(which, np.int64), tasks)


def _refuse_undecided(found: _Found, file: str, job: int, path: Path) -> None:
    line = next(line for row, name, line in found.read if row == job and name == file)
    problem = f"several jobs write {build.short(file)} and it waits for none of them"
    raise TraceError(f"job {build.short(found.jobs[job].id)}: {problem}: name one as parent").at(
        path, line, "uses"
    )
