"""The same question to both: may this pod go to that node? Ours from the engine's filters, theirs
from kube-scheduler's own code (`control-plane/kubernetes/verdicts`)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerebrum.engine.engine import Engine
from cerebrum.engine.peer_views import refusals_of
from cerebrum.kube import objects
from cerebrum.kube.live_nodes import live_node
from cerebrum.kube.pods import PodContext, PodDemands
from cerebrum.kube.reader import PodReader
from cerebrum.kube.volumes import Storage
from cerebrum.model.cluster import Cluster
from cerebrum.model.events import Event, EventKind, Refusal
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task, TaskTable

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One pod: node -> why it is refused (missing: it is not). `all` refuses every node."""

    pod: str
    refused: dict[str, str]
    all: str = ""

    def on(self, node: str) -> str:
        """Why that node is refused, or ''."""
        return self.all or self.refused.get(node, "")


# -- theirs -----------------------------------------------------------------------------------


def theirs(program: Path, clusters: Sequence[Json]) -> list[list[Verdict]]:
    """kube-scheduler's verdicts, a list a cluster."""
    text = "".join(json.dumps(cluster) + "\n" for cluster in clusters)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [[_verdict(item) for item in json.loads(line)] for line in done.stdout.splitlines()]


def _verdict(item: Json) -> Verdict:
    said = item.get("cluster")
    refused = {node: _text(why) for node, why in item["refused"].items()}
    return Verdict(item["pod"], refused, _text(said) if said else "")


def _text(why: Json) -> str:
    return f"{why['plugin']}: {', '.join(why['reasons'])}"


# -- ours -------------------------------------------------------------------------------------


def ours(cluster: Json) -> Iterator[Verdict]:
    """The engine's verdicts on the same objects."""
    reader = PodReader(_context(cluster))
    running = [_read(reader, pod) for pod in cluster["pods"]]
    judged = [_read(reader, pod) for pod in cluster["judge"]]
    extended = frozenset(
        name for demands in (*running, *judged) for name, _ in demands.task_class.resources.extended
    )
    csi = reader.context.storage.csi_nodes
    read = [objects.convert(item, objects.Node) for item in cluster["nodes"]]
    nodes = [live_node(item, extended, csi.get(item.metadata.name))[0] for item in read]
    engine = Engine(Scenario(Cluster(tuple(nodes)), TaskTable.from_tasks(())))
    rows = {node.name: row for row, node in enumerate(nodes)}
    for i, demands in enumerate(running):
        task = _admit(engine, f"running-{i}", demands)
        fact = Event(0.0, EventKind.BOUND, task, rows[demands.node], demands.gpus, value=1.0)
        engine.apply(fact)
    for i, demands in enumerate(judged):
        metadata = cluster["judge"][i]["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        if demands.problem:
            yield Verdict(name, {}, demands.problem)
            continue
        task = _admit(engine, f"judged-{i}", demands)
        bits = refusals_of(engine.table, task)
        refused = {node: str(Refusal(int(bits[row]))) for node, row in rows.items() if bits[row]}
        engine.apply(Event(0.0, EventKind.CANCELLED, task))
        engine.retire([task])
        yield Verdict(name, refused)


def _read(reader: PodReader, pod: Json) -> PodDemands:
    return reader.read(objects.convert(pod, objects.Pod))


def _context(cluster: Json) -> PodContext:
    def by_name(items: Sequence[Json], kind: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for item in items:
            metadata = item["metadata"]
            namespace = metadata.get("namespace")
            key = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
            found[key] = objects.convert(item, kind)
        return found

    storage = Storage(
        by_name(cluster["claims"], objects.PersistentVolumeClaim),
        by_name(cluster["volumes"], objects.PersistentVolume),
        by_name(cluster["storageClasses"], objects.StorageClass),
        by_name(cluster["csiNodes"], objects.CSINode),
    )
    labels = {
        item["metadata"]["name"]: tuple(sorted(item["metadata"]["labels"].items()))
        for item in cluster["namespaces"]
    }
    return PodContext({}, labels, storage)


def _admit(engine: Engine, name: str, demands: PodDemands) -> int:
    task = Task(name, demands.task_class, labels=demands.labels)
    (number,) = engine.admit(TaskTable.from_tasks([task]))
    engine.apply(Event(0.0, EventKind.SUBMITTED, int(number)))
    return int(number)


# -- both -------------------------------------------------------------------------------------


def differences(cluster: Json, said: Sequence[Verdict]) -> Iterator[str]:
    """What we judge otherwise, a sentence each."""
    names = [node["metadata"]["name"] for node in cluster["nodes"]]
    for mine, their in zip(ours(cluster), said, strict=True):
        assert mine.pod == their.pod
        for node in names:
            if bool(mine.on(node)) != bool(their.on(node)):
                yield (
                    f"{mine.pod} on {node}: we say {mine.on(node) or 'yes'!r}, "
                    f"kube-scheduler says {their.on(node) or 'yes'!r}"
                )
