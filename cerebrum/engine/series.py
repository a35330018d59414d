# pyright: basic, reportPrivateImportUsage=false
"""What the cluster held over time: one compiled pass over an event log.

The pass repeats what the log says with the same `take`, `give_back` and `fragmentation` the engine
uses, so every curve is a function of the log alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import JIT, kernel
from cerebrum.engine.engine import Engine
from cerebrum.engine.log import EventLog
from cerebrum.engine.placement import fragmentation, give_back, take
from cerebrum.engine.typical import has_gpus, typical_classes
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.events import EventKind
from cerebrum.model.scenario import NodeChange, Scenario

# Columns of the series, one row an instant: the state after the last event of that time.
TIME, CPU, MEMORY, GPU, FRAGMENTED, CPU_ALL, MEMORY_ALL, GPU_ALL = 0, 1, 2, 3, 4, 5, 6, 7
QUEUE, RUNNING, ARRIVED = 8, 9, 10
COLUMNS = (
    "time_s", "cpu_milli", "memory_mib", "gpu_milli", "fragmented_gpu_milli",
    "cpu_capacity_milli", "memory_capacity_mib", "gpu_capacity_milli",
    "queued", "running", "arrived_gpu_milli",
)  # fmt: skip

# Columns of what is summed for each node: resource x seconds, seconds present, tasks started.
CPU_S, MEMORY_S, GPU_S, PRESENT_S, STARTS = 0, 1, 2, 3, 4
N_SUMS = 5

FINISHED, FAILED, PREEMPTED, BIND_FAILED = 0, 1, 2, 3
NODE_ADDED, NODE_CHANGED, NODE_REMOVED = 4, 5, 6
SUBMITTED, READY, REJECTED, BOUND, STARTED = 9, 10, 13, 14, 15
STAYS, LEAVES, RETURNS, CHANGES = 0, 1, 2, 3  # what a node event makes of a node


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The cluster over time.

    `columns` one array a name of `COLUMNS`, one entry an instant; a value holds until the next
    instant. Capacity counts nodes that are present, `arrived_gpu_milli` every task submitted so
    far. `node_sums` float64[nodes, 5]: CPU milli-seconds, MiB-seconds, GPU milli-seconds, seconds
    present, tasks started. `heat` float64[nodes, bins]: mean share (0..1) of the node's GPUs (of
    its CPU where no node has GPUs) in use in each of `bins` equal spans of time; NaN without any.
    `nodes` every node there ever was, by row.
    """

    columns: dict[str, NDArray[np.float64]]
    node_sums: NDArray[np.float64]
    heat: NDArray[np.float64]
    nodes: tuple[Node, ...]

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last event."""
        times = self.columns["time_s"]
        return float(times[-1] - times[0]) if len(times) else 0.0

    def percent(self, resource: str) -> NDArray[np.float64]:
        """Allocation of `cpu`, `memory` or `gpu` over time, in % of the capacity then present."""
        unit = {"cpu": "milli", "memory": "mib", "gpu": "milli"}[resource]
        capacity = self.columns[f"{resource}_capacity_{unit}"]
        return share_percent(self.columns[f"{resource}_{unit}"], capacity)

    @property
    def fragmented_percent(self) -> NDArray[np.float64]:
        """Fragmented GPUs over time, in % of the GPU capacity then present."""
        c = self.columns
        return share_percent(c["fragmented_gpu_milli"], c["gpu_capacity_milli"])

    def mean(self, values: NDArray[np.float64]) -> float:
        """Time-weighted mean of a column; the last value when no time passes."""
        return time_mean(self.columns["time_s"], values)


def share_percent(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """100 x part / whole, 0 where there is no whole."""
    return 100.0 * np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def time_mean(time_s: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Mean of a step function: each value weighs as long as it holds."""
    if not len(values):
        return float("nan")
    held = np.diff(time_s)
    span = float(held.sum())
    return float(values[:-1] @ held / span) if span > 0 else float(values[-1])


def series(scenario: Scenario, log: EventLog, bins: int = 0) -> Series:
    """Curves and node sums of a log; `bins` columns of a heat map (0: none)."""
    rows = _rows(log)
    engine, joined = _stage(scenario, log)
    s = engine.table.state
    nodes = (*scenario.cluster.nodes, *joined)
    staged = len(engine.nodes)  # the nodes, then what they are described as later on
    present = np.zeros(staged, np.uint8)
    present[: len(scenario.cluster)] = 1
    times = np.ascontiguousarray(log.rows["time_s"])
    instants = int(1 + np.count_nonzero(np.diff(times))) if len(times) else 0
    out = np.zeros((instants, len(COLUMNS)))
    sums, heat = np.zeros((staged, N_SUMS)), np.zeros((staged, bins))
    if instants:
        _replay(
            s.nodes, s.classes, s.typical, present, scenario.tasks.class_id, len(nodes),
            scenario.max_attempts, _changes(scenario), rows, out, sums, heat,
        )  # fmt: skip
        sums, heat = sums[: len(nodes)], heat[: len(nodes)]
        _scale_heat(heat, nodes, present, float(times[-1] - times[0]))
    columns = {name: np.ascontiguousarray(out[:, i]) for i, name in enumerate(COLUMNS)}
    return Series(columns, sums, heat, nodes)


