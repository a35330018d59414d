"""`cerebrum policy status|promote|demote`: a candidate on a running controller or agent."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cerebrum.cli import _contexts
from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit, emit_one
from cerebrum.cli._progress import say
from cerebrum.model.errors import ConfigError

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="CEREBRUM_SERVER",
        help="Address of an agent or a controller; its token: CEREBRUM_TOKEN.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(help="The mode: off, shadow, advise, canary:SHARE or on. Default: one rung."),
]
Reason = Annotated[str, typer.Option(help="Kept in its history.")]
_COLUMNS = ("candidate", "baseline", "mode", "answers", "agreed", "differed", "regret", "last_trip")
_RUNGS = ("off", "shadow", "advise", "canary", "on")


def register(app: typer.Typer, line: str) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("status", help="Where the candidate stands, and why.")(status)
    group.command("promote", help="Give the candidate more to decide.")(promote)
    group.command("demote", help="Give it less.")(demote)
    app.add_typer(group, name="policy", help=line)


def status(
    server: Server = None,
    context: _contexts.ContextName = None,
    output: options.Form = Output.TABLE,
) -> None:
    """Mode, counters and history of the candidate."""
    with _contexts.client(server, context) as client:
        report = client.rollout()
    if output not in (Output.TABLE, Output.WIDE):
        emit_one(report, output)
        return
    emit([_brief(report)], output, _COLUMNS if output is Output.TABLE else None)
    trips = {reason: count for reason, count in report["trips"].items() if count}
    say("trips: " + (", ".join(f"{k} {v}" for k, v in trips.items()) or "none"))
    for change in report["history"][-5:]:
        say(f"{change['was']} -> {change['now']} by {change['by']}: {change['reason'] or '-'}")


def promote(
    to: To = None,
    reason: Reason = "",
    server: Server = None,
    context: _contexts.ContextName = None,
) -> None:
    """One rung up (off, shadow, canary:0.1, on), or to a mode above. Stored on return."""
    _move("up", to, reason, server, context)


def demote(
    to: To = None,
    reason: Reason = "",
    server: Server = None,
    context: _contexts.ContextName = None,
) -> None:
    """One rung down, or to a mode below. Stored on return."""
    _move("down", to, reason, server, context)


def _move(way: str, to: str | None, reason: str, server: str | None, context: str | None) -> None:
    with _contexts.client(server, context) as client:
        before = client.rollout()
        if to is not None:
            _check(way, to, before)
        after = client.move_rollout(to or way, reason)
    say(f"{after['candidate']}: {_mode(before)} -> {_mode(after)}")


def _check(way: str, to: str, before: dict[str, Any]) -> None:
    """Who says promote does not mean less."""
    from cerebrum.policies.learned.ladder import parse_target

    target = parse_target(to)
    now = (_RUNGS.index(before["mode"]), before["share"] if before["mode"] == "canary" else 0.0)
    then = (_RUNGS.index(target.mode), target.share if target.mode == "canary" else 0.0)
    if (then < now) if way == "up" else (then > now):
        other = "demote" if way == "up" else "promote"
        raise ConfigError(f"{to} is not {way} from {_mode(before)}: use {other}").at(field="to")


def _mode(report: dict[str, Any]) -> str:
    return f"canary:{report['share']:g}" if report["mode"] == "canary" else report["mode"]


def _brief(report: dict[str, Any]) -> dict[str, Any]:
    row = {key: value for key, value in report.items() if key not in ("history", "trips")}
    return {**row, "mode": _mode(report)}
