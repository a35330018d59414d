"""Topology-compact: a gang goes onto as few racks, servers and nodes as possible.

After Tiresias' consolidated placement (Gu et al., NSDI'19) and Kueue's topology-aware scheduling: a
gang is put on the narrowest kind of domain that holds all of it - one node, one server, one rack,
one zone - and there on the tightest one (least room left); inside, on the fewest nodes, each taking
as many members as it can. If no domain holds it, racks are filled one by one, roomiest first.

Domains are those of `Snapshot.topology` (labels `rack`, `server`, `topology.kubernetes.io/zone`); a
server name counts within its rack. Single tasks go where `score` says: FGD for GPU tasks, else best
fit.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.decisions import Bind
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.batch import BatchPolicy
from cerebrum.policies.room import Room
from cerebrum.policies.scorers import get_scorer
from cerebrum.policies.units import Unit

_ALL = 2**31
Domains = NDArray[np.int64]  # a domain number for each row, -1 for none


class TopologyCompact(BatchPolicy):
    """Takes the queue in its order; what does not fit is passed over."""

    name = "topology-compact"

    def __init__(self, score: str = "", gpus: str = "best") -> None:
        super().__init__(batch=_ALL, gpus=gpus)
        self._chosen = get_scorer(score) if score else None

    def plan(self, snapshot: Snapshot, room: Room, waiting: list[Unit]) -> list[Bind]:
        """Every unit that fits, in queue order."""
        levels = domains(snapshot)
        binds: list[Bind] = []
        failed: set[tuple[int, ...]] = set()
        for unit in waiting:
            shape = tuple(room.kind_of(task) for task in unit)
            if shape in failed:
                continue
            first = unit[0]
            found = compact(room, unit, levels) if len(unit) > 1 else self._single(room, first)
            if not found:
                failed.add(shape)
            binds += found
        return binds

    def _single(self, room: Room, task: int) -> list[Bind]:
        score = self._chosen
        if score is None:
            gpus = room.snapshot.classes["gpu_count"][room.class_of(task)]
            score = get_scorer("fgd" if gpus and len(room.snapshot.typical) else "best-fit")
        row = room.pick(room.class_of(task), score, task)
        return [room.bind(task, row)] if row >= 0 else []


def domains(snapshot: Snapshot) -> dict[str, Domains]:
    """Narrow to wide: nodes, servers, racks, zones; levels without any label are left out."""
    rack = snapshot.topology["rack"].astype(np.int64)
    server = snapshot.topology["server"].astype(np.int64)
    zone = snapshot.topology["zone"].astype(np.int64)
    within = np.where(server < 0, -1, (rack + 1) * (server.max(initial=0) + 1) + server)
    rows = np.arange(len(snapshot.nodes))
    levels = {"node": rows, "server": within, "rack": rack, "zone": zone}
    return {name: level for name, level in levels.items() if (level >= 0).any()}


def compact(room: Room, unit: Unit, levels: dict[str, Domains]) -> list[Bind]:
    """Binds of the whole gang, or none."""
    need = Counter(room.class_of(task) for task in unit)
    room_for = {kind: room.copies(kind, count) for kind, count in need.items()}
    for level in levels.values():
        for domain in _holding(level, need, room_for):
            binds = _fill(room, list(unit), level == domain)
            if len(binds) == len(unit):
                return binds
            room.undo(binds)
    return _spread(room, unit, levels.get("rack", levels["node"]), room_for) if levels else []


def _holding(
    level: Domains, need: Counter[int], room_for: dict[int, NDArray[np.int64]]
) -> list[int]:
    """Domains with room for every class of the gang, the tightest first, then the lowest."""
    labelled = level >= 0
    size = int(level.max(initial=-1)) + 1
    enough, total = np.ones(size, np.bool_), np.zeros(size)
    for kind, count in need.items():
        held = np.bincount(level[labelled], room_for[kind][labelled], minlength=size)
        enough &= held >= count
        total += held
    found = np.flatnonzero(enough)
    return found[np.argsort(total[found], kind="stable")].tolist()


def _fill(room: Room, tasks: list[int], within: NDArray[np.bool_]) -> list[Bind]:
    """Bind as many of the tasks as fit in the domain, on the fewest nodes: fullest share first."""
    binds: list[Bind] = []
    for kind in dict.fromkeys(room.class_of(task) for task in tasks):
        same = [task for task in tasks if room.class_of(task) == kind]
        while same:
            copies = room.copies(kind, len(same), within)
            if any(
                room.ruled(task) for task in same
            ):  # one at a time: where the next may go depends on this one
                copies = np.minimum(copies, 1) * room.open_to(kind, same[0])
            used = np.isin(np.arange(len(copies)), [bind.row for bind in binds])
            row = int(np.lexsort((~used, -copies))[0])  # most copies, then a node already used
            if not copies[row]:
                break
            take, same = same[: copies[row]], same[copies[row] :]
            binds += [room.bind(task, row) for task in take]
    return binds


def _spread(
    room: Room, unit: Unit, level: Domains, room_for: dict[int, NDArray[np.int64]]
) -> list[Bind]:
    """Domain after domain, roomiest first, until all members are placed; else none."""
    total = np.sum(list(room_for.values()), axis=0)
    labelled = level >= 0
    order = np.argsort(-np.bincount(level[labelled], total[labelled]), kind="stable")
    left, binds = list(unit), list[Bind]()
    for within in [*(level == domain for domain in order), np.ones(len(level), np.bool_)]:
        binds += _fill(room, left, within)
        bound = {bind.task for bind in binds}
        left = [task for task in unit if task not in bound]
        if not left:
            return binds
    room.undo(binds)
    return []
