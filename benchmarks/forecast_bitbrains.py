"""How far off forecasts of CPU use are: 50 BitBrains machines, the last 30 % of the time.

Each machine's use is taken in % of its peak. The first 70 % of the time are all that models are
fitted on and chosen by (rolling backtest per machine and horizon, naive among the candidates); in
the rest they only see values up to the origin of each forecast, one origin every five minutes.
Intervals are adaptive conformal at 95 %, learning online with the delay a horizon brings.

The figures published for these traces (naive 5.76 and 5.05, boosting 3.05 and 5.26) come without
their unit or weighting; in % of the peak our naive comes near them, in % of capacity it does not.
"""

from __future__ import annotations

import time

import numpy as np
from rich.table import Table

from benchmarks._harness import DATA, Benchmark, CannotRun, Measured, console, progress
from cerebrum.forecast import get_forecaster
from cerebrum.forecast.backtest import Backtest, best, rolling
from cerebrum.forecast.intervals import online_half_widths
from cerebrum.signals.usage import read_usage

HORIZONS = (1, 6)
TRAIN = 0.7
BOOSTING = "boosting:rounds=150,most_samples=100000"
CANDIDATES = ("naive", "seasonal", "ewma", "histogram", "fft", "ridge", BOOSTING)
SHORT = tuple(name.partition(":")[0] for name in CANDIDATES)
TARGETS = {1: 3.05, 6: 5.05}


def percent_of_peak() -> tuple[np.ndarray, int]:
    """float64[machines, time] in % of each machine's peak, and where the first part ends.

    The peak is that of the whole trace: a unit, which no model is told. In % of the peak so far one
    machine that was idle for three weeks would decide the mean of all.
    """
    path = DATA / "usage" / "bitbrains_trace.parquet"
    if not path.exists():
        raise CannotRun(f"there is no {path}: set CEREBRUM_DATA to the folder of real data")
    usage = read_usage(path)
    start = int(TRAIN * usage.values.shape[1])
    seen = ~np.isnan(usage.values[:, :start]).all(axis=1)
    values = usage.values[seen]
    peak = np.nanmax(values, axis=1)
    return 100 * values / np.where(peak > 0, peak, 1.0)[:, None], start


def tested(name: str, values: np.ndarray, start: int) -> Backtest:
    """Every forecast of one model for the last part."""
    began = time.perf_counter()
    found = rolling(get_forecaster(name), values, max(HORIZONS), start)
    progress(f"{name}: {time.perf_counter() - began:.0f} s")
    return found


def choose(values: np.ndarray, start: int) -> np.ndarray:
    """int64[machines, horizon]: which candidate did best in the last quarter of the first part."""
    inner = int(0.75 * start)
    past = values[:, :start]
    tests = {n: rolling(get_forecaster(n), past, max(HORIZONS), inner, 8) for n in CANDIDATES}
    return best(tests)[1]


def chosen(tests: list[Backtest], choice: np.ndarray) -> Backtest:
    """The forecasts of each machine's and horizon's own model."""
    stacked = np.stack([test.forecast for test in tests])
    picked = np.take_along_axis(stacked, choice[None, :, None, :], axis=0)[0]
    return Backtest(tests[0].origins, picked, tests[0].truth)


def coverage(test: Backtest) -> np.ndarray:
    """float64[horizon]: the share of values inside their 95 % interval."""
    width = online_half_widths(test, risk=0.05)
    inside = np.abs(test.forecast - test.truth) <= width
    return np.array([inside[..., k][~np.isnan(test.truth[..., k])].mean()
                     for k in range(test.truth.shape[2])])  # fmt: skip


def run() -> Measured:
    values, start = percent_of_peak()
    progress("choosing models in the first 70 %")
    choice = choose(values, start)
    tests = [tested(name, values, start) for name in CANDIDATES]
    ours = chosen(tests, choice)
    inside = coverage(ours)
    table = Table("model", *(f"+{5 * h} min" for h in HORIZONS), title="mean absolute error, %")
    errors: dict[str, np.ndarray] = {}
    for name, test in zip((*SHORT, "chosen"), (*tests, ours), strict=True):
        errors[name] = np.nanmean(test.error(), axis=0)
        table.add_row(name, *(f"{errors[name][h - 1]:.2f}" for h in HORIZONS))
    table.add_row("coverage of 95 %", *(f"{100 * inside[h - 1]:.1f} %" for h in HORIZONS))
    console.print(table)
    worst = max(errors["chosen"][h - 1] / TARGETS[h] for h in HORIZONS)
    covered = all(0.93 <= inside[h - 1] <= 0.97 for h in HORIZONS)
    return Measured(
        round(float(worst if covered else np.inf), 3),
        peer={f"{name} +{5 * h} min": round(float(errors[name][h - 1]), 2)
              for name in errors for h in HORIZONS}
        | {f"coverage +{5 * h} min": round(float(inside[h - 1]), 3) for h in HORIZONS},
    )  # fmt: skip


BENCHMARK = Benchmark(
    name="forecast_bitbrains", unit="of_target_error", target=1.0, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
