"""The judge is judged: for each promise, a history that keeps it and one that breaks it.

A checker that says nothing is worth nothing, so each story here is spoilt in one place and the
checker has to name that promise (others may be broken along with it).
"""

from __future__ import annotations

import pytest

from tests.faults.checker import check
from tests.faults.history import History
from tests.faults.reading import name_of_run
from tests.faults.stories import FLOW, RUN_A, RUN_B, A, B, Story, good, opening, without

A2 = name_of_run(A, 2, 1)


def broken(story: Story | History) -> set[str]:
    """Names of the promises that the checker finds broken."""
    history = story if isinstance(story, History) else story.history
    return {violation.check for violation in check(history)}


def finish(story: Story, state: str = "succeeded") -> Story:
    """`b` is held and succeeds, and the workflow ends."""
    story.run(B, RUN_B).ended(B, "succeeded", RUN_B)
    return story.gcc("workflow_ended", state=state)


def test_a_history_as_it_should_be_breaks_nothing() -> None:
    assert broken(good()) == set()


def test_a_task_without_an_end_is_lost() -> None:
    assert "every accepted task ends once" in broken(without(good(), "succeeded", B))


def test_an_accepted_workflow_that_nobody_stored_is_lost() -> None:
    assert "every accepted task ends once" in broken(without(good(), "submitted"))


def test_a_workflow_that_never_ends_is_lost() -> None:
    assert "every accepted task ends once" in broken(without(good(), "workflow_ended"))


def test_two_ends_are_one_too_many() -> None:
    assert "every accepted task ends once" in broken(good().ended(B, "failed", RUN_B))


def test_a_key_answered_with_two_workflows() -> None:
    story = good().tell("client", "accepted", workflow="wf-2", key="k1", tasks=[], edges=[],
                        on_cluster_lost="wait")  # fmt: skip
    assert "one key, one workflow" in broken(story)


def test_a_submission_stored_twice() -> None:
    again = good().tell("gcc", "submitted", workflow="wf-2", epoch=1)
    assert "one key, one workflow" in broken(again)


def taken_back_and_given_again(generation: int) -> Story:
    story = opening().held(A).held(B)
    story.gcc("taken_back", A, generation=1, reason="silent", cluster="east")
    story.held(A, generation)
    run_id = name_of_run(A, generation, 1)
    return finish(story.run(A, run_id).ended(A, "succeeded", run_id, generation))


def test_taking_back_is_fine_under_a_higher_generation() -> None:
    assert broken(taken_back_and_given_again(2)) == set()


def test_an_assignment_without_a_higher_generation() -> None:
    assert "generations rise" in broken(taken_back_and_given_again(1))


def test_a_move_after_the_end() -> None:
    assert "nothing after the end" in broken(
        good().gcc("held", B, generation=1, assignment="as-b-1")
    )


@pytest.mark.parametrize("left_out", ["assigned", "offered", "held"])
def test_a_step_left_out(left_out: str) -> None:
    assert "steps in order" in broken(without(good(), left_out, A))


def test_an_offer_before_a_predecessor_elsewhere_has_succeeded() -> None:
    story = opening().held(A).held(B, cluster="west", part=1)
    story.run(A, RUN_A).ended(A, "succeeded", RUN_A)
    assert "remote predecessors first" in broken(finish(story))


def test_work_given_out_after_a_cancel() -> None:
    story = opening([]).held(A).tell("client", "cancelled", workflow=FLOW).held(B)
    assert "nothing new after a cancel" in broken(story)


def test_parts_that_wait_for_each_other() -> None:
    history = good().history
    spec = {"max_attempts": 1}
    tasks = [{"name": name, **spec} for name in "abc"]
    story = Story()
    story.accepted([]).history.entries.clear()
    story.tell("client", "accepted", workflow=FLOW, key="k9", tasks=tasks, on_cluster_lost="wait",
               edges=[("a", "b"), ("b", "c")])  # fmt: skip
    for task, part in (("a", 0), ("b", 1), ("c", 0)):
        story.gcc("assigned", f"{FLOW}/{task}", generation=1, part=part, cluster="east")
    assert "quotients are acyclic" in broken(story)
    assert "quotients are acyclic" not in broken(history)


