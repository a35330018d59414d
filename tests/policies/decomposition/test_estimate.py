"""The estimate is what the simulator would measure, and its parts are what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.executors.workflows import simulate_workflow
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.federation import Decomposition, Federation
from cerebrum.model.resources import Resources
from cerebrum.policies.decomposition.estimate import Estimate
from tests.policies.decomposition.worlds import cluster, clusters, network, workflow, workflows

SPEEDS = ((1.0, 0.7), (1.9,), (0.6, 1.1, 1.3))


def world(count: int):
    """The same clusters for the simulator and for the controller's eyes."""
    real = tuple(
        Cluster(
            tuple(
                Node(f"{c}-{i}", Resources(1000, 1000), speed=s) for i, s in enumerate(SPEEDS[c])
            ),
            f"c{c}",
        )
        for c in range(count)
    )
    seen = tuple(
        cluster(f"c{c}", nodes=len(SPEEDS[c]), node_speeds=SPEEDS[c], speed=np.mean(SPEEDS[c]))
        for c in range(count)
    )
    return Federation(real, network(count)), seen


@settings(max_examples=25)
@given(w=workflows(most=12), data=st.data())
def test_it_is_what_the_simulator_measures(w, data):
    federation, seen = world(3)
    site = np.array([data.draw(st.integers(0, 2)) for _ in range(len(w))], np.int64)
    estimate = Estimate(w, seen, federation.network)
    measured = simulate_workflow(w, federation, site.astype(np.int32)).makespan_s
    assert estimate.makespan_s(site) == pytest.approx(measured, rel=1e-9)


@settings(max_examples=25)
@given(w=workflows(), data=st.data())
def test_parts_of_sites_stay_in_their_cluster_and_cut_what_was_said(w, data):
    site = np.array([data.draw(st.integers(0, 2)) for _ in range(len(w))], np.int64)
    estimate = Estimate(w, clusters(3), network(3))
    part = estimate.parts(site)
    cut = Decomposition(w, part)  # refuses an order that is not topological
    for one in range(cut.parts):
        assert len(np.unique(site[part == one])) == 1
    assert cut.cut_mb == pytest.approx(estimate.cut_mb(site))


def test_a_quotient_without_cycles_is_not_cut_further():
    w = workflow([(0, 1), (1, 2), (0, 3), (3, 2)], [1.0] * 4)
    estimate = Estimate(w, clusters(2), network(2))
    assert estimate.parts(np.array([0, 0, 1, 0])).tolist() == [0, 0, 1, 0]
    assert estimate.cut_mb(np.array([0, 0, 1, 0])) == 2.0


def test_backlog_and_forecast_lengthen_it():
    w = workflow([], [10.0])
    idle = Estimate(w, (cluster(),), network(1)).makespan_s(np.array([0]))
    busy = Estimate(w, (cluster(backlog_core_s=10.0),), network(1)).makespan_s(np.array([0]))
    crowded = Estimate(w, (cluster(forecast_cpu=0.5),), network(1)).makespan_s(np.array([0]))
    assert (idle, busy, crowded) == (10.0, 15.0, 20.0)


def test_a_task_of_several_cores_takes_several_nodes_worth_of_room():
    w = workflow([], [10.0, 10.0])
    shared = cluster(nodes=1, cores=2)
    assert Estimate(w, (shared,), network(1)).makespan_s(np.zeros(2, np.int64)) == 10.0
    assert Estimate(w, (cluster(nodes=1),), network(1)).makespan_s(np.zeros(2, np.int64)) == 20.0
