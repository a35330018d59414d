"""HEFT over clusters: parts by upward rank, each to the cluster where it ends first.

Topcuoglu, Hariri, Wu, IEEE TPDS 13(3), 2002, one tier up. When a part would end in a cluster is the
list schedule of its tasks on that cluster's lanes: with the data that has to come over the links,
the backlog and the forecast of the cluster, and the parts given to it before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.policies.assignment._checks import held
from cerebrum.policies.decomposition.estimate import Estimate


class Heft:
    """No options, no randomness: `key` is not used."""

    name = "heft"

    def assign(
        self,
        decomposition: Decomposition,
        clusters: ClusterViews,
        network: Network,
        placed: NDArray[np.int32] | None = None,
        key: int = 0,
    ) -> NDArray[np.int32]:
        """int32[parts]: index of the cluster, -1 where none can hold the part's tasks."""
        fixed = held(decomposition, clusters, placed)
        if not decomposition.parts or not clusters:
            return fixed
        estimate = Estimate(decomposition.workflow, clusters, network)
        chosen = estimate.heft(decomposition.part, fixed).chosen
        return np.maximum(chosen, -1).astype(np.int32)
