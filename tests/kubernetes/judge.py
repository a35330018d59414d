"""An independent judge of a scheduler: it knows the audit log and what there is at the end.

    verdict = judge(plane)
    assert verdict.faults() == []

It shares no code with what it judges: its own reading of quantities, its own sums. The log is in
the order in which requests ended, which differs from the order in which etcd took them by moments;
so room counts as given back when its deletion was asked for and as taken when a bind was answered,
and nobody is accused of what only looks wrong in between.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from tests.kubernetes.api import Api

Json = dict[str, Any]
_START = b'{"kind":"Event"'
_SUFFIXES = {
    "": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "E": 10**18, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_GPU_COUNT, _GPU_MILLI = "alibabacloud.com/gpu-count", "alibabacloud.com/gpu-milli"
_GPU_INDEX = "alibabacloud.com/gpu-index"
_OVER = ("Succeeded", "Failed")


class Judged(Protocol):
    """A cluster with an audit log."""

    folder: Path
    api: Api


@dataclass(slots=True)
class Verdict:
    """What was done in the cluster. `binds`: uid -> (node, time) of every bind that succeeded."""

    binds: dict[str, list[tuple[str, str]]] = field(default_factory=dict[str, Any])
    refused: Counter[int] = field(default_factory=Counter[int])
    overcommitted: list[str] = field(default_factory=list[str])
    twice: list[str] = field(default_factory=list[str])
    waiting: list[str] = field(default_factory=list[str])
    forgotten: list[str] = field(default_factory=list[str])

    def faults(self) -> list[str]:
        """Everything that must not be; empty when all is well."""
        return [
            *(f"bound twice: {one}" for one in self.twice),
            *(f"over-committed: {one}" for one in self.overcommitted),
            *(f"forgotten: {one}" for one in self.forgotten),
        ]


def judge(plane: Judged, scheduler: str = "cerebrum") -> Verdict:
    """What happened so far. A pod of `scheduler` must be bound, or its condition say why not."""
    return judged(list(entries(plane.folder / "audit.log")), plane.api.list("Pod", "*"), scheduler)


def judged(log: list[Json], pods: list[Json], scheduler: str) -> Verdict:
    """The verdict on this log, with these pods at the end."""
    verdict = Verdict()
    for entry in log:
        if entry["objectRef"].get("subresource") == "binding":
            _note_bind(verdict, entry)
    verdict.twice = [f"{uid}: {found}" for uid, found in verdict.binds.items() if len(found) > 1]
    for found in pods:
        _look_at_the_end(verdict, found, scheduler)
    _replay(verdict, list(_settled(log, {_name(found) for found in pods})))
    return verdict


def _settled(log: list[Json], there: set[str]) -> Iterator[Json]:
    """The log, with deletions that were cut off (504) as what they came to: a server goes on when
    its client dies, so a pod that is gone, deleted by nobody else, was deleted by that."""
    deletions = [entry for entry in log if _deletes_a_pod(entry)]
    done = {_about(entry) for entry in deletions if entry["responseStatus"].get("code", 0) < 300}
    for entry in log:
        cut_off = _deletes_a_pod(entry) and entry["responseStatus"].get("code") == 504
        if cut_off and _about(entry) not in done | there:
            yield {**entry, "responseStatus": {"code": 200}}
        else:
            yield entry


def _deletes_a_pod(entry: Json) -> bool:
    return entry["verb"] == "delete" and entry["objectRef"]["resource"] == "pods"


def _about(entry: Json) -> str:
    about = entry["objectRef"]
    return f"{about.get('namespace', '')}/{about.get('name', '')}"


def entries(path: Path) -> Iterator[Json]:
    """The log's complete answers to writes about objects, in order.

    A server that was killed leaves half a line, and the next one goes on behind it.
    """
    with path.open("rb") as log:
        for line in log:
            start = line.rfind(_START)
            try:
                entry = json.loads(line[max(start, 0) :])
            except ValueError:
                continue
            if entry["stage"] == "ResponseComplete" and "objectRef" in entry:
                yield entry


def _note_bind(verdict: Verdict, entry: Json) -> None:
    code = entry["responseStatus"].get("code", 0)
    if code >= 300:
        verdict.refused[code] += 1
        return
    asked = entry["requestObject"]
    there = verdict.binds.setdefault(asked["metadata"]["uid"], [])
    there.append((asked["target"]["name"], entry["stageTimestamp"]))


def _look_at_the_end(verdict: Verdict, found: Json, scheduler: str) -> None:
    spec, meta = found["spec"], found["metadata"]
    name = f"{meta['namespace']}/{meta['name']}"
    if spec["schedulerName"] != scheduler or spec.get("schedulingGates"):
        return
    if spec.get("nodeName"):
        said = {node for node, _ in verdict.binds.get(meta["uid"], ())}
        if said - {spec["nodeName"]}:
            verdict.twice.append(f"{name} is on {spec['nodeName']}, bound to {sorted(said)}")
        return
    conditions = found["status"].get("conditions") or []
    told = [c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"]
    (verdict.waiting if told and told[0].get("message") else verdict.forgotten).append(name)


# -- room --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Room:
    """One replay: what each node has, and what each pod takes on which."""

    offers: dict[str, Json] = field(default_factory=dict[str, Json])
    wants: dict[str, Json] = field(default_factory=dict[str, Json])
    uids: dict[str, str] = field(default_factory=dict[str, str])
    on: defaultdict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    dead: set[str] = field(default_factory=set[str])

    def leave(self, uid: str) -> None:
        self.dead.add(uid)
        for pods in self.on.values():
            pods.pop(uid, None)


def _replay(verdict: Verdict, log: list[Json]) -> None:
    """Every pod that used a node, at every moment."""
    room = _Room()
    steps = sorted((step for entry in log for step in _steps(entry)), key=lambda step: step[0])
    for at, kind, entry in steps:
        node = _step(room, kind, entry)
        if node and (excess := _excess(room.offers.get(node), room.on[node])):
            verdict.overcommitted.append(f"{node} at {at}: {excess}")


def _steps(entry: Json) -> Iterator[tuple[str, str, Json]]:
    """When to count what of a successful write."""
    about, verb = entry["objectRef"], entry["verb"]
    if entry["responseStatus"].get("code", 0) >= 300 or about["resource"] not in ("pods", "nodes"):
        return
    early, late = entry["requestReceivedTimestamp"], entry["stageTimestamp"]
    what = about["resource"] + "." + about.get("subresource", "")
    if verb == "deletecollection":
        yield early, f"{what}clear", entry
    elif verb == "delete":
        yield early, f"{what}delete", entry
    elif about.get("subresource") == "binding":
        yield late, "bind", entry
    else:
        yield (early if verb == "create" or "node" in what else late), what, entry


def _step(room: _Room, kind: str, entry: Json) -> str:
    """Count it; the node that is fuller now, or ''."""
    about, name = entry["objectRef"], _about(entry)
    answer = entry.get("responseObject") or {}
    if kind == "pods." and answer.get("kind") == "Pod":
        uid, name = answer["metadata"]["uid"], _name(answer)
        room.uids[name], room.wants[uid] = uid, _wants(answer)
        if answer["spec"].get("nodeName") and entry["verb"] == "create":
            room.on[answer["spec"]["nodeName"]][uid] = room.wants[uid]
    elif kind == "pods.status" and answer.get("status", {}).get("phase") in _OVER:
        room.leave(answer["metadata"]["uid"])
    elif kind == "pods.delete":
        if not (answer.get("kind") == "Pod" and _stays(answer)):
            room.leave(room.uids.get(name, ""))
    elif kind == "pods.clear":
        gone = f"{about['namespace']}/"
        for uid in [uid for name, uid in room.uids.items() if name.startswith(gone)]:
            room.leave(uid)
    elif kind == "bind":
        asked = entry["requestObject"]
        uid, node = asked["metadata"]["uid"], asked["target"]["name"]
        if uid in room.dead:
            return ""  # its end was asked for while it was being bound, and came after that
        index = (asked["metadata"].get("annotations") or {}).get(_GPU_INDEX, "")
        room.on[node][uid] = {**room.wants.get(uid, {}), "gpus": index}
        return node
    elif kind.startswith("nodes.") and answer.get("kind") == "Node":
        room.offers[answer["metadata"]["name"]] = answer["status"].get("allocatable") or {}
    return ""


def _stays(answer: Json) -> bool:
    """A pod that is asked to end in its own time uses its node until it does."""
    return bool(answer["metadata"].get("deletionGracePeriodSeconds"))


def _name(found: Json) -> str:
    return f"{found['metadata'].get('namespace', '')}/{found['metadata']['name']}"


def _wants(found: Json) -> Json:
    """The plain sum of the containers' requests, host ports, and shares of GPUs."""
    total: Counter[str] = Counter()
    ports: list[int] = []
    for container in found["spec"]["containers"]:
        for name, amount in (container["resources"].get("requests") or {}).items():
            total[name] += quantity(amount)  # type: ignore[assignment]
        ports += [p["hostPort"] for p in container.get("ports") or () if p.get("hostPort")]
    notes = found["metadata"].get("annotations") or {}
    milli = int(notes.get(_GPU_MILLI, 0))
    return {
        "amounts": dict(total), "ports": ports, "milli": milli,
        "apart": found["metadata"].get("labels", {}).get("apart", ""),
    }  # fmt: skip


