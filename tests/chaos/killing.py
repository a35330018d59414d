"""`kill -9` at each named point and at random: all that was accepted ends, each task ran once.

`python -m tests.chaos.killing` does all of it, prints a table and one JSON line, and ends with 1
when anything was lost, ran twice, or did not end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cerebrum.model.errors import CerebrumError
from tests.chaos.servers import Federation, wait_for
from tests.chaos.story import Story
from tests.chaos.survey import Point, survey

console = Console(stderr=True, highlight=False)
LANES = 2
"""Federations side by side: most of the time each waits for an election or a lease."""
ENOUGH = 60
"""Points that a whole run has to hit: fewer, and it has not tested what it says."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one death, or of the deaths in one story.

    `deaths` how often a process was killed; `recovered_s` from the first death until all that had
    been accepted was at its end; `wrong` what the effects or the states say against it.
    """

    what: str
    deaths: int
    recovered_s: float
    wrong: tuple[str, ...]

    @property
    def said(self) -> str:
        """In words."""
        return "; ".join(self.wrong) or ("held" if self.deaths else "not reached")


class Lane:
    """One federation after the other: kept as long as it works, replaced when it does not."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._federation: Federation | None = None

    def at_point(self, point: Point, passing: int = 1) -> Verdict:
        """A story in which one side dies at a point, when it comes there for the n-th time."""
        federation = self._prepared(fresh=point.first_life_only)
        server = federation.server(point.side)
        server.stop()
        server.start(crash_at=f"{point.name}:{passing}")
        found = self._told(federation, str(point), kills=None)
        if not found.deaths:
            server.stop()  # some points are on the way out; and nobody is to die in the next story
            if server.was_killed:
                after = self._told(federation, f"after {point}", kills=None)
                found = replace(after, what=str(point), wrong=(*found.wrong, *after.wrong))
        return found

    def at_random(self, number: int, seed: int) -> Verdict:
        """A story in which one to three random deaths happen at random moments."""
        federation = self._prepared(fresh=False)
        return self._told(federation, f"random {number}", random.Random(f"{seed} {number}"))

    def close(self) -> list[str]:
        """End it; workflows that have not ended by then, though each story saw its own end."""
        federation, self._federation = self._federation, None
        if federation is None:
            return []
        found: list[str] = []

        def looked() -> bool:
            federation.keep_alive()
            with federation.client() as client:
                found[:] = [
                    f"{workflow['id']} is {workflow['state']} at the end"
                    for workflow in client.workflows()
                    if workflow["ended_unix_s"] is None
                ]
            return True

        with federation:
            wait_for(looked, "the controller lists its workflows")
        return found

    def _told(self, federation: Federation, what: str, kills: random.Random | None) -> Verdict:
        story = Story(federation, what)
        try:
            wrong = story.tell(kills)
        except (AssertionError, CerebrumError) as problem:
            wrong = [str(problem)]
            for server in federation.servers():
                console.print(f"{what}: {server.log.name}", style="bold", markup=False)
                console.print(server.tail(), markup=False)
            self._give_up()
        return Verdict(what, story.deaths, round(story.recovered_s, 1), tuple(wrong))

    def _prepared(self, *, fresh: bool) -> Federation:
        if fresh:
            self._give_up()
        if self._federation is None:
            self._number += 1
            self._federation = Federation(self._folder / str(self._number))
            if not fresh:
                self._federation.start()
        return self._federation

    def _give_up(self) -> None:
        federation, self._federation = self._federation, None
        if federation is not None:
            federation.__exit__()


def kill_everywhere(
    folder: Path,
    random_deaths: int = 20,
    limit: int | None = None,
    seed: int = 0,
    passing: int = 1,
) -> tuple[int, list[Verdict]]:
    """All of it: how many points are known, and what came of each.

    `limit` takes a sample of the points; at each, death comes at the `passing`-th time.
    """
    points = survey(folder / "survey")
    known = len(points)
    if limit is not None:
        points = random.Random(seed).sample(points, min(limit, known))
    jobs: list[Point | int] = [*sorted(points), *range(random_deaths)]
    verdicts, turn = list[Verdict](), threading.Lock()
    with Progress(console=console) as bar:
        shown = bar.add_task("kill -9", total=len(jobs))

        def work(lane: Lane, mine: Sequence[Point | int]) -> None:
            for job in mine:
                found = (
                    lane.at_random(job, seed)
                    if isinstance(job, int)
                    else lane.at_point(job, passing)
                )
                with turn:
                    verdicts.append(found)
                    bar.advance(shown)
                    style = "red" if found.wrong else "dim"
                    bar.console.print(
                        f"{found.what}: {found.said} ({found.recovered_s} s)", style=style,
                        markup=False,
                    )  # fmt: skip
            if unended := lane.close():
                verdicts.append(Verdict("at the end", 0, 0.0, tuple(unended)))

        lanes = [Lane(folder / f"lane{number}") for number in range(LANES)]
        with ThreadPoolExecutor(LANES) as pool:
            list(pool.map(work, lanes, [jobs[number::LANES] for number in range(LANES)]))
    return known, verdicts


def table(verdicts: Sequence[Verdict]) -> Table:
    """For people."""
    made = Table("point", "times hit", "recovered in s", "verdict")
    for found in verdicts:
        style = "red" if found.wrong else None if found.deaths else "yellow"
        shown = f"{found.recovered_s:.1f}" if found.deaths else "-"
        made.add_row(found.what, str(found.deaths), shown, found.said, style=style)
    return made


def summary(known: int, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """In one JSON object."""
    named = [found for found in verdicts if not found.what.startswith("random")]
    return {
        "known": known,
        "points_hit": sum(found.deaths > 0 for found in named),
        "random": len(verdicts) - len(named),
        "deaths": sum(found.deaths for found in verdicts),
        "not_reached": [found.what for found in verdicts if not (found.deaths or found.wrong)],
        "wrong": [asdict(found) for found in verdicts if found.wrong],
    }


def main() -> int:
    """0 when nothing was lost, nothing ran twice, everything accepted ended, and enough was hit."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.killing", description=__doc__)
    parser.add_argument("--random", type=int, default=20, help="stories with random deaths")
    parser.add_argument("--limit", type=int, help="a sample of the points")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--passing", type=int, default=1, help="die at a point the n-th time")
    options = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        known, found = kill_everywhere(
            Path(folder), options.random, options.limit, options.seed, options.passing
        )
    console.print(table(found))
    result = summary(known, found) | {"wall_s": round(time.monotonic() - began_s, 1)}
    print(json.dumps(result))
    whole = options.limit is None and options.passing == 1
    return 1 if result["wrong"] or (whole and result["points_hit"] < ENOUGH) else 0


if __name__ == "__main__":
    sys.exit(main())
