# pyright: basic
"""The incremental loop: scores per (task class, node) are kept and only changed rows redone.

A `Memo` belongs to one policy and never changes a result: it is what was computed before, brought
up to date from the engine's change log. Scores of a class live in a slot; a block maximum over 64
nodes finds the best one. Filling a slot computes each distinct node state once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import carray

from cerebrum.engine.compiled import JIT, call_scorer, kernel, pointer
from cerebrum.engine.placement import BY_SCORE, below, choose_gpus, fits, mix, take
from cerebrum.engine.state import LABELLED, ROWS, SORTED_RANK, VERSION
from cerebrum.model.layout import NODE

BLOCK = 64
NOT = -np.inf  # the score of a node that cannot take the task

TIES_FIRST, TIES_NAME, TIES_RANDOM = 0, 1, 2
PLAIN, MINMAX, MAX, MAX_REVERSED = 0, 1, 2, 3  # ways to normalise over the feasible nodes


class Memo(NamedTuple):
    """Scores kept by a policy. m slots, k scorers (1 if their sum can be kept), n rows.

    `raw` m x k x n; `best` m x blocks, the block maximum (only when the sum is kept); `slot_of` a
    class's slot (-1: none), `class_of` the reverse; `used` when a slot was last wanted; `version`
    how far a slot is up to date; `failed_at` FREED when a class last fitted nowhere; `seen` and
    `seen_row` a hash table of node states; `scorers` addresses, with `weights`, `normal` and
    `constant` (what normalising gives when all are equal) one a scorer; `truncate` 1 to cut scores
    to whole numbers; `scratch` two node records; `options` see below; `total` n, work space.
    """

    raw: np.ndarray
    best: np.ndarray
    slot_of: np.ndarray
    class_of: np.ndarray
    used: np.ndarray
    version: np.ndarray
    failed_at: np.ndarray
    seen: np.ndarray
    seen_row: np.ndarray
    scorers: np.ndarray
    weights: np.ndarray
    normal: np.ndarray
    constant: np.ndarray
    truncate: np.ndarray
    scratch: np.ndarray
    total: np.ndarray
    options: np.ndarray


MEMO_DTYPES = {
    "raw": np.float64, "best": np.float64, "slot_of": np.int32, "class_of": np.int32,
    "used": np.int64, "version": np.int64, "failed_at": np.int64, "seen": np.int64,
    "seen_row": np.int32, "scorers": np.int64, "weights": np.float64, "normal": np.int64,
    "constant": np.float64, "truncate": np.int64, "scratch": NODE, "total": np.float64,
    "options": np.int64,
}  # fmt: skip

# Places in `options`.
SUMMED = 0  # 1 if the weighted sum is kept, 0 if scorers must be normalised first
GPU_RULE = 1
TIE_RULE = 2
KEY = 3  # of random draws
STEP = 4  # ages slots
DISCIPLINE = 5
N_OPTIONS = 8

if JIT:
    _NODE = NODE

    @kernel
    def unpack_memo(a):
        """The memo behind a table of addresses."""
        return Memo(
            carray(pointer(a[0]), a[1], np.float64),
            carray(pointer(a[2]), a[3], np.float64),
            carray(pointer(a[4]), a[5], np.int32),
            carray(pointer(a[6]), a[7], np.int32),
            carray(pointer(a[8]), a[9], np.int64),
            carray(pointer(a[10]), a[11], np.int64),
            carray(pointer(a[12]), a[13], np.int64),
            carray(pointer(a[14]), a[15], np.int64),
            carray(pointer(a[16]), a[17], np.int32),
            carray(pointer(a[18]), a[19], np.int64),
            carray(pointer(a[20]), a[21], np.float64),
            carray(pointer(a[22]), a[23], np.int64),
            carray(pointer(a[24]), a[25], np.float64),
            carray(pointer(a[26]), a[27], np.int64),
            carray(pointer(a[28]), a[29], _NODE),
            carray(pointer(a[30]), a[31], np.float64),
            carray(pointer(a[32]), a[33], np.int64),
        )

else:

    def unpack_memo(a):
        """With Numba off, kernels are handed the Memo itself."""
        return a


@kernel
def admits(s, task, row):
    """Whether the node takes new tasks and the class's labels and taints allow it."""
    open_ = s.present[row] and not s.cordoned[row]
    return open_ and s.forbidden[task.constraints * s.counts[ROWS] + row] == 0


