# pyright: basic, reportPrivateImportUsage=false
"""Scores of Kubernetes' NodeResourcesFit and NodeResourcesBalancedAllocation plugins.

Kubernetes 1.30, pkg/scheduler/framework/plugins/noderesources, with the task on the node, over CPU
and memory with weight 1 each, all divisions in whole numbers:

    least allocated   sum of (capacity - requested) x 100 / capacity, over their number
    most allocated    sum of requested x 100 / capacity, over their number
    balanced          (1 - standard deviation of requested / capacity) x 100, cut

A resource the node lacks is left out. Requests count as given: Kubernetes takes 100m CPU and 200 MB
for a container that names none.
"""

from __future__ import annotations

from cerebrum.engine.compiled import kernel, scorer


@kernel
def _free_percent(after):
    """Mean free percent of CPU and memory, and how many of the two the node has."""
    total, count = 0, 0
    if after.cpu_milli > 0:
        total += after.cpu_free * 100 // after.cpu_milli
        count += 1
    if after.memory_mib > 0:
        total += after.memory_free * 100 // after.memory_mib
        count += 1
    return total, count


@scorer
def least_allocated(before, after, task, typical):
    """0..100: the emptier, the better."""
    total, count = _free_percent(after)
    return float(total // count) if count else 0.0


@kernel
def _used_percent(after):
    total, count = 0, 0
    if after.cpu_milli > 0:
        total += (after.cpu_milli - after.cpu_free) * 100 // after.cpu_milli
        count += 1
    if after.memory_mib > 0:
        total += (after.memory_mib - after.memory_free) * 100 // after.memory_mib
        count += 1
    return total, count


@scorer
def most_allocated(before, after, task, typical):
    """0..100: the fuller, the better."""
    total, count = _used_percent(after)
    return float(total // count) if count else 0.0


@scorer
def balanced_allocation(before, after, task, typical):
    """0..100: the closer the shares of CPU and memory in use, the better."""
    if after.cpu_milli == 0 or after.memory_mib == 0:
        return 100.0
    cpu = (after.cpu_milli - after.cpu_free) / after.cpu_milli
    memory = (after.memory_mib - after.memory_free) / after.memory_mib
    return (1.0 - abs((cpu - memory) / 2.0)) * 100.0


LEAST = {"scores": [{"name": "least-allocated"}], "gpus": "best"}
MOST = {"scores": [{"name": "most-allocated"}], "gpus": "best"}
