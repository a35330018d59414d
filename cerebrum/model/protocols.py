"""The protocols: who decides, who makes it happen, who looks ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Node
from cerebrum.model.decisions import Decision
from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.model.runs import Launch, RunStatus
from cerebrum.model.snapshot import Snapshot
from cerebrum.model.workflow import Workflow


@runtime_checkable
class Policy(Protocol):
    """A pure decision: the same snapshot gives the same decision. Higher scores win."""

    name: str

    def decide(self, snapshot: Snapshot) -> Decision:
        """What to do now; called again after each non-empty decision has been applied."""
        ...


@runtime_checkable
class Scores(Protocol):
    """A policy that says what a node is worth to a task, and which GPUs it would get there."""

    def totals(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        """float64[rows]; -inf where it does not fit."""
        ...

    def gpus_on(self, snapshot: Snapshot, task: int, row: int) -> int:
        """A mask; -1 where the node lacks room."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One node in an explanation: refused for `refusals` (bits), or scored.

    `raw`, `normalized` and `weighted` hold one number per scorer of the profile, in its order.
    """

    row: int
    refusals: int = 0
    raw: tuple[float, ...] = ()
    normalized: tuple[float, ...] = ()
    weighted: tuple[float, ...] = ()
    total: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task went where it went: every node's refusals or scores, and the tie rule."""

    task: int
    scorers: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    winner: int
    ties: int
    tie_rule: str
    note: str = ""
    counts: dict[str, int] = field(default_factory=dict[str, int])


@runtime_checkable
class Explains(Protocol):
    """A policy that can say why: the filter and score table behind a decision."""

    def explain(self, snapshot: Snapshot, task: int) -> Explanation:
        """The table for `task` as if it were decided now."""
        ...


class Stepping(Protocol):
    """A world that stops at each decision point: a simulation, an environment, a replay."""

    def next_snapshot(self) -> Snapshot | None:
        """What there is to decide on next; None when nothing will ever happen again."""
        ...

    def act(self, decision: Decision) -> Snapshot:
        """Carry out; the snapshot afterwards. Raises `InfeasibleDecision`."""
        ...


class Executor(Protocol):
    """Makes binds happen outside the engine, and says what became of them.

    A run is one attempt of one task on one node. Every run that was asked for ends its start in
    exactly one of RUNNING, START_FAILED and STOPPED; what runs ends in exactly one of SUCCEEDED,
    FAILED and STOPPED. Runs outlive the process that asked for them where the outside can.
    """

    name: str

    async def start(self, launch: Launch) -> None:
        """Ask for a run. Returns once it would survive our end; a known run id is ignored."""
        ...

    async def stop(self, run_id: str, reason: str, grace_s: float = 10.0) -> None:
        """Ask for an end: politely, then by force after `grace_s`. Unknown or ended: ignored."""
        ...

    async def runs(self) -> Sequence[RunStatus]:
        """Every run there really is, and every ended one that was not forgotten."""
        ...

    async def next_changes(self) -> Sequence[RunStatus]:
        """Wait for runs to change phase; each change once, in order. Empty: see `runs` again."""
        ...

    async def forget(self, run_id: str) -> None:
        """The end of this run is recorded elsewhere: its traces (but for its logs) may go."""
        ...

    async def fence(self, run_ids: Sequence[str], seconds: float | None) -> None:
        """End these runs by themselves in `seconds` from now, whether we live or not; None: never.

        Each call replaces the deadline. What is past it is STOPPED with the reason "fenced".
        """
        ...

    async def logs(
        self, run_id: str, stream: str = "stdout", offset: int = 0, limit: int = 2**20
    ) -> bytes:
        """What the run wrote so far. Raises `NotFound`."""
        ...

    async def close(self) -> None:
        """Let go of everything without ending any run."""
        ...


class Inventory(Protocol):
    """Nodes that come, change and go by themselves: what is left on them for our runs.

    A node's capacity is what others leave; our own runs are not counted. A name stays one row.
    """

    async def nodes(self) -> Sequence[Node]:
        """The nodes of this moment. Waits until they are known; raises when that takes too long."""
        ...

    async def next_changes(self) -> Mapping[str, Node | None]:
        """Wait until nodes are not as they were told last; None: it is gone."""
        ...

    @property
    def stale_s(self) -> float:
        """Seconds since the outside last said anything; inf before it did."""
        ...


class Forecaster(Protocol):
    """Looks ahead on many evenly spaced series at once. NaN in a history is a gap."""

    name: str

    def fit(self, history: NDArray[np.float64]) -> None:
        """Learn from float64[series, time], oldest first."""
        ...

    def predict(
        self, horizon: int, history: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """float64[series, horizon] in the units of the history; column k is k + 1 steps ahead.

        `history` is what is known now, when it went on since `fit`: same series, any length.
        """
        ...


@runtime_checkable
class Decomposer(Protocol):
    """Cuts a workflow into parts, each of which one cluster runs. Deterministic."""

    name: str

    def decompose(
        self, workflow: Workflow, clusters: ClusterViews, network: Network
    ) -> Decomposition:
        """Parts whose quotient graph is acyclic, for these clusters and links."""
        ...


@runtime_checkable
class Assigner(Protocol):
    """Chooses a cluster for each part of a workflow. Deterministic for one `key`."""

    name: str

    def assign(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: NDArray[np.int32] | None = None,
        key: int = 0,
    ) -> NDArray[np.int32]:
        """int32[parts]: index of the cluster, -1 where no cluster can hold the part's tasks.

        `placed` (int32[parts], -1: open) holds parts that already have a cluster and stay there.
        """
        ...
