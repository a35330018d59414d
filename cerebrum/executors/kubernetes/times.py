"""Times as the Kubernetes API writes them, RFC 3339 in UTC, and back to seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime


def micro_time(unix_s: float) -> str:
    """Kubernetes' MicroTime."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def second_time(unix_s: float) -> str:
    """Kubernetes' Time: whole seconds."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix_s(text: str | None) -> float | None:
    """Seconds of a timestamp; None without one. Raises `ValueError` for what is none."""
    return None if not text else datetime.fromisoformat(text).timestamp()


def unix_s_or_zero(text: str | None) -> float:
    """Seconds of a timestamp, 0 without one, and where it is none: an object of somebody else's
    is not given up for it."""
    try:
        return unix_s(text) or 0.0
    except ValueError:
        return 0.0
