"""Every assigner: parts go where they fit, what is placed stays, later parts see earlier ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.model.errors import ConfigError, InputError, UnknownName
from cerebrum.model.federation import Decomposition
from cerebrum.policies.assignment import assigner_names, get_assigner
from cerebrum.policies.assignment.auction import Bid, PartSummary, award, bid
from cerebrum.policies.assignment.placement import PlacementAssigner
from cerebrum.policies.decomposition import get_decomposer
from cerebrum.policies.decomposition.estimate import Estimate
from tests.policies.decomposition.worlds import (
    BIG,
    CPU,
    GPU,
    HUGE,
    cluster,
    clusters,
    network,
    workflow,
    workflows,
)

VIEWS = (
    cluster("small", nodes=3),
    cluster("large", nodes=2, cores=8, backlog_core_s=20.0),
    cluster("gpu", gpu_count=2, largest_gpu_count=1, gpu_models=("A100",)),
    cluster("other-gpu", gpu_count=2, largest_gpu_count=1, gpu_models=("T4",)),
)
HOLDS = {CPU: {0, 1, 2, 3}, BIG: {1}, GPU: {2}, HUGE: set()}
KINDS = (CPU, BIG, GPU, HUGE)


def singles(w) -> Decomposition:
    """Every task its own part."""
    part = np.empty(len(w), np.int32)
    part[w.order] = np.arange(len(w))
    return Decomposition(w, part)


def may_go(cut: Decomposition, number: int) -> set[int]:
    kinds = cut.workflow.tasks.class_id[cut.part == number]
    return set.intersection(*(HOLDS[KINDS[kind]] for kind in kinds))


@pytest.mark.parametrize("name", assigner_names())
@settings(max_examples=20)
@given(w=workflows(classes=KINDS, most=8), data=st.data())
def test_parts_go_only_where_they_fit_and_placed_ones_stay(name, w, data):
    how = data.draw(st.sampled_from(["singles", "levels", "cerebrum"]))
    net = network(4)
    cut = singles(w) if how == "singles" else get_decomposer(how).decompose(w, VIEWS, net)
    placed = np.array([data.draw(st.integers(-1, 3)) for _ in range(cut.parts)], np.int32)
    chosen = get_assigner(name).assign(cut, VIEWS, net, placed, key=3)
    for number in range(cut.parts):
        possible = may_go(cut, number)
        if placed[number] >= 0:
            assert chosen[number] == placed[number]
        else:
            assert (chosen[number] in possible) if possible else (chosen[number] == -1)
    assert np.array_equal(chosen, get_assigner(name).assign(cut, VIEWS, net, placed, key=3))


@pytest.mark.parametrize("name", ["auction", "cerebrum", "heft", "spread"])
def test_equal_parts_do_not_all_go_to_one_cluster(name):
    """Karmada's defect: fifteen parts decided on one stale estimate."""
    cut = singles(workflow([], [10.0] * 15))
    chosen = get_assigner(name).assign(cut, clusters(3), network(3))
    assert np.bincount(chosen, minlength=3).max() <= 6  # three rounds on two nodes, as with 5, 5, 5


def test_pack_fills_one_cluster_before_the_next():
    cut = singles(workflow([], [10.0] * 15))
    chosen = get_assigner("pack").assign(cut, clusters(3), network(3))
    assert np.count_nonzero(np.bincount(chosen, minlength=3)) < 3
    assert np.count_nonzero(np.diff(chosen)) <= 1


def test_random_is_drawn_from_the_key():
    cut = singles(workflow([], [10.0] * 30))
    one, other = (
        get_assigner("random").assign(cut, clusters(3), network(3), key=k) for k in (1, 2)
    )
    assert len(np.unique(one)) == 3
    assert not np.array_equal(one, other)


def test_any_placement_policy_can_sit_in_the_upper_tier():
    from cerebrum.policies import get_policy

    cut = singles(workflow([], [10.0] * 4))
    for policy in ("best-fit", get_policy("least-allocated")):
        assert (PlacementAssigner(policy).assign(cut, clusters(2), network(2)) >= 0).all()


