"""Money and numbers."""

from __future__ import annotations

import decimal
import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wagtail_metapixel.amounts import (
    EXACT_BELOW,
    NO_CURRENCY,
    amount,
    exact,
    json_number,
    signed_amount,
    whole,
)
from wagtail_metapixel.catalogue import VALUE_MAX
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.exceptions import RefusedError


@pytest.mark.parametrize(
    ("raw", "exponent", "expected"),
    [
        (Decimal("12.30"), 2, 12.3),
        (Decimal("12.00"), 2, 12),
        (0.1 + 0.2, 2, 0.3),
        (2.675, 2, 2.68),
        ("1.2345", 3, 1.234),
        (Decimal("100.5"), 0, 100),
        (VALUE_MAX, 2, VALUE_MAX),
    ],
)
def test_an_amount_is_rounded_to_the_places_of_its_currency(raw, exponent, expected):
    found = amount(raw, exponent)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("raw", [-1, Decimal("-0.01"), VALUE_MAX + 1, "x", None, True, b"1", "nan"])
def test_what_is_no_amount_is_refused_without_being_repeated(raw):
    with pytest.raises(RefusedError) as caught:
        amount(raw, 2)
    assert caught.value.rule.startswith(("has to be", "is too large", "is a text that"))


@pytest.mark.parametrize(
    ("raw", "exponent"),
    [
        (Decimal("900719925474099.93"), 2),
        (Decimal("70368744177664.13"), 2),
        ("70368744177664.13", 2),
        (Decimal("9007199254740.993"), 3),
        (Decimal("9007199254740990.5"), 4),
    ],
)
def test_an_amount_that_would_arrive_as_another_is_refused(raw, exponent):
    for read in (amount, signed_amount):
        with pytest.raises(RefusedError, match="more digits than a JSON number holds") as caught:
            read(raw, exponent)
        assert not caught.value.mistake


@given(st.decimals(0, VALUE_MAX), st.sampled_from(sorted(set(CURRENCIES.values()))))
@example(Decimal(EXACT_BELOW) - Decimal("0.0001"), 4)
@example(Decimal(EXACT_BELOW), 4)
@example(Decimal("70368744177664.25"), 2)
def test_what_is_sent_is_the_rounded_amount_to_the_last_digit(raw, exponent):
    with suppress(RefusedError):
        rounded = raw.quantize(Decimal(1).scaleb(-exponent), decimal.ROUND_HALF_EVEN)
        assert Decimal(repr(amount(raw, exponent))) == rounded
        return
    assert raw >= EXACT_BELOW


def test_a_negative_amount_is_not_rounded_in_the_callers_context():
    with decimal.localcontext(prec=2):
        assert signed_amount(Decimal("-1234.56"), 2) == -1234.56


@given(st.decimals(-(10**9), 10**9), st.sampled_from(sorted(set(CURRENCIES.values()))))
def test_a_sign_changes_nothing_but_the_sign(raw, exponent):
    assert signed_amount(raw, exponent) == -signed_amount(-raw, exponent)
    rounded = raw.quantize(Decimal(1).scaleb(-exponent), decimal.ROUND_HALF_EVEN)
    assert Decimal(repr(signed_amount(raw, exponent))) == rounded


@given(st.integers() | st.floats() | st.decimals() | st.text(max_size=8) | st.none())
def test_a_number_is_finite_or_refused(raw):
    with suppress(RefusedError):
        assert exact(raw).is_finite()


@pytest.mark.parametrize(("raw", "found"), [(3, 3), ("3", 3), (3.0, 3), (Decimal("3.0"), 3)])
def test_a_whole_number_is_an_int(raw, found):
    assert (whole(raw, at_least=1), type(whole(raw, at_least=1))) == (found, int)


@pytest.mark.parametrize("raw", [0, -1, 1.5, "many", 10**20, True, Decimal("1E+99")])
def test_what_is_no_whole_number_of_one_or_more_is_refused(raw):
    with pytest.raises(RefusedError):
        whole(raw, at_least=1)


@given(st.integers() | st.floats() | st.decimals())
def test_a_number_of_one_s_own_is_one_for_json(raw):
    try:
        number = json_number(raw)
    except RefusedError:
        return
    assert json.loads(json.dumps(number, allow_nan=False)) == number


def test_no_currency_has_more_places_than_are_kept_without_one():
    assert max(CURRENCIES.values()) == NO_CURRENCY
