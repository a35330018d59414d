"""The dry run: what would start where, from a copy of live state. Nothing is ever started.

Each launch is checked against a copy of the nodes' free capacity, which every bind that fits then
takes from. A bind that fits ends in STOPPED with the reason "dry run", one that does not in
START_FAILED with what was short; `planned()` is the table of both. Nothing planned ever ends and
gives its room back: the question a dry run answers is what would start now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cerebrum.executors._launches import check_deadline, check_grace, check_launch, check_stream
from cerebrum.model.errors import InputError, NotFound, nearest
from cerebrum.model.resources import Resources
from cerebrum.model.runs import Launch, RunPhase, RunStatus

REASON = "dry run"
"""The reason of a run that would have started."""


@dataclass(frozen=True, slots=True)
class FreeNode:
    """What is free on one node: `gpu_free_milli` thousandths of each GPU, in the order of indices.

    `free.gpu_count` and `free.gpu_milli` are not looked at: two numbers cannot say it.
    """

    free: Resources
    gpu_free_milli: tuple[int, ...] = ()

    @classmethod
    def idle(cls, capacity: Resources) -> FreeNode:
        """A node of which nothing is in use."""
        return cls(capacity, (capacity.gpu_milli,) * capacity.gpu_count)


@dataclass(frozen=True, slots=True)
class PlannedBind:
    """One row of the plan. `shortage` says what was short, empty if the run would start."""

    run_id: str
    task: str
    node: str
    gpus: tuple[int, ...]
    resources: Resources
    shortage: str = ""

    @property
    def fits(self) -> bool:
        """Whether the run would start."""
        return not self.shortage


class DryRun:
    """An executor that only plans, on a copy of `nodes`: free capacity by node name."""

    name = "dry_run"

    def __init__(
        self, nodes: Mapping[str, FreeNode], unix_s: Callable[[], float] = time.time
    ) -> None:
        self._nodes = dict(nodes)
        self._unix_s = unix_s
        self._plan: dict[str, PlannedBind] = {}
        self._runs: dict[str, RunStatus] = {}
        self._unread: list[RunStatus] = []
        self._news = asyncio.Event()

    def planned(self) -> tuple[PlannedBind, ...]:
        """Every bind that was asked for, in that order, forgotten runs included."""
        return tuple(self._plan.values())

    async def start(self, launch: Launch) -> None:
        """Plan a run. Raises `InputError` for numbers that make no sense."""
        check_launch(launch)
        if launch.run_id in self._plan:
            return
        shortage = self._take(launch)
        self._plan[launch.run_id] = PlannedBind(
            launch.run_id, launch.task, launch.node, launch.gpus, launch.resources, shortage
        )
        status = RunStatus(
            launch.run_id,
            RunPhase.START_FAILED if shortage else RunPhase.STOPPED,
            launch.task,
            launch.node,
            ended_unix_s=self._unix_s(),
            reason=shortage or REASON,
        )
        self._runs[launch.run_id] = status
        self._unread.append(status)
        self._news.set()

    async def stop(self, run_id: str, reason: str, grace_s: float = 10.0) -> None:
        """Nothing: every planned run is over."""
        check_grace(grace_s)

    async def runs(self) -> Sequence[RunStatus]:
        """See `Executor.runs`."""
        return list(self._runs.values())

    async def next_changes(self) -> Sequence[RunStatus]:
        """See `Executor.next_changes`."""
        await self._news.wait()
        self._news.clear()
        changes, self._unread = self._unread, []
        return changes

    async def forget(self, run_id: str) -> None:
        """Drop the run's status. Its row of the plan stays, and its room stays taken."""
        self._runs.pop(run_id, None)

    async def fence(self, run_ids: Sequence[str], seconds: float | None) -> None:
        """Nothing: every planned run is over."""
        check_deadline(seconds)

    async def logs(
        self, run_id: str, stream: str = "stdout", offset: int = 0, limit: int = 2**20
    ) -> bytes:
        """Nothing was written. Raises `NotFound`."""
        check_stream(stream)
        if run_id not in self._plan:
            raise NotFound(f"no run {run_id!r}")
        return b""

    async def close(self) -> None:
        """Nothing to let go of."""

    def _take(self, launch: Launch) -> str:
        """Take the launch's room from the copy; else what is short."""
        node = self._nodes.get(launch.node)
        if node is None:
            near = nearest(launch.node, self._nodes)
            return f"no node {launch.node!r}" + (f", did you mean {near!r}?" if near else "")
        short = _shortage(node, launch)
        if not short:
            self._nodes[launch.node] = _without(node, launch)
        return short


def _shortage(node: FreeNode, launch: Launch) -> str:
    wanted, free = launch.resources, node.free
    for field in ("cpu_milli", "memory_mib", "cache_ways"):
        if getattr(wanted, field) > getattr(free, field):
            return f"{field}: {getattr(wanted, field)} wanted, {getattr(free, field)} free"
    amounts = dict(free.extended)
    for name, amount in wanted.extended:
        if amount > amounts.get(name, 0):
            return f"{name}: {amount} wanted, {amounts.get(name, 0)} free"
    if len(set(launch.gpus)) != wanted.gpu_count:
        return f"gpus: {wanted.gpu_count} wanted, {len(set(launch.gpus))} bound"
    for gpu in launch.gpus:
        if not 0 <= gpu < len(node.gpu_free_milli):
            return f"no GPU {gpu}: the node has {len(node.gpu_free_milli)}"
        if wanted.gpu_milli > node.gpu_free_milli[gpu]:
            return f"GPU {gpu}: {wanted.gpu_milli} wanted, {node.gpu_free_milli[gpu]} free"
    return ""


def _without(node: FreeNode, launch: Launch) -> FreeNode:
    wanted, free = launch.resources, node.free
    taken = dict(wanted.extended)
    left = replace(
        free,
        cpu_milli=free.cpu_milli - wanted.cpu_milli,
        memory_mib=free.memory_mib - wanted.memory_mib,
        cache_ways=free.cache_ways - wanted.cache_ways,
        extended=tuple((name, amount - taken.get(name, 0)) for name, amount in free.extended),
    )
    gpus = tuple(
        milli - (wanted.gpu_milli if index in launch.gpus else 0)
        for index, milli in enumerate(node.gpu_free_milli)
    )
    return FreeNode(left, gpus)


def free_nodes(capacity: Mapping[str, Resources], running: Sequence[Launch]) -> dict[str, FreeNode]:
    """The copy of live state: nodes of `capacity` less what `running` holds.

    Raises `InputError` when what runs does not fit: then the state is not one to plan on.
    """
    nodes = {name: FreeNode.idle(amount) for name, amount in capacity.items()}
    for launch in running:
        if launch.node not in nodes:
            raise InputError(f"run {launch.run_id!r} is on {launch.node!r}, which is no node")
        short = _shortage(nodes[launch.node], launch)
        if short:
            raise InputError(f"run {launch.run_id!r} does not fit {launch.node!r}: {short}")
        nodes[launch.node] = _without(nodes[launch.node], launch)
    return nodes
