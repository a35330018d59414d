"""Usage files become even grids, and what cannot be used is counted."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from cerebrum.model.errors import TraceError
from cerebrum.signals.usage import read_usage


def opendc(path, rows):
    """Rows of (id, minute it ends, minutes it lasts, MHz)."""
    start = dt.datetime(2013, 8, 12, tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "id": [r[0] for r in rows],
            "timestamp": [start + dt.timedelta(minutes=r[1]) for r in rows],
            "duration": [r[2] * 60_000 for r in rows],
            "cpu_count": [1] * len(rows),
            "cpu_usage": [float(r[3]) for r in rows],
        }
    )
    frame.write_parquet(path)
    return path


def test_a_row_holds_for_all_the_time_it_lasted_and_no_longer(tmp_path):
    rows = [("a", 0, 5, 1), ("a", 15, 15, 2), ("a", 30, 5, 3)]
    usage = read_usage(opendc(tmp_path / "x.parquet", rows))
    assert np.array_equal(usage.values, [[1, 2, 2, 2, np.nan, np.nan, 3]], equal_nan=True)
    assert usage.step_s == 300


def test_machines_that_come_later_have_gaps_before_they_come(tmp_path):
    rows = [("a", 0, 5, 1), ("a", 5, 5, 1), ("b", 5, 5_000, 7)]
    usage = read_usage(opendc(tmp_path / "x.parquet", rows))
    assert usage.names == ("a", "b")
    assert np.array_equal(usage.values[1], [np.nan, 7], equal_nan=True)


def test_rows_that_are_not_usage_are_counted_and_a_file_of_them_is_refused(tmp_path):
    rows = [("a", 0, 5, 1), ("a", 5, 5, -1), ("a", 10, 5, float("nan"))]
    usage = read_usage(opendc(tmp_path / "x.parquet", rows))
    assert (usage.report.read, usage.report.kept) == (3, 1)
    with pytest.raises(TraceError, match="no row could be used"):
        read_usage(opendc(tmp_path / "y.parquet", [("a", 0, 5, -1)]))


def test_a_file_of_another_kind_says_which_columns_were_expected(tmp_path):
    path = tmp_path / "z.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TraceError, match=r"z.csv: expected columns id, timestamp.*got a, b"):
        read_usage(path)
    with pytest.raises(TraceError, match="cannot be read"):
        read_usage(tmp_path / "missing.parquet")


@pytest.mark.needs(data="usage")
def test_the_real_traces_are_read_whole(shared_data):
    bitbrains = read_usage(shared_data / "usage" / "bitbrains_trace.parquet")
    assert bitbrains.report.read == bitbrains.report.kept == 276_979
    assert bitbrains.values.shape[0] == 50
    assert np.nanmax(bitbrains.values) == pytest.approx(22035.86, abs=0.01)
    assert not np.isnan(bitbrains.capacity).any()
    crane = read_usage(shared_data / "usage" / "crane_input0.csv.gz")
    assert crane.values[0, 0] == pytest.approx(39.72233)
    google = read_usage(shared_data / "usage" / "google2019_task_113_115.csv.gz")
    assert google.values.shape[1] > 8_000
