"""What the agent shows of itself: plain data for HTTP, the command line and metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from cerebrum.model.errors import NotFound
from cerebrum.model.events import REFUSAL_TEXT
from cerebrum.model.protocols import Explains
from cerebrum.services import wire
from cerebrum.services.agent import schema
from cerebrum.services.agent.energy import PJ
from cerebrum.services.agent.records import HeldState, HeldTask

if TYPE_CHECKING:
    from cerebrum.services.agent.agent import Agent

SHOWN = 1000
"""Tasks listed in a status; there may be more, see its counts."""
_HISTORY = 500
_TOP_ROWS = 50


def node_statuses(agent: Agent) -> list[wire.NodeStatus]:
    """What each node has free; `forecast_cpu` is what is forecast beyond what we gave away."""
    snapshot = agent.life.placement.snapshot()
    ahead = {} if agent.forecasts is None else agent.forecasts.mean_cpu()
    found: list[wire.NodeStatus] = []
    for node in agent.life.nodes.values():
        row = agent.life.placement.rows[node.name]
        record, capacity = snapshot.nodes[row], node.capacity
        # Where others took the room of what runs, less than nothing is free.
        free_milli = max(0, int(record["cpu_free"]))
        given = 1.0 - free_milli / capacity.cpu_milli if capacity.cpu_milli else 0.0
        found.append(
            wire.NodeStatus(
                name=node.name, cpu_free_milli=free_milli,
                memory_free_mib=max(0, int(record["memory_free"])),
                gpu_free=sum(int(g) == 1000 for g in record["gpu_free"][: capacity.gpu_count]),
                schedulable=bool(snapshot.usable[row]),
                forecast_cpu=min(1.0, max(0.0, ahead.get(node.name, 0.0) - given)),
            )
        )  # fmt: skip
    return found


async def status(agent: Agent) -> dict[str, Any]:
    """See `Agent.status`."""
    async with agent.ledger.turn():
        return {
            "cluster": agent.settings.cluster,
            "zone": agent.settings.zone,
            "version": agent.settings.version,
            "policy": agent.life.policy.name,
            "unix_s": agent.clock.unix_s(),
            "controller": _controller(agent),
            "engine": _engine(agent),
            "nodes": _nodes(agent),
            "tasks": _tasks(agent),
            "counts": await _counts(agent),
            "problems": {
                "store": agent.store_problem,
                "executor": agent.runner.problem,
                "policy": agent.life.problem,
            },
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the nodes, and how many tasks and reports there are by state, for metrics."""

    nodes: int
    cpu_milli: int
    cpu_used_milli: int
    memory_mib: int
    memory_used_mib: int
    idle_energy_j: float
    runs_energy_j: float
    counts: dict[str, int]
    connected: bool


async def totals(agent: Agent) -> Totals:
    """See `Agent.totals`."""
    async with agent.ledger.turn():
        nodes, placement = agent.life.nodes, agent.life.placement
        rows = np.fromiter((placement.rows[name] for name in nodes), np.int64, len(nodes))
        records = placement.snapshot().nodes[rows]
        cpu_milli = sum(node.capacity.cpu_milli for node in nodes.values())
        memory_mib = sum(node.capacity.memory_mib for node in nodes.values())
        idle_pj, runs_pj = agent.life.energy.sums(nodes, agent.clock.monotonic_s())
        return Totals(
            nodes=len(nodes),
            cpu_milli=cpu_milli,
            cpu_used_milli=cpu_milli - int(np.maximum(records["cpu_free"], 0).sum(dtype=np.int64)),
            memory_mib=memory_mib,
            memory_used_mib=memory_mib
            - int(np.maximum(records["memory_free"], 0).sum(dtype=np.int64)),
            idle_energy_j=idle_pj / PJ,
            runs_energy_j=runs_pj / PJ,
            counts=await _counts(agent),
            connected=agent.link is not None and agent.link.connected,
        )


def _controller(agent: Agent) -> dict[str, Any]:
    link = agent.link
    contact_s = agent.leases.contact_s
    since_s = None if contact_s == -math.inf else agent.clock.monotonic_s() - contact_s
    closes_s = agent.leases.next_s()
    return {
        "present": link is not None,
        "connected": link is not None and link.connected,
        "cordoned": link is not None and link.cordoned,
        "problem": "" if link is None else link.problem,
        "epoch": int(agent.ledger.values.get("epoch", 0)),
        "since_contact_s": since_s,
        "next_fence_s": None if closes_s == math.inf else closes_s,
    }


def _engine(agent: Agent) -> dict[str, Any]:
    placement = agent.life.placement
    return {
        "version": placement.engine.version,
        "session": int(agent.ledger.values.get("session", 0)),
        "tasks": len(placement.uids),
        "events": len(placement.engine.log),
        "pending": len(placement.snapshot().pending),
    }


