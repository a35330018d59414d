"""The small languages inside an Argo Workflow: `{{...}}`, `depends`, and times such as `10s`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cerebrum.model.errors import InputError, nearest

MAX_TEXT = 2**16
"""Characters one text may have once its parameters are filled in."""

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|)", re.ASCII)
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders replaced, once: what is put in is not looked at again.

    Raises `InputError` for a parameter that is not known, or that only a running workflow knows.
    """
    if "{{" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name not in values:
            raise InputError(_unknown(name, values))
        return values[name]

    filled = _PLACEHOLDER.sub(value, text)
    if len(filled) > MAX_TEXT:
        raise InputError(f"expected at most {MAX_TEXT:,} characters once filled in")
    return filled


def _unknown(name: str, values: Mapping[str, str]) -> str:
    shown = "{{" + name[:80] + "}}"
    if name.startswith("="):
        return f"the expression {shown} is not supported: expected a parameter"
    if name.startswith(("tasks.", "steps.", "outputs.", "pod.", "retries")):
        return f"{shown} is known only while the workflow runs, which is not supported"
    near = nearest(name[:200], values)
    return f"{shown} is not known" + (f", did you mean {near!r}?" if near else "")


def depends_on(text: str) -> list[str]:
    """The tasks of `A && B && C.Succeeded`; `InputError` for any other condition."""
    if "||" in text:
        raise InputError("'||' is not supported: expected tasks joined by &&")
    if "!" in text:
        raise InputError("'!' is not supported: expected tasks joined by &&")
    names: list[str] = []
    for part in text.replace("(", " ").replace(")", " ").split("&&"):
        name, dot, state = part.strip().partition(".")
        if dot and state != "Succeeded":
            raise InputError(
                f"the condition {part.strip()[:80]!r} is not supported: tasks wait for success"
            )
        if not _NAME.fullmatch(name):
            raise InputError(f"expected tasks joined by &&, got {text[:80]!r}")
        names.append(name)
    return names


def seconds(text: str) -> float:
    """`10`, `10s`, `1.5m`, `2h`, as seconds."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise InputError(f"expected a time such as 10s, 5m or 1h, got {text[:80]!r}")
    return float(match[1]) * _UNIT_S[match[2]]
