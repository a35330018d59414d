"""A learned job order: what it looks at, what it may not see, and who goes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.model.errors import CerebrumError
from cerebrum.policies.learned.job_features import SCHEMA
from cerebrum.policies.learned.job_order import JobOrder, Network
from cerebrum.policies.machine import Machine, machine
from cerebrum.policies.queueing import Jobs, QueuePolicy
from tests.engine.stories import node, scenario, simulate, task, told
from tests.naive import job_order as naive

SCALES = np.array([feature.scale for feature in SCHEMA.features])


def drawn(seed: int, hidden: int = 3) -> Network:
    return Network.of(np.random.default_rng(seed).normal(size=Network.size(hidden)))


def favouring(feature: str, weight: float = 1.0) -> Network:
    """A network that looks at one feature only."""
    direct = np.zeros(len(SCHEMA))
    direct[SCHEMA.names.index(feature)] = weight
    return replace(Network.of(np.zeros(Network.size(1))), direct=direct)


def queue(network: Network, backfill: str = "none", **more) -> QueuePolicy:
    return QueuePolicy("learned", JobOrder(network), backfill, reads_machine=True, **more)


def starts(network: Network, tasks, backfill: str = "none") -> list[str]:
    run = simulate(scenario([node("n", 4)], tasks), queue(network, backfill))
    return [line.split("@")[0] for line in told(run, "bound")]


job = st.tuples(st.floats(0, 5000), st.floats(0, 1e5), st.integers(1, 64))
held = st.tuples(st.floats(4000, 9000), st.integers(1, 64))


@given(
    rows=st.lists(job, min_size=1, max_size=12),
    runs=st.lists(held, max_size=8),
    free=st.integers(-8, 64),
    seed=st.integers(0, 100),
)
def test_features_and_ratings_are_those_of_the_naive_twin(rows, runs, free, seed):
    runs.sort()
    ends, holds = (np.array(c, float) for c in zip(*runs, strict=True)) if runs else ([], [])
    seen = machine_of(free, np.array(ends, float), np.array(holds, float))
    order = JobOrder(drawn(seed))
    jobs = Jobs(5000.0, *(np.array(c, float) for c in zip(*rows, strict=True)), seen)
    waiting = [naive.Waiting(*map(float, row)) for row in rows]
    running = [naive.Holding(*map(float, row)) for row in runs]
    scaled = []
    for one in waiting:
        found = naive.features(one, waiting, running, float(free), 256.0, 5000.0)
        assert tuple(found) == SCHEMA.names
        scaled.append([x / s for x, s in zip(found.values(), SCALES, strict=True)])
    assert order.observe(jobs) == pytest.approx(np.array(scaled), rel=1e-9, abs=1e-9)
    net = drawn(seed)
    rated = [naive.rating(row, net.inner, net.bias, net.outer, net.direct) for row in scaled]
    assert -order(jobs)[0] == pytest.approx(np.array(rated), rel=1e-7, abs=1e-7)


def machine_of(free, ends, holds) -> Machine:
    return Machine(float(free), 256.0, ends, holds)


@given(rows=st.lists(job, min_size=2, max_size=30), seed=st.integers(0, 100), random=st.randoms())
def test_a_job_is_rated_alike_wherever_it_stands_in_the_queue(rows, seed, random):
    """The only thing that may change is the order in which sums over the queue are rounded."""
    places = list(range(len(rows)))
    random.shuffle(places)
    columns = [np.array(c, float) for c in zip(*rows, strict=True)]
    seen = machine_of(12, np.array([6000.0]), np.array([200.0]))
    order = JobOrder(drawn(seed))
    there = order(Jobs(5000.0, *columns, seen))[0][places]
    moved = order(Jobs(5000.0, *(c[places] for c in columns), seen))[0]
    assert moved == pytest.approx(there, rel=1e-9, abs=1e-9)


def test_what_is_free_and_when_more_will_be_on_two_nodes_of_other_speed():
    tasks = [task("a", 2, 0, 50, requested_s=60), task("b", 3, 0, 10), task("c", 4, 4, 1)]
    seen = []

    def remember(jobs: Jobs):
        seen.append((jobs.now_s, jobs.machine))
        return (jobs.submit_s,)

    nodes = [node("slow", 3), node("fast", 4, speed=2.0)]
    simulate(scenario(nodes, tasks), QueuePolicy("r", remember, reads_machine=True))
    _, last = next(one for one in seen if one[0] == 4.0)
    assert (last.free, last.processors) == (7 - 5, 7.0)
    assert last.ends_s.tolist() == [5.0, 60.0]  # b asks for 10 s, on a node twice as fast
    assert last.held.tolist() == [3.0, 2.0]


def test_it_is_asked_again_after_each_start_with_what_is_free_then():
    free = []

    def remember(jobs: Jobs):
        free.append(jobs.machine.free)
        return (jobs.submit_s,)

    tasks = [task("a", 3, 0, 10), task("b", 1, 0, 10)]
    simulate(scenario([node("n", 4)], tasks), QueuePolicy("r", remember, reads_machine=True))
    assert free == [4.0, 1.0]


def test_what_fits_can_go_before_what_is_shorter():
    """`wide` is shorter and does not fit beside `a`; an order that reads the machine knows."""
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 1), task("small", 1, 1, 9)]
    assert starts(favouring("fits"), tasks) == ["0 bound a", "1 bound small", "10 bound wide"]
    assert starts(favouring("requested", -1.0), tasks)[1] == "10 bound wide"


def test_the_choice_is_final_though_another_would_be_preferred_by_now():
    """`wide` is all there is at 1; `small` comes at 2, would fit and is rated higher: too late."""
    tasks = [task("a", 3, 0, 10), task("wide", 4, 1, 1), task("small", 1, 2, 1)]
    assert starts(favouring("fits"), tasks) == ["0 bound a", "10 bound wide", "11 bound small"]
    easy = starts(favouring("fits"), tasks, "easy")
    assert easy == ["0 bound a", "2 bound small", "10 bound wide"]


def test_true_run_times_are_not_seen():
    """Same requests, other run times: all is decided alike until the first end tells."""

    def first(runs):
        tasks = [
            task(f"t{i}", 1 + i % 3, 0, runs * (1 + i), requested_s=10 * (i % 4 + 1))
            for i in range(6)
        ]
        return [line for line in starts(drawn(3), tasks) if line.startswith("0 ")]

    assert first(1.0) == first(7.0)
    assert len(first(1.0)) > 1


@pytest.mark.parametrize("field", ["requested_s", "ends_s"])
def test_a_request_or_an_end_at_infinity_is_far_and_not_nan(field):
    row = {"requested_s": 50.0, "ends_s": 900.0} | {field: np.inf}
    seen = machine_of(0, np.array([row["ends_s"]]), np.array([256.0]))
    jobs = Jobs(0.0, np.zeros(1), np.array([row["requested_s"]]), np.ones(1), seen)
    order = JobOrder(drawn(0))
    assert np.isfinite(order.observe(jobs)).all()
    assert np.isfinite(order(jobs)[0]).all()


def test_an_order_that_is_not_shown_the_machine_says_what_it_needs():
    with pytest.raises(CerebrumError, match="reads_machine=True"):
        simulate(scenario([node("n")], [task("a")]), QueuePolicy("x", JobOrder(drawn(0))))


def test_weights_of_another_shape_and_weights_that_are_no_numbers_are_refused():
    weights = drawn(0).weights()
    with pytest.raises(CerebrumError, match="missing \\['bias'\\]"):
        Network.read({name: w for name, w in weights.items() if name != "bias"})
    with pytest.raises(CerebrumError, match="'direct': expected \\(16,\\) finite"):
        Network.read(weights | {"direct": np.zeros(15)})
    with pytest.raises(CerebrumError, match="'outer'"):
        Network.read(weights | {"outer": np.full(3, np.nan)})
    with pytest.raises(CerebrumError, match="got 17 numbers"):
        Network.of(np.zeros(17))


def test_the_machine_of_an_empty_cluster_is_nothing():
    run = simulate(scenario([node("n", 4)], []))
    empty = machine(run.engine.snapshot())
    assert (empty.free, empty.processors, len(empty.ends_s)) == (4.0, 4.0, 0)
