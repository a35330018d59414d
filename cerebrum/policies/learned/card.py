"""The model card of a learned policy: what it looks at, how it was made, how good it was.

A card is data from outside like any other: strict, no extra keys, bounded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cerebrum.model.errors import ConfigError, Place
from cerebrum.policies.learned.schema import Schema

Kind = Literal["node-scorer", "bidder", "job-order"]
"""What a learned policy does: score a node after placement, bid for a task, order a queue."""

Line = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
Plain = Annotated[str, Field(max_length=200)] | int | float | bool
Seed = Annotated[int, Field(ge=0, lt=2**64)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ObservedFeature(_Part):
    """`schema.Feature` as it was at training."""

    name: Line
    unit: Annotated[str, Field(max_length=100)]
    scale: Annotated[float, Field(gt=0)]
    meaning: Annotated[str, Field(max_length=1000)]


class Observation(_Part):
    """`schema.Schema` as it was at training, and its hash."""

    name: Line
    version: Annotated[int, Field(ge=0, lt=2**31)]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    features: Annotated[tuple[ObservedFeature, ...], Field(min_length=1, max_length=1024)]

    @classmethod
    def of(cls, schema: Schema) -> Observation:
        """The description of `schema` that goes into a card."""
        features = tuple(
            ObservedFeature(name=f.name, unit=f.unit, scale=f.scale, meaning=f.meaning)
            for f in schema.features
        )
        return cls(name=schema.name, version=schema.version, hash=schema.hash, features=features)


class EvaluationRow(_Part):
    """One figure: `policy` (this one or a baseline) on `scenario`; `low`..`high` its interval."""

    scenario: Line
    policy: Line
    metric: Line
    value: float
    low: float | None = None
    high: float | None = None
    note: Annotated[str, Field(max_length=500)] = ""


class Card(_Part):
    """The card in a model file.

    `observation` is the schema it was trained with, `seeds` those of training, `command` makes
    the file again, `statistics_note` says on what the statistics were taken. `architecture` holds
    what the kind needs to run the weights (layer sizes and the like), `limits` what is known not
    to work.
    """

    kind: Kind
    name: Name
    version: Annotated[int, Field(ge=1, lt=2**31)] = 1
    about: Line
    algorithm: Line
    observation: Observation
    architecture: Annotated[
        dict[Line, Plain | Annotated[tuple[Plain, ...], Field(max_length=1024)]],
        Field(max_length=100),
    ] = {}
    training_data: Annotated[tuple[Line, ...], Field(max_length=1000)]
    seeds: Annotated[tuple[Seed, ...], Field(max_length=100_000)]
    command: Line
    training_cpu_s: Annotated[float, Field(ge=0)]
    training_wall_s: Annotated[float, Field(ge=0)]
    trained_on: Line = "CPU"
    statistics_note: Line
    evaluation: Annotated[tuple[EvaluationRow, ...], Field(max_length=10_000)] = ()
    licence: Line = "Apache-2.0"
    limits: Annotated[tuple[Line, ...], Field(max_length=100)] = ()

    def require(self, schema: Schema) -> None:
        """Raise `ConfigError` unless the model was trained on exactly this schema."""
        if self.observation.hash == schema.hash:
            return
        here = Observation.of(schema)
        raise ConfigError(
            f"trained on schema {_titled(self.observation)}, this Cerebrum computes "
            f"{_titled(here)}: {'; '.join(_differences(self.observation, here))}. "
            "Train it again, or use the version of Cerebrum it was trained with"
        ).at(field=f"model {self.name!r}")


def parse_card(text: str | bytes) -> Card:
    """A card from JSON. Raises `ConfigError` that names the field."""
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["card", *(str(part) for part in first["loc"])])
        raise ConfigError(first["msg"], Place(field=where[:200])) from None


def _titled(observation: Observation) -> str:
    return f"{observation.name!r} version {observation.version} ({observation.hash})"


def _differences(trained: Observation, here: Observation) -> list[str]:
    """What differs, in words; at least one, unless only the hash was damaged."""
    then = {feature.name: feature for feature in trained.features}
    now = {feature.name: feature for feature in here.features}
    found: list[str] = []
    if (trained.name, trained.version) != (here.name, here.version):
        found.append("another schema or version of it")
    if gone := [name for name in then if name not in now]:
        found.append(f"features only in the model: {', '.join(gone)}")
    if new := [name for name in now if name not in then]:
        found.append(f"features the model lacks: {', '.join(new)}")
    if changed := [name for name in then if name in now and then[name] != now[name]]:
        found.append(f"features with another unit, scale or meaning: {', '.join(changed)}")
    if not gone and not new and list(then) != list(now):
        found.append("features in another order")
    return found or ["the same features under another hash: the card was changed"]
