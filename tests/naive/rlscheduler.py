"""Naive twin of the RLScheduler heuristic experiment (SC'20), Lublin-1 trace.

Run as a script to print the mean bounded slowdown of five ordering rules over ten sequences of
1,024 jobs, without backfill and with EASY backfill. Slow and plain on purpose: it is what faster
code is checked against. The protocol is written down in docs/reference/rlscheduler-protocol.md.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TRACE = Path(__file__).resolve().parents[3] / "shared/data/jobs/lublin_256.swf.gz"
LENGTH = 1024
SEQUENCES = 10
SEED = 1

# Mean bounded slowdown: (without backfill, with EASY backfill). Authors' table, except `wfp3` and
# `unicep`, which they computed with the wrong waiting time; their own figures for those two come
# back with the `_printed` rules.
EXPECTED = {
    "fcfs": (7273.77, 235.82),
    "sjf": (277.35, 73.31),
    "f1": (258.37, 75.07),
    "wfp3": (337.34, 126.50),
    "unicep": (381.71, 103.10),
    "wfp3_printed": (19753.53, 133.87),
    "unicep_printed": (22274.74, 307.23),
}


@dataclass(frozen=True)
class Job:
    """One job of the trace; times in whole seconds."""

    number: int
    submit: int
    run: int
    request: int
    procs: int


@dataclass
class Running:
    job: Job
    start: int

    @property
    def end(self) -> int:
        return self.start + self.job.run

    @property
    def promised_end(self) -> int:
        return self.start + self.job.request


Score = Callable[[Job, int], Any]  # a number, or a tuple of numbers


# --- trace and sequences ------------------------------------------------------------------------


def read_trace(path: Path = TRACE) -> tuple[list[Job], int]:
    """Jobs in job-number order, and the number of processors of the machine."""
    jobs: list[Job] = []
    header: dict[str, int] = {}
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        for line in lines:
            if line.startswith(";"):
                key, _, value = line[1:].partition(":")
                if key.strip() in ("MaxProcs", "MaxNodes"):
                    header[key.strip()] = int(value)
            elif line.strip():
                job = parse_job([int(float(x)) for x in line.split()])
                if job.run > 0:
                    jobs.append(job)
    jobs.sort(key=lambda j: j.number)
    return jobs, header.get("MaxProcs") or header["MaxNodes"]


def parse_job(field: list[int]) -> Job:
    """SWF fields 1, 2, 4, 5 or 8, 9, with the reference's fallbacks."""
    run = field[3]
    request = field[8] if field[8] != -1 else run
    procs = max(field[4], field[7])
    return Job(field[0], field[1], 10 if run < 0 else run, request, procs)


def gym_random_state(seed: int) -> np.random.RandomState:
    """The generator that gym's `seeding.np_random(seed)` built before gym 0.22."""
    digest = hashlib.sha512(str(seed).encode()).digest()
    number = int.from_bytes(digest[:8], "little")
    words: list[int] = []
    while number:
        number, word = divmod(number, 2**32)
        words.append(word)
    return np.random.RandomState(words or [0])


def start_indices(size: int, seed: int = SEED, count: int = SEQUENCES) -> list[int]:
    rng = gym_random_state(seed)
    return [int(rng.randint(LENGTH, size - LENGTH - 1)) for _ in range(count)]


# --- ordering rules: the smallest score goes first, ties keep queue order ----------------------


def fcfs(job: Job, now: int) -> int:
    return job.submit


def sjf(job: Job, now: int) -> tuple[int, int]:
    return (job.request, job.submit)


def f1(job: Job, now: int) -> float:
    request = job.request if job.request > 0 else 0.1
    submit = job.submit if job.submit > 0 else 0.1
    return math.log10(request) * job.procs + 870 * math.log10(submit)


def wfp3(job: Job, now: int) -> float:
    return -(((now - job.submit) / job.request) ** 3) * job.procs


def unicep(job: Job, now: int) -> float:
    return -(now - job.submit + 1e-15) / (math.log2(job.procs + 1e-15) * job.request)


