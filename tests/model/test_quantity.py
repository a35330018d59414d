"""Kubernetes quantities: what they mean, and what is wrong with those that mean nothing."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.model.errors import InputError
from cerebrum.model.quantity import count, cpu_milli, memory_mib, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", Fraction(1, 2)),
        ("4", 4),
        (4, 4),
        ("1Ki", 1024),
        ("1.5Gi", 1_610_612_736),
        ("2e3", 2000),
        ("2E3", 2000),
        ("5E", 5 * 10**18),
        ("1.", 1),
        (".5", Fraction(1, 2)),
        ("-1k", -1000),
        ("100n", Fraction(1, 10**7)),
    ],
)
def test_a_quantity_is_exact(text, value):
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("4 GB", "write '4G' or '4Gi', not '4 GB'"),
        ("4GB", "did you mean '4G'"),
        ("2gi", "did you mean '2Gi'"),
        ("1K", "did you mean '1k'"),
        ("", "expected a Kubernetes quantity"),
        ("NaN", "expected a Kubernetes quantity"),
        ("inf", "expected a Kubernetes quantity"),
        ("1e3k", "expected a Kubernetes quantity"),
        ("1e99", "beyond the largest"),
        ("١", "expected a Kubernetes quantity"),
        (True, "expected a Kubernetes quantity"),
        ("9" * 80, "expected a Kubernetes quantity"),
    ],
)
def test_what_is_no_quantity_is_refused_with_a_remedy(text, remedy):
    with pytest.raises(InputError, match="cpu: ") as refused:
        parse_quantity(text, "cpu")
    assert remedy in str(refused.value)


def test_what_cannot_be_represented_is_rounded_up_as_kubernetes_does():
    assert cpu_milli("0.1001") == 101
    assert cpu_milli("1u") == 1
    assert memory_mib("1") == 1
    assert memory_mib("64Mi") == 64


def test_cores_and_millicores_are_not_taken_for_each_other():
    assert cpu_milli("64") == 64_000
    assert cpu_milli("64000m") == 64_000


def test_negative_amounts_and_broken_counts_are_refused():
    with pytest.raises(InputError, match="at least 0"):
        cpu_milli("-1")
    with pytest.raises(InputError, match="whole number"):
        count("1500m", "nvidia.com/gpu")


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_a_clear_error(text):
    with suppress(InputError):
        assert isinstance(parse_quantity(text), Fraction)
