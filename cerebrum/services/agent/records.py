"""What the agent holds, as objects in memory; each is a row of `schema`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cerebrum.model.runs import RunPhase
from cerebrum.services.wire import TaskSpec


class HeldState(StrEnum):
    """Where a held task stands. The last three are final."""

    UNCONFIRMED = "unconfirmed"  # stored, and not ours before the controller has said so
    BLOCKED = "blocked"  # a predecessor in this cluster has not succeeded yet
    WAITING = "waiting"  # for a node, or for its next attempt
    BOUND = "bound"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing comes after it."""
        return self in (HeldState.SUCCEEDED, HeldState.FAILED, HeldState.CANCELLED)


@dataclass(slots=True)
class Assignment:
    """Tasks offered together. `arrived_s` monotonic; `tasks` uids of those that have not ended."""

    id: str
    number: int
    generation: int
    epoch: int
    workflow: str
    workflow_name: str
    part: int = 0
    priority: int = 0
    fence_after_s: float | None = None
    arrived_s: float = 0.0
    confirmed: bool = False
    local: bool = False
    digest: str = ""
    tasks: set[str] = field(default_factory=set[str])

    def row(self) -> dict[str, Any]:
        """Its row of `schema.assignments`."""
        return {
            "id": self.id, "number": self.number, "generation": self.generation,
            "epoch": self.epoch, "workflow": self.workflow, "workflow_name": self.workflow_name,
            "part": self.part, "priority": self.priority, "fence_after_s": self.fence_after_s,
            "arrived_s": self.arrived_s, "confirmed": self.confirmed, "local": self.local,
            "digest": self.digest, "live": bool(self.tasks),
        }  # fmt: skip

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Assignment:
        """The inverse of `row`, without its tasks."""
        return cls(**{name: row[name] for name in row if name != "live"})


@dataclass(slots=True)
class HeldTask:
    """One task. `attempts` starts so far (they name the runs), `failures` those that failed;
    `not_before_s` monotonic; `ending` why an end was asked for: cancelled, fenced or dropped;
    `waits_for` predecessors in this cluster that have not succeeded yet.
    """

    uid: str
    number: int
    assignment: str
    generation: int
    spec: TaskSpec
    rank_s: float = 0.0
    after: tuple[str, ...] = ()
    inputs: dict[str, float] = field(default_factory=dict[str, float])
    state: HeldState = HeldState.UNCONFIRMED
    attempts: int = 0
    failures: int = 0
    not_before_s: float = 0.0
    ending: str = ""
    reason: str = ""
    node: str = ""
    run_id: str = ""
    ended_unix_s: float | None = None
    waits_for: set[str] = field(default_factory=set[str])

    def row(self) -> dict[str, Any]:
        """Its row of `schema.tasks`."""
        return {
            "uid": self.uid, "number": self.number, "assignment": self.assignment,
            "generation": self.generation, "spec": self.spec.model_dump(mode="json"),
            "rank_s": self.rank_s, "after": list(self.after), "inputs": self.inputs,
            **self.changing(),
        }  # fmt: skip

    def changing(self) -> dict[str, Any]:
        """The part of its row that changes."""
        return {
            "state": str(self.state), "attempts": self.attempts, "failures": self.failures,
            "not_before_s": self.not_before_s, "ending": self.ending, "reason": self.reason,
            "node": self.node, "run_id": self.run_id, "ended_unix_s": self.ended_unix_s,
            "live": not self.state.final,
        }  # fmt: skip

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> HeldTask:
        """The inverse of `row`."""
        given: dict[str, Any] = {name: row[name] for name in row if name != "live"}
        given["spec"] = TaskSpec.model_validate(row["spec"])
        given["after"] = tuple(row["after"])
        given["state"] = HeldState(row["state"])
        return cls(**given)


@dataclass(slots=True)
class HeldRun:
    """One run. `started_s` monotonic; `tries` calls of the executor's start in this life."""

    run_id: str
    uid: str
    generation: int
    attempt: int
    node: str
    gpus: int = 0
    cache_ways: int = 0
    phase: RunPhase = RunPhase.STARTING
    stop: str = ""
    started_s: float | None = None
    started_unix_s: float | None = None
    tries: int = 0

    def row(self) -> dict[str, Any]:
        """Its row of `schema.runs`."""
        return {
            "run_id": self.run_id, "uid": self.uid, "generation": self.generation,
            "attempt": self.attempt, "node": self.node, "gpus": self.gpus,
            "cache_ways": self.cache_ways, **self.changing(),
        }  # fmt: skip

    def changing(self) -> dict[str, Any]:
        """The part of its row that changes."""
        return {
            "phase": str(self.phase), "stop": self.stop, "started_s": self.started_s,
            "started_unix_s": self.started_unix_s,
        }  # fmt: skip

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> HeldRun:
        """The inverse of `row`."""
        given: dict[str, Any] = {**row, "phase": RunPhase(row["phase"])}
        return cls(**given)
