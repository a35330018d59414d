"""Promises about results: what the controller says of a task is what became of it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.history import Entry
from tests.faults.reading import TERMINAL, Reading, Violation


def results_really_happened(reading: Reading) -> Iterator[Violation]:
    """Behind `succeeded` there is a run that really did, before it was said."""
    name = "results really happened"
    for workflow in reading.workflows.values():
        for uid in workflow.tasks:
            end = reading.terminal(uid)
            if end is None or end.kind != "succeeded":
                continue
            run = reading.runs.get(str(end.data.get("run_id")))
            if run is None or run.task != uid:
                sentence = f"task {uid} is said to have succeeded in a run that never was"
                yield Violation(name, sentence, (end,))
            elif run.phase != "succeeded" or run.end_s > end.at_s:
                sentence = f"task {uid} is said to have succeeded, but its run {run.phase}"
                yield Violation(name, sentence, (run.start, end, *([run.end] if run.end else [])))


def failures_have_a_cause(reading: Reading) -> Iterator[Violation]:
    """A task fails only after as many failed starts as it was allowed."""
    for workflow in reading.workflows.values():
        for uid, spec in workflow.tasks.items():
            end = reading.terminal(uid)
            if end is None or end.kind != "failed":
                continue
            tries = [run for run in reading.runs_of.get(uid, []) if run.end_s <= end.at_s]
            failed = [run for run in tries if run.phase != "succeeded"]
            refused = _refused_starts(reading, uid)
            if len(failed) + refused < int(spec["max_attempts"]):
                sentence = (
                    f"task {uid} is said to have failed after {len(failed) + refused} failed "
                    f"attempts of {spec['max_attempts']}"
                )
                shown = [entry for run in tries for entry in (run.start, run.end) if entry]
                yield Violation("failures have a cause", sentence, (*shown, end))


def _refused_starts(reading: Reading, uid: str) -> int:
    return sum(
        entry.task == uid and entry.kind == "start_refused"
        for entry in reading.entries
        if entry.who == "world"
    )


def cancellations_have_a_cause(reading: Reading) -> Iterator[Violation]:
    """A task is cancelled because somebody asked, because what it waits for did not succeed, or
    because a task of its workflow fits nowhere (then the workflow is given up)."""
    asked: dict[str, float] = {}
    for entry in reading.entries:
        if entry.who == "client" and entry.kind == "asked_cancel":
            asked.setdefault(entry.workflow, entry.at_s)
    for name, workflow in reading.workflows.items():
        ends = {uid: reading.terminal(uid) for uid in workflow.tasks}
        if any(end is not None and end.kind == "rejected" for end in ends.values()):
            continue
        for uid, end in ends.items():
            if end is None or end.kind != "cancelled":
                continue
            if name in asked and asked[name] <= end.at_s:
                continue
            firsts = [reading.terminal(first) for first in workflow.before.get(uid, [])]
            if not any(first is not None and first.kind != "succeeded" for first in firsts):
                sentence = f"task {uid} was cancelled though nobody asked and nothing failed"
                yield Violation(
                    "cancellations have a cause", sentence, tuple(reading.by_task[uid][-8:])
                )


def workflow_states_follow(reading: Reading) -> Iterator[Violation]:
    """A workflow succeeds when all its tasks did, fails when one did, and ends after all."""
    name = "workflow states follow"
    for entry in reading.controller:
        if entry.kind != "workflow_ended" or entry.workflow not in reading.workflows:
            continue
        ends = [reading.terminal(uid) for uid in reading.workflows[entry.workflow].tasks]
        kinds = {end.kind for end in ends if end}
        place = reading.place[id(entry)]
        open_tasks = [end for end in ends if end is None or reading.place[id(end)] > place]
        if open_tasks:
            sentence = f"workflow {entry.workflow} ended before {len(open_tasks)} of its tasks"
            yield Violation(name, sentence, (entry, *(end for end in open_tasks if end)))
        elif not _follows(entry, kinds):
            sentence = f"workflow {entry.workflow} ended as {entry.data['state']} with {kinds}"
            yield Violation(name, sentence, (entry,))


def _follows(entry: Entry, kinds: set[str]) -> bool:
    state = entry.data["state"]
    return state in TERMINAL and (state == "succeeded") == (kinds == {"succeeded"})