@kernel
def _score(m, i, before, after, task, typical):
    value = call_scorer(m.scorers[i], before, after, task, typical)
    return np.trunc(value) if m.truncate[i] else value


@kernel
def evaluate(s, m, row, task, draw, out):
    """Score a node the task fits on; `out[:k]` gets each scorer's number. Returns the GPU mask.

    `after` is the node with the task placed. Under BY_SCORE a shared task tries every GPU and the
    first scorer decides; GPUs with equal room are alike, so each amount of room is tried once.
    """
    before, after = s.nodes[row], m.scratch[0]
    rule = m.options[GPU_RULE]
    m.scratch[0] = before
    if s.counts[LABELLED]:
        at = task.constraints * s.counts[ROWS] + row
        after.preference, after.disliked_taints = s.preference[at], s.disliked[at]
    if rule == BY_SCORE and task.gpu_kind == 0:
        gpus = _try_each_gpu(s, m, before, after, task, out)
    else:
        gpus = choose_gpus(before, task, rule, draw)
        take(after, task, gpus, task.cache_ways)
        out[0] = _score(m, 0, before, after, task, s.typical)
    for i in range(1, len(m.scorers)):
        out[i] = _score(m, i, before, after, task, s.typical)
    return gpus


@kernel
def _try_each_gpu(s, m, before, after, task, out):
    """Place a shared task on each GPU in turn; leave `after` at the best, lowest index on ties."""
    take(after, task, 0, task.cache_ways)
    after.gpu_free_sum -= task.gpu_milli
    best, best_score = -1, 0.0
    for g in range(before.gpu_count):
        left = before.gpu_free[g]
        if left < task.gpu_milli:
            continue
        tried = False
        for earlier in range(g):
            if before.gpu_free[earlier] == left:
                tried = True
                break
        if tried:
            continue
        after.gpu_free[g] = left - task.gpu_milli
        value = _score(m, 0, before, after, task, s.typical)
        after.gpu_free[g] = left
        if best < 0 or value > best_score:
            best, best_score = g, value
    after.gpu_free[best] -= task.gpu_milli
    out[0] = best_score
    return 1 << best


@kernel
def _keep(s, m, slot, row, task, out):
    """Compute and store one entry of a slot."""
    n, k = s.counts[ROWS], len(m.scorers)
    fit = admits(s, task, row) and fits(s.nodes[row], task)
    if fit:
        evaluate(s, m, row, task, 0, out)
    if m.options[SUMMED]:
        value = NOT
        if fit:
            value = 0.0
            for i in range(k):
                value += m.weights[i] * out[i]
        m.raw[slot * n + row] = value
    else:
        for i in range(k):
            m.raw[(slot * k + i) * n + row] = out[i] if fit else NOT


@kernel
def _hash_node(words, first, count):
    h = np.uint64(0xCBF29CE484222325)
    for w in range(first, first + count):
        h = (h ^ np.uint64(words[w])) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    return h


@kernel
def _same_node(words, a, b, count):
    for w in range(count):
        if words[a + w] != words[b + w]:
            return False
    return True


@kernel
def _fill(s, m, slot, task, out):
    """All entries of a slot. Nodes in the same state share one computation."""
    n, k = s.counts[ROWS], len(m.scorers)
    words = s.nodes.view(np.int64)
    per_node = len(words) // len(s.nodes)
    stride = 1 if m.options[SUMMED] else k
    mask = len(m.seen_row) - 1
    m.seen_row[:] = -1
    for row in range(n):
        base = slot * stride * n + row
        if not admits(s, task, row) or not fits(s.nodes[row], task):
            for i in range(stride):
                m.raw[base + i * n] = NOT
            continue
        if s.counts[LABELLED]:  # a node's preference is not part of its record
            _keep(s, m, slot, row, task, out)
            continue
        h = _hash_node(words, row * per_node, per_node)
        at = np.int64(h & np.uint64(mask))
        while m.seen_row[at] >= 0:
            twin = np.int64(m.seen_row[at])
            if m.seen[at] == np.int64(h) and _same_node(
                words, row * per_node, twin * per_node, per_node
            ):
                break
            at = (at + 1) & mask
        if m.seen_row[at] >= 0:
            twin = np.int64(m.seen_row[at])
            for i in range(stride):
                m.raw[base + i * n] = m.raw[base - row + twin + i * n]
        else:
            m.seen[at], m.seen_row[at] = np.int64(h), row
            _keep(s, m, slot, row, task, out)
    if m.options[SUMMED]:
        blocks = (n + BLOCK - 1) // BLOCK
        for block in range(blocks):
            _renew_block(m, slot, block, n, blocks)


