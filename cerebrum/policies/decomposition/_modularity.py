# pyright: basic, reportPrivateImportUsage=false
"""Louvain's two steps as kernels: move nodes to the best neighbouring community, then contract."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine.compiled import kernel

_MOST_PASSES = 20
_FEW = 200  # a pass that moves fewer nodes than this part of them is the last one
_LEAST_GAIN = 1e-9  # of the total weight; smaller gains are rounding


@kernel
def _neighbours(before, after, weight, n):
    """Undirected adjacency: (first, other, weight), both directions, without self-loops."""
    first = np.zeros(n + 1, np.int64)
    for i in range(len(before)):
        if before[i] != after[i]:
            first[before[i] + 1] += 1
            first[after[i] + 1] += 1
    for i in range(n):
        first[i + 1] += first[i]
    at, other, w = first[:-1].copy(), np.empty(first[n], np.int64), np.empty(first[n])
    for i in range(len(before)):
        a, b = before[i], after[i]
        if a != b:
            other[at[a]], w[at[a]] = b, weight[i]
            other[at[b]], w[at[b]] = a, weight[i]
            at[a] += 1
            at[b] += 1
    return first, other, w


@kernel
def _move(first, other, w, degree, total, resolution, community):
    """Move nodes, in order of their numbers, until none gains; whether any moved."""
    n = len(degree)
    sums, link = degree.copy(), np.zeros(n)
    touched = np.empty(n, np.int64)
    any_moved = False
    for _ in range(_MOST_PASSES):
        moved = 0
        for node in range(n):
            own, count = community[node], 0
            for e in range(first[node], first[node + 1]):
                c = community[other[e]]
                if link[c] == 0.0:
                    touched[count] = c
                    count += 1
                link[c] += w[e]
            sums[own] -= degree[node]
            best, best_gain = own, link[own] - resolution * degree[node] * sums[own] / total
            for i in range(count):
                c = touched[i]
                gain = link[c] - resolution * degree[node] * sums[c] / total
                if gain > best_gain + _LEAST_GAIN * total:
                    best, best_gain = c, gain
            sums[best] += degree[node]
            if best != own:
                community[node] = best
                moved += 1
            for i in range(count):
                link[touched[i]] = 0.0
        any_moved = any_moved or moved > 0
        if moved <= n // _FEW:
            break
    return any_moved


@kernel
def _renumber(community):
    """Communities by first appearance; how many."""
    number, count = np.full(len(community), -1, np.int64), 0
    for i in range(len(community)):
        if number[community[i]] < 0:
            number[community[i]] = count
            count += 1
        community[i] = number[community[i]]
    return count


@kernel
def _merge(before, after, weight, community):
    """The edges between communities: sorted, each pair once."""
    m = len(before)
    key = np.empty(m, np.int64)
    size = community.max() + 1
    for i in range(m):
        a, b = community[before[i]], community[after[i]]
        key[i] = min(a, b) * size + max(a, b)
    order = np.argsort(key, kind="mergesort")
    count = 0
    out_a, out_b, out_w = np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m)
    last = np.int64(-1)
    for i in order:
        if key[i] != last:
            last = key[i]
            out_a[count], out_b[count], out_w[count] = last // size, last % size, 0.0
            count += 1
        out_w[count - 1] += weight[i]
    return out_a[:count].copy(), out_b[:count].copy(), out_w[:count].copy()


@kernel
def _communities(before, after, weight, n, resolution):
    result = np.arange(n)
    total = 2.0 * weight.sum()
    if total <= 0.0:
        return result
    degree = np.zeros(n)
    for i in range(len(before)):
        degree[before[i]] += weight[i]
        degree[after[i]] += weight[i]
    while True:
        community = np.arange(len(degree))
        first, other, w = _neighbours(before, after, weight, len(degree))
        if not _move(first, other, w, degree, total, resolution, community):
            return result
        count = _renumber(community)
        for i in range(n):
            result[i] = community[result[i]]
        summed = np.zeros(count)
        for i in range(len(degree)):
            summed[community[i]] += degree[i]
        before, after, weight = _merge(before, after, weight, community)
        degree = summed


def communities(
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    weight: NDArray[np.float64],
    n: int,
    resolution: float = 1.0,
) -> NDArray[np.int64]:
    """int64[n]: communities of a weighted graph, numbered from 0 by their first node."""
    return _communities(
        before.astype(np.int64), after.astype(np.int64), weight, n, float(resolution)
    )
