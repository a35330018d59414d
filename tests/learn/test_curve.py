"""The curve of a run that was stopped is the curve of one that was not."""

from __future__ import annotations

from pathlib import Path

from cerebrum.learn import curve


def test_what_is_taught_again_after_a_stop_stands_once(tmp_path: Path) -> None:
    """The last checkpoint was after step 2; steps 3 and 4 were logged before the end."""
    path = tmp_path / "curve.csv"
    for step in (1, 2, 3, 4):
        curve.append(path, {"step": step, "loss": 10.0 - step})
    for step in (3, 4, 5):
        curve.append(path, {"step": step, "loss": 10.0 - step})
    assert path.read_text().splitlines() == ["step,loss", "1,9", "2,8", "3,7", "4,6", "5,5"]


def test_a_new_run_in_an_old_folder_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    curve.append(path, {"step": 7, "loss": 1.0})
    curve.append(path, {"round": 8, "reward": 1.0})
    assert path.read_text().splitlines() == ["round,reward", "8,1"]


def test_no_value_is_an_empty_field(tmp_path: Path) -> None:
    curve.append(tmp_path / "c.csv", {"step": 0, "best": float("nan")})
    assert (tmp_path / "c.csv").read_text() == "step,best\n0,\n"
