"""Scenarios of episodes: seeded, within what was asked for, and refused where that is senseless."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cerebrum import traces
from cerebrum.learn.generated import Generated
from cerebrum.learn.sources import Carbon, Given, Windows, holds, named, rows_of
from cerebrum.model.errors import ConfigError, TraceError
from cerebrum.model.scenario import Scenario
from tests.engine.stories import node, scenario, task


def load_of(story: Scenario) -> float:
    """Mean use of the scarcest resource if nothing had to wait."""
    t = story.tasks
    span = float(t.submit_s[-1] - t.submit_s[0]) * len(t) / max(1, len(t) - 1)
    uses = []
    for name in ("cpu_milli", "memory_mib", "gpu_milli_total"):
        whole = sum(getattr(n.capacity, name) for n in story.cluster)
        if whole:
            uses.append(float((t.request(name) * t.duration_s).sum()) / span / whole)
    return max(uses)


def same(a: Scenario, b: Scenario) -> bool:
    columns = ("submit_s", "duration_s", "class_id")
    equal = all(np.array_equal(getattr(a.tasks, n), getattr(b.tasks, n)) for n in columns)
    described = [(s.cluster, s.node_events, s.tasks.classes) for s in (a, b)]
    return equal and described[0] == described[1]


def test_number_and_seed_decide_a_generated_scenario():
    source = Generated(nodes=(2, 9), tasks=20, changes=5)
    assert same(source.scenario(3), source.scenario(3))
    assert not same(source.scenario(3), source.scenario(4))
    assert not same(source.scenario(3), replace(source, seed=1).scenario(3))


def test_generated_scenarios_are_as_large_and_as_loaded_as_asked():
    source = Generated(nodes=(2, 9), tasks=2000, load=1.3, changes=4)
    stories = [source.scenario(number) for number in range(12)]
    sizes = {len(story.cluster) for story in stories}
    assert sizes <= set(range(2, 10))
    assert len(sizes) > 3
    assert all(rows_of(story) <= source.rows for story in stories)
    assert np.mean([load_of(story) for story in stories]) == pytest.approx(1.3, rel=0.15)
    for story in stories:
        assert all(any(holds(n, c) for n in story.cluster) for c in story.tasks.classes)


def test_endless_tasks_come_one_a_second():
    story = Generated(tasks=5, endless=True).scenario(0)
    assert story.tasks.submit_s.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert np.isinf(story.tasks.duration_s).all()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"nodes": (0, 4)}, "nodes"),
        ({"nodes": (5, 4)}, "nodes"),
        ({"tasks": 0}, "tasks"),
        ({"load": float("nan")}, "load"),
        ({"gpu_tasks": 1.5}, "gpu_tasks"),
        ({"mean_s": -1.0}, "mean_s"),
        ({"changes": -1}, "changes"),
        ({"variants": 0}, "variants"),
    ],
)
def test_senseless_parameters_are_named(wrong, field):
    with pytest.raises(ConfigError, match=f"{field}.*: expected"):
        Generated(**wrong)


def test_a_window_is_a_piece_of_the_trace_in_its_order():
    base = traces.read("synthetic:nodes=6,tasks=300,seed=1")
    source = Windows(base, tasks=50)
    story = source.scenario(7)
    first = base.tasks.names.index(story.tasks.names[0])
    assert list(story.tasks.names) == list(base.tasks.names[first : first + 50])
    gaps = np.diff(base.tasks.submit_s[first : first + 50])
    np.testing.assert_allclose(np.diff(story.tasks.submit_s), gaps)
    assert story.tasks.submit_s[0] == 0.0
    assert same(story, source.scenario(7))
    assert not same(story, source.scenario(8))


def test_a_window_on_a_few_nodes_is_squeezed_to_the_load_and_leaves_out_what_is_too_large():
    base = traces.read("openb-like:nodes=100,departures=true,seed=2")
    source = Windows(base, tasks=400, nodes=8, load=1.2)
    stories = [source.scenario(number) for number in range(4)]
    for story in stories:
        assert len(story.cluster) == 8
        assert all(n in base.cluster.nodes for n in story.cluster)
        assert load_of(story) == pytest.approx(1.2)
        assert all(any(holds(n, t.task_class) for n in story.cluster) for t in story.tasks)
        assert story.typical == base.typical
    assert len({tuple(n.name for n in story.cluster) for story in stories}) == 4


def test_a_load_needs_tasks_that_end():
    endless = scenario([node("a")], [task("t"), task("u")])
    assert len(Windows(endless, tasks=2).scenario(0).tasks) == 2
    with pytest.raises(ConfigError, match="load: needs tasks that end"):
        Windows(endless, tasks=2, load=1.0)
    with pytest.raises(ConfigError, match=r"tasks: expected 1\.\.2, got 3"):
        Windows(endless, tasks=3)
    with pytest.raises(ConfigError, match=r"nodes: expected 1\.\.1, got 2"):
        Windows(endless, tasks=1, nodes=2)


def test_names_are_those_of_simulate():
    source = named("openb-like:nodes=5,tasks=10")
    assert (source.variants, source.rows) == (1, 5)
    with pytest.raises(TraceError, match="no such file"):
        named("nowhere.csv")


def test_given_scenarios_say_how_many_rows_they_need():
    stories = [Generated(nodes=(n, n), tasks=3).scenario(0) for n in (2, 5)]
    assert Given(stories).rows == 5


@pytest.mark.parametrize(
    ("times", "values"),
    [([], []), ([0.0], [1.0, 2.0]), ([0.0, 0.0], [1.0, 1.0]), ([0.0], [-1.0]), ([0.0], [np.nan])],
)
def test_carbon_intensity_is_a_series(times, values):
    with pytest.raises(ConfigError, match="carbon: expected"):
        Carbon(np.array(times, float), np.array(values, float))
