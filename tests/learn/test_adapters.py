"""The batch behind Gymnasium, its vector form and PettingZoo: their checkers, and our rules."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")

import gymnasium
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from pettingzoo.test import parallel_api_test

from cerebrum.learn.clusters import Clusters
from cerebrum.learn.generated import Generated
from cerebrum.learn.gym_env import ID, ClusterEnv
from cerebrum.learn.pettingzoo_env import BiddingEnv
from cerebrum.learn.sources import Given
from cerebrum.learn.vector_env import ClusterVectorEnv
from cerebrum.model.scenario import NodeChange, NodeEvent
from tests.engine.stories import node, scenario, task

small = Generated(nodes=(3, 4), tasks=20, load=1.2, variants=4)


def first(mask) -> int:
    return int(np.flatnonzero(mask)[0])


# -- Gymnasium ----------------------------------------------------------------------------------


def test_gymnasium_finds_nothing_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ID, source=small, seed=1).unwrapped, skip_render_check=True)


def test_an_episode_of_the_environment_is_an_episode_of_the_batch():
    env, batch = ClusterEnv(small, seed=5), Clusters(small, 1, seed=5)
    observation, _ = env.reset()
    for _ in range(2):  # and the next episode follows on the same draws
        over, steps = False, 0
        while not over:
            assert (observation["nodes"] == batch.observation[0]).all()
            assert (observation["cluster"] == batch.state[0]).all()
            assert (observation["action_mask"][:-1] == batch.mask[0]).all()
            assert (env.action_masks() == (observation["action_mask"] == 1)).all()
            action = first(env.action_masks())
            observation, reward, over, truncated, info = env.step(action)
            (paid,), (done,) = batch.step([action])
            assert (reward, over, truncated) == (paid, done, False)
            assert list(info["terms"].values()) == batch.terms[0].tolist()
            steps += 1
        assert steps >= 20
        assert not observation["nodes"].any()
        assert observation["action_mask"].tolist() == [0] * batch.nodes + [1]
        assert env.action_masks().tolist() == [False] * batch.nodes + [True]
        observation, _ = env.reset()


def test_a_seed_decides_the_episode_also_in_the_middle_of_another():
    env = ClusterEnv(small)
    begun, _ = env.reset(seed=3)
    env.step(first(env.action_masks()))
    again, _ = env.reset(seed=3)
    assert all((begun[name] == again[name]).all() for name in begun)


def test_what_the_mask_forbids_passes_the_task_over_and_says_so():
    story = scenario([node("a", cpu=2), node("b", cpu=1)], [task("t", cpu=2), task("u", cpu=1)])
    env = ClusterEnv(Given([story]))
    env.reset(seed=0)
    _, _, _, _, info = env.step(1)
    assert info["refused"]
    assert info["task"] == 1  # t waits
    _, _, over, _, info = env.step(0)
    assert (over, info["refused"]) == (True, False)
    with pytest.raises(ValueError, match="expected an action of Discrete"):
        env.step(3)


def test_a_trace_is_named_like_anywhere_else():
    env = gymnasium.make(ID, source="openb-like:nodes=6,tasks=12", passed="reject")
    observation, _ = env.reset(seed=0)
    assert observation["nodes"].shape[0] == 6
    env.close()


# -- vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_vector_environment_does_what_gymnasium_makes_of_single_ones(mode):
    """Same seeds, same actions: `SyncVectorEnv` over E environments shows the same."""
    ours = ClusterVectorEnv(3, small, autoreset_mode=mode)
    theirs = gymnasium.vector.SyncVectorEnv(
        [lambda: ClusterEnv(small) for _ in range(3)], autoreset_mode=mode
    )
    a, _ = ours.reset(seed=7)
    b, _ = theirs.reset(seed=7)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(90):
        assert ours.observation_space.contains(a)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
        masks = a["action_mask"].astype(bool)
        assert (ours.action_masks() == masks).all()
        actions = np.where(masks, rng.random(masks.shape), -1).argmax(1)
        a, paid, ended, cut, info = ours.step(actions)
        b, wanted, over, _, other = theirs.step(actions)
        np.testing.assert_allclose(paid, wanted)
        assert (ended == over).all()
        assert not cut.any()
        ends += int(ended.sum())
        if ended.any() and mode == AutoresetMode.SAME_STEP:
            assert (info["_final_obs"] == other["_final_obs"]).all()
            env = first(ended)
            for name, last in info["final_obs"][env].items():
                np.testing.assert_array_equal(last, other["final_obs"][env][name])
    assert ends >= 3
    theirs.close()


def test_make_vec_gives_the_batch_and_not_a_loop():
    envs = gymnasium.make_vec(ID, num_envs=4, source=small)
    assert isinstance(envs.unwrapped, ClusterVectorEnv)
    observation, _ = envs.reset(seed=[1, 2, 1, None])
    assert (observation["nodes"][0] == observation["nodes"][2]).all()
    with pytest.raises(ValueError, match="expected autoreset next-step or same-step"):
        ClusterVectorEnv(2, small, autoreset_mode=AutoresetMode.DISABLED)


# -- PettingZoo ---------------------------------------------------------------------------------


def changing():
    """A node joins, one fails, one leaves: every agent there can be takes part."""
    nodes = [node("a", cpu=4), node("b", cpu=4), node("c", cpu=4)]
    tasks = [task(f"t{i:02}", cpu=1, at=float(i), runs=3.0) for i in range(40)]
    events = (
        NodeEvent(5.5, NodeChange.JOIN, "d", node("d", cpu=4)),
        NodeEvent(10.5, NodeChange.FAIL, "a"),
        NodeEvent(15.5, NodeChange.LEAVE, "b"),
    )
    return Given([replace(scenario(nodes, tasks), node_events=events)])


def test_pettingzoo_finds_nothing_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(BiddingEnv(changing(), seed=1), num_cycles=200)


def test_agents_come_and_go_as_nodes_do():
    env = BiddingEnv(changing(), seed=1)
    env.reset()
    seen, ended = [list(env.agents)], []
    while env.agents:
        before = list(env.agents)
        bids = dict.fromkeys(env.agents, 5)
        _, rewards, terminations, _, _ = env.step(bids)
        assert set(rewards) == set(terminations) >= set(before)
        ended += [agent for agent, over in terminations.items() if over and env.agents]
        if env.agents != seen[-1]:
            seen.append(list(env.agents))
    a, b, c, d = env.possible_agents
    assert seen == [[a, b, c], [a, b, c, d], [b, c, d], [c, d], []]
    assert ended == [a, b]


def test_the_highest_feasible_bid_gets_the_task_and_nobody_has_to_bid():
    nodes = [node("a", cpu=1), node("b", cpu=4), node("c", cpu=4)]
    story = scenario(nodes, [task("t", cpu=2), task("u", cpu=2, at=1.0), task("v", at=2.0)])
    env = BiddingEnv(Given([story]), seed=1)
    observations, _ = env.reset()
    a, b, c = env.possible_agents
    assert observations[a]["action_mask"].tolist() == [1] + [0] * 10
    assert not observations[a]["observation"].any()
    assert observations[b]["action_mask"].tolist() == [1] * 11
    engine = env.clusters.episode(0).engine
    env.step({a: 10, b: 3, c: 7})  # a cannot: the best of the others
    assert engine.table.state.t_row[:1].tolist() == [2]
    env.step({b: 4, c: 4})  # a tie: the lower row
    assert engine.table.state.t_row[:2].tolist() == [2, 1]
    _, rewards, terminations, _, _ = env.step(dict.fromkeys(env.agents, 0))
    assert all(terminations.values())  # v waits for ever, and nothing else happens
    assert len(set(rewards.values())) == 1


def test_an_agent_sees_the_row_of_its_node_and_the_state_is_the_pooled_one():
    env, batch = BiddingEnv(small, seed=2), Clusters(small, 1, seed=2)
    observations, _ = env.reset()
    for row, agent in enumerate(env.agents):
        assert (observations[agent]["observation"] == batch.observation[0, row]).all()
    assert (env.state() == batch.state[0]).all()
