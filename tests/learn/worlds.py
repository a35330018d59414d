"""Scenarios for environments, a plain encoder, and ways to drive a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from cerebrum.engine.log import EventLog
from cerebrum.executors.simulated import Simulation
from cerebrum.learn.clusters import Clusters
from cerebrum.learn.encoders import Encoder
from cerebrum.learn.sources import Given
from cerebrum.model.cluster import PowerModel
from cerebrum.model.decisions import Bind, Decision, Reject, Wait
from cerebrum.model.errors import InputError
from cerebrum.model.events import EventKind
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskTable
from cerebrum.policies.learned.schema import Feature, Schema
from tests.engine.test_twins import restless_stories

SCHEMA = Schema(
    "plain",
    1,
    (
        Feature("cpu_free", "cores", 1.0, "free now"),
        Feature("cpu_left", "cores", 1.0, "free with the task placed"),
        Feature("gpu_left", "GPU", 1.0, "free with the task placed"),
        Feature("task_cpu", "cores", 1.0, "what the task asks for"),
        Feature("fragmentation", "GPU/1000", 1.0, "F_n now"),
    ),
)


def fill(before, after, task, typical, out):
    out[0] = before.cpu_free / 1000.0
    out[1] = after.cpu_free / 1000.0
    out[2] = after.gpu_free_sum / 1000.0
    out[3] = task.cpu_milli / 1000.0
    out[4] = before.fragmentation


PLAIN = Encoder(SCHEMA, fill)
EVERYTHING = {"fragmentation": 1.0, "balance": 2.0, "power": 3.0, "wait": 4.0, "completion": 5.0,
              "rejected": 6.0}  # fmt: skip

Choose = Callable[[Clusters], np.ndarray]


def without_gangs(story: Scenario) -> Scenario:
    """The same tasks, each for itself, on nodes that draw power."""
    tasks = [replace(task, job="") for task in story.tasks]
    watts = PowerModel(10.0, 40.0, 2000, 5.0, 50.0)
    nodes = tuple(replace(node, power=watts) for node in story.cluster.nodes)
    cluster = replace(story.cluster, nodes=nodes)
    return replace(story, cluster=cluster, tasks=TaskTable.from_tasks(tasks))


worlds: st.SearchStrategy[Scenario] = restless_stories().map(without_gangs)
"""Small clusters whose nodes come, go, fail and change while tasks arrive and end."""


@st.composite
def running_worlds(draw) -> Scenario:
    """Worlds in which some tasks run from the start, whether there is room or not."""
    story = draw(worlds)
    bound = {
        task.name: (draw(st.sampled_from(story.cluster.nodes)).name, 0)
        for task in story.tasks
        if draw(st.integers(0, 3)) == 0
    }
    return replace(story, bound=bound, node_events=())


def randomly(seed: int, passing: float = 0.2) -> Choose:
    """Any feasible node; now and then none."""
    rng = np.random.default_rng(seed)

    def choose(clusters: Clusters) -> np.ndarray:
        draw = np.where(clusters.mask, rng.random(clusters.mask.shape), -1.0)
        return np.where(rng.random(clusters.envs) < passing, -1, draw.argmax(1))

    return choose


def one(story: Scenario, **settings) -> Clusters | None:
    """A batch of one cluster that keeps its log; None if no task ever fits anywhere."""
    settings = {"encoder": PLAIN, "reward": EVERYTHING, "keep_log": True, **settings}
    carbon = settings.pop("carbon", None)
    try:
        return Clusters(Given([story], carbon), 1, **settings)
    except InputError as problem:
        if "had no task that fits" not in str(problem):
            raise
        return None


def play(clusters: Clusters, choose: Choose) -> tuple[EventLog, np.ndarray, float]:
    """One episode of a batch of one: its log, the sum of its terms, of its rewards."""
    engine = clusters.episode(0).engine
    terms, total, over = np.zeros(clusters.terms.shape[1]), 0.0, False
    while not over:
        rewards, done = clusters.step(choose(clusters))
        terms += clusters.terms[0]
        total += float(rewards[0])
        over = bool(done[0])
    return engine.log, terms, total


def simulated_again(story: Scenario, log: EventLog) -> EventLog:
    """The log of the simulated executor when a policy takes the very decisions of `log`."""
    kinds = (EventKind.BOUND, EventKind.REJECTED, EventKind.UNSCHEDULABLE)
    decisions = [row for row in log.of(*kinds) if row["value"] == 0]  # 1: it ran from the start
    simulation = Simulation(story)
    while (snapshot := simulation.next_snapshot()) is not None:
        while decisions and _due(decisions[0], snapshot, simulation.engine.now_s):
            snapshot = simulation.act(Decision((_action(decisions.pop(0)),)))
    assert not decisions
    return simulation.engine.log


def _due(row, snapshot, now_s: float) -> bool:
    return row["time_s"] == now_s and int(row["subject"]) in set(snapshot.pending.tolist())


def _action(row):
    task, reason = int(row["subject"]), int(row["reason"])
    if row["kind"] == EventKind.BOUND:
        return Bind(task, int(row["row"]), int(row["gpus"]), int(row["cache_ways"]))
    return Reject(task, reason) if row["kind"] == EventKind.REJECTED else Wait(task, reason)
