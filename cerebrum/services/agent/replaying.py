"""Replay: the decisions an agent made live, made again offline from its journal.

A journal holds, per session of the agent's engine, everything the engine was told in order, and
what the policy answered at each decision point. `replay` builds the same engine, tells it the same,
and asks the policy again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from cerebrum.engine.engine import Engine
from cerebrum.model.decisions import Decision
from cerebrum.model.journal import action_record, event_of_record, node_of_record
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import NodeChange
from cerebrum.model.tasks import TaskTable
from cerebrum.policies.learned.rollout import Rollout
from cerebrum.services.agent import schema
from cerebrum.services.agent.journal import task_of_record, unpacked
from cerebrum.services.agent.placing import change_node, empty_engine
from cerebrum.services.ports import Store

_AT_ONCE = 500  # rows of the journal in memory


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that came out otherwise: `journal` row, what was decided live and now."""

    journal: int
    session: int
    live: list[Any]
    replayed: list[Any]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found. Decisions agree when `differences` is empty."""

    sessions: int
    decisions: int
    events: int
    differences: tuple[Difference, ...]


async def replay(store: Store, make_policy: Callable[[str], Policy] | None = None) -> Replay:
    """Replay every session whose beginning is still in the journal.

    `make_policy` makes a policy from the name that the session noted (default: `get_policy`).
    Raises `InvalidEvent` for a journal that is damaged.
    """
    if make_policy is None:
        from cerebrum.policies import get_policy

        make_policy = get_policy
    engine: Engine | None = None
    policy: Policy | None = None
    current, sessions, decisions, events = -1, 0, 0, 0
    differences: list[Difference] = []
    seq = 0
    while rows := await _rows(store, seq):
        for seq, session, entry in _entries(rows):
            if entry[0] == "session":
                header = entry[1]
                nodes = [node_of_record(node) for node in header["nodes"]]
                engine = empty_engine(header["cluster"], nodes, int(header["key"]))
                policy, current = _policy(header, make_policy), session
                sessions += 1
            elif engine is None or policy is None or session != current:
                continue  # its beginning was pruned
            elif entry[0] == "decision":
                decisions += 1
                made = [action_record(a) for a in _decided(policy, engine, entry).actions]
                if made != entry[1]:
                    differences.append(Difference(seq, session, entry[1], made))
            else:
                events += 1
                _tell(engine, entry)
    return Replay(sessions, decisions, events, tuple(differences))


def _policy(header: Mapping[str, Any], make: Callable[[str], Policy]) -> Policy:
    """The policy of a session; with a candidate beside it, if it had one."""
    beside = header.get("rollout")
    if beside is None:
        return make(header["policy"])
    candidate, explore, salt = beside["candidate"], beside["explore"], beside["salt"]
    return Rollout(make(candidate), make(header["policy"]), explore=explore, salt=salt)


def _decided(policy: Policy, engine: Engine, entry: list[Any]) -> Decision:
    """Asked again; of two sides the one that decided then, whatever made it so."""
    if isinstance(policy, Rollout):
        return policy.again(engine.snapshot(), entry[2])
    return policy.decide(engine.snapshot())


def _tell(engine: Engine, entry: list[Any]) -> None:
    if entry[0] == "admit":
        engine.admit(TaskTable.from_tasks([task_of_record(record) for record in entry[1]]))
    elif entry[0] == "forecast":
        engine.forecasts = {name: unpacked(*values) for name, values in entry[1].items()}
    elif entry[1] == "node":
        node = node_of_record(entry[4]) if len(entry) > 4 else None
        change_node(engine, entry[2], NodeChange(entry[3]), entry[0], node)
    else:
        engine.apply(event_of_record(entry))


async def _rows(store: Store, after: int) -> list[tuple[int, int, str]]:
    j = schema.journal
    query = select(j.c.seq, j.c.session, j.c.entries).where(j.c.seq > after).order_by(j.c.seq)
    found = await store.read(lambda conn: conn.execute(query.limit(_AT_ONCE)).all())
    return [(int(seq), int(session), str(entries)) for seq, session, entries in found]


def _entries(rows: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, list[Any]]]:
    for seq, session, entries in rows:
        for entry in json.loads(entries):
            yield seq, session, entry
