"""A federation from a few words or a file: `2x4`, `east:4,west:8`, `federation.yaml`.

In words, all nodes are alike but for their speed. A file (YAML or JSON) says more:

    clusters:
      - name: east
        region: us-east4            # or a zone in it: for latency measured by Google
        nodes:
          - {count: 4, cores: 16, memory_gib: 64, speed: 1.2}
          - {count: 1, cores: 32, memory_gib: 256, gpus: 4, gpu_model: A100}
      - {name: west, region: europe-west3, nodes: [{count: 8, cores: 8, memory_gib: 32}]}
    network:
      between: {latency_ms: 20, bandwidth_mb_s: 125, cost_per_gb: 0.02}
      within: {latency_ms: 0.1, bandwidth_mb_s: 1250}
      gcp_latency: ../data/network  # a folder: latency between regions as measured
      links:
        - {from: east, to: west, bandwidth_mb_s: 12.5}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import ConfigError, InputError, UnknownName
from cerebrum.model.federation import Federation, Link, Network
from cerebrum.model.resources import Resources
from cerebrum.traces._fields import Fields, documents
from cerebrum.traces._yaml import Source
from cerebrum.traces.gcp_latency import GcpLatency, read_gcp_latency

MAX_CLUSTERS, MAX_NODES = 1000, 100_000
BETWEEN = Link(latency_s=0.02, bandwidth_mb_s=125.0)
"""1 Gb/s and 20 ms: two sites on one continent."""
WITHIN = Link(latency_s=0.0001, bandwidth_mb_s=1250.0)
"""10 Gb/s: one machine room."""
_CROSS = re.compile(r"(\d{1,6})x(\d{1,6})", re.ASCII)
_NAMED = re.compile(r"([\w.-]{1,100}):(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What the nodes of a federation in words are. Speeds are drawn from `speed` (low, high)."""

    cores: int = 16
    memory_mib: int = 65_536
    speed: tuple[float, float] = (1.0, 1.0)


def read_federation(
    spec: str | Path,
    shape: NodeShape | None = None,
    between: Link | None = None,
    within: Link | None = None,
    seed: int = 42,
) -> Federation:
    """A federation from words (`2x4`: two clusters of four nodes; `east:4,west:8`) or a file.

    `shape`, `between`, `within` and `seed`, which drives node speeds, are for words; a file says
    all itself. Raises `ConfigError`, or `TraceError` with line and field.
    """
    text = str(spec).strip()
    if isinstance(spec, Path) or text.endswith((".yaml", ".yml", ".json")):
        if shape or between or within:
            raise ConfigError("a file says itself what its nodes and links are").at(text)
        return _from_file(Path(spec))
    sizes = _sizes(text)
    look, rng = shape or NodeShape(), np.random.default_rng(seed)
    _check_shape(look)
    clusters = tuple(
        Cluster(tuple(_node(f"{name}-{i}", look, rng) for i in range(count)), name)
        for name, count in sizes
    )
    return Federation(
        clusters, Network.uniform(len(clusters), between or BETWEEN, within or WITHIN)
    )


def _sizes(text: str) -> list[tuple[str, int]]:
    """Cluster names and node counts."""
    if found := _CROSS.fullmatch(text):
        clusters, nodes = int(found[1]), int(found[2])
        if clusters > MAX_CLUSTERS:
            raise ConfigError(f"expected at most {MAX_CLUSTERS:,} clusters, got {clusters:,}").at(
                field="clusters"
            )
        return _counted([(f"cluster-{i + 1}", nodes) for i in range(clusters)])
    parts = [part.strip() for part in text.split(",", MAX_CLUSTERS + 1)]
    named = [_NAMED.fullmatch(part) for part in parts]
    if not all(named):
        bad = parts[named.index(None)]
        raise ConfigError(
            f"expected 2x4, east:4,west:8 or a .yaml or .json file, got {bad[:60]!r}"
        ).at(field="clusters")
    return _counted([(found[1], int(found[2])) for found in named if found])


