"""A workflow on a federation, from words to a table."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.executors.workflows import Failures, Stragglers
from cerebrum.experiments.workflows import (
    HEADLINE,
    cluster_views,
    compare_federated,
    simulate_federated,
)
from cerebrum.model.errors import InputError, UnknownName
from cerebrum.traces.federations import NodeShape, read_federation

WORK, SHAPE = "montage-like:tasks=60,seed=1", NodeShape(cores=2, speed=(0.5, 2.0))


def test_words_become_a_run_with_its_bounds() -> None:
    run = simulate_federated(WORK, "2x3", shape=SHAPE)
    s = run.summary
    assert s["succeeded"] == s["tasks"] == len(run.tasks)
    assert s["critical_path_s"] <= min(s["makespan_s"], s["heft_s"], s["planned_s"])
    assert s["over_heft"] == s["makespan_s"] / s["heft_s"]
    assert set(HEADLINE) <= set(s)
    cuts = run.decomposition
    crossing = run.run.cluster[cuts.workflow.before] != run.run.cluster[cuts.workflow.after]
    assert s["moved_mb"] == pytest.approx(cuts.workflow.volume_mb[crossing].sum())
    assert s["moved_mb"] <= s["cut_mb"] + 1e-9
    assert run.tasks["start_s"].is_sorted()
    assert run.parts["tasks"].sum() == s["tasks"]
    assert run.parts["end_s"].max() == s["makespan_s"]


def test_the_same_seed_gives_the_same_run() -> None:
    how = {"shape": SHAPE, "failures": Failures(0.1), "stragglers": Stragglers(0.1)}
    first, again, other = (
        simulate_federated(WORK, "east:2,west:3", **how, seed=seed) for seed in (1, 1, 2)
    )
    assert first.tasks.equals(again.tasks)
    assert first.summary == again.summary
    assert not first.tasks.equals(other.tasks)


def test_combinations_are_compared_best_first() -> None:
    where = read_federation("2x2", SHAPE)
    table = compare_federated(
        WORK, where, ("whole", "levels"), ("cerebrum", "spread"), ("earliest-finish", "first-fit")
    )
    assert len(table) == 8
    assert table["makespan_s"].is_sorted()
    whole = table.filter(table["decomposition"] == "whole")
    assert whole["cut_mb"].to_list() == [0.0] * 4


def test_views_are_what_a_controller_would_know() -> None:
    views = cluster_views(read_federation("a:2,b:1", NodeShape(4, 1024, (2.0, 2.0))))
    assert [(v.name, v.cpu_milli, v.nodes, v.largest_cpu_milli, v.speed) for v in views] == [
        ("a", 8000, 2, 4000, 2.0), ("b", 4000, 1, 4000, 2.0),
    ]  # fmt: skip


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(UnknownName):
        simulate_federated(WORK, "2x2", decomposition="luvain")
    with pytest.raises(UnknownName):
        simulate_federated(WORK, "2x2", assignment="hefd")
    with pytest.raises(UnknownName):
        simulate_federated(WORK, "2x2", placement="best-fid")
    with pytest.raises(InputError):
        simulate_federated(WORK, "2x2", shape=NodeShape(cores=2, memory_mib=0))


@pytest.mark.needs(data="workflows")
def test_a_real_workflow_stays_within_a_fifth_of_heft_over_all_nodes(shared_data) -> None:
    path = shared_data / "workflows" / "blast-chameleon-small-001.json"
    run = simulate_federated(path, "3x2", shape=SHAPE)
    assert run.summary["over_heft"] < 1.2
    assert np.isfinite(run.run.end_s).all()
