"""Trouble with a design: what luck alone seldom brings about, made on purpose.

A random plan has everything in it and little of anything. A fence, for example, is put to the test
only where a run takes longer than a lease, its agent is silent for longer than that, and its owner
wants it replaced. One seed in five (`EVERY`) is a scenario: a random plan bent to one purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.faults.disk import DiskFaults
from tests.faults.network import NetworkFaults
from tests.faults.plan import BUSIEST, LEASE_S, Plan, Trouble
from tests.faults.workload import Workload

EVERY = 5
Scenario = Callable[[Plan, Random], Plan]

_LONG = Workload(
    workflows=(3, 4), tasks=(3, 8), within_s=60.0,
    durations_s=(5.0, 45.0, 60.0, 90.0, 120.0), on_cluster_lost=(2, 4, 1),
)  # fmt: skip


def bent(plan: Plan, seed: int) -> Plan:
    """The plan of a seed, bent to its scenario if it has one."""
    if seed % EVERY != EVERY - 1:
        return plan
    scenario = SCENARIOS[seed // EVERY % len(SCENARIOS)]
    return scenario(plan, Random(f"{seed}/scenario"))


def one_is_silent(plan: Plan, rng: Random) -> Plan:
    """One agent after the other is not heard for longer than a lease, while long tasks run: it is
    dead, stands still, is cut off, is only not heard, or is cut off and restarts meanwhile."""
    clusters = rng.randint(2, 3)
    troubles: list[Trouble] = []
    at_s = rng.uniform(20.0, 35.0)
    while at_s < 130.0:
        for_s = rng.choice((1.4, 1.6, 3.6)) * LEASE_S * rng.uniform(1.0, 1.1)
        what = rng.choice(("crash", "pause", "cut", "cut_one_way", "cut_and_crash"))
        how = {"direction": "out", "after_s": rng.uniform(4.0, 20.0)}
        troubles.append(Trouble(at_s, what, BUSIEST, for_s, how))
        at_s += for_s + rng.uniform(5.0, 20.0)
    return replace(
        plan, clusters=clusters, drift=0.01, skewed=rng.random() < 0.7, watch_s=0.4,
        crash_share=0.0, run_failures=0.0, start_failures=0.0, network=_QUIET, disk=DiskFaults(),
        workload=_LONG, troubles=troubles,
    )  # fmt: skip


def most_are_silent(plan: Plan, rng: Random) -> Plan:
    """All clusters fall silent together: it is the controllers that are cut off."""
    at_s, for_s = rng.uniform(25.0, 60.0), rng.uniform(1.5, 4.0) * LEASE_S
    troubles = [
        Trouble(at_s + rng.uniform(0.0, 2.0), "cut_controller", f"gcc-{i}", for_s)
        for i in range(plan.replicas)
    ]
    return replace(
        plan, clusters=rng.randint(2, 4), drift=0.01, crash_share=0.0, run_failures=0.0,
        network=_QUIET, disk=DiskFaults(), workload=_LONG, troubles=troubles,
    )  # fmt: skip


def leaders_come_and_go(plan: Plan, rng: Random) -> Plan:
    """Two controllers that stand still in turn, each unaware of what the other did meanwhile."""
    troubles: list[Trouble] = []
    at_s = rng.uniform(5.0, 15.0)
    while at_s < 150.0:
        what = rng.choices(("pause", "crash", "cut_controller"), (6, 1, 1))[0]
        for_s = rng.uniform(9.0, 30.0)
        troubles.append(Trouble(at_s, what, f"gcc-{rng.randrange(2)}", for_s))
        at_s += rng.uniform(8.0, 30.0)
    disk = DiskFaults(wait_s=0.2, stall_share=0.02, stall_s=6.0)
    return replace(plan, replicas=2, crash_share=0.0, disk=disk, troubles=troubles)


def agents_die_young(plan: Plan, rng: Random) -> Plan:
    """Processes die at every twentieth touch of the outside, and nothing else goes wrong."""
    workload = Workload(workflows=(3, 5), tasks=(4, 14), durations_s=(0.5, 0.5, 3.0, 3.0, 10.0))
    return replace(
        plan, crash_share=rng.uniform(0.01, 0.05), network=_QUIET, disk=DiskFaults(),
        workload=workload, troubles=[],
    )  # fmt: skip


def the_disk_is_bad(plan: Plan, rng: Random) -> Plan:
    """Transactions fail, one in ten or so; half of those are committed all the same."""
    disk = DiskFaults(wait_s=0.02, stall_share=0.02, stall_s=2.0, fail_share=rng.uniform(0.05, 0.2))
    workload = Workload(workflows=(4, 7), tasks=(2, 8))
    return replace(plan, crash_share=0.0, disk=disk, workload=workload, troubles=plan.troubles[:2])


_QUIET = NetworkFaults(delay_s=0.02)
SCENARIOS: tuple[Scenario, ...] = (
    one_is_silent,
    most_are_silent,
    one_is_silent,
    leaders_come_and_go,
    agents_die_young,
    the_disk_is_bad,
)
