"""Our own tables hold every scenario without loss, and are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum import traces
from cerebrum.model.cluster import Cluster, Node, PowerModel, Taint
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import TraceError
from cerebrum.model.peers import HostPort, PeerRules, PeerSelector, PeerTerm, Spread, TaskLabels
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import NodeChange, NodeEvent, ReadReport, Scenario
from cerebrum.model.tasks import Job, TaskClass, TaskTable
from cerebrum.traces import table
from cerebrum.traces.synthetic import openb_like, plain

COLUMNS = (
    "class_id", "submit_s", "duration_s", "requested_s", "priority", "job_id", "preemptible",
    "labels_id",
)  # fmt: skip
FIELDS = (
    "cluster", "name", "node_events", "typical", "max_attempts", "source", "profile",
    "start_unix_s", "bound",
)  # fmt: skip

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
amounts = st.integers(0, 2**53 - 1)
positive = st.floats(1e-300, 1e300)
times = st.floats(0, 1e300)


@st.composite
def resources(draw: st.DrawFn, node: bool = False) -> Resources:
    gpus = draw(st.integers(0, 16))
    milli = 0 if not gpus else 1000 if node or gpus > 1 else draw(st.integers(1, 1000))
    extended = draw(st.dictionaries(names, st.integers(1, 2**53 - 1), max_size=3))
    return Resources(
        draw(amounts), draw(amounts), gpus, milli, draw(amounts), tuple(sorted(extended.items()))
    )


taints = st.builds(Taint, names, texts, st.sampled_from(["NoSchedule", "NoExecute"]))
powers = st.builds(PowerModel, times, times, st.integers(1, 10**6), times, times)
nodes = st.builds(
    Node,
    name=names,
    capacity=resources(node=True),
    gpu_model=texts,
    slots=st.integers(0, 32_767),
    labels=st.dictionaries(texts, texts, max_size=3),
    taints=st.lists(taints, max_size=2).map(tuple),
    power=st.none() | powers,
    speed=positive,
    schedulable=st.booleans(),
)
requirements = st.one_of(
    st.builds(
        Requirement, texts, st.just("In"), st.lists(texts, min_size=1, max_size=2).map(tuple)
    ),
    st.builds(Requirement, texts, st.just("Exists")),
    st.builds(Requirement, texts, st.just("Gt"), st.integers().map(lambda n: (str(n),))),
)
terms = st.builds(Term, *[st.lists(requirements, max_size=2).map(tuple)] * 2)
tolerations = st.builds(Toleration, texts, st.sampled_from(["Equal", "Exists"]), texts, texts)
constraints = st.builds(
    Constraints,
    selector=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    required=st.lists(terms, max_size=2).map(tuple),
    preferred=st.lists(st.tuples(st.integers(1, 100), terms), max_size=2).map(tuple),
    tolerations=st.lists(tolerations, max_size=2).map(tuple),
    volumes=st.lists(st.lists(terms, max_size=2).map(tuple), max_size=2).map(tuple),
)
some_requirements = st.lists(requirements, max_size=2).map(tuple)
selectors = st.builds(
    PeerSelector,
    some_requirements,
    st.lists(texts, max_size=2).map(tuple),
    st.none() | some_requirements,
    st.booleans(),
)
peer_terms = st.builds(PeerTerm, selectors, names)
whole = st.integers(1, 2**31 - 1)
spreads = st.builds(Spread, selectors, names, whole, whole, st.booleans(), st.booleans())
ports = st.builds(HostPort, st.integers(1, 65535), st.sampled_from(["TCP", "UDP"]), texts)
wishes = st.lists(st.tuples(st.integers(1, 100), peer_terms), max_size=1).map(tuple)
rules = st.builds(
    PeerRules,
    *[
        st.lists(one, max_size=2).map(tuple)
        for one in (peer_terms, peer_terms, spreads, ports, texts)
    ],
    wishes,
    wishes,
    st.lists(spreads, max_size=1).map(tuple),
)
pairs = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)
labels = st.builds(TaskLabels, texts, pairs, pairs)
classes = st.builds(
    TaskClass,
    resources(),
    st.lists(texts, max_size=2).map(tuple),
    constraints,
    st.just(PeerRules()) | rules,
)
events = st.one_of(
    st.builds(NodeEvent, times, st.sampled_from(list(NodeChange)[1:]), names),
    st.builds(NodeEvent, times, st.just(NodeChange.JOIN), names, nodes),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | times | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)


@st.composite
def task_tables(draw: st.DrawFn) -> TaskTable:
    kinds = draw(st.lists(classes, min_size=1, max_size=3))
    jobs = draw(st.lists(st.builds(Job, names, st.integers(0, 100)), max_size=3))
    label_sets = draw(st.lists(labels, min_size=1, max_size=3, unique=True))
    task_names = draw(st.lists(names, max_size=6, unique=True))
    n = len(task_names)

    def column(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return TaskTable.build(
        task_names,
        kinds,
        column(st.integers(0, len(kinds) - 1)),  # type: ignore[arg-type]
        column(times),  # type: ignore[arg-type]
        column(times | st.just(math.inf)),  # type: ignore[arg-type]
        column(times | st.just(math.nan)),  # type: ignore[arg-type]
        column(st.integers(-(2**31), 2**31 - 1)),  # type: ignore[arg-type]
        column(st.integers(-1, len(jobs) - 1)),  # type: ignore[arg-type]
        jobs,
        column(st.booleans()),  # type: ignore[arg-type]
        column(st.integers(0, len(label_sets) - 1)),  # type: ignore[arg-type]
        label_sets,
    )


scenarios = st.builds(
    Scenario,
    cluster=st.builds(
        Cluster,
        st.lists(nodes, max_size=3, unique_by=lambda node: node.name).map(tuple),
        name=texts,
        zone=texts,
    ),
    tasks=task_tables(),
    name=texts,
    node_events=st.lists(events, max_size=3).map(tuple),
    typical=st.none() | st.lists(st.tuples(classes, positive), max_size=2).map(tuple),
    max_attempts=st.integers(0, 100),
    source=texts,
    report=st.builds(
        ReadReport,
        st.integers(0, 2**53),
        st.integers(0, 2**53),
        st.dictionaries(names, st.integers(0, 2**53), max_size=2),
        st.lists(texts, max_size=2).map(tuple),
    ),
    profile=st.none() | st.dictionaries(texts, json_values, max_size=2),
    start_unix_s=st.none() | st.floats(-1e12, 1e12),
    bound=st.dictionaries(texts, st.tuples(texts, st.integers(0, 2**16)), max_size=2),
)


def assert_same(after: Scenario, before: Scenario) -> None:
    for field in FIELDS:
        assert getattr(after, field) == getattr(before, field), field
    report, wanted = after.report, before.report
    assert (report.read, report.kept, report.notes) == (wanted.read, wanted.kept, wanted.notes)
    assert dict(report.dropped) == dict(wanted.dropped)
    assert list(after.tasks.names) == list(before.tasks.names)
    assert after.tasks.classes == before.tasks.classes
    assert after.tasks.jobs == before.tasks.jobs
    assert after.tasks.label_sets == before.tasks.label_sets
    for column in COLUMNS:
        found, given_ = getattr(after.tasks, column), getattr(before.tasks, column)
        assert found.dtype == given_.dtype
        assert found.tobytes() == given_.tobytes(), column


@settings(max_examples=150, deadline=None)
@given(scenario=scenarios, single=st.booleans())
def test_what_is_written_is_read_again_without_loss(
    tmp_path_factory: pytest.TempPathFactory, scenario: Scenario, single: bool
) -> None:
    path = tmp_path_factory.mktemp("table") / ("x.zip" if single else "x")
    table.write(scenario, path)
    assert traces.detect(path) == "table"
    assert_same(table.read(path), scenario)


@pytest.mark.parametrize("name", ["x.zip", "folder"])
def test_a_large_scenario_is_held_whole(tmp_path: Path, name: str) -> None:
    scenario = openb_like(departures=True)
    traces.write(scenario, tmp_path / name, "table")
    assert_same(traces.read(tmp_path / name), scenario)


def test_the_published_trace_is_held_whole(tmp_path: Path, shared_data: Path) -> None:
    scenario = traces.read(shared_data / "openb")
    table.write(scenario, tmp_path / "openb.zip")
    assert_same(table.read(tmp_path / "openb.zip"), scenario)


@pytest.mark.parametrize("name", ["x.zip", "folder"])
def test_the_same_scenario_gives_the_same_bytes_and_replaces_an_older_one(
    tmp_path: Path, name: str
) -> None:
    def content() -> list[bytes]:
        files = [p for p in sorted(tmp_path.rglob("*")) if p.is_file()]
        return [file.read_bytes() for file in files]

    table.write(plain(tasks=9), tmp_path / name)
    table.write(plain(tasks=5), tmp_path / name)
    first = content()
    table.write(plain(tasks=5), tmp_path / name)
    assert content() == first
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208
    assert len(table.read(tmp_path / name).tasks) == 5


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(TraceError, match="something else is there: choose another folder"):
        table.write(plain(tasks=5), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["x.zip", "folder"])
def test_a_write_that_fails_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write(plain(tasks=9), tmp_path / name)
    before = sorted(tmp_path.rglob("*"))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table.zipfile.ZipFile, "writestr", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TraceError, match="cannot be written: No space left on device"):
        table.write(plain(tasks=5), tmp_path / name)
    monkeypatch.undo()
    assert sorted(tmp_path.rglob("*")) == before
    assert len(table.read(tmp_path / name).tasks) == 9


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    scenario = Scenario(plain().cluster, plain(tasks=2).tasks, profile={"x": math.nan})
    with pytest.raises(TraceError, match=r"x\.zip: cannot be written: .*not JSON compliant"):
        table.write(scenario, tmp_path / "x.zip")
    assert list(tmp_path.iterdir()) == []


def test_the_description_is_for_people_too(tmp_path: Path) -> None:
    table.write(plain(nodes=3, tasks=7), tmp_path / "x")
    meta = json.loads((tmp_path / "x" / "meta.json").read_text())
    assert meta["tables"]["tasks"]["rows"] == 7
    assert meta["tables"]["nodes"]["rows"] == meta["nodes"] == 3
    assert np.isclose(meta["version"], table.VERSION)
