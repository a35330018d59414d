"""A learned node scorer against FGD on the published arrivals of openb (USENIX ATC'23).

Seeds 42 to 51 are those of the published table; no training looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.filling import LOADS
from cerebrum.learn.recipes import Settings
from cerebrum.learn.trials import Arrivals, beside_fgd
from cerebrum.model.errors import NotFound
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.card import EvaluationRow
from cerebrum.policies.learned.node_scorer import make

TRACES = ("default", "gpuspec10", "gpushare40", "cpu050", "multigpu20")
SEEDS = tuple(range(42, 52))


def gains(
    artefact: Artefact, folder: Path, trace: str, seeds: Sequence[int] = SEEDS
) -> NDArray[np.float64]:
    """float64[loads]: mean over the seeds of GPU allocation less FGD's, in % of all GPUs."""
    learned = make(artefact, queue="reject")
    found: list[NDArray[np.float64]] = []
    for seed in seeds:
        episode, fgd = beside_fgd(folder, Arrivals(trace, seed))
        found.append(episode.run(learned) - fgd)
    return np.mean(found, axis=0)


def evaluate(artefact: Artefact, settings: Settings) -> tuple[EvaluationRow, ...]:
    """Points of allocation above FGD at 100 and 130 %, and the least from 80 to 130 %, by trace.

    Raises `NotFound` without openb in `settings.data`.
    """
    folder = None if settings.data is None else settings.data / "openb"
    if folder is None or not folder.is_dir():
        raise NotFound("evaluated on the openb traces: give their folder with --data")
    rows: list[EvaluationRow] = []
    for done, trace in enumerate(TRACES):
        settings.progress(done, len(TRACES), {})
        curve = gains(artefact, folder, trace)
        at = {f"at {load} %": float(curve[LOADS.index(load)]) for load in (100, 130)}
        at["at the worst load"] = float(curve.min())
        rows += [
            EvaluationRow(
                scenario=f"openb {trace}, seeds {SEEDS[0]} to {SEEDS[-1]}",
                policy=artefact.card.name,
                metric=f"GPU allocation above FGD {where}, points",
                value=round(value, 4),
            )
            for where, value in at.items()
        ]
    return tuple(rows)
