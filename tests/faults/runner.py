"""Plays seeds in some processes, shows what broke, replays one of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.history import Entry, History
from tests.faults.reading import Violation

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker sends back of one seed."""

    seed: int
    cpu_s: float
    virtual_s: float
    entries: int
    digest: str
    broken: tuple[str, ...]
    checks: tuple[str, ...]
    timeline: str


def main(arguments: list[str] | None = None) -> int:
    """0 when no promise was broken."""
    options = _options(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of strings is part of a history: without this a seed is not one history.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]])
    if options.seed is not None:
        return _one(options.seed, options.verbose, options.task)
    first, _, last = options.seeds.partition(":")
    return _many(range(int(first), int(last)), options.jobs, options.keep_going)


def _options(arguments: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", default="0:300", metavar="FIRST:END", help="default 0:300")
    parser.add_argument("--seed", type=int, help="play one seed and show it")
    parser.add_argument("-v", "--verbose", action="store_true", help="the whole history of --seed")
    parser.add_argument("--task", default="", help="with -v: only entries that name this")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-k", "--keep-going", action="store_true", help="not only until 20 break")
    return parser.parse_args(arguments)


def outcome_of(seed: int) -> Outcome:
    """Play one seed; what comes back is small."""
    from tests.faults.play import play

    played = play(seed)
    return Outcome(
        seed,
        played.cpu_s,
        played.virtual_s,
        len(played.history.entries),
        played.digest,
        tuple(str(violation) for violation in played.violations),
        tuple(violation.check for violation in played.violations),
        timeline(played.history, played.violations[0]) if played.violations else "",
    )


def timeline(history: History, violation: Violation, limit: int = 60) -> str:
    """What led to a broken promise: entries of its tasks, and what was done on purpose."""
    subjects = {entry.task for entry in violation.entries} - {""}
    subjects |= set() if subjects else {entry.workflow for entry in violation.entries} - {""}

    def belongs(entry: Entry) -> bool:
        if entry.who == "faults":
            return entry.kind != "settings"
        return bool({entry.task, entry.workflow} & subjects) and entry.kind != "accepted"

    last = max((entry.at_s for entry in violation.entries), default=float("inf"))
    shown = [entry for entry in history if belongs(entry) and entry.at_s <= last + 1.0]
    return "\n".join(str(entry) for entry in shown[-limit:])


def _one(seed: int, verbose: bool, task: str) -> int:
    from tests.faults.play import play

    played = play(seed)
    if verbose:
        for entry in played.history:
            line = str(entry)
            if task in line and (entry.kind != "heard" or task):
                print(line)
    console.print(f"seed {seed}: {played.virtual_s:.0f} s of history in {played.cpu_s:.2f} CPU-s, "
                  f"{len(played.history.entries)} entries, digest {played.digest}")  # fmt: skip
    if verbose:
        console.print(str(played.plan), style="dim", markup=False)
    for violation in played.violations:
        console.print(str(violation), style="red", markup=False)
    return 1 if played.violations else 0


def _many(seeds: range, jobs: int, keep_going: bool) -> int:
    began_s, broken, cpu_s = time.monotonic(), list[Outcome](), list[float]()
    bar = Progress(
        TextColumn("fault seeds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[broken]} broken"), console=console,
    )  # fmt: skip
    with bar, ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        task = bar.add_task("", total=len(seeds), broken=0)
        futures = [pool.submit(outcome_of, seed) for seed in seeds]
        for future in as_completed(futures):
            outcome = future.result()
            cpu_s.append(outcome.cpu_s)
            if outcome.broken:
                broken.append(outcome)
                console.print(
                    f"seed {outcome.seed}: {outcome.broken[0]}", style="red", markup=False
                )
            bar.update(task, advance=1, broken=len(broken))
            if len(broken) >= 20 and not keep_going:
                pool.shutdown(cancel_futures=True)
                break
    if broken:
        worst = min(broken, key=lambda outcome: outcome.timeline.count("\n"))
        console.rule(f"seed {worst.seed}")
        console.print(worst.timeline, markup=False)
        console.print(worst.broken[0], style="red", markup=False)
        console.print(f"again: python -m tests.faults --seed {worst.seed} -v", markup=False)
    print(json.dumps({
        "seeds": len(cpu_s), "broken": sorted(outcome.seed for outcome in broken),
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_s_mean": round(sum(cpu_s) / max(1, len(cpu_s)), 3),
        "cpu_s_max": round(max(cpu_s, default=0.0), 3),
    }))  # fmt: skip
    return 1 if broken else 0
