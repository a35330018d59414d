"""One task, a few nodes: who gets it, and what is left."""

import pytest

from cerebrum.executors.simulated import Simulation
from cerebrum.model.cluster import Taint
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.decisions import Bind, Decision
from cerebrum.model.errors import InfeasibleDecision, InvalidEvent
from cerebrum.model.events import Event, EventKind, Refusal
from tests.engine.stories import alike, emptiest, node, policy, scenario, simulate, task, told

NAMED_SLOW = Requirement("metadata.name", "In", ("slow",))


def test_a_task_goes_to_the_fullest_node_that_still_has_room():
    run = simulate(scenario([node("big", 8), node("small", 2)], [task("a", 2), task("b", 2)]))
    assert told(run) == ["0 bound a@small", "0 bound b@big"]


def test_a_tie_goes_to_the_first_row_unless_names_decide():
    story = scenario([node("b"), node("a")], [task("t")])
    assert told(simulate(story)) == ["0 bound t@b"]
    assert told(simulate(story, policy(ties="name"))) == ["0 bound t@a"]


def test_under_the_tie_rule_next_nodes_take_turns():
    story = scenario([node("a", 1), node("b", 2), node("c", 2)], [task(f"t{i}") for i in range(5)])
    run = simulate(story, policy(alike, ties="next"))
    assert told(run) == [f"0 bound t{i}@{n}" for i, n in enumerate("abcbc")]


def test_random_ties_depend_on_the_seed_and_on_nothing_else():
    story = scenario([node(f"n{i}") for i in range(50)], [task("t")])
    chosen = [told(simulate(story, policy(ties="random"), seed=s))[0] for s in range(20)]
    assert len(set(chosen)) > 5
    again = [told(simulate(story, policy(ties="random"), seed=s))[0] for s in range(20)]
    assert chosen == again


def test_a_shared_gpu_is_filled_before_another_is_opened():
    tasks = [task(f"t{i}", gpu_milli=400) for i in range(4)]
    run = simulate(scenario([node("n", gpus=2)], tasks))
    assert told(run) == [
        "0 bound t0@n[0]",
        "0 bound t1@n[0]",
        "0 bound t2@n[1]",
        "0 bound t3@n[1]",
    ]


def test_worst_fit_spreads_shares_over_gpus():
    tasks = [task(f"t{i}", gpu_milli=400) for i in range(2)]
    run = simulate(scenario([node("n", gpus=2)], tasks), policy(gpus="worst"))
    assert told(run) == ["0 bound t0@n[0]", "0 bound t1@n[1]"]


def test_whole_gpus_must_be_whole():
    tasks = [task("share", gpu_milli=1), task("two", gpus=2)]
    run = simulate(scenario([node("n", gpus=2)], tasks), policy(queue="reject"))
    assert told(run) == ["0 bound share@n[0]", "0 rejected two"]
    assert reason(run) == Refusal.GPU_MILLI


def test_a_task_waits_for_its_gpu_model_and_is_told_why():
    story = scenario(
        [node("t4", gpus=1, model="T4"), node("v100", gpus=1, model="V100")],
        [task("any", gpus=1), task("picky", gpus=1, models=("V100", "P100"))],
    )
    assert told(simulate(story)) == ["0 bound any@t4[0]", "0 bound picky@v100[0]"]
    lonely = scenario([node("t4", gpus=1, model="T4")], [task("p", gpus=1, models=("P100",))])
    assert reason(simulate(lonely)) == Refusal.GPU_MODEL


def test_the_reason_is_the_commonest_one_even_if_memory_is_short_somewhere():
    """Scores of classes that differ in memory are shared; the reason must not be blinded by it."""
    nodes = [node(f"full{i}", 8, gpus=1) for i in range(3)] + [node("low", 1, gpus=1)]
    fillers = [task(f"f{i}", 1, gpu_milli=700) for i in range(3)]
    big = task("big", 1, memory=2000, at=1.0, gpu_milli=500)
    run = simulate(scenario(nodes, [*fillers, big]), policy(emptiest))
    assert told(run, "unschedulable") == ["1 unschedulable big"]
    assert reason(run) == Refusal.GPU_MILLI
    short = task("short", 1, memory=9000, at=1.0)
    assert reason(simulate(scenario(nodes, [short]), policy(emptiest))) == Refusal.MEMORY


