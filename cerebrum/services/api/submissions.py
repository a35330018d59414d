"""From a body in any of the formats to a `WorkflowSpec`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from typing import Any, cast

import numpy as np
from fastapi import Request
from pydantic_core import from_json

from cerebrum.model.errors import InputError
from cerebrum.model.program import Program
from cerebrum.model.workflow import Workflow
from cerebrum.services.api import bodies
from cerebrum.services.api.problems import MalformedBody
from cerebrum.services.errors import Refused
from cerebrum.services.wire import DependencySpec, TaskSpec, WorkflowSpec

FORMATS = {
    "application/json": None,
    "application/octet-stream": None,
    "application/yaml": "argo",
    "application/x-yaml": "argo",
    "application/xml": "pegasus-dax",
    "text/xml": "pegasus-dax",
}
"""Media type -> the format it announces; None: by what the text holds."""
_UNSAFE = str.maketrans({c: "-" for c in map(chr, range(128)) if not (c.isalnum() or c in "._:/-")})
_ASSUMED_S = 1.0
# Our tasks have a name and no id. Almost always the first key tells, and nothing is parsed twice.
_OUR_TASKS = re.compile(rb'"tasks"\s*:\s*\[\s*\{\s*"name"')


async def submission(
    request: Request, format: str | None = None, cluster: str = ""
) -> tuple[WorkflowSpec, str]:
    """The workflow in the body, and the hash of what was sent.

    With `cluster`, a `cluster_id` beside the prototype's fields has to be that one.

    Raises `MalformedBody`, pydantic's `ValidationError` or `InputError`, which name what is wrong.
    """
    announced = FORMATS[bodies.content_type(request, tuple(FORMATS))]
    body = await request.body()
    bodies.refuse_nul(body)
    if cluster:
        body = _for_cluster(body, cluster)
    digest = hashlib.sha256(body).hexdigest()
    if len(body) > bodies.LARGE_BYTES:
        return await asyncio.to_thread(parse, body, format or announced), digest
    return parse(body, format or announced), digest


def _for_cluster(body: bytes, cluster: str) -> bytes:
    """The body without its `cluster_id`. Raises `Refused` 409 for another cluster's."""
    if b'"cluster_id"' not in body:
        return body
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body  # refused with its own words later
    if not isinstance(content, dict):
        return body
    fields = cast(dict[str, Any], content)
    wanted = fields.pop("cluster_id", None)
    if wanted not in (None, cluster):
        raise Refused(409, "conflict", f"this is cluster {cluster!r}, not {str(wanted)[:100]!r}")
    return json.dumps(fields).encode()


def parse(body: bytes, format: str | None = None, source: str = "body") -> WorkflowSpec:
    """The submission in a text: our own JSON, or any format of workflows that is read.

    `format` None: by what the text holds. `source` stands for its name in messages. Raises
    `MalformedBody`, pydantic's `ValidationError` or `InputError`.
    """
    if format is None and _native(body):
        return WorkflowSpec.model_validate_json(body)
    from cerebrum.traces.workflows import parse_workflow

    try:
        return spec_of(parse_workflow(body, source, format))
    except RecursionError:
        raise MalformedBody(400, "malformed request", "nested too deeply") from None


def _native(body: bytes) -> bool:
    """Whether the text is our own JSON, or at least no other format's."""
    from cerebrum.traces.workflows import FORMATS as KNOWN
    from cerebrum.traces.workflows import load_format

    if not any(load_format(name).sniff(body) for name in KNOWN):
        return True
    if _OUR_TASKS.search(body) and b'"specification"' not in body:
        return True
    try:
        content: Any = from_json(body)
    except ValueError:
        return False
    return isinstance(content, dict) and {"name", "tasks"} <= cast(dict[str, Any], content).keys()


def spec_of(workflow: Workflow) -> WorkflowSpec:
    """The message for a workflow that was read from a file.

    The federation's names are ASCII letters, digits and `._:/-`, up to 253 characters: other
    characters become `-`, and names that thereby coincide are told apart by a number.
    """
    names = _names(workflow.tasks.names)
    tasks = [_task(workflow, i, name) for i, name in enumerate(names)]
    before: list[int] = workflow.before.tolist()
    after: list[int] = workflow.after.tolist()
    edges = zip(before, after, workflow.volume_mb.tolist(), strict=True)
    return WorkflowSpec(
        name=_name(workflow.name) or "workflow",
        tasks=tasks,
        dependencies=[
            DependencySpec(before=names[first], after=names[then], volume_mb=volume)
            for first, then, volume in edges
        ],
    )


def _task(workflow: Workflow, i: int, name: str) -> TaskSpec:
    task = workflow.tasks[i]
    asked, program = task.task_class.resources, workflow.programs.get(task.name, Program())
    if asked.cache_ways or asked.extended:
        raise InputError(
            f"task {task.name!r}: expected CPU, memory and GPUs only; clusters of a federation "
            "declare no other resources"
        ).at(field="tasks")
    duration_s = task.duration_s if math.isfinite(task.duration_s) else _ASSUMED_S
    values: dict[str, Any] = {
        "cpu_milli": asked.cpu_milli, "memory_mib": asked.memory_mib,
        "gpu_count": asked.gpu_count, "gpu_milli": asked.gpu_milli,
        "gpu_models": list(task.task_class.gpu_models), "duration_s": duration_s,
        "image": program.image, "command": list(program.command), "env": dict(program.env),
        "workdir": program.workdir, "max_attempts": program.max_attempts,
        "backoff_s": program.backoff_s,
        "timeout_s": program.timeout_s if np.isfinite(program.timeout_s) else None,
    }  # fmt: skip
    return TaskSpec(name=name, **values)


def _names(given: Any) -> list[str]:
    seen: set[str] = set()
    out: list[str] = []
    for i, name in enumerate(given):
        short = _name(name) or f"task-{i}"
        while short in seen:
            short = f"{short[:240]}-{i}"
        seen.add(short)
        out.append(short)
    return out


def _name(text: str) -> str:
    ascii_text = text.encode("ascii", "replace").decode().translate(_UNSAFE)
    return ascii_text.strip("._:/-")[:253].strip("._:/-")
