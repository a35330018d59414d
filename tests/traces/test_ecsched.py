"""ECSched's container lists: exact counts, the three clusters, and back to the same file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerebrum import traces
from cerebrum.model.errors import TraceError
from cerebrum.traces import ecsched
from cerebrum.traces.synthetic import plain


def test_the_large_input_is_read_whole(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "ecsched" / "Input_9549_2018-05-31.txt")
    tasks = scenario.tasks
    assert str(scenario.report) == "9,549 rows read, 9,549 kept"
    assert tasks.submit_s[-1] == 19_859
    assert (tasks.duration_s.min() > 0, tasks.duration_s.max()) == (True, 16_079)
    assert tasks.duration_s.mean() == pytest.approx(908.26, abs=0.005)
    assert tasks.request("cpu_milli").max() == 20 * 1000
    assert tasks.request("memory_mib").max() == 11 * 1024
    assert list(tasks.names) == [str(number) for number in range(1, 9_550)]


def test_the_small_input_is_read_whole(shared_data: Path) -> None:
    scenario = traces.read(shared_data / "ecsched" / "Input_85.txt", cluster="small")
    assert len(scenario.tasks) == 85
    assert len(scenario.cluster) == 30


@pytest.mark.parametrize(
    ("cluster", "nodes", "slots"),
    [("published", 50, 2_500), ("mixed", 50, 2_500), ("small", 30, 1_750)],
)
def test_the_clusters_are_the_authors(tmp_path: Path, cluster: str, nodes: int, slots: int) -> None:
    (tmp_path / "Input.txt").write_text("1 0 71 1 1\n")
    found = ecsched.read(tmp_path / "Input.txt", cluster=cluster).cluster
    assert len(found) == nodes
    assert sum(node.capacity.cpu_milli for node in found) == slots * 1000
    assert sum(node.capacity.memory_mib for node in found) == slots * 1024
    assert sorted(node.name for node in found) == [node.name for node in found]


def test_what_is_written_is_what_was_read(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "ecsched" / "Input_9549_2018-05-31.txt"
    ecsched.write(ecsched.read(original), tmp_path / "Input.txt")
    assert (tmp_path / "Input.txt").read_bytes() == original.read_bytes()


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"ECSched holds whole seconds only \(task 'task-0'\)"):
        ecsched.write(plain(tasks=5), tmp_path / "Input.txt")
    assert list(tmp_path.iterdir()) == []
