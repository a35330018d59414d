"""Argo Workflows: DAG and steps templates, flattened into one workflow.

Reference: argo-workflows.readthedocs.io, the fields of `Workflow` (argoproj.io/v1alpha1). Tasks of
a template that is itself a DAG are named `outer.inner`, those of `withItems` `name.0`, `name.1`;
parameters are filled in. `resources.requests` are what a task asks for, `activeDeadlineSeconds`
its timeout, `retryStrategy.limit` repeats make `limit + 1` attempts. How long a container takes is
not in the format: the annotation `cerebrum.io/duration-s` of a template says so. What depends on
results (`when`, `withParam`, outputs, `||`, failures) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cerebrum.model.errors import TraceError
from cerebrum.traces import _files
from cerebrum.traces import _workflow_argo as say
from cerebrum.traces import _workflow_build as build
from cerebrum.traces._fields import Fields, documents
from cerebrum.traces._yaml import Source

DESCRIPTION = "Argo Workflow (YAML or JSON): DAG and steps templates"
MAX_YAML_BYTES = 2**26
MAX_NESTING = 32
"""How deep templates may call each other."""
MAX_EXPANDED = 100_000
"""Tasks all templates together may stand for: each is filled in by itself."""

_MARK = re.compile(
    rb"""(?m)["']?kind["']?\s*:\s*["']?(?:Workflow|WorkflowTemplate)["']?\s*[,}#\r\n]"""
)


def sniff(data: bytes) -> bool:
    """An object of Argo's API group whose kind is a workflow."""
    return b"argoproj.io/" in data and _MARK.search(data + b"\n") is not None


def parse(path: Path, data: bytes) -> build.WorkflowFile:
    """The workflow in a file's text; `path` is for messages."""
    if len(data) > MAX_YAML_BYTES:
        raise TraceError(f"expected at most {MAX_YAML_BYTES:,} bytes").at(path)
    found = list(documents(Source(path, _files.decode(path, data))))
    if len(found) != 1:
        raise TraceError(f"expected one Workflow, found {len(found)} documents").at(path)
    root = found[0]
    if root.text("kind", "") not in ("Workflow", "WorkflowTemplate"):
        raise root.error("expected Workflow or WorkflowTemplate", "kind")
    expansion = _Expansion(path, root)
    expansion.run()
    return expansion.draft().finish()


@dataclass(frozen=True, slots=True)
class _Span:
    """The tasks a call became: those that wait for none of them, and those none of them awaits."""

    first: list[int]
    last: list[int]


