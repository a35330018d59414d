"""Tables: a wrong field is named by line and column, and right ones are read fast."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.model.errors import InputError, TraceError
from cerebrum.traces._csv import Column, parse_table, read_table

COLUMNS = (
    Column("name", unique=True),
    Column("cpu", "int", high=1_000),
    Column("time", "float", empty=math.inf),
    Column("note", empty="", required=False),
)
GOOD = "name,cpu,time\na,1,0.5\nb,1000,\nc,007,1e3\n"


def refusal(text: str | bytes, **options: object) -> str:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(TraceError) as caught:
        parse_table(Path("t.csv"), data, COLUMNS, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_right_fields_come_out_typed():
    table = parse_table(Path("t.csv"), GOOD.encode(), COLUMNS)
    assert table.texts("name") == ["a", "b", "c"]
    assert table.numbers("cpu").tolist() == [1, 1000, 7]
    assert table.numbers("time").tolist() == [0.5, math.inf, 1000.0]
    assert "note" not in table
    assert table.lines.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("name,cpus,time", "t.csv:1: cpu: expected a column of this name, is it 'cpus'?"),
        ("name,time", "t.csv:1: cpu: expected a column of this name, found 'name, time'"),
        ("name,cpu,time,nots", "t.csv:1: nots: unknown column: did you mean 'note'?"),
        ("name,cpu,time,zzz", "t.csv:1: zzz: unknown column: known are name, cpu, time, note"),
        ("name,cpu,time,cpu", "t.csv:1: cpu: the column is named twice"),
        ("name,cpu,time,", "t.csv:1: (no name): unknown column"),
    ],
)
def test_a_wrong_header_names_the_column(header: str, message: str):
    assert refusal(header + "\na,1,2,3\n").startswith(message)


@pytest.mark.parametrize(
    ("field", "got"),
    [
        ("nan", "'nan'"),
        ("inf", "'inf'"),
        ("-1", "'-1'"),
        ("", "an empty field"),
        ("1001", "'1001'"),
        ("99999999999999999999", "'99999999999999999999'"),
        ("1_0", "'1_0'"),
        ("1 0", "'1 0'"),
        (" 1", "' 1'"),
        ("1.0", "'1.0'"),
        ("1e2", "'1e2'"),
        ("0x1F", "'0x1F'"),
        ("true", "'true'"),
        ("٣", "'٣'"),
        ("x" * 60, "'" + "x" * 37 + "...'"),
    ],
)
def test_what_is_no_whole_number_is_refused_where_it_stands(field: str, got: str):
    text = f"name,cpu,time\na,1,1\nb,{field},1\n"
    assert refusal(text) == f"t.csv:3: cpu: expected a whole number 0..1000, got {got}"


@pytest.mark.parametrize("field", ["nan", "NaN", "inf", "-Infinity", "1e999", "-0.1", "1,5", "1d3"])
def test_what_is_no_finite_number_is_refused_where_it_stands(field: str):
    assert refusal(f"name,cpu,time\na,1,{field}\n").startswith("t.csv:2: ")


def test_the_first_wrong_line_of_the_file_is_the_one_named():
    assert refusal("name,cpu,time\na,1,x\nb,y,1\n").startswith("t.csv:2: time:")
    assert refusal("name,cpu,time\na,1,1\nb,y,x\n").startswith("t.csv:3: cpu:")


def test_a_name_that_comes_twice_is_named_with_both_lines():
    message = refusal("name,cpu,time\na,1,1\nb,1,1\na,1,1\n")
    assert message == "t.csv:4: name: 'a' is named twice, first on line 2"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,1", "t.csv:3: expected 3 columns, got 2"),
        ("b,1,1,1", "t.csv:3: expected 3 columns, got 4"),
        ("b,1,1,000", "t.csv:3: expected 3 columns, got 4"),
        ("", "t.csv:3: expected 3 columns, got an empty line"),
        ('"b",1,1', "t.csv:3: expected unquoted fields, found '\"' at column 1"),
        ("b\r,1,1", "t.csv:3: expected lines to end in LF or CR LF, found a lone CR"),
    ],
)
def test_a_row_of_the_wrong_shape_is_named(row: str, message: str):
    assert refusal(f"name,cpu,time\na,1,1\n{row}\nc,1,1\n") == message


def test_a_header_alone_is_no_table():
    assert refusal("name,cpu,time\n") == "t.csv: expected rows below the header, found none"


def test_too_many_rows_are_refused_before_they_are_parsed():
    assert refusal(GOOD, max_rows=2) == "t.csv: expected at most 2 rows, found 3"


def test_windows_line_ends_and_blank_lines_at_the_end_are_fine():
    table = parse_table(Path("t.csv"), GOOD.replace("\n", "\r\n").encode() + b"\r\n\n", COLUMNS)
    assert len(table) == 3


def test_runs_of_blanks_separate_and_comments_keep_line_numbers():
    text = b"; a comment\n  a   1 \t 2\n; another\nb x 3\n"
    options = {"separator": " ", "header": False, "comment": ";"}
    assert refusal(text, **options).startswith("t.csv:4: cpu: expected a whole number")
    table = parse_table(
        Path("t.csv"), text.replace(b"x", b"5"), COLUMNS, separator=" ", header=False, comment=";"
    )
    assert table.numbers("cpu").tolist() == [1, 5]
    assert table.lines.tolist() == [2, 4]


def test_columns_that_are_not_listed_can_be_left_out():
    data = b"name,cpu,time,colour\na,1,2,red\n"
    table = parse_table(Path("t.csv"), data, COLUMNS, extra="ignore")
    assert table.frame.columns == ["name", "cpu", "time"]


def test_rows_that_agree_form_groups_in_order_of_appearance():
    data = b"name,cpu,time\na,5,1\nb,3,1\nc,5,1\nd,5,2\n"
    first, group = parse_table(Path("t.csv"), data, COLUMNS).groups(["cpu", "time"])
    assert first.tolist() == [0, 1, 3]
    assert group.tolist() == [0, 1, 0, 2]


def test_a_bad_byte_in_a_file_is_named(tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(b"name,cpu,time\na,1,1\n\xff,1,1\n")
    with pytest.raises(TraceError, match=r"t\.csv:3: expected UTF-8 text, found byte 0xff"):
        read_table(tmp_path / "t.csv", COLUMNS)


@given(st.integers(0, 1000), st.floats(0, 2.0**53, allow_nan=False))
def test_every_number_in_range_survives(cpu: int, time: float):
    data = f"name,cpu,time\na,{cpu},{time!r}\n".encode()
    table = parse_table(Path("t.csv"), data, COLUMNS)
    assert table.numbers("cpu")[0] == cpu
    assert table.numbers("time")[0] == time


@given(st.text(alphabet=st.sampled_from('ab01.,-\n\r"\te ;é\0')), st.sampled_from(",; "))
def test_any_text_is_a_table_or_one_clear_error(text: str, separator: str):
    try:
        data = ("name,cpu,time\n" + text).replace(",", separator).encode()
        table = parse_table(Path("t.csv"), data, COLUMNS, separator=separator)
    except InputError as error:
        message = str(error)
    else:
        message = "t.csv"
        assert np.all(table.numbers("cpu") >= 0)
    assert message.startswith("t.csv")
    assert "\n" not in message
