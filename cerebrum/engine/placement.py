# pyright: basic, reportPrivateImportUsage=false
"""Kernels on one node and one task class: does it fit, on which GPUs, what is left afterwards."""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.model.resources import MAX_EXTENDED

# Rules for choosing GPUs on a node.
BEST_FIT, WORST_FIT, FIRST_FIT, RANDOM_FIT, BY_SCORE, FIRST_USED = 0, 1, 2, 3, 4, 5


@kernel
def mix(key, counter):
    """A 64-bit hash of two integers (splitmix64): the same draw for the same seed and decision."""
    z = np.uint64(key) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def below(draw, n):
    """A draw from 0..n-1."""
    return np.int64(draw % np.uint64(n))


@kernel
def accepts_model(node, task):
    """Whether the task may run on the node's GPU model; -1 has every bit set."""
    return (task.gpu_models >> max(0, node.gpu_model)) & 1 == 1


@kernel
def gpus_with(node, milli):
    """How many GPUs have at least `milli` left."""
    count = 0
    for g in range(node.gpu_count):
        if node.gpu_free[g] >= milli:
            count += 1
    return count


@kernel
def _lacks_extended(node, task):
    for i in range(MAX_EXTENDED):
        if node.extended_free[i] < task.extended[i] and task.extended[i]:
            return True
    return False


@kernel
def fits(node, task):
    """Whether the node has room now, by every resource.

    What a task does not ask for it does not lack, even where more is given away than there is.
    """
    if node.cpu_free < task.cpu_milli and task.cpu_milli:
        return False
    if node.memory_free < task.memory_mib and task.memory_mib:
        return False
    if node.slots_free < 1:
        return False
    if task.gpu_count > 0:
        if node.gpu_free_sum < task.gpu_milli * task.gpu_count or not accepts_model(node, task):
            return False
        if gpus_with(node, task.gpu_milli) < task.gpu_count:
            return False
    if task.cache_ways and node.cache_ways_free < task.cache_ways:
        return False
    return not task.has_extended or not _lacks_extended(node, task)


@kernel
def refusals(node, task):
    """Every reason the node has no room for the task, as Refusal bits; 0 exactly when `fits`."""
    bits = 0
    if node.cpu_free < task.cpu_milli and task.cpu_milli:
        bits |= 1
    if node.memory_free < task.memory_mib and task.memory_mib:
        bits |= 2
    if node.slots_free < 1:
        bits |= 4
    if task.gpu_count > 0:
        if node.gpu_count < task.gpu_count:
            bits |= 8
        elif gpus_with(node, task.gpu_milli) < task.gpu_count:
            bits |= 16
        if not accepts_model(node, task):
            bits |= 32
    if task.cache_ways and node.cache_ways_free < task.cache_ways:
        bits |= 64
    if task.has_extended and _lacks_extended(node, task):
        bits |= 128
    return bits


@kernel
def choose_gpus(node, task, rule, draw):
    """The GPUs a fitting task gets, as a bit mask. Ties go to the lowest index.

    Best fit takes the GPUs with least left that fit, worst fit those with most, first fit the
    lowest indices, first used the lowest one that is in use, random fit draws. Whole GPUs are
    alike, so any rule but random takes the first of them.
    """
    mask = 0
    for taken in range(task.gpu_count):
        if rule == RANDOM_FIT:
            skip = below(mix(draw, taken + 1), gpus_with(node, task.gpu_milli) - taken)
        best, best_key = -1, 0
        for g in range(node.gpu_count):
            left = node.gpu_free[g]
            if (mask >> g) & 1 or left < task.gpu_milli:
                continue
            key = 0
            if rule == BEST_FIT or rule == BY_SCORE:
                key = -left
            elif rule == WORST_FIT:
                key = left
            elif rule == FIRST_USED:
                key = 1 if left < 1000 else 0
            elif rule == RANDOM_FIT:
                key = 1 if skip == 0 else 0
                skip -= 1
            if best < 0 or key > best_key:
                best, best_key = g, key
        mask |= 1 << best
    return mask


