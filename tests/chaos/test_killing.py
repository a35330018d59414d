"""`kill -9` of real processes. All points: `make test-chaos`; here a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.killing import ENOUGH, kill_everywhere, summary
from tests.chaos.work import problems, problems_of_cancelled


@pytest.mark.slow
def test_whoever_is_killed_wherever_each_task_runs_once(tmp_path: Path) -> None:
    found = summary(*kill_everywhere(tmp_path, random_deaths=2, limit=6))
    assert found["wrong"] == []
    assert found["points_hit"] >= 5, "a point may have been passed by chance in the survey"
    assert found["known"] >= ENOUGH


def test_the_file_of_effects_tells_what_was_lost_ran_twice_or_too_early(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    lines = [f"w/{task} {what}" for task in "acfbde" for what in ("began", "ended")]

    def said(lines: list[str]) -> list[str]:
        effects.write_text("".join(f"{line}\n" for line in lines))
        return problems("w", effects)

    assert said(lines) == []
    assert said([line for line in lines if line != "w/f ended"]) == ["w/f ended 0 times"]
    assert said([*lines, "w/a began", "w/a ended"]) == ["w/a began 2 times", "w/a ended 2 times"]
    late = [line for line in lines if line != "w/a ended"] + ["w/a ended"]
    assert said(late) == ["w/b began before a had ended"]


def test_a_cancelled_task_neither_begins_twice_nor_comes_to_its_effect(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.write_text("w/a began\nw/c began\n")
    assert problems_of_cancelled("w", effects) == []
    effects.write_text("w/a began\nw/a began\nw/c began\nw/c ended\n")
    assert problems_of_cancelled("w", effects) == ["w/a began 2 times", "w/c ended"]