@kernel
def _renew_block(m, slot, block, n, blocks):
    best = NOT
    base = slot * n
    for row in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
        best = max(best, m.raw[base + row])
    m.best[slot * blocks + block] = best


@kernel
def _refresh_row(s, m, slot, row, task, out):
    n = s.counts[ROWS]
    old = m.raw[slot * n + row]
    _keep(s, m, slot, row, task, out)
    if m.options[SUMMED]:
        new = m.raw[slot * n + row]
        blocks = (n + BLOCK - 1) // BLOCK
        at = slot * blocks + row // BLOCK
        if new >= m.best[at]:
            m.best[at] = new
        elif old == m.best[at]:
            _renew_block(m, slot, row // BLOCK, n, blocks)


@kernel
def _take_slot(s, m, class_id):
    """The class's slot, or the one unused for longest."""
    slot = m.slot_of[class_id]
    if slot < 0:
        slot = 0
        for i in range(len(m.class_of)):
            if m.used[i] < m.used[slot]:
                slot = i
        if m.class_of[slot] >= 0:
            m.slot_of[m.class_of[slot]] = -1
        m.class_of[slot], m.slot_of[class_id] = class_id, slot
        m.version[slot] = -1
    m.options[STEP] += 1
    m.used[slot] = m.options[STEP]
    return slot


@kernel
def catch_up(s, m, slot, out):
    """Bring a slot up to date from the change log, or fill it when that is shorter."""
    task = s.classes[m.class_of[slot]]
    now, version = s.counts[VERSION], m.version[slot]
    if version < 0 or now - version > min(len(s.changed), s.counts[ROWS]):
        _fill(s, m, slot, task, out)
    else:
        mask = len(s.changed) - 1
        for v in range(version, now):
            row = s.changed[v & mask]
            if s.changed_at[row] == v:  # later changes of the row come later in the log
                _refresh_row(s, m, slot, row, task, out)
    m.version[slot] = now


@kernel
def scores_of(s, m, class_id, out):
    """The class's up-to-date slot."""
    slot = _take_slot(s, m, class_id)
    if m.version[slot] != s.counts[VERSION]:
        catch_up(s, m, slot, out)
    return slot


@kernel
def normalize(s, m, slot):
    """Weighted sum of normalised scores into `m.total`; NOT where the task does not fit."""
    n, k = s.counts[ROWS], len(m.scorers)
    base = slot * k * n
    for row in range(n):
        m.total[row] = NOT if m.raw[base + row] == NOT else 0.0
    for i in range(k):
        first = base + i * n
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
    """One score on 0..100 given the range over feasible nodes; whole numbers divide like integers."""
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
def _tie_better(s, m, row, chosen):
    if m.options[TIE_RULE] == TIES_NAME:
        return s.rank[row] < s.rank[chosen]
    return False  # rows ascend: the first one stays


@kernel
def best_row(s, m, class_id, draw, out):
    """The node the task goes to and how many nodes tie for best; row -1 if it fits nowhere."""
    slot = scores_of(s, m, class_id, out)
    n = s.counts[ROWS]
    summed = m.options[SUMMED] == 1
    blocks = (n + BLOCK - 1) // BLOCK
    top = NOT
    if summed:
        for b in range(blocks):
            top = max(top, m.best[slot * blocks + b])
        values, base = m.raw, slot * n
    else:
        normalize(s, m, slot)
        values, base = m.total, 0
        for row in range(n):
            top = max(top, values[row])
    if top == NOT:
        return -1
    rule = m.options[TIE_RULE]
    first_wins = rule == TIES_FIRST or (rule == TIES_NAME and s.counts[SORTED_RANK] == 1)
    chosen, ties = -1, 0
    for b in range(blocks):
        if summed and m.best[slot * blocks + b] != top:
            continue
        for row in range(b * BLOCK, min(n, (b + 1) * BLOCK)):
            if values[base + row] != top:
                continue
            ties += 1
            if chosen < 0 or _tie_better(s, m, row, chosen):
                chosen = row
            if first_wins:
                return chosen
    if rule == TIES_RANDOM:
        chosen = _nth_tie(values, base, n, top, below(mix(draw, 0), ties))
    return chosen


@kernel
def _nth_tie(values, base, n, top, nth):
    for row in range(n):
        if values[base + row] == top:
            if nth == 0:
                return row
            nth -= 1
    return -1
