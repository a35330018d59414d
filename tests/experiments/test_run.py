"""A run: what it tells, that it is kept whole, and that it comes back the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cerebrum
from cerebrum.executors.simulated import Simulation
from cerebrum.experiments import run as runs
from cerebrum.experiments.simulate import find_scenario
from cerebrum.model.errors import ConfigError, NotFound, TraceError, UnknownName
from cerebrum.model.scenario import NodeChange, NodeEvent
from tests.engine.stories import node, scenario, task

SMALL = "openb-like:nodes=20"


@pytest.fixture(scope="module")
def small() -> runs.Run:
    return cerebrum.simulate(SMALL, "fgd", seed=3)


def test_names_and_objects_give_the_same_run(small: runs.Run) -> None:
    again = cerebrum.simulate(find_scenario(SMALL, 3), cerebrum.get_policy("fgd"), 3)
    assert again.digest == small.digest
    assert cerebrum.simulate(SMALL, "fgd", seed=4).digest != small.digest


def test_stepping_and_replaying_give_the_digest_of_the_run(small: runs.Run) -> None:
    simulation = Simulation(small.scenario, np.random.default_rng(3))
    policy = cerebrum.get_policy("fgd")
    while (snapshot := simulation.next_snapshot()) is not None:
        while decision := policy.decide(snapshot):
            snapshot = simulation.act(decision)
    assert simulation.engine.log.digest == small.digest
    from cerebrum.engine.engine import Engine

    engine = Engine(small.scenario, small.meta.key)
    engine.replay(small.log)
    assert engine.log.digest == small.digest


def test_frames_have_a_row_for_each_thing(small: runs.Run) -> None:
    assert len(small.tasks) == len(small.scenario.tasks)
    assert len(small.nodes) == 20
    assert len(small.events) == len(small.log)
    started = small.tasks.filter(pl.col("node") != "")
    assert (small.decisions["action"] == "bind").sum() == len(started)
    assert small.decisions.filter(pl.col("action") == "wait")["reason"].str.len_chars().min() > 0
    assert small.summary["running"] == len(started)
    assert small.nodes["tasks"].sum() == len(started)


def test_saved_and_loaded_it_is_the_same(small: runs.Run, tmp_path: Path) -> None:
    saved = small.save(tmp_path)
    folder = tmp_path / saved.id
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "run.json", "events.parquet", "tasks.parquet", "nodes.parquet", "scenario.zip",
        "report.html",
    }  # fmt: skip
    loaded = cerebrum.load(folder)
    assert loaded.digest == small.digest
    assert loaded.meta == small.meta
    assert loaded.summary == small.summary
    assert loaded.tasks.equals(small.tasks)
    assert cerebrum.simulate(loaded.scenario, "fgd", seed=3).digest == small.digest
    record = json.loads((folder / "run.json").read_text())
    assert record["seed"] == 3
    assert record["versions"]["cerebrum"]


def test_a_run_with_everything_comes_back(tmp_path: Path) -> None:
    story = scenario(
        [node("x", 4, labels={"zone": "a"}), node("y", 4)],
        [task("g1", 2, runs=5, job="g"), task("g2", 2, runs=5, job="g"), task("late", 3, at=2)],
        gangs={"g": 2},
        node_events=(
            NodeEvent(3.0, NodeChange.JOIN, "z", node("z", 8)),
            NodeEvent(4.0, NodeChange.FAIL, "x"),
        ),
    )
    saved = cerebrum.simulate(story, "first-fit", seed=0).save(tmp_path, report=False)
    loaded = cerebrum.load(tmp_path / saved.id)
    assert loaded.scenario.cluster == story.cluster
    assert loaded.scenario.node_events == story.node_events
    assert loaded.scenario.tasks.classes == story.tasks.classes
    assert loaded.scenario.tasks.jobs == story.tasks.jobs
    assert list(loaded.scenario.tasks.names) == list(story.tasks.names)
    assert cerebrum.simulate(loaded.scenario, "first-fit", seed=0).digest == saved.digest


def test_the_same_name_is_never_taken_twice(small: runs.Run, tmp_path: Path) -> None:
    first, second = (small.save(tmp_path, report=False) for _ in range(2))
    assert first.id != second.id
    assert [r["id"] for r in runs.list_runs(tmp_path)] == [first.id, second.id]
    assert runs.find_run("latest", tmp_path) == tmp_path / second.id
    assert runs.find_run(second.id, tmp_path) == tmp_path / second.id


def test_a_failed_save_leaves_nothing(
    small: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cerebrum.experiments.report.write_report", full)
    with pytest.raises(OSError, match="No space"):
        small.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_found_and_named(small: runs.Run, tmp_path: Path) -> None:
    saved = small.save(tmp_path, report=False)
    folder = tmp_path / saved.id
    other = cerebrum.simulate(SMALL, "random", seed=3)
    other.log.write(folder / "events.parquet")
    with pytest.raises(TraceError, match=r"events\.parquet.*not the one"):
        cerebrum.load(folder)
    (folder / "run.json").write_text('{"policy": 3}')
    with pytest.raises(TraceError, match=r"run\.json: policy"):
        cerebrum.load(folder)
    with pytest.raises(NotFound):
        cerebrum.load(tmp_path / "nothing")


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed"):
        cerebrum.simulate(SMALL, "fgd", seed=seed)  # type: ignore[arg-type]


def test_unknown_names_come_with_a_hint() -> None:
    with pytest.raises(UnknownName, match="did you mean 'best-fit'"):
        cerebrum.simulate(SMALL, "best-fti")


def test_an_empty_scenario_is_a_run_too(tmp_path: Path) -> None:
    run = cerebrum.simulate(scenario([node("n")], []), "fgd").save(tmp_path)
    assert run.summary["tasks"] == 0
    assert len(run.tasks) == 0
    assert cerebrum.load(tmp_path / run.id).summary == run.summary
