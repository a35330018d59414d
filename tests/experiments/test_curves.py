"""A training curve as a page: what is drawn, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cerebrum.experiments.curves import charts, read_curve, write_page
from cerebrum.model.errors import NotFound, TraceError


def written(folder: Path, text: str) -> Path:
    path = folder / "curve.csv"
    path.write_text(text)
    return path


def test_each_column_is_a_chart_over_the_first(tmp_path: Path) -> None:
    path = written(tmp_path, "step,loss,return\n0,4,1\n10,2,\n20,1,3\n")
    over, columns = read_curve(path)
    loss, gain = charts(over, columns)
    assert (over, loss.name, gain.name) == ("step", "loss", "return")
    assert (loss.low, loss.high, loss.last, loss.last_x) == ("1", "4", "1", "20")
    assert len(gain.lines[0].split()) == 2  # the empty field is no point


def test_a_falling_curve_falls(tmp_path: Path) -> None:
    over, columns = read_curve(written(tmp_path, "step,loss\n0,9\n1,5\n2,1\n"))
    heights = [float(point.split(",")[1]) for point in charts(over, columns)[0].lines[0].split()]
    assert heights == sorted(heights)  # down is more in SVG


def test_the_page_holds_no_markup_of_the_file(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(written(tmp_path, "step,<script>\n0,1\n1,1\n"), page, "<b>title")
    text = page.read_text()
    assert "<script>" not in text
    assert "<b>title" not in text
    assert len(re.findall("<polyline", text)) == 1
    assert "nan" not in text


@pytest.mark.parametrize(
    ("text", "says"), [("step,loss\n", "header"), ("step,loss\n0,1\n1,much\n", "3")]
)
def test_what_is_no_curve_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        read_curve(written(tmp_path, text))


def test_a_missing_curve_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="curve"):
        read_curve(tmp_path / "curve.csv")
