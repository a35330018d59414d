"""Times in objects of the API: what we write we read, and what others write is borne."""

from __future__ import annotations

import pytest

from cerebrum.executors.kubernetes.times import micro_time, second_time, unix_s, unix_s_or_zero

NOON = 1_767_268_800.25


def test_a_time_is_written_in_utc_and_read_back():
    assert micro_time(NOON) == "2026-01-01T12:00:00.250000Z"
    assert second_time(NOON) == "2026-01-01T12:00:00Z"
    assert unix_s(micro_time(NOON)) == NOON
    assert unix_s("2026-01-01T13:00:00.25+01:00") == NOON


def test_no_time_is_told_from_a_bad_one():
    assert unix_s(None) is unix_s("") is None
    with pytest.raises(ValueError, match="noon"):
        unix_s("noon")


def test_a_bad_time_of_somebody_elses_object_is_zero():
    assert [unix_s_or_zero(text) for text in (None, "", "noon")] == [0.0, 0.0, 0.0]
    assert unix_s_or_zero(second_time(NOON)) == int(NOON)