def wfp3_printed(job: Job, now: int) -> float:
    """The authors' slip: the start time of a waiting job is -1, so its wait is -1 - submit."""
    return wfp3(job, -1)


def unicep_printed(job: Job, now: int) -> float:
    return unicep(job, -1)


POLICIES: dict[str, Score] = {
    "fcfs": fcfs,
    "sjf": sjf,
    "f1": f1,
    "wfp3": wfp3,
    "unicep": unicep,
    "wfp3_printed": wfp3_printed,
    "unicep_printed": unicep_printed,
}


# --- simulator ----------------------------------------------------------------------------------


class Simulation:
    """One sequence on an empty machine. Events are taken one at a time, and only when needed."""

    def __init__(self, jobs: list[Job], procs: int, score: Score, backfill: bool) -> None:
        self.pending = list(jobs)
        self.free = procs
        self.score = score
        self.backfill = backfill
        self.now = jobs[0].submit
        self.queue: list[Job] = []
        self.running: list[Running] = []
        self.starts: dict[int, int] = {}

    def run(self) -> dict[int, int]:
        """Start time of every job, by job number."""
        while self.pending or self.queue:
            while not self.queue:
                self.next_event()
            self.queue.sort(key=lambda j: self.score(j, self.now))
            self.start_head(self.queue[0])
        return self.starts

    def start_head(self, head: Job) -> None:
        """Wait for `head` to fit, whatever arrives meanwhile, then start it."""
        shadow = self.shadow_time(head) if head.procs > self.free else self.now
        while head.procs > self.free:
            if self.backfill:
                self.fill(shadow)
            self.next_event()
        self.start(head)

    def shadow_time(self, head: Job) -> int:
        """When `head` fits if every running job lasts exactly as long as requested."""
        free = self.free
        for item in sorted(self.running, key=lambda r: r.promised_end):
            free += item.job.procs
            if free >= head.procs:
                return item.promised_end
        raise ValueError(f"job {head.number} is larger than the machine")

    def fill(self, shadow: int) -> None:
        """Start, in submit order, every job that fits now and ends strictly before `shadow`."""
        self.queue.sort(key=lambda j: j.submit)
        for job in list(self.queue):
            if self.now + job.request < shadow and job.procs <= self.free:
                self.start(job)

    def start(self, job: Job) -> None:
        self.free -= job.procs
        self.running.append(Running(job, self.now))
        self.queue.remove(job)
        self.starts[job.number] = self.now

    def next_event(self) -> None:
        """Take one arrival or one completion; at equal times the arrival."""
        self.running.sort(key=lambda r: r.end)
        release = self.running[0].end if self.running else math.inf
        if self.pending and self.pending[0].submit <= release:
            job = self.pending.pop(0)
            self.now = max(self.now, job.submit)
            self.queue.append(job)
        else:
            done = self.running.pop(0)
            self.now = max(self.now, done.end)
            self.free += done.job.procs


def bounded_slowdown(job: Job, start: int) -> float:
    return max(1.0, (start - job.submit + job.run) / max(job.run, 10))


def evaluate(jobs: list[Job], procs: int, score: Score, backfill: bool) -> list[float]:
    """Mean bounded slowdown of each sequence."""
    means: list[float] = []
    for first in start_indices(len(jobs)):
        window = jobs[first : first + LENGTH]
        starts = Simulation(window, procs, score, backfill).run()
        means.append(sum(bounded_slowdown(j, starts[j.number]) for j in window) / LENGTH)
    return means


def main() -> int:
    jobs, procs = read_trace()
    print(f"{len(jobs)} jobs, {procs} processors, starts {start_indices(len(jobs))}")
    worst = 0.0
    for backfill in (False, True):
        for name, score in POLICIES.items():
            value = float(np.mean(evaluate(jobs, procs, score, backfill)))
            target = EXPECTED[name][backfill]
            error = value / target - 1
            worst = max(worst, abs(error))
            label = "easy" if backfill else "none"
            print(f"{label:5} {name:14} {value:10.4f}  expected {target:8.2f}  {error:+.4%}")
    return 0 if worst <= 0.0005 else 1


if __name__ == "__main__":
    sys.exit(main())