def test_a_bind_is_checked_whatever_the_policy_thinks():
    simulation = Simulation(scenario([node("n", slots=1)], [task("a"), task("b")]))
    simulation.next_snapshot()
    simulation.act(Decision((Bind(0, 0),)))
    with pytest.raises(InfeasibleDecision, match=r"'b'.*no room"):
        simulation.act(Decision((Bind(1, 0),)))


def test_cache_ways_are_given_out_and_come_back():
    tasks = [task("a", ways=8, runs=5), task("b", ways=4), task("c", ways=4)]
    run = simulate(scenario([node("n", 8, ways=12)], tasks))
    assert told(run, "bound") == ["0 bound a@n", "0 bound b@n", "5 bound c@n"]
    assert reason(run) == Refusal.CACHE_WAYS
    assert run.engine.snapshot().nodes["cache_ways_free"].tolist() == [4]


def test_extended_resources_are_told_apart_by_name():
    nodes = [node("fpga", extended=(("fpga", 1),)), node("nic", extended=(("nic", 2),))]
    tasks = [task("f", extended=(("fpga", 1),)), task("n", extended=(("nic", 2),))]
    both = task("both", extended=(("fpga", 1), ("nic", 1)))
    run = simulate(scenario(nodes, [*tasks, both]), policy(queue="reject"))
    assert told(run) == ["0 bound f@fpga", "0 bound n@nic", "0 rejected both"]
    assert reason(run) == Refusal.EXTENDED


def test_slots_bound_the_number_of_tasks():
    run = simulate(scenario([node("n", slots=1)], [task("a", 0), task("b", 0)]))
    assert told(run) == ["0 bound a@n"]
    assert reason(run) == Refusal.SLOTS


@pytest.mark.parametrize(
    ("constraints", "where"),
    [
        (Constraints(selector=(("disk", "ssd"),)), "fast"),
        (Constraints(required=(Term((Requirement("disk", "NotIn", ("ssd",)),)),)), "slow"),
        (Constraints(required=(Term((Requirement("gen", "Gt", ("2",)),)),)), "fast"),
        (
            Constraints(required=(Term(fields=(Requirement("metadata.name", "In", ("slow",)),)),)),
            "slow",
        ),
        (Constraints(required=(Term(), Term((Requirement("gen", "Exists"),)))), "fast"),
    ],
)
def test_selectors_and_affinity_choose_among_labels(constraints, where):
    nodes = [node("slow", labels={"disk": "hdd"}), node("fast", labels={"disk": "ssd", "gen": "3"})]
    run = simulate(scenario(nodes, [task("t", constraints=constraints)]))
    assert told(run) == [f"0 bound t@{where}"]


def test_a_taint_keeps_away_who_does_not_tolerate_it():
    nodes = [node("gold", taints=(Taint("team", "gold"),))]
    tolerant = Constraints(tolerations=(Toleration("team", "Equal", "gold"),))
    run = simulate(scenario(nodes, [task("other"), task("ours", constraints=tolerant)]))
    assert told(run) == ["0 bound ours@gold"]
    assert reason(run) == Refusal.TAINT


def test_an_event_that_cannot_be_is_refused_and_changes_nothing():
    run = simulate(scenario([node("n")], [task("a"), task("b", 9)]))
    before = run.engine.log.digest
    for impossible in (
        Event(0.0, EventKind.SUBMITTED, 0),
        Event(0.0, EventKind.FINISHED, 1),
        Event(0.0, EventKind.BOUND, 1, row=0),
        Event(0.0, EventKind.BOUND, 1, row=7),
        Event(-1.0, EventKind.FINISHED, 0),
        Event(float("nan"), EventKind.FINISHED, 0),
        Event(0.0, EventKind.STARTED, 99),
    ):
        with pytest.raises(InvalidEvent):
            run.engine.apply(impossible)
    assert run.engine.log.digest == before


def test_worst_fit_is_best_fit_upside_down():
    story = scenario([node("big", 8), node("small", 2)], [task("a", 2)])
    assert told(simulate(story, policy(emptiest))) == ["0 bound a@big"]


def reason(run) -> Refusal:
    """Why the last refused task was refused."""
    refused = run.engine.log.of(EventKind.REJECTED, EventKind.UNSCHEDULABLE)
    return Refusal(int(refused["reason"][-1]))
