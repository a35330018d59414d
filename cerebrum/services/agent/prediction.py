"""Looking ahead: each node's CPU and memory use, and how long tasks will run.

Samples of node usage come at even intervals from a `UsageSource`. A forecaster of
`cerebrum.forecast` is fitted on them; what it gives becomes `forecasts["cpu"]`, `["memory"]` and
`["others_cpu"]` (CPU used beyond what the agent gave away) of the policy's snapshots: float64[rows,
horizon], shares of capacity in 0..1, one column an interval. `["others_cpu_upper"]` is the bound
that others exceed with the risk `RISK`, learnt from how far off earlier forecasts were; until there
is evidence it is 1. A policy that looks ahead sees the same kind of data as in simulation.

Run times are remembered by kind of task: its image and command, digits aside, so that the members
of a sweep count as one. What a kind will take next is the exponentially weighted mean of its last
run times; before the first one ends, the submitter's own estimate counts. Tasks that run nothing
and only pass time take as long as they say.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cerebrum.forecast.intervals import AdaptiveIntervals
from cerebrum.model.protocols import Forecaster
from cerebrum.services.wire import TaskSpec

MEASURES = ("cpu", "memory", "others_cpu")
_OTHERS = MEASURES.index("others_cpu")
RISK = 0.05
"""Share of the time that others may use more than `others_cpu_upper`."""
_ENOUGH = 8  # samples before there is anything to look ahead from
_KINDS = 10_000  # of tasks whose run times are remembered
_RUNS = 50  # remembered of each kind
_WEIGHT = 0.3  # of the newest run time in the mean


@dataclass(frozen=True, slots=True)
class Usage:
    """Shares of a node's capacity in use by anything, 0..1."""

    cpu: float
    memory: float


class UsageSource(Protocol):
    """Where samples come from: the machine's own counters, or what is allocated."""

    async def sample(self) -> Mapping[str, Usage]:
        """Usage now by node name; nodes that are not in it are unknown at this moment."""
        ...


class NodeForecasts:
    """History of node usage, and what it foretells.

    `samples` are kept; forecasts are made for `horizon` intervals. `latest` is by measure.
    """

    def __init__(
        self, nodes: Sequence[str], samples: int, horizon: int, forecaster: Forecaster
    ) -> None:
        self._rows = {name: row for row, name in enumerate(nodes)}
        self._history = np.full((len(MEASURES), len(nodes), samples), np.nan, np.float32)
        self.seen, self.horizon = 0, horizon
        self.forecaster = forecaster
        self.latest: dict[str, NDArray[np.float64]] = {}
        # Two-sided intervals at twice the risk: only use above the bound does harm.
        self._intervals = AdaptiveIntervals(len(nodes), horizon, 2 * RISK)
        self._made: deque[tuple[NDArray[np.float64], NDArray[np.float64]] | None] = deque(
            maxlen=horizon
        )

    def add(self, usage: Mapping[str, Usage], given: Mapping[str, float] | None = None) -> None:
        """One interval has passed; `given` is the share of each node's CPU that we gave away.

        Unknown nodes are ignored, missing ones are gaps.
        """
        ours = given or {}
        self._history = np.roll(self._history, -1, axis=2)
        self._history[:, :, -1] = np.nan
        for name, now in usage.items():
            row = self._rows.get(name)
            if row is not None:
                others = _share(now.cpu) - ours.get(name, 0.0)
                self._history[:, row, -1] = _share(now.cpu), _share(now.memory), max(0.0, others)
        self._judge(self._history[_OTHERS, :, -1].astype(np.float64))
        self._made.append(None)
        self.seen = min(self.seen + 1, self._history.shape[2])

    def look_ahead(self) -> dict[str, NDArray[np.float64]]:
        """Fit and forecast: empty before there are enough samples. May take a while."""
        if self.seen < _ENOUGH or not self._rows:
            return {}
        known = self._history[:, :, -self.seen :].astype(np.float64)
        series = known.reshape(-1, self.seen)
        self.forecaster.fit(series)
        ahead = np.asarray(self.forecaster.predict(self.horizon), np.float64)
        ahead = np.clip(np.nan_to_num(ahead), 0.0, 1.0).reshape(len(MEASURES), -1, self.horizon)
        found: dict[str, NDArray[np.float64]] = dict(zip(MEASURES, ahead, strict=True))
        width = self._intervals.half_width()
        self._made[-1] = found["others_cpu"], width
        found["others_cpu_upper"] = np.clip(found["others_cpu"] + width, 0.0, 1.0)
        return found

    def _judge(self, truth: NDArray[np.float64]) -> None:
        """Learn from what came: column k of the forecast made k + 1 intervals ago."""
        shape = self._intervals.level.shape
        forecast, width = np.full(shape, np.nan), np.full(shape, np.inf)
        for k, made in enumerate(reversed(self._made)):
            if made is not None:
                forecast[:, k], width[:, k] = made[0][:, k], made[1][:, k]
        if not np.isnan(forecast).all():
            self._intervals.update(forecast, np.repeat(truth[:, None], shape[1], axis=1), width)

    def mean_cpu(self) -> dict[str, float]:
        """Node -> mean share of its CPU forecast to be in use over the horizon."""
        if "cpu" not in self.latest:
            return {}
        means = self.latest["cpu"].mean(axis=1)
        return {name: float(means[row]) for name, row in self._rows.items()}


class Runtimes:
    """Run times at speed 1 by kind of task."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, spec: TaskSpec, seconds: float) -> None:
        """A task of this kind took so long."""
        if not (math.isfinite(seconds) and seconds >= 0):
            return
        name = kind(spec)
        self._seen.setdefault(name, deque(maxlen=_RUNS)).append(seconds)
        self._seen.move_to_end(name)
        if len(self._seen) > _KINDS:
            self._seen.popitem(last=False)

    def expected_s(self, spec: TaskSpec) -> float:
        """How long a task will run at speed 1; inf when nothing is known."""
        if not (spec.image or spec.command):
            return spec.duration_s
        seen = self._seen.get(kind(spec))
        if not seen:
            return spec.duration_s if spec.duration_s > 0 else math.inf
        mean = seen[0]
        for seconds in seen:
            mean += _WEIGHT * (seconds - mean)
        return mean


def kind(spec: TaskSpec) -> str:
    """What tasks that run alike have in common."""
    words = spec.command or [spec.name]
    return "\0".join((spec.image, *("".join(_plain(c) for c in word) for word in words)))


def _plain(character: str) -> str:
    return "#" if character.isdigit() else character


def _share(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else math.nan