def _rows(log: EventLog) -> NDArray[np.void]:
    rows = np.require(log.rows, requirements=["C", "W"])
    return rows if JIT else rows.view(np.dtype((np.record, rows.dtype)))


def _stage(scenario: Scenario, log: EventLog) -> tuple[Engine, tuple[Node, ...]]:
    """An engine with all nodes there will be and no tasks: its records are what the pass needs."""
    tasks = scenario.tasks
    typical = scenario.typical
    if typical is None:
        typical = typical_classes(tasks) if has_gpus(tasks.classes) else ()
    joined = _described(scenario, log, EventKind.NODE_ADDED, NodeChange.JOIN)
    later = _described(scenario, log, EventKind.NODE_CHANGED, NodeChange.UPDATE)
    every = (*scenario.cluster.nodes, *joined, *later)
    cluster = Cluster(tuple(replace(node, name=str(row)) for row, node in enumerate(every)))
    none = tasks.take(np.zeros(0, np.int64))
    stage = replace(
        scenario, cluster=cluster, tasks=none, node_events=(), typical=typical, bound={}
    )
    return Engine(stage), joined


def _described(
    scenario: Scenario, log: EventLog, kind: EventKind, change: NodeChange
) -> tuple[Node, ...]:
    """The nodes that events of one kind brought, in the order of the log."""
    values = log.rows[log.rows["kind"] == kind]["value"]
    events = (scenario.node_events[int(value)] for value in values)
    return tuple(e.node for e in events if e.change == change and e.node is not None)


def _changes(scenario: Scenario) -> NDArray[np.int64]:
    meaning = {
        NodeChange.LEAVE: LEAVES, NodeChange.UNCORDON: RETURNS, NodeChange.UPDATE: CHANGES,
    }  # fmt: skip
    return np.array([meaning.get(e.change, STAYS) for e in scenario.node_events], np.int64)


def _scale_heat(
    heat: NDArray[np.float64], nodes: tuple[Node, ...], present: NDArray[np.uint8], span_s: float
) -> None:
    """From resource x seconds to a share of the node."""
    gpus = np.array([node.capacity.gpu_count for node in nodes], float) * 1000
    cpu = np.array([node.capacity.cpu_milli for node in nodes], float)
    capacity = gpus if gpus.any() else cpu
    if heat.shape[1] and span_s > 0:
        whole = np.maximum(capacity, 1)[:, None] * span_s / heat.shape[1]
        heat /= whole
        heat[capacity == 0] = np.nan


@kernel
def _fill_heat(heat, row, start, end, origin, width, amount):
    """Spread `amount` x seconds from `start` to `end` over the bins of one node."""
    bins = heat.shape[1]
    first = min(bins - 1, int((start - origin) / width))
    last = min(bins - 1, int((end - origin) / width))
    for b in range(first, last + 1):
        low, high = max(start, origin + b * width), min(end, origin + (b + 1) * width)
        if b == last:
            high = end
        if high > low:
            heat[row, b] += amount * (high - low)


@kernel
def _settle(node, row, since, now, sums, heat, origin, width, by_gpu):
    """Add what a node held since it last changed."""
    seconds = now - since[row]
    if seconds > 0:
        gpus = 1000 * node.gpu_count - node.gpu_free_sum
        cpu = node.cpu_milli - node.cpu_free
        sums[row, CPU_S] += cpu * seconds
        sums[row, MEMORY_S] += (node.memory_mib - node.memory_free) * seconds
        sums[row, GPU_S] += gpus * seconds
        sums[row, PRESENT_S] += seconds
        if heat.shape[1] > 0 and width > 0:
            _fill_heat(heat, row, since[row], now, origin, width, gpus if by_gpu else cpu)
    since[row] = now


@kernel
def _count_node(state, node, typical, sign):
    """A node comes or goes: capacity and its part of the fragmentation."""
    state[CPU_ALL] += sign * node.cpu_milli
    state[MEMORY_ALL] += sign * node.memory_mib
    state[GPU_ALL] += sign * 1000.0 * node.gpu_count
    if len(typical):
        node.fragmentation = fragmentation(node, typical)
    state[FRAGMENTED] += sign * node.fragmentation


