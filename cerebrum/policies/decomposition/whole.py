"""Whole: the workflow is one part, which one cluster runs. Nothing is cut, nothing is shared."""

from __future__ import annotations

import numpy as np

from cerebrum.model.federation import ClusterViews, Decomposition, Network
from cerebrum.model.workflow import Workflow


class Whole:
    """One part."""

    name = "whole"

    def decompose(
        self, workflow: Workflow, clusters: ClusterViews, network: Network
    ) -> Decomposition:
        """All tasks in part 0."""
        return Decomposition(workflow, np.zeros(len(workflow), np.int32))