@kernel
def observed_gpus(node, task, gpus):
    """The GPUs of a task that runs on the node whether there is room or not; 0: nobody knows which.

    Unknown ones are best fit among those with room for it, then the lowest indices. A GPU that is
    given away so many times over that its record would overflow is left out.
    """
    mask = np.int64(gpus)
    if mask == 0:
        for _ in range(min(np.int64(task.gpu_count), np.int64(node.gpu_count))):
            best, least = np.int64(-1), np.int64(0)
            for g in range(node.gpu_count):
                left = np.int64(node.gpu_free[g])
                if (mask >> g) & 1 or (best >= 0 and left < task.gpu_milli):
                    continue
                fitting = left >= task.gpu_milli
                if best < 0 or (fitting and left < least):
                    best, least = np.int64(g), left if fitting else np.int64(2**62)
            mask |= np.int64(1) << best
    for g in range(node.gpu_count):
        if (mask >> g) & 1 and np.int64(node.gpu_free[g]) - task.gpu_milli < -(2**15):
            mask &= ~(np.int64(1) << g)
    return mask


@kernel
def take(node, task, gpus, ways):
    """Subtract the task from the node; `gpus` is the mask it gets. What is free can go negative.

    `gpu_free_sum` is what can be had: a GPU that is given away more than once adds nothing.
    """
    node.cpu_free -= task.cpu_milli
    node.memory_free -= task.memory_mib
    node.slots_free -= 1
    node.cache_ways_free -= ways
    if task.has_extended:
        for i in range(MAX_EXTENDED):
            node.extended_free[i] -= task.extended[i]
    if task.gpu_count > 0:
        node.gpu_kinds[task.gpu_kind] += 1
        for g in range(node.gpu_count):
            if (gpus >> g) & 1:
                left = np.int64(node.gpu_free[g])
                node.gpu_free[g] = left - task.gpu_milli
                node.gpu_free_sum += max(0, left - task.gpu_milli) - max(0, left)


@kernel
def give_back(node, task, gpus, ways):
    """The exact reverse of `take`."""
    node.cpu_free += task.cpu_milli
    node.memory_free += task.memory_mib
    node.slots_free += 1
    node.cache_ways_free += ways
    if task.has_extended:
        for i in range(MAX_EXTENDED):
            node.extended_free[i] += task.extended[i]
    if task.gpu_count > 0:
        node.gpu_kinds[task.gpu_kind] -= 1
        for g in range(node.gpu_count):
            if (gpus >> g) & 1:
                left = np.int64(node.gpu_free[g])
                node.gpu_free[g] = left + task.gpu_milli
                node.gpu_free_sum += max(0, left + task.gpu_milli) - max(0, left)


@kernel
def fragmentation(node, typical):
    """F_n: expected GPU thousandths of the node that a typical task could not use.

    FGD (USENIX ATC'23), section 4: all that is left, less what each typical class could use,
    weighted by popularity; a class that fits can use what is left on GPUs with enough for one
    share, a class that does not fit here or needs no GPU nothing. Sums are of whole numbers, so
    equal nodes have exactly equal fragmentation. `typical` is sorted by `gpu_milli`: CPU-only
    classes come first, and classes asking the same per GPU share one pass over the GPUs.
    """
    rest = np.int64(node.gpu_free_sum)
    if rest == 0 or len(typical) == 0:
        return 0.0
    gpus, cpu, model = node.gpu_count, node.cpu_free, max(0, node.gpu_model)
    usable = np.int64(0)
    seen, enough, milli = np.int32(0), np.int32(0), np.int32(0)
    for m in range(len(typical)):
        task = typical[m]
        if task.gpu_count == 0:
            continue
        if task.gpu_milli != seen:
            seen, enough, milli = task.gpu_milli, np.int32(0), np.int32(0)
            for g in range(gpus):
                left = np.int32(node.gpu_free[g])
                if left >= seen:
                    enough += 1
                    milli += left
            if enough == 0:
                break  # the classes to come ask for more
        # Without branches: what a class needs varies, and a wrong guess costs more than the sum.
        fits = (enough >= task.gpu_count) & (cpu >= task.cpu_milli)
        usable += (fits & (task.gpu_models >> model)) * task.popularity * milli
    total = typical[0].popularity_total
    return (rest * total - usable) / total


@kernel
def power_w(node):
    """Watts the node draws by its power model (PWR, arXiv 2412.17484): packages and GPUs in use."""
    package = node.cpu_package_milli
    busy = (node.cpu_milli - node.cpu_free + package - 1) // package
    packages = (node.cpu_milli + package - 1) // package
    busy = min(busy, packages)  # a node can hold more than it has room for
    watts = busy * node.cpu_full_w + (packages - busy) * node.cpu_idle_w
    for g in range(node.gpu_count):
        watts += node.gpu_idle_w if node.gpu_free[g] == 1000 else node.gpu_full_w
    return watts
