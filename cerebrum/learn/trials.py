"""Candidates compared on the same episodes: every weight vector meets the same arrivals.

Worker processes hold the episodes and one compiled scorer each; a candidate is only its weights.
What comes back does not depend on the number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cerebrum import traces
from cerebrum.engine.incremental import Incremental
from cerebrum.learn.filling import Filling
from cerebrum.policies import get_policy
from cerebrum.policies.learned.node_scorer import TrainableScorer, policy

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One openb trace under FGD's arrival protocol with one seed."""

    pods: str
    seed: int


def beside_fgd(folder: Path, arrivals: Arrivals) -> tuple[Filling, Vector]:
    """The episode, and how far the published FGD fills it: float64[loads], % of all GPUs."""
    scenario = traces.read(
        folder, "openb", pods=arrivals.pods, arrivals="fgd", seed=arrivals.seed, oversized="keep"
    )
    assert scenario.report is not None
    fgd = get_policy(f"fgd-original:{scenario.report.kept}", queue="reject")
    assert isinstance(fgd, Incremental)
    episode = Filling(scenario)
    return episode, episode.run(fgd)


class Stage:
    """Episodes, FGD's curve on each, and a scorer whose weights are exchanged."""

    def __init__(
        self, folder: Path, arrivals: Sequence[Arrivals], prices: Vector, hidden: int
    ) -> None:
        self._scorer = TrainableScorer(hidden, prices)
        self._episodes: list[Filling] = []
        self._fgd: list[Vector] = []
        for one in arrivals:
            episode, fgd = beside_fgd(folder, one)
            self._episodes.append(episode)
            self._fgd.append(fgd)

    def gains(self, weights: Vector, picked: Sequence[int]) -> Vector:
        """float64[picked, loads]: GPU allocation less FGD's on the same arrivals, in % of all."""
        self._scorer.weights = weights
        mine = policy(self._scorer, "reject")
        return np.array([self._episodes[i].run(mine) - self._fgd[i] for i in picked])


_stage: Stage | None = None  # of a worker process


def _open_stage(folder: Path, arrivals: Sequence[Arrivals], prices: Vector, hidden: int) -> None:
    global _stage
    _stage = Stage(folder, arrivals, prices, hidden)


def _gains(weights: Vector, picked: Sequence[int]) -> tuple[Vector, float]:
    assert _stage is not None
    return _timed(_stage, weights, picked)


def _timed(stage: Stage, weights: Vector, picked: Sequence[int]) -> tuple[Vector, float]:
    """The gains, and the CPU seconds they took."""
    start = time.process_time()
    return stage.gains(weights, picked), time.process_time() - start


class Trials:
    """A stage in each of `jobs` processes (1: in this one). Close it, or use it in a `with`.

    `cpu_s` is what all candidates took so far.
    """

    def __init__(
        self, folder: Path, arrivals: Sequence[Arrivals], prices: Vector, hidden: int, jobs: int = 1
    ) -> None:
        self.cpu_s = 0.0
        given = (folder, tuple(arrivals), prices, hidden)
        self._pool: ProcessPoolExecutor | None = None
        self._own: Stage | None = None
        if jobs > 1:
            self._pool = ProcessPoolExecutor(jobs, get_context("spawn"), _open_stage, given)
        else:
            self._own = Stage(*given)

    def gains(self, candidates: Sequence[Vector] | Vector, picked: Sequence[int]) -> Vector:
        """float64[candidates, picked, loads] of `Stage.gains`."""
        if self._own is not None:
            found = [_timed(self._own, w, picked) for w in candidates]
        else:
            assert self._pool is not None
            found = list(self._pool.map(_gains, candidates, [picked] * len(candidates)))
        self.cpu_s += sum(cpu_s for _, cpu_s in found)
        return np.array([gains for gains, _ in found])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
