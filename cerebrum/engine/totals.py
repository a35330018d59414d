# pyright: basic, reportPrivateImportUsage=false
"""What each node is worth to one task, for those who choose the node themselves.

Whoever decides elsewhere (kube-scheduler, which asks as an extender) wants every node's score, not
the best node. The scores are those that a decision would go by, out of the same memo.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.peers import bar, peered
from cerebrum.engine.picking import normalize
from cerebrum.engine.placement import mix
from cerebrum.engine.scoring import (
    KEY,
    NOT,
    SUMMED,
    evaluate,
    node_refusals,
    scores_of,
    unpack_memo,
)
from cerebrum.engine.state import ROWS, STRIDE, unpack_state


@kernel
def task_totals(state_handle, memo_handle, task, out, totals):
    """Fill `totals` (float64[rows]) with each node's score; NOT where the task does not fit.

    The task need not be in the queue. `out` is space for one number a scorer.
    """
    s, m = unpack_state(state_handle), unpack_memo(memo_handle)
    class_id = s.t_class[task]
    barred = peered(s, task)
    if barred:
        bar(s, task)
    slot, memory = scores_of(s, m, class_id, out), s.classes[class_id].memory_mib
    if memory == 0:
        memory = -(2**62)  # as in a decision: who asks for none can lack none
    if not m.options[SUMMED]:
        normalize(s, m, slot, barred)
    for row in range(s.counts[ROWS]):
        value = m.raw[slot * s.counts[STRIDE] + row] if m.options[SUMMED] else m.total[row]
        if s.nodes[row].memory_free < memory or (barred and s.p_barred[row]):
            value = NOT
        totals[row] = value


@kernel
def task_gpus(state_handle, memo_handle, task, row, out):
    """The GPUs the policy gives the task on a node, as a mask; -1 where the node lacks room."""
    s, m = unpack_state(state_handle), unpack_memo(memo_handle)
    task_class = s.classes[s.t_class[task]]
    if node_refusals(s, task_class, row):
        return np.int64(-1)
    draw = mix(m.options[KEY], task * 1024 + s.t_attempts[task])
    return np.int64(evaluate(s, m, row, task_class, draw, out))
