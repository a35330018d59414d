"""An agent whose cluster is a Kubernetes cluster: its executor, its nodes, and the pod scheduler.

The two share the live copy of nodes and pods, nothing else. The agent decides where the
federation's tasks go and makes pods of them; the scheduler decides about every pod that names it.
With both in one process the runs are pods of that scheduler, so that one engine has the last word
about each node.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import structlog
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from cerebrum.model.cluster import Node
from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Policy, Scores
from cerebrum.services.api.settings import LcaSettings
from cerebrum.services.crashpoints import client_with_crash_points
from cerebrum.services.ports import Compute, at_once

if TYPE_CHECKING:
    from cerebrum.executors.kubernetes.access import Access
    from cerebrum.executors.kubernetes.client import Client
    from cerebrum.executors.kubernetes.counters import Counters
    from cerebrum.executors.kubernetes.leader import LeaderElection
    from cerebrum.executors.kubernetes.runs import KubernetesRuns
    from cerebrum.executors.kubernetes.scheduler import PodScheduler
    from cerebrum.executors.kubernetes.shadow import Shadow

STALE_S = 180.0
"""Three bookmarks missed: what we know of the cluster is not to be relied on."""
SCHEDULER_QPS = 1000.0
_GAUGES = (
    "queued", "aside", "assumed", "nominated", "nodes", "pods", "events_dropped",
    "reports_waiting", "stale_s",
)  # fmt: skip
_log = structlog.get_logger("cerebrum.lca")


class KubernetesCluster:
    """What `--executor kubernetes` brings. `executor` and `nodes` are for the agent, `beside` runs
    as long as it. `make_policy` gives the pod scheduler's (default: that of the settings). Raises
    `ConfigError` for settings that contradict each other."""

    def __init__(
        self,
        settings: LcaSettings,
        compute: Compute = at_once,
        make_policy: Callable[[], Policy] | None = None,
    ) -> None:
        from cerebrum.executors.kubernetes.access import load_access

        _check(settings)
        self.settings, self._compute = settings, compute
        self._make_policy = make_policy or (lambda: _policy(settings))
        self.access = load_access(settings.kubeconfig, settings.kube_context)
        self.executor = _executor(settings, self.access)
        self.scheduler: PodScheduler | None = None
        self.election: LeaderElection | None = None

    async def nodes(self) -> tuple[Node, ...]:
        """The nodes of this moment. Raises `CerebrumError` when the cluster does not answer."""
        await self.executor.open()
        assert self.executor.inventory is not None
        return tuple(await self.executor.inventory.nodes())

    async def beside(self, agent: Callable[[], Awaitable[None]]) -> None:
        """The agent's life and, unless it is off, the pod scheduler's."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_done(agent), name="agent")
            if self._schedules:
                group.create_task(self._schedule(), name="pod-scheduler")

    def problem(self) -> str:
        """Why what we know of the cluster is not to be relied on; empty if it is."""
        inventory = self.executor.inventory
        if inventory is None or not inventory.synced:
            return "the cluster's nodes and pods are not listed yet"
        if inventory.stale_s > STALE_S:
            return f"the API server has said nothing for {inventory.stale_s:.0f} s"
        leads = self.election is None or self.election.is_leader
        if self._schedules and leads and not self._scheduler_ready():
            return "the pod scheduler has not read the cluster yet"
        return ""

    @property
    def _schedules(self) -> bool:
        """Whether the pod scheduler runs: as an extender it watches, even where it is off."""
        return _schedules(self.settings)

    def no_scheduler(self) -> str:
        """Why there is no pod scheduler now."""
        if not self._schedules:
            return "this agent was started with --mode off: start it with --mode shadow or bind"
        if self.election is not None and not self.election.is_leader:
            return "another process schedules the pods of this cluster"
        return "the pod scheduler has not started yet"

    def _scheduler_ready(self) -> bool:
        return self.scheduler is not None and self.scheduler.ready.is_set()

    async def _schedule(self) -> None:
        from cerebrum.executors.kubernetes.client import Client
        from cerebrum.executors.kubernetes.leader import LeaderElection

        qps = max(SCHEDULER_QPS, self.settings.kube_qps)
        ours = Client(self.access, qps=qps, burst=int(2 * qps), may_write=self._may_write)
        async with ours, Client(self.access) as for_election:
            client = client_with_crash_points(ours)

            async def lead() -> None:
                self.scheduler = self._new_scheduler(client)
                await self.scheduler.run()

            if not self.settings.leader_election:
                await lead()
                return
            self.election = LeaderElection(
                client_with_crash_points(for_election), self._namespace(),
                f"cerebrum-{self.settings.scheduler_name}", f"{socket.gethostname()}-{os.getpid()}",
            )  # fmt: skip
            await self.election.run(lead, self._rest)

    def _may_write(self) -> bool:
        return self.election is None or self.election.is_leader

    async def _rest(self) -> None:
        """Another one leads: nothing of ours is true any more."""
        self.scheduler = None

    def _new_scheduler(self, client: Client) -> PodScheduler:
        from cerebrum.executors.kubernetes.scheduler import PodScheduler

        settings = self.settings
        return PodScheduler(
            client, self._make_policy(), scheduler_name=settings.scheduler_name,
            mode=settings.mode, clock=time.monotonic, wall=time.time,
            rng=np.random.default_rng(), compute=self._compute,
            feeds=self.executor.feeds,
            shortlist=settings.extender_shortlist,
        )  # fmt: skip

    def _namespace(self) -> str:
        return self.settings.namespace or self.access.namespace


