"""Pods that our filters and kube-scheduler's own code judge otherwise, on random clusters.

The oracle is a small Go program around kube-scheduler's default filter plug-ins
(`tests/kubernetes/control-plane/kubernetes/verdicts`), so each verdict is theirs, node by node.
200 clusters with `CEREBRUM_PARITY_PODS` pods each (default 100; the whole figure is 5,000).
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

from benchmarks._harness import Benchmark, CannotRun, Measured, console, progress
from tests.kubernetes import build
from tests.kubernetes.parity.clusters import cluster
from tests.kubernetes.parity.judging import differences, theirs

CLUSTERS = 200
PODS = int(os.environ.get("CEREBRUM_PARITY_PODS", "100"))


def judge(seed: int) -> tuple[int, list[str]]:
    """Pairs of pod and node looked at, and what was judged otherwise."""
    one = cluster(seed, PODS)
    (said,) = theirs(build.program("verdicts"), [one])
    found = [f"seed {seed}: {sentence}" for sentence in differences(one, said)]
    return len(one["nodes"]) * len(said), found


def run() -> Measured:
    if build.missing(["verdicts"]):
        raise CannotRun("the oracle is not built: make kubernetes-build")
    progress(f"{CLUSTERS} clusters, {PODS} pods each")
    pairs, found = 0, list[str]()
    with ProcessPoolExecutor() as pool:
        for done, (looked, sentences) in enumerate(pool.map(judge, range(CLUSTERS)), start=1):
            pairs += looked
            found += sentences
            if done % 20 == 0:
                progress(f"{done} clusters, {pairs:,} verdicts on a node, {len(found)} differ")
    for sentence in found[:20]:
        console.print(sentence)
    return Measured(len(found), peer={"verdicts on a node": pairs})


BENCHMARK = Benchmark(
    name="kube_filter_parity", unit="differences", target=0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
