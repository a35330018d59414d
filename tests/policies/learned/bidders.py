"""Bidders for tests, whose bids are known without training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.learned import availability
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.bidder import BIDS
from cerebrum.policies.learned.schema import Schema
from tests.policies.learned import made

SCHEMA = availability.SCHEMA


def drawn(schema: Schema = availability.SCHEMA, seed: int = 7, width: int = 64) -> Artefact:
    """Two layers of random weights: it has learnt nothing, and bids all sorts of things."""
    draw = np.random.default_rng(seed)
    return _bidder(schema, {
        "w0": draw.normal(size=(len(schema), width)), "b0": draw.normal(size=width),
        "w1": draw.normal(size=(width, BIDS)), "b1": draw.normal(size=BIDS),
    })  # fmt: skip


def least_left() -> Artefact:
    """Bids more the more of the CPU a task would take: best fit on CPU, in ten steps."""
    share = availability.SCHEMA.names.index("cpu_taken")
    w, b = np.zeros((len(availability.SCHEMA), BIDS)), np.zeros(BIDS)
    for bid in range(1, BIDS):
        # Tangents of t^2: the bid whose share is nearest is worth the most.
        point = (bid - 0.5) / 10
        w[share, bid], b[bid] = 2 * point, -point * point
    b[0] = -9.0
    return _bidder(availability.SCHEMA, {"w0": w, "b0": b})


def always(bid: int) -> Artefact:
    """Every node bids that, whatever it sees."""
    b = np.zeros(BIDS)
    b[bid] = 1.0
    return _bidder(availability.SCHEMA, {"w0": np.zeros((len(availability.SCHEMA), BIDS)), "b0": b})


def _bidder(schema: Schema, weights: dict[str, NDArray[Any]]) -> Artefact:
    small = {name: array.astype(np.float32) for name, array in weights.items()}
    return Artefact(made.card(schema, kind="bidder"), small, made.statistics(schema))
