"""`python -m tests.faults.hunting`: plants each mistake and plays seeds until the checker sees it.

Where each was found is kept in `found.json`. `--again` tries those seeds first, which takes a few
minutes for all mistakes together, plays them without the mistake as well, and searches on only
where the code has changed so much that another seed shows it now. `--record` writes the file anew.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import chain, count, islice
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.faults import planted_agent, planted_controller
from tests.faults.planted import BUGS
from tests.faults.play import play
from tests.faults.scenarios import EVERY

MOST_SEEDS = 100
FOUND = Path(__file__).with_name("found.json")
console = Console(stderr=True, highlight=False)
assert planted_agent
assert planted_controller  # importing them registers their mistakes


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a planted mistake was found: in which seed, after how many (0: not at all), as what."""

    bug: str
    seed: int
    seeds: int
    check: str


def in_turn(most_seeds: int) -> Iterator[int]:
    """Seeds to hunt in: by turns one of luck alone and one of the scenarios, from the lowest."""
    luck = (seed for seed in count(1) if seed % EVERY != EVERY - 1)
    return islice(chain.from_iterable(zip(luck, count(EVERY - 1, EVERY), strict=False)), most_seeds)


def hunt(name: str, seeds: Iterable[int]) -> Hunt:
    """Play seeds with the mistake in the code until the checker says something."""
    for tried, seed in enumerate(seeds, 1):
        with BUGS[name].planted():
            found = play(seed).violations
        if found:
            return Hunt(name, seed, tried, found[0].check)
    return Hunt(name, 0, 0, "")


def recorded() -> dict[str, Hunt]:
    """What `found.json` says."""
    return {row["bug"]: Hunt(**row) for row in json.loads(FOUND.read_text())}


def search(name: str, most_seeds: int) -> Hunt:
    """From the beginning."""
    return hunt(name, in_turn(most_seeds))


def hunt_again(name: str, most_seeds: int) -> Hunt:
    """First where it was found before."""
    known = recorded().get(name)
    found = hunt(name, [known.seed] if known else [])
    return found if found.seeds else search(name, most_seeds)


def sound(seed: int) -> list[str]:
    """What the checker says of a seed with no mistake planted: nothing, or it cried wolf above."""
    return [f"seed {seed}, nothing planted: {violation}" for violation in play(seed).violations]


def main() -> int:
    """0 when every mistake was found, and nothing where there was none."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.faults.hunting", *sys.argv[1:]])
    names = [name for name in BUGS if options.only in name]
    hunts: list[Hunt] = []
    with (
        Progress(console=console) as bar,
        ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool,
    ):
        task = bar.add_task("planted mistakes", total=len(names))
        how = hunt_again if options.again else search
        for future in as_completed([pool.submit(how, name, options.most) for name in names]):
            hunts.append(last := future.result())
            where = f"seed {last.seed}, {last.check}" if last.seeds else "not found"
            console.print(f"{last.bug}: {where}", markup=False)
            bar.advance(task)
        seeds = sorted({found.seed for found in hunts if found.seeds})
        cries = [cry for cries in pool.map(sound, seeds) for cry in cries]
    return _conclude(sorted(hunts, key=lambda found: found.bug), cries, options.record)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hunting", description=__doc__)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds to try for each")
    parser.add_argument("--again", action="store_true", help="first where they were found before")
    parser.add_argument("--record", action="store_true", help="write down where they were found")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def _conclude(hunts: list[Hunt], cries: list[str], record: bool) -> int:
    table = Table("mistake", "seed", "seeds", "found as")
    for found in hunts:
        seed, seeds = (str(found.seed), str(found.seeds)) if found.seeds else ("not found", "")
        table.add_row(BUGS[found.bug].mistake, seed, seeds, found.check)
    console.print(table)
    for cry in cries:
        console.print(cry, style="red", markup=False)
    if record:
        rows = {name: hunt for name, hunt in recorded().items() if name in BUGS}
        rows |= {found.bug: found for found in hunts if found.seeds}
        text = ",\n ".join(json.dumps(asdict(rows[name])) for name in sorted(rows))
        FOUND.write_text(f"[{text}]\n")
    missed = [found.bug for found in hunts if not found.seeds]
    print(json.dumps({
        "planted": len(hunts), "missed": missed, "cried_wolf": len(cries),
        "most_seeds": max((found.seeds for found in hunts), default=0),
    }))  # fmt: skip
    return 1 if missed or cries else 0


if __name__ == "__main__":
    sys.exit(main())
