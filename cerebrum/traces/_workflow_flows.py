"""Who wrote what others read: files that tasks share, as volumes on dependencies.

A file flows from its writer to each reader, also where no dependency was declared. Of a file with
several writers it is not known whose content is read: it flows only along declared dependencies. A
task that reads what it writes itself changes a file in place: nothing flows to itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.traces._workflow_build import MAX_DEPENDENCIES

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Uses:
    """Which tasks use which files: two columns, each pair at most once, sorted by file."""

    task: Ids
    file: Ids

    @classmethod
    def of(cls, task: Ids, file: Ids, tasks: int) -> Uses:
        """The pairs without those that are repeated."""
        pairs = distinct(file.astype(np.int64) * tasks + task)
        return cls(pairs % tasks, pairs // tasks)


@dataclass(frozen=True, slots=True)
class Flows:
    """`volume_mb[i]` moves from task `before[i]` to `after[i]`; what enters and leaves at tasks.

    `undecided` is a (reader, file) of several writers of which the reader waits for none, or None.
    """

    before: Ids
    after: Ids
    volume_mb: NDArray[np.float64]
    input_mb: NDArray[np.float64]
    output_mb: NDArray[np.float64]
    undecided: tuple[int, int] | None = None


def distinct(values: Ids) -> Ids:
    """Each value once, ascending. `np.unique` hashes whole numbers, which is ten times slower."""
    values = np.sort(values)
    return values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def among(values: Ids, ascending: Ids) -> NDArray[np.bool_]:
    """Whether each value is one of the others; `np.isin` without its hashing."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[place] == values


class TooManyFlows(Exception):
    """A file has so many writers and readers that its flows are beyond the bound."""

    def __init__(self, file: int, count: int) -> None:
        super().__init__(file, count)
        self.file, self.count = file, count


def flows(
    written: Uses, read: Uses, size_mb: NDArray[np.float64], tasks: int, declared: Ids
) -> Flows:
    """Join writers and readers; `declared` holds `before * tasks + after`, sorted."""
    writers = np.bincount(written.file, minlength=len(size_mb))
    each = writers[read.file]
    if (total := int(each.sum())) > MAX_DEPENDENCIES:
        raise TooManyFlows(int(read.file[np.argmax(each)]), total)
    row = np.repeat(np.arange(len(read.file)), each)
    first = (np.cumsum(writers) - writers)[read.file]
    offset = np.arange(total) - np.repeat(np.cumsum(each) - each, each)
    before, after = written.task[np.repeat(first, each) + offset], read.task[row]
    from_others = before != after
    file = read.file[row]
    allowed = from_others & (writers[file] == 1)
    unsure = np.flatnonzero(from_others & ~allowed)
    allowed[unsure] = among(before[unsure] * tasks + after[unsure], declared)
    input_mb, output_mb = np.zeros(tasks), np.zeros(tasks)
    others = np.bincount(row, from_others, minlength=len(read.file))
    outside = others == 0
    np.add.at(input_mb, read.task[outside], size_mb[read.file[outside]])
    served = np.bincount(row, allowed, minlength=len(read.file))
    in_place = distinct(file[~from_others] * tasks + after[~from_others])
    _leaving(written, read, in_place, size_mb, output_mb)
    undecided = np.flatnonzero((others > 0) & (served == 0))
    return Flows(
        before[allowed],
        after[allowed],
        size_mb[file[allowed]],
        input_mb,
        output_mb,
        (int(read.task[undecided[0]]), int(read.file[undecided[0]])) if len(undecided) else None,
    )


def _leaving(
    written: Uses,
    read: Uses,
    in_place: Ids,
    size_mb: NDArray[np.float64],
    output_mb: NDArray[np.float64],
) -> None:
    """Add what no other task reads to its writer; `in_place` holds `file * tasks + task`."""
    tasks = len(output_mb)
    own = among(written.file * tasks + written.task, in_place)
    readers = np.bincount(read.file, minlength=len(size_mb))
    unread = readers[written.file] - own == 0
    np.add.at(output_mb, written.task[unread], size_mb[written.file[unread]])
