"""Where an agent's samples of node usage come from: the machine's counters, or what was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import psutil

from cerebrum.model.cluster import Node
from cerebrum.services.agent.prediction import Usage
from cerebrum.services.wire import NodeStatus


class MachineUsage:
    """One node that is this machine: the share of CPU and memory that anything uses."""

    def __init__(self, node: Node) -> None:
        self._node = node
        psutil.cpu_percent()  # the first call only remembers the counters

    async def sample(self) -> Mapping[str, Usage]:
        """Mean CPU since the sample before, memory now."""
        cpu, memory = psutil.cpu_percent() / 100, psutil.virtual_memory().percent / 100
        return {self._node.name: Usage(min(1.0, cpu), min(1.0, memory))}


class GivenUsage:
    """Nodes whose counters nobody here can read: the share that the agent has given to tasks."""

    def __init__(self, nodes: Sequence[Node], now: Callable[[], Sequence[NodeStatus]]) -> None:
        self._nodes, self._now = nodes, now

    async def sample(self) -> Mapping[str, Usage]:
        """What is given away at this moment."""
        found: dict[str, Usage] = {}
        for node, status in zip(self._nodes, self._now(), strict=True):
            cpu, memory = node.capacity.cpu_milli, node.capacity.memory_mib
            found[node.name] = Usage(
                1 - status.cpu_free_milli / cpu if cpu else 0.0,
                1 - status.memory_free_mib / memory if memory else 0.0,
            )
        return found
