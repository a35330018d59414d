"""Offers: which are stored, which refused and why, which are old news."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.services import wire
from cerebrum.services.agent.holding import program_of
from cerebrum.services.agent.ledger import Ledger
from cerebrum.services.agent.lifecycle import Lifecycle
from cerebrum.services.agent.records import Assignment, HeldTask
from cerebrum.services.agent.settings import AgentSettings

Ended = Mapping[str, tuple[str, int]]
"""Uid -> state and generation of tasks that ended here."""


class Offers:
    """Takes in offers, inside a turn of the ledger."""

    def __init__(self, ledger: Ledger, life: Lifecycle, settings: AgentSettings) -> None:
        self._ledger, self._life, self._settings = ledger, life, settings

    async def take(self, offers: Sequence[wire.Offer]) -> dict[str, str]:
        """Store what is new and possible; the others by assignment, with the reason.

        An offer that cannot be judged yet (an older run of one of its tasks has to end first) is
        neither stored nor refused: it comes again.
        """
        uids = {task.uid for offer in offers for task in offer.tasks}
        uids |= {uid for offer in offers for task in offer.tasks for uid in task.after}
        ended = await self._ledger.ended(sorted(uids - self._ledger.tasks.keys()))
        refused: dict[str, str] = {}
        postponed: set[str] = set()
        for offer in in_order(offers):
            names = {task.uid for task in offer.tasks}
            before = {uid for task in offer.tasks for uid in task.after}
            if self._old_news(offer, ended):
                continue
            if self._supersede(offer) or before & postponed:
                postponed |= names
                continue
            problem = self._problem(offer, names, before, ended)
            if problem:
                refused[offer.assignment] = problem[:8000]
            else:
                self._store(offer, ended)
        return refused

    def _old_news(self, offer: wire.Offer, ended: Ended) -> bool:
        """Whether we have it, had it, or have something newer of its tasks."""
        held = self._ledger.assignments.get(offer.assignment)
        if held is not None and held.generation >= offer.generation:
            return True
        for task in offer.tasks:
            live = self._ledger.tasks.get(task.uid)
            known = live.generation if live is not None else ended.get(task.uid, ("", 0))[1]
            if known >= offer.generation:
                return True
        return False

    def _supersede(self, offer: wire.Offer) -> bool:
        """End older generations of the offer's tasks; whether one is still there."""
        for task in offer.tasks:
            live = self._ledger.tasks.get(task.uid)
            if live is not None:
                self._life.end_task(live, "dropped")
        return any(task.uid in self._ledger.tasks for task in offer.tasks)

    def _problem(self, offer: wire.Offer, names: set[str], before: set[str], ended: Ended) -> str:
        room = self._settings.max_tasks - len(self._ledger.tasks)
        if len(offer.tasks) > room:
            return f"full: {len(offer.tasks)} tasks offered, room for {max(0, room)}"
        if len(names) != len(offer.tasks):
            return "a task is offered twice"
        if not _acyclic(offer.tasks, names):
            return "its tasks wait for each other in a circle"
        for uid in sorted(before - names - self._ledger.tasks.keys()):
            state = ended.get(uid, ("not known here", 0))[0]
            if state != "succeeded":
                return f"predecessor {uid} is {state}"
        for task in offer.tasks:
            problem = unfit(task.spec, self._life.nodes.values())
            if problem:
                return f"{task.uid}: {problem}"
        return ""

    def _store(self, offer: wire.Offer, ended: Ended) -> None:
        assignment = Assignment(
            offer.assignment, self._ledger.number(), offer.generation, offer.epoch,
            offer.workflow, offer.workflow_name, offer.part, offer.priority,
            offer.fence_after_s, self._ledger.clock.monotonic_s(),
        )  # fmt: skip
        self._life.hold(assignment, self._tasks(offer, ended))

    def _tasks(self, offer: wire.Offer, ended: Ended) -> list[HeldTask]:
        names = {task.uid for task in offer.tasks}
        return [
            HeldTask(
                task.uid, self._ledger.number(), offer.assignment, offer.generation, task.spec,
                task.rank_s, tuple(task.after), dict(task.inputs),
                waits_for={uid for uid in task.after if not self._done(uid, names, ended)},
            )
            for task in offer.tasks
        ]  # fmt: skip

    def _done(self, uid: str, names: set[str], ended: Ended) -> bool:
        """Whether a predecessor has succeeded here, and is not wanted once more: then its followers
        wait for it again, as the controller thinks they do until it hears of the first time."""
        again = uid in names or uid in self._ledger.tasks
        return not again and ended.get(uid, ("",))[0] == "succeeded"


def in_order(offers: Sequence[wire.Offer]) -> list[wire.Offer]:
    """Each behind those whose tasks its own wait for, else as they came.

    Two parts of a workflow may get the same cluster, and their offers come in any order.
    """
    offered_in = {task.uid: i for i, offer in enumerate(offers) for task in offer.tasks}
    waits_for = [
        {offered_in[uid] for task in offer.tasks for uid in task.after if uid in offered_in} - {i}
        for i, offer in enumerate(offers)
    ]
    found: list[wire.Offer] = []
    left = set(range(len(offers)))
    while left:
        # In a circle all are next: each is refused with its own reason.
        following = {i for i in left if not waits_for[i] & left} or left
        found += [offers[i] for i in sorted(following)]
        left = left - following
    return found


def unfit(spec: wire.TaskSpec, nodes: Iterable[Node]) -> str:
    """Why no node could ever run the task; empty if one could."""
    try:
        wanted = spec.resources
        program_of(spec)
    except InputError as problem:
        return str(problem)
    for node in nodes:
        c = node.capacity
        fits = wanted.cpu_milli <= c.cpu_milli and wanted.memory_mib <= c.memory_mib
        fits &= wanted.gpu_count <= c.gpu_count and node.slots > 0
        if fits and (not spec.gpu_models or not wanted.gpu_count or _accepts(spec, node)):
            return ""
    ask = f"{wanted.cpu_milli} mCPU, {wanted.memory_mib} MiB, {wanted.gpu_count} GPUs"
    models = f" of {', '.join(spec.gpu_models)}" if spec.gpu_models and wanted.gpu_count else ""
    return f"no node can ever hold {ask}{models}"


def _accepts(spec: wire.TaskSpec, node: Node) -> bool:
    return node.gpu_model in spec.gpu_models


def _acyclic(tasks: Sequence[wire.OfferedTask], names: set[str]) -> bool:
    """Kahn's algorithm over the offer's own tasks."""
    waits = {task.uid: len({uid for uid in task.after if uid in names}) for task in tasks}
    followers: dict[str, list[str]] = {}
    for task in tasks:
        for uid in set(task.after) & names:
            followers.setdefault(uid, []).append(task.uid)
    free = [uid for uid, count in waits.items() if count == 0]
    for uid in free:  # grows while it is walked
        for follower in followers.get(uid, []):
            waits[follower] -= 1
            if waits[follower] == 0:
                free.append(follower)
    return len(free) == len(names)
