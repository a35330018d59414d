"""`cerebrum submit`: give a workflow to a controller, and wait for its end if asked to."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _contexts
from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit_one
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import ConfigError

if TYPE_CHECKING:
    from cerebrum.services.client import CerebrumClient
    from cerebrum.services.wire import WorkflowSpec

POLL_S = 0.5


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("submit", help=line)(submit)


def submit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A workflow: native JSON, WfFormat, Argo, DAX, or a name such as montage-like.",
        ),
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; 1 if it fails.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 86_400.0,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
    on_cluster_lost: Annotated[str | None, typer.Option(help="wait, replace or never.")] = None,
    decomposition: Annotated[str | None, typer.Option(help="How to cut it into parts.")] = None,
    assignment: Annotated[str | None, typer.Option(help="How to choose clusters.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key and file is submitted once.")
    ] = None,
    server: _contexts.Server = None,
    context: _contexts.ContextName = None,
    output: options.Form = Output.TABLE,
) -> int:
    """Submit a workflow."""
    given = {
        "name": name, "priority": priority, "on_cluster_lost": on_cluster_lost,
        "decomposition": decomposition, "assignment": assignment,
    }  # fmt: skip
    spec = load_spec(file, {field: value for field, value in given.items() if value is not None})
    with _contexts.client(server, context) as client:
        # Sending again after a lost answer must not submit twice.
        accepted = client.submit(spec, key=key or _fresh_key(spec))
        say(f"workflow {accepted['id']} accepted: {accepted['tasks']:,} tasks")
        if not wait:
            emit_one(accepted, output)
            return 0
        ended = wait_for(client, str(accepted["id"]), timeout)
    shown = ("id", "name", "state", "reason", "tasks", "succeeded", "failed", "cancelled",
             "rejected", "started_unix_s", "ended_unix_s", "energy_j")  # fmt: skip
    emit_one({name: ended.get(name) for name in shown}, output)
    return 0 if ended["state"] == "succeeded" else 1


def load_spec(file: str, changes: dict[str, Any]) -> WorkflowSpec:
    """The submission in a file of any format, with some fields set. Raises `InputError`."""
    from pydantic import ValidationError

    from cerebrum.services.api.problems import MalformedBody
    from cerebrum.services.api.submissions import parse, spec_of
    from cerebrum.services.wire import WorkflowSpec
    from cerebrum.traces import workflows

    try:
        made = workflows.generated(file)
        spec = parse(workflows.read_data(file), source=file) if made is None else spec_of(made)
        # Only what is changed is checked again: the tasks may be many.
        return WorkflowSpec.model_validate(dict(spec) | changes) if changes else spec
    except MalformedBody as problem:
        raise ConfigError(problem.detail).at(file) from None
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise ConfigError(f"not recognised as a workflow: {first['msg']}").at(file) from None
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(first["msg"]).at(file, field=where or None) from None


def wait_for(client: CerebrumClient, id: str, timeout_s: float) -> dict[str, Any]:
    """The workflow once it has ended, with a progress bar. Raises `ConfigError` after the time."""
    from cerebrum.services.errors import Unreachable
    from cerebrum.services.wire import TERMINAL

    deadline = time.monotonic() + timeout_s
    with bar(id, 1) as advance:
        while True:
            try:
                found = client.workflow(id)
            except Unreachable as problem:  # it may come back: what was accepted is on its disk
                if time.monotonic() > deadline:
                    raise
                say(f"waiting: {problem}")
                time.sleep(2.0)
                continue
            advance(found["tasks"] - found["unended"], found["tasks"])
            if found["state"] in TERMINAL:
                return found
            if time.monotonic() > deadline:
                raise ConfigError(f"{id} is {found['state']} after {timeout_s:g} s; it goes on").at(
                    field="timeout"
                )
            time.sleep(POLL_S)


def _fresh_key(spec: WorkflowSpec) -> str:
    """A key of this submission alone: what is in it, and when."""
    text = f"{time.time_ns()}\0{spec.name}\0{len(spec.tasks)}".encode()
    return "cli-" + hashlib.sha256(text).hexdigest()[:32]
