"""Every decomposer: acyclic, deterministic, and each true to its own idea."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.model.federation import Decomposition, Link
from cerebrum.policies.decomposition import decomposer_names, get_decomposer
from cerebrum.policies.decomposition.report import report
from tests.policies.decomposition.worlds import clusters, network, workflow, workflows

ALL = sorted([*decomposer_names(), "louvain:repair=contract", "louvain:repair=cut"])
FORK = [(0, i) for i in range(1, 9)] + [(i, 9) for i in range(1, 9)]


def cyclic(part, w) -> bool:
    """Plain depth-first search on the quotient, which knows nothing of how parts are numbered."""
    out = {int(p): set() for p in part}
    for a, b in zip(part[w.before].tolist(), part[w.after].tolist(), strict=True):
        if a != b:
            out[a].add(b)
    state = dict.fromkeys(out, 0)

    def back(at) -> bool:
        state[at] = 1
        found = any(state[to] == 1 or (state[to] == 0 and back(to)) for to in out[at])
        state[at] = 2
        return found

    return any(state[at] == 0 and back(at) for at in out)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=30)
@given(w=workflows(), count=st.integers(1, 4))
def test_quotients_are_acyclic_and_repeatable(name, w, count):
    decomposer, views, net = get_decomposer(name), clusters(count), network(count)
    cut = decomposer.decompose(w, views, net)
    assert not cyclic(cut.part, w)
    assert np.array_equal(cut.part, get_decomposer(name).decompose(w, views, net).part)


@settings(max_examples=30)
@given(w=workflows(most=20), count=st.integers(2, 4))
def test_ours_never_cuts_more_than_louvain(w, count):
    views, net = clusters(count), network(count)
    ours = get_decomposer("cerebrum").decompose(w, views, net)
    louvain = get_decomposer("louvain").decompose(w, views, net)
    assert ours.cut_mb <= louvain.cut_mb * (1 + 1e-9)


@pytest.mark.parametrize("name", ALL)
def test_no_tasks_and_no_clusters_are_no_problem(name):
    nothing = workflow([], [])
    assert get_decomposer(name).decompose(nothing, clusters(2), network(2)).parts == 0
    one = workflow([(0, 1)], [1.0, 1.0])
    assert get_decomposer(name).decompose(one, (), network(0)).parts >= 1


def test_louvain_finds_the_two_halves_of_a_workflow():
    halves = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]
    w = workflow(halves, [1.0] * 6, [9, 9, 9, 9, 9, 9, 1])
    cut = get_decomposer("louvain:resolution=1").decompose(w, clusters(2), network(2))
    assert cut.part.tolist() == [0, 0, 0, 1, 1, 1]


def test_louvain_communities_that_wait_for_each_other_are_repaired():
    """a0 -> b0 and b1 -> a1 are light, a0 -> a1 and b1 -> b0 heavy: {a} and {b} form a cycle."""
    a0, b0, a1, b1 = range(4)
    w = workflow([(a0, b0), (b1, a1), (a0, a1), (b1, b0)], [1.0] * 4, [1, 1, 50, 50])
    one = get_decomposer("louvain:resolution=1,repair=contract")
    assert one.decompose(w, clusters(2), network(2)).parts == 1
    two = get_decomposer("louvain:resolution=1,repair=cut").decompose(w, clusters(2), network(2))
    assert two.part.tolist() == [0, 1, 2, 1]  # only one of the two has to be cut


def test_louvain_without_data_has_nothing_to_go_by():
    w = workflow([(0, 1), (1, 2)], [1.0] * 3, [0.0, 0.0])
    assert get_decomposer("louvain:resolution=1").decompose(w, clusters(2), network(2)).parts == 3


def test_levels_are_bands_in_a_row():
    w = workflow(FORK, [1.0] * 10)
    part = get_decomposer("levels:bands=3").decompose(w, clusters(2), network(2)).part
    assert (np.diff(part[np.argsort(w.level, kind="stable")]) >= 0).all()
    assert get_decomposer("levels:bands=1").decompose(w, clusters(2), network(2)).parts == 1


def test_ours_spreads_a_fork_over_fast_links_and_keeps_it_together_over_slow_ones():
    w = workflow(FORK, [10.0] * 10, [5.0] * len(FORK))
    ours = get_decomposer("cerebrum")
    fast = ours.decompose(w, clusters(2), network(2, 1000.0))
    slow = ours.decompose(w, clusters(2), network(2, 0.001))
    assert len(np.unique(fast.preferred[fast.part])) == 2
    assert len(np.unique(slow.preferred[slow.part])) == 1
    assert slow.cut_mb == 0


def test_more_effort_never_gives_a_longer_estimate():
    from cerebrum.policies.decomposition.estimate import Estimate

    rng = np.random.default_rng(4)
    edges = sorted({(int(a), int(b)) for a, b in rng.integers(0, 30, (60, 2)) if a < b})
    w = workflow(edges, rng.uniform(1, 20, 30), rng.uniform(0, 30, len(edges)))
    views, net = clusters(3), network(3)
    estimate, found = Estimate(w, views, net), []
    for effort in (0, 1):
        cut = get_decomposer("cerebrum", effort=effort, tolerance=0.0).decompose(w, views, net)
        found.append(estimate.makespan_s(cut.preferred[cut.part].astype(np.int64)))
    assert found[1] <= found[0]


def test_the_report_of_a_chain_cut_in_two():
    w = workflow([(0, 1), (1, 2)], [2.0, 3.0, 5.0], [4.0, 6.0])
    figures = report(Decomposition(w, np.array([0, 0, 1], np.int32)), Link(1.0, 2.0))
    assert (figures.parts, figures.quotient_edges) == (2, 1)
    assert figures.cut_mb == 6.0
    assert figures.cut_share == pytest.approx(0.6)
    assert figures.balance == pytest.approx(1.0)
    assert figures.critical_path_s == pytest.approx(5.0 + (1.0 + 6.0 / 2.0) + 5.0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("louvian", "louvain"),
        ("louvain:resolutoin=2", "resolution"),
        ("louvain:2", "key=value"),
        ("louvain:resolution=nan", "finite"),
        ("levels:bands=-1", "at least 0"),
        ("cerebrum:effort=-1", "at least 0"),
    ],
)
def test_wrong_names_and_options_are_told_with_the_nearest(source, said):
    with pytest.raises((UnknownName, ConfigError), match=said):
        get_decomposer(source)


def test_a_decomposer_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from cerebrum.policies.decomposition.whole import Whole\n"
        "class Mine(Whole):\n    name = 'mine'\n"
    )
    assert get_decomposer(f"{file}:Mine").name == "mine"


def modularity(w, group) -> float:
    """Newman and Girvan, on the undirected graph of volumes, as written."""
    total = w.volume_mb.sum()
    inside = w.volume_mb[group[w.before] == group[w.after]].sum() / total
    degree = np.bincount(w.before, w.volume_mb, len(w)) + np.bincount(w.after, w.volume_mb, len(w))
    return float(inside - ((np.bincount(group, degree) / (2 * total)) ** 2).sum())


@settings(max_examples=40)
@given(w=workflows(most=16))
def test_communities_are_at_least_as_modular_as_one_each_or_one_for_all(w):
    from cerebrum.policies.decomposition._modularity import communities

    if w.volume_mb.sum() == 0:
        return
    group = communities(w.before, w.after, w.volume_mb, len(w))
    assert np.array_equal(np.unique(group), np.arange(group.max() + 1))
    found = modularity(w, group)
    assert found >= modularity(w, np.arange(len(w))) - 1e-12
    assert found >= -1e-12  # one for all has modularity 0
