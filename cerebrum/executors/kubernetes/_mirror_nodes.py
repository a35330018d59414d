"""Nodes of the mirror: which row is which node, and which pods are there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.recorded import RecordedEngine
from cerebrum.model.cluster import Node
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import NodeChange


class Nodes:
    """The nodes we see, by name; a row of one that went may become another's."""

    def __init__(self, recorded: RecordedEngine) -> None:
        self._recorded = recorded
        engine = recorded.engine
        self._rows = {node.name: row for row, node in enumerate(engine.nodes)}
        self._seen = {node.name: node for node in engine.nodes}
        self._pods: defaultdict[str, set[str]] = defaultdict(set)
        self._asked: tuple[Sequence[str], NDArray[np.int64]] = (), np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, name: str) -> bool:
        return name in self._seen

    def row(self, name: str) -> int | None:
        """The engine's row of a node that is there."""
        return self._rows[name] if name in self._seen else None

    def rows_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The rows of many nodes, -1 for those that are not there."""
        # Who filters nodes asks about those that are left right afterwards.
        asked, rows = self._asked
        if names != asked:
            rows = np.fromiter(map(self._rows.get, names, repeat(-1)), np.int64, len(names))
            rows.flags.writeable = False
            self._asked = names, rows
        return rows

    def by_row(self) -> list[Node | None]:
        """The node of every row of the engine, None for rows without one."""
        found: list[Node | None] = [None] * len(self._recorded.engine.node_names)
        for name, row in self._rows.items():
            found[row] = self._seen[name]
        return found

    def get(self, name: str) -> Node | None:
        """The node as we have it."""
        return self._seen.get(name)

    def put(self, node: Node) -> bool:
        """A node as it is now; whether it was not there before.

        Raises `InvalidEvent`, `InputError` for what the engine cannot hold.
        """
        known = self._seen.get(node.name)
        if known is not None:
            self._recorded.change_node(node.name, NodeChange.UPDATE, node)
        else:
            self._recorded.change_node(node.name, NodeChange.JOIN, node)
            self._rows[node.name] = self._recorded.engine.row_of(node.name)
            self._asked = (), self._asked[1][:0]
        self._seen[node.name] = node
        return known is None

    def remove(self, name: str) -> None:
        """A node that is there is gone; the engine holds nothing on it any more."""
        del self._seen[name], self._rows[name]
        self._asked = (), self._asked[1][:0]
        self._recorded.change_node(name, NodeChange.FAIL)

    def enter(self, name: str, uid: str) -> None:
        """A pod is on a node, seen or not."""
        self._pods[name].add(uid)

    def leave(self, name: str, uid: str) -> None:
        """A pod is not on it any more."""
        pods = self._pods.get(name)
        if pods is not None:
            pods.discard(uid)
            if not pods:
                del self._pods[name]

    def pods_on(self, name: str) -> list[str]:
        """Uids of the pods on a node, in a fixed order."""
        return sorted(self._pods.get(name, ()))

    def overfull(self, row: int) -> bool:
        """Whether any resource of a row is overdrawn."""
        node = self._recorded.engine.table.state.nodes[row]
        single = ("cpu_free", "memory_free", "slots_free", "cache_ways_free")
        gpus = node["gpu_free"][: int(node["gpu_count"])]
        return (
            any(int(node[name]) < 0 for name in single)
            or bool((gpus < 0).any())
            or bool((node["extended_free"] < 0).any())
        )

    def overcommitted(self, pods: Mapping[str, PodFacts]) -> list[str]:
        """Names of nodes on which `pods` (by uid) ask for more than there is."""
        return [
            name
            for name, node in sorted(self._seen.items())
            if _exceeds([pods[uid].task_class.resources for uid in self._pods.get(name, ())], node)
        ]

    def likely_gpus(self, row: int, wants: Resources) -> int:
        """A mask for a bound pod that does not say which GPUs it was given.

        Whole GPUs of device plug-ins have no index in the API: the freest ones, lowest index first.
        """
        node = self._recorded.engine.table.state.nodes[row]
        free = node["gpu_free"][: int(node["gpu_count"])]
        order = sorted(range(len(free)), key=lambda gpu: (-int(free[gpu]), gpu))
        return sum(1 << gpu for gpu in order[: wants.gpu_count])


def _exceeds(asked: Sequence[Resources], node: Node) -> bool:
    has = node.capacity
    extended = Counter[str]()
    for wants in asked:
        extended.update(dict(wants.extended))
    offered = dict(has.extended)
    return (
        sum(wants.cpu_milli for wants in asked) > has.cpu_milli
        or sum(wants.memory_mib for wants in asked) > has.memory_mib
        or sum(wants.gpu_milli_total for wants in asked) > has.gpu_milli_total
        or sum(wants.cache_ways for wants in asked) > has.cache_ways
        or len(asked) > node.slots
        or any(amount > offered.get(name, 0) for name, amount in extended.items())
    )
