"""Workflows in: `read_workflow(path)` recognises the format by what the file holds.

A format is one module with `DESCRIPTION`, `sniff(data)`, `parse(path, data) -> WorkflowFile` and,
where it can be written, `render(workflow, execution) -> str`. Adding one is a module and a line
below. Files that hold many workflows are read by `read_workflows`.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, Protocol, cast

from cerebrum.model.errors import ConfigError, InputError, TraceError, UnknownName
from cerebrum.model.options import parse_options, refuse_unknown
from cerebrum.model.workflow import Workflow
from cerebrum.traces import _files
from cerebrum.traces._workflow_build import MAX_TASKS, WorkflowFile
from cerebrum.traces._workflow_write import Execution
from cerebrum.traces.alibaba_batch import WorkflowSet, read_workflows

__all__ = [
    "FORMATS",
    "GENERATED",
    "MAX_TASKS",
    "Execution",
    "WorkflowFile",
    "WorkflowSet",
    "detect_workflow",
    "generate",
    "generated",
    "inspect_workflow",
    "load_format",
    "parse_workflow",
    "read_data",
    "read_workflow",
    "read_workflows",
    "write_workflow",
]

FORMATS = {
    "wfformat": "cerebrum.traces.wfformat",
    "argo": "cerebrum.traces.argo",
    "gcc-json": "cerebrum.traces.gcc_json",
    "pegasus-dax": "cerebrum.traces.pegasus_dax",
}
"""Format name -> module. The order is the order in which `detect_workflow` asks."""

GENERATED = ("layered", "montage-like")
"""Names that stand for a workflow without a file: synthetic, drawn from a seed."""


class WorkflowFormat(Protocol):
    """What a format's module offers. `render` is optional."""

    DESCRIPTION: str

    def sniff(self, data: bytes) -> bool:
        """Whether the text is in this format, as far as that is quick to see."""
        ...

    def parse(self, path: Path, data: bytes) -> WorkflowFile:
        """The workflow in the text; `path` is for messages."""
        ...

    def render(self, workflow: Workflow, execution: Execution | None = None) -> str:
        """The workflow as text, with how it ran if that is known."""
        ...


def load_format(name: str) -> WorkflowFormat:
    """The module behind a format's name; `UnknownName` with the nearest one otherwise."""
    if name not in FORMATS:
        raise UnknownName("workflow format", name, FORMATS)
    return cast(WorkflowFormat, importlib.import_module(FORMATS[name]))


def read_workflow(path: str | Path, format: str | None = None) -> Workflow:
    """The workflow at `path`, or the one that `montage-like:tasks=50,seed=1` stands for.

    Plain text or gzip. Raises `TraceError` with path, line, field and task; nothing partial.
    """
    if format is None and (made := generated(path)) is not None:
        return made
    return inspect_workflow(path, format).workflow


def inspect_workflow(path: str | Path, format: str | None = None) -> WorkflowFile:
    """The workflow in a file, its format, and notes on what was assumed or left out."""
    path = Path(path)
    return _parse(path, _files.read_bytes(path), format)


def parse_workflow(text: str | bytes, source: str = "", format: str | None = None) -> Workflow:
    """The workflow in a text that is at hand, such as a request's body.

    `source` stands for the file's name in messages.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    path = Path(source or "workflow")
    if len(data) > _files.MAX_BYTES:
        raise TraceError(f"expected at most {_files.MAX_BYTES:,} bytes").at(path)
    if not data or data.isspace():
        raise TraceError("expected text, found nothing").at(path)
    return _parse(path, data.removeprefix(b"\xef\xbb\xbf"), format).workflow


def read_data(path: str | Path) -> bytes:
    """The text of a file, unzipped: what `parse_workflow` takes. Raises `TraceError`."""
    return _files.read_bytes(Path(path))


def detect_workflow(path: str | Path) -> str:
    """The name of the format of a file, by what it holds; `TraceError` when none claims it."""
    path = Path(path)
    return _detect(path, _files.read_bytes(path))


def write_workflow(
    workflow: Workflow,
    path: str | Path,
    execution: Execution | None = None,
    format: str = "wfformat",
) -> None:
    """Write the workflow, with the execution section filled when it is known how it ran."""
    module = load_format(format)
    if not hasattr(module, "render"):
        able = ", ".join(name for name in FORMATS if hasattr(load_format(name), "render"))
        raise ConfigError(f"format {format!r} can be read but not written: choose one of {able}")
    _files.write_text(Path(path), module.render(workflow, execution))


def generate(name: str, **options: Any) -> Workflow:
    """A synthetic workflow: `layered` (tasks, width, seed) or `montage-like` (tasks, seed)."""
    from cerebrum.traces._layered import GENERATORS

    if name not in GENERATORS:
        raise UnknownName("generated workflow", name, GENERATORS)
    make = GENERATORS[name]
    refuse_unknown(options, inspect.signature(make).parameters, of=name)
    for option, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{name}: {option}: expected a whole number, got {value!r}")
    return make(**options)


def generated(path: str | Path) -> Workflow | None:
    """The workflow of `name:key=value,...`, unless a file of that name exists."""
    name, _, rest = str(path).partition(":")
    if name not in GENERATED or Path(path).exists():
        return None
    return generate(name, **parse_options(rest, f"{name}:key=value,key=value"))


def _parse(path: Path, data: bytes, format: str | None) -> WorkflowFile:
    module = load_format(format or _detect(path, data))
    try:
        return module.parse(path, data)
    except TraceError:
        raise
    except InputError as error:
        raise TraceError(error.problem).at(path, field=error.place.field) from None


def _detect(path: Path, data: bytes) -> str:
    for name in FORMATS:
        if load_format(name).sniff(data):
            return name
    raise TraceError(
        f"not recognised as a workflow; name its format, one of {', '.join(FORMATS)}"
    ).at(path)