@pytest.mark.parametrize("name", ["auction", "cerebrum", "heft", "spread"])
def test_a_cluster_with_a_backlog_or_a_bad_forecast_gets_less(name):
    cut = singles(workflow([], [10.0] * 6))
    free = cluster("free")
    for taken in (cluster("taken", backlog_core_s=500.0), cluster("taken", forecast_cpu=0.95)):
        chosen = get_assigner(name).assign(cut, (taken, free), network(2))
        assert np.count_nonzero(chosen == 1) >= 5


@pytest.mark.parametrize("name", ["auction", "cerebrum", "heft"])
def test_a_part_follows_its_data_over_a_slow_link(name):
    w = workflow([(0, 1)], [1.0, 1.0], [1000.0])
    views = (cluster("here"), cluster("there", speed=1.5, node_speeds=(1.5, 1.5)))
    placed = np.array([0, -1], np.int32)
    assert get_assigner(name).assign(singles(w), views, network(2), placed)[1] == 0


@settings(max_examples=30)
@given(w=workflows(most=10), count=st.integers(2, 4))
def test_refinement_never_worsens_its_own_estimate(w, count):
    cut, views, net = singles(w), clusters(count), network(count)
    estimate = Estimate(w, views, net)

    def length(name):
        chosen = get_assigner(name).assign(cut, views, net)
        return estimate.makespan_s(chosen.astype(np.int64)[cut.part])

    assert length("cerebrum") <= min(length("heft"), length("cerebrum:effort=0"))


def test_what_the_decomposer_meant_is_used_but_checked():
    w = workflow([], [10.0] * 2, classes=(CPU, BIG), class_id=[0, 1])
    cut = replace(singles(w), preferred=np.array([9, 0], np.int32))  # no such cluster; too small
    chosen = get_assigner("cerebrum").assign(cut, VIEWS, network(4))
    assert chosen[1] == 1
    assert 0 <= chosen[0] < 4


# -- the auction ------------------------------------------------------------------------------


PART = PartSummary(4, 40.0, 10.0, 1000, 100, 0, {"there": 100.0})


def test_a_bid_is_the_negated_finish():
    """Two cores at speed 2: 40 core-seconds take 10 s; the data takes 10 s to come, and 0.01 s."""
    view = cluster("here", nodes=2, speed=2.0)
    made = bid(view, PART, network(2), ["here", "there"])
    assert made == Bid(-made.finish_s, pytest.approx(10.01 + 10.0))
    beside = bid(replace(view, name="there"), PART, network(2), ["here", "there"])
    assert beside.finish_s == pytest.approx(10.0)


def test_who_cannot_hold_the_largest_task_does_not_bid():
    assert bid(cluster(), replace(PART, largest_cpu_milli=1001), network(1), ["c0"]) is None
    assert bid(cluster(), replace(PART, largest_gpu_count=1), network(1), ["c0"]) is None


def test_the_highest_bid_wins_and_a_broken_one_does_not():
    assert award([-3.0, Bid(-1.0, 1.0), None, -1.0]) == 1
    assert award([float("nan"), float("inf"), -5.0]) == 2
    assert award([None, None]) == -1
    assert award([]) == -1


def test_a_bidder_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def bid(view, part, network, names):\n    return float(view.name == 'c1')\n")
    cut = singles(workflow([], [1.0] * 3))
    chosen = get_assigner("auction", bidder=f"{file}:bid").assign(cut, clusters(3), network(3))
    assert chosen.tolist() == [1, 1, 1]


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", assigner_names())
def test_wrong_placed_is_refused_and_no_clusters_hold_nothing(name):
    cut = singles(workflow([], [1.0] * 3))
    assert get_assigner(name).assign(cut, (), network(0)).tolist() == [-1, -1, -1]
    for wrong in ([0, 0], [0, 0, 2], [-2, 0, 0]):
        with pytest.raises(InputError):
            get_assigner(name).assign(cut, clusters(2), network(2), np.array(wrong, np.int32))


def test_wrong_names_are_told_with_the_nearest():
    with pytest.raises(UnknownName, match="auction"):
        get_assigner("auktion")
    with pytest.raises(ConfigError, match="effort"):
        get_assigner("cerebrum:efort=1")
