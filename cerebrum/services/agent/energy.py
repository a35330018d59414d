"""Energy of nodes and of the runs on them, exact: what runs are charged plus idle is the total.

A node draws its idle power always, and on top of it a share for each run: of the CPU's way from
idle to full power by the part of a package it was given, of a GPU's by the part of the GPU. A run
is charged its own share, idle is the node's. Power is in whole microwatts and time in whole
microseconds, so energy is in whole picojoules and sums have no rounding. Between two changes power
is constant, so each change integrates what was before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cerebrum.model.cluster import Node
from cerebrum.model.resources import Resources

PJ = 10**12
"""Picojoules in a joule."""


@dataclass(slots=True)
class _Meter:
    """One node: powers in uW, energies in pJ, both counted up to `until_us`."""

    idle_uw: int
    runs_uw: int = 0
    idle_pj: int = 0
    runs_pj: int = 0
    until_us: int = 0

    def settle(self, now_us: int) -> None:
        """Count what was drawn since the last change."""
        lasted_us = max(0, now_us - self.until_us)
        self.idle_pj += self.idle_uw * lasted_us
        self.runs_pj += self.runs_uw * lasted_us
        self.until_us += lasted_us


class Energy:
    """Meters of all nodes, from the monotonic time `now_s` on."""

    def __init__(self, nodes: Iterable[Node], now_s: float) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._meters = {
            name: _Meter(idle_uw(node), until_us=_us(now_s)) for name, node in self._nodes.items()
        }
        self._runs: dict[str, tuple[str, int, int]] = {}  # node, uW, since us

    def __contains__(self, node: str) -> bool:
        return node in self._meters

    def follow(self, node: Node, now_s: float) -> None:
        """A node joins, or is not what it was: from now on its idle power is another."""
        self._nodes[node.name] = node
        meter = self._meters.setdefault(node.name, _Meter(0, until_us=_us(now_s)))
        meter.settle(_us(now_s))
        meter.idle_uw = idle_uw(node)

    def leave(self, node: str, now_s: float) -> None:
        """A node is gone: what still runs there is charged, idle power is not drawn."""
        meter = self._meters.get(node)
        if meter is not None:
            meter.settle(_us(now_s))
            meter.idle_uw = 0

    def restore(self, node: str, totals: tuple[int, int, int]) -> int:
        """Go on from stored totals; by how many us their clock was ahead of ours (a reboot)."""
        meter = self._meters.get(node)
        if meter is None:
            return 0
        meter.idle_pj, meter.runs_pj, until_us = totals
        ahead_us = max(0, until_us - meter.until_us)
        meter.until_us = until_us - ahead_us
        return ahead_us

    def resume(self, run_id: str, node: str, resources: Resources, since_s: float) -> None:
        """A run that was counted before goes on; its start is on the clock of the totals."""
        if node in self._meters:
            power_uw = run_uw(self._nodes[node], resources)
            self._runs[run_id] = (node, power_uw, _us(since_s))
            self._meters[node].runs_uw += power_uw

    def begin(self, run_id: str, node: str, resources: Resources, now_s: float) -> None:
        """A run starts to draw power."""
        if node in self._meters and run_id not in self._runs:
            meter = self._meters[node]
            meter.settle(_us(now_s))
            power_uw = run_uw(self._nodes[node], resources)
            self._runs[run_id] = (node, power_uw, meter.until_us)
            meter.runs_uw += power_uw

    def end(self, run_id: str, now_s: float) -> float:
        """A run stops drawing power: the joules it is charged; 0 if it never began."""
        if run_id not in self._runs:
            return 0.0
        node, power_uw, since_us = self._runs.pop(run_id)
        meter = self._meters[node]
        meter.settle(_us(now_s))
        meter.runs_uw -= power_uw
        return power_uw * (meter.until_us - since_us) / PJ

    def totals(self, node: str, now_s: float) -> tuple[int, int, int]:
        """Idle pJ, runs pJ, and until when in us."""
        meter = self._meters[node]
        meter.settle(_us(now_s))
        return meter.idle_pj, meter.runs_pj, meter.until_us

    def sums(self, nodes: Iterable[str], now_s: float) -> tuple[int, int]:
        """Idle pJ and runs pJ of these nodes together."""
        now_us, idle_pj, runs_pj = _us(now_s), 0, 0
        for node in nodes:
            meter = self._meters[node]
            meter.settle(now_us)
            idle_pj += meter.idle_pj
            runs_pj += meter.runs_pj
        return idle_pj, runs_pj

    def running_pj(self) -> int:
        """What runs that have not ended are charged so far, as of their node's last change."""
        return sum(
            power_uw * (self._meters[node].until_us - since_us)
            for node, power_uw, since_us in self._runs.values()
        )

    def power_w(self, node: str) -> float:
        """What the node draws now."""
        meter = self._meters[node]
        return (meter.idle_uw + meter.runs_uw) / 1e6


def idle_uw(node: Node) -> int:
    """A node's idle power, microwatts; 0 without a power model."""
    power = node.power
    if power is None:
        return 0
    packages = math.ceil(node.capacity.cpu_milli / power.cpu_package_milli)
    idle_w = packages * power.cpu_idle_w + node.capacity.gpu_count * power.gpu_idle_w
    return round(1e6 * idle_w)


def run_uw(node: Node, resources: Resources) -> int:
    """What a run adds to a node's power, microwatts."""
    power = node.power
    if power is None:
        return 0
    packages = resources.cpu_milli / power.cpu_package_milli
    cpu_w = max(0.0, power.cpu_full_w - power.cpu_idle_w) * packages
    gpu_w = max(0.0, power.gpu_full_w - power.gpu_idle_w) * resources.gpu_milli_total / 1000
    return round(1e6 * (cpu_w + gpu_w))


def _us(seconds: float) -> int:
    return round(1e6 * seconds)
