"""Identifiers that sort by when they were made: 26 characters as in a ULID, after a letter."""

from __future__ import annotations

import numpy as np

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32: no i, l, o, u


def new_id(letter: str, unix_s: float, rng: np.random.Generator) -> str:
    """`letter`-, 48 bits of milliseconds, 80 random bits. New rows land at the end of an index."""
    bits = (int(max(unix_s, 0.0) * 1000) & (2**48 - 1)) << 80
    bits |= int.from_bytes(rng.bytes(10), "big")
    return f"{letter}-" + "".join(_DIGITS[bits >> shift & 31] for shift in range(125, -1, -5))
