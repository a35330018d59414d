"""Strict tables from delimited text: every refused field is named by line and column.

Fields are never quoted in the formats read here, so a quote is refused, and structure is checked
with NumPy over the raw bytes before polars sees them. Values are checked column by column; only
when a check fails is the line looked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cerebrum.model.errors import TraceError, nearest
from cerebrum.traces import _files

_EXACT = float(2**53)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what a field may hold.

    `low`..`high` bound numbers, inclusive; `empty` is the value of an empty field (None: refused);
    `unique` refuses a value that stands on two lines; one that is not `required` may be absent.
    """

    name: str
    kind: Literal["int", "float", "text"] = "text"
    low: float = 0.0
    high: float = _EXACT
    empty: int | float | str | None = None
    required: bool = True
    unique: bool = False

    @property
    def expected(self) -> str:
        """What to write, for error messages."""
        if self.kind == "text":
            return "some text"
        kind = "a whole number" if self.kind == "int" else "a finite number"
        return f"{kind} {_range(self.low, self.high)}"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Checked columns; row i stands on line `lines[i]` of the file."""

    path: Path
    frame: pl.DataFrame
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return self.frame.height

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def numbers(self, name: str) -> NDArray[Any]:
        """A column as int64 or float64 values."""
        return self.frame[name].to_numpy()

    def texts(self, name: str) -> list[str]:
        """A text column."""
        return self.frame[name].to_list()

    def error(self, row: int, name: str, problem: str) -> TraceError:
        """A problem with one field, to be raised."""
        return TraceError(problem).at(self.path, int(self.lines[row]), name)

    def groups(self, names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Rows that agree in the named columns: each group's first row, and each row's group.

        Groups are numbered in the order in which they first appear.
        """
        keyed = self.frame.select(names).with_row_index("row")
        first = keyed.group_by(names, maintain_order=True).agg(pl.col("row").first())
        numbered = first.with_row_index("group").drop("row")
        ids = keyed.join(numbered, on=names, how="left", nulls_equal=True, maintain_order="left")
        return first["row"].to_numpy().astype(np.int64), ids["group"].to_numpy().astype(np.int32)


def read_table(
    path: Path,
    columns: Sequence[Column],
    separator: str = ",",
    header: bool = True,
    comment: str = "",
    extra: Literal["refuse", "ignore"] = "refuse",
    max_rows: int = _files.MAX_ROWS,
) -> Table:
    """The table in a file. `separator=" "` splits at runs of blanks.

    Without a `header` the columns stand in the order given. Lines that begin with `comment` are
    left out. `extra="ignore"` leaves out columns that are not listed.
    """
    data = _files.read_bytes(path)
    _files.decode(path, data)
    return parse_table(path, data, columns, separator, header, comment, extra, max_rows)


def parse_table(
    path: Path,
    data: bytes,
    columns: Sequence[Column],
    separator: str = ",",
    header: bool = True,
    comment: str = "",
    extra: Literal["refuse", "ignore"] = "refuse",
    max_rows: int = _files.MAX_ROWS,
) -> Table:
    """`read_table` on bytes that are known to be UTF-8; `path` is for messages."""
    body, lines = _body(path, data, separator, comment)
    if header:
        first, _, body = body.partition(b"\n")
        names = _header(path, int(lines[0]), first.decode().split(separator), columns, extra)
        lines = lines[1:]
    else:
        names = [column.name for column in columns if column.required]
    if not len(lines):
        raise TraceError("expected rows below the header, found none").at(path)
    if len(lines) > max_rows:
        raise TraceError(f"expected at most {max_rows:,} rows, found {len(lines):,}").at(path)
    _check_structure(path, body, lines, separator, len(names))
    frame = _split(body, separator, names)
    known = [column for column in columns if column.name in names]
    return Table(path, _typed(path, frame, lines, known), lines)


