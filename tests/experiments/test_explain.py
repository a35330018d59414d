"""Decisions explained from the log are the decisions that were taken."""

from __future__ import annotations

import pytest

import cerebrum
from cerebrum.experiments.explain import (
    decisions_of,
    explain,
    find_node,
    find_task,
    history_of,
    interesting,
    most_telling,
    tasks_on,
)
from cerebrum.model.errors import NotFound
from tests.engine.stories import node, scenario, task


@pytest.mark.parametrize("policy", ["fgd", "best-fit", "random", "kubernetes-default"])
def test_asked_again_the_policy_gives_every_logged_node(policy: str) -> None:
    run = cerebrum.simulate("openb-like:nodes=12", policy, seed=5)
    decided = explain(run, run.decisions["event"])
    assert len(decided) == len(run.decisions)
    assert [d.task for d in decided if not d.agrees] == []
    for one in decided:
        assert (one.action == "bind") == (one.scored > 0)
        assert one.summary.startswith(f"{one.scored}/12 nodes are available")


def test_a_full_node_and_a_wrong_model_are_told_apart() -> None:
    nodes = [node("full", 2), node("wrong", 8, gpus=1, model="T4"), node("right", 8, gpus=1)]
    tasks = [
        task("filler", 2, at=0),
        task("picky", 2, at=1, gpus=1, models=("A100",)),
        task("late", 2, at=2, gpus=1, models=("A100",)),
    ]
    run = cerebrum.simulate(scenario(nodes, tasks), "first-fit")
    (picky,) = explain(run, decisions_of(run, find_task(run, "picky")))
    assert (picky.action, picky.node, picky.gpus) == ("bind", "right", "0")
    assert picky.refused == {
        "Insufficient GPUs": 1,
        "node(s) had another GPU model": 2,
        "Insufficient cpu": 1,
    }
    assert [score["node"] for score in picky.scores] == ["right"]
    (late,) = explain(run, decisions_of(run, find_task(run, "late")))
    assert late.action == "wait"
    assert late.node == ""
    assert late.summary.startswith("0/3 nodes are available: ")


def test_the_table_shows_the_best_and_one_node_for_each_lower_total() -> None:
    nodes = [node(f"n{i}", cpu) for i, cpu in enumerate([4, 4, 4, 4, 8, 16])]
    run = cerebrum.simulate(scenario(nodes, [task("t", 1)]), "best-fit")
    (one,) = explain(run, decisions_of(run, 0), top=4)
    totals = [score["total"] for score in one.scores]
    assert len(totals) == 4
    assert totals == sorted(totals, reverse=True)
    assert one.scores[0]["node"] == one.node == "n0"
    assert len(set(totals)) == 3


def test_a_policy_that_cannot_explain_leaves_the_filters() -> None:
    run = cerebrum.simulate(scenario([node("n", 2)], [task("a", 2, runs=5), task("b", 2)]), "sjf")
    (first, *_) = explain(run, decisions_of(run, 0))
    assert first.refused == {}
    if first.note:
        assert "filters only" in first.note


def test_a_choice_of_decisions_is_bounded_and_has_refusals() -> None:
    run = cerebrum.simulate("openb-like:nodes=20", "fgd", seed=1)
    chosen = interesting(run, 20)
    assert 0 < len(chosen) <= 20
    decided = explain(run, chosen)
    assert {d.action for d in decided} == {"bind", "wait"}
    telling = most_telling(decided)
    assert telling is not None
    assert telling.action == "bind"


def test_histories_of_tasks_and_nodes() -> None:
    tasks = [task("a", 2, runs=5), task("b", 2, at=1, runs=3)]
    run = cerebrum.simulate(scenario([node("n", 2)], tasks), "first-fit")
    told = [(h["time_s"], h["event"], h["node"]) for h in history_of(run, 1)]
    assert told == [
        (1.0, "submitted", ""), (1.0, "unschedulable", ""), (5.0, "bound", "n"),
        (5.0, "started", "n"), (8.0, "finished", "n"),
    ]  # fmt: skip
    assert tasks_on(run, find_node(run, "n")) == [
        {"task": "a", "start_s": 0.0, "end_s": 5.0, "gpus": ""},
        {"task": "b", "start_s": 5.0, "end_s": 8.0, "gpus": ""},
    ]
    with pytest.raises(NotFound, match="no task 'c'"):
        find_task(run, "c")
    with pytest.raises(NotFound, match="no node 'm'"):
        find_node(run, "m")
