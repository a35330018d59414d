"""WfFormat: the real instances, what flows where, and that writing loses nothing."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.model.cluster import Node
from cerebrum.model.errors import InputError
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.model.workflow import Workflow
from cerebrum.traces import workflows
from cerebrum.traces._workflow_json import STRICT_BYTES

REAL = {
    # file: tasks, dependencies, chain of runtimes in s, MB moved, MB in (counted from the files)
    "1000genome-chameleon-2ch-100k-001": (52, 76),
    "1000genome-chameleon-8ch-100k-001": (208, 304),
    "blast-chameleon-small-001": (43, 120),
    "cycles-chameleon-1l-1c-9p-001": (67, 97),
    "epigenomics-chameleon-hep-1seq-100k-001": (41, 48),
    "epigenomics-chameleon-ilmn-1seq-100k-001": (125, 153),
    "helloworld-forkjoin-10-chameleon": (10, 16),
    "montage-chameleon-2mass-005d-001": (58, 114),
    "montage-chameleon-2mass-01d-001": (103, 231),
    "sarek-dirt02-001": (26, 50),
    "seismology-chameleon-100p-001": (101, 100),
    "srasearch-chameleon-10a-001": (22, 30),
}


def task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "id": name, **more}


def document(tasks: list[dict[str, Any]], sizes: dict[str, int] | None = None, **more: Any) -> str:
    files = [{"id": name, "sizeInBytes": size} for name, size in (sizes or {}).items()]
    specification = {"tasks": tasks} | ({"files": files} if sizes is not None else {})
    return json.dumps(
        {"name": "w", "schemaVersion": "1.5", "workflow": {"specification": specification, **more}}
    )


def edges(workflow: Workflow) -> dict[tuple[str, str], float]:
    names = workflow.tasks.names
    return {
        (names[a], names[b]): volume
        for a, b, volume in zip(workflow.before, workflow.after, workflow.volume_mb, strict=True)
    }


@pytest.mark.parametrize("name", REAL)
def test_a_real_instance_is_read_in_full(name: str, shared_data: Path) -> None:
    path = shared_data / "workflows" / f"{name}.json"
    found = workflows.inspect_workflow(path)
    workflow = found.workflow
    assert found.format == "wfformat"
    assert (len(workflow), len(workflow.before)) == REAL[name]
    raw = json.loads(path.read_text())["workflow"]
    runs = {run["id"]: run for run in raw["execution"]["tasks"]}
    sizes = {file["id"]: file["sizeInBytes"] for file in raw["specification"]["files"]}
    assert workflow.tasks.duration_s.tolist() == [
        runs[name]["runtimeInSeconds"] for name in workflow.tasks.names
    ]
    written = {out for t in raw["specification"]["tasks"] for out in t["outputFiles"]}
    expected_in = sum(
        sizes[file]
        for t in raw["specification"]["tasks"]
        for file in t["inputFiles"]
        if file not in written
    )
    moved = sum(
        sizes[file]
        for t in raw["specification"]["tasks"]
        for file in t["inputFiles"]
        if file in written
    )
    assert workflow.input_mb.sum() == pytest.approx(expected_in / 1e6)
    assert workflow.volume_mb.sum() == pytest.approx(moved / 1e6)


def test_every_real_instance_is_in_the_table(shared_data: Path) -> None:
    assert {p.stem for p in (shared_data / "workflows").glob("*.json")} == set(REAL)


def test_montage_asks_for_the_memory_it_used(shared_data: Path) -> None:
    workflow = workflows.read_workflow(
        shared_data / "workflows" / "montage-chameleon-2mass-005d-001.json"
    )
    first = workflow.tasks[workflow.tasks.names.index("mProject_ID0000001")]
    assert first.duration_s == 16.712
    assert first.task_class.resources == Resources(cpu_milli=1000, memory_mib=15)  # 14,800,000 B


def test_a_file_flows_from_its_writer_to_every_reader() -> None:
    text = document(
        [
            task("a", parents=[], children=["b"], inputFiles=["in"], outputFiles=["x", "rest"]),
            task("b", parents=["a"], children=[], inputFiles=["x"]),
            task("c", parents=[], children=[], inputFiles=["x", "in"]),
        ],
        {"in": 3_000_000, "x": 2_000_000, "rest": 500_000},
    )
    workflow = workflows.parse_workflow(text)
    assert edges(workflow) == {("a", "b"): 2.0, ("a", "c"): 2.0}
    assert workflow.input_mb.tolist() == [3.0, 0.0, 3.0]
    assert workflow.output_mb.tolist() == [0.5, 0.0, 0.0]


def test_a_file_with_two_writers_flows_along_what_is_declared() -> None:
    tasks = [
        task("a", parents=[], children=["b"], outputFiles=["x"]),
        task("b", parents=["a"], children=["c"], inputFiles=["x"], outputFiles=["x"]),
        task("c", parents=["b"], children=[], inputFiles=["x"]),
    ]
    workflow = workflows.parse_workflow(document(tasks, {"x": 1_000_000}))
    assert edges(workflow) == {("a", "b"): 1.0, ("b", "c"): 1.0}


def test_a_task_that_changes_a_file_in_place_reads_it_from_outside() -> None:
    tasks = [task("a", parents=[], children=[], inputFiles=["x"], outputFiles=["x"])]
    workflow = workflows.parse_workflow(document(tasks, {"x": 1_000_000}))
    assert workflow.input_mb.tolist() == workflow.output_mb.tolist() == [1.0]
    assert len(workflow.before) == 0


@pytest.mark.parametrize("side", ["parents", "children"])
def test_one_side_of_a_dependency_is_enough(side: str, tmp_path: Path) -> None:
    one = {"a": ["b"]} if side == "children" else {"b": ["a"]}
    tasks = [task(name, **({side: one[name]} if name in one else {})) for name in "ab"]
    path = tmp_path / "w.json"
    path.write_text(document(tasks))
    found = workflows.inspect_workflow(path)
    assert edges(found.workflow) == {("a", "b"): 0.0}
    assert any(side in note for note in found.report.notes)


def test_without_an_execution_the_durations_are_said_to_be_assumed(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(document([task("a")]))
    found = workflows.inspect_workflow(path)
    assert found.workflow.tasks.duration_s.tolist() == [60.0]
    assert any("60 s" in note for note in found.report.notes)


def test_version_1_4_of_the_same_shape_is_read() -> None:
    assert len(workflows.parse_workflow(document([task("a")]).replace("1.5", "1.4"))) == 1


NAMES = st.text("abcXYZ019_-. é", min_size=1, max_size=8)


@st.composite
def drawn(draw: st.DrawFn) -> Workflow:
    names = draw(st.lists(NAMES, min_size=1, max_size=8, unique=True))
    n = len(names)
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    sizes = st.integers(0, 10**12).map(lambda size: size / 1e6)
    asked = st.builds(Resources, st.integers(0, 64_000), st.integers(0, 100_000))
    table = TaskTable.from_tasks(
        [Task(name, TaskClass(draw(asked)), duration_s=draw(st.floats(0, 1e9))) for name in names]
    )
    return Workflow.build(
        draw(NAMES),
        table,
        [a for a, _ in chosen],
        [b for _, b in chosen],
        [draw(sizes) for _ in chosen],
        [draw(sizes) for _ in names],
        [draw(sizes) for _ in names],
    )


@given(drawn())
def test_what_is_written_reads_back_the_same(workflow: Workflow) -> None:
    text = workflows.load_format("wfformat").render(workflow)
    back = workflows.parse_workflow(text)
    assert back.name == workflow.name
    assert list(back.tasks) == list(workflow.tasks) or all(
        one.name == other.name
        and one.duration_s == other.duration_s
        and one.task_class == other.task_class
        for one, other in zip(back.tasks, workflow.tasks, strict=True)
    )
    assert edges(back) == edges(workflow)
    assert back.input_mb.tolist() == workflow.input_mb.tolist()
    assert back.output_mb.tolist() == workflow.output_mb.tolist()


@given(drawn(), st.data())
def test_a_written_execution_gives_its_runtimes_back(
    workflow: Workflow, data: st.DataObject
) -> None:
    n = len(workflow)
    times = st.lists(st.floats(0, 1e6), min_size=n, max_size=n)
    start, took = np.asarray(data.draw(times)), np.asarray(data.draw(times))
    node = data.draw(st.lists(st.sampled_from(["n1", "n2"]), min_size=n, max_size=n))
    ran = workflows.Execution(node, start, start + took)
    text = workflows.load_format("wfformat").render(workflow, ran)
    back = workflows.parse_workflow(text)
    assert back.tasks.duration_s.tolist() == (ran.end_s - ran.start_s).tolist()
    section = json.loads(text)["workflow"]["execution"]
    assert [run["machines"] for run in section["tasks"]] == [[name] for name in node]
    assert section["makespanInSeconds"] == max(ran.end_s) - min(start)
    assert {machine["nodeName"] for machine in section["machines"]} == set(node)


def test_an_execution_says_when_and_on_what(tmp_path: Path) -> None:
    workflow = workflows.generate("montage-like", tasks=25, seed=3)
    n = len(workflow)
    nodes = [Node("big", Resources(8000, 16_384))]
    ran = workflows.Execution(["big"] * n, np.zeros(n), np.ones(n), nodes, 1_700_000_000.0)
    path = tmp_path / "out.json"
    workflows.write_workflow(workflow, path, ran)
    section = json.loads(path.read_text())["workflow"]["execution"]
    assert datetime.fromisoformat(section["executedAt"]).timestamp() == 1_700_000_000.0
    assert section["makespanInSeconds"] == 1.0
    assert section["machines"] == [
        {"nodeName": "big", "memoryInBytes": 16_384 * 2**20, "cpu": {"coreCount": 8}}
    ]


def test_a_task_that_never_ends_is_not_written() -> None:
    endless = Workflow.from_tasks("w", [Task("a")])
    with pytest.raises(InputError, match="task 'a' has no end"):
        workflows.load_format("wfformat").render(endless)


@pytest.mark.parametrize(
    ("start", "end"), [([2.0], [1.0]), ([np.nan], [1.0]), ([-1.0], [1.0]), ([0.0], [np.inf])]
)
def test_an_execution_runs_forwards(start: list[float], end: list[float]) -> None:
    with pytest.raises(InputError, match="task 0: expected finite"):
        workflows.Execution(["n"], np.asarray(start), np.asarray(end))


def test_a_large_file_goes_another_way_to_the_same_result(tmp_path: Path) -> None:
    workflow = workflows.generate("layered", tasks=6_000, width=100, seed=5)
    path = tmp_path / "large.json"
    workflows.write_workflow(workflow, path)
    assert path.stat().st_size > STRICT_BYTES, "or this test compares nothing"
    back = workflows.read_workflow(path)
    assert list(back.tasks.names) == list(workflow.tasks.names)
    assert np.array_equal(back.before, workflow.before)
    assert np.array_equal(back.after, workflow.after)
    assert np.array_equal(back.volume_mb, workflow.volume_mb)
    assert np.array_equal(back.tasks.duration_s, workflow.tasks.duration_s)
    for kind in ("cpu_milli", "memory_mib"):
        assert np.array_equal(back.tasks.request(kind), workflow.tasks.request(kind))


def test_a_large_bad_file_names_the_task_too(tmp_path: Path) -> None:
    workflow = workflows.generate("layered", tasks=6_000, width=100, seed=5)
    text = workflows.load_format("wfformat").render(workflow)
    path = tmp_path / "large.json"
    path.write_text(
        text.replace('"parents": [\n      "step-000000"', '"parents": [\n      "nobody"')
    )
    with pytest.raises(InputError, match=r"task 'step-\d+': there is no task 'nobody'"):
        workflows.read_workflow(path)
    path.write_text(text[:-20])
    with pytest.raises(InputError, match="not valid JSON"):
        workflows.read_workflow(path)
