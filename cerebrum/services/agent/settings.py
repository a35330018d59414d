"""What an agent is told at its start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from cerebrum.model.cluster import Node
from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import Link


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The agent's cluster, its limits and its intervals. Raises `ConfigError` for nonsense.

    `boot_id` changes with each boot of the machine: times on its monotonic clock mean nothing after
    that, so fences count as expired. `policy` is what `policy.name` was made from, kept in the
    journal so that `replay` can make the same one; empty: the policy's own name. `candidate` alike,
    of the candidate beside it (see `services.rollouts`).

    `wait_s` how long a poll waits for work; `request_timeout_s` how long any other request waits;
    `retry_s`, `retry_max_s` the back-off of requests without answer; `sync_s`, `reconcile_s`
    intervals of comparing with the controller and with the executor; `waiting_s` how often the
    reasons of waiting tasks are reported; `max_tasks` unfinished tasks held; `starts` runs started
    at one time; `grace_s` between asking a run to end and ending it; `keep_*` rows that stay in
    the database (ended tasks, events, journal); `usage_s` between samples of node usage,
    `usage_samples` kept, `horizon` samples looked ahead by `forecaster` (empty: no prediction);
    `links` from other clusters, by name, for the time that fetching inputs takes; `bidder` what
    bids in auctions, `learned:MODEL` or `./mine.py:function` (empty: the expected finish).
    """

    cluster: str
    nodes: tuple[Node, ...]
    zone: str = ""
    url: str = ""
    version: str = ""
    boot_id: str = ""
    policy: str = ""
    candidate: str = ""
    wait_s: float = 20.0
    request_timeout_s: float = 30.0
    retry_s: float = 0.5
    retry_max_s: float = 15.0
    sync_s: float = 30.0
    reconcile_s: float = 30.0
    waiting_s: float = 5.0
    max_tasks: int = 20_000
    starts: int = 32
    grace_s: float = 10.0
    keep_ended: int = 200_000
    keep_events: int = 1_000_000
    keep_journal: int = 100_000
    forecaster: str = "auto"
    usage_s: float = 60.0
    usage_samples: int = 1440
    horizon: int = 30
    links: Mapping[str, Link] = field(default_factory=lambda: MappingProxyType({}))
    bidder: str = ""

    def __post_init__(self) -> None:
        if not self.cluster:
            raise ConfigError("expected a name").at(field="cluster")
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ConfigError("expected distinct node names").at(field="nodes")
        for setting in fields(self):
            value: object = getattr(self, setting.name)
            if setting.name.endswith("_s") and not (
                isinstance(value, int | float) and math.isfinite(value) and value > 0
            ):
                raise ConfigError(f"expected finite seconds above 0, got {value}").at(
                    field=setting.name
                )
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"expected at least 1, got {value}").at(field=setting.name)
        if self.wait_s > 60:
            raise ConfigError(f"expected at most 60 s, got {self.wait_s}").at(field="wait_s")
