"""A million names to numbers: as a dict does it, but column by column.

A dict looks up one name at a time and follows three pointers for each, far apart in memory; that
was half the time of reading a large workflow. Here each text is touched once, for its hash, and
the rest is NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
_LAST = np.uint64(2**64 - 1)


class HashedNames(Mapping[str, int]):
    """Name -> its place in `names`; `ValueError` when two names have one hash, as equal ones do.

    Names are told apart by their 64-bit hash alone, SipHash under a key drawn for this process:
    that a name that is missing is taken for one of a million others has a chance of 10^-13.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        hashes = _hashes(names, len(names))
        self._order = np.argsort(hashes)
        ascending = hashes[self._order]
        if (ascending[1:] == ascending[:-1]).any():
            raise ValueError("two names are equal")
        # About one hash in each bucket of equal leading bits: where a search begins.
        bits = max(1, len(names).bit_length())
        self._shift = np.uint64(64 - bits)
        edges = np.arange(2**bits, dtype=np.uint64) << self._shift
        self._first = np.searchsorted(ascending, edges)
        self._ascending = np.append(ascending, _LAST)  # where every search ends

    def find(self, texts: Iterable[str], count: int) -> Ids:
        """int64[count]: the place of each text; `KeyError` when there is one without."""
        hashes = _hashes(texts, count)
        place = self._first[hashes >> self._shift]
        behind = np.flatnonzero(self._ascending[place] < hashes)
        while len(behind):
            place[behind] += 1
            behind = behind[self._ascending[place[behind]] < hashes[behind]]
        found = place < len(self._names)
        if not (found & (self._ascending[place] == hashes)).all():
            raise KeyError("a name without a place")
        return self._order[place]

    def __getitem__(self, name: str) -> int:
        return int(self.find([name], 1)[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def numbered(texts: Iterable[str], index: Mapping[str, int], count: int) -> Ids:
    """int64[count]: the number of each text; `KeyError` when the index lacks one."""
    if isinstance(index, HashedNames):
        return index.find(texts, count)
    # Out of a list: from an iterator, NumPy takes half as long again.
    return np.fromiter(list(map(index.__getitem__, texts)), np.int64, count)


def _hashes(texts: Iterable[str], count: int) -> NDArray[np.uint64]:
    return np.fromiter(list(map(hash, texts)), np.int64, count).view(np.uint64)
