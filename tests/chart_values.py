"""docs/reference/chart-values.md from the comments of the chart's values.yaml.

`python -m tests.chart_values` writes it anew; `tests/test_chart_values.py` says when that is due.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
VALUES = ROOT / "deploy" / "charts" / "cerebrum" / "values.yaml"
PAGE = ROOT / "docs" / "reference" / "chart-values.md"
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]+):(?P<rest>.*)$")
_HEAD = """\
# Values of the Helm chart

Made from `deploy/charts/cerebrum/values.yaml` by `python -m tests.chart_values`. What is not here
is refused, and so is a value of another type.
[How to install](../install-in-kubernetes.md).
"""


@dataclass(frozen=True, slots=True)
class Value:
    """One line of the table: where it is, what it is by default, and the comment above it."""

    path: str
    default: Any
    meaning: str


def described(text: str) -> Iterator[tuple[str, str]]:
    """Each key of values.yaml as a dotted path, with the comment above it ('' for none)."""
    above: list[str] = []
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.lstrip("# ").rstrip())
        elif found := _KEY.match(line):
            indent = len(found["indent"])
            path = [*((i, key) for i, key in path if i < indent), (indent, found["key"])]
            yield ".".join(key for _, key in path), " ".join(above)
            above = []
        elif not line.strip():
            above = []


def values(text: str) -> list[Value]:
    """Every value with a comment; mappings whose parts have comments of their own are left out."""
    tree, found = yaml.safe_load(text), dict(described(text))
    told = [path for path, meaning in found.items() if meaning]
    return [
        Value(path, _at(tree, path), found[path])
        for path in told
        if not any(other.startswith(path + ".") for other in told)
    ]


def page(text: str) -> str:
    """The whole page: a table for each part, and one for what concerns all of them."""
    about = dict(described(text))
    tables: dict[str, list[Value]] = {}
    for value in values(text):
        tables.setdefault(value.path.partition(".")[0] if "." in value.path else "", []).append(
            value
        )
    parts = [_HEAD]
    for name, rows in sorted(tables.items(), key=lambda table: not table[0]):
        said = about.get(name, "")
        parts.append(f"## {name or 'All pods'}\n" + (f"\n{said}\n" if said else ""))
        parts.append(
            "\n".join(["| value | default | meaning |", "|---|---|---|", *map(_row, rows)])
        )
        parts.append("")
    return "\n".join(parts)


def _row(value: Value) -> str:
    return f"| `{value.path}` | `{json.dumps(value.default)}` | {value.meaning} |"


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


if __name__ == "__main__":
    PAGE.write_text(page(VALUES.read_text("utf-8")), "utf-8")