@kernel
def _count_task(state, task, sign):
    state[CPU] += sign * task.cpu_milli
    state[MEMORY] += sign * task.memory_mib
    state[GPU] += sign * task.gpu_milli * task.gpu_count
    state[RUNNING] += sign


@kernel
def _add(state, correction, value):
    """Compensated (Neumaier) addition to the fragmentation: the sum stays exact over long logs."""
    total = state[FRAGMENTED] + value
    if abs(state[FRAGMENTED]) >= abs(value):
        correction += (state[FRAGMENTED] - total) + value
    else:
        correction += (value - total) + state[FRAGMENTED]
    state[FRAGMENTED] = total
    return correction


@kernel
def _replay(
    nodes, classes, typical, present, t_class, described, max_attempts, changes, log, series, sums,
    heat,
):  # fmt: skip
    n = len(nodes)
    origin = log[0].time_s
    end = log[len(log) - 1].time_s
    width = (end - origin) / max(1, heat.shape[1])
    since = np.full(n, origin)
    load = np.zeros(n, np.int64)
    leaving = np.zeros(n, np.uint8)
    attempts = np.zeros(len(t_class), np.int32)
    t_row, t_gpus = np.full(len(t_class), -1), np.zeros(len(t_class), np.int64)
    t_ways = np.zeros(len(t_class), np.int64)
    state = np.zeros(series.shape[1])
    correction = 0.0
    by_gpu = False
    for row in range(n):
        by_gpu = by_gpu or nodes[row].gpu_count > 0
        if present[row]:
            _count_node(state, nodes[row], typical, 1)
    at = 0
    for i in range(len(log)):
        e = log[i]
        kind, now, row = np.int64(e.kind), e.time_s, np.int64(e.row)
        if kind in (NODE_ADDED, NODE_CHANGED, NODE_REMOVED):
            row = np.int64(e.subject)
            change = changes[np.int64(e.value)]
            if kind == NODE_ADDED:
                present[row], since[row] = 1, now
                _count_node(state, nodes[row], typical, 1)
            elif kind == NODE_CHANGED and change == CHANGES:
                _settle(nodes[row], row, since, now, sums, heat, origin, width, by_gpu)
                _count_node(state, nodes[row], typical, -1)
                nodes[row] = nodes[described]
                described += 1
                for other in range(len(t_class)):
                    if t_row[other] == row:
                        take(nodes[row], classes[t_class[other]], t_gpus[other], t_ways[other])
                _count_node(state, nodes[row], typical, 1)
            elif kind == NODE_CHANGED and change != STAYS:
                leaving[row] = 1 if change == LEAVES else 0
            if present[row] and (kind == NODE_REMOVED or (leaving[row] and load[row] == 0)):
                _settle(nodes[row], row, since, now, sums, heat, origin, width, by_gpu)
                _count_node(state, nodes[row], typical, -1)
                present[row] = 0
        elif kind in (SUBMITTED, READY):
            state[QUEUE] += 1
            if kind == SUBMITTED:
                task = classes[t_class[e.subject]]
                state[ARRIVED] += np.int64(task.gpu_milli) * task.gpu_count
        elif kind == REJECTED:
            state[QUEUE] -= 1
        elif kind == BOUND or kind <= BIND_FAILED:
            task = classes[t_class[e.subject]]
            node = nodes[row]
            _settle(node, row, since, now, sums, heat, origin, width, by_gpu)
            if kind == BOUND:
                take(node, task, np.int64(e.gpus), np.int64(e.cache_ways))
                t_row[e.subject], t_gpus[e.subject], t_ways[e.subject] = row, e.gpus, e.cache_ways
                _count_task(state, task, 1)
                attempts[e.subject] += 1
                sums[row, STARTS] += 1
                load[row] += 1
                state[QUEUE] -= 1
            else:
                give_back(node, task, np.int64(e.gpus), np.int64(e.cache_ways))
                t_row[e.subject] = -1
                _count_task(state, task, -1)
                load[row] -= 1
                over = kind == FAILED and attempts[e.subject] >= max_attempts
                if kind != FINISHED and not over:
                    state[QUEUE] += 1
            if len(typical):
                before = node.fragmentation
                node.fragmentation = fragmentation(node, typical)
                correction = _add(state, correction, node.fragmentation - before)
            if leaving[row] and load[row] == 0 and present[row]:
                _count_node(state, node, typical, -1)
                present[row] = 0
        if i + 1 == len(log) or log[i + 1].time_s > now:
            state[TIME] = now
            series[at] = state
            series[at, FRAGMENTED] += correction
            at += 1
    for row in range(n):
        if present[row]:
            _settle(nodes[row], row, since, end, sums, heat, origin, width, by_gpu)
