"""Small networks in NumPy: dense layers and pooling over those who are there. float32.

    layers `w0, b0, w1, b1, ...`: `w<i>` float32[in, out], `b<i>` float32[out]

One network serves every row (node, job), so any number of rows will do; where rows are to know of
each other they do so through `pooled`, which does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError, UnknownName

Activation = Literal["relu", "tanh"]
Floats = NDArray[np.float32]


def _relu(x: Floats) -> Floats:
    return np.maximum(x, np.float32(0.0), out=x)


def _tanh(x: Floats) -> Floats:
    return np.tanh(x, out=x)


_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": _relu, "tanh": _tanh}


class Mlp:
    """Dense layers with an activation between them and none at the end."""

    def __init__(
        self, weights: Mapping[str, NDArray[Any]], activation: str = "relu", prefix: str = ""
    ) -> None:
        """Of the weights, those named `<prefix>w<i>` and `<prefix>b<i>`. Raises `ConfigError`."""
        if activation not in _ACTIVATIONS:
            raise UnknownName("activation", activation, _ACTIVATIONS)
        self.activation = activation
        self.layers = layers(weights, prefix)
        self._active = _ACTIVATIONS[activation]

    @property
    def inputs(self) -> int:
        """Numbers a row has."""
        return self.layers[0][0].shape[0]

    @property
    def outputs(self) -> int:
        """Numbers that come out for a row."""
        return self.layers[-1][0].shape[1]

    def __call__(self, x: Floats) -> Floats:
        """float32[..., outputs] from float32[..., inputs]."""
        last = len(self.layers) - 1
        for i, (w, b) in enumerate(self.layers):
            x = x @ w
            x += b
            if i < last:
                x = self._active(x)
        return x


def layers(weights: Mapping[str, NDArray[Any]], prefix: str = "") -> list[tuple[Floats, Floats]]:
    """(w, b) of each layer, in order, whose sizes join. Raises `ConfigError` that names the array.

    Weights of other names are somebody else's.
    """
    found: list[tuple[Floats, Floats]] = []
    while (name := f"{prefix}w{len(found)}") in weights:
        bias = f"{prefix}b{len(found)}"
        w, b = weights[name], weights.get(bias)
        before = found[-1][0].shape[1] if found else None
        if w.ndim != 2 or w.dtype != np.float32 or before not in (None, w.shape[0]):
            raise ConfigError(
                f"expected float32[{before or 'inputs'}, outputs], got {w.dtype}{list(w.shape)}"
            ).at(field=name)
        if b is None or b.shape != w.shape[1:] or b.dtype != np.float32:
            said = "nothing" if b is None else f"{b.dtype}{list(b.shape)}"
            raise ConfigError(f"expected float32[{w.shape[1]}], got {said}").at(field=bias)
        found.append((np.ascontiguousarray(w), np.ascontiguousarray(b)))
    if not found:
        raise ConfigError("expected float32[inputs, outputs], got nothing").at(field=f"{prefix}w0")
    return found


def pooled(x: Floats, mask: NDArray[np.bool_]) -> Floats:
    """float32[..., 2 F]: mean and maximum over the rows of float32[..., rows, F] in the mask.

    Zeros where there is no row. What masked rows hold, NaN included, changes nothing.
    """
    there = mask[..., None]
    count = np.maximum(mask.sum(-1, keepdims=True), 1).astype(np.float32)
    mean = np.where(there, x, np.float32(0.0)).sum(-2) / count
    high = np.where(there, x, np.float32(-np.inf)).max(-2)
    some = mask.any(-1, keepdims=True)
    return np.concatenate([mean, np.where(some, high, np.float32(0.0))], -1)
