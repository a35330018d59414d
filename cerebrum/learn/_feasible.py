# pyright: basic, reportPrivateImportUsage=false
"""Which nodes can take a task now, and why none can: the engine's own rules, one task at a time."""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import bar, coarse, peered
from cerebrum.engine.scoring import node_refusals
from cerebrum.engine.state import FREED, ROWS

_REASONS = 16


@kernel
def _refusal(s, task, row, ruled):
    """Refusal bits of one node for a task, -1 for a node that is gone."""
    bits = node_refusals(s, s.classes[s.t_class[task]], row)
    if ruled and bits >= 0:
        bits |= coarse(s.p_barred[row])
    return bits


@kernel
def fill_mask(s, task, mask):
    """Which rows take the task now. Returns how many."""
    ruled = peered(s, task)
    if ruled:
        bar(s, task)
    able = 0
    for row in range(s.counts[ROWS]):
        mask[row] = _refusal(s, task, row, ruled) == 0
        able += mask[row]
    mask[s.counts[ROWS] :] = False
    return able


@kernel
def fits_somewhere(s, p, task):
    """Whether any node takes the task, unless it is known that nothing was freed since."""
    ruled, kind = peered(s, task), s.t_class[task]
    if p.nowhere[kind] == s.counts[FREED]:
        return False
    if ruled:
        bar(s, task)
    for row in range(s.counts[ROWS]):
        if _refusal(s, task, row, ruled) == 0:
            return True
    if not ruled:
        p.nowhere[kind] = s.counts[FREED]
    return False


@kernel
def why_nowhere(s, task):
    """The reason that keeps a task out, as one Refusal bit: the engine's, for scorers of memory.

    The commonest among nodes refused for one reason alone, else the commonest of all; ties: the
    lowest bit.
    """
    ruled = peered(s, task)
    if ruled:
        bar(s, task)
    alone, all_ = np.zeros(_REASONS, np.int64), np.zeros(_REASONS, np.int64)
    for row in range(s.counts[ROWS]):
        bits = _refusal(s, task, row, ruled)
        if bits < 0:
            continue
        single = bits & (bits - 1) == 0
        for b in range(_REASONS - 1):
            if (bits >> b) & 1:
                all_[b] += 1
                alone[b] += single
    if alone.max() > 0:
        return np.int64(1) << np.argmax(alone)
    if all_.max() > 0:
        return np.int64(1) << np.argmax(all_)
    return np.int64(4096)
