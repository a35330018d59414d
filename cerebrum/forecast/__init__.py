"""Forecasters: one model a file, a registry, a choice among them by rolling backtest.

`get_forecaster("ewma:half_life=6")` makes one. All take float64[series, time] with NaN where there
is a gap; what they give is never NaN (a series without a single value is forecast as 0).
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, cast

from cerebrum.model.errors import ConfigError, InputError, UnknownName, nearest
from cerebrum.model.literals import literal
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
    module, _, attribute = FORECASTERS[name].partition(":")
    made: Any = getattr(importlib.import_module(module), attribute)
    known = list(inspect.signature(made).parameters)
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"expected {name}:key=value, got {part!r}").at(field=name)
        options[key] = literal(value)
    for key in options:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}?" if near else "it takes " + (", ".join(known) or "none")
            raise ConfigError(f"no option {key!r}: {hint}").at(field=name)
    try:
        return cast(Forecaster, made(**options))
    except InputError as problem:
        raise problem.at(field=name) from None


__all__ = ["FORECASTERS", "get_forecaster"]
