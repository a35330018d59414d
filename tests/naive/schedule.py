"""Naive twin of list scheduling, and an independent judge of any schedule.

Slow and plain on purpose. Everything is a dictionary or a list by task; a node is asked for its
free lanes by looking at all tasks on it.
"""

from __future__ import annotations

import math

from cerebrum.engine.schedule import Plan, Platform
from cerebrum.model.workflow import Workflow


def upward_rank(workflow: Workflow, platform: Platform) -> list[float]:
    """By recursion, straight from the paper's equation 8."""
    nodes = range(len(platform))
    slowness = sum(1 / platform.speed[row] for row in nodes) / len(platform)
    pairs = [(a, b) for a in nodes for b in nodes if a != b]
    links = [(platform.cluster[a], platform.cluster[b]) for a, b in pairs]
    network = platform.network
    latency = sum(network.latency_s[link] for link in links) / max(1, len(links))
    per_mb = sum(1 / network.bandwidth_mb_s[link] for link in links) / max(1, len(links))
    known: dict[int, float] = {}

    def rank(task: int) -> float:
        if task not in known:
            ways = [
                rank(int(workflow.after[e]))
                + (latency + workflow.volume_mb[e] * per_mb if workflow.volume_mb[e] > 0 else 0.0)
                for e in range(len(workflow.before))
                if workflow.before[e] == task
            ]
            known[task] = workflow.tasks.duration_s[task] * slowness + max(ways, default=0.0)
        return known[task]

    return [rank(task) for task in range(len(workflow))]


def transfer_s(platform: Platform, source: int, target: int, volume_mb: float) -> float:
    if source == target:
        return 0.0
    a, b = int(platform.cluster[source]), int(platform.cluster[target])
    return platform.network.transfer_s(a, b, volume_mb)


def list_schedule(workflow, platform, order, only_cluster=None, insertion=True) -> Plan:
    """Each task in turn on the node where it ends first; candidates are ready times and ends."""
    need, lanes, fits = platform.need(workflow), platform.lanes, platform.fits(workflow)
    placed: dict[int, tuple[int, float, float]] = {}
    for task in [int(t) for t in order]:
        choices = []
        for row in range(len(platform)):
            cluster = -1 if only_cluster is None else only_cluster[task]
            if cluster not in (-1, platform.cluster[row]):
                continue
            if not fits[workflow.tasks.class_id[task], row] or need[task] > lanes[row]:
                continue
            length = workflow.tasks.duration_s[task] / platform.speed[row]
            here = [(s, e, need[t]) for t, (r, s, e) in placed.items() if r == row]
            ready = _ready(workflow, platform, placed, task, row)
            if not insertion:
                ready = max([ready, *(s for s, _, _ in here)])
            start = _first_gap(here, ready, length, need[task], lanes[row])
            choices.append((start + length, row, start))
        end, row, start = min(choices)
        placed[task] = (row, start, end)
    by_task = [placed[task] for task in range(len(workflow))]
    return Plan(*([column[i] for column in by_task] for i in range(3)))


def _ready(workflow, platform, placed, task, row) -> float:
    ready = 0.0
    for e in range(len(workflow.before)):
        if workflow.after[e] == task:
            source, _, end = placed[int(workflow.before[e])]
            ready = max(ready, end + transfer_s(platform, source, row, workflow.volume_mb[e]))
    return ready


def _first_gap(here, ready, length, need, lanes) -> float:
    for start in sorted({ready, *(e for _, e, _ in here if e > ready)}):
        moments = [start, *(s for s, _, _ in here if start < s < start + length)]
        if all(_used(here, moment) + need <= lanes for moment in moments):
            return start
    raise AssertionError("after the last end a node is free")


def _used(here, moment) -> int:
    return sum(need for s, e, need in here if s <= moment < e)


def violations(workflow: Workflow, platform: Platform, plan: Plan, slack_s: float = 1e-6) -> list:
    """What is wrong with a schedule under the model; empty for a valid one.

    Each task once, long enough, where it may run; predecessors and their data first; never more
    than a node's lanes at a time.
    """
    need, lanes, fits = platform.need(workflow), platform.lanes, platform.fits(workflow)
    names, wrong = workflow.tasks.names, []
    for task in range(len(workflow)):
        row, start, end = int(plan.node[task]), plan.start_s[task], plan.end_s[task]
        if not (0 <= row < len(platform) and math.isfinite(start) and start >= -slack_s):
            wrong.append(f"{names[task]} is nowhere: node {row}, start {start}")
            continue
        length = workflow.tasks.duration_s[task] / platform.speed[row]
        if abs(end - start - length) > slack_s:
            wrong.append(f"{names[task]} runs {end - start} s, not {length}")
        if not fits[workflow.tasks.class_id[task], row]:
            wrong.append(f"{names[task]} is on node {row}, which cannot hold it")
    for e, (a, b) in enumerate(zip(workflow.before, workflow.after, strict=True)):
        move = transfer_s(platform, int(plan.node[a]), int(plan.node[b]), workflow.volume_mb[e])
        if plan.start_s[b] + slack_s < plan.end_s[a] + move:
            wrong.append(f"{names[b]} starts before the data of {names[a]} is there")
    for row in range(len(platform)):
        changes = []
        for task in [t for t in range(len(workflow)) if plan.node[t] == row]:
            if plan.end_s[task] - plan.start_s[task] > 2 * slack_s:
                changes.append((plan.start_s[task] + slack_s, need[task]))
                changes.append((plan.end_s[task] - slack_s, -need[task]))
        used = 0
        for moment, change in sorted(changes):
            used += change
            if used > lanes[row]:
                wrong.append(f"node {row} uses {used} of {lanes[row]} lanes at {moment} s")
    return wrong
