"""Histories from seeds: production code in trouble, judged by the checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.hunting import hunt, recorded
from tests.faults.plan import draw
from tests.faults.planted import BUGS
from tests.faults.play import play
from tests.faults.scenarios import EVERY, bent

ROOT = Path(__file__).resolve().parent.parent.parent


def in_seeds(module: str, *arguments: str) -> None:
    """Run a module of ours to its end; it says itself what broke."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("seed", [0, 1, 2, EVERY - 1])
def test_a_history_breaks_no_promise(seed: int) -> None:
    played = play(seed)
    assert [str(violation) for violation in played.violations] == []
    assert any(entry.kind == "workflow_ended" for entry in played.history)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(9818, id="a wait on a clock that began anew with the machine"),
        pytest.param(5629, id="a registration confirmed late aged the lease"),
        pytest.param(8126, id="a contact counted although what had expired could not be stored"),
        pytest.param(9449, id="lost in the database, live in memory"),
    ],
)
def test_a_history_that_broke_a_promise_once_keeps_it(seed: int) -> None:
    assert [str(violation) for violation in play(seed).violations] == []


def test_one_seed_in_five_is_a_scenario_and_all_others_are_left_to_luck() -> None:
    plans = [draw(seed) for seed in range(6 * EVERY)]
    changed = [seed for seed, plan in enumerate(plans) if bent(plan, seed) != plan]
    assert changed == [seed for seed in range(6 * EVERY) if seed % EVERY == EVERY - 1]


def test_one_seed_is_one_history() -> None:
    assert play(5).digest == play(5).digest


def test_the_checker_finds_a_planted_mistake() -> None:
    found = hunt("start-before-confirmed", range(1, 11))
    assert found.check in ("only confirmed work starts", "steps in order")


def test_it_is_known_where_each_planted_mistake_is_found() -> None:
    assert recorded().keys() == BUGS.keys()
    assert len(BUGS) >= 20


@pytest.mark.slow
def test_three_hundred_histories_break_no_promise() -> None:
    in_seeds("tests.faults", "--seeds", "0:300")


@pytest.mark.slow
def test_every_planted_mistake_is_found() -> None:
    in_seeds("tests.faults.hunting", "--again")
