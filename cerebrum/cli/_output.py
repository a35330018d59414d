"""Rows to stdout as a table, JSON, YAML or CSV. Nothing else is ever written there."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

Row = Mapping[str, Any]


class Output(StrEnum):
    """Forms of output. `wide` is `table` with every column, `name` the first column alone."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    NAME = "name"


def emit(rows: Sequence[Row], output: Output, columns: Sequence[str] | None = None) -> None:
    """Print rows. `columns` are what `table` shows; the other forms hold everything."""
    sys.stdout.write(render(rows, output, columns))
    sys.stdout.flush()


def emit_one(record: Row, output: Output) -> None:
    """Print one record: JSON and YAML as an object, the others as a table of two columns."""
    if output in (Output.JSON, Output.YAML):
        sys.stdout.write(_document(record, output))
        return
    rows = [{"field": key, "value": value} for key, value in _flat(record)]
    emit(rows, output)


def render(rows: Sequence[Row], output: Output, columns: Sequence[str] | None = None) -> str:
    """The text `emit` prints."""
    if output in (Output.JSON, Output.YAML):
        return _document(list(rows), output)
    flat = [dict(_flat(row)) for row in rows]
    every = list(dict.fromkeys(key for row in flat for key in row))
    if output is Output.CSV:
        return _csv(flat, every)
    if output is Output.NAME:
        first = (columns or every or ("",))[0]
        return "".join(f"{text(row.get(first))}\n" for row in flat)
    shown = [name for name in columns or every if name in every]
    return aligned(flat, every if output is Output.WIDE else shown)


def aligned(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Columns under upper-case headings, two spaces apart, numbers to the right."""
    texts = [[text(row.get(name)) for name in columns] for row in rows]
    widths = [
        max(len(name), *(len(line[i]) for line in texts)) if texts else len(name)
        for i, name in enumerate(columns)
    ]
    numeric = [
        bool(rows) and all(isinstance(row.get(name), int | float | None) for row in rows)
        for name in columns
    ]
    lines = [[name.upper() for name in columns], *texts]
    out = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join(out) + "\n"


def text(value: object) -> str:
    """A value for people: `-` for nothing, two decimals, control characters made visible."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.4g}"
    said = str(value)
    return said if said.isprintable() else said.encode("unicode_escape").decode()


def _flat(row: Row, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as `outer.inner`; lists joined by commas."""
    out: list[tuple[str, Any]] = []
    for key, value in row.items():
        name = f"{prefix}{key}"
        if key.endswith("_unix_s") and isinstance(value, int | float):
            out.append((name.removesuffix("_unix_s"), _moment(value)))
            continue
        if isinstance(value, Mapping):
            out += _flat(value, f"{name}.")  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, list | tuple):
            out.append((name, ", ".join(text(item) for item in value)))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        else:
            out.append((name, value))
    return out


def _moment(unix_s: float) -> str:
    """When, for people."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S}Z"


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(columns), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _document(value: object, output: Output) -> str:
    from cerebrum.cli._plain import plain

    if output is Output.JSON:
        import json

        return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    import yaml

    return yaml.dump(plain(value), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