def _excess(offer: Json | None, pods: dict[str, Json]) -> str:
    """What is asked of a node beyond what it has; a node that is gone has no room to exceed."""
    if offer is None:
        return ""
    total: Counter[str] = Counter({"pods": len(pods)})
    ports: Counter[int] = Counter()
    apart: Counter[str] = Counter()
    gpus: Counter[str] = Counter()
    for wants in pods.values():
        total.update(wants.get("amounts", {}))
        ports.update(wants.get("ports", ()))
        apart.update([wants["apart"]] if wants.get("apart") else [])
        for gpu in filter(None, wants.get("gpus", "").split("-")):
            gpus[gpu] += wants.get("milli") or 1000
    over = [f"{name} {n}" for name, n in total.items() if n > quantity(offer.get(name, "0"))]
    over += [f"port {port} {n} times" for port, n in ports.items() if n > 1]
    over += [f"{n} pods of {name} that keep apart" for name, n in apart.items() if n > 1]
    over += [f"GPU {gpu} {n} thousandths" for gpu, n in gpus.items() if n > 1000]
    return ", ".join(over)


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity."""
    digits = text.rstrip("kKMGTPEim")
    suffix = text[len(digits) :]
    if suffix == "E" and not digits:
        raise ValueError(text)
    return Decimal(digits) * _SUFFIXES[suffix]
