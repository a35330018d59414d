"""Max-Min: of the waiting tasks' minimum completion times, the largest first. See `min_min`."""

from __future__ import annotations

from cerebrum.policies.min_min import MinMin


class MaxMin(MinMin):
    """The task that takes longest to be done goes first."""

    name = "max-min"
    largest = True
