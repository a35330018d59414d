"""Forecasters: one model a file, a registry, a choice among them by rolling backtest.

`get_forecaster("ewma:half_life=6")` makes one. All take float64[series, time] with NaN where there
is a gap; what they give is never NaN (a series without a single value is forecast as 0).
"""

from __future__ import annotations

import inspect
from typing import Any, cast

from cerebrum.model.errors import InputError, UnknownName
from cerebrum.model.options import parse_options, refuse_unknown, resolve
from cerebrum.model.protocols import Forecaster

FORECASTERS = {
    "auto": "cerebrum.forecast.auto:Auto",
    "boosting": "cerebrum.forecast.boosting:Boosting",
    "ewma": "cerebrum.forecast.ewma:Ewma",
    "fft": "cerebrum.forecast.fft:FftPeriod",
    "histogram": "cerebrum.forecast.histogram:DecayingHistogram",
    "naive": "cerebrum.forecast.naive:Naive",
    "ridge": "cerebrum.forecast.ridge:Ridge",
    "seasonal": "cerebrum.forecast.seasonal:Seasonal",
}
"""Name -> class. Adding a forecaster is a file and a line here."""


def get_forecaster(text: str, **options: Any) -> Forecaster:
    """A fresh forecaster: `name` or `name:key=value,...`. Raises `UnknownName`, `ConfigError`."""
    name, _, rest = text.partition(":")
    if name not in FORECASTERS:
        raise UnknownName("forecaster", name, FORECASTERS)
    made: Any = resolve(FORECASTERS[name])
    options |= parse_options(rest, f"{name}:key=value", field=name)
    refuse_unknown(options, inspect.signature(made).parameters, field=name)
    try:
        return cast(Forecaster, made(**options))
    except InputError as problem:
        raise problem.at(field=name) from None


__all__ = ["FORECASTERS", "get_forecaster"]
