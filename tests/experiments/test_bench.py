"""A bench keeps what is finished, goes on where it was killed, and tells means with intervals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cerebrum
from cerebrum.experiments import bench as benches
from cerebrum.experiments import table
from cerebrum.model.errors import ConfigError, MissingDependency, UnknownName

SMALL = "openb-like:nodes=10"


def test_a_cell_is_what_simulate_gives(tmp_path: Path) -> None:
    found = cerebrum.bench(SMALL, ["fgd", "random"], [1, 2], folder=tmp_path, jobs=1)
    assert found.results.select("policy", "seed").rows() == [
        ("fgd", 1), ("random", 1), ("fgd", 2), ("random", 2),
    ]  # fmt: skip
    for row in found.rows:
        assert row["digest"] == cerebrum.simulate(SMALL, row["policy"], row["seed"]).digest
    assert (tmp_path / "results.csv").read_text().count("\n") == 5
    assert pl.read_csv(tmp_path / "summary.csv").height == found.summary.height


def test_finished_cells_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cerebrum.bench(SMALL, "fgd", [1, 2], folder=tmp_path, jobs=1)
    told: list[tuple[int, int]] = []
    ran: list[benches.Cell] = []
    real = benches.run_cell

    def counted(cell: benches.Cell):
        ran.append(cell)
        return real(cell)

    monkeypatch.setattr(benches, "run_cell", counted)
    again = cerebrum.bench(
        SMALL, "fgd", [1, 2, 3], folder=tmp_path, jobs=1, advance=lambda *x: told.append(x)
    )
    assert [cell.seed for cell in ran] == [3]
    assert told == [(2, 3), (3, 3)]
    assert again.rows[:2] == first.rows


def test_a_damaged_cell_is_run_again(tmp_path: Path) -> None:
    first = cerebrum.bench(SMALL, "fgd", [1], folder=tmp_path, jobs=1)
    (cell,) = (tmp_path / "cells").glob("*.json")
    cell.write_text('{"policy": "fg')
    again = cerebrum.bench(SMALL, "fgd", [1], folder=tmp_path, jobs=1)
    assert again.rows[0]["digest"] == first.rows[0]["digest"]
    assert json.loads(cell.read_text())["seed"] == 1


def test_a_changed_file_is_another_cell(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(before, after, task, typical):\n    return 1.0\n")
    one = benches.Cell(SMALL, f"{file}:score", 1)
    key = one.key
    assert benches.Cell(SMALL, f"{file}:score", 1).key == key
    assert benches.Cell(SMALL, f"{file}:score", 2).key != key
    file.write_text("def score(before, after, task, typical):\n    return 2.0 + 0\n")
    assert one.key != key


def test_a_killed_bench_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    command = [
        sys.executable, "-m", "cerebrum", "bench", "openb-like:nodes=60", "-p",
        "fgd,best-fit,random,first-fit", "--seeds", "1..25", "--to", str(folder), "-j", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cells = folder / "cells"
    deadline = time.monotonic() + 300
    while not (cells.is_dir() and len(list(cells.glob("*.json"))) >= 5):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 5 <= len(kept) < 100
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list(cells.glob("*.json"))) == 100
    assert {n: (cells / n).stat().st_mtime_ns for n in kept} == kept
    assert (folder / "summary.csv").is_file()


def test_wrong_names_are_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="policy"):
        cerebrum.bench(SMALL, ["fgd", "nope"], [1], folder=tmp_path)
    assert not (tmp_path / "cells").exists()
    with pytest.raises(ConfigError, match="at least one"):
        cerebrum.bench(SMALL, [], [1])


def test_means_deviations_and_intervals_by_hand() -> None:
    rows = [
        {"scenario": "s", "policy": "p", "seed": i, "x": v, "digest": "d"}
        for i, v in enumerate([1.0, 2.0, 3.0, 4.0])
    ]
    (line,) = table.aggregate(rows).to_dicts()
    assert line["metric"] == "x"
    assert (line["n"], line["mean"]) == (4, 2.5)
    assert line["sd"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    assert line["ci95"] == pytest.approx(3.182 * line["sd"] / 2)
    (single,) = table.aggregate(rows[:1]).to_dicts()
    assert (single["sd"], single["ci95"]) == (None, None)


@pytest.mark.parametrize(("freedom", "exact"), [(1, 12.706), (30, 2.042), (40, 2.021), (120, 1.98)])
def test_quantiles_of_students_t(freedom: int, exact: float) -> None:
    assert table.quantile(freedom) == pytest.approx(exact, abs=0.002)


def test_compare_gives_a_row_a_policy() -> None:
    found = cerebrum.compare(SMALL, ["fgd", "random"], seeds=(1, 2, 3), jobs=1)
    assert found["policy"].to_list() == ["fgd", "random"]
    fgd, random = found["gpu_allocation_pct"]
    assert fgd > random
    assert found["seeds"].to_list() == [3, 3]


def test_ray_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingDependency, match=r"cerebrum\[ray\]"):
        cerebrum.bench(SMALL, "fgd", [1, 2], backend="ray")


@pytest.mark.slow
@pytest.mark.needs(module="distributed")
def test_a_real_dask_cluster_gives_the_same(tmp_path: Path) -> None:
    from distributed import LocalCluster

    local = cerebrum.bench(SMALL, ["fgd", "random"], [1, 2], jobs=1)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = cerebrum.bench(
            SMALL, ["fgd", "random"], [1, 2], backend="dask",
            scheduler=cluster.scheduler_address, folder=tmp_path,
        )  # fmt: skip
    assert [r["digest"] for r in there.rows] == [r["digest"] for r in local.rows]
    assert len(list((tmp_path / "cells").glob("*.json"))) == 4
