"""A learned node scorer against FGD on the published arrivals of openb (USENIX ATC'23).

Seeds 42 to 51 are those of the published table; no training looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.incremental import Incremental
from cerebrum.learn.filling import LOADS, Filling
from cerebrum.learn.recipes import Settings
from cerebrum.model.errors import NotFound
from cerebrum.policies import get_policy
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.card import EvaluationRow
from cerebrum.policies.learned.node_scorer import make
from cerebrum.traces import read as read_trace

TRACES = ("default", "gpuspec10", "gpushare40", "cpu050", "multigpu20")
SEEDS = tuple(range(42, 52))


def gains(
    artefact: Artefact, folder: Path, trace: str, seeds: Sequence[int] = SEEDS
) -> NDArray[np.float64]:
    """float64[loads]: mean over the seeds of GPU allocation less FGD's, in % of all GPUs."""
    learned = make(artefact, queue="reject")
    found: list[NDArray[np.float64]] = []
    for seed in seeds:
        scenario = read_trace(folder, pods=trace, arrivals="fgd", seed=seed, oversized="keep")
        assert scenario.report is not None
        fgd = get_policy(f"fgd-original:{scenario.report.kept}", queue="reject")
        assert isinstance(fgd, Incremental)
        filling = Filling(scenario)
        found.append(filling.run(learned) - filling.run(fgd))
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
