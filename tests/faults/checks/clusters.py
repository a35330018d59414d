"""Promises about controllers and agents: epochs, leases, windows, identities, reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.history import Entry
from tests.faults.reading import TERMINAL, Reading, Violation


def epochs_rise(reading: Reading) -> Iterator[Violation]:
    """Each election raises the epoch; nothing is written or believed under an older one."""
    name, epoch = "epochs rise", 0
    last: Entry | None = None
    for entry in reading.controller:
        given = int(entry.data.get("epoch", epoch))
        if entry.kind == "elected":
            if given <= epoch and last is not None:
                yield Violation(name, f"epoch {given} was elected after {epoch}", (last, entry))
            epoch, last = given, entry
        elif given != epoch:
            shown = (last, entry) if last else (entry,)
            yield Violation(
                name, f"{entry.kind} was written under epoch {given}, not {epoch}", shown
            )
    for agent, entries in reading.agents.items():
        top = 0
        for entry in entries:
            given = int(entry.data.get("epoch", 0))
            if entry.kind == "received" and given < top:
                sentence = f"{agent} took an offer of epoch {given} after it knew {top}"
                yield Violation(name, sentence, (entry,))
            if entry.kind in ("received", "registered", "confirmed"):
                top = max(top, given)


def stored_before_held(reading: Reading) -> Iterator[Violation]:
    """What the controller calls held is on the agent's disk."""
    stored: set[tuple[str, int]] = set()
    for entry in reading.entries:
        if entry.who.startswith("lca:") and entry.kind == "received":
            stored.add((str(entry.data["assignment"]), int(entry.data["generation"])))
        elif entry.who == "gcc" and entry.kind == "held":
            key = (str(entry.data["assignment"]), int(entry.data["generation"]))
            if key not in stored:
                sentence = f"assignment {key[0]} is called held, but no agent has stored it"
                yield Violation("stored before held", sentence, (entry,))


def windows_are_kept(reading: Reading) -> Iterator[Violation]:
    """A cluster never has more unfinished tasks than its window."""
    window = int(reading.settings.get("window_tasks", 2**31))
    at: dict[str, set[str]] = defaultdict(set)
    for entry in reading.controller:
        if entry.kind == "registered" and entry.data.get("replaces"):
            at[entry.cluster].clear()  # what an agent that is gone had takes no place of the next
        elif entry.kind in ("offered", "held", "running") and entry.cluster:
            at[entry.cluster].add(entry.task)
            if len(at[entry.cluster]) > window:
                sentence = f"cluster {entry.cluster} has more than {window} tasks"
                yield Violation("windows are kept", sentence, (entry,))
        elif entry.kind in ("taken_back", *TERMINAL):
            for tasks in at.values():
                tasks.discard(entry.task)


def no_stampede(reading: Reading) -> Iterator[Violation]:
    """When most clusters fall silent within a lease, nothing is taken back."""
    lease_s = float(reading.settings.get("lease_s", 0.0))
    heard: dict[str, float] = {}  # when the last message arrived
    answered: dict[str, float] = {}
    lost: set[str] = set()  # by the controller's own word
    for entry in reading.entries:
        if entry.who == "network" and entry.kind == "heard":
            answered[entry.cluster] = entry.at_s
            heard[entry.cluster] = float(entry.data.get("arrived_s", entry.at_s))
        elif entry.kind == "cluster_lost":
            lost.add(entry.cluster)
        elif entry.kind == "cluster_back":
            lost.discard(entry.cluster)
        elif entry.kind == "taken_back" and "is lost" in str(entry.data.get("reason")):
            late = {name for name, at_s in answered.items() if entry.at_s - at_s > 1.1 * lease_s}
            since = heard.get(entry.cluster, 0.0)
            together = sorted(
                name
                for name in late | (lost & heard.keys())
                if abs(heard[name] - since) < 0.9 * lease_s
            )
            if len(together) >= 2 and len(together) > 0.55 * len(heard):
                sentence = f"{entry.task} was taken back while {together} are silent together"
                yield Violation("no stampede", sentence, (entry,))


def one_identity_at_a_time(reading: Reading) -> Iterator[Violation]:
    """A second agent with one cluster id is let in only after the first was silent for a lease."""
    lease_s = float(reading.settings.get("lease_s", 0.0))
    heard: dict[str, tuple[str, float]] = {}
    for entry in reading.entries:
        if entry.who != "network" or entry.kind != "heard":
            continue
        identity = str(entry.data["identity"])
        last, at_s = heard.get(entry.cluster, (identity, 0.0))
        if last != identity and entry.at_s - at_s < lease_s:
            sentence = f"cluster {entry.cluster} changed hands {entry.at_s - at_s:.1f} s after"
            yield Violation("one identity at a time", sentence, (entry,))
        # A long poll is answered long after it arrived, and it is its arrival that counts.
        arrived_s = float(entry.data.get("arrived_s", entry.at_s))
        heard[entry.cluster] = (identity, max(at_s, arrived_s) if last == identity else arrived_s)


def reports_are_kept_until_confirmed(reading: Reading) -> Iterator[Violation]:
    """Reports are confirmed in order; what an agent calls reported, the controller has applied."""
    for agent, entries in reading.agents.items():
        top = 0
        for entry in entries:
            if entry.kind != "reported":
                continue
            seq = int(entry.data["seq"])
            if seq <= top:
                sentence = f"{agent} had report {seq} confirmed after {top}"
                yield Violation("reports are kept", sentence, (entry,))
            top = max(top, seq)


def nothing_broke_by_itself(reading: Reading) -> Iterator[Violation]:
    """No process failed but for the faults that were planted in the world around it."""
    for entry in reading.entries:
        if entry.kind == "internal_error":
            yield Violation("nothing broke by itself", str(entry.data["problem"]), (entry,))
