# pyright: basic, reportPrivateImportUsage=false
"""When running tasks will end: a heap in the order of `executors.simulated`."""

from __future__ import annotations

from cerebrum.engine.compiled import kernel
from cerebrum.learn._tables import ENDS, unpack_progress


@kernel
def _earlier(p, a, b):
    if p.end_s[a] != p.end_s[b]:
        return p.end_s[a] < p.end_s[b]
    if p.end_task[a] != p.end_task[b]:
        return p.end_task[a] < p.end_task[b]
    return p.end_attempt[a] < p.end_attempt[b]


@kernel
def _swap(p, a, b):
    p.end_s[a], p.end_s[b] = p.end_s[b], p.end_s[a]
    p.end_task[a], p.end_task[b] = p.end_task[b], p.end_task[a]
    p.end_attempt[a], p.end_attempt[b] = p.end_attempt[b], p.end_attempt[a]


@kernel
def push_end(p, when, task, attempt):
    """A running task will end: by time, then task, then attempt."""
    i = p.cursor[ENDS]
    p.end_s[i], p.end_task[i], p.end_attempt[i] = when, task, attempt
    p.cursor[ENDS] = i + 1
    while i > 0 and _earlier(p, i, (i - 1) // 2):
        _swap(p, i, (i - 1) // 2)
        i = (i - 1) // 2


@kernel
def push_end_of(handle, when, task, attempt):
    """`push_end` for Python."""
    push_end(unpack_progress(handle), when, task, attempt)


@kernel
def pop_end(p):
    """Drop the first to end."""
    n = p.cursor[ENDS] - 1
    p.cursor[ENDS] = n
    _swap(p, 0, n)
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and _earlier(p, child + 1, child):
            child += 1
        if not _earlier(p, child, i):
            return
        _swap(p, i, child)
        i = child
