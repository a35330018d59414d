"""The pod scheduler: what waits for our `schedulerName` gets a node by a policy.

    async with Client(access) as client:
        await PodScheduler(client, get_policy("fgd"), clock=clock, wall=time.time, rng=rng).run()

It watches (`watching`), keeps the engine equal to the cluster (`mirror`), decides (`deciding`),
binds (`binder`), makes room (`making_room`) and tells (`reporting`); this file connects them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import numpy as np
import structlog

from cerebrum.executors.kubernetes._scheduler_effects import Effects, Settings
from cerebrum.executors.kubernetes._scheduler_intake import Intake
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.counters import Counters
from cerebrum.executors.kubernetes.extender import Extender
from cerebrum.executors.kubernetes.feeds import Feeds
from cerebrum.executors.kubernetes.mirror import Mirror
from cerebrum.executors.kubernetes.recorded import Journal, RecordedEngine, warm_up
from cerebrum.executors.kubernetes.reporting import Reporter
from cerebrum.executors.kubernetes.shadow import Shadow
from cerebrum.executors.kubernetes.typical import TypicalPods
from cerebrum.executors.kubernetes.watching import Watching
from cerebrum.model.errors import NotFound
from cerebrum.model.protocols import Explains, Explanation, Policy

_log = structlog.get_logger(__name__)
Mode = Literal["bind", "shadow", "off"]
_TICK_S = 1.0
_FLUSH_S = 60.0


class PodScheduler:
    """One scheduler of one cluster.

    `mode` bind: pods of `scheduler_name` are ours; shadow: those of `shadowed` are decided and not
    bound, see `shadow`; off: only watch. `clock` are seconds that never go back, `wall` Unix time.
    `journal` hears all that the engine is told and every decision, see `recorded.replay`. `compute`
    runs what takes long: compiling, the first time. `feeds` (of all pods) spare it informers of its
    own for nodes and pods; `shortlist`: see `Extender`.
    """

    def __init__(
        self,
        client: Client,
        policy: Policy,
        *,
        scheduler_name: str = "cerebrum",
        mode: Mode = "bind",
        identity: str = "cerebrum",
        shadowed: Sequence[str] = ("default-scheduler",),
        preempt: bool = True,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rng: np.random.Generator,
        journal: Journal | None = None,
        concurrency: int = 64,
        compute: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread,
        feeds: Feeds | None = None,
        shortlist: int = 0,
    ) -> None:
        self.policy = policy
        self.mode: Mode = mode
        self.counters = Counters()
        self.shadow = Shadow(clock)
        self._client = client
        self._names = {"bind": (scheduler_name,), "shadow": tuple(shadowed), "off": ()}
        self._settings = Settings(scheduler_name, preempt, concurrency, wall, lambda: self.mode)
        self._clock, self._rng, self._journal = clock, rng, journal
        self._compute = compute
        self._start_s = wall() - clock()
        self._shortlist = shortlist
        shared = None if feeds is None else feeds.by_kind()
        self._watching = Watching(client, self._changed, rng, clock, shared)
        self._reporter = Reporter(client, scheduler_name, identity, wall)
        self._mirror: Mirror | None = None
        self._effects: Effects | None = None
        self._intake: Intake | None = None
        self._typical: TypicalPods | None = None
        self._extender: Extender | None = None
        self.ready = asyncio.Event()

    # -- running ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: informers, decisions, binds and reports."""
        try:
            await self._run()
        finally:
            self._watching.close()

    async def _run(self) -> None:
        await self._compute(lambda: warm_up(self.policy))  # before any watch that it would starve
        async with asyncio.TaskGroup() as tasks:
            await self._watching.start(tasks)
            effects = self._build()
            try:
                for work in (
                    self._reporter.run, effects.binder.run, effects.making_room.run,
                    effects.loop.run, self._tick,
                ):  # fmt: skip
                    tasks.create_task(work())
                effects.loop.wake()
                self.ready.set()
                await asyncio.Event().wait()
            finally:
                effects.close()

    def _build(self) -> Effects:
        """Engine and mirror of what the informers have now."""
        intake = self._intake = Intake(self._watching, self.counters)
        key = int(self._rng.integers(2**62))
        recorded = RecordedEngine(intake.nodes(), self.policy, self._time, key, self._journal)
        mirror = intake.mirror(recorded, lambda pod: pod.scheduler in self._names[self.mode])
        self._mirror = mirror
        self._effects = effects = Effects(
            self._client, intake, mirror, self._reporter, self.counters, self.shadow,
            self._settings,
        )  # fmt: skip
        self._extender = Extender(
            mirror, effects.binder, intake.facts, self._watching.items("pods").get, intake.budgets,
            self._shortlist,
        )  # fmt: skip
        self._watching.listen()
        intake.take_all()
        self._typical = TypicalPods(mirror)
        self._typical.renew()
        _log.info("synced", nodes=len(mirror.nodes), pods=len(mirror.held))
        return effects

    def _time(self) -> float:
        """Unix time as it was at the start, counted on by a clock that does not jump."""
        return self._start_s + self._clock()

    def _changed(self, kind: str, changes: Sequence[Any]) -> None:
        assert self._intake is not None
        assert self._effects is not None
        if self._intake.take(kind, changes):
            self._effects.loop.wake()

    async def _tick(self) -> None:
        """What has to be looked at although nothing happened."""
        assert self._effects is not None
        assert self._typical is not None
        next_flush_s = self._clock() + _FLUSH_S
        while True:
            await asyncio.sleep(_TICK_S)
            self._effects.tick()
            if self._clock() >= next_flush_s:
                next_flush_s = self._clock() + _FLUSH_S
                self._effects.look_again()
                self._typical.renew()

    # -- asking -------------------------------------------------------------------------------

    @property
    def mirror(self) -> Mirror:
        """The cluster as the engine has it. Raises `NotFound` before the first sync."""
        if self._mirror is None:
            raise NotFound("the cluster is not read yet")
        return self._mirror

    @property
    def extender(self) -> Extender:
        """Answers the stock scheduler's questions. Raises `NotFound` before the first sync."""
        if self._extender is None:
            raise NotFound("the cluster is not read yet")
        return self._extender

    @property
    def stale_s(self) -> float:
        """Seconds since the API server last said anything about the kind that is longest silent."""
        return self._watching.stale_s

    def counted(self) -> Counters:
        """The counters with their gauges as of now, for an exporter."""
        self.counters.stale_s = self._watching.stale_s
        if self._effects is not None:
            self._effects.gauge()
        return self.counters

    def set_mode(self, mode: Mode) -> None:
        """Switch while running: what was ours and is not now leaves the queue, and vice versa."""
        self.mode = mode
        if self._intake is not None and self._effects is not None:
            self._intake.take_pods_again()
            self._effects.loop.wake()

    def explain(self, namespace: str, name: str) -> Explanation:
        """Why a waiting pod goes where: every node's refusals or scores, as if decided now.

        Raises `NotFound` for a pod that does not wait, or where the policy cannot say.
        """
        mirror = self.mirror
        mirror.flush()
        for held in mirror.waiting():
            if held.pod.key == (namespace, name) and held.task >= 0:
                if not isinstance(self.policy, Explains):
                    raise NotFound(f"policy {self.policy.name!r} gives no explanations")
                return self.policy.explain(mirror.recorded.engine.snapshot(), held.task)
        raise NotFound(f"pod {namespace}/{name} does not wait for a node here")
