from __future__ import annotations

import pytest

from wagtail_metapixel.sandbox.comparison import differences, lacking


def fields(browser, server, browser_user=None, server_user=None):
    found = differences(browser, server, browser_user or {}, server_user or {})
    return [difference["field"] for difference in found]


@pytest.mark.parametrize(
    ("browser", "server"),
    [
        (20, 20.0),
        ("20.00", 20),
        (0.1, "0.10"),
        ("true", True),
        ([{"id": "a", "item_price": 9.9}], [{"id": "a", "item_price": "9.90"}]),
        ([1, 2], ["1", "2"]),
        (None, None),
    ],
)
def test_what_meta_reads_alike_is_no_difference(browser, server):
    assert fields({"x": browser}, {"x": server}) == []


@pytest.mark.parametrize(
    ("browser", "server"),
    [
        (20, 20.01),
        ("20,00", 20),
        ("007", "7"),
        ("Mug", "mug"),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", "b"]),
        ([{"id": "a", "quantity": 1}], [{"id": "a", "quantity": 2}]),
        (None, 1),
        ({}, []),
    ],
)
def test_what_meta_reads_differently_is_a_difference(browser, server):
    assert differences({"x": browser}, {"x": server}, {}, {}) == [
        {"field": "custom_data.x", "browser": browser, "server": server}
    ]


def test_a_currency_may_be_in_any_case():
    assert fields({"currency": "eur"}, {"currency": "EUR"}) == []
    assert fields({"currency": "eur"}, {"currency": "USD"}) == ["custom_data.currency"]


def test_a_parameter_that_one_copy_lacks_is_a_difference():
    assert fields({"value": 1}, {}) == fields({}, {"value": 1}) == ["custom_data.value"]


def test_the_margin_is_the_servers_alone():
    assert fields({}, {"net_revenue": 3}) == []


def test_shared_identifiers_must_agree():
    browser = {"fbp": "b", "fbc": "c", "external_id": "u"}
    assert fields({}, {}, browser, {"fbp": "b", "fbc": "c", "external_id": ["v", "u"]}) == []
    assert fields({}, {}, browser, {"fbp": "B", "fbc": "C", "external_id": ["v"]}) == [
        "user_data.external_id",
        "user_data.fbc",
        "user_data.fbp",
    ]


def test_an_identifier_that_one_copy_lacks_is_lacking_and_no_difference():
    assert fields({}, {}, {"fbp": "b"}, {"fbc": "c"}) == []
    assert lacking({"fbp": "b"}, {"fbc": "c", "fbp": "b"}) == ["fbc"]
