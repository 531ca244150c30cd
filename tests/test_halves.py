"""What both copies of an event say differently. See also ``test_linter``."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel.halves import differing_fields
from wagtail_metapixel.sandbox.comparison import differences


def custom(browser, server):
    return list(differing_fields(browser, server, {}, {}))


def user(browser, server):
    return list(differing_fields({}, {}, browser, server))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"value": 20}, {"value": "20.00"}),
        ({"currency": "EUR"}, {"currency": "eur"}),
        ({"status": True}, {"status": "true"}),
        ({"content_ids": ["a", "b"]}, {"content_ids": ["b", "a"]}),
        ({"contents": [{"id": "a", "item_price": 1}]}, {"contents": [{"id": "a", "item_price": "1.0"}]}),
        ({}, {"net_revenue": 3}),
        ({"note": None}, {}),
        ({"n": 10**400}, {"n": 10**400}),
    ],
)  # fmt: skip
def test_what_says_the_same_is_no_difference(one, other):
    assert custom(one, other) == custom(other, one) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"value": 20}, {"value": 20.5}),
        ({"value": 20}, {}),
        ({"value": 1}, {"value": True}),
        ({"value": "x"}, {"value": float("inf")}),
        ({"currency": "EUR"}, {"currency": None}),
        ({"content_ids": ["a"]}, {"content_ids": ["a", "a"]}),
        ({"contents": [{"id": "a", "quantity": 1}]}, {"contents": [{"id": "a", "quantity": 2}]}),
        ({"n": 10**400}, {"n": 10**400 + 1}),
    ],
)
def test_what_differs_is_named_by_its_key_alone(one, other):
    assert custom(one, other) == custom(other, one) == [f"custom_data.{key}" for key in one]


def test_a_key_that_may_be_personal_is_not_shown():
    assert custom({"ada@example.com": 1}, {}) == ["custom_data.?"]


def test_a_match_key_is_compared_where_both_have_it():
    assert user({"external_id": "a"}, {}) == []
    assert user({"external_id": "a", "fbp": "x"}, {"external_id": "b", "fbp": "y"}) == [
        "user_data.external_id",
        "user_data.fbp",
    ]
    assert user({"external_id": ["a", "b"]}, {"external_id": "b"}) == []
    assert user({"em": "a"}, {"em": "b"}) == []


def test_what_is_too_deep_is_borne():
    deep = other = []
    for _level in range(50_000):
        deep, other = [deep], [other]
    assert custom({"x": deep}, {"x": [other]}) == []
    while deep:  # an interpreter that frees it in one go runs out of stack
        deep, other = deep[0], other[0]


VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, "1", "1.00", "true", "EUR", "eur", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "quantity"]), inner, max_size=2)
    ),
    max_leaves=4,
)
CUSTOM = st.dictionaries(
    st.sampled_from(["value", "currency", "contents", "net_revenue", "note"]), VALUES, max_size=4
)


@settings(max_examples=200, deadline=None)
@given(CUSTOM, CUSTOM)
def test_the_sandbox_names_the_same(one, other):
    expected = [found["field"] for found in differences(one, other, {}, {})]
    assert custom(one, other) == expected
