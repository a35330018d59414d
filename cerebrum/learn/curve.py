"""The curve of a training run: a CSV file that gets a line a step, also across stops."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path


def append(path: Path, line: Mapping[str, float]) -> None:
    """Add a line; its first entry is the step. NaN is left empty.

    Lines of that step and later ones are of a run that was stopped after its last checkpoint: they
    go, and what is taught again takes their place. A file with other columns is begun anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = list(line)
    kept = [row for row in _rows(path, header) if float(row[0]) < line[header[0]]]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([header, *kept])
    writer.writerow(["" if math.isnan(value) else f"{value:.6g}" for value in line.values()])
    whole = path.with_suffix(".part")
    whole.write_text(out.getvalue(), "utf-8")
    whole.replace(path)


def _rows(path: Path, header: list[str]) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        found = [row for row in csv.reader(file) if row]
    return found[1:] if found and found[0] == header else []