def _nodes(agent: Agent) -> list[dict[str, Any]]:
    now_s, forecasts = agent.clock.monotonic_s(), agent.forecasts
    shown: list[dict[str, Any]] = []
    for row, (node, now) in enumerate(
        zip(agent.life.nodes.values(), node_statuses(agent), strict=True)
    ):
        capacity = node.capacity
        idle_pj, runs_pj, _ = agent.life.energy.totals(node.name, now_s)
        entry: dict[str, Any] = {
            "name": node.name,
            "schedulable": now.schedulable,
            "cpu_milli": capacity.cpu_milli,
            "cpu_used_milli": capacity.cpu_milli - now.cpu_free_milli,
            "memory_mib": capacity.memory_mib,
            "memory_used_mib": capacity.memory_mib - now.memory_free_mib,
            "gpu_count": capacity.gpu_count,
            "gpu_free": now.gpu_free,
            "gpu_model": node.gpu_model,
            "speed": node.speed,
            "power_w": agent.life.energy.power_w(node.name),
            "idle_energy_j": idle_pj / PJ,
            "runs_energy_j": runs_pj / PJ,
            "energy_j": (idle_pj + runs_pj) / PJ,
        }
        if forecasts is not None and forecasts.latest:
            ahead = {name: series[row].tolist() for name, series in forecasts.latest.items()}
            entry["forecast"] = {"interval_s": agent.settings.usage_s, **ahead}
        shown.append(entry)
    return shown


def _tasks(agent: Agent) -> list[dict[str, Any]]:
    """Running ones first, then in the order they came."""
    active = (HeldState.RUNNING, HeldState.BOUND)
    ordered = sorted(
        agent.ledger.tasks.values(), key=lambda task: (task.state not in active, task.number)
    )
    return [_brief(agent, task) for task in ordered[:SHOWN]]


def _brief(agent: Agent, task: HeldTask) -> dict[str, Any]:
    expected_s = agent.runtimes.expected_s(task.spec)
    held = agent.ledger.assignments.get(task.assignment)
    return {
        "uid": task.uid,
        "workflow": held.workflow if held is not None else "",
        "state": str(task.state),
        "node": task.node if task.state in (HeldState.RUNNING, HeldState.BOUND) else "",
        "reason": _reason(task),
        "attempts": task.attempts,
        "run_id": task.run_id,
        "cpu_milli": task.spec.cpu_milli,
        "memory_mib": task.spec.memory_mib,
        "gpu_count": task.spec.gpu_count,
        "expected_s": None if expected_s == math.inf else expected_s,
    }


def _reason(task: HeldTask) -> str:
    if task.state is HeldState.BLOCKED:
        return "waits for " + ", ".join(sorted(task.waits_for)[:5])
    if task.state is HeldState.UNCONFIRMED:
        return "not confirmed by the controller yet"
    return task.reason


async def _counts(agent: Agent) -> dict[str, int]:
    t = schema.tasks
    query = select(t.c.state, func.count()).group_by(t.c.state)
    rows = await agent.ledger.store.read(
        lambda conn: {str(state): int(count) for state, count in conn.execute(query)}
    )
    outbox = select(func.count()).select_from(schema.reports)
    waiting = await agent.ledger.store.read(lambda conn: conn.execute(outbox).scalar())
    return {**dict.fromkeys(map(str, HeldState), 0), **rows, "reports": int(waiting or 0)}


async def task(agent: Agent, uid: str) -> dict[str, Any]:
    """See `Agent.task`."""
    t, e = schema.tasks, schema.events
    stored = select(t).where(t.c.uid == uid)
    history = select(e).where(e.c.task == uid).order_by(e.c.seq.desc()).limit(_HISTORY)
    row = await agent.ledger.store.read(lambda conn: conn.execute(stored).mappings().first())
    if row is None:
        raise NotFound(f"there is no task {uid!r}")
    events = await agent.ledger.store.read(lambda conn: conn.execute(history).mappings().all())
    return {**dict(row), "events": [dict(event) for event in reversed(events)]}


async def last_run(agent: Agent, uid: str) -> str:
    """The run id of a task's latest attempt. Raises `NotFound`."""
    query = select(schema.tasks.c.run_id).where(schema.tasks.c.uid == uid)
    found = await agent.ledger.store.read(lambda conn: conn.execute(query).scalar())
    if not found:
        raise NotFound(f"task {uid!r} has not run here")
    return str(found)


async def explain(agent: Agent, uid: str) -> dict[str, Any]:
    """See `Agent.explain`."""
    async with agent.ledger.turn():
        held = agent.ledger.tasks.get(uid)
        if held is None:
            raise NotFound(f"no task {uid!r} is waiting or running here")
        shown = _brief(agent, held)
        placement, policy = agent.life.placement, agent.life.policy
        number = placement.ids.get(uid)
        if number is None or not isinstance(policy, Explains):
            return shown
        snapshot = placement.snapshot()
        table = policy.explain(snapshot, number)
    names = snapshot.node_names
    best = sorted(table.rows, key=lambda row: (-row.total, row.row))[:_TOP_ROWS]
    shown["policy"] = policy.name
    shown["would_go_to"] = names[table.winner] if table.winner >= 0 else ""
    shown["ties"], shown["tie_rule"] = table.ties, table.tie_rule
    shown["note"] = table.note
    shown["nodes"] = [
        {
            "node": names[row.row],
            "refused": [text for bit, text in REFUSAL_TEXT.items() if row.refusals & int(bit)],
            "scores": dict(zip(table.scorers, row.weighted, strict=False)),
            "total": row.total if math.isfinite(row.total) else None,
        }
        for row in best
    ]
    return shown
