"""What a learned policy looks at: named features with units and scales, under one hash.

The same schema is used in training and in serving. A model file carries the hash of the schema it
was trained with, and is refused where the code computes anything else under that name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

from cerebrum.model.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of an observation. What a network sees is the quantity divided by `scale`."""

    name: str
    unit: str
    scale: float
    meaning: str


def share(name: str, meaning: str) -> Feature:
    """A feature that is a share already."""
    return Feature(name, "share", 1.0, meaning)


@dataclass(frozen=True)
class Schema:
    """Features in order. `version` is raised when one is computed differently under its name."""

    name: str
    version: int
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ConfigError(f"schema {self.name!r}: expected distinct features, got {names}")
        flat = [f.name for f in self.features if not 0.0 < f.scale < float("inf")]
        if flat:
            raise ConfigError(f"schema {self.name!r}: expected positive scales, not so for {flat}")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of everything that decides what the numbers mean."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
