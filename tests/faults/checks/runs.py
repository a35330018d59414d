"""Promises about what really ran, from the world's own record."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.history import Entry
from tests.faults.reading import Reading, Run, Violation


def one_run_at_a_time(reading: Reading) -> Iterator[Violation]:
    """Two runs of one task never overlap, wherever they are."""
    for uid, runs in reading.runs_of.items():
        ordered = sorted(runs, key=lambda run: run.start_s)
        for first, then in itertools.pairwise(ordered):
            if then.start_s < first.end_s:
                sentence = f"task {uid} ran twice at once, at {first.node} and {then.node}"
                yield Violation("one run at a time", sentence, (first.start, then.start))
        for first in ordered:
            for then in ordered:
                over = first.phase == "succeeded" and then.start_s > first.end_s
                if over and _told_before(reading, first, then):
                    sentence = f"task {uid} ran again though it was known to have succeeded"
                    yield Violation("one run at a time", sentence, (first.start, then.start))


def _told_before(reading: Reading, first: Run, then: Run) -> bool:
    """Whether the controller, or the very agent, had the result when the next run started."""
    end = reading.terminal(first.task)
    if end is not None and end.at_s < then.start_s and then.cluster == first.cluster:
        return _generation(reading, first) == _generation(reading, then)
    return False


def _generation(reading: Reading, run: Run) -> int:
    return reading.generation_of.get(run.run_id, (0, 0))[0]


def no_run_after_take_back(reading: Reading) -> Iterator[Violation]:
    """When a task is taken back, no run of it goes on, and none starts under that generation."""
    for uid, entries in reading.by_task.items():
        for entry in entries:
            if entry.kind != "taken_back":
                continue
            for run in reading.runs_of.get(uid, []):
                under = reading.generation_of.get(run.run_id, (0, 0))[0]
                if under <= int(entry.data["generation"]) and run.end_s > entry.at_s:
                    sentence = f"task {uid} was taken back, but its run at {run.node} could go on"
                    shown = (run.start, entry, *([run.end] if run.end else []))
                    yield Violation("no run after take-back", sentence, shown)


def cancelled_is_over(reading: Reading) -> Iterator[Violation]:
    """When a task is called cancelled, its run has ended: until then it is only to be cancelled."""
    for uid, runs in reading.runs_of.items():
        end = reading.terminal(uid)
        if end is None or end.kind != "cancelled":
            continue
        for run in runs:
            if run.end_s > end.at_s:
                sentence = f"task {uid} was called cancelled while it ran at {run.node}"
                shown = (run.start, end, *([run.end] if run.end else []))
                yield Violation("cancelled is over", sentence, shown)


def run_ids_follow_the_rule(reading: Reading) -> Iterator[Violation]:
    """A run is named by task, generation and attempt, and is started once."""
    name, seen = "run ids follow the rule", dict[str, Entry]()
    for run in reading.runs.values():
        if run.run_id not in reading.generation_of:
            yield Violation(name, f"run {run.run_id} of {run.task} has a free name", (run.start,))
    for entry in reading.entries:
        if entry.who == "world" and entry.kind == "run_started":
            run_id = str(entry.data["run_id"])
            if run_id in seen:
                yield Violation(name, f"run {run_id} was executed twice", (seen[run_id], entry))
            seen[run_id] = entry


def nodes_hold_what_they_have(reading: Reading) -> Iterator[Violation]:
    """At no time do the runs on a node ask for more than it has, and no GPU has two of them."""
    nodes: dict[tuple[str, str], dict[str, Any]] = {}
    used: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    for entry in reading.entries:
        if entry.who != "world":
            continue
        key = (entry.cluster, str(entry.data.get("node")))
        if entry.kind == "node":
            nodes[key] = entry.data
        elif entry.kind == "run_ended":
            used[key].pop(str(entry.data["run_id"]), None)
        elif entry.kind == "run_started":
            used[key][str(entry.data["run_id"])] = entry
            over = _over(nodes.get(key, {}), list(used[key].values()))
            if over:
                sentence = f"node {key[1]} of {key[0]} has {over}"
                yield Violation("nodes hold what they have", sentence, tuple(used[key].values()))


def _over(node: dict[str, Any], runs: list[Entry]) -> str:
    for amount in ("cpu_milli", "memory_mib"):
        total = sum(int(run.data[amount]) for run in runs)
        if total > int(node.get(amount, 0)):
            return f"{total} {amount} in use of {node.get(amount, 0)}"
    gpus = [gpu for run in runs for gpu in run.data["gpus"]]
    if len(gpus) > len(set(gpus)) or any(gpu >= int(node.get("gpu_count", 0)) for gpu in gpus):
        return f"GPUs {gpus} in use of {node.get('gpu_count', 0)}"
    return ""


def predecessors_first(reading: Reading) -> Iterator[Violation]:
    """No run starts before a run of each predecessor has succeeded."""
    for workflow in reading.workflows.values():
        for uid, firsts in workflow.before.items():
            for run in reading.runs_of.get(uid, []):
                for first in firsts:
                    done = (r for r in reading.runs_of.get(first, []) if r.phase == "succeeded")
                    if not any(before.end_s <= run.start_s for before in done):
                        sentence = f"task {uid} ran before {first} had succeeded"
                        yield Violation("predecessors first", sentence, (run.start,))


def only_confirmed_work_starts(reading: Reading) -> Iterator[Violation]:
    """An agent starts nothing that the controller did not confirm to it under that generation."""
    held: dict[tuple[str, int], float] = {}
    for entry in reading.controller:
        if entry.kind == "held":
            held.setdefault((entry.task, int(entry.data["generation"])), entry.at_s)
    for run in reading.runs.values():
        generation = reading.generation_of.get(run.run_id, (0, 0))[0]
        if generation and held.get((run.task, generation), float("inf")) > run.start_s:
            sentence = f"task {run.task} ran under generation {generation} before it was confirmed"
            yield Violation("only confirmed work starts", sentence, (run.start,))


def energy_adds_up(reading: Reading) -> Iterator[Violation]:
    """What an agent charged to its runs is what its meters counted beyond idling."""
    for entry in reading.entries:
        if entry.who != "world" or entry.kind != "metered":
            continue
        agent = str(entry.data["agent"])
        ended = [e for e in reading.agents.get(agent, []) if e.kind in ("ended", "start_failed")]
        charged_j = sum(float(e.data.get("energy_j") or 0.0) for e in ended)
        metered_j = float(entry.data["runs_j"])
        if abs(charged_j - metered_j) > 1e-6 * (1.0 + metered_j):
            sentence = f"{agent} charged {charged_j} J to its runs, its meters say {metered_j} J"
            yield Violation("energy adds up", sentence, (entry,))
