"""Fragmentation in a live cluster: what is typical is learnt from the pods there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cerebrum import traces
from cerebrum.executors.kubernetes._mirror_nodes import Nodes
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.mirror import Mirror
from cerebrum.executors.kubernetes.recorded import RecordedEngine, replay
from cerebrum.executors.kubernetes.typical import TypicalPods
from cerebrum.executors.simulated import Simulation
from cerebrum.model.decisions import Bind, Wait
from cerebrum.model.events import EventKind
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task, TaskTable
from cerebrum.policies import get_policy
from cerebrum.traces.synthetic import openb_like

POLICY = "fgd"


def facts(task: Task) -> PodFacts:
    return PodFacts("default", task.name, f"uid-{task.name}", "cerebrum", task.task_class)


def live(scenario: Scenario) -> tuple[dict[str, str], list[list[Any]], Mirror]:
    """Where a mirror over the policy puts the tasks, all of which wait from the start."""
    journal: list[list[Any]] = []
    ticks = iter(range(10**9))
    recorded = RecordedEngine(
        scenario.cluster.nodes, get_policy(POLICY), lambda: float(next(ticks)), 0, journal.append
    )
    mirror = Mirror(recorded, Nodes(recorded), lambda pod: True)
    for task in scenario.tasks:
        mirror.observe(facts(task))
    TypicalPods(mirror).renew()
    mirror.flush()
    placed: dict[str, str] = {}
    while actions := recorded.decide().actions:
        for action in actions:
            if isinstance(action, Bind):
                held = mirror.assume(action.task, action.row, action.gpus, action.cache_ways)
                placed[held.pod.name] = held.node
            elif isinstance(action, Wait):
                recorded.tell(EventKind.UNSCHEDULABLE, action.task, reason=action.reason)
    return placed, journal, mirror


def simulated(scenario: Scenario) -> dict[str, str]:
    """Where the simulation of the same puts them: all are there from the start, none ends."""
    tasks = [Task(task.name, task.task_class, submit_s=0.0) for task in scenario.tasks]
    simulation = Simulation(Scenario(scenario.cluster, TaskTable.from_tasks(tasks)))
    simulation.run(get_policy(POLICY))
    row = simulation.engine.snapshot().tasks.row
    names = scenario.cluster.nodes
    return {task.name: names[row[i]].name for i, task in enumerate(tasks) if row[i] >= 0}


def compare(scenario: Scenario) -> None:
    placed, journal, mirror = live(scenario)
    assert placed == simulated(scenario)
    assert replay(journal, get_policy(POLICY)) == []
    assert mirror.overcommitted() == []
    fragmentation = mirror.recorded.engine.snapshot().nodes["fragmentation"]
    assert np.any(fragmentation > 0), "it counts nothing"


def test_live_decisions_are_those_of_the_simulation() -> None:
    compare(openb_like(nodes=40, tasks=300, seed=3))


@pytest.mark.slow
def test_openb_is_packed_live_as_in_the_simulation(shared_data: Path) -> None:
    compare(traces.read(shared_data / "openb"))


def test_what_is_typical_changes_with_the_pods() -> None:
    scenario = openb_like(nodes=4, tasks=60, seed=1)
    _, journal, mirror = live(scenario)
    typical = TypicalPods(mirror)
    typical.renew()
    told = [entry for entry in journal if entry[0] == "typical"]
    typical.renew()
    assert [entry for entry in journal if entry[0] == "typical"] == told, "nothing changed"
    for held in list(mirror.held.values())[:50]:
        mirror.forget(held.pod.uid)
    typical.renew()
    assert len([entry for entry in journal if entry[0] == "typical"]) == len(told) + 1
    assert replay(journal, get_policy(POLICY)) == []
