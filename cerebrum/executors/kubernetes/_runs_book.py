"""What an executor knows of its runs, and what it has not told yet. No I/O, no clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cerebrum.executors.kubernetes._runs_objects import RunPod
from cerebrum.executors.kubernetes._runs_status import status_of, vanished
from cerebrum.model.runs import RunPhase, RunStatus

_AFTER_RUNNING = (RunPhase.SUCCEEDED, RunPhase.FAILED)


class Book:
    """Runs by id: `pods` as last seen, the status last told, and the ends of those without a pod.

    Each run is told as the protocol wants it: RUNNING before an end that follows it, one end.
    """

    def __init__(self) -> None:
        self.pods: dict[str, RunPod] = {}
        self.told: dict[str, RunStatus] = {}
        self.ends: dict[str, RunStatus] = {}
        """Ended runs whose pods are gone, or never were: told until they are forgotten."""
        self.news = asyncio.Event()
        self._unread: list[RunStatus] = []

    def knows(self, run_id: str) -> bool:
        """Whether there is such a run, ended or not."""
        return run_id in self.told or run_id in self.ends

    def adopt(self, pods: Iterable[RunPod]) -> None:
        """What there was before us: known, and no news."""
        for pod in pods:
            self.pods[pod.run_id] = pod
            self.told[pod.run_id] = status_of(pod)

    def asked(self, pod: RunPod) -> None:
        """A pod that we made, unless the watch was faster than the answer."""
        self.pods.setdefault(pod.run_id, pod)
        self.told.setdefault(pod.run_id, replace(status_of(pod), phase=RunPhase.STARTING))

    def seen(self, pod: RunPod) -> None:
        """A pod as it is now."""
        run_id = pod.run_id
        known = self.pods.get(run_id)
        if known is not None and known.metadata.uid != pod.metadata.uid:
            return  # another pod of that name, after the end of ours
        self.pods[run_id] = pod
        self.tell(status_of(pod))

    def gone(self, pod: RunPod) -> None:
        """A pod that was there is not any more."""
        known = self.pods.get(pod.run_id)
        if known is None or known.metadata.uid != pod.metadata.uid:
            return
        del self.pods[pod.run_id]
        last = self.told.get(pod.run_id)
        if last is None:
            return  # forgotten by ourselves
        if not last.phase.final:
            last = vanished(known)
            self.tell(last)
        self.told.pop(pod.run_id, None)
        self.ends[pod.run_id] = last

    def never(self, status: RunStatus) -> None:
        """A run that ended before it had a pod."""
        self.ends[status.run_id] = status
        self._unread.append(status)
        self.news.set()

    def forget(self, run_id: str) -> None:
        """Its end is recorded elsewhere."""
        self.told.pop(run_id, None)
        self.ends.pop(run_id, None)
        self.pods.pop(run_id, None)

    def tell(self, status: RunStatus) -> None:
        """Queue what is new in it."""
        last = self.told.get(status.run_id)
        before = RunPhase.STARTING if last is None else last.phase
        if before.final or (before is RunPhase.RUNNING and status.phase is RunPhase.STARTING):
            return
        if before is RunPhase.RUNNING and status.phase is RunPhase.START_FAILED:
            status = replace(status, phase=RunPhase.FAILED)  # its status forgot that it ran
        self.told[status.run_id] = status
        if status.phase is before:
            return
        began = status.phase in _AFTER_RUNNING or not math.isnan(status.started_unix_s)
        if status.phase.final and before is RunPhase.STARTING and began:
            self._unread.append(_while_it_ran(status))
        self._unread.append(status)
        self.news.set()

    def take(self) -> Sequence[RunStatus]:
        """All that was not told yet, in order."""
        unread, self._unread = self._unread, []
        self.news.clear()
        return unread


def _while_it_ran(end: RunStatus) -> RunStatus:
    """A run too quick to be seen is told to have run all the same."""
    return RunStatus(end.run_id, RunPhase.RUNNING, end.task, end.node, end.started_unix_s)
