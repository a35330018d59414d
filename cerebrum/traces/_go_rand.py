"""Exact replay of the random numbers of Go's ``math/rand`` (version 1 of that package).

Why this exists: the simulator whose published results we reproduce (openb traces, FGD,
USENIX ATC 2023) shuffles and samples its arrivals, and breaks ties between nodes, with
this generator. Only with the same numbers do we get the same arrivals task by task, and
then a difference from the published results means a difference in the model, not noise.

What it is: an additive lagged Fibonacci generator on 64-bit words,
``s[k] = s[k - 607] + s[k - 273]``. A seed is reduced modulo ``2**31 - 1`` and drives
Lehmer's generator (multiplier 48271), whose outputs are mixed by XOR into 607 fixed start
values. The methods below follow the documented behaviour of Go's ``Rand`` type; how each
one turns words into numbers was checked against the outputs of Go programs (go 1.26),
recorded in ``tests/traces/test_go_rand.py``. The start values are data of Go's standard
library, recovered from such outputs; see ``_go_rand_start``.

Not for cryptography, and not for new experiments: use numpy's generators there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cerebrum.traces._go_rand_start import START_BASE64

_LENGTH = 607
_LAG = 273
_LEHMER_MODULUS = 2**31 - 1
_LEHMER_MULTIPLIER = 48271
_LEHMER_WARM_UP = 20
_SEED_FOR_ZERO = 89482311
_BLOCK = 16 * _LENGTH

_U32 = 0xFFFF_FFFF
_U63 = 0x7FFF_FFFF_FFFF_FFFF
_INT31_MAX = 2**31 - 1


def _start_state(seed: int) -> NDArray[np.uint64]:
    """Words ``s[-607] .. s[-1]`` before the first draw, oldest first."""
    x = seed % _LEHMER_MODULUS or _SEED_FOR_ZERO
    for _ in range(_LEHMER_WARM_UP):
        x = x * _LEHMER_MULTIPLIER % _LEHMER_MODULUS
    mask = 2**64 - 1
    words: list[int] = []
    for _ in range(_LENGTH):
        x = x * _LEHMER_MULTIPLIER % _LEHMER_MODULUS
        word = x << 40
        x = x * _LEHMER_MULTIPLIER % _LEHMER_MODULUS
        word ^= x << 20
        x = x * _LEHMER_MULTIPLIER % _LEHMER_MODULUS
        words.append((word ^ x) & mask)
    start = np.frombuffer(base64.b64decode(START_BASE64), dtype="<u8").astype(np.uint64)
    vector = start ^ np.array(words, dtype=np.uint64)
    # Go walks the vector downwards, from element 333 and around its end, so this order
    # turns the two moving positions of its loop into plain indices of one sequence.
    order = (333 - np.arange(_LENGTH)) % _LENGTH
    return vector[order]


class GoRand:
    """One generator with the outputs of Go's ``rand.New(rand.NewSource(seed))``.

    Any Python integer is a seed; Go itself takes 64-bit ones. Each method consumes
    exactly as many words as Go's method of the same name, so calls can be mixed freely
    and the replay stays in step.

    >>> go = GoRand(1)
    >>> go.uint64()
    5577006791947779410
    """

    def __init__(self, seed: int) -> None:
        self._history = _start_state(seed)
        self._words: list[int] = []
        self._next = 0

    def _refill(self) -> None:
        """Compute the next block of words with vector additions of ``_LAG`` words each."""
        sequence = np.empty(_LENGTH + _BLOCK, dtype=np.uint64)
        sequence[:_LENGTH] = self._history
        for begin in range(_LENGTH, _LENGTH + _BLOCK, _LAG):
            end = min(begin + _LAG, _LENGTH + _BLOCK)
            np.add(
                sequence[begin - _LENGTH : end - _LENGTH],
                sequence[begin - _LAG : end - _LAG],
                out=sequence[begin:end],
            )
        self._history = sequence[-_LENGTH:].copy()
        self._words = sequence[_LENGTH:].tolist()
        self._next = 0

    def uint64(self) -> int:
        """Return the next whole word, 0 .. 2**64 - 1."""
        if self._next == len(self._words):
            self._refill()
        word = self._words[self._next]
        self._next += 1
        return word

    def skip(self, count: int) -> None:
        """Consume ``count`` words, as draws whose values nobody looks at."""
        for _ in range(count):
            self.uint64()

    def int63(self) -> int:
        """Return the low 63 bits of the next word."""
        return self.uint64() & _U63

    def int(self) -> int:
        """Return Go's ``Int`` as it is on 64-bit machines: the same as ``int63``."""
        return self.int63()

    def uint32(self) -> int:
        """Return bits 31 .. 62 of the next word."""
        return self.int63() >> 31

    def int31(self) -> int:
        """Return bits 32 .. 62 of the next word."""
        return self.int63() >> 32

    def int31n(self, n: int) -> int:
        """Return a number in 0 .. n - 1 for n up to 2**31 - 1, by remainder and rejection."""
        if not 0 < n <= _INT31_MAX:
            raise ValueError(f"int31n: n must be in 1 .. 2**31 - 1, got {n}")
        if n & (n - 1) == 0:
            return self.int31() & (n - 1)
        largest = _INT31_MAX - 2**31 % n
        value = self.int31()
        while value > largest:
            value = self.int31()
        return value % n

    def int63n(self, n: int) -> int:
        """Return a number in 0 .. n - 1 for n up to 2**63 - 1, by remainder and rejection."""
        if not 0 < n <= _U63:
            raise ValueError(f"int63n: n must be in 1 .. 2**63 - 1, got {n}")
        if n & (n - 1) == 0:
            return self.int63() & (n - 1)
        largest = _U63 - 2**63 % n
        value = self.int63()
        while value > largest:
            value = self.int63()
        return value % n

    def intn(self, n: int) -> int:
        """Return a number in 0 .. n - 1: ``int31n`` for n below 2**31, else ``int63n``."""
        return self.int31n(n) if n <= _INT31_MAX else self.int63n(n)

    def float64(self) -> float:
        """Return a number in [0, 1): 63 bits divided by 2**63, drawn again if that is 1."""
        while True:
            value = self.int63() / 2.0**63
            if value != 1.0:
                return value

    def perm(self, n: int) -> list[int]:
        """Return a permutation of 0 .. n - 1 in Go's order of draws (inside-out, from 0)."""
        out = [0] * n
        for i in range(n):
            j = self.intn(i + 1)
            out[i] = out[j]
            out[j] = i
        return out

    def _shuffle_draw(self, n: int) -> int:
        """Draw 0 .. n - 1 as Go's ``Shuffle`` does: by multiplication, not by remainder.

        This is not ``int31n``: it uses other bits of the word and another rejection rule.
        """
        product = self.uint32() * n
        if product & _U32 < n:
            threshold = 2**32 % n
            while product & _U32 < threshold:
                product = self.uint32() * n
        return product >> 32

    def shuffle(self, n: int, swap: Callable[[int, int], object]) -> None:
        """Shuffle ``n`` things by calling ``swap(i, j)`` for i from n - 1 down to 1."""
        if n < 0 or n > _INT31_MAX:
            raise ValueError(f"shuffle: n must be in 0 .. 2**31 - 1, got {n}")
        for i in range(n - 1, 0, -1):
            swap(i, self._shuffle_draw(i + 1))

    def shuffle_indices(self, n: int) -> NDArray[np.int64]:
        """Return where each position's thing comes from: ``shuffled[k] = things[out[k]]``."""
        out = list(range(n))

        def swap(i: int, j: int) -> None:
            out[i], out[j] = out[j], out[i]

        self.shuffle(n, swap)
        return np.array(out, dtype=np.int64)