def test_a_success_in_a_run_that_never_was() -> None:
    story = opening().held(A).held(B).ended(A, "succeeded", "cb-nothing")
    assert "results really happened" in broken(finish(story))


def test_a_success_said_of_a_run_that_failed() -> None:
    story = opening().held(A).held(B).run(A, RUN_A, "failed").ended(A, "succeeded", RUN_A)
    assert "results really happened" in broken(finish(story))


def test_a_failure_after_fewer_attempts_than_allowed() -> None:
    story = opening([]).held(A).held(B).run(A, RUN_A, "failed").ended(A, "failed", RUN_A)
    assert broken(finish(story, "failed")) == {"failures have a cause"}


def test_a_failure_after_all_attempts_is_a_failure() -> None:
    story = opening([]).held(A).held(B).run(A, RUN_A, "failed")
    story.run(A, name_of_run(A, 1, 2), "failed").ended(A, "failed", RUN_A)
    assert broken(finish(story, "failed")) == set()


def test_a_cancellation_without_a_cause() -> None:
    story = opening([]).held(A).held(B).ended(A, "cancelled")
    assert "cancellations have a cause" in broken(finish(story, "failed"))


def test_a_cancellation_somebody_asked_for() -> None:
    story = opening([]).held(A).held(B).tell("client", "asked_cancel", workflow=FLOW)
    assert broken(finish(story.ended(A, "cancelled"), "cancelled")) == set()


def test_a_workflow_said_to_have_succeeded_with_a_cancelled_task() -> None:
    story = opening([]).held(A).held(B).tell("client", "asked_cancel", workflow=FLOW)
    assert "workflow states follow" in broken(finish(story.ended(A, "cancelled"), "succeeded"))


def test_a_workflow_that_ends_before_its_tasks() -> None:
    story = opening([]).held(A).held(B).run(A, RUN_A).ended(A, "succeeded", RUN_A)
    story.gcc("workflow_ended", state="succeeded")
    story.run(B, RUN_B).ended(B, "succeeded", RUN_B)
    assert "workflow states follow" in broken(story)


def test_two_runs_of_one_task_at_once() -> None:
    story = opening([]).held(A).held(B).start(A, RUN_A)
    story.run(A, name_of_run(A, 1, 2)).stop(A, RUN_A, "succeeded").ended(A, "succeeded", RUN_A)
    assert "one run at a time" in broken(finish(story))


def test_a_run_that_goes_on_after_it_was_taken_back() -> None:
    story = opening([]).held(A).held(B).start(A, RUN_A)
    story.gcc("taken_back", A, generation=1, reason="silent").stop(A, RUN_A, "stopped")
    story.held(A, 2).run(A, A2).ended(A, "succeeded", A2, 2)
    assert broken(finish(story)) == {"no run after take-back"}


def test_a_run_that_goes_on_after_its_task_was_called_cancelled() -> None:
    story = opening([]).held(A).held(B).tell("client", "asked_cancel", workflow=FLOW)
    story.start(A, RUN_A).ended(A, "cancelled", RUN_A).stop(A, RUN_A, "stopped")
    assert broken(finish(story, "cancelled")) == {"cancelled is over"}


def test_a_run_with_a_free_name() -> None:
    story = opening([]).held(A).held(B).run(A, "cb-free").ended(A, "succeeded", "cb-free")
    assert "run ids follow the rule" in broken(finish(story))


def test_a_run_executed_twice() -> None:
    story = opening([]).held(A).held(B).run(A, RUN_A).run(A, RUN_A).ended(A, "succeeded", RUN_A)
    assert "run ids follow the rule" in broken(finish(story))


