# pyright: basic, reportPrivateImportUsage=false
"""The incremental loop: scores per (task class, node) are kept and only changed rows redone.

A `Memo` belongs to one policy and never changes a result: it is what was computed before, brought
up to date from the engine's change log. Scores of a class live in a slot; a block maximum over 64
nodes finds the best one. When a slot is filled, nodes in the same state share one computation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cerebrum.engine.compiled import call_scorer, kernel
from cerebrum.engine.placement import BY_SCORE, choose_gpus, refusals, take
from cerebrum.engine.state import LABELLED, ROWS, STRIDE, VERSION
from cerebrum.engine.tables import opener, table_type
from cerebrum.model.layout import NODE, TASK

BLOCK = 64
TIDY_LAG, TIDY_MEMORY = 1024, 20_000  # changes, decisions
TIDY_NEAR, TIDY_FAR = 48, 4  # changes a decision while nodes fit in the cache, and beyond
NEAR_NODES = 16_384
NOT = -np.inf  # the score of a node that cannot take the task

TIES_FIRST, TIES_NAME, TIES_RANDOM, TIES_NEXT = 0, 1, 2, 3
PLAIN, MINMAX, MAX, MAX_REVERSED = 0, 1, 2, 3  # ways to normalise over the feasible nodes


class Memo(NamedTuple):
    """Scores kept by a policy. m slots, k scorers (1 if their sum can be kept), n node rows there
    is room for: those beyond `counts[ROWS]` are nodes that take nothing, until one joins.

    Classes of one shape share a slot: shapes are classes, merged when they differ in memory only
    and no scorer looks at memory (which is then checked when the best node is picked). `shape_of`
    a class's shape; `shapes` their records; `raw` m x k x n; `refused` m x n, Refusal bits; `tally`
    m x 2 x 16, how many nodes a reason refuses and how many it alone refuses; `best` m x blocks,
    the block maximum of `raw` (only when the sum is kept); `slot_of` a shape's slot (-1: none),
    `shape_in` the reverse; `used` when a slot was last wanted; `version` how far a slot is up to
    date; `failed_at` FREED when a class last fitted nowhere, `failed_with` when a task with these
    labels did because of rules about other tasks; `seen` and `seen_row` a hash table of
    node states; `scorers` addresses, with `weights`, `normal` and `constant` (what normalising
    gives when all are equal) one a scorer; `truncate` 1 to cut scores to whole numbers; `scratch`
    two node records; `options` see below; `total` n, work space.
    """

    shape_of: np.ndarray
    shapes: np.ndarray
    raw: np.ndarray
    refused: np.ndarray
    tally: np.ndarray
    best: np.ndarray
    slot_of: np.ndarray
    shape_in: np.ndarray
    used: np.ndarray
    version: np.ndarray
    failed_at: np.ndarray
    failed_with: np.ndarray
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


FAILURE = np.dtype([("labels", "i8"), ("changes", "i8"), ("freed", "i8")])

MEMO_DTYPES: dict[str, Any] = {
    "shape_of": np.int32, "shapes": TASK, "raw": np.float64, "refused": np.int16,
    "tally": np.int32, "best": np.float64, "slot_of": np.int32, "shape_in": np.int32,
    "used": np.int64, "version": np.int64, "failed_at": np.int64, "failed_with": FAILURE,
    "seen": np.int64,
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

unpack_memo = opener(table_type("Memo", MEMO_DTYPES))


REASONS = 16
FITS = 15  # place in a slot's tally: nodes that take the shape, memory apart


def _offset(name: str) -> int:
    assert NODE.fields is not None
    fields: Any = NODE.fields
    return fields[name][1]


_WORDS = NODE.itemsize // 8
_FREE_WORDS = tuple(
    _offset(name) // 8
    for name in ("cpu_milli", "cpu_free", "memory_free", "gpu_count", "slots_free", "gpu_free")
)
_GPU_WORDS = NODE["gpu_free"].itemsize // 8


@kernel
def node_refusals(s, task, row):
    """All Refusal bits of one node for a task class, 0 if it fits; -1 for a node that is gone."""
    if not s.present[row]:
        return -1
    bits = refusals(s.nodes[row], task)
    forbidden = np.int64(s.forbidden[task.constraints * s.counts[STRIDE] + row])
    bits |= ((forbidden & 3) | (forbidden >> 2)) << 8  # a volume out of reach is a selector's no
    if s.cordoned[row]:
        bits |= 1024
    return bits


@kernel
def admits(s, task, row):
    """Whether the node takes new tasks and the class's labels and taints allow it."""
    open_ = s.present[row] and not s.cordoned[row]
    return open_ and s.forbidden[task.constraints * s.counts[STRIDE] + row] == 0


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
        at = task.constraints * s.counts[STRIDE] + row
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
def _count(m, slot, bits, step):
    """Enter a node's refusals in the tally, or take them out."""
    if bits <= 0:
        m.tally[slot * 2 * REASONS + FITS] += step if bits == 0 else 0
        return
    at = slot * 2 * REASONS
    alone = bits & (bits - 1) == 0
    while bits:
        if bits & 1:
            m.tally[at] += step
            if alone:
                m.tally[at + REASONS] += step
        bits >>= 1
        at += 1


