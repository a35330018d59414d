"""The batched core is the simulated executor, stepped: same events, same refusals, same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.engine.compiled import scorer
from cerebrum.executors.simulated import Simulation
from cerebrum.learn.clusters import STATE, Clusters
from cerebrum.learn.generated import Generated
from cerebrum.learn.sources import Given
from cerebrum.model.cluster import Cluster
from cerebrum.model.errors import ConfigError, InfeasibleDecision, InputError
from cerebrum.model.events import EventKind
from cerebrum.model.scenario import NodeChange, NodeEvent
from tests.engine.peer_worlds import peer_stories
from tests.engine.stories import node, policy, scenario, task
from tests.learn.worlds import (
    PLAIN,
    one,
    play,
    randomly,
    running_worlds,
    simulated_again,
    without_gangs,
    worlds,
)

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
small = Generated(nodes=(4, 6), tasks=40, load=1.2, variants=5)


@quick
@given(
    worlds | running_worlds() | peer_stories().map(without_gangs),
    st.integers(0, 99),
    st.sampled_from(["wait", "reject"]),
    st.booleans(),
)
def test_the_simulated_executor_writes_the_same_log(story, seed, passed, gives_up):
    clusters = one(story, passed=passed, unplaceable="reject" if gives_up else "wait")
    if clusters is None:
        return
    log, _, _ = play(clusters, randomly(seed))
    assert log.digest == simulated_again(story, log).digest


@scorer
def fullest(before, after, task, typical):
    """Least CPU left. It mentions memory: else the engine tells reasons with memory left apart."""
    return -float(after.cpu_free) + 0.0 * after.memory_free


def test_a_heuristic_in_the_environment_is_the_policy_in_the_compiled_loop():
    """Same queue order, same refusals told, same GPUs: byte for byte."""
    for number in range(5):
        story = Generated(nodes=(3, 5), tasks=60, load=2.0).scenario(number)
        for unplaceable, queue in (("wait", "skip"), ("reject", "reject")):
            clusters = Clusters(
                Given([story]), 1, encoder=PLAIN, unplaceable=unplaceable, keep_log=True
            )

            def best(c):
                return np.where(c.mask, -c.observation[:, :, 1], -np.inf).argmax(1)

            log, _, _ = play(clusters, best)
            simulation = Simulation(story)
            simulation.run(policy(fullest, queue=queue))
            assert log.digest == simulation.engine.log.digest


@quick
@given(worlds | peer_stories().map(without_gangs), st.integers(0, 99))
def test_the_mask_is_what_the_engine_does_not_refuse(story, seed):
    clusters = one(story)
    if clusters is None:
        return
    choose, over = randomly(seed), False
    while not over:
        snapshot = clusters.episode(0).engine.snapshot()
        refusals = snapshot.refusals(int(clusters.tasks[0]))
        assert (clusters.mask[0, : len(refusals)] == (refusals == 0)).all()
        assert not clusters.mask[0, len(refusals) :].any()
        assert (clusters.present[0, : len(refusals)] == (refusals >= 0)).all()
        assert clusters.mask.any(), "asked about a task that fits nowhere"
        over = bool(clusters.step(choose(clusters))[1][0])


@quick
@given(worlds, st.integers(0, 99))
def test_observations_are_what_the_engine_says_of_each_node(story, seed):
    clusters = one(story)
    if clusters is None:
        return
    choose, over = randomly(seed), False
    while not over:
        snapshot = clusters.episode(0).engine.snapshot()
        asked = story.tasks[int(clusters.tasks[0])].task_class.resources
        for row in range(clusters.nodes):
            seen = clusters.observation[0, row].tolist()
            if not clusters.mask[0, row]:
                assert seen == [0.0] * 5
                continue
            here = snapshot.nodes[row]
            free, gpus = here["cpu_free"] / 1000, here["gpu_free_sum"] / 1000
            wanted = [free, free - asked.cpu_milli / 1000, gpus - asked.gpu_milli_total / 1000]
            wanted += [asked.cpu_milli / 1000, here["fragmentation"]]
            np.testing.assert_allclose(seen, wanted, rtol=1e-6)
        able = clusters.observation[0, clusters.mask[0]]
        np.testing.assert_allclose(clusters.state[0, :5], able.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(clusters.state[0, 5:10], able.max(0), rtol=1e-6)
        over = bool(clusters.step(choose(clusters))[1][0])


def test_the_pooled_state_says_how_full_the_cluster_is():
    nodes = [node("a", cpu=4), node("b", cpu=12)]
    story = scenario(nodes, [task("first", cpu=4), task("second", cpu=2, at=1.0)])
    clusters = one(story)
    clusters.step([1])
    names = dict(zip(STATE, clusters.state[0, 10:].tolist(), strict=True))
    assert names["able"] == 1.0
    assert names["cpu_used"] == pytest.approx(4 / 16)
    assert names["gpu_used"] == names["memory_used"] == 0.0
    assert names["waiting"] == pytest.approx(1 / 17)
    assert names["imbalance"] == pytest.approx((1 / 3) / 2 / 2)  # CPU 0 and 1/3, memory even


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_nodes_is_the_order_of_observations_and_nothing_else(seed):
    story = small.scenario(seed)
    order = np.random.default_rng(seed).permutation(len(story.cluster))
    turned = replace(story, cluster=Cluster(tuple(story.cluster.nodes[int(i)] for i in order)))
    a, b = (Clusters(Given([s]), 1) for s in (story, turned))
    rng, over = np.random.default_rng(seed), False
    while not over:
        assert (a.mask[0, order] == b.mask[0]).all()
        assert (a.observation[0, order] == b.observation[0]).all()
        np.testing.assert_allclose(a.state, b.state, rtol=1e-4, atol=1e-5)
        row = int(rng.choice(np.flatnonzero(b.mask[0])))
        (paid,), (over,) = b.step([row])
        assert a.step([int(order[row])])[0][0] == pytest.approx(paid, rel=1e-4, abs=1e-6)


def test_equal_seeds_give_equal_runs_and_other_seeds_others():
    def history(seed):
        clusters = Clusters(replace(small, changes=3), 3, seed=seed)
        choose, seen = randomly(7), []
        for _ in range(200):
            rewards, done = clusters.step(choose(clusters))
            seen += [rewards.tobytes(), done.tobytes(), clusters.state.tobytes()]
        return seen

    first = history(1)
    assert first == history(1)
    assert first != history(2)


def test_reset_by_seed_begins_the_same_episodes_again():
    clusters = Clusters(small, 4, seed=0)
    clusters.reset([5, 6, 5, 7])
    first = clusters.observation.copy()
    assert (first[0] == first[2]).all()
    assert (first[0] != first[1]).any()
    for _ in range(30):
        clusters.step(randomly(1)(clusters))
    clusters.reset([5, 6, 5, 7])
    assert (clusters.observation == first).all()


def test_an_episode_taken_from_the_pool_is_like_a_new_one():
    """The same scenario over and over: what was kept must not remember what happened."""
    story = small.scenario(1)
    clusters = Clusters(Given([story]), 1)
    runs = []
    for _ in range(3):
        choose, over, seen = randomly(3), False, []
        while not over:
            seen.append((clusters.observation.tobytes(), clusters.time_s[0]))
            over = bool(clusters.step(choose(clusters))[1][0])
            seen.append(clusters.terms.tobytes())
        runs.append(seen)
    assert runs[0] == runs[1] == runs[2]


def test_clusters_of_a_batch_do_not_touch_each_other():
    alone, batch = Clusters(small, 1, 6), Clusters(small, 5, 6)
    alone.reset([2])
    batch.reset([0, 1, 2, 3, 4])
    others = randomly(4)
    for _ in range(150):
        rows = others(batch)
        rows[2] = np.flatnonzero(alone.mask[0])[-1]
        rewards, done = batch.step(rows)
        (paid,), (over,) = alone.step([rows[2]])
        assert (rewards[2], done[2]) == (paid, over)
        assert (batch.observation[2] == alone.observation[0]).all()


def test_only_some_clusters_can_be_stepped():
    clusters = Clusters(small, 3, seed=4)
    before, times = clusters.observation.copy(), clusters.time_s.copy()
    clusters.step([int(np.flatnonzero(m)[0]) for m in clusters.mask], np.array([1, 0, 1], bool))
    assert (clusters.observation[1] == before[1]).all()
    assert clusters.time_s[1] == times[1]
    assert (clusters.observation[0] != before[0]).any()
    assert clusters.rewards[1] == 0.0


def test_a_node_that_joins_takes_tasks_and_one_that_fails_gives_them_back():
    events = (
        NodeEvent(5.0, NodeChange.JOIN, "b", node("b", cpu=4)),
        NodeEvent(6.0, NodeChange.FAIL, "a"),
    )
    story = replace(
        scenario([node("a", cpu=4)], [task("t", cpu=4, runs=100.0), task("u", cpu=4, at=1.0)]),
        node_events=events,
    )
    clusters = one(story)
    assert clusters.mask.tolist() == [[True, False]]
    clusters.step([0])  # u fits nowhere at second 1; at second 5 there is b
    assert (clusters.time_s[0], clusters.tasks[0]) == (5.0, 1)
    assert clusters.mask.tolist() == [[False, True]]
    engine = clusters.episode(0).engine
    _, done = clusters.step([1])  # a fails, t waits for ever: nothing is left to decide
    assert done[0]
    kinds = [EventKind(int(kind)) for kind in engine.log.rows["kind"]]
    assert kinds[-3:] == [EventKind.FAILED, EventKind.NODE_REMOVED, EventKind.UNSCHEDULABLE]


def test_a_node_that_leaves_is_gone_once_its_last_task_ends():
    story = replace(
        scenario(
            [node("a", cpu=4), node("b", cpu=4)],
            [task("t", runs=10.0), task("u", at=2.0), task("v", at=20.0)],
        ),
        node_events=(NodeEvent(1.0, NodeChange.LEAVE, "a"),),
    )
    clusters = one(story)
    clusters.step([0])
    assert (clusters.present.tolist(), clusters.mask.tolist()) == ([[True] * 2], [[False, True]])
    clusters.step([1])
    assert clusters.time_s[0] == 20.0
    assert clusters.present.tolist() == [[False, True]]


def test_a_task_passed_over_is_asked_about_again_when_something_was_freed():
    story = scenario(
        [node("a", cpu=4)], [task("t", cpu=1, runs=10.0), task("u", cpu=1), task("v", at=3.0)]
    )
    clusters = one(story)
    asked = []
    for row in (0, -1, 0, 0):
        asked.append((clusters.time_s[0], int(clusters.tasks[0])))
        _, done = clusters.step([row])
    assert asked == [(0.0, 0), (0.0, 1), (3.0, 2), (10.0, 1)]
    assert done[0]


def test_a_row_that_the_mask_forbids_changes_nothing():
    clusters = Clusters(Given([scenario([node("a"), node("b", cpu=1)], [task("t", cpu=2)])]), 1)
    before = clusters.episode(0).engine.version
    for row in (1, 2, -2):
        with pytest.raises(InfeasibleDecision, match=r"cluster 0: row .* one of \[0\]"):
            clusters.step([row])
    assert clusters.episode(0).engine.version == before
    assert clusters.step([0])[1][0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"envs": 0}, "envs: expected 1..65,536, got 0"),
        ({"envs": 1, "nodes": 0}, "nodes: expected at least 1"),
        ({"envs": 1, "passed": "forget"}, "passed: expected wait or reject"),
        ({"envs": 1, "reward": {"emissions": 1.0}}, "need a source with carbon intensity"),
        ({"envs": 1, "encoder": "bids"}, "unknown encoder 'bids': did you mean 'bid'"),
    ],
)
def test_what_cannot_be_is_said(settings, message):
    with (
        pytest.raises(ConfigError, match=message)
        if "encoder" not in settings
        else pytest.raises(InputError, match=message)
    ):
        Clusters(small, **settings)


def test_too_many_nodes_and_gangs_are_refused():
    with pytest.raises(InputError, match=r"has \d nodes, those that join included"):
        Clusters(small, 1, nodes=2)
    story = scenario([node("a")], [task("t", job="j"), task("u", job="j")], {"j": 2})
    with pytest.raises(InputError, match="has gangs"):
        Clusters(Given([story]), 1)
    with pytest.raises(InputError, match="had no task that fits"):
        Clusters(Given([scenario([node("a", cpu=1)], [task("t", cpu=2)])]), 1)
