"""Compiled scores against their naive twins, on nodes in a thousand random states."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.engine.engine import Engine
from cerebrum.engine.incremental import Incremental, Rules, Weighted
from cerebrum.model.cluster import Cluster, Node, PowerModel
from cerebrum.model.events import Event, EventKind
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.policies.scorers import get_scorer
from tests.naive import scores
from tests.naive.scores import Ask, Look

MODELS = ("T4", "V100", "A100")
WATTS = {"T4": (10.0, 70.0), "V100": (30.0, 300.0), "A100": (50.0, 400.0)}
TWINS = {
    "best-fit": scores.best_fit,
    "worst-fit": scores.worst_fit,
    "dot-product": scores.dot_product,
    "gpu-clustering": scores.gpu_clustering,
    "gpu-packing": scores.gpu_packing,
    "pwr": scores.pwr,
    "least-allocated": scores.least_allocated,
    "most-allocated": scores.most_allocated,
    "balanced-allocation": scores.balanced_allocation,
}
TASKS_OF_THE_TRACE = 5000


class World:
    """Random nodes filled by random tasks, and what the naive twin knows of them."""

    def __init__(self, seed: int, rows: int = 90) -> None:
        rng = np.random.default_rng(seed)
        self.asks = [self.ask(rng) for _ in range(40)]
        kinds = [
            TaskClass(Resources(a.cpu, a.memory, a.gpus, a.milli), a.models) for a in self.asks
        ]
        chosen = np.concatenate([rng.integers(0, 40, 600), np.arange(40)])
        tasks = TaskTable.build([f"t{i}" for i in range(640)], kinds, chosen, np.zeros(640))
        typical = [(kinds[i], float(rng.integers(1, 400))) for i in range(25)]
        self.typical = [
            ((a.cpu, a.milli, a.gpus, a.models), int(n))
            for a, (_, n) in zip(self.asks[:25], typical, strict=True)
        ]
        self.nodes = [self.node(rng, i) for i in range(rows)]
        self.looks = [self.look(node) for node in self.nodes]
        self.engine = Engine(
            Scenario(Cluster(tuple(self.nodes)), tasks, typical=tuple(typical)), key=1
        )
        self.fill(rng, chosen[:600])

    def ask(self, rng) -> Ask:
        gpus = int(rng.choice([0, 1, 1, 1, 2, 4]))
        milli = int(rng.choice([100, 250, 500, 700, 1000])) if gpus == 1 else 1000 if gpus else 0
        models = ("V100", "A100") if gpus and rng.random() < 0.2 else ()
        return Ask(
            int(rng.integers(1, 9)) * 1000, int(rng.integers(0, 9)) * 1024, gpus, milli, models
        )

    def node(self, rng, i: int) -> Node:
        model, gpus = str(rng.choice(MODELS)), int(rng.choice([1, 2, 4, 8]))
        cores = int(rng.choice([16, 32, 64, 96]))
        power = PowerModel(15.0, 120.0, 32_000, *WATTS[model])
        return Node(f"n{i}", Resources(cores * 1000, 131072, gpus, 1000), model, power=power)

    def look(self, node: Node) -> Look:
        c, p = node.capacity, node.power
        watts = (p.cpu_idle_w, p.cpu_full_w, p.gpu_idle_w, p.gpu_full_w)
        left = (1000,) * c.gpu_count
        return Look(
            c.cpu_milli, c.cpu_milli, c.memory_mib, c.memory_mib, left, node.gpu_model, {}, watts
        )

    def fill(self, rng, chosen) -> None:
        for task, kind in enumerate(chosen):
            ask, row = self.asks[kind], int(rng.integers(len(self.nodes)))
            if not scores.fits(self.looks[row], ask):
                continue
            options = scores.ways(self.looks[row], ask)
            gpus = options[int(rng.integers(len(options)))]
            self.engine.apply(Event(0.0, EventKind.SUBMITTED, task))
            mask = sum(1 << g for g in gpus)
            self.engine.apply(Event(0.0, EventKind.BOUND, task, row, mask))
            after = scores.put(self.looks[row], ask, gpus)
            if ask.gpus:
                after.kinds[ask.kind] = after.kinds.get(ask.kind, 0) + 1
            self.looks[row] = after

    def raw(self, scorer: str, kind: int, gpus: str) -> dict[int, float]:
        """Truncated score by row, for the nodes the class fits on."""
        policy = Incremental(scorer, (Weighted(get_scorer(scorer), truncate=True),), Rules(gpus))
        task = 600 + kind
        rows = policy.explain(self.engine.snapshot(), task).rows
        return {row.row: row.raw[0] for row in rows if not row.refusals}


@pytest.fixture(scope="module", params=range(3))
def world(request) -> World:
    return World(request.param)


@pytest.mark.parametrize("name", TWINS)
def test_a_score_equals_its_naive_twin(world: World, name: str) -> None:
    compared = 0
    for kind, ask in enumerate(world.asks):
        for row, got in world.raw(name, kind, "best").items():
            assert got == TWINS[name](world.looks[row], ask), (ask, world.looks[row])
            compared += 1
    assert compared > 500


@pytest.mark.parametrize("tasks", [0, TASKS_OF_THE_TRACE])
def test_fgd_equals_its_naive_twin(world: World, tasks: int) -> None:
    name, compared = f"fgd-original:{tasks}" if tasks else "fgd", 0
    for kind, ask in enumerate(world.asks):
        for row, got in world.raw(name, kind, "score").items():
            want = scores.fgd(world.looks[row], ask, world.typical, tasks)
            assert got == want, (ask, world.looks[row])
            compared += 1
    assert compared > 500


def test_nodes_the_twin_finds_too_small_are_refused(world: World) -> None:
    for kind, ask in enumerate(world.asks):
        fitting = {row for row, look in enumerate(world.looks) if scores.fits(look, ask)}
        assert set(world.raw("best-fit", kind, "best")) == fitting


def test_fragmentation_is_that_of_the_paper(world: World) -> None:
    rows = world.engine.snapshot().nodes
    for row, look in enumerate(world.looks):
        want = float(scores.fragmentation(look, world.typical))
        assert rows[row]["fragmentation"] == pytest.approx(want, rel=1e-12)
