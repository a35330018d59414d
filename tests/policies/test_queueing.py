"""Batch-job queues: who goes first, who waits, who may slip in between."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.model.errors import CerebrumError
from cerebrum.policies import get_policy
from cerebrum.policies.f1 import f1
from cerebrum.policies.queueing import Jobs
from cerebrum.policies.unicep import unicep
from cerebrum.policies.wfp3 import wfp3
from tests.engine.stories import node, scenario, simulate, task, told


def starts(policy: str, tasks, nodes=None, gangs=None) -> list[str]:
    run = simulate(scenario(nodes or [node("n", 4)], tasks, gangs), get_policy(policy))
    return [line.split("@")[0] for line in told(run, "bound")]


def test_fcfs_lets_nobody_pass():
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 5), task("small", 1, 2, 1)]
    assert starts("fcfs", tasks) == ["0 bound a", "10 bound wide", "15 bound small"]


def test_easy_lets_the_small_one_pass_if_it_ends_before_the_head_can_start():
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 5), task("small", 1, 2, 7)]
    assert starts("fcfs+easy", tasks) == ["0 bound a", "2 bound small", "10 bound wide"]


def test_easy_is_strict_an_end_at_the_shadow_time_is_too_late():
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 5), task("small", 1, 2, 8)]
    assert starts("fcfs+easy", tasks) == ["0 bound a", "10 bound wide", "15 bound small"]


def test_easy_believes_the_requested_time_not_the_true_one():
    """a says 10 and ends at 3: small, which ends at 9, is let in because the head is due at 10."""
    tasks = [
        task("a", 3, 0, 3, requested_s=10),
        task("wide", 4, 1, 5),
        task("small", 1, 2, 7),
    ]
    assert starts("fcfs+easy", tasks) == ["0 bound a", "2 bound small", "9 bound wide"]


def test_easy_fills_in_queue_order_whatever_the_rule():
    """Both fit one after the other only; SJF would take "short" first, EASY takes "early"."""
    tasks = [
        task("a", 3, 0, 20),
        task("wide", 4, 1, 1),
        task("early", 1, 2, 9),
        task("short", 1, 2, 5),
    ]
    assert starts("sjf+easy", tasks)[:3] == ["0 bound a", "2 bound early", "11 bound short"]


def test_sjf_takes_the_shortest_request_first():
    tasks = [task("first", 4, 0, 5), task("long", 4, 1, 30), task("short", 4, 2, 3)]
    assert starts("sjf:final=false", tasks) == ["0 bound first", "5 bound short", "8 bound long"]


def test_a_chosen_head_stays_the_head():
    """Nobody else waits when "long" is chosen: "short" comes too late, shorter or not."""
    tasks = [task("first", 4, 0, 5), task("long", 4, 1, 30), task("short", 4, 2, 3)]
    assert starts("sjf", tasks) == ["0 bound first", "5 bound long", "35 bound short"]


def test_skip_lets_everything_that_fits_pass():
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 5), task("small", 1, 2, 1)]
    assert starts("sjf:queue=skip", tasks)[:2] == ["0 bound a", "2 bound small"]


def test_a_gang_is_one_job():
    """Two members of 3 cores on two nodes: they start together when "a" ends, "late" after them."""
    nodes = [node("n0", 4), node("n1", 4)]
    tasks = [
        task("a", 4, 0, 10),
        task("g0", 3, 1, 5, job="g"),
        task("g1", 3, 1, 5, job="g"),
        task("late", 4, 2, 1),
    ]
    assert starts("fcfs+easy", tasks, nodes, {"g": 2}) == [
        "0 bound a",
        "2 bound late",
        "10 bound g0",
        "10 bound g1",
    ]
    assert starts("sjf", tasks, nodes, {"g": 2}) == [
        "0 bound a",
        "10 bound g0",
        "10 bound g1",
        "15 bound late",
    ]


def test_the_shadow_time_follows_the_speed_of_nodes():
    """On a node twice as fast, 10 seconds of work end at 5: "small" with 3 s from 2 still fits,
    with 4 it would end at 4 (speed 2) as well; 8 s end at 6, too late."""
    fast = [node("n", 4, speed=2.0)]
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 2), task("small", 1, 2, 8)]
    assert starts("fcfs+easy", tasks, fast) == ["0 bound a", "5 bound wide", "6 bound small"]


def jobs(now, *rows) -> Jobs:
    submit, requested, processors = (np.array(column, float) for column in zip(*rows, strict=True))
    return Jobs(now, submit, requested, processors)


def test_f1_by_hand():
    """log10(100) x 8 + 870 x log10(1000) = 16 + 2610."""
    assert f1(jobs(2000, (1000, 100, 8)))[0] == pytest.approx([2626.0])


def test_f1_counts_zero_as_a_tenth():
    assert f1(jobs(0, (0, 0, 1)))[0] == pytest.approx([-1 - 870])


def test_wfp3_by_hand():
    """Waited 300, asks for 100 on 4: -(3^3) x 4."""
    assert wfp3(jobs(400, (100, 100, 4)))[0] == pytest.approx([-108.0])


def test_unicep_by_hand_and_serial_jobs_first():
    """Waited 300, asks for 100 on 8: -300 / (3 x 100). A serial job divides by almost nothing."""
    key = unicep(jobs(400, (100, 100, 8), (100, 100, 1)))[0]
    assert key[0] == pytest.approx(-1.0)
    assert key[1] < -1e12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sjf+esy", "unknown backfill 'esy': did you mean 'easy'?"),
        ("sjf:queue=blok", "unknown queue 'blok': did you mean 'block'?"),
        ("sjf:finale=true", "no option 'finale': did you mean 'final'?"),
        ("sjf:score=fdg", "unknown scorer 'fdg': did you mean 'fgd'?"),
        ("fgd+easy", "no option 'backfill'"),
    ],
)
def test_a_wrong_option_is_named(name, message):
    with pytest.raises(CerebrumError) as problem:
        get_policy(name)
    assert message in str(problem.value)
