# pyright: basic, reportPrivateImportUsage=false
"""What an environment shows to a node scorer: its features, the kind of task, and FGD's number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.learn.encoders import Encoder
from cerebrum.policies.learned.node_features import (
    KINDS,
    SCHEMA,
    features,
    fgd_score,
    kind_of,
)
from cerebrum.policies.learned.node_scorer import K, N, checked_prices
from cerebrum.policies.learned.schema import Feature, Schema

FGD_SCALE = 100.0
ENVIRONMENT = Schema(
    name="node-after-placement in an environment",
    version=SCHEMA.version,
    features=(
        *SCHEMA.features,
        *(Feature(f"kind_{kind}", "tasks", 1.0, f"whether the task is of kind {kind}")
          for kind in KINDS),
        Feature("fgd", "score", FGD_SCALE, "FGD's whole number 0..100"),
    ),
)  # fmt: skip
"""The features of serving, then what an environment has to tell besides."""

WIDTH = len(ENVIRONMENT)


def node_encoder(prices: NDArray[np.float64]) -> Encoder:
    """The encoder of `ENVIRONMENT` for `Clusters`, with this price list."""
    worth = checked_prices(prices).copy()

    def fill(before, after, task, typical, out):
        fgd, fragmented = fgd_score(before, after, typical)
        x = features(before, after, task, typical, fragmented, worth)
        for i in range(N):
            out[i] = x[i]
        for k in range(K):
            out[N + k] = 1.0 if kind_of(task) == k else 0.0
        out[N + K] = fgd / FGD_SCALE

    return Encoder(ENVIRONMENT, fill)
