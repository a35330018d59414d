"""Work that `churn-scorer` rejects less than FGD: the upper end of the 95 % interval, in %.

Held-out pieces of openb of 8 to 32 nodes whose tasks come and go, paired; 100 nodes, which it was
never trained on, are shown beside them, and so are the other heuristics and `openb-scorer`, which
was trained where nothing leaves. Below zero it rejects less beyond chance.
"""

from __future__ import annotations

from rich.table import Table

from benchmarks._harness import Benchmark, Measured, console, need_data, progress
from cerebrum.learn.bid_evaluation import Difference, compare
from cerebrum.learn.bidding import unseen_source
from cerebrum.learn.churn_scorer import (
    NAME,
    episodes_of,
    kinds_of_cluster,
    rate,
    rejected,
)
from cerebrum.policies.learned.artefact import find, read
from cerebrum.policies.learned.node_scorer import make

OTHER = "openb-scorer"


def run() -> Measured:
    """Both kinds of cluster."""
    data = need_data("openb").parent
    ours, other = (make(read(find(name)), "reject") for name in (NAME, OTHER))
    first: dict[str, Difference] = {}
    for kind, (source, numbers) in kinds_of_cluster(unseen_source(data)).items():
        progress(f"{kind}, {len(numbers)} scenarios")
        episodes = episodes_of(source, numbers)
        found = {**rate(ours, episodes), OTHER: rejected(episodes, other)}
        against = {name: compare(found[NAME], lost) for name, lost in found.items()}
        table = Table("policy", "work rejected, % of the cluster", f"{NAME} against it", title=kind)
        for name, d in against.items():
            shown = "" if name == NAME else f"{d:+.1f}"
            table.add_row(name, f"{100 * found[name].mean():.1f}", shown)
        console.print(table)
        first = first or against
    return Measured(first["fgd"].high, {name: first[name].mean for name in first if name != NAME})


BENCHMARK = Benchmark(
    name="churn_scorer", unit="% of FGD's rejected work", target=0.0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
