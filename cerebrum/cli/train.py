"""`cerebrum train`: make an artefact by its recipe, with a curve; stop and resume at will."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit
from cerebrum.cli._progress import bar, say
from cerebrum.model.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from cerebrum.learn.recipes import Settings

_ABOUT = """Train a policy by a recipe; what ships was made so, with seed 0 and budget 1.

Writes NAME.safetensors, curve.csv and curve.html into a folder. A run that was stopped goes on with
--resume and ends as if it had not been stopped. `cerebrum train list` names the recipes.
"""


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("train", help=_ABOUT, short_help=line)(train)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or `list`.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to write (default: runs/train-NAME).")
    ] = None,
    data: options.Data = None,
    seed: options.Seed = 0,
    budget: Annotated[
        float, typer.Option(help="Scale of the training steps; 1 is what was shipped.")
    ] = 1.0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes at most.")] = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    output: options.Form = Output.TABLE,
) -> None:
    """Train, write the artefact and its curve, and print what its card says of it."""
    from cerebrum.learn.recipes import RECIPES, Settings

    if recipe == "list":
        emit([{"recipe": name, "made_by": made_by} for name, made_by in RECIPES.items()], output)
        return
    folder = to or Path("runs") / f"train-{recipe}"
    _check_folder(folder, resume)
    settings = Settings(folder, options.real_data(data), seed, budget, jobs, resume)
    artefact = _run(recipe, settings)
    rows = [{"artefact": str(artefact), "curve": str(folder / "curve.html")}]
    emit(rows, output)


def _run(recipe: str, settings: Settings) -> Path:
    from dataclasses import replace

    from cerebrum.learn.recipes import CURVE, get_recipe
    from cerebrum.policies.learned.artefact import write

    try:
        function = get_recipe(recipe)
    except ModuleNotFoundError as missing:
        raise MissingDependency(f"train {recipe} ({missing.name})", "learn") from None
    settings.out.mkdir(parents=True, exist_ok=True)
    with bar(f"train {recipe}", 0) as advance:

        def progress(done: int, total: int, line: Mapping[str, float]) -> None:
            del line
            advance(done, total)

        made = function(replace(settings, progress=progress))
    target = settings.out / f"{recipe}.safetensors"
    write(target, made)
    _draw(settings.out / CURVE, recipe)
    return target


def _draw(curve: Path, recipe: str) -> None:
    from cerebrum.experiments.curves import write_page

    if curve.is_file():
        write_page(curve, curve.with_suffix(".html"), f"Training of {recipe}")
        say(f"curve: {curve.with_suffix('.html')}")


def _check_folder(folder: Path, resume: bool) -> None:
    """Nothing that was trained before is written over."""
    if resume or not folder.exists() or not any(folder.iterdir()):
        return
    raise ConfigError(f"{folder} holds a training run: give --resume, or another folder with --to")
