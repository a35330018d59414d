"""Kubernetes resource quantities: `500m`, `4`, `1Ki`, `1.5Gi`, `2e3`.

Grammar (Kubernetes API, apimachinery resource.Quantity): a signed decimal number followed by
nothing, a decimal exponent (`e3`, `E-2`), a decimal suffix `n u m k M G T P E`, or a binary suffix
`Ki Mi Gi Ti Pi Ei`. Kubernetes rounds what it cannot represent up; so do we. Arithmetic is exact
(fractions, never floats).
"""

from __future__ import annotations

import re
from fractions import Fraction

from cerebrum.model.errors import InputError

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_QUANTITY = re.compile(
    r"^([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,2})|([A-Za-z]*))$", re.ASCII
)
_MAX_CHARS = 64
_MAX_INT64 = 2**63 - 1
_EXAMPLES = "a Kubernetes quantity such as 500m, 4, 1.5Gi or 2e3"


def parse_quantity(text: str | int | float, field: str | None = None) -> Fraction:
    """The exact value in base units (cores, bytes, counts).

    Raises `InputError` for anything outside the grammar, NaN and infinities, and values beyond
    int64, each with what was wrong.
    """
    raw = str(text) if not isinstance(text, str) else text
    if isinstance(text, bool) or len(raw) > _MAX_CHARS:
        raise InputError(f"expected {_EXAMPLES}, got {raw[:_MAX_CHARS]!r}").at(field=field)
    match = _QUANTITY.match(raw)
    if match is None:
        raise InputError(f"expected {_EXAMPLES}, got {raw!r}{_why(raw)}").at(field=field)
    sign, digits, exponent, suffix = match.groups()
    value = Fraction(digits if not digits.endswith(".") else digits[:-1])
    if exponent is not None:
        value *= Fraction(10) ** int(exponent)
    elif suffix in _DECIMAL:
        value *= Fraction(10) ** _DECIMAL[suffix]
    elif suffix in _BINARY:
        value *= 2 ** _BINARY[suffix]
    else:
        raise InputError(f"expected {_EXAMPLES}, got {raw!r}{_why(raw)}").at(field=field)
    if value > _MAX_INT64:
        raise InputError(f"{raw!r} is beyond the largest quantity, 2^63-1").at(field=field)
    return -value if sign == "-" else value


def cpu_milli(text: str | int | float, field: str | None = "cpu") -> int:
    """CPU in thousandths of a core, rounded up; refuses negatives."""
    return _whole(parse_quantity(text, field) * 1000, text, field)


def memory_mib(text: str | int | float, field: str | None = "memory") -> int:
    """Memory in MiB, rounded up; the text is in bytes unless it has a suffix."""
    return _whole(parse_quantity(text, field) / 2**20, text, field)


def count(text: str | int | float, field: str | None = None) -> int:
    """A whole, non-negative number (pods, GPUs, extended resources)."""
    value = parse_quantity(text, field)
    if value.denominator != 1:
        raise InputError(f"expected a whole number, got {str(text)!r}").at(field=field)
    return _whole(value, text, field)


def _whole(value: Fraction, text: object, field: str | None) -> int:
    if value < 0:
        raise InputError(f"expected a quantity of at least 0, got {str(text)!r}").at(field=field)
    return -((-value.numerator) // value.denominator)


def _why(raw: str) -> str:
    """The likeliest reason a quantity was refused, as a remedy."""
    if raw != raw.strip() or " " in raw:
        return " (no space is allowed: write '4G' or '4Gi', not '4 GB')"
    tail = raw.lstrip("+-0123456789.")
    fixes = {"b": "", "kb": "k", "mb": "M", "gb": "G", "tb": "T", "kib": "Ki", "mib": "Mi"}
    fixes |= {"gib": "Gi", "tib": "Ti", "ki": "Ki", "mi": "Mi", "gi": "Gi", "ti": "Ti", "K": "k"}
    fix = fixes.get(tail, fixes.get(tail.lower()))
    if fix is not None and tail:
        return f" (did you mean {raw[: len(raw) - len(tail)] + fix!r}?)"
    return ""
