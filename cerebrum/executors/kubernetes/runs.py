"""The Kubernetes executor: each run is a pod.

The pod's name is the run's id, so asking twice makes one pod, whoever asks and however often it is
killed in between. A finalizer keeps an ended pod until the agent has recorded its end. What ends a
run is written on the pod before the pod is deleted, and only the kubelet's word (or that of
who deletes by force, or the absence of a node) makes it over. The rules, and what is guaranteed
when, are in docs/reference/executors.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import numpy as np

from cerebrum.executors._launches import check_deadline, check_grace, check_launch, check_stream
from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes._runs_book import Book
from cerebrum.executors.kubernetes._runs_fences import Fences
from cerebrum.executors.kubernetes._runs_inventory import ClusterInventory
from cerebrum.executors.kubernetes._runs_objects import Mark, RunPod
from cerebrum.executors.kubernetes._runs_pod import IMAGE, PodSettings, fence_text, pod_of
from cerebrum.executors.kubernetes._runs_requests import RunRequests
from cerebrum.executors.kubernetes._runs_status import (
    FENCED,
    is_over,
    mark_of,
    status_of,
    why_not_started,
)
from cerebrum.executors.kubernetes._runs_template import Template, read_template
from cerebrum.executors.kubernetes.access import Access
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.feeds import Feeds
from cerebrum.executors.kubernetes.informer import Change, Informer, Source
from cerebrum.model.errors import CerebrumError, NotFound
from cerebrum.model.runs import Launch, RunPhase, RunStatus

__all__ = ["IMAGE", "KubernetesRuns", "PodSettings", "Template", "read_template"]

SYNC_S = 20.0
"""How long a call waits for the first list of pods before it says that there is none."""
_TICK_S = 1.0
_SWEEP_S = 60.0
_AT_ONCE = 16
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")


class KubernetesRuns:
    """The executor on one namespace. Opens its connections when it is first used.

    A pod that does not begin within `start_timeout_s` (staging aside) has failed to start. Pods of
    forgotten runs stay for their logs: `keep_ended_s`, but at most `keep_ended` of them. `access`
    is `load_access(...)`; `qps`, `burst` bound the requests a second. With `inventory`, nodes and
    bound pods (`all_pods`: all) are followed too, by `feeds`, to which others may listen as well;
    a run whose node has been no more for `node_gone_s` has failed. `around` puts something
    between the feeds and the client: points to die at, in tests.
    """

    name = "kubernetes"

    def __init__(
        self,
        access: Access,
        settings: PodSettings,
        *,
        start_timeout_s: float = 300.0,
        keep_ended_s: float = 3600.0,
        keep_ended: int = 1000,
        qps: float = 50.0,
        burst: int = 100,
        inventory: bool = True,
        all_pods: bool = False,
        node_gone_s: float = 40.0,
        around: Callable[[Client], Source] = lambda client: client,
    ) -> None:
        self.settings = settings
        self._start_timeout_s = start_timeout_s
        self._keep_ended_s, self._keep_ended = keep_ended_s, keep_ended
        self._client = Client(access, qps=qps, burst=burst)
        self._requests = RunRequests(self._client, settings.namespace, settings.cluster)
        self._informer = Informer(
            self._client, self._requests.path, RunPod, self._changed,
            query={"labelSelector": at.selector(settings.cluster)},
            rng=np.random.default_rng(),
        )  # fmt: skip
        self.feeds = Feeds(around(self._client), np.random.default_rng(), all_pods=all_pods)
        self.inventory = (
            ClusterInventory(self.feeds, settings.cluster, settings.template) if inventory else None
        )
        self._node_gone_s = node_gone_s
        self._gone_since: dict[str, float] = {}  # node -> monotonic
        self._book = Book()
        self._fences = Fences()
        self._starting: dict[str, float] = {}  # since when, monotonic
        self._loops: list[asyncio.Task[None]] = []
        self._opened = False
        self._hurry = asyncio.Event()

    # -- the protocol -----------------------------------------------------------------------

    async def start(self, launch: Launch) -> None:
        """See `Executor.start`. Raises `InputError` for what can be no pod."""
        check_launch(launch)
        deadline_s = self._fences.at_s(launch.run_id)
        left_s = math.inf if deadline_s is None else deadline_s - time.monotonic()
        fence = None if deadline_s is None else time.time() + left_s
        pod = pod_of(launch, self.settings, fence)
        await self._ready()
        if self._book.knows(launch.run_id):
            return
        if left_s <= 0:
            self._book.never(
                RunStatus(
                    launch.run_id, RunPhase.STOPPED, launch.task, launch.node,
                    ended_unix_s=time.time(), reason=FENCED,
                )
            )  # fmt: skip
            return
        self._book.asked(await self._requests.create(pod))
        if deadline_s is not None:
            self._fences.shown(launch.run_id, deadline_s)
        self._hurry.set()

    async def stop(self, run_id: str, reason: str, grace_s: float = 10.0) -> None:
        """See `Executor.stop`. The kubelet needs a second at least, so grace 0 is one."""
        check_grace(grace_s)
        await self._ready()
        if at.is_pod_name(run_id) and run_id not in self._book.ends:
            await self._end(run_id, Mark("stopped", reason), grace_s)

    async def runs(self) -> Sequence[RunStatus]:
        """See `Executor.runs`: as the API server has them now."""
        await self._ready()
        pods = await self._requests.list(at.selector(self.settings.cluster))
        there = [status_of(pod) for pod in pods]
        known = {status.run_id for status in there}
        return [*there, *(end for run_id, end in self._book.ends.items() if run_id not in known)]

    async def next_changes(self) -> Sequence[RunStatus]:
        """See `Executor.next_changes`."""
        await self._ready()
        await self._book.news.wait()
        return self._book.take()

    async def forget(self, run_id: str) -> None:
        """See `Executor.forget`. The pod stays a while, without its label, for its logs."""
        await self._ready()
        if run_id in self._book.ends:
            self._book.forget(run_id)
        pod = await self._requests.get(run_id) if at.is_pod_name(run_id) else None
        if pod is not None and pod.run_id == run_id and is_over(pod):
            await self._requests.let_go(pod)
            self._book.forget(run_id)
            self._fences.forget(run_id)

    async def fence(self, run_ids: Sequence[str], seconds: float | None) -> None:
        """See `Executor.fence`. Kept here, on the pods, and by the pods' own watchdogs."""
        check_deadline(seconds)
        now_s = time.monotonic()
        self._fences.drop_old(now_s)
        to_show: list[str] = []
        for run_id in run_ids:
            if seconds is None:
                self._fences.lift(run_id)
                news = True
            else:
                news = self._fences.set(run_id, now_s, seconds)
            if news and self._goes_on(run_id):
                to_show.append(run_id)
        self._hurry.set()
        if to_show:
            await self._ready()
            at_s = None if seconds is None else now_s + seconds
            await _together(self._show_fence(run_id, at_s) for run_id in to_show)

    async def logs(
        self, run_id: str, stream: str = "stdout", offset: int = 0, limit: int = 2**20
    ) -> bytes:
        """See `Executor.logs`. Kubernetes keeps one stream: stderr is in stdout."""
        check_stream(stream)
        await self._ready()
        pod = await self._requests.get(run_id) if at.is_pod_name(run_id) else None
        if pod is None or pod.run_id != run_id:
            if run_id in self._book.ends:
                return b""
            raise NotFound(f"no run {run_id!r}")
        if stream == "stderr" or not pod.spec.node_name or limit <= 0:
            return b""
        return await self._requests.log(run_id, max(0, offset), limit)

    async def close(self) -> None:
        """See `Executor.close`."""
        loops, self._loops = set(self._loops), []
        while loops:  # a cancellation in mid-request can be lost in the layers below
            for loop in loops:
                loop.cancel()
            _, loops = await asyncio.wait(loops, timeout=1.0)
        if self._opened:
            self._opened = False
            await self._client.__aexit__(None, None, None)

    async def open(self) -> None:
        """Connect, list and watch now rather than at the first call. Raises `CerebrumError`."""
        await self._ready()

    # -- what the cluster says --------------------------------------------------------------

    async def _ready(self) -> None:
        """Open, list and watch. Raises `CerebrumError` when there is no first list for too long."""
        if not self._opened:
            self._opened = True
            await self._client.__aenter__()
            self._loops = [
                asyncio.create_task(self._informer.run(), name="runs-watch"),
                asyncio.create_task(self._tend(), name="runs-tend"),
                asyncio.create_task(self._sweep(), name="runs-sweep"),
            ]
            if self.inventory is not None:
                self._loops.append(asyncio.create_task(self.inventory.run(), name="inventory"))
        if self._informer.synced.is_set():
            return
        try:
            await asyncio.wait_for(self._informer.synced.wait(), SYNC_S)
        except TimeoutError:
            why = self._informer.last_error or "no answer yet"
            raise CerebrumError(
                f"cannot list the pods in namespace {self.settings.namespace!r}: {why}"
            ) from None

    def _changed(self, changes: Sequence[Change[RunPod]]) -> None:
        """What the watch saw. The first list is what there was before us: no news."""
        if not self._informer.synced.is_set():
            there = [change.new for change in changes if change.new is not None]
            self._book.adopt(there)
            for pod in there:
                self._adopt_fence(pod)
            return
        for change in changes:
            if change.new is not None:
                self._book.seen(change.new)
            elif change.old is not None:
                self._book.gone(change.old)

    def _goes_on(self, run_id: str) -> bool:
        told = self._book.told.get(run_id)
        return told is not None and not told.phase.final

    # -- what ends by itself ----------------------------------------------------------------

    async def _end(self, run_id: str, mark: Mark, grace_s: float) -> None:
        # Grace 0 would be deletion by force: over for the API server, not for the kubelet.
        whole_s = max(1, math.ceil(grace_s))
        await self._requests.end(run_id, mark, whole_s, self._book.pods.get(run_id))

    async def _show_fence(self, run_id: str, at_s: float | None) -> None:
        """Write a deadline (monotonic) on the run's pod as the time of day that it is."""
        text = None if at_s is None else fence_text(time.time() + at_s - time.monotonic())
        await self._requests.fence(run_id, text)
        if at_s is not None:
            self._fences.shown(run_id, at_s)

    async def _tend(self) -> None:
        """End what is past its fence, what does not begin, and what was marked and not deleted."""
        await self._informer.synced.wait()
        while True:
            with contextlib.suppress(CerebrumError, OSError):  # the next round tries again
                await _together(self._due(time.monotonic()))
            going_on = [
                run_id
                for run_id, pod in self._book.pods.items()
                if pod.metadata.deletionTimestamp is None and self._goes_on(run_id)
            ]
            wait_s = min(_TICK_S, self._fences.next_s(going_on) - time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), max(0.01, wait_s))
            self._hurry.clear()

    def _due(self, now_s: float) -> list[Coroutine[Any, Any, None]]:
        due: list[Coroutine[Any, Any, None]] = []
        for run_id, pod in self._book.pods.items():
            if not self._goes_on(run_id):
                continue
            mark = self._reason_to_end(run_id, pod, now_s)
            if self._is_lost(pod.spec.node_name, now_s):
                lost = mark or Mark("failed", f"node {pod.spec.node_name} is gone")
                due.append(self._requests.end(run_id, lost, 0, pod))
            elif mark is not None:
                due.append(self._end(run_id, mark, 0.0))
            elif (at_s := self._fences.to_show(run_id, now_s)) is not None:
                due.append(self._show_fence(run_id, at_s))
        return due

    def _is_lost(self, node: str, now_s: float) -> bool:
        """Whether the API server has had no such node for a while: then the machine is no more, as
        far as Kubernetes is concerned, and its kubelet will not say so any more."""
        if not node or self.inventory is None or self.inventory.has(node):
            self._gone_since.pop(node, None)
            return False
        return now_s - self._gone_since.setdefault(node, now_s) >= self._node_gone_s

    def _reason_to_end(self, run_id: str, pod: RunPod, now_s: float) -> Mark | None:
        if pod.metadata.deletionTimestamp is not None:
            return None
        asked = mark_of(pod)
        if asked is not None:  # by somebody who died before the deletion, or is about to delete
            return asked
        deadline_s = self._fences.at_s(run_id)
        if deadline_s is not None and deadline_s <= now_s:
            return Mark("stopped", FENCED)
        waiting = pod.container().waiting
        if waiting is not None and waiting.reason in _HOPELESS:
            return Mark("start_failed", why_not_started(pod))
        if self._book.told[run_id].phase is not RunPhase.STARTING:
            self._starting.pop(run_id, None)
        elif pod.container(at.STAGE).running is not None:
            self._starting[run_id] = now_s
        elif now_s - self._starting.setdefault(run_id, now_s) > self._start_timeout_s:
            return Mark("start_failed", why_not_started(pod))
        return None

    async def _sweep(self) -> None:
        """Delete pods of forgotten runs that are old, or too many."""
        await self._informer.synced.wait()
        while True:
            with contextlib.suppress(CerebrumError, OSError):
                pods = await self._requests.list(at.forgotten_selector(self.settings.cluster))
                await self._requests.sweep(self._superfluous(pods))
            await asyncio.sleep(_SWEEP_S)

    def _superfluous(self, pods: Sequence[RunPod]) -> list[RunPod]:
        oldest = time.time() - self._keep_ended_s
        ended = sorted(pods, key=lambda pod: status_of(pod).ended_unix_s, reverse=True)
        return [
            pod
            for i, pod in enumerate(ended)
            if i >= self._keep_ended or status_of(pod).ended_unix_s < oldest
        ]

    def _adopt_fence(self, pod: RunPod) -> None:
        """A deadline that an earlier life wrote on a pod."""
        text = pod.note(at.FENCE)
        if text.isdigit() and text.isascii():
            left_s = int(text) - time.time()
            now_s = time.monotonic()
            self._fences.adopt(pod.run_id, now_s, now_s + left_s)


async def _together(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """A few at a time, all of them; then raise what the first of them raised."""
    few = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Coroutine[Any, Any, None]) -> None:
        async with few:
            await call

    done = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
    for problem in done:
        if isinstance(problem, BaseException):
            raise problem
