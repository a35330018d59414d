"""`kill -9` of real processes. All points: `python -m tests.chaos.killing`; here a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.killing import kill_everywhere


@pytest.mark.slow
def test_whoever_is_killed_wherever_each_task_runs_once(tmp_path: Path) -> None:
    found = kill_everywhere(tmp_path, at_random_points=3, limit=8)
    assert found["wrong"] == {}
    assert found["died"] >= 4  # some points are not passed again on a second start
    assert found["known"] >= 60