@pytest.mark.parametrize("more", [{"cpu_milli": 1500}, {"memory_mib": 5}, {"gpus": [0]}])
def test_a_node_with_more_than_it_has(more: dict[str, object]) -> None:
    story = opening([]).held(A).held(B).start(A, RUN_A, **more).start(B, RUN_B, **more)
    story.stop(A, RUN_A, "succeeded").stop(B, RUN_B, "succeeded")
    story.ended(A, "succeeded", RUN_A).ended(B, "succeeded", RUN_B)
    story.gcc("workflow_ended", state="succeeded")
    assert broken(story) == {"nodes hold what they have"}


def test_a_run_before_its_predecessor_has_succeeded() -> None:
    story = opening().held(A).held(B).start(A, RUN_A).run(B, RUN_B).stop(A, RUN_A, "succeeded")
    story.ended(A, "succeeded", RUN_A).ended(B, "succeeded", RUN_B)
    assert broken(story.gcc("workflow_ended", state="succeeded")) == {"predecessors first"}


def test_a_run_that_was_never_confirmed() -> None:
    story = opening([]).run(A, RUN_A).held(A).held(B).ended(A, "succeeded", RUN_A)
    assert broken(finish(story)) == {"only confirmed work starts"}


def measured(runs_j: float) -> Story:
    story = opening([]).held(A).held(B).run(A, RUN_A)
    story.lca("ended", A, run_id=RUN_A, energy_j=100.0).ended(A, "succeeded", RUN_A)
    about = {"agent": "lca:east", "runs_j": runs_j}
    return finish(story).tell("world", "metered", cluster="east", **about)


def test_energy_that_adds_up() -> None:
    assert broken(measured(100.0)) == set()


def test_energy_that_does_not_add_up() -> None:
    assert broken(measured(360.0)) == {"energy adds up"}


def test_a_write_under_an_old_epoch() -> None:
    assert "epochs rise" in broken(good().gcc("elected", epoch=2).gcc("cluster_lost", epoch=1))


def test_an_election_that_does_not_raise_the_epoch() -> None:
    assert "epochs rise" in broken(good().gcc("elected", epoch=1))


def test_an_agent_that_believes_an_old_leader() -> None:
    story = good().lca("received", A, assignment="x", generation=1, epoch=3)
    assert "epochs rise" in broken(story.lca("received", A, assignment="y", generation=1, epoch=2))


def test_held_before_any_agent_has_stored_it() -> None:
    assert "stored before held" in broken(without(good(), "received"))


def test_a_window_that_is_too_full() -> None:
    story = good()
    for i in range(5):
        story.gcc("offered", f"wf-9/t{i}", cluster="east", generation=1)
    assert "windows are kept" in broken(story)


def test_a_stampede() -> None:
    story = good()
    for cluster in ("east", "west"):
        story.tell("network", "heard", cluster=cluster, identity=cluster)
    story.at_s += 60.0
    story.gcc("taken_back", A, generation=1, reason="cluster east is lost", cluster="east")
    assert "no stampede" in broken(story)


@pytest.mark.parametrize(("back", "breaks"), [(False, True), (True, False)])
def test_a_stampede_by_the_controllers_own_word(back: bool, breaks: bool) -> None:
    story = good()
    for cluster in ("east", "west"):
        story.tell("network", "heard", cluster=cluster, identity=cluster)
    story.at_s += 28.0
    story.gcc("cluster_lost", cluster="east").gcc("cluster_lost", cluster="west")
    if back:
        story.gcc("cluster_back", cluster="west")
    story.gcc("taken_back", A, generation=1, reason="cluster east is lost", cluster="east")
    assert ("no stampede" in broken(story)) is breaks


def test_two_agents_with_one_id() -> None:
    story = good().tell("network", "heard", cluster="east", identity="one")
    assert "one identity at a time" in broken(
        story.tell("network", "heard", cluster="east", identity="two")
    )


def test_reports_confirmed_backwards() -> None:
    story = good().lca("reported", seq=5).lca("reported", seq=4)
    assert "reports are kept" in broken(story)


def test_a_process_that_broke_by_itself() -> None:
    story = good().tell("faults", "internal_error", problem="KeyError: 'x'")
    assert "nothing broke by itself" in broken(story)
