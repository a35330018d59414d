"""Comparisons that QMIX bidding wins beyond chance, of thirty: six rivals on five kinds of cluster.

The shipped bidder, trained on 8 to 32 nodes, against best fit, least and most allocated, random
bids, and IQL and VDN trained by the same recipe; on 8, 8 to 32, 100 and 1,000 nodes cut out of
openb and on openb's own 1,213; tasks depart. Paired over 20 held-out seeds; one is won when the
whole 95 % bootstrap interval of the difference in cost is below zero. Shown beside them are FGD,
PWR, and the rule behind the reward, which knows every node. IQL and VDN are kept in the cache: the
first run trains them, and large clusters take long.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks._harness import (
    CACHE,
    DATA,
    Benchmark,
    CannotRun,
    Measured,
    console,
    need_data,
    progress,
)
from cerebrum.learn.bid_evaluation import compare, evaluate, table
from cerebrum.learn.bidding import (
    HELD_OUT,
    NAME,
    least_charge,
    rate,
    train_method,
    unseen_source,
)
from cerebrum.learn.mixing import Method
from cerebrum.learn.recipes import Settings
from cerebrum.model.errors import InputError
from cerebrum.policies.learned.artefact import find, read
from cerebrum.policies.learned.bidder import Bidder

RIVALS = ("best-fit", "least-allocated", "most-allocated", "random bids", "iql", "vdn")
LEARNT: tuple[Method, ...] = ("iql", "vdn")
CLUSTERS: dict[str, tuple[tuple[int, int] | None, int, int]] = {
    "8 nodes": ((8, 8), 30, 16),
    "8 to 32 nodes": ((8, 32), 30, 8),
    "100 nodes": ((100, 100), 15, 2),
    "1,000 nodes": ((1000, 1000), 10, 1),
    "openb, 1,213 nodes": (None, 10, 1),
}
"""Nodes, tasks a node, episodes a seed: large clusters fill once and see departures, small ones
many times, and one episode of few nodes says little."""


def bidders() -> dict[str, Bidder]:
    """The shipped one, and its rivals by the same recipe."""
    try:
        found = {"qmix": Bidder(read(find(NAME)).weights)}
    except InputError as missing:
        raise CannotRun(f"{missing}: cerebrum train {NAME}") from missing
    for method in LEARNT:
        progress(f"{method}, by the recipe of {NAME}")
        folder = CACHE / "bidding" / method
        found[method] = Bidder(train_method(Settings(folder, DATA, resume=True), method))
    return found


def run() -> Measured:
    """Every kind of cluster."""
    need_data("openb")
    compared, won = bidders(), 0
    for name, (nodes, tasks_per_node, each) in CLUSTERS.items():
        progress(name)
        source = replace(unseen_source(DATA), nodes=nodes, tasks_per_node=tasks_per_node)
        outcomes = rate(source, compared, each)
        outcomes["least charge"] = evaluate(source, HELD_OUT, least_charge(), each)
        console.print(f"\n{name}\n\n{table(outcomes, 'qmix')}\n")
        ours = outcomes["qmix"].per_node
        won += sum(compare(ours, outcomes[rival].per_node).wins for rival in RIVALS)
    return Measured(won)


BENCHMARK = Benchmark(name="bidding", unit="won", target=30, direction="at_least", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