@kernel
def _refuse(s, m, slot, row):
    """Store that a node does not take the class."""
    n, k = s.counts[STRIDE], len(m.scorers)
    if m.options[SUMMED]:
        m.raw[slot * n + row] = NOT
    else:
        for i in range(k):
            m.raw[(slot * k + i) * n + row] = NOT


@kernel
def _keep(s, m, slot, row, task, out):
    """Compute and store the scores of a node that takes the class."""
    n, k = s.counts[STRIDE], len(m.scorers)
    evaluate(s, m, row, task, 0, out)
    if m.options[SUMMED]:
        value = 0.0
        for i in range(k):
            value += m.weights[i] * out[i]
        m.raw[slot * n + row] = value
    else:
        for i in range(k):
            m.raw[(slot * k + i) * n + row] = out[i]


@kernel
def _hash_node(words, first):
    """A hash of what usually tells nodes apart; twins are compared in full."""
    h = np.uint64(0xCBF29CE484222325)
    for w in _FREE_WORDS:
        h = (h ^ np.uint64(words[first + w])) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    for w in range(1, _GPU_WORDS):
        h = (h ^ np.uint64(words[first + _FREE_WORDS[-1] + w])) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    return h


@kernel
def _same_node(words, a, b):
    for w in range(_WORDS):
        if words[a + w] != words[b + w]:
            return False
    return True


@kernel
def _find_twin(m, words, row):
    """An earlier node in the same state; -1 if there is none, and `row` is remembered."""
    h = _hash_node(words, row * _WORDS)
    mask = len(m.seen_row) - 1
    at = np.int64(h & np.uint64(mask))
    while m.seen_row[at] >= 0:
        twin = np.int64(m.seen_row[at])
        if m.seen[at] == np.int64(h) and _same_node(words, row * _WORDS, twin * _WORDS):
            return twin
        at = (at + 1) & mask
    m.seen[at], m.seen_row[at] = np.int64(h), row
    return np.int64(-1)


