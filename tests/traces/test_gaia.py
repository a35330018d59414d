"""GAIA's job lists: two files, two units, and room for everything at once."""

from __future__ import annotations

import math
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
from cerebrum.traces import gaia


def test_the_short_list_is_in_seconds(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "jobs" / "gaia_pai_1k.csv.gz")
    tasks = scenario.tasks
    assert str(scenario.report) == "1,000 rows read, 1,000 kept"
    assert scenario.report.notes == ("times are in seconds, by the numbers",)
    assert (tasks.submit_s[-1], tasks.duration_s.max()) == (604_756, 214_787)
    assert (tasks.request("cpu_milli") * tasks.duration_s).sum() == 11_493_272_000


def test_the_long_list_is_in_hours(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "jobs" / "gaia_pai-100k.csv.gz")
    tasks = scenario.tasks
    assert str(scenario.report) == "99,998 rows read, 99,998 kept"
    assert scenario.report.notes == ("times are in hours, by the numbers",)
    assert tasks.submit_s[-1] == 31_534_021
    assert tasks.duration_s.max() == 256_093
    assert np.array_equal(tasks.duration_s, np.round(tasks.duration_s)), "hours of whole seconds"
    assert tasks.request("cpu_milli").max() == 400_000


def test_there_is_room_for_all_jobs_at_once(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "jobs" / "gaia_pai-100k.csv.gz")
    wanted = scenario.tasks.request("cpu_milli").sum()
    assert all(node.capacity.cpu_milli >= wanted for node in scenario.cluster)
    assert sum(node.slots for node in scenario.cluster) >= 99_998


def test_a_node_of_a_size_and_a_unit_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("arrival_time,length,cpus\n1,2,3\n4,0,1\n")
    scenario = gaia.read(path, unit="hours", cpus=8)
    assert [node.capacity.cpu_milli for node in scenario.cluster] == [8000]
    assert (scenario.tasks.submit_s[0], scenario.tasks.duration_s[0]) == (3600, 7200)
    assert str(scenario.report) == "2 rows read, 1 kept, 1 dropped (no length)"


times = st.one_of(st.integers(0, 10**8), st.floats(0, 1e8))


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(
        st.tuples(times, times.filter(lambda t: t >= 1e-3), st.integers(1, 500)),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, jobs: list[tuple[float, float, int]]
) -> None:
    path = tmp_path_factory.mktemp("gaia") / "jobs.csv"
    tasks = TaskTable.from_tasks(
        [
            Task(str(i), TaskClass(Resources(cpu_milli=1000 * cpus)), float(arrival), float(length))
            for i, (arrival, length, cpus) in enumerate(jobs)
        ]
    )
    gaia.write(Scenario(Cluster((Node("n", Resources(10**6)),)), tasks), path)
    after = gaia.read(path).tasks
    assert after.submit_s == pytest.approx(tasks.submit_s, rel=1e-12, abs=1e-6)
    assert after.duration_s == pytest.approx(tasks.duration_s, rel=1e-12, abs=1e-6)
    assert after.request("cpu_milli").tolist() == tasks.request("cpu_milli").tolist()


def test_jobs_that_never_end_are_refused(tmp_path: Path) -> None:
    tasks = TaskTable.from_tasks([Task("a", TaskClass(Resources(1000)), duration_s=math.inf)])
    with pytest.raises(TraceError, match="GAIA holds only jobs that end"):
        gaia.write(Scenario(Cluster((Node("n", Resources(1000)),)), tasks), tmp_path / "x.csv")
