"""`python -m tests.faults.hunting`: plants each mistake and counts the seeds until it is found."""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.faults import planted_agent, planted_controller
from tests.faults.planted import BUGS

FIRST_SEED, MOST_SEEDS = 1, 150
console = Console(stderr=True, highlight=False)
assert planted_agent
assert planted_controller  # importing them registers their mistakes


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a planted mistake was found: after `seeds` seeds (0: not at all), by which promise."""

    bug: str
    seeds: int
    check: str
    sentence: str


def hunt(name: str, most_seeds: int = MOST_SEEDS) -> Hunt:
    """Play seeds with the mistake in the code until the checker says something."""
    from tests.faults.play import play

    for tried in range(1, most_seeds + 1):
        with BUGS[name].planted():
            found = play(FIRST_SEED + tried - 1).violations
        if found:
            return Hunt(name, tried, found[0].check, found[0].sentence)
    return Hunt(name, 0, "", "")


def main() -> int:
    """0 when every mistake was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hunting", description=__doc__)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds to try for each")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
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
        for future in as_completed([pool.submit(hunt, name, options.most) for name in names]):
            hunts.append(future.result())
            last = hunts[-1]
            console.print(f"{last.bug}: {last.seeds or 'not found'} {last.check}", markup=False)
            bar.advance(task)
    show(hunts)
    missed = sorted(found.bug for found in hunts if not found.seeds)
    most = max((found.seeds for found in hunts), default=0)
    print(json.dumps({"planted": len(hunts), "missed": missed, "most_seeds": most}))
    return 1 if missed else 0


def show(hunts: list[Hunt]) -> None:
    """The table: mistake, seeds until found, the promise that was seen broken."""
    table = Table("mistake", "seeds", "found as")
    for found in sorted(hunts, key=lambda found: found.bug):
        table.add_row(BUGS[found.bug].mistake, str(found.seeds or "not found"), found.check)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
