"""Published tables: read strictly, re-run on any folder of that layout, equal where promised."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cerebrum import traces
from cerebrum.experiments.reproduce import FOLDERS, Line, fgd, reproduce
from cerebrum.experiments.simulate import find_scenario
from cerebrum.model.errors import NotFound, TraceError, UnknownName
from cerebrum.traces.windows import start_indices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder laid out like openb: two traces, one of them above 130 % of the GPUs."""
    small = find_scenario("openb-like:nodes=16,load=0.9", 1)
    large = find_scenario("openb-like:nodes=16,load=1.8", 2)
    for name, scenario in (("tiny", small), ("heavy", large)):
        traces.write(scenario, tmp_path / name, "openb")
        pods = tmp_path / name / "openb_pod_list_default.csv"
        pods.replace(tmp_path / f"openb_pod_list_{name}.csv")
    nodes = tmp_path / "tiny" / "openb_node_list_all_node.csv"
    nodes.replace(tmp_path / "openb_node_list_gpu_node.csv")
    publish(tmp_path / "expected", "tiny", "06-FGD", {42: 88.0, 43: 90.0})
    return tmp_path


def publish(folder: Path, trace: str, policy: str, values: dict[int, float]) -> None:
    folder.mkdir()
    for name in ("analysis_allo_discrete.csv", "analysis_frag_discrete.csv"):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["workload", "sc_policy", "tune", "seed", *range(131)])
            for seed, value in values.items():
                row = [f"openb_pod_list_{trace}", policy, 1.3, seed, *[value] * 131]
                writer.writerow(row)


def test_any_folder_of_that_layout_will_do(folder: Path) -> None:
    found = reproduce("fgd", folder, policies=["fgd", "BestFit"], seeds=[42, 43, 44], jobs=1)
    cases = {(line.case, line.metric): line for line in found.lines}
    assert len(cases) == len(found.lines) == 2 * 2 * 2 * len(fgd.POINTS)
    known = cases["tiny/FGD at 100 %", "gpu_allocation_pct"]
    assert known.published == 89.0
    assert known.ours is not None
    assert 80 < known.ours <= 100
    assert known.difference == pytest.approx(known.ours - 89.0)
    assert cases["tiny/BestFit at 100 %", "gpu_allocation_pct"].published is None
    heavy = cases["heavy/FGD at 130 %", "gpu_allocation_pct"]
    assert heavy.published is None
    assert heavy.ours is not None
    assert any("heavy" in remark for remark in found.remarks)


def test_the_removal_path_stops_at_130_percent(folder: Path) -> None:
    scenario = traces.read(
        folder / "openb_pod_list_heavy.csv", "openb", arrivals="fgd", seed=42, oversized="keep"
    )
    asked = int(scenario.tasks.request("gpu_milli_total").sum())
    capacity = 1000 * scenario.cluster.gpu_capacity
    assert 1.2 * capacity < asked <= 1.3 * capacity


def test_random_is_marked_as_not_replayable(folder: Path) -> None:
    found = reproduce("fgd", folder, policies=["random"], traces=["tiny"], seeds=[42], jobs=1)
    assert {line.note for line in found.lines} == {"drawn at random"}
    assert "16 threads" in found.remarks[0]


def test_records_have_the_five_fields() -> None:
    line = Line("fgd", "default/FGD at 100 %", "gpu_allocation_pct", 95.23, 95.24, "a note")
    assert line.record() == {
        "table": "fgd", "case": "default/FGD at 100 %", "metric": "gpu_allocation_pct",
        "published": 95.23, "ours": 95.24,
    }  # fmt: skip


def test_wrong_names_and_folders_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="trace"):
        reproduce("fgd", folder, traces=["deflaut"])
    with pytest.raises(UnknownName, match="policy"):
        reproduce("fgd", folder, policies=["nope"])
    with pytest.raises(UnknownName, match="table"):
        reproduce("fgdd", folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in FOLDERS:
        with pytest.raises(NotFound):
            reproduce(name, empty)


def test_a_wrong_row_of_the_published_side_is_named(folder: Path) -> None:
    path = folder / "expected" / "analysis_allo_discrete.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], lines[2].replace("1.3", "x", 1)]) + "\n")
    with pytest.raises(TraceError, match=r"analysis_allo_discrete\.csv:3"):
        reproduce("fgd", folder, policies=["fgd"], seeds=[42], jobs=1)


def test_windows_are_those_the_authors_drew() -> None:
    wanted = [1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085]
    assert start_indices(10_000) == wanted


@pytest.mark.needs(data="openb")
def test_fgd_on_the_real_trace_is_the_published_figure(shared_data: Path) -> None:
    found = reproduce(
        "fgd", shared_data / "openb", policies=["fgd", "best-fit"], traces=["default"],
        seeds=[42], jobs=1,
    )  # fmt: skip
    assert max(abs(line.difference or 0) for line in found.lines) == 0
    assert all(line.published is not None for line in found.lines)


@pytest.mark.slow
@pytest.mark.needs(data="openb/expected")
def test_every_published_openb_figure(shared_data: Path) -> None:
    found = reproduce("fgd", shared_data / "openb")
    for line in found.lines:
        assert line.difference is not None
        limit = 0.5 if line.note else 0.0
        assert abs(line.difference) <= limit, line


@pytest.mark.slow
@pytest.mark.needs(data="jobs/lublin_256.swf.gz")
def test_every_published_rlscheduler_figure(shared_data: Path) -> None:
    for line in reproduce("rlscheduler", shared_data / "jobs").lines:
        assert line.published is not None
        limit = 0.005 if "EASY" in line.case else 0.001
        assert line.ours == pytest.approx(line.published, rel=limit), line


@pytest.mark.slow
@pytest.mark.needs(data="ecsched/Input_9549_2018-05-31.txt")
def test_every_published_ecsched_figure(shared_data: Path) -> None:
    found = reproduce("ecsched", shared_data / "ecsched")
    ours = {line.case.rpartition("/")[2]: line.ours for line in found.lines}
    assert ours["ml"] < ours["dp"] < ours["swarm"] < ours["k8s"]
    for line in found.lines:
        assert line.ours == pytest.approx(line.published, rel=0.001)
