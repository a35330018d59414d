"""Each placement policy on a case small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.engine.engine import Engine
from cerebrum.model.cluster import PowerModel, Taint
from cerebrum.model.constraints import Constraints, Requirement, Term
from cerebrum.model.events import Event, EventKind
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import TaskClass
from cerebrum.policies import get_policy
from tests.engine.stories import node, scenario, simulate, task, told

WHOLE_GPU = TaskClass(Resources(1000, 0, 1, 1000))
HALF_GPU = TaskClass(Resources(1000, 0, 1, 500))


def scored(policy: str, nodes, asked, running=(), **more) -> dict[str, float]:
    """Total score by node of `asked`, with (task, node, GPU mask) `running`."""
    story = scenario(nodes, [*(who for who, _, _ in running), asked], **more)
    engine = Engine(story, key=3)
    for i, (_, where, gpus) in enumerate(running):
        engine.apply(Event(0.0, EventKind.SUBMITTED, i))
        engine.apply(Event(0.0, EventKind.BOUND, i, engine.row_of(where), gpus))
    engine.apply(Event(0.0, EventKind.SUBMITTED, len(running)))
    rows = get_policy(policy).explain(engine.snapshot(), len(running)).rows
    return {engine.node_names[row.row]: row.total for row in rows if not row.refusals}


def test_fgd_keeps_the_whole_gpu_whole():
    """Typical: whole GPUs. The half on a free GPU strands 500, on the half-used one frees 500.

    Node "used" (one GPU, 500 left): F falls from 500 to 0, sigmoid(0.5) = 0.622. Node "free": F
    rises from 0 to 500, sigmoid(-0.5) = 0.377.
    """
    half = task("running", gpu_milli=500)
    assert scored(
        "fgd",
        [node("free", gpus=1), node("used", gpus=1)],
        task("asked", gpu_milli=500),
        [(half, "used", 1)],
        typical=((WHOLE_GPU, 1.0),),
    ) == {"free": 37, "used": 62}


def test_fgd_weighs_classes_by_popularity():
    """Three of four typical tasks need half a GPU, one a whole. A free GPU: F = 0; with half of it
    gone, only the whole class is short: F = 1/4 x 500 = 125, sigmoid(-0.125) = 0.4688."""
    typical = ((HALF_GPU, 3.0), (WHOLE_GPU, 1.0))
    asked = task("asked", gpu_milli=500)
    assert scored("fgd", [node("n", gpus=1)], asked, typical=typical) == {"n": 46}


def test_fgd_takes_the_gpu_it_likes_best_and_the_lowest_of_equals():
    """GPU 0 has 700 left, GPU 1 200, all of it lost to whole-GPU tasks: 200 less on either."""
    tasks = [task("a", gpu_milli=300), task("b", gpu_milli=800), task("c", gpu_milli=200)]
    story = scenario([node("n", gpus=2)], tasks, typical=((WHOLE_GPU, 1.0),))
    assert told(simulate(story, get_policy("fgd"))) == [
        "0 bound a@n[0]",
        "0 bound b@n[1]",
        "0 bound c@n[0]",
    ]
    assert told(simulate(story, get_policy("fgd", gpus="best")))[2] == "0 bound c@n[1]"


def test_fgd_without_typical_classes_scores_no_change():
    assert scored("fgd", [node("a"), node("b", gpus=2)], task("t")) == {"a": 50, "b": 50}


def test_best_fit_scores_what_is_left_over():
    """8 cores, no GPU, 4 asked: 4000/128000 x 0.5 = 0.015625 left: 98. 64 cores: 0.234375: 76."""
    assert scored("best-fit", [node("small", 8), node("big", 64)], task("t", 4)) == {
        "small": 98,
        "big": 76,
    }


def test_worst_fit_is_its_mirror():
    assert scored("worst-fit", [node("small", 8), node("big", 64)], task("t", 4)) == {
        "small": 1,
        "big": 23,
    }


def test_dot_product_prefers_what_is_scarce_where_the_task_is_small():
    """d = 64/128 x 64/128 + 2/8 x 1/8 = 0.28125, score 100 x (1 - d / 2) = 85.9."""
    asked = task("t", 64, gpus=1)
    assert scored("dot-product", [node("n", 64, gpus=2)], asked) == {"n": 85}


def test_gpu_clustering_counts_kinds():
    """One GPU of two busy: b = 25 x 7000 / 8000 = 21."""
    nodes = [node(name, 16, gpus=2) for name in ("alike", "mixed", "other")] + [
        node("empty", 16, gpus=2)
    ]
    running = [
        (task("w1", gpus=1), "alike", 1),
        (task("s1", gpu_milli=500), "mixed", 1),
        (task("w2", gpus=1), "mixed", 2),
        (task("s2", gpu_milli=500), "other", 1),
    ]
    b_alike, b_mixed = 25 * (8000 - 1000) // 8000, 25 * (8000 - 500) // 8000
    b_other, b_empty = 25 * (8000 - 1500) // 8000, 25 * (8000 - 2000) // 8000
    asked = task("asked", gpu_milli=300)
    assert scored("gpu-clustering", nodes, asked, running) == {
        "alike": b_alike,  # hosts other kinds only
        "mixed": b_mixed + 50,
        "other": b_other + 75,  # hosts shared tasks and nothing else
        "empty": b_empty + 25,
    }


def test_gpu_packing_opens_as_little_as_it_can():
    """Node "part": GPU with 400 left: 100 - 40 / 10 = 96. "used": a free GPU: 50 - 1. "free": 4
    free GPUs: max(33 - 4, 4) = 29."""
    nodes = [node("part", gpus=2), node("used", gpus=2), node("free", gpus=4)]
    running = [
        (task("a", gpu_milli=600), "part", 1),
        (task("b", gpu_milli=900), "used", 1),
    ]
    asked = task("asked", gpu_milli=300)
    assert scored("gpu-packing", nodes, asked, running) == {"part": 96, "used": 49, "free": 29}


def test_pwr_wakes_neither_a_gpu_nor_a_package_it_need_not():
    """T4: 10 W idle, 70 full. Packages of 16 cores (32,000 milli): 15 W idle, 120 full.

    "asleep" wakes a GPU (60 W) and a package (105 W), "busy" neither: 0 W. Min-max: 0 and 100.
    """
    t4 = PowerModel(15, 120, 32_000, 10, 70)
    nodes = [node("asleep", 32, gpus=1, power=t4), node("busy", 32, gpus=1, power=t4)]
    running = [(task("a", 4, gpu_milli=500), "busy", 1)]
    asked = task("asked", 4, gpu_milli=500)
    assert scored("pwr", nodes, asked, running) == {"asleep": 0, "busy": 100}


def test_pwr_scores_100_where_all_cost_the_same():
    assert scored("pwr", [node("a"), node("b")], task("t")) == {"a": 100, "b": 100}


def test_a_mix_adds_weighted_scores():
    """FGD gives 50 where nothing is typical; PWR 100 where all are alike."""
    assert scored("pwr-fgd:100", [node("a"), node("b")], task("t")) == {
        "a": 900 * 50 + 100 * 100,
        "b": 900 * 50 + 100 * 100,
    }


def test_least_allocated_is_the_mean_free_percent():
    """4 of 10 cores and 2 of 10 GiB asked: (60 + 80) / 2 = 70."""
    assert scored("least-allocated", [node("n", 10)], task("t", 4, memory=2048)) == {"n": 70}


def test_most_allocated_is_the_mean_used_percent():
    assert scored("most-allocated", [node("n", 10)], task("t", 4, memory=2048)) == {"n": 30}


def test_kubernetes_default_on_an_empty_node():
    """Least allocated 70; balanced (1 - |0.4 - 0.2| / 2) x 100 = 90; affinity 0; taints 3 x 100."""
    asked = task("t", 4, memory=2048)
    assert scored("kubernetes-default", [node("n", 10)], asked) == {"n": 70 + 90 + 300}


def test_kubernetes_default_follows_preferred_affinity_and_dislikes_taints():
    likes = Constraints(preferred=((40, Term((Requirement("disk", "In", ("ssd",)),))),))
    nodes = [
        node("plain", 10),
        node("ssd", 10, labels={"disk": "ssd"}),
        node("spot", 10, taints=(Taint("spot", effect="PreferNoSchedule"),)),
    ]
    asked = task("t", 4, memory=2048, constraints=likes)
    assert scored("kubernetes-default", nodes, asked) == {
        "plain": 160 + 0 + 300,
        "ssd": 160 + 200 + 300,  # 2 x 100
        "spot": 160 + 0 + 0,  # 3 x (100 - 100)
    }


def test_first_fit_takes_the_first_node_with_room():
    tasks = [task("a", 3), task("b", 3), task("c", 1)]
    run = simulate(scenario([node("n0"), node("n1")], tasks), get_policy("first-fit"))
    assert told(run) == ["0 bound a@n0", "0 bound b@n1", "0 bound c@n0"]


def test_round_robin_lets_nodes_take_turns_and_skips_full_ones():
    tasks = [task("a", 4), task("b", 1), task("c", 1), task("d", 1), task("e", 1)]
    run = simulate(scenario([node("n0"), node("n1"), node("n2")], tasks), get_policy("round_robin"))
    assert told(run) == [
        "0 bound a@n0",
        "0 bound b@n1",
        "0 bound c@n2",
        "0 bound d@n1",  # n0 is full
        "0 bound e@n1",
    ]


def test_random_uses_all_nodes_and_gpus_and_repeats_with_its_seed():
    story = scenario([node(f"n{i}", gpus=4) for i in range(5)], [task("t", gpu_milli=100)])
    lines = [told(simulate(story, get_policy("random"), seed=s))[0] for s in range(60)]
    assert lines == [told(simulate(story, get_policy("random"), seed=s))[0] for s in range(60)]
    assert len({line.split("@")[1][:2] for line in lines}) == 5
    assert len({line[-3:] for line in lines}) == 4


@pytest.mark.parametrize("policy", ["fgd", "best-fit", "random", "kubernetes-default"])
def test_two_policies_of_one_name_share_nothing(policy):
    assert get_policy(policy) is not get_policy(policy)
    assert np.isfinite(len(get_policy(policy).scores))
