"""`openb-scorer` against FGD on the published arrivals, because learning must not cost anyone.

Seeds 42 to 51, which no training has seen, five traces, one run. The number is the smallest margin
by which a promise holds: 0.6 points of GPU allocation more than FGD at 100 and 130 % arrival of
`default`, nowhere from 80 to 130 % more than 0.05 below it, and on the other traces, with the same
weights, nowhere more than 0.1 below it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks._harness import Benchmark, Measured, console, need_data, progress
from cerebrum.learn.filling import LOADS
from cerebrum.learn.openb_evaluation import SEEDS, TRACES, gains
from cerebrum.policies.learned.artefact import find, read

MODEL = "openb-scorer"
SHOWN = (80, 90, 95, 100, 110, 120, 130)
WANTED, DEFAULT_LOSS, OTHER_LOSS = 0.6, 0.05, 0.1


def margins(by_trace: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """How far each promise is kept, in points; below 0 it is broken."""
    default = by_trace["default"]
    kept = {
        f"default at {load} %": float(default[LOADS.index(load)]) - WANTED for load in (100, 130)
    }
    kept["default, lowest"] = float(default.min()) + DEFAULT_LOSS
    for trace, curve in by_trace.items():
        if trace != "default":
            kept[f"{trace}, lowest"] = float(curve.min()) + OTHER_LOSS
    return kept


def run() -> Measured:
    model, by_trace = read(find(MODEL)), dict[str, NDArray[np.float64]]()
    for trace in TRACES:
        progress(f"{trace}: {len(SEEDS)} seeds, FGD and openb-scorer")
        by_trace[trace] = gains(model, need_data("openb"), trace)
        shown = {load: round(float(by_trace[trace][LOADS.index(load)]), 2) for load in SHOWN}
        console.print(f"{trace}: {shown}, lowest {by_trace[trace].min():.3f}")
    peer = {
        f"{trace} at {load} %, more than FGD": float(curve[LOADS.index(load)])
        for trace, curve in by_trace.items()
        for load in (100, 130)
    }
    peer |= {f"{trace}, lowest": float(curve.min()) for trace, curve in by_trace.items()}
    return Measured(min(margins(by_trace).values()), peer)


BENCHMARK = Benchmark(
    name="learned_openb", unit="points to spare", target=0.0, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
