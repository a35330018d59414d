"""Standard Workload Format: real logs by exact counts, and what unknown fields stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum import traces
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import TraceError
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.traces import swf
from tests.traces.bad.rows import job


def log(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log.swf"
    path.write_text(text)
    return path


def test_lublin_is_read_whole(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "jobs" / "lublin_256.swf.gz")
    assert str(scenario.report) == "10,000 rows read, 10,000 kept"
    assert [node.capacity.cpu_milli for node in scenario.cluster] == [256_000]
    first = scenario.tasks[0]
    assert (first.name, first.submit_s, first.duration_s) == ("1", 5_094, 12_072)
    assert first.task_class == TaskClass(Resources(cpu_milli=16_000))
    assert np.isnan(scenario.tasks.requested_s).all(), "-1: users know their run times"
    assert scenario.tasks.submit_s[-1] == 7_711_701
    assert scenario.tasks.request("cpu_milli").max() == 256_000


def test_hpc2n_is_read_whole(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "jobs" / "alea_hpc2n_3150jobs.swf.gz")
    assert str(scenario.report) == "3,170 rows read, 3,170 kept"
    assert scenario.report.notes == ("25 jobs have no run time: the requested time is taken",)
    assert scenario.cluster.nodes[0].capacity.cpu_milli == 240_000
    assert scenario.start_unix_s == 1_027_839_845
    assert scenario.tasks[0].requested_s == 37_980


def test_metacentrum_has_more_fields_and_unix_times(shared_data: Path) -> None:
    path = shared_data / "jobs" / "alea_metacentrum_wagap-2013.swf.gz"
    scenario = traces.read(path)
    assert str(scenario.report) == "17,900 rows read, 17,898 kept, 2 dropped (no run time)"
    assert scenario.report.notes == (
        "the header names no MaxProcs: the machine has 256 processors, as many as the largest job",
    )
    assert (scenario.tasks.submit_s[0], scenario.start_unix_s) == (0, 1_356_996_147)
    assert scenario.tasks.submit_s[-1] == 7_686_036
    real = traces.read(path, machine_processors=20 * 80 + 48 * 12)
    assert real.cluster.nodes[0].capacity.cpu_milli == 2_176_000


def test_the_reading_rules_of_rlscheduler_can_be_chosen(shared_data: Path) -> None:
    """docs/reference/rlscheduler-protocol.md: the larger count; a negative run time becomes 10."""
    path = shared_data / "jobs" / "lublin_256.swf.gz"
    scenario = traces.read(path, processors="largest", unknown_run_s=10)
    assert len(scenario.tasks) == 10_000
    assert list(scenario.tasks.names) == [str(number) for number in range(1, 10_001)]


@pytest.mark.parametrize(
    ("fields", "options", "cores", "run_s", "requested_s"),
    [
        ({"f5": 4, "f8": 8}, {}, 8, 60, 90),
        ({"f5": 4, "f8": 8}, {"processors": "allocated"}, 4, 60, 90),
        ({"f5": 4, "f8": 8}, {"processors": "largest"}, 8, 60, 90),
        ({"f5": 4, "f8": -1}, {}, 4, 60, 90),
        ({"f5": -1, "f8": 8}, {"processors": "allocated"}, 8, 60, 90),
        ({"f4": -1}, {}, 4, 90, 90),
        ({"f9": -1}, {}, 4, 60, None),
        ({"f4": -1, "f9": -1}, {"unknown_run_s": 10}, 4, 10, None),
        ({"f4": 1.5}, {}, 4, 1.5, 90),
    ],
)
def test_unknown_fields_fall_back(
    tmp_path: Path,
    fields: dict[str, float],
    options: dict[str, object],
    cores: int,
    run_s: float,
    requested_s: float | None,
) -> None:
    task = swf.read(log(tmp_path, job(**fields)), **options).tasks[0]  # type: ignore[arg-type]
    assert task.task_class.resources.cpu_milli == 1000 * cores
    assert task.duration_s == run_s
    assert task.requested_s == requested_s or (requested_s is None and np.isnan(task.requested_s))


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    lines = ["; MaxNodes: 2\n", "; MaxProcs: 16\n", job()]
    lines += [job(f1=2, f4=0), job(f1=3, f5=-1, f8=-1), job(f1=4, f8=17), job(f1=5, f11=3)]
    lines += [" \n", job(f1=6, f11=5)]
    report = swf.read(log(tmp_path, "".join(lines))).report
    assert (report.read, report.kept) == (6, 2)
    assert report.dropped == {
        "another status": 1,
        "no processors": 1,
        "no run time": 1,
        "more processors than the machine": 1,
    }
    kept = swf.read(log(tmp_path, "".join(lines)), statuses=[5]).tasks
    assert list(kept.names) == ["6"]


def test_a_machine_of_nodes_takes_larger_jobs_as_gangs(tmp_path: Path) -> None:
    text = "; MaxProcs: 10\n" + job(f8=9) + job(f1=2, f8=4)
    scenario = swf.read(log(tmp_path, text), node_processors=4)
    assert [node.capacity.cpu_milli for node in scenario.cluster] == [4000, 4000, 2000]
    assert list(scenario.tasks.names) == ["1/0", "1/1", "1/2", "2/0"]
    assert scenario.tasks.request("cpu_milli").tolist() == [4000, 4000, 1000, 4000]
    assert [(j.name, j.gang) for j in scenario.tasks.jobs] == [("1", 3), ("2", 1)]
    assert scenario.tasks.job_id.tolist() == [0, 0, 0, 1]


def test_a_log_with_a_header_after_its_jobs_keeps_its_line_numbers(tmp_path: Path) -> None:
    text = "; a comment\n\n" + job() + ";MaxProcs: 8\n" + job(f1=2, f4="x")
    with pytest.raises(TraceError, match=r"log\.swf:5: run_s: expected a finite number"):
        swf.read(log(tmp_path, text))


jobs = st.lists(
    st.tuples(
        st.integers(1, 64),
        st.one_of(st.integers(0, 10**7), st.floats(0, 1e6)),
        st.one_of(st.integers(1, 10**6), st.floats(0.001, 1e5)),
        st.one_of(st.none(), st.integers(1, 10**6)),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(jobs=jobs, start=st.one_of(st.none(), st.integers(1, 2 * 10**9)), parts=st.integers(1, 7))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    jobs: list[tuple[int, float, float, float | None]],
    start: int | None,
    parts: int,
) -> None:
    path = tmp_path_factory.mktemp("swf") / "log.swf"
    tasks = [
        Task(
            str(i),
            TaskClass(Resources(cpu_milli=1000 * cores)),
            submit_s=float(submit),
            duration_s=float(run),
            requested_s=np.nan if asked is None else float(asked),
        )
        for i, (cores, submit, run, asked) in enumerate(jobs, 1)
    ]
    cluster = Cluster((Node("node-0", Resources(cpu_milli=64_000), slots=32_767),), "swf")
    before = Scenario(cluster, TaskTable.from_tasks(tasks), start_unix_s=start)
    swf.write(before, path)
    after = swf.read(path)
    assert after.cluster == cluster
    assert after.start_unix_s == start
    assert [str(t) for t in after.tasks] == [str(t) for t in tasks]
    split = swf.read(path, node_processors=64 // parts)
    swf.write(split, path)
    assert [str(t) for t in swf.read(path).tasks] == [str(t) for t in tasks]


@pytest.mark.parametrize(
    "name", ["lublin_256", "alea_hpc2n_3150jobs", "alea_metacentrum_wagap-2013"]
)
def test_a_real_log_survives_writing(shared_data: Path, tmp_path: Path, name: str) -> None:
    before = swf.read(shared_data / "jobs" / f"{name}.swf.gz")
    swf.write(before, tmp_path / "log.swf")
    after = swf.read(tmp_path / "log.swf")
    assert after.cluster == before.cluster
    assert after.start_unix_s == before.start_unix_s
    assert list(after.tasks.names) == list(before.tasks.names)
    for column in ("submit_s", "duration_s", "requested_s"):
        old, new = getattr(before.tasks, column), getattr(after.tasks, column)
        assert np.array_equal(new, old, equal_nan=True)


def test_only_gangs_are_one_line(tmp_path: Path) -> None:
    one = TaskClass(Resources(cpu_milli=1000))
    tasks = [Task("a", one, 0, 9, job="loose"), Task("b", one, 5, 9, job="loose")]
    tasks += [Task("c", one, 7, 9, job="gang"), Task("d", one, 7, 9, job="gang")]
    cluster = Cluster((Node("node-0", Resources(cpu_milli=4000), slots=32_767),), "swf")
    swf.write(Scenario(cluster, TaskTable.from_tasks(tasks, {"gang": 2})), tmp_path / "x.swf")
    after = swf.read(tmp_path / "x.swf").tasks
    assert after.submit_s.tolist() == [0, 5, 7]
    assert after.request("cpu_milli").tolist() == [1000, 1000, 2000]
    tasks[3] = Task("d", one, 8, 9, job="gang")
    with pytest.raises(TraceError, match=r"SWF holds gangs of equal times only \(task 'd'\)"):
        swf.write(Scenario(cluster, TaskTable.from_tasks(tasks, {"gang": 2})), tmp_path / "y.swf")


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    tasks = TaskTable.from_tasks([Task("a", TaskClass(Resources(cpu_milli=500)))])
    cluster = Cluster((Node("n", Resources(cpu_milli=1000)),))
    with pytest.raises(TraceError, match=r"x\.swf: SWF holds whole cores only \(task 'a'\)"):
        traces.write(Scenario(cluster, tasks), tmp_path / "x.swf", "swf")
    assert list(tmp_path.iterdir()) == []
