"""Makespan of the auction with the trained bidder, over that with the bid by expected finish.

`qmix-bidder` was trained to choose among nodes; in a federation clusters bid with it for parts of
workflows. 12 real workflows, cut by Louvain, on 2 to 5 clusters of 2 to 8 nodes. Clusters are of
different kinds: nodes of 8 to 64 cores, of which others hold up to nine tenths to the end, a speed
of 0.5 to 2, links of 10 Gb/s to 100 Mb/s. All assigners get the same parts, and one simulator
carries out what they chose.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.table import Table

from benchmarks._federations import LATENCY_S, LINKS_MB_S, WITHIN, real_workflows
from benchmarks._harness import Benchmark, Measured, console, progress
from benchmarks.decomposition import grid
from cerebrum.executors.workflows import simulate_workflow
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.federation import ClusterView, Federation, Link, Network
from cerebrum.model.resources import Resources
from cerebrum.policies.assignment import get_assigner
from cerebrum.policies.decomposition import get_decomposer

LEARNED, EXPECTED = "auction:bidder=learned:qmix-bidder", "auction"
ASSIGNERS = (LEARNED, EXPECTED, "cerebrum", "heft", "spread", "pack", "random")


def federation(
    clusters: int, nodes: int, bandwidth_mb_s: float, seed: int
) -> tuple[Federation, tuple[ClusterView, ...]]:
    """Clusters of one kind of node each: what others leave of them, and what the bidders see."""
    rng = np.random.default_rng([seed, clusters, nodes])
    left: list[Cluster] = []
    seen: list[ClusterView] = []
    for c in range(clusters):
        cores, speed = int(rng.choice([8, 16, 32, 64])), float(rng.uniform(0.5, 2.0))
        free = max(1, round(cores * rng.uniform(0.1, 1.0)))
        room = Resources(1000 * free, 4096 * free)
        names = [f"c{c}n{i}" for i in range(nodes)]
        left.append(Cluster(tuple(Node(name, room, speed=speed) for name in names), f"c{c}"))
        seen.append(
            ClusterView.of(
                f"c{c}",
                [Resources(1000 * cores, 4096 * cores)] * nodes,
                [speed] * nodes,
                (),
                cpu_free_milli=1000 * free * nodes,
                memory_free_mib=4096 * free * nodes,
                forecast_cpu=1 - free / cores,
            )
        )
    between = Link(LATENCY_S, bandwidth_mb_s)
    return Federation(tuple(left), Network.uniform(clusters, between, WITHIN)), tuple(seen)


def makespans() -> Iterator[dict[str, float]]:
    """Seconds by assigner, case by case."""
    for workflow in real_workflows():
        progress(f"{workflow.name}, {len(workflow)} tasks")
        for clusters, nodes, link in grid(3):
            where, known = federation(clusters, nodes, LINKS_MB_S[link], seed=1)
            cut = get_decomposer("louvain").decompose(workflow, known, where.network)
            found: dict[str, float] = {}
            for name in ASSIGNERS:
                chosen = get_assigner(name).assign(cut, known, where.network)
                found[name] = simulate_workflow(workflow, where, chosen[cut.part]).makespan_s
            yield found


def run() -> Measured:
    """Every workflow on every kind of federation."""
    cases = list(makespans())
    over = {name: np.array([case[name] / case[EXPECTED] for case in cases]) for name in ASSIGNERS}
    title = f"makespan over that of the auction by expected finish, {len(cases)} cases"
    table = Table("assigner", "mean", "median", "worst", "shorter", "longer", title=title)
    for name, ratios in over.items():
        table.add_row(
            name, f"{ratios.mean():.3f}", f"{np.median(ratios):.3f}", f"{ratios.max():.2f}",
            f"{(ratios < 1 - 1e-9).mean():.0%}", f"{(ratios > 1 + 1e-9).mean():.0%}",
        )  # fmt: skip
    console.print(table)
    peers = {name: float(over[name].mean()) for name in ASSIGNERS if name != LEARNED}
    return Measured(float(over[LEARNED].mean()), peers)


BENCHMARK = Benchmark(name="auction_bidders", unit="x", target=1.02, direction="at_most", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
