"""Small artefacts for tests: sound ones, with weights drawn from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.policies.learned import bid_schema
from cerebrum.policies.learned.artefact import Artefact, Card, Observation, Statistics
from cerebrum.policies.learned.bidder import BIDS
from cerebrum.policies.learned.schema import Feature, Schema

SCHEMA = Schema(
    "test", 1,
    (
        Feature("cpu_free", "of capacity", 1.0, "free after placement"),
        Feature("memory_free", "of capacity", 1.0, "free after placement"),
        Feature("gpu_free", "of capacity", 1.0, "free after placement"),
    ),
)  # fmt: skip


def card(schema: Schema = SCHEMA, **changed: Any) -> Card:
    """A card of a bidder, with fields replaced."""
    fields: dict[str, Any] = {
        "kind": "bidder", "name": "tiny", "about": "a model for tests", "algorithm": "drawn",
        "observation": Observation.of(schema), "training_data": ("none",), "seeds": (7,),
        "command": "pytest", "training_cpu_s": 0.5, "training_wall_s": 0.25,
        "statistics_note": "of random numbers", "limits": ("it has learnt nothing",),
    }  # fmt: skip
    return Card(**(fields | changed))


def weights(schema: Schema = SCHEMA, width: int = 4, seed: int = 7) -> dict[str, NDArray[Any]]:
    """One hidden layer and one output."""
    draw = np.random.default_rng(seed)
    shapes = {"hidden.weight": (width, len(schema)), "hidden.bias": (width,),
              "out.weight": (1, width), "out.bias": (1,)}  # fmt: skip
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def statistics(schema: Schema = SCHEMA, seed: int = 7) -> Statistics:
    """Of a hundred observations between 0 and 1."""
    return Statistics.of(np.random.default_rng(seed).random((100, len(schema))))


def artefact(schema: Schema = SCHEMA, **changed: Any) -> Artefact:
    """A whole one; `changed` fields go into the card."""
    return Artefact(card(schema, **changed), weights(schema), statistics(schema))


def bids_by_cpu_left() -> Artefact:
    """Bids ten times the share of CPU that would be left, to the nearest whole number."""
    level = np.arange(BIDS)
    w = np.zeros((len(bid_schema.SCHEMA), BIDS), np.float32)
    w[bid_schema.SCHEMA.names.index("cpu_left")] = 20.0 * level
    drawn = {"w0": w, "b0": (-(level**2)).astype(np.float32)}
    return Artefact(card(bid_schema.SCHEMA), drawn, statistics(bid_schema.SCHEMA))
