"""Plain data as YAML text in block style, ten times as fast as a general emitter.

It writes what Kubernetes objects are made of: mappings with text keys, lists, text, numbers, true,
false and null. Text that any reader of YAML could take for something else is quoted as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"))
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def document(item: Mapping[str, Any]) -> str:
    """One document, with the line that separates it from the one before."""
    lines = ["---"]
    _mapping(item, "", lines)
    lines.append("")
    return "\n".join(lines)


def _mapping(item: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    for key, value in item.items():
        _entry(f"{indent}{scalar(key)}:", value, indent, lines)


def _entry(start: str, value: Any, indent: str, lines: list[str]) -> None:
    if isinstance(value, Mapping) and value:
        lines.append(start)
        _mapping(cast(Mapping[str, Any], value), indent + "  ", lines)
    elif isinstance(value, list | tuple) and value:
        lines.append(start)
        _sequence(cast(Sequence[Any], value), indent, lines)
    else:
        lines.append(f"{start} {_leaf(value)}")


def _sequence(items: Sequence[Any], indent: str, lines: list[str]) -> None:
    for value in items:
        if isinstance(value, Mapping) and value:
            first = len(lines)
            _mapping(cast(Mapping[str, Any], value), indent + "  ", lines)
            lines[first] = f"{indent}- {lines[first][len(indent) + 2 :]}"
        elif isinstance(value, list | tuple) and value:
            lines.append(f"{indent}-")
            _sequence(cast(Sequence[Any], value), indent + "  ", lines)
        else:
            lines.append(f"{indent}- {_leaf(value)}")


def _leaf(value: Any) -> str:
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    return json.dumps(value, allow_nan=False)


@lru_cache(maxsize=65_536)
def scalar(text: str) -> str:
    """Text as YAML has it: bare where nobody can misread it."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
