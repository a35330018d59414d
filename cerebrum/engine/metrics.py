"""Every metric, computed from an event log and its scenario: tables of tasks and nodes, a summary.

Names end in their unit. Waits run from submission to the start of the last attempt, so that wait +
run time = completion time also for tasks that were preempted; bounded slowdown is
max(1, completion / max(run, floor)).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.log import EventLog
from cerebrum.engine.series import CPU_S, GPU_S, MEMORY_S, PRESENT_S, STARTS, Series
from cerebrum.model.events import REFUSAL_TEXT, EventKind, TaskState, gpu_indices
from cerebrum.model.scenario import Scenario

SLOWDOWN_FLOOR_S = 10.0
"""Run times below this count as this in the bounded slowdown (Feitelson's usual choice)."""
LOAD_POINTS = (80, 90, 95, 100, 110, 120, 130)
"""GPU request arrived so far, in % of capacity, at which allocation is reported."""

Columns = dict[str, NDArray[Any]]

_STATE_AFTER = {
    EventKind.SUBMITTED: TaskState.PENDING, EventKind.READY: TaskState.PENDING,
    EventKind.DEFERRED: TaskState.PENDING, EventKind.UNSCHEDULABLE: TaskState.PENDING,
    EventKind.PREEMPTED: TaskState.PENDING, EventKind.BIND_FAILED: TaskState.PENDING,
    EventKind.FAILED: TaskState.PENDING, EventKind.BOUND: TaskState.BOUND,
    EventKind.STARTED: TaskState.RUNNING, EventKind.FINISHED: TaskState.SUCCEEDED,
    EventKind.REJECTED: TaskState.REJECTED, EventKind.CANCELLED: TaskState.CANCELLED,
}  # fmt: skip
_CODES = np.zeros(len(EventKind), np.int8)
_CODES[[int(kind) for kind in _STATE_AFTER]] = [int(state) for state in _STATE_AFTER.values()]


def task_columns(scenario: Scenario, log: EventLog, floor_s: float = SLOWDOWN_FLOOR_S) -> Columns:
    """Numbers of every task, by column; an entry that does not apply is NaN (row: -1).

    `submit_s`, `start_s` (of the last attempt), `end_s`, `wait_s`, `run_s`, `completion_s` and
    `bounded_slowdown` (floor `floor_s`); `state` TaskState; `row` node of the last attempt and
    `gpus` the bits of its GPUs; `attempts`, `preemptions`; `reason` Refusal bits last reported.
    """
    rows, n = log.rows, len(scenario.tasks)
    kind, subject, time_s = rows["kind"], rows["subject"], rows["time_s"]
    bound, started = kind == EventKind.BOUND, kind == EventKind.STARTED
    finished = kind == EventKind.FINISHED
    refused = (kind == EventKind.UNSCHEDULABLE) | (kind == EventKind.REJECTED)
    submit_s = np.asarray(scenario.tasks.submit_s)
    start_s = _last(n, subject[started], time_s[started], np.nan)
    end_s = _last(n, subject[finished], time_s[finished], np.nan)
    attempts = np.bincount(subject[bound], minlength=n).astype(np.int32)
    run_s, completion_s = end_s - start_s, end_s - submit_s
    return {
        "submit_s": submit_s,
        "start_s": start_s,
        "end_s": end_s,
        "wait_s": start_s - submit_s,
        "run_s": run_s,
        "completion_s": completion_s,
        "bounded_slowdown": np.maximum(1.0, completion_s / np.maximum(run_s, floor_s)),
        "row": _last(n, subject[bound], rows["row"][bound], -1),
        "gpus": _last(n, subject[bound], rows["gpus"][bound], 0),
        "state": _states(scenario, log, attempts),
        "attempts": attempts,
        "preemptions": _count(n, subject[kind == EventKind.PREEMPTED]),
        "failures": _count(n, subject[kind == EventKind.FAILED]),
        "reason": _last(n, subject[refused], rows["reason"][refused], 0),
    }


def _last(n: int, subject: NDArray[Any], values: NDArray[Any], missing: float) -> NDArray[Any]:
    """The last value of each task: of repeated indices NumPy keeps the last one assigned."""
    out = np.full(n, missing, values.dtype)
    out[subject] = values
    return out


def _count(n: int, subject: NDArray[Any]) -> NDArray[np.int32]:
    return np.bincount(subject, minlength=n).astype(np.int32)


def _states(scenario: Scenario, log: EventLog, attempts: NDArray[np.int32]) -> NDArray[np.int8]:
    kind, n = log.rows["kind"], len(scenario.tasks)
    tells = _CODES[kind] > 0
    subject, last = log.rows["subject"][tells], kind[tells]
    state = _last(n, subject, _CODES[last], int(TaskState.UNKNOWN))
    final = _last(n, subject, log.rows["value"][tells] > 0, 0) > 0
    last_kind = _last(n, subject, last, -1)
    failed = (last_kind == EventKind.FAILED) & (final | (attempts >= scenario.max_attempts))
    state[failed] = int(TaskState.FAILED)
    state[(last_kind == EventKind.SUBMITTED) & final] = int(TaskState.BLOCKED)
    return state


def node_columns(found: Series) -> Columns:
    """Per node: time-weighted utilisation in %, seconds present, tasks started on it."""
    sums = found.node_sums
    capacity = {
        "cpu": np.array([n.capacity.cpu_milli for n in found.nodes], float),
        "memory": np.array([n.capacity.memory_mib for n in found.nodes], float),
        "gpu": np.array([1000 * n.capacity.gpu_count for n in found.nodes], float),
    }
    out: Columns = {}
    for (name, amount), column in zip(capacity.items(), (CPU_S, MEMORY_S, GPU_S), strict=True):
        whole = amount * sums[:, PRESENT_S]
        used = np.divide(sums[:, column], whole, out=np.full(len(amount), np.nan), where=whole > 0)
        out[f"{name}_utilisation_pct"] = 100.0 * used
    out["present_s"] = sums[:, PRESENT_S]
    out["tasks"] = sums[:, STARTS].astype(np.int64)
    return out


def reason_text(bits: int) -> str:
    """Refusal bits in words, as an operator reads them; '' for none."""
    return ", ".join(text for bit, text in REFUSAL_TEXT.items() if int(bits) & int(bit))


def gpu_text(mask: int) -> str:
    """GPU indices as `0-1-2`, the form of the `gpu-index` annotation; '' for none."""
    return "-".join(str(index) for index in gpu_indices(int(mask)))


def texts(values: NDArray[Any], say: Any) -> list[str]:
    """`say(value)` for each, computed once a distinct value."""
    distinct, where = np.unique(values, return_inverse=True)
    words = [say(int(value)) for value in distinct]
    return [words[i] for i in where]


def by_load(found: Series, points: Iterable[int] = LOAD_POINTS) -> dict[int, dict[str, float]]:
    """GPU allocation and fragmentation where the GPU request arrived so far reaches each point.

    Point k takes the instants whose arrived request, in % of capacity, rounds to k (halves to
    even), or else those of k - 1 to k + 1; a value is the mean over them: `allocation_pct`,
    `fragmentation_pct` of capacity, `fragmentation_idle_pct` of the GPUs not allocated. The rule,
    with its roundings, is the one of the published openb tables (docs/reference/openb-protocol.md).
    """
    c = found.columns
    capacity = float(c["gpu_capacity_milli"][0]) if len(c["time_s"]) else 0.0
    if not capacity:
        return {}
    fragmented = np.round(c["fragmented_gpu_milli"], 2)
    idle = capacity - c["gpu_milli"]
    ratio = np.divide(100 * fragmented, idle, out=np.zeros_like(idle), where=idle > 0)
    at = np.rint(c["arrived_gpu_milli"] / (capacity / 100)).astype(np.int64)
    curves = (
        ("allocation_pct", np.round(c["gpu_milli"] / (capacity / 100), 2), 1.0),
        ("fragmentation_pct", fragmented, 100 / capacity),
        ("fragmentation_idle_pct", np.round(ratio, 2), 1.0),
    )
    out: dict[int, dict[str, float]] = {}
    for k in points:
        chosen = at == k
        if not chosen.any():
            chosen = np.abs(at - k) <= 1
        if chosen.any():
            out[k] = {name: scale * float(values[chosen].mean()) for name, values, scale in curves}
    return out


def summary(scenario: Scenario, log: EventLog, tasks: Columns, found: Series) -> dict[str, Any]:
    """The run in a few dozen numbers; None where there is nothing to average."""
    state, columns = tasks["state"], found.columns
    out: dict[str, Any] = {"tasks": len(scenario.tasks), "nodes": len(scenario.cluster)}
    out |= {s.name.lower(): int((state == s).sum()) for s in TaskState if (state == s).any()}
    out["preemptions"] = int(tasks["preemptions"].sum())
    out["failures"] = int(tasks["failures"].sum())
    out["events"] = len(log)
    ends = tasks["end_s"][~np.isnan(tasks["end_s"])]
    submitted = log.of(EventKind.SUBMITTED)["time_s"]
    out["makespan_s"] = float(ends.max() - submitted[0]) if len(ends) else None
    out["span_s"] = found.span_s
    for name in ("wait_s", "completion_s", "bounded_slowdown"):
        out |= _spread(name, tasks[name])
    for resource, unit in (("cpu", "milli"), ("memory", "mib"), ("gpu", "milli")):
        out[f"{resource}_utilisation_pct"] = _utilisation(found, resource, unit)
        out[f"{resource}_allocation_pct_end"] = _end(found.percent(resource))
    out["fragmentation_pct_mean"] = _number(found.mean(found.fragmented_percent))
    out["fragmentation_pct_end"] = _end(found.fragmented_percent)
    out["queued_mean"] = _number(found.mean(columns["queued"]))
    out["queued_max"] = int(columns["queued"].max()) if len(columns["queued"]) else 0
    packing = not (state == TaskState.SUCCEEDED).any()  # with departures, load is no clock
    out["at_load"] = {str(k): v for k, v in by_load(found).items()} if packing else {}
    out["rejected_by_reason"] = _reasons(log, EventKind.REJECTED)
    out["unschedulable_by_reason"] = _reasons(log, EventKind.UNSCHEDULABLE)
    return out


def _spread(name: str, values: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean, median and 99th percentile over the tasks that have a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return {f"{name}_{part}": None for part in ("mean", "p50", "p99")}
    p50, p99 = np.percentile(known, [50, 99])
    mean = float(known.mean())
    return {f"{name}_mean": mean, f"{name}_p50": float(p50), f"{name}_p99": float(p99)}


def _utilisation(found: Series, resource: str, unit: str) -> float | None:
    """Allocated x seconds in % of capacity x seconds, over the whole run."""
    c = found.columns
    capacity = found.mean(c[f"{resource}_capacity_{unit}"])
    return 100.0 * found.mean(c[f"{resource}_{unit}"]) / capacity if capacity > 0 else None


def _end(values: NDArray[np.float64]) -> float | None:
    return float(values[-1]) if len(values) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _reasons(log: EventLog, kind: EventKind) -> dict[str, int]:
    """Events of a kind by reason, commonest first. A waiting task reports once until it starts."""
    reasons = log.rows["reason"][log.rows["kind"] == kind]
    distinct, counts = np.unique(reasons, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {reason_text(int(distinct[i])) or "no reason": int(counts[i]) for i in order}


def count_reasons(refusals: Iterable[int]) -> dict[str, int]:
    """Nodes by reason, commonest first. A node refused for two reasons counts for both."""
    bits = [int(b) for b in refusals if b]
    counts = {text: sum(1 for b in bits if b & int(r)) for r, text in REFUSAL_TEXT.items()}
    return dict(sorted(((t, n) for t, n in counts.items() if n), key=lambda item: -item[1]))


def no_node_text(refusals: Iterable[int]) -> str:
    """Refusals of all nodes in kube-scheduler's words: `0/3 nodes are available: ...`."""
    bits = [int(b) for b in refusals]
    said = ", ".join(f"{n} {text}" for text, n in count_reasons(bits).items())
    fitting = sum(1 for b in bits if not b)
    return f"{fitting}/{len(bits)} nodes are available" + (f": {said}." if said else ".")