@kernel
def _fill(s, m, slot, task, out):
    """All entries of a slot. Nodes in the same state share one computation."""
    n, width, k = s.counts[ROWS], s.counts[STRIDE], len(m.scorers)
    words = s.nodes.view(np.int64)
    stride = 1 if m.options[SUMMED] else k
    looked, found = 0, 0
    m.seen_row[:] = -1
    m.tally[slot * 2 * REASONS : (slot + 1) * 2 * REASONS] = 0
    for row in range(n):
        bits = node_refusals(s, task, row)
        m.refused[slot * width + row] = bits
        _count(m, slot, bits, 1)
        if bits:
            _refuse(s, m, slot, row)
            continue
        twin = np.int64(-1)
        # Looking for twins pays while there are some; a node's preference is not in its record.
        if (looked < 512 or 2 * found > looked) and not s.counts[LABELLED]:
            twin = _find_twin(m, words, row)
            looked += 1
            found += twin >= 0
        if twin < 0:
            _keep(s, m, slot, row, task, out)
            continue
        base = slot * stride * width
        for i in range(stride):
            m.raw[base + i * width + row] = m.raw[base + i * width + twin]
    for row in range(n, width):  # nodes to come
        m.refused[slot * width + row] = -1
        _refuse(s, m, slot, row)
    if m.options[SUMMED]:
        for block in range((width + BLOCK - 1) // BLOCK):
            _renew_block(m, slot, block, width)


@kernel
def maximum(values, at, end):
    """The largest of values[at:end]; four chains of comparisons run side by side."""
    a = b = c = d = NOT
    while at + 4 <= end:
        a = values[at] if values[at] > a else a
        b = values[at + 1] if values[at + 1] > b else b
        c = values[at + 2] if values[at + 2] > c else c
        d = values[at + 3] if values[at + 3] > d else d
        at += 4
    while at < end:
        a = values[at] if values[at] > a else a
        at += 1
    return max(max(a, b), max(c, d))


@kernel
def _renew_block(m, slot, block, width):
    first = slot * width + block * BLOCK
    end = slot * width + min(width, (block + 1) * BLOCK)
    blocks = (width + BLOCK - 1) // BLOCK
    m.best[slot * blocks + block] = maximum(m.raw, first, end)


@kernel
def _refresh_row(s, m, slot, row, task, out):
    n = s.counts[STRIDE]
    old = m.raw[slot * n + row]
    before, bits = np.int64(m.refused[slot * n + row]), node_refusals(s, task, row)
    if bits != before:
        _count(m, slot, before, -1)
        _count(m, slot, bits, 1)
        m.refused[slot * n + row] = bits
    if bits == 0:
        _keep(s, m, slot, row, task, out)
    elif before == 0:
        _refuse(s, m, slot, row)
    else:
        return
    if m.options[SUMMED]:
        new = m.raw[slot * n + row]
        if new == old:
            return
        blocks = (n + BLOCK - 1) // BLOCK
        at = slot * blocks + row // BLOCK
        if new >= m.best[at]:
            m.best[at] = new
        elif old == m.best[at]:
            _renew_block(m, slot, row // BLOCK, n)


@kernel
def _take_slot(m, shape):
    """The shape's slot, or the one unused for longest."""
    slot = m.slot_of[shape]
    if slot < 0:
        slot = 0
        for i in range(len(m.shape_in)):
            if m.used[i] < m.used[slot]:
                slot = i
        if m.shape_in[slot] >= 0:
            m.slot_of[m.shape_in[slot]] = -1
        m.shape_in[slot], m.slot_of[shape] = shape, slot
        m.version[slot] = -1
    m.options[STEP] += 1
    m.used[slot] = m.options[STEP]
    return slot


@kernel
def _advance(s, m, slot, until, out):
    """Redo the rows that changed from the slot's version up to `until`."""
    task, mask = m.shapes[m.shape_in[slot]], len(s.changed) - 1
    for v in range(m.version[slot], until):
        row = s.changed[v & mask]
        if s.changed_at[row] == v:  # later changes of the row come later in the log
            _refresh_row(s, m, slot, row, task, out)
    m.version[slot] = until


@kernel
def tidy(s, m, out):
    """Take the stalest slot a few changes further, so that no decision must do them all at once."""
    if s.counts[ROWS] < 2 * TIDY_LAG:
        return  # filling a slot costs no more than what tidying would save
    now = s.counts[VERSION]
    oldest, chosen = now - TIDY_LAG, -1
    reach = now - min(len(s.changed), s.counts[ROWS])
    for slot in range(len(m.version)):
        version = m.version[slot]
        wanted = m.options[STEP] - m.used[slot] < TIDY_MEMORY
        if version >= reach and version < oldest and wanted:
            oldest, chosen = version, slot
    if chosen >= 0:
        step = TIDY_NEAR if s.counts[ROWS] <= NEAR_NODES else TIDY_FAR
        _advance(s, m, chosen, oldest + step, out)


@kernel
def catch_up(s, m, slot, out):
    """Bring a slot up to date from the change log, or fill it when that is shorter."""
    task = m.shapes[m.shape_in[slot]]
    now, version = s.counts[VERSION], m.version[slot]
    if version < 0 or now - version > min(len(s.changed), s.counts[ROWS]):
        _fill(s, m, slot, task, out)
        m.version[slot] = now
    else:
        _advance(s, m, slot, now, out)


@kernel
def scores_of(s, m, class_id, out):
    """The class's up-to-date slot."""
    slot = _take_slot(m, m.shape_of[class_id])
    if m.version[slot] != s.counts[VERSION]:
        catch_up(s, m, slot, out)
    return slot
