"""`cerebrum train`, `evaluate` and `compare` as a person uses them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cerebrum.cli import run
from cerebrum.learn import recipes
from cerebrum.learn.recipes import CURVE, Settings, get_evaluation, get_recipe
from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.artefact import Artefact, EvaluationRow
from tests.policies.learned import bidders

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_it


def always(settings: Settings) -> Artefact:
    """A recipe that bids its seed after as many steps as the budget buys."""
    with (settings.out / CURVE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        for step in range(settings.steps(10)):
            writer.writerow([step, 1.0 / (step + 1)])
    return bidders.always(settings.seed)


def again(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    row = artefact.card.evaluation[0]
    return (row.model_copy(update={"value": row.value + 1}),)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "always", f"{__name__}:always")
    monkeypatch.setitem(recipes.EVALUATIONS, bidders.always(3).card.name, f"{__name__}:again")


@pytest.mark.usefixtures("known")
def test_a_recipe_leaves_artefact_and_curve(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, _ = call("train", "always", "--to", str(folder), "--seed", "3", "--budget", "0.5")
    assert code == 0
    assert str(folder / "always.safetensors") in out
    made = artefacts.read(folder / "always.safetensors")
    assert made.card == bidders.always(3).card
    assert "<polyline" in (folder / "curve.html").read_text()
    assert len((folder / CURVE).read_text().splitlines()) == 1 + 5


@pytest.mark.usefixtures("known")
def test_what_was_trained_before_is_not_written_over(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    code, _, err = call("train", "always", "--to", str(tmp_path))
    assert code != 0
    assert "--resume" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_shipped_model_has_its_recipe_and_its_evaluation() -> None:
    for name in artefacts.shipped():
        assert callable(get_recipe(name))
        assert callable(get_evaluation(name))


def test_a_recipe_that_is_not_there_is_told_with_the_nearest(call: Call) -> None:
    code, _, err = call("train", "openb-scorrer")
    assert code != 0
    assert "openb-scorer" in err


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_positive_number(tmp_path: Path, budget: float) -> None:
    with pytest.raises(ConfigError, match="budget"):
        Settings(tmp_path, budget=budget)


@pytest.mark.usefixtures("known")
def test_an_evaluation_stands_beside_the_card(call: Call, tmp_path: Path) -> None:
    whole = bidders.always(3)
    row = EvaluationRow(scenario="s", policy="p", metric="cost", value=2.0)
    card = whole.card.model_copy(update={"evaluation": (row,)})
    path = tmp_path / "m.safetensors"
    artefacts.write(path, Artefact(card, whole.weights, whole.statistics))
    code, out, _ = call("evaluate", str(path), "-o", "json")
    assert code == 0
    assert [(line["now"], line["card"]) for line in json.loads(out)] == [(3.0, 2.0)]


def test_real_data_that_is_not_there_is_named(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEREBRUM_DATA", str(tmp_path))
    code, _, err = call("evaluate", "job-order")
    assert code != 0
    assert "lublin_256" in err


def test_one_policy_is_nothing_to_compare(call: Call) -> None:
    code, _, err = call("compare", "openb-like", "-p", "fgd")
    assert code != 0
    assert "baseline" in err


def test_a_comparison_is_in_pairs(call: Call) -> None:
    given = ("openb-like", "--set", "nodes=12", "-p", "best-fit,random", "--seeds", "1..3", "-j1")
    code, out, _ = call("compare", *given, "-o", "json", "--metric", "gpu_allocation_pct")
    (line,) = json.loads(out)
    assert code == 0
    assert (line["candidate"], line["baseline"], line["seeds"]) == ("best-fit", "random", 3)
    assert line["low"] <= line["difference"] <= line["high"]
