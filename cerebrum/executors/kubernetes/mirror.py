"""The cluster as the engine sees it: every pod that uses a node, and ours that wait for one.

What the API server shows is a fact, whether it fits or not. What we decided is *assumed*: it stays
in the engine from the decision until the watch shows the pod bound (here or elsewhere) or gone, so
that no room is given away twice however far the watch lags behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from cerebrum.executors.kubernetes._mirror_nodes import Nodes
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.recorded import RecordedEngine
from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError, InvalidEvent
from cerebrum.model.events import EventKind, TaskState
from cerebrum.model.tasks import Task

_MAX_BURIED = 10_000
_LIVE = (TaskState.BOUND, TaskState.RUNNING)


class Phase(Enum):
    """Where a pod stands with us."""

    ASIDE = "aside"  # ours, but there is nothing to decide yet: its group, a problem of its own
    ARRIVED = "arrived"  # to be told to the engine with the next flush
    QUEUED = "queued"
    NOMINATED = "nominated"  # room is held for it while its victims end
    ASSUMED = "assumed"  # decided; the watch has not shown it yet
    BOUND = "bound"
    ADRIFT = "adrift"  # bound to a node that we do not see


@dataclass(slots=True, eq=False)
class Held:
    """A pod and its task in the engine (-1: none). `failures` counts attempts in a row; `foreign`
    is assumed for another scheduler, which asked us to bind it."""

    pod: PodFacts
    phase: Phase
    task: int = -1
    node: str = ""
    gpus: int = 0
    failures: int = 0
    since_s: float = 0.0
    decided_s: float = 0.0
    said: str = ""
    foreign: bool = False


@dataclass(slots=True)
class Mirror:
    """Pods of one cluster over one engine. `ours` says whether a waiting pod is ours to decide.

    `on_wait` is called for one of ours that newly waits and may keep it aside by returning False;
    `on_settled` when the watch first shows a pod bound, with the phase it had with us before
    (ARRIVED: we did not know it) and the node we had chosen; `on_gone` when a pod is gone, has
    ended, or is not ours any more; `on_unfit` when the engine cannot hold one, and why.
    """

    recorded: RecordedEngine
    nodes: Nodes
    ours: Callable[[PodFacts], bool]
    on_wait: Callable[[Held], bool] = lambda held: True
    on_settled: Callable[[Held, Phase, str], None] = lambda held, before, node: None
    on_gone: Callable[[Held], None] = lambda held: None
    on_unfit: Callable[[Held, str], None] = lambda held, why: None
    held: dict[str, Held] = field(default_factory=dict[str, Held])
    by_task: dict[int, Held] = field(default_factory=dict[int, Held])
    _arrived: list[Held] = field(default_factory=list[Held])
    _ended: list[int] = field(default_factory=list[int])
    _buried: dict[str, None] = field(default_factory=dict[str, None])
    _number: int = 0

    # -- what the watch shows -----------------------------------------------------------------

    def observe(self, pod: PodFacts) -> None:
        """The newest version of a pod."""
        held = self.held.get(pod.uid)
        if pod.terminal:
            self.forget(pod.uid, succeeded=pod.phase == "Succeeded")
        elif pod.node:
            self._observe_bound(held, pod)
        elif pod.waits and self.ours(pod):
            if pod.uid in self._buried:
                return
            self._observe_waiting(held, pod)
        elif held is not None and held.foreign and pod.waits:
            return  # the watch lags behind the bind
        elif held is not None and held.phase not in (Phase.BOUND, Phase.ADRIFT):
            self.forget(pod.uid)  # gated, being deleted, or another scheduler's

    def observe_all(self, pods: Iterable[PodFacts]) -> None:
        """As `observe` for each; the engine hears of new bound pods all at once."""
        new: list[tuple[Held, int]] = []
        for pod in pods:
            if not pod.node or pod.terminal or pod.uid in self.held:
                self.observe(pod)
                continue
            held = self.held[pod.uid] = Held(pod, Phase.ARRIVED)
            row = self._locate(held, pod)
            if row is not None:
                new.append((held, row))
            else:
                self.on_settled(held, Phase.ARRIVED, "")
        self._admit([held for held, _ in new])
        for held, row in new:
            self._sit(held, row)
            self.on_settled(held, Phase.ARRIVED, "")

    def forget(self, uid: str, succeeded: bool = False) -> None:
        """A pod is gone, ended, or no longer ours."""
        held = self.held.pop(uid, None)
        if held is None:
            return
        self._end(held, succeeded)
        self.nodes.leave(held.node, uid)
        self.on_gone(held)

    def bury(self, uid: str) -> None:
        """The API server says that a pod is gone, or going; the watch may not know yet."""
        self.forget(uid)
        self._buried[uid] = None
        if len(self._buried) > _MAX_BURIED:
            del self._buried[next(iter(self._buried))]

    def _observe_bound(self, held: Held | None, pod: PodFacts) -> None:
        if held is None:
            held = self.held[pod.uid] = Held(pod, Phase.ARRIVED)
            self._place(held, pod)
            self.on_settled(held, Phase.ARRIVED, "")
            return
        if held.phase in (Phase.BOUND, Phase.ADRIFT):
            if not (held.node == pod.node and held.pod.same_demands(pod)):
                self._end(held)
                self._place(held, pod)
            held.pod = pod
            return
        before, chosen = held.phase, held.node
        agreed = before == Phase.ASSUMED and chosen == pod.node and held.pod.same_demands(pod)
        if agreed and held.task >= 0:
            held.pod, held.phase = pod, Phase.BOUND
            self.recorded.tell(EventKind.STARTED, held.task)
        else:
            self._end(held)
            self._place(held, pod)
        self.on_settled(held, before, chosen)

    def _observe_waiting(self, held: Held | None, pod: PodFacts) -> None:
        if held is None:
            held = self.held[pod.uid] = Held(pod, Phase.ASIDE, since_s=self.recorded.now_s)
            if self.on_wait(held):
                self.queue(held)
        elif held.phase in (Phase.ASSUMED, Phase.NOMINATED):
            return  # the watch lags behind what we did, or says nothing new
        elif held.phase in (Phase.QUEUED, Phase.ARRIVED, Phase.ASIDE):
            same = held.pod.same_demands(pod) and held.pod.problem == pod.problem
            old, held.pod = held.pod, pod
            if not same:
                self._requeue(held, old)

    def _requeue(self, held: Held, old: PodFacts) -> None:
        """The pod asks for something else now."""
        now, held.pod = held.pod, old
        self.on_gone(held)  # with what it was, for its group's sake
        held.pod = now
        self._end(held)
        held.phase = Phase.ASIDE
        if self.on_wait(held):
            self.queue(held)

    # -- tasks of the engine ------------------------------------------------------------------

    def queue(self, held: Held) -> None:
        """It may be decided from the next flush on."""
        held.phase = Phase.ARRIVED
        self._arrived.append(held)

    def queue_gang(self, members: list[Held], group: str, need: int) -> None:
        """These are decided together or not at all."""
        self._admit(members, group, need)

    def aside(self, held: Held) -> None:
        """Out of the queue until it is queued again."""
        self._end(held)
        self.nodes.leave(held.node, held.pod.uid)
        held.phase, held.node = Phase.ASIDE, ""

    def flush(self) -> None:
        """Tell the engine of arrivals, all at once, and let it forget what ended."""
        if self._arrived:
            new = [h for h in self._arrived if h.phase is Phase.ARRIVED and h.task < 0]
            self._arrived.clear()
            self._admit(list(dict.fromkeys(new)))
        if self._ended:
            self.recorded.retire(self._ended)
            self._ended = []

    def _admit(self, new: list[Held], group: str = "", need: int = 0) -> None:
        """Tell the engine; of many, one that it cannot hold does not keep out the others."""
        waiting = [held for held in new if self.held.get(held.pod.uid) is held]
        if not waiting:
            return
        try:
            self._admit_together(waiting, group, need)
        except InputError as problem:
            if len(waiting) == 1 or group:
                for held in waiting:
                    held.phase = Phase.ADRIFT if held.pod.node else Phase.ASIDE
                    self.on_unfit(held, str(problem))
                return
            for held in waiting:
                self._admit([held])

    def _admit_together(self, waiting: list[Held], group: str, need: int) -> None:
        tasks = [self._task(held.pod, group) for held in waiting]
        ids = self.recorded.admit(tasks, {group: need} if group else None)
        for held, task in zip(waiting, ids, strict=True):
            held.task, self.by_task[task] = task, held
            held.phase = Phase.QUEUED if not held.pod.node else Phase.BOUND

    def _task(self, pod: PodFacts, group: str = "") -> Task:
        """The engine's task; the number makes its name unique however often a pod comes back."""
        self._number += 1
        return Task(
            name=f"{pod.namespace}/{pod.name}#{self._number}",
            task_class=pod.task_class,
            submit_s=max(0.0, pod.created_s),
            priority=pod.priority,
            job=group,
            labels=pod.labels,
        )

    def _place(self, held: Held, pod: PodFacts) -> None:
        """Put a pod where the API server says that it is."""
        row = self._locate(held, pod)
        if row is not None:
            self._admit([held])
            self._sit(held, row)

    def _locate(self, held: Held, pod: PodFacts) -> int | None:
        """Note where a pod is; the row, None (and adrift) for a node that we do not see."""
        self.nodes.leave(held.node, pod.uid)
        held.pod, held.node = pod, pod.node
        self.nodes.enter(pod.node, pod.uid)
        row = self.nodes.row(pod.node)
        held.phase = Phase.ADRIFT if row is None else Phase.BOUND
        return row

    def _sit(self, held: Held, row: int) -> None:
        """Tell the engine of a bind that is a fact."""
        if held.task < 0:
            return
        wants = held.pod.task_class.resources
        held.gpus = held.pod.gpus or self.nodes.likely_gpus(row, wants)
        tell = self.recorded.tell
        tell(EventKind.BOUND, held.task, row, held.gpus, wants.cache_ways, value=1.0)
        tell(EventKind.STARTED, held.task)

    def _end(self, held: Held, succeeded: bool = False) -> None:
        task, held.task = held.task, -1
        if task < 0:
            return
        del self.by_task[task]
        state = self.recorded.state(task)
        if state == TaskState.RUNNING and succeeded:
            self.recorded.tell(EventKind.FINISHED, task)
        elif state in _LIVE:
            self.recorded.tell(EventKind.FAILED, task, value=1.0)
        elif state == TaskState.PENDING:
            self.recorded.tell(EventKind.CANCELLED, task)
        self._ended.append(task)

    # -- what we decide -----------------------------------------------------------------------

    def assume(self, task: int, row: int, gpus: int, ways: int) -> Held:
        """A decision: the room is taken from now on."""
        held = self.by_task[task]
        self.recorded.tell(EventKind.BOUND, task, row, gpus, ways)
        self._sits(held, row, gpus, Phase.ASSUMED)
        return held

    def probe(self, pod: PodFacts) -> int:
        """A task that asks for what the pod does, and that nobody queues or decides; to be retired
        by whoever made it."""
        return self.recorded.admit([self._task(pod)], submit=False)[0]

    def take(self, pod: PodFacts, row: int, gpus_on: Callable[[int, int], int]) -> Held:
        """Another scheduler's decision about a pod of its own: the room is taken from now on.

        `gpus_on(task, row)` chooses the GPUs. Raises `InvalidEvent` where the node cannot take it,
        `InputError` for a pod that the engine cannot hold; neither changes anything.
        """
        held = Held(pod, Phase.QUEUED, since_s=self.recorded.now_s, foreign=True)
        self._admit_together([held], "", 0)
        self.held[pod.uid] = held
        try:
            ways = pod.task_class.resources.cache_ways
            return self.assume(held.task, row, gpus_on(held.task, row), ways)
        except InvalidEvent:
            self._end(self.held.pop(pod.uid))
            raise

    def nominate(self, task: int, row: int, gpus: int, ways: int) -> Held:
        """Room is held on a node that is still full: what it has too much of will end."""
        held = self.by_task[task]
        self.recorded.tell(EventKind.BOUND, task, row, gpus, ways, value=1.0)
        self._sits(held, row, gpus, Phase.NOMINATED)
        return held

    def _sits(self, held: Held, row: int, gpus: int, phase: Phase) -> None:
        held.phase, held.gpus = phase, gpus
        held.node = self.recorded.engine.node_names[row]
        held.decided_s = self.recorded.now_s
        self.nodes.enter(held.node, held.pod.uid)

    def confirm(self, held: Held) -> None:
        """A nominated pod has its room: from here on it is assumed like any other."""
        held.phase = Phase.ASSUMED

    def release(self, held: Held, backoff_s: float = 0.0) -> None:
        """What we assumed does not hold: back to the queue, not before `backoff_s` from now."""
        if self.held.get(held.pod.uid) is not held:
            return
        if held.phase not in (Phase.ASSUMED, Phase.NOMINATED):
            return
        self.nodes.leave(held.node, held.pod.uid)
        held.node, held.gpus, held.phase = "", 0, Phase.QUEUED
        if held.task < 0:  # its node went away meanwhile
            self.queue(held)
            return
        self.recorded.tell(EventKind.BIND_FAILED, held.task)
        if backoff_s > 0:
            self.defer(held, backoff_s)

    def defer(self, held: Held, backoff_s: float) -> None:
        """Not before `backoff_s` from now."""
        until_s = self.recorded.now_s + backoff_s
        self.recorded.tell(EventKind.DEFERRED, held.task, value=until_s)

    def reassume(self, held: Held, node: str) -> None:
        """The API server has it on another node than we decided; the watch will say so too."""
        if self.held.get(held.pod.uid) is not held or held.phase is not Phase.ASSUMED:
            return
        self._end(held)
        self.nodes.leave(held.node, held.pod.uid)
        held.node = node
        self.nodes.enter(node, held.pod.uid)
        row = self.nodes.row(node)
        if row is None:
            return
        self._admit([held])
        held.phase = Phase.ASSUMED
        if held.task < 0:
            return
        held.gpus = self.nodes.likely_gpus(row, held.pod.task_class.resources)
        ways = held.pod.task_class.resources.cache_ways
        self.recorded.tell(EventKind.BOUND, held.task, row, held.gpus, ways, value=1.0)
        held.phase = Phase.ASSUMED

    # -- nodes --------------------------------------------------------------------------------

    def observe_node(self, name: str, node: Node | None) -> bool:
        """A node as it is now, None if it is gone; whether anything changed by that.

        Raises `InvalidEvent`, `InputError` for a node that the engine cannot hold.
        """
        if node is None:
            if name not in self.nodes:
                return False
            self._put_adrift(name)
            self.nodes.remove(name)
            return True
        if self.nodes.get(name) == node:
            return False
        if self.nodes.put(node):
            self._take_up(name)
        return True

    def _take_up(self, name: str) -> None:
        """Pods that are bound to a node that came just now use it."""
        for uid in self.nodes.pods_on(name):
            held = self.held[uid]
            if held.phase is Phase.ADRIFT:
                self._place(held, held.pod)
            elif held.phase is Phase.ASSUMED and held.task < 0:
                self.reassume(held, name)

    def _put_adrift(self, name: str) -> None:
        """Pods on a node that goes are kept aside: bound ones may outlive it in the API."""
        for uid in self.nodes.pods_on(name):
            held = self.held[uid]
            if held.phase is Phase.NOMINATED:
                self.release(held)
                continue
            self._end(held)
            if held.phase is Phase.BOUND:
                held.phase = Phase.ADRIFT

    # -- looking ------------------------------------------------------------------------------

    def overfull(self, node: str) -> bool:
        """Whether more is given on a node than it has."""
        row = self.nodes.row(node)
        return row is None or self.nodes.overfull(row)

    def overcommitted(self) -> list[str]:
        """Nodes whose pods ask for more than the node has, counted anew from the pods.

        For tests, and for whoever wants to be sure: facts seen outside may overcommit a node,
        decisions of ours never do.
        """
        return self.nodes.overcommitted({uid: held.pod for uid, held in self.held.items()})

    def waiting(self) -> Iterable[Held]:
        """Ours that have no node yet."""
        idle = (Phase.ASIDE, Phase.ARRIVED, Phase.QUEUED)
        return (held for held in self.held.values() if held.phase in idle)
