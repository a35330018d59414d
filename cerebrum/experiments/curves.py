"""A training curve as one self-contained page: a chart for each column of a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.experiments._figures import thin
from cerebrum.experiments._page import asset, policy_hash, template
from cerebrum.experiments._store import write_whole
from cerebrum.model.errors import NotFound, TraceError

WIDTH, HEIGHT = 560, 170
_LEFT, _TOP, _BOTTOM = 62, 8, 22


@dataclass(frozen=True, slots=True)
class Chart:
    """One column over the first: points of an SVG polyline, and what stands at its axes."""

    name: str
    lines: tuple[str, ...]
    low: str
    high: str
    last: str
    first_x: str
    last_x: str


def read_curve(path: Path) -> tuple[str, dict[str, NDArray[np.float64]]]:
    """Name of the first column, and all columns by name; an empty field is NaN.

    Raises `NotFound`, or `TraceError` with the line that holds something else than numbers.
    """
    if not path.is_file():
        raise NotFound(f"{path}: there is no such curve")
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    if len(lines) < 2:
        raise TraceError("expected a header and a line of numbers at least").at(path)
    header, values = lines[0], np.empty((len(lines) - 1, len(lines[0])))
    for at, line in enumerate(lines[1:]):
        try:
            values[at] = [float(text) if text else math.nan for text in line]
        except ValueError:
            raise TraceError(f"expected {len(header)} numbers, got {line}").at(
                path, at + 2
            ) from None
    return header[0], {name: values[:, i] for i, name in enumerate(header)}


def write_page(curve: Path, page: Path, title: str) -> None:
    """Draw `curve` and write the page, whole or not at all."""
    over, columns = read_curve(curve)
    css = asset("report.css") + asset("federation.css")
    text = template("curves.html.j2").render(
        title=title, over=over, css=css, css_hash=policy_hash(css), width=WIDTH, height=HEIGHT,
        left=_LEFT, top=_TOP, bottom=_BOTTOM, charts=charts(over, columns),
    )  # fmt: skip
    write_whole(page, text)


def charts(over: str, columns: dict[str, NDArray[np.float64]]) -> list[Chart]:
    """A chart for each column but the first that holds a number."""
    x = columns[over]
    return [
        _chart(name, x, y) for name, y in columns.items() if name != over and np.isfinite(y).any()
    ]


def _chart(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Chart:
    known = np.isfinite(y) & np.isfinite(x)
    x, y = x[known], y[known]
    at = thin(x)
    low, high = float(y.min()), float(y.max())
    across = _scaled(x[at], _LEFT, WIDTH - 6)
    up = _scaled(y[at], HEIGHT - _BOTTOM, _TOP)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))
    ends = _short([float(x[0]), float(x[-1])])
    return Chart(name, (points,), *_short([low, high, float(y[-1])]), *ends)


def _scaled(values: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.full(len(values), (start + end) / 2)
    return start + (values - low) / (high - low) * (end - start)


def _short(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.4g}" for value in values)
