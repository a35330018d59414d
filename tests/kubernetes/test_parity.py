"""Our filters and kube-scheduler's own code, on the same random clusters."""

from __future__ import annotations

import pytest

from tests.kubernetes import build
from tests.kubernetes.parity.clusters import cluster
from tests.kubernetes.parity.judging import differences, theirs

CLUSTERS, PODS = 200, 25


@pytest.mark.parametrize("first", range(0, CLUSTERS, 50))
def test_every_pod_may_go_where_kube_scheduler_lets_it_go(first: int, built) -> None:
    built("verdicts")
    clusters = [cluster(seed, PODS) for seed in range(first, first + 50)]
    found: list[str] = []
    for seed, (one, said) in enumerate(
        zip(clusters, theirs(build.program("verdicts"), clusters), strict=True), start=first
    ):
        found += [f"seed {seed}: {sentence}" for sentence in differences(one, said)]
    assert found == []


def test_the_clusters_leave_something_to_decide(built) -> None:
    """Were all pods feasible everywhere, or none anywhere, agreement would say little."""
    built("verdicts")
    clusters = [cluster(seed, PODS) for seed in range(40)]
    said = theirs(build.program("verdicts"), clusters)
    yes = no = 0
    plugins: set[str] = set()
    for one, verdicts in zip(clusters, said, strict=True):
        for verdict in verdicts:
            for node in one["nodes"]:
                why = verdict.on(node["metadata"]["name"])
                yes, no = yes + (not why), no + bool(why)
                plugins.add(why.partition(":")[0])
    assert 0.1 < yes / (yes + no) < 0.9
    assert plugins >= {
        "NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit",
        "VolumeRestrictions", "VolumeBinding", "PodTopologySpread", "InterPodAffinity",
    }  # fmt: skip
