"""`cerebrum evaluate`: measure a model anew on what it was not trained on, beside its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import say

if TYPE_CHECKING:
    from cerebrum.policies.learned.card import EvaluationRow

_ABOUT = """Measure a model on the scenarios and seeds that its training left out, with its rivals.

`card` is what the model's card says, `now` what comes out here.
"""


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("evaluate", help=_ABOUT, short_help=line)(evaluate)


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped name, or a .safetensors file.")],
    data: options.Data = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes at most.")] = 2,
    output: options.Form = Output.TABLE,
) -> None:
    """Run the evaluation of the recipe that made the model."""
    from cerebrum.learn.recipes import Settings, get_evaluation
    from cerebrum.policies.learned import artefact as artefacts

    found = artefacts.read(artefacts.find(model))
    measure = get_evaluation(found.card.name)
    say(f"evaluating {found.card.name}, version {found.card.version}")
    rows = measure(found, Settings(Path(), options.real_data(data), jobs=jobs))
    emit(_beside(rows, found.card.evaluation), output)


def _beside(
    rows: tuple[EvaluationRow, ...], card: tuple[EvaluationRow, ...]
) -> list[dict[str, Any]]:
    said = {(row.scenario, row.policy, row.metric): row.value for row in card}
    return [
        {
            "scenario": row.scenario,
            "policy": row.policy,
            "metric": row.metric,
            "now": row.value,
            "low": row.low,
            "high": row.high,
            "card": said.get((row.scenario, row.policy, row.metric)),
        }
        for row in rows
    ]
