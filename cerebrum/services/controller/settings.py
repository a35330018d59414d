"""What an operator may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import Link


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Times in seconds, sizes in tasks unless said otherwise.

    lease_s           silence after which a cluster counts as lost
    margin_s          added to every deadline an agent counts too: drift of clocks, time to end runs
    patience_s        how much longer a cluster may be silent for workflows that `wait`
    poll_s            how often agents should poll when nothing else makes them
    leader_ttl_s      how long a standby sees no renewal before it takes over
    window_tasks      unfinished tasks offered or held, per cluster
    ahead_tasks       unfinished tasks of a cluster, those not offered yet included, beyond which it
                      is given no further workflow: the rest waits undecided, for a better decision
    offer_tasks       tasks in one answer to a poll
    max_unacked       offers of a cluster without an ack
    max_tasks         unended tasks in all; more are refused with 429
    tenant_tasks      the same per tenant without a quota of its own
    infeasible_after_s  how long a workflow that fits no cluster waits for one that could
    auction_s         how long bids are collected
    watch_s           how often leases are looked at
    plan_share        the part of the time that planning may take (0..1]
    plan_batch        workflows planned before the backlogs are read again
    between, within   the links between clusters, and between the nodes of one
    """

    lease_s: float = 30.0
    margin_s: float = 10.0
    patience_s: float = 300.0
    poll_s: float = 5.0
    leader_ttl_s: float = 10.0
    window_tasks: int = 2_000
    ahead_tasks: int = 4_000
    offer_tasks: int = 200
    max_unacked: int = 50
    max_tasks: int = 2_000_000
    tenant_tasks: int = 1_000_000
    infeasible_after_s: float = 60.0
    auction_s: float = 2.0
    watch_s: float = 1.0
    plan_share: float = 0.5
    plan_batch: int = 32
    decomposition: str = "cerebrum"
    assignment: str = "cerebrum"
    between: Link = field(default_factory=lambda: Link(0.01, 125.0))
    within: Link = field(default_factory=lambda: Link(0.0005, 1250.0))

    def __post_init__(self) -> None:
        for name in ("lease_s", "leader_ttl_s", "poll_s", "watch_s"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "above 0")
        for name in ("margin_s", "patience_s", "infeasible_after_s", "auction_s"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "of at least 0")
        for name in ("window_tasks", "ahead_tasks", "offer_tasks", "max_unacked", "plan_batch"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "of at least 1")
        _check("plan_share", self.plan_share, 0 < self.plan_share <= 1, "above 0, at most 1")

    def fence_after_s(self, on_cluster_lost: str) -> float | None:
        """Rule 4: without contact for that long an agent must have ended its tasks; None: never."""
        if on_cluster_lost == "never":
            return None
        return self.lease_s + (self.patience_s if on_cluster_lost == "wait" else 0.0)


def _check(name: str, value: float, holds: bool, expected: str) -> None:
    if not (math.isfinite(value) and holds):
        raise ConfigError(f"expected a finite number {expected}, got {value}").at(field=name)
