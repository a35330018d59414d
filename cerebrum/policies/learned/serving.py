"""`get_policy("learned:NAME")`, `learned:path/to/model.safetensors`: a trained policy decides.

What a model does is its card's `kind`; each kind has a function that makes a policy of an artefact,
imported when one is asked for. Options go to it: `learned:NAME,queue=reject`.
"""

from __future__ import annotations

import inspect
from typing import Any

from cerebrum.model.errors import ConfigError
from cerebrum.model.options import refuse_unknown, resolve
from cerebrum.model.protocols import Policy
from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.observing import observed
from cerebrum.policies.learned.schema import Schema

KINDS: dict[str, str] = {
    "bidder": "cerebrum.policies.learned.bid_policy:make",
    "job-order": "cerebrum.policies.learned.job_order:make",
    "node-scorer": "cerebrum.policies.learned.node_scorer:make",
}
"""Kind -> `make(artefact, ...options) -> Policy`."""

SCHEMAS: dict[str, str] = {
    "availability": "cerebrum.policies.learned.availability:SCHEMA",
    "bid": "cerebrum.policies.learned.bid_schema:SCHEMA",
    "job-order": "cerebrum.policies.learned.job_features:SCHEMA",
    "node-after-placement": "cerebrum.policies.learned.node_features:SCHEMA",
}
"""What this Cerebrum can show a model, by name."""


def learned(model: str = "", **options: Any) -> Policy:
    """The policy of a shipped model or of a model file, with the options of its kind."""
    if not model:
        raise ConfigError("expected learned:NAME or learned:FILE.safetensors").at(field="learned")
    path = artefacts.find(str(model))
    return of_artefact(artefacts.read(path), **options)


def of_artefact(artefact: Artefact, **options: Any) -> Policy:
    """The policy of an artefact, which shows what it looks at (`observing`)."""
    make = resolve(KINDS[artefact.card.kind])
    known = list(inspect.signature(make).parameters)[1:]
    refuse_unknown(options, known, field=artefact.card.name, of=f"a {artefact.card.kind}")
    return observed(make(artefact, **options), artefact)


def schema_of(artefact: Artefact) -> Schema:
    """The schema that this Cerebrum computes under the name the model was trained with, and it is
    the same. Raises `ConfigError` with what differs."""
    observation = artefact.card.observation
    if observation.name not in SCHEMAS:
        raise ConfigError(
            f"trained on schema {observation.name!r}, which this Cerebrum does not compute; "
            f"expected one of {', '.join(SCHEMAS)}"
        ).at(field=f"model {artefact.card.name!r}")
    schema: Schema = resolve(SCHEMAS[observation.name])
    artefact.card.require(schema)
    return schema
