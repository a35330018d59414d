"""Promises about tasks at the controller: accepted once, ended once, one step after the other."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from tests.faults.history import Entry
from tests.faults.reading import TERMINAL, Reading, Violation


def every_accepted_task_ends_once(reading: Reading) -> Iterator[Violation]:
    """Nothing accepted is lost, and everything accepted reaches exactly one end."""
    name = "every accepted task ends once"
    known = {entry.workflow for entry in reading.controller if entry.kind == "submitted"}
    ended = defaultdict[str, list[Entry]](list)
    for entry in reading.controller:
        if entry.kind == "workflow_ended":
            ended[entry.workflow].append(entry)
    for workflow, submitted in reading.workflows.items():
        if workflow not in known:
            yield Violation(
                name, f"workflow {workflow} was accepted, but not stored", (submitted.entry,)
            )
            continue
        open_tasks = False
        for uid in submitted.tasks:
            history = reading.by_task.get(uid, [])
            ends = [entry for entry in history if entry.kind in TERMINAL]
            if len(ends) > 1:
                yield Violation(name, f"task {uid} ended {len(ends)} times", tuple(ends))
            if not ends:
                open_tasks = True
                if not _may_stay_open(reading, uid, submitted.on_cluster_lost):
                    yield Violation(name, f"task {uid} never ended", tuple(history[-8:]))
        if len(ended[workflow]) > 1 or not (ended[workflow] or open_tasks):
            times = len(ended[workflow])
            yield Violation(
                name, f"workflow {workflow} ended {times} times", tuple(ended[workflow])
            )


def _may_stay_open(reading: Reading, uid: str, on_cluster_lost: str) -> bool:
    """Only what waits for a dead cluster because its owner wants it so (`never`), and its heirs."""
    dead = {entry.cluster for entry in reading.entries if entry.kind == "cluster_dead"}
    if not dead or on_cluster_lost != "never":
        return False
    workflow = uid.partition("/")[0]
    return any(
        entry.cluster in dead
        for entry in reading.controller
        if entry.kind == "assigned" and entry.task.startswith(workflow + "/")
    )


def one_key_one_workflow(reading: Reading) -> Iterator[Violation]:
    """A submission repeated with its key is answered as before and stored once."""
    answers: dict[str, Entry] = {}
    for entry in reading.entries:
        if entry.who == "client" and entry.kind == "accepted":
            first = answers.setdefault(str(entry.data["key"]), entry)
            if first.workflow != entry.workflow:
                sentence = f"key {entry.data['key']} was answered with two workflows"
                yield Violation("one key, one workflow", sentence, (first, entry))
    for entry in reading.controller:
        if entry.kind == "submitted" and entry.workflow not in reading.workflows:
            sentence = f"{entry.workflow} was stored, but no client was ever told of it"
            yield Violation("one key, one workflow", sentence, (entry,))


def generations_rise(reading: Reading) -> Iterator[Violation]:
    """Each assignment of a task has a higher generation than all before."""
    for uid, entries in reading.by_task.items():
        assigned = [entry for entry in entries if entry.kind == "assigned"]
        for last, this in itertools.pairwise(assigned):
            if this.data["generation"] <= last.data["generation"]:
                sentence = f"task {uid} was assigned again without a higher generation"
                yield Violation("generations rise", sentence, (last, this))


def nothing_after_the_end(reading: Reading) -> Iterator[Violation]:
    """A terminal state is never left."""
    moves = ("assigned", "offered", "held", "running", "taken_back")
    for uid, entries in reading.by_task.items():
        end: Entry | None = None
        for entry in entries:
            if end is not None and entry.kind in moves:
                sentence = f"task {uid} was {entry.kind} after it had {end.kind}"
                yield Violation("nothing after the end", sentence, (end, entry))
            if entry.kind in TERMINAL and end is None:
                end = entry


_AFTER = {
    "offered": ("assigned", "offered"),
    "held": ("offered", "held"),
    "running": ("held", "running"),
    "succeeded": ("held", "running"),
    "assigned": ("", "taken_back"),
}


def steps_in_order(reading: Reading) -> Iterator[Violation]:
    """pending, assigned, offered, held, running: no step is left out, each under one generation."""
    name = "steps in order"
    for uid, entries in reading.by_task.items():
        state, generation = "", 0
        for entry in entries:
            kind, given = entry.kind, int(entry.data.get("generation") or 0)
            if kind not in (*_AFTER, *TERMINAL, "taken_back"):
                continue
            if kind in _AFTER and state not in _AFTER[kind] and not _late(entry, state, generation):
                sentence = f"task {uid} became {kind} when it was {state or 'pending'}"
                yield Violation(name, sentence, tuple(entries[:8]))
            if kind == "taken_back" and state not in ("assigned", "offered", "held", "running"):
                sentence = f"task {uid} was taken back when it was {state or 'pending'}"
                yield Violation(name, sentence, tuple(entries[:8]))
            if kind in ("offered", "held", "running", "taken_back") and given not in (
                0,
                generation,
            ):
                sentence = f"task {uid} became {kind} under generation {given}, not {generation}"
                yield Violation(name, sentence, tuple(entries[:8]))
            if kind == "assigned":
                generation = given
            state = kind


def _late(entry: Entry, state: str, generation: int) -> bool:
    """A result of an earlier generation, or of the one that was taken back and not replaced yet:
    the first one wins, whatever its generation."""
    given = int(entry.data.get("generation") or 0)
    past = given <= generation if state == "taken_back" else given < generation
    return entry.kind in TERMINAL and past


def remote_predecessors_first(reading: Reading) -> Iterator[Violation]:
    """A task is offered only when what it needs from other clusters has succeeded."""
    where: dict[str, str] = {}
    done: set[str] = set()
    before = {
        uid: first for work in reading.workflows.values() for uid, first in work.before.items()
    }
    for entry in reading.controller:
        if entry.kind == "assigned":
            where[entry.task] = entry.cluster
        elif entry.kind == "succeeded":
            done.add(entry.task)
        elif entry.kind == "offered":
            for first in before.get(entry.task, []):
                if first not in done and where.get(first) != where.get(entry.task):
                    sentence = f"task {entry.task} was offered before {first} had succeeded"
                    yield Violation("remote predecessors first", sentence, (entry,))


def nothing_new_after_a_cancel(reading: Reading) -> Iterator[Violation]:
    """Once a client was told that its workflow is cancelled, nothing of it is given out."""
    cancelled: dict[str, Entry] = {}
    for entry in reading.entries:
        if entry.who == "client" and entry.kind == "cancelled":
            cancelled.setdefault(entry.workflow, entry)
        elif entry.who == "gcc" and entry.kind in ("assigned", "offered", "held"):
            told = cancelled.get(entry.workflow)
            if told is not None:
                sentence = f"task {entry.task} was {entry.kind} after its workflow was cancelled"
                yield Violation("nothing new after a cancel", sentence, (told, entry))


def quotients_are_acyclic(reading: Reading) -> Iterator[Violation]:
    """The graph of a workflow's parts has no cycle."""
    part: dict[str, object] = {}
    for entry in reading.controller:
        if entry.kind == "assigned":
            part.setdefault(entry.task, entry.data["part"])
    for workflow, submitted in reading.workflows.items():
        graph = TopologicalSorter[object]()
        for first, then in submitted.edges:
            if first in part and then in part and part[first] != part[then]:
                graph.add(part[then], part[first])
        try:
            graph.prepare()
        except CycleError as problem:
            sentence = f"parts of {workflow} wait for each other: {problem.args[1]}"
            yield Violation("quotients are acyclic", sentence, (submitted.entry,))
