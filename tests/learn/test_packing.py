"""Prices of parts of a GPU, on mixes of tasks whose best packing can be worked out by hand."""

from __future__ import annotations

import pytest

from cerebrum.learn.packing import demand, price_list
from cerebrum.model.errors import ConfigError
from cerebrum.model.tasks import TaskTable
from tests.engine.stories import task


def test_halves_are_worth_half_and_less_is_worth_nothing() -> None:
    worth = price_list({500: 10})
    assert worth[[0, 49, 50, 99, 100]] == pytest.approx([0.0, 0.0, 0.5, 0.5, 1.0])


def test_room_that_only_abundant_leftovers_would_fill_is_worth_nothing() -> None:
    """Ten tasks of 800 leave ten rests of 200 for three tasks of 200: those ride for nothing."""
    worth = price_list({800: 10, 200: 3})
    assert worth[[20, 80, 100]] == pytest.approx([0.0, 1.0, 1.0])


def test_a_scarce_complement_has_a_price() -> None:
    """Three of 200 for each of 400: two 200 with every 400, the rest in fives; a fifth each."""
    worth = price_list({400: 10, 200: 100})
    assert worth[[20, 40, 60]] == pytest.approx([0.2, 0.4, 0.6])


def test_worth_never_falls_with_room_and_a_whole_gpu_is_worth_one() -> None:
    worth = price_list({50: 7, 160: 74, 230: 140, 320: 328, 470: 750, 650: 253, 810: 1078, 1000: 9})
    assert (worth[1:] >= worth[:-1]).all()
    assert worth[[0, 81, 100]] == pytest.approx([0.0, 1.0, 1.0])


def test_tasks_of_one_gpu_or_a_part_of_it_are_counted() -> None:
    tasks = [task("a", gpu_milli=300), task("b", gpu_milli=300), task("c", gpus=1),
             task("d", gpus=2), task("e")]  # fmt: skip
    assert demand(TaskTable.from_tasks(tasks)) == {300: 2, 1000: 1}


@pytest.mark.parametrize("asked", [{}, {0: 3}, {1001: 3}, {500: 0}, {500: float("nan")}])
def test_what_nobody_can_pack_is_refused(asked) -> None:
    with pytest.raises(ConfigError, match="expected"):
        price_list(asked)