class _Expansion:
    """Calls templates from the entry point on, and collects tasks and dependencies."""

    def __init__(self, path: Path, root: Fields) -> None:
        self.path = path
        self.root = root
        self.spec = root.child("spec")
        self.templates = self._templates()
        self.calls: dict[str, list[say.Call]] = {}
        self.sizes: dict[str, int] = {}
        self.names: list[str] = []
        self.leaves: list[say.Leaf] = []
        self.before: list[int] = []
        self.after: list[int] = []
        metadata = root.child("metadata")
        self.name = metadata.text("name", "") or metadata.text("generateName", "").rstrip("-")
        if len(self.name) > build.MAX_NAME or not self.name.isprintable():
            expected = f"expected at most {build.MAX_NAME} printable characters"
            raise metadata.error(expected, "name")
        self.world = {"workflow.name": self.name or path.stem}

    def run(self) -> None:
        """Everything the entry point stands for."""
        given = say.arguments(self.spec, {})
        self.world |= {f"workflow.parameters.{name}": value for name, value in given.items()}
        entry = self.spec.text("entrypoint")
        template = self._template(entry, self.spec, "entrypoint")
        self._count(entry, self.spec, ())
        inputs = template.child("inputs").children("parameters")
        wanted = {parameter.text("name") for parameter in inputs}
        known = {name: value for name, value in given.items() if name in wanted}
        scope = self.world | say.bind(template, known, self.spec)
        self._expand(entry, entry if say.kind(template) in ("container", "script") else "", scope)

    def draft(self) -> build.Draft:
        """The columns of what was collected."""
        leaves = self.leaves
        draft = build.Draft(self.path, "argo", self.name or self.path.stem, self.names)
        draft.cpu_milli = [leaf.cpu_milli for leaf in leaves]
        draft.memory_mib = [leaf.memory_mib for leaf in leaves]
        draft.gpus = [leaf.gpus for leaf in leaves]
        draft.programs = {n: leaf.program for n, leaf in zip(self.names, leaves, strict=True)}
        draft.before, draft.after = self.before, self.after
        draft.volume_mb = [0.0] * len(self.before)
        unknown = build.UNKNOWN_DURATION_S
        durations = [unknown if leaf.duration_s is None else leaf.duration_s for leaf in leaves]
        draft.duration_s = np.asarray(durations, np.float64)
        if any(leaf.duration_s is None for leaf in leaves):
            draft.note(
                f"templates without the annotation {say.DURATION} are assumed to take {unknown:g} s"
            )
        draft.note("sizes of artifacts are not in the format: no data moves")
        return draft

    def _templates(self) -> dict[str, Fields]:
        found: dict[str, Fields] = {}
        for template in self.spec.children("templates"):
            name = template.text("name")
            if name in found:
                raise template.error(f"template {name!r} is named twice", "name")
            found[name] = template
        if not found:
            raise self.spec.error("expected at least one template, found none", "templates")
        return found

    def _template(self, name: str, place: Fields, key: str) -> Fields:
        if name not in self.templates:
            raise place.error(build.no_such(name, self.templates, "template"), key)
        return self.templates[name]

    def _count(self, name: str, place: Fields, above: tuple[str, ...]) -> int:
        """How many tasks a template stands for, before any of them is made."""
        if name in self.sizes:
            return self.sizes[name]
        template = self._template(name, place, "template")
        if name in above:
            raise place.error(f"template {name!r} calls itself", "template")
        if len(above) >= MAX_NESTING:
            raise place.error(f"templates are nested deeper than {MAX_NESTING}", "template")
        total = 1
        if say.kind(template) in ("dag", "steps"):
            self.calls[name] = say.calls(template)
            below = (*above, name)
            total = sum(
                self._count(call.template, call.place, below) * len(call.items or [None])
                for call in self.calls[name]
            )
        if total > MAX_EXPANDED:
            problem = f"template {name!r} stands for {total:,} tasks, expected at most"
            raise template.error(f"{problem} {MAX_EXPANDED:,}")
        self.sizes[name] = total
        return total

    def _expand(self, template: str, name: str, scope: Mapping[str, str]) -> _Span:
        """The tasks of one call, named `name` or `name.…`."""
        if template not in self.calls:
            self.names.append(name)
            self.leaves.append(say.leaf(self.templates[template], scope))
            only = [len(self.names) - 1]
            return _Span(only, only)
        prefix = f"{name}." if name else ""
        spans = {
            call.name: self._expand_call(call, prefix + call.name, scope)
            for call in self.calls[template]
        }
        awaited: set[str] = set()
        first: list[int] = []
        for call in self.calls[template]:
            awaited.update(call.waits_for)
            if not call.waits_for:
                first += spans[call.name].first
            for other in dict.fromkeys(call.waits_for):
                self._connect(spans[other].last, spans[call.name].first, call.place)
        last = [task for name, span in spans.items() if name not in awaited for task in span.last]
        return _Span(first, last)

    def _expand_call(self, call: say.Call, name: str, scope: Mapping[str, str]) -> _Span:
        template = self.templates[call.template]
        span = _Span([], [])
        for i, item in enumerate([None] if call.items is None else call.items):
            values = dict(scope)
            if call.items is not None:
                values |= say.item_values(item)
            given = say.arguments(call.place, values)
            inner = self.world | say.bind(template, given, call.place)
            made = self._expand(call.template, name if call.items is None else f"{name}.{i}", inner)
            span.first.extend(made.first)
            span.last.extend(made.last)
        return span

    def _connect(self, before: list[int], after: list[int], place: Fields) -> None:
        if len(self.before) + len(before) * len(after) > build.MAX_DEPENDENCIES:
            bound = f"expected at most {build.MAX_DEPENDENCIES:,} dependencies in all"
            raise place.error(bound, "depends" if "depends" in place else "dependencies")
        for task in before:
            self.before += [task] * len(after)
            self.after += after
