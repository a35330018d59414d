"""Values as people type them after an equals sign: `key=3`, `key=true`, `key=text`."""

from __future__ import annotations

Literal = str | int | float | bool


def literal(text: str) -> Literal:
    """A number where it reads as one, true or false, otherwise the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
