# pyright: basic, reportPrivateImportUsage=false
"""From scores to one node: normalising, ties, and the reason when there is no node."""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import bar, coarse
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
    node_refusals,
    scores_of,
)
from cerebrum.engine.state import ROWS, SORTED_RANK, STRIDE, TURN

MEMORY_BIT = 1  # of Refusal.MEMORY


@kernel
def normalize(s, m, slot, barred):
    """Weighted sum of normalised scores into `m.total`; NOT where the task does not fit.

    `barred` 1 to leave out the nodes that `p_barred` names.
    """
    n, width, k = s.counts[ROWS], s.counts[STRIDE], len(m.scorers)
    base = slot * k * width
    for row in range(n):
        out = m.raw[base + row] == NOT or (barred and s.p_barred[row])
        m.total[row] = NOT if out else 0.0
    for i in range(k):
        first = base + i * width
        low, high = np.inf, -np.inf
        for row in range(n):
            value = m.raw[first + row]
            if value != NOT and not (barred and s.p_barred[row]):
                low, high = min(low, value), max(high, value)
        for row in range(n):
            value = m.raw[first + row]
            if value != NOT and not (barred and s.p_barred[row]):
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
def _top_of_allowed(s, m, slot, blocks, memory, barred):
    """The best score among nodes with enough memory that no rule bars."""
    n, width, top = s.counts[ROWS], s.counts[STRIDE], NOT
    for b in range(blocks):
        if m.best[slot * blocks + b] <= top:
            continue
        for row in range(b * BLOCK, min(n, (b + 1) * BLOCK)):
            if m.raw[slot * width + row] <= top or (barred and s.p_barred[row]):
                continue
            if s.nodes[row].memory_free >= memory:
                top = m.raw[slot * width + row]
    return top


@kernel
def _pick(s, m, slot, blocks, top, memory, draw, barred):
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
            if barred and s.p_barred[row]:
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
def best_row(s, m, class_id, draw, out, barred):
    """The node the task goes to; -1 if it fits nowhere. `barred`: only where `p_barred` is 0."""
    slot, memory = scores_of(s, m, class_id, out), s.classes[class_id].memory_mib
    if memory == 0:
        memory = -(2**62)  # a node where too much is given away takes a task that asks for none
    n = s.counts[ROWS]
    blocks = (s.counts[STRIDE] + BLOCK - 1) // BLOCK
    if m.options[SUMMED]:
        top = _top(m, slot, blocks)
    else:
        normalize(s, m, slot, barred)
        top = NOT
        for row in range(n):
            top = m.total[row] if m.total[row] > top else top
    if top == NOT:
        return np.int64(-1)
    row = _pick(s, m, slot, blocks, top, memory, draw, barred)
    if row < 0:
        top = _top_of_allowed(s, m, slot, blocks, memory, barred)
        if top != NOT:
            row = _pick(s, m, slot, blocks, top, memory, draw, barred)
    return row


@kernel
def fits_nowhere(s, m, class_id, out):
    """Whether no node takes the class, whatever rules about other tasks say; memory apart."""
    return m.tally[scores_of(s, m, class_id, out) * 2 * REASONS + FITS] == 0


@kernel
def why_nowhere_among_peers(s, task):
    """`why_nowhere` for a task that rules about other tasks can keep away: all nodes are judged."""
    bar(s, task)
    task_class, tally = s.classes[s.t_class[task]], np.zeros(2 * REASONS, np.int64)
    for row in range(s.counts[ROWS]):
        bits = node_refusals(s, task_class, row)
        if bits < 0:
            continue
        bits |= coarse(s.p_barred[row])
        alone = bits & (bits - 1) == 0
        for b in range(REASONS - 1):
            if (bits >> b) & 1:
                tally[REASONS + b] += 1
                tally[b] += alone
    for first in (0, REASONS):
        best = np.argmax(tally[first : first + REASONS - 1])
        if tally[first + best]:
            return np.int64(1) << best
    return np.int64(4096)


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