def _body(path: Path, data: bytes, separator: str, comment: str) -> tuple[bytes, NDArray[np.int64]]:
    """Bytes without comments and trailing blank lines, and the line number of every line left."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
        if (lone := data.find(b"\r")) >= 0:
            line, _ = _files.position(data, lone)
            raise TraceError("expected lines to end in LF or CR LF, found a lone CR").at(path, line)
    if separator == " ":
        data = re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", data)
        data = re.sub(rb"[ \t]+", b" ", data)
    data = data.rstrip(b"\n")
    lines = np.arange(1, data.count(b"\n") + 2)
    if not comment:
        return data, lines
    rows = data.split(b"\n")
    kept = [i for i, row in enumerate(rows) if not row.startswith(comment.encode())]
    if not kept:
        raise TraceError("expected rows, found only comments").at(path)
    return b"\n".join(rows[i] for i in kept), lines[kept]


def _header(
    path: Path, line: int, found: list[str], columns: Sequence[Column], extra: str
) -> list[str]:
    """The file's column names, if the required ones are there once and none is unknown."""
    known = [column.name for column in columns]
    for i, name in enumerate(found):
        if name in found[:i]:
            raise TraceError("the column is named twice").at(path, line, name)
    for column in columns:
        if column.required and column.name not in found:
            near = nearest(column.name, [name for name in found if name not in known])
            hint = f", is it {near!r}?" if near else f", found {', '.join(found)[:200]!r}"
            raise TraceError(f"expected a column of this name{hint}").at(path, line, column.name)
    for name in found:
        if name not in known and extra == "refuse":
            near = nearest(name, [other for other in known if other not in found])
            hint = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"
            raise TraceError(f"unknown column: {hint}").at(path, line, name or "(no name)")
    return found


def _check_structure(
    path: Path, body: bytes, lines: NDArray[np.int64], separator: str, width: int
) -> None:
    """Every line has `width` fields, is not too long and holds no quote."""
    if (quote := body.find(b'"')) >= 0:
        row, column = _files.position(body, quote)
        raise TraceError(f"expected unquoted fields, found '\"' at column {column}").at(
            path, int(lines[row - 1])
        )
    text = np.frombuffer(body, np.uint8)
    ends = np.append(np.flatnonzero(text == 10), len(text))
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (long := ends - starts > _files.MAX_LINE_BYTES).any():
        raise TraceError(f"expected at most {_files.MAX_LINE_BYTES:,} bytes in a line").at(
            path, int(lines[long.argmax()])
        )
    at = np.flatnonzero(text == ord(separator))
    fields = np.searchsorted(at, ends) - np.searchsorted(at, starts) + 1
    wrong = (fields != width) | ((ends == starts) & (width > 1))
    if wrong.any():
        row = int(wrong.argmax())
        got = "an empty line" if ends[row] == starts[row] else f"{fields[row]}"
        raise TraceError(f"expected {width} columns, got {got}").at(path, int(lines[row]))


def _split(body: bytes, separator: str, names: list[str]) -> pl.DataFrame:
    return pl.read_csv(
        body,
        has_header=False,
        schema=dict.fromkeys(names, pl.String),
        separator=separator,
        quote_char=None,
        empty_string_is_null=False,
        glob=False,
    )


def _typed(
    path: Path, frame: pl.DataFrame, lines: NDArray[np.int64], columns: Sequence[Column]
) -> pl.DataFrame:
    """The known columns with their types; the first wrong field of the file is raised."""
    typed: list[pl.Series] = []
    problems: list[tuple[int, str, str]] = []
    for column in columns:
        series, row, problem = _convert(frame[column.name], column, lines)
        if problem:
            problems.append((row, column.name, problem))
        else:
            typed.append(series)
    if problems:
        row, name, problem = min(problems, key=lambda found: found[0])
        raise TraceError(problem).at(path, int(lines[row]), name)
    return pl.DataFrame(typed)


def _convert(
    raw: pl.Series, column: Column, lines: NDArray[np.int64]
) -> tuple[pl.Series, int, str]:
    """The column's values, or the first row that is wrong and what is wrong with it."""
    if column.kind == "text":
        values = raw
        right = raw != ""
    else:
        values = raw.cast(pl.Int64 if column.kind == "int" else pl.Float64, strict=False)
        right = ((values >= column.low) & (values <= column.high)).fill_null(False)
    if column.empty is not None:
        blank = raw == ""
        right |= blank
        values = values.zip_with(~blank, pl.Series([column.empty], dtype=values.dtype))
    if not right.all():
        row = int(np.argmin(right.to_numpy()))
        return values, row, f"expected {column.expected}, got {_shown(raw[row])}"
    if column.unique and values.n_unique() != len(values):
        row = int(np.argmin(values.is_first_distinct().to_numpy()))
        first = int(np.argmax((values == values[row]).to_numpy()))
        return values, row, f"{values[row]!r} is named twice, first on line {lines[first]}"
    return values.rename(column.name), 0, ""


def _shown(text: str) -> str:
    if not text:
        return "an empty field"
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _range(low: float, high: float) -> str:
    if high >= _EXACT:
        return "of at least 0" if low == 0 else f"of at least {low:g}"
    return f"{low:g}..{high:g}"
