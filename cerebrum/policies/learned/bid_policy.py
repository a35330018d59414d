# pyright: basic, reportPrivateImportUsage=false
"""A trained bidder as a placement policy: every node bids for the task, the highest bid gets it.

The auction of `auction`, held inside the engine: nodes are observed by the kernel they were trained
with, and the bids of a thousand nodes are one matrix product. A task for which no node with room
bids waits. Of equal bids the first node by name gets it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel
from cerebrum.engine.incremental import GPU_RULES
from cerebrum.engine.placement import choose_gpus, fits, take
from cerebrum.model.errors import ConfigError
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.learned import availability, bid_schema
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.availability_features import availability_features
from cerebrum.policies.learned.bid_features import bid_features
from cerebrum.policies.learned.bidder import ABSTAIN, Bidder
from cerebrum.policies.vectorised import Vectorised

_SCHEMAS = (bid_schema.SCHEMA, availability.SCHEMA)


@kernel
def observe(nodes, open_, classes, class_id, typical, which, rule, scratch, out, mask):
    """Fill `out[row]` of each node that can take the class, and say in `mask` which ones those are.

    `which` is the place of the schema in `_SCHEMAS`. Nodes are seen as they would be with the task
    on the GPUs that `rule` picks.
    """
    task = classes[class_id]
    for row in range(len(nodes)):
        mask[row] = open_[row] and fits(nodes[row], task)
        if mask[row]:
            scratch[0] = nodes[row]
            after = scratch[0]
            take(after, task, choose_gpus(nodes[row], task, rule, np.uint64(0)), task.cache_ways)
            if which == 0:
                bid_features(nodes[row], after, task, typical, out[row])
            else:
                availability_features(nodes[row], after, task, typical, out[row])


class Bids:
    """A vectorised scorer: each node's bid, -inf from who abstains."""

    def __init__(self, artefact: Artefact, gpus: str = "best") -> None:
        known = [schema.name for schema in _SCHEMAS]
        name = artefact.card.observation.name
        if name not in known:
            raise ConfigError(f"expected a schema of {', '.join(known)}, got {name!r}").at(
                field=f"model {artefact.card.name!r}"
            )
        self._which, self._rule = known.index(name), GPU_RULES[gpus]
        self.schema = _SCHEMAS[self._which]
        artefact.card.require(self.schema)
        self._bidder = Bidder(artefact.weights)
        if self._bidder.features != len(self.schema):
            raise ConfigError(
                f"expected {len(self.schema)} inputs, got {self._bidder.features}"
            ).at(field="weights.w0")

    def observations(
        self, snapshot: Snapshot, task: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """float32[rows, features] and bool[rows]: what nodes with room for `task` see."""
        class_id = int(snapshot.tasks.class_id[task])
        out = np.zeros((len(snapshot.nodes), len(self.schema)), np.float32)
        mask = np.zeros(len(snapshot.nodes), np.bool_)
        observe(
            snapshot.nodes, snapshot.usable & snapshot.admitted(task), snapshot.classes, class_id,
            snapshot.typical, self._which, self._rule, snapshot.nodes[:1].copy(), out, mask,
        )  # fmt: skip
        return out, mask

    def bids(self, snapshot: Snapshot, task: int) -> NDArray[np.int64]:
        """int64[rows], 0..10; 0 abstains or has no room."""
        return self._bidder.bids(*self.observations(snapshot, task))

    def __call__(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        """float64[rows]: the bids as scores."""
        bids = self.bids(snapshot, task)
        return np.where(bids == ABSTAIN, -np.inf, bids)


class BidPolicy(Vectorised):
    """The policy, which also shows the guards of a rollout what its network looked at."""

    def __init__(self, artefact: Artefact, queue: str, gpus: str) -> None:
        self._bids = Bids(artefact, gpus if gpus in GPU_RULES else "best")
        self.statistics, self.usual = artefact.statistics, artefact.usual
        self.feature_names = self._bids.schema.names
        super().__init__(artefact.card.name, self._bids, gpus=gpus, ties="name", queue=queue)

    def features_of(self, snapshot: Snapshot, task: int, row: int) -> NDArray[np.floating]:
        """float32[F]: what node `row` saw of `task`; zeros if it had no room."""
        seen, _ = self._bids.observations(snapshot, task)
        return seen[row]


def make(artefact: Artefact, queue: str = "skip", gpus: str = "best") -> BidPolicy:
    """The policy; `queue` and `gpus` as for every policy. Raises `ConfigError`."""
    return BidPolicy(artefact, queue, gpus)
