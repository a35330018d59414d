"""A history, indexed for the checks: by task, by run, by cluster."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

from tests.faults.history import Entry, History

TERMINAL = ("succeeded", "failed", "cancelled", "rejected")


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: which one, in a sentence, and what shows it."""

    check: str
    sentence: str
    entries: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        shown = "".join(f"\n    {entry}" for entry in self.entries[:8])
        return f"{self.check}: {self.sentence}{shown}"


@dataclass(slots=True)
class Run:
    """A run as the world saw it: on that node from `start` to `end` (None: it still runs)."""

    run_id: str
    task: str
    cluster: str
    node: str
    start: Entry
    end: Entry | None = None

    @property
    def start_s(self) -> float:
        return self.start.at_s

    @property
    def end_s(self) -> float:
        return self.end.at_s if self.end else inf

    @property
    def phase(self) -> str:
        return str(self.end.data["phase"]) if self.end else "running"


@dataclass(slots=True)
class Submitted:
    """A workflow as its client sent it and the controller accepted it."""

    entry: Entry
    tasks: dict[str, dict[str, Any]]
    edges: list[tuple[str, str]]
    on_cluster_lost: str
    before: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for first, then in self.edges:
            self.before[then].append(first)


class Reading:
    """Views of one history. The controller's entries are by `gcc`, an agent's by `lca:...`."""

    def __init__(self, history: Iterable[Entry] | History) -> None:
        self.entries = list(history)
        self.place = {id(entry): i for i, entry in enumerate(self.entries)}

    @cached_property
    def controller(self) -> list[Entry]:
        """Rows of the controller's event table."""
        return [entry for entry in self.entries if entry.who == "gcc"]

    @cached_property
    def agents(self) -> dict[str, list[Entry]]:
        """Rows of each agent's event table."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            if entry.who.startswith("lca:"):
                found[entry.who].append(entry)
        return found

    @cached_property
    def by_task(self) -> dict[str, list[Entry]]:
        """What the controller wrote of each task."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.controller:
            if entry.task:
                found[entry.task].append(entry)
        return found

    @cached_property
    def workflows(self) -> dict[str, Submitted]:
        """What was accepted, by workflow id, from the client's first answer."""
        found: dict[str, Submitted] = {}
        for entry in self.entries:
            if entry.who == "client" and entry.kind == "accepted":
                found.setdefault(entry.workflow, _submitted(entry))
        return found

    @cached_property
    def runs(self) -> dict[str, Run]:
        """What the world really executed, by run id."""
        found: dict[str, Run] = {}
        for entry in self.entries:
            if entry.who != "world":
                continue
            if entry.kind == "run_started":
                run_id, node = str(entry.data["run_id"]), str(entry.data["node"])
                found[run_id] = Run(run_id, entry.task, entry.cluster, node, entry)
            elif entry.kind == "run_ended" and entry.data["run_id"] in found:
                found[str(entry.data["run_id"])].end = entry
        return found

    @cached_property
    def runs_of(self) -> dict[str, list[Run]]:
        """Runs of each task, by start."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs.values():
            found[run.task].append(run)
        return found

    @cached_property
    def generation_of(self) -> dict[str, tuple[int, int]]:
        """(generation, attempt) of each run id that follows the rule."""
        found: dict[str, tuple[int, int]] = {}
        for uid in self.runs_of:
            top = max(
                (int(e.data.get("generation", 1)) for e in self.by_task.get(uid, [])), default=1
            )
            for generation in range(top + 2):
                for attempt in range(40):
                    found[name_of_run(uid, generation, attempt)] = (generation, attempt)
        return found

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the history was played with: `lease_s`, `window_tasks` and so on."""
        return next((e.data for e in self.entries if e.kind == "settings"), {})

    def terminal(self, uid: str) -> Entry | None:
        """The task's end at the controller."""
        return next((e for e in self.by_task.get(uid, []) if e.kind in TERMINAL), None)

    def first(self, who: str, kind: str) -> Entry | None:
        """The first entry of that kind."""
        return next((e for e in self.entries if e.who == who and e.kind == kind), None)


def name_of_run(uid: str, generation: int, attempt: int) -> str:
    """The rule for run ids, from the page of the protocol."""
    text = f"{uid}\0{generation}\0{attempt}".encode()
    return "cb-" + hashlib.sha256(text).hexdigest()[:24]


def _submitted(entry: Entry) -> Submitted:
    tasks = {f"{entry.workflow}/{task['name']}": task for task in entry.data["tasks"]}
    edges = [
        (f"{entry.workflow}/{first}", f"{entry.workflow}/{then}")
        for first, then in entry.data["edges"]
    ]
    return Submitted(entry, tasks, edges, str(entry.data["on_cluster_lost"]))
