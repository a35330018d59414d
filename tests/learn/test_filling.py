"""A cluster filled again and again by different scorers, measured as the published tables are."""

from __future__ import annotations

import numpy as np
import pytest

from cerebrum.engine.metrics import by_load
from cerebrum.engine.series import series
from cerebrum.learn.filling import Filling
from cerebrum.learn.generated import Generated
from cerebrum.model.errors import ConfigError
from cerebrum.policies import get_policy
from tests.engine.stories import simulate

LOADS = (20, 50, 80, 110)
STORY = Generated(nodes=(30, 30), tasks=400, gpu_nodes=0.9, gpu_tasks=0.95, endless=True).scenario(
    3
)


@pytest.mark.parametrize("name", ["fgd", "best-fit"])
def test_it_measures_what_the_event_log_says(name: str) -> None:
    log = simulate(STORY, get_policy(name, queue="reject")).engine.log
    wanted = by_load(series(STORY, log), LOADS)
    measured = Filling(STORY, LOADS).run(get_policy(name, queue="reject"))
    assert measured == pytest.approx([wanted[k]["allocation_pct"] for k in LOADS], abs=1e-9)


def test_every_run_starts_from_the_empty_cluster() -> None:
    filling = Filling(STORY, LOADS)
    first = filling.run(get_policy("fgd", queue="reject"))
    other = filling.run(get_policy("worst-fit", queue="reject"))
    assert (filling.run(get_policy("fgd", queue="reject")) == first).all()
    assert (other != first).any()


def test_a_load_that_is_never_reached_is_refused() -> None:
    with pytest.raises(ConfigError, match="arrivals up to 900"):
        Filling(STORY, (900,))


def test_tasks_that_end_are_refused() -> None:
    leaving = Generated(tasks=20).scenario(0)
    with pytest.raises(ConfigError, match="never end"):
        Filling(leaving, LOADS)


def test_arrivals_of_the_story_reach_the_loads() -> None:
    asked = STORY.tasks.request("gpu_milli_total").sum() / STORY.cluster.gpu_capacity
    assert asked > 1200, "the story no longer fills its cluster; the tests above prove nothing"
    assert np.isinf(STORY.tasks.duration_s).all()