def _counted(sizes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    total = sum(count for _, count in sizes)
    if not sizes or min(count for _, count in sizes) < 1:
        raise ConfigError("expected at least one node in each cluster").at(field="clusters")
    if total > MAX_NODES:
        raise ConfigError(f"expected at most {MAX_NODES:,} nodes, got {total:,}").at(
            field="clusters"
        )
    return sizes


def _check_shape(shape: NodeShape) -> None:
    low, high = shape.speed
    if not 0 < low <= high < np.inf:
        raise ConfigError(f"expected 0 < low <= high, got {low}..{high}").at(field="speed")
    if not 1 <= shape.cores <= 10_000:
        raise ConfigError(f"expected 1..10000, got {shape.cores}").at(field="cores")


def _node(name: str, shape: NodeShape, rng: np.random.Generator) -> Node:
    resources = Resources(1000 * shape.cores, shape.memory_mib)
    return Node(name, resources, speed=float(rng.uniform(*shape.speed)))


# -- files -----------------------------------------------------------------------------------


def _from_file(path: Path) -> Federation:
    found = list(documents(Source(path)))
    if len(found) != 1:
        raise ConfigError(f"expected one document, found {len(found)}").at(path)
    root = found[0]
    root.only(("clusters", "network"), "field")
    regions: list[str] = []
    clusters: list[Cluster] = []
    for fields in root.children("clusters"):
        fields.only(("name", "region", "nodes"), "field")
        regions.append(fields.text("region", ""))
        clusters.append(_cluster(fields, regions[-1]))
    total = sum(len(cluster) for cluster in clusters)
    if not 1 <= len(clusters) <= MAX_CLUSTERS or total > MAX_NODES:
        raise root.error(f"expected 1..{MAX_CLUSTERS} clusters and {MAX_NODES:,} nodes", "clusters")
    names = [cluster.name for cluster in clusters]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise root.error(f"expected distinct cluster names, got {name!r} twice", "clusters", i)
    network = _network(root.child("network"), names, regions, path)
    return Federation(tuple(clusters), network)


def _cluster(fields: Fields, region: str) -> Cluster:
    name, nodes = fields.text("name"), list[Node]()
    for group in fields.children("nodes"):
        group.only(("count", "cores", "memory_gib", "gpus", "gpu_model", "speed"), "field")
        node = group.checked(lambda group=group: _group_node(group))
        if len(nodes) + (count := group.integer("count", 1, 1, MAX_NODES)) > MAX_NODES:
            raise group.error(f"expected at most {MAX_NODES:,} nodes", "count")
        nodes += [replace(node, name=f"{name}-{len(nodes) + i}") for i in range(count)]
    if not nodes:
        raise fields.error("expected at least one node", "nodes")
    return Cluster(tuple(nodes), name, region)


def _group_node(group: Fields) -> Node:
    gpus = group.integer("gpus", 0, 0, 16)
    memory_mib = round(group.number("memory_gib", 64.0, 0, 1e6) * 1024)
    cores = group.number("cores", 16.0, 0.001, 1e4)
    resources = Resources(round(cores * 1000), memory_mib, gpus, 1000 if gpus else 0)
    speed = group.number("speed", 1.0, 1e-3, 1e3)
    return Node("node", resources, group.text("gpu_model", ""), speed=speed)


def _network(fields: Fields, names: list[str], regions: list[str], path: Path) -> Network:
    fields.only(("between", "within", "gcp_latency", "links"), "field")
    between, within = _link(fields.child("between"), BETWEEN), _link(fields.child("within"), WITHIN)
    base = Network.uniform(len(names), between, within)
    latency, bandwidth, cost = base.latency_s, base.bandwidth_mb_s, base.cost_per_gb
    if folder := fields.text("gcp_latency", ""):
        measured = read_gcp_latency(path.parent / folder)
        for a, source in enumerate(regions):
            for b, target in enumerate(regions):
                if a != b and source and target:
                    latency[a, b] = _measured(fields, measured, source, target)
    given = [
        (_known(one, "from", names), _known(one, "to", names), one)
        for one in fields.children("links")
    ]
    written = {(a, b) for a, b, _ in given}
    for a, b, one in given:
        for i, j in ((a, b), (b, a)):
            if (i, j) != (a, b) and (i, j) in written:
                continue  # a link written once holds both ways
            old = Link(float(latency[i, j]), float(bandwidth[i, j]), float(cost[i, j]))
            link = _link(one, old)
            latency[i, j], bandwidth[i, j] = link.latency_s, link.bandwidth_mb_s
            cost[i, j] = link.cost_per_gb
    return Network(latency, bandwidth, cost)


def _measured(fields: Fields, measured: GcpLatency, source: str, target: str) -> float:
    try:
        return measured.latency_s(source, target)
    except InputError as problem:
        raise fields.error(problem.problem, "gcp_latency") from problem


def _known(fields: Fields, end: str, names: list[str]) -> int:
    name = fields.text(end)
    if name not in names:
        raise fields.error(UnknownName("cluster", name, names).problem, end)
    return names.index(name)


def _link(fields: Fields, default: Link) -> Link:
    fields.only(("from", "to", "latency_ms", "bandwidth_mb_s", "cost_per_gb"), "field")
    return Link(
        fields.number("latency_ms", default.latency_s * 1000, 0, 60_000) / 1000,
        fields.number("bandwidth_mb_s", default.bandwidth_mb_s, 1e-6, 1e9),
        fields.number("cost_per_gb", default.cost_per_gb, 0, 1e6),
    )
