# pyright: basic, reportPrivateImportUsage=false
"""What a cluster is like now, in a few sums kept current, and what that adds up to over time.

A node's share of each sum is remembered, so that a change costs its own row. Rewards and the pooled
state are functions of these sums; `cerebrum.learn.rewards` says what each term means.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import power_w
from cerebrum.engine.state import GONE, PENDING, ROWS, TASKS, VERSION
from cerebrum.engine.transitions import IS_PENDING
from cerebrum.learn._tables import SEEN, SIGNAL

# Places in `terms`: the order of `rewards.TERMS`.
FRAGMENTATION, BALANCE, POWER, EMISSIONS, WAIT, COMPLETION, REJECTED = 0, 1, 2, 3, 4, 5, 6
N_TERMS = 7

# Places in `levels`. Of cpu, memory and gpu: capacity, used, nodes that have any, sum and sum of
# squares over those of the share in use.
TIME_S, PRESENT, WATTS, FRAGMENTED, NEXT_S = 0, 1, 2, 3, 4
RESOURCE = 5
CAPACITY, USED, HAVING, SHARE, SQUARE = 0, 1, 2, 3, 4
PER_RESOURCE = 5
N_LEVELS = RESOURCE + 3 * PER_RESOURCE

# Of one node in `rows`: the same numbers, `PRESENT` to `FRAGMENTED`, then five a resource.
ROW_WIDTH = N_LEVELS

SECONDS_PER_HOUR = 3600.0
_KWH = 3.6e6  # watt-seconds


@kernel
def _describe(node, out):
    """What one present node adds to each level."""
    out[PRESENT] = 1.0
    out[WATTS] = power_w(node)
    out[FRAGMENTED] = node.fragmentation / 1000.0
    for resource in range(3):
        if resource == 0:
            whole, free = node.cpu_milli, node.cpu_free
        elif resource == 1:
            whole, free = node.memory_mib, node.memory_free
        else:
            whole, free = np.int64(1000 * node.gpu_count), np.int64(node.gpu_free_sum)
        if whole > 0:
            at = RESOURCE + PER_RESOURCE * resource
            share = (whole - free) / whole
            out[at + CAPACITY], out[at + USED], out[at + HAVING] = whole, whole - free, 1.0
            out[at + SHARE], out[at + SQUARE] = share, share * share


@kernel
def refresh(s, p):
    """Bring the levels up to date with the engine's change log."""
    now, seen = s.counts[VERSION], p.cursor[SEEN]
    if seen == now:
        return
    if seen < 0 or now - seen > len(s.changed):
        for row in range(s.counts[ROWS]):
            _renew(s, p, row)
    else:
        for version in range(seen, now):
            _renew(s, p, s.changed[version & (len(s.changed) - 1)])
    p.cursor[SEEN] = now


@kernel
def _renew(s, p, row):
    first = row * ROW_WIDTH
    new = p.rows[len(p.rows) - ROW_WIDTH :]  # the last place is work space
    new[:] = 0.0
    if s.present[row]:
        _describe(s.nodes[row], new)
    for i in range(PRESENT, ROW_WIDTH):
        p.levels[i] += new[i] - p.rows[first + i]
        p.rows[first + i] = new[i]


@kernel
def waiting(s):
    """Tasks in the queue."""
    return s.counts[PENDING] - s.counts[GONE]


@kernel
def imbalance(p):
    """Standard deviation of the share in use over the nodes, mean over the resources there are."""
    total, resources = 0.0, 0
    for resource in range(3):
        at = RESOURCE + PER_RESOURCE * resource
        nodes = p.levels[at + HAVING]
        if nodes > 0:
            mean = p.levels[at + SHARE] / nodes
            total += np.sqrt(max(0.0, p.levels[at + SQUARE] / nodes - mean * mean))
            resources += 1
    return total / resources if resources else 0.0


@kernel
def pass_time(s, p, until):
    """What the time from the last event to this one costs: energy, emissions, waiting."""
    before = p.levels[TIME_S]
    if until <= before:
        return
    p.levels[TIME_S] = until
    if before == -np.inf:
        return
    refresh(s, p)
    p.terms[WAIT] -= waiting(s) * (until - before) / SECONDS_PER_HOUR
    p.terms[POWER] -= p.levels[WATTS] * (until - before) / _KWH
    if len(p.signal) == 0:
        return
    at, start = p.cursor[SIGNAL], before
    while start < until:  # piece by piece: each value holds until the next
        while at + 1 < len(p.signal) and p.signal_s[at + 1] <= start:
            at += 1
        end = until
        if at + 1 < len(p.signal):
            end = min(until, p.signal_s[at + 1])
        p.terms[EMISSIONS] -= p.levels[WATTS] * (end - start) / _KWH * p.signal[at]
        start = end
    p.cursor[SIGNAL] = at


@kernel
def part_of_cluster(s, p, task):
    """The largest share of the cluster's capacity that the task asks of any resource, 0..1."""
    refresh(s, p)
    asked = s.classes[s.t_class[task]]
    part = 0.0
    for resource in range(3):
        whole = p.levels[RESOURCE + PER_RESOURCE * resource + CAPACITY]
        if resource == 0:
            wanted = asked.cpu_milli
        elif resource == 1:
            wanted = asked.memory_mib
        else:
            wanted = np.int64(asked.gpu_count) * asked.gpu_milli
        if wanted > 0:
            part = max(part, min(1.0, wanted / whole) if whole > 0 else 1.0)
    return part


@kernel
def give_up_waiting(s, p):
    """What is left in the queue when nothing will happen any more was never placed."""
    for task in range(s.counts[TASKS]):
        if s.t_state[task] == IS_PENDING:
            p.terms[REJECTED] -= part_of_cluster(s, p, task)
