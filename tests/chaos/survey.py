"""Which points a controller and an agent pass, in their first life and in later ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.chaos.servers import Federation
from tests.chaos.story import Story


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Where `side` can be made to die. `first_life_only`: later starts do not come by there."""

    first_life_only: bool
    side: str
    name: str

    def __str__(self) -> str:
        return f"{self.side} {self.name}"


def survey(folder: Path) -> list[Point]:
    """The points of two stories, the second after a restart of everybody."""
    with Federation(folder) as federation:
        lives = [_life(federation, number) for number in (1, 2)]
    first, later = lives
    return sorted(Point((side, name) not in later, side, name) for side, name in first | later)


def _life(federation: Federation, number: int) -> set[tuple[str, str]]:
    sides = ("gcc", "lca")
    for side in sides:
        federation.server(side).points = federation.folder / f"{side}.{number}.points"
    federation.start()
    wrong = Story(federation, f"survey {number}").tell()
    assert not wrong, wrong
    for server in federation.servers():
        server.stop()
    return {
        (side, name)
        for side in sides
        for name in (federation.folder / f"{side}.{number}.points").read_text().split()
    }
