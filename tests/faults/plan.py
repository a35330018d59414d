"""What goes wrong in one history, drawn from the seed before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.disk import DiskFaults
from tests.faults.network import NetworkFaults
from tests.faults.workload import Workload

LEASE_S = 30.0
FAULTS_END_S = 200.0
BUSIEST = "the busiest agent"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong at `at_s` and is over after `for_s`.

    `where` names a process; `BUSIEST` is the agent with the most runs at that moment.
    """

    at_s: float
    what: str
    where: str
    for_s: float
    data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Plan:
    """A history's surroundings: its processes, the bad luck all the time, and the troubles.

    `drift` bounds how far clocks run apart; `skewed`: the controllers' are as fast as that allows
    and the agents' as slow, so that a margin has to make up for all of it. `watch_s`: how often a
    controller looks at its leases.
    """

    replicas: int
    clusters: int
    network: NetworkFaults
    disk: DiskFaults
    drift: float
    shuffle: bool
    crash_share: float
    run_failures: float
    start_failures: float
    stragglers: float
    troubles: list[Trouble]
    skewed: bool = False
    watch_s: float = 2.0
    workload: Workload = field(default_factory=Workload)


# What may go wrong, how often relative to the rest, and to whom.
_KINDS = {
    "crash": (10, "any"),
    "pause": (5, "any"),
    "cut": (8, "agent"),
    "cut_one_way": (4, "agent"),
    "cut_controller": (2, "controller"),
    "wall_clock": (3, "any"),
    "disk_full": (3, "any"),
    "lose_node": (4, "agent"),
    "power_cut": (2, "agent"),
    "lose_disk": (1, "agent"),
    "second_agent": (1, "agent"),
    "drain": (2, "agent"),
}


def draw(seed: int) -> Plan:
    """The plan of a seed. One history in six is calm: then everything has to go as asked."""
    rng = Random(f"{seed}/plan")
    replicas, clusters = rng.choice((1, 1, 2)), rng.randint(1, 4)
    calm = seed % 6 == 0
    level = 0.0 if calm else rng.choice((0.3, 1.0, 1.0, 2.0))
    return Plan(
        replicas=replicas,
        clusters=clusters,
        network=NetworkFaults(
            drop_share=min(0.3, 0.05 * level * rng.random()),
            repeat_share=min(0.3, 0.05 * level * rng.random()),
            delay_s=rng.choice((0.002, 0.02, 0.2)),
            slow_share=0.05 * level * rng.random(),
            slow_s=rng.choice((2.0, 15.0)),
        ),
        disk=DiskFaults(
            wait_s=rng.choice((0.001, 0.02)),
            stall_share=0.01 * level * rng.random(),
            stall_s=rng.choice((1.0, 8.0)),
            fail_share=0.01 * level * rng.random(),
        ),
        drift=0.0 if calm else 0.01,
        shuffle=rng.random() < 0.5,
        crash_share=rng.choice((0.0, 0.002, 0.006)) * level,
        run_failures=rng.choice((0.0, 0.1, 0.4)) * (not calm),
        start_failures=rng.choice((0.0, 0.1)) * level,
        stragglers=0.1 * (not calm),
        troubles=_troubles(rng, level, replicas, clusters),
    )


def _troubles(rng: Random, level: float, replicas: int, clusters: int) -> list[Trouble]:
    count = round(level * rng.randint(2, 8))
    names, weights = list(_KINDS), [weight for weight, _ in _KINDS.values()]
    agents = [f"lca:c{i}" for i in range(clusters)]
    controllers = [f"gcc-{i}" for i in range(replicas)]
    found: list[Trouble] = []
    for what in rng.choices(names, weights, k=count):
        whom = {"any": agents + controllers, "agent": agents, "controller": controllers}
        where = rng.choice(whom[_KINDS[what][1]])
        # Some troubles are short, some outlast the lease, some the patience as well.
        for_s = rng.choice((1.0, 8.0, LEASE_S, 2.5 * LEASE_S, 5 * LEASE_S)) * rng.uniform(0.5, 1.5)
        at_s = rng.uniform(2.0, 0.7 * FAULTS_END_S)
        data = {"direction": rng.choice(("out", "in")), "by_s": rng.choice((-3600.0, 3600.0, 90.0))}
        found.append(Trouble(at_s, what, where, min(for_s, FAULTS_END_S - at_s), data))
    return sorted(found, key=lambda trouble: trouble.at_s)
