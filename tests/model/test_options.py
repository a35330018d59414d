"""Options behind a name: how they are read, and what is said of those that nobody takes."""

from __future__ import annotations

import pytest

from cerebrum.model.errors import ConfigError
from cerebrum.model.options import parse_options, refuse_unknown, resolve


def test_options_are_read_with_their_kinds() -> None:
    read = parse_options("n=3, rate = 0.5,deep=true,by=size", "x:key=value")
    assert read == {"n": 3, "rate": 0.5, "deep": True, "by": "size"}
    assert parse_options("", "x:key=value") == {}


def test_a_value_alone_belongs_to_the_first_option_where_there_is_one() -> None:
    assert parse_options("8", "x:key=value", first="size") == {"size": 8}
    with pytest.raises(ConfigError, match=r"^x: expected x:key=value, got '8'$"):
        parse_options("8", "x:key=value", field="x")


def test_an_option_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="got ' =3'"):
        parse_options("a=1, =3", "x:key=value", first="size")


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    refuse_unknown({"size": 1}, ["size"])
    with pytest.raises(ConfigError, match=r"^x: no option 'sise': did you mean 'size'\?$"):
        refuse_unknown({"size": 1, "sise": 1}, ["size", "rate"], field="x")
    with pytest.raises(ConfigError, match=r"^swf has no option 'qq': it takes size, rate$"):
        refuse_unknown(["qq"], ["size", "rate"], of="swf")
    with pytest.raises(ConfigError, match=r"it takes none$"):
        refuse_unknown(["qq"], [])


def test_a_target_is_a_module_and_what_is_in_it() -> None:
    assert resolve("cerebrum.model.options:resolve") is resolve