class SchedulerMetrics(Collector):
    """The pod scheduler's counters, and how old our picture of the cluster is."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster = cluster

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client calls."""
        inventory = self._cluster.executor.inventory
        stale_s = math.inf if inventory is None else inventory.stale_s
        yield GaugeMetricFamily(
            "cerebrum_kubernetes_stale_seconds",
            "Since the API server last said anything about nodes and pods.",
            stale_s,
        )
        election = self._cluster.election
        if election is not None:
            about = "1 while this process schedules pods."
            yield GaugeMetricFamily("cerebrum_scheduler_leader", about, float(election.is_leader))
        if self._cluster.scheduler is not None:
            yield from _families(self._cluster.scheduler.counted())
            yield from _compared(self._cluster.scheduler.shadow)


def _families(counters: Counters) -> Iterable[Metric]:
    from cerebrum.executors.kubernetes.counters import Histogram

    for one in fields(counters):
        value: object = getattr(counters, one.name)
        name, about = f"cerebrum_scheduler_{one.name}", f"Pod scheduler: {one.name}."
        if isinstance(value, Histogram):
            yield _histogram(name.removesuffix("_s") + "_seconds", about, value.bounds_s,
                             value.counts, value.sum_s)  # fmt: skip
        elif one.name in _GAUGES and isinstance(value, int | float):
            yield GaugeMetricFamily(name, about, float(value))
        elif isinstance(value, int | float):
            yield CounterMetricFamily(name, about, float(value))


def _compared(shadow: Shadow) -> Iterable[Metric]:
    pods = CounterMetricFamily(
        "cerebrum_shadow_pods", "Pods of the other scheduler, by what we would have done.",
        labels=["outcome"],
    )  # fmt: skip
    for outcome in ("agreed", "differed", "only_ours", "only_theirs"):
        pods.add_metric([outcome], float(getattr(shadow, outcome)))
    yield pods
    about = "Pods whose regret was measured."
    yield CounterMetricFamily("cerebrum_shadow_measured", about, float(shadow.measured))
    about = "Scores of our nodes less those of theirs, summed over measured pods."
    yield GaugeMetricFamily("cerebrum_shadow_regret", about, shadow.regret)


def _histogram(
    name: str, about: str, bounds_s: Sequence[float], counts: Sequence[int], sum_s: float
) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, bounds_s), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=sum_s)


def _schedules(settings: LcaSettings) -> bool:
    return settings.mode != "off" or settings.extender


def _policy(settings: LcaSettings) -> Policy:
    from cerebrum.policies import get_policy

    return get_policy(settings.policy)


def _check(settings: LcaSettings) -> None:
    if settings.nodes or settings.nodes_file is not None:
        raise ConfigError("the cluster says what nodes it has: give none").at(field="nodes")
    if settings.forecaster not in ("", "none", "auto"):
        raise ConfigError("forecasts need nodes that stay: give none here").at(field="forecaster")
    if settings.extender_open and not settings.extender:
        raise ConfigError("it is about --extender, which is not given").at(field="extender_open")
    if settings.extender_shortlist and not settings.extender:
        problem = "it is about --extender, which is not given"
        raise ConfigError(problem).at(field="extender_shortlist")
    if settings.extender:
        _check_extender(settings)


def _check_extender(settings: LcaSettings) -> None:
    from cerebrum.policies import get_policy

    if settings.mode == "shadow":
        raise ConfigError(
            "either advise the stock scheduler (--extender) or only compare with it (--mode shadow)"
        ).at(field="mode")
    if not isinstance(get_policy(settings.policy), Scores):
        raise ConfigError(
            f"an extender says what each node is worth, which {settings.policy!r} does not know: "
            "choose a policy of scores, such as best-fit, fgd or kubernetes-default"
        ).at(field="policy")


def _executor(settings: LcaSettings, access: Access) -> KubernetesRuns:
    from cerebrum.executors.kubernetes.runs import (
        IMAGE,
        KubernetesRuns,
        PodSettings,
        Template,
        read_template,
    )

    template = Template()
    if settings.pod_template is not None:
        template = read_template(settings.pod_template)
    binds = settings.mode == "bind"
    return KubernetesRuns(
        access,
        PodSettings(
            settings.cluster_id, settings.namespace or access.namespace, settings.image or IMAGE,
            settings.placement or ("affinity" if binds else "direct"),
            settings.scheduler_name if binds else "default-scheduler",
            template=template,
        ),
        start_timeout_s=settings.start_timeout_s,
        qps=settings.kube_qps,
        burst=int(2 * settings.kube_qps),
        all_pods=_schedules(settings),
        around=client_with_crash_points,
    )  # fmt: skip


async def _done(work: Callable[[], Awaitable[None]]) -> None:
    await work()
