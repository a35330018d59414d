# pyright: basic, reportPrivateImportUsage=false
"""From scores to one node: normalising, ties, and the reason when there is no node."""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import below, mix
from cerebrum.engine.scoring import (
    BLOCK,
    FITS,
    MAX_REVERSED,
    MINMAX,
    NOT,
    PLAIN,
    REASONS,
    SUMMED,
    TIE_RULE,
    TIES_FIRST,
    TIES_NAME,
    TIES_NEXT,
    TIES_RANDOM,
    maximum,
    scores_of,
)
from cerebrum.engine.state import ROWS, SORTED_RANK, STRIDE, TURN

MEMORY_BIT = 1  # of Refusal.MEMORY


@kernel
def normalize(s, m, slot):
    """Weighted sum of normalised scores into `m.total`; NOT where the task does not fit."""
    n, width, k = s.counts[ROWS], s.counts[STRIDE], len(m.scorers)
    base = slot * k * width
    for row in range(n):
        m.total[row] = NOT if m.raw[base + row] == NOT else 0.0
    for i in range(k):
        first = base + i * width
        low, high = np.inf, -np.inf
        for row in range(n):
            value = m.raw[first + row]
            if value != NOT:
                low, high = min(low, value), max(high, value)
        for row in range(n):
            value = m.raw[first + row]
            if value != NOT:
                m.total[row] += m.weights[i] * normalized(
                    value, low, high, m.normal[i], m.constant[i], m.truncate[i]
                )


@kernel
def normalized(value, low, high, kind, constant, truncate):
    """One score on 0..100 given the range over feasible nodes; `truncate`d it is whole."""
    if kind == PLAIN:
        return value
    if kind == MINMAX:
        if high == low:
            return constant
        result = (value - low) * 100.0 / (high - low)
    elif high == 0:
        result = 0.0
    else:
        result = value * 100.0 / high
    if truncate:
        result = np.trunc(result)
    return 100.0 - result if kind == MAX_REVERSED else result


@kernel
def _top(m, slot, blocks):
    """The best score in a slot."""
    return maximum(m.best, slot * blocks, (slot + 1) * blocks)


@kernel
def _top_with_memory(s, m, slot, blocks, memory):
    """The best score among nodes with enough memory."""
    n, width, top = s.counts[ROWS], s.counts[STRIDE], NOT
    for b in range(blocks):
        if m.best[slot * blocks + b] <= top:
            continue
        for row in range(b * BLOCK, min(n, (b + 1) * BLOCK)):
            if m.raw[slot * width + row] > top and s.nodes[row].memory_free >= memory:
                top = m.raw[slot * width + row]
    return top


@kernel
def _pick(s, m, slot, blocks, top, memory, draw):
    """The node with score `top` and enough memory that the tie rule prefers; -1 if none has."""
    n, width, rule = s.counts[ROWS], s.counts[STRIDE], m.options[TIE_RULE]
    first_wins = rule == TIES_FIRST or (rule == TIES_NAME and s.counts[SORTED_RANK] == 1)
    turn = s.counts[TURN] % max(1, n)
    chosen, ties = np.int64(-1), 0
    for b in range(blocks):
        if m.options[SUMMED] and m.best[slot * blocks + b] < top:
            continue
        for row in range(b * BLOCK, min(n, (b + 1) * BLOCK)):
            value = m.raw[slot * width + row] if m.options[SUMMED] else m.total[row]
            if value != top or s.nodes[row].memory_free < memory:
                continue
            ties += 1
            if first_wins:
                return np.int64(row)
            if rule == TIES_NEXT:  # the first one from the turn's row on, else the first of all
                if row >= turn:
                    return np.int64(row)
                better = chosen < 0
            elif rule == TIES_RANDOM:  # the i-th of the ties replaces the choice once in i times
                better = below(mix(draw, ties), ties) == 0
            else:
                better = chosen < 0 or s.rank[row] < s.rank[chosen]
            if better:
                chosen = np.int64(row)
    return chosen


@kernel
def best_row(s, m, class_id, draw, out):
    """The node the task goes to; -1 if it fits nowhere."""
    slot, memory = scores_of(s, m, class_id, out), s.classes[class_id].memory_mib
    if memory == 0:
        memory = -(2**62)  # a node where too much is given away takes a task that asks for none
    n = s.counts[ROWS]
    blocks = (s.counts[STRIDE] + BLOCK - 1) // BLOCK
    if m.options[SUMMED]:
        top = _top(m, slot, blocks)
    else:
        normalize(s, m, slot)
        top = NOT
        for row in range(n):
            top = m.total[row] if m.total[row] > top else top
    if top == NOT:
        return np.int64(-1)
    row = _pick(s, m, slot, blocks, top, memory, draw)
    if row < 0:
        top = _top_with_memory(s, m, slot, blocks, memory)
        if top != NOT:
            row = _pick(s, m, slot, blocks, top, memory, draw)
    return row


@kernel
def why_nowhere(s, m, class_id, out):
    """The reason that keeps a class out, as one Refusal bit.

    Of the nodes refused for one reason alone, the commonest reason; if every node is refused for
    several, the commonest of all; ties: the lowest bit. Where a shape leaves memory out, memory
    counts on nodes that lack nothing else.
    """
    base = scores_of(s, m, class_id, out) * 2 * REASONS
    best, found = 12, 0
    for first in (REASONS, 0):
        for b in range(13):
            nodes = m.tally[base + first + b]
            if b == MEMORY_BIT:
                nodes += m.tally[base + FITS]
            if nodes > found:
                best, found = b, nodes
        if found:
            break
    return 1 << best
