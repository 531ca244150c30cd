"""Parameters of events."""

from __future__ import annotations

import decimal
import enum
import json
import math
import uuid
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wagtail_metapixel import catalogue, custom_data, parameters
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.custom_data import build_custom_data

ABSENT = object()


def purchase(**params):
    return build_custom_data("Purchase", {"value": 10, "currency": "EUR", **params})


def lead(**params):
    return build_custom_data("Lead", params)


def only(problems):
    (problem,) = problems
    return problem


# Money


@pytest.mark.parametrize(
    ("given", "currency", "expected"),
    [
        pytest.param(Decimal("12.30"), "EUR", 12.3, id="decimal"),
        pytest.param(Decimal("12.00"), "EUR", 12, id="whole"),
        pytest.param(12, "EUR", 12, id="int"),
        pytest.param(0.1 + 0.2, "EUR", 0.3, id="float"),
        pytest.param(2.675, "EUR", 2.68, id="a float means what it prints"),
        pytest.param(Decimal("2.665"), "EUR", 2.66, id="half to even, down"),
        pytest.param(-0.0, "EUR", 0, id="7: minus zero"),
        pytest.param(Decimal("-0.00"), "EUR", 0, id="7: minus zero, decimal"),
        pytest.param(
            Decimal("10.123456789012345678"), "EUR", 10.12, id="14: more places than the currency"
        ),
        pytest.param(Decimal("1E+3"), "EUR", 1000, id="15: exponent"),
        pytest.param(Decimal("100.5"), "JPY", 100, id="16: decided, half to even, yen"),
        pytest.param(Decimal("101.5"), "JPY", 102, id="16: half to even, up"),
        pytest.param(Decimal("1.234"), "KWD", 1.234, id="16: three places"),
        pytest.param("12.30", "EUR", 12.3, id="18: text of Django's JSON encoder"),
        pytest.param(" 12 ", "EUR", 12, id="text with spaces"),
        pytest.param(gettext_lazy("12.30"), "EUR", 12.3, id="20: lazy text"),
        pytest.param(SafeString("12.30"), "EUR", 12.3, id="text of a template"),
        pytest.param(10**12, "IDR", 10**12, id="large"),
    ],
)
def test_an_amount_becomes_a_number(given, currency, expected):
    data, problems = build_custom_data("Purchase", {"value": given, "currency": currency})
    assert data["value"] == expected
    assert type(data["value"]) is type(expected)
    assert math.copysign(1, data["value"]) == 1
    assert all(problem.field == "value" and not problem.fatal for problem in problems)


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        pytest.param(float("nan"), False, id="5: NaN"),
        pytest.param(Decimal("NaN"), False, id="5: decimal NaN"),
        pytest.param(Decimal("sNaN"), False, id="5: signalling NaN"),
        pytest.param("nan", False, id="5: the text nan"),
        pytest.param(float("inf"), False, id="6: infinity"),
        pytest.param(Decimal("-Infinity"), False, id="6: minus infinity"),
        pytest.param("-inf", False, id="6: the text inf"),
    ],
)
@pytest.mark.parametrize("name", ["Purchase", "Lead"])
def test_a_value_that_is_not_finite_is_fatal_for_any_event(given, mistake, name):
    data, problems = build_custom_data(name, {"value": given, "currency": "EUR"})
    assert "value" not in data
    problem = only(problems)
    assert (problem.field, problem.fatal, problem.mistake) == ("value", True, mistake)
    assert problem.code == (2804009 if name == "Purchase" else 2804019)


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        pytest.param(-5, False, id="8: negative"),
        pytest.param(Decimal("-0.01"), False, id="8: negative cent"),
        pytest.param("12,50", True, id="10: comma"),
        pytest.param("1,234.50", True, id="11: thousands"),
        pytest.param("1.234,50", True, id="11: German thousands"),
        pytest.param("1_000", True, id="12: underscore"),
        pytest.param("١٢٣", True, id="13: decided, Arabic digits are refused"),
        pytest.param("1e3", True, id="exponent in a text"),
        pytest.param("€ 5", True, id="sign"),
        pytest.param("", True, id="empty"),
        pytest.param(True, True, id="17: True"),
        pytest.param(10**16, False, id="beyond what JavaScript counts"),
        pytest.param(Decimal("1E+999999"), False, id="astronomic"),
        pytest.param("9" * 100_000, True, id="100,000 digits"),
        pytest.param(object(), True, id="an object"),
        pytest.param(b"12", True, id="bytes"),
        pytest.param([12], True, id="a list"),
    ],
)
def test_a_value_that_cannot_be_used_is_fatal_for_a_purchase_only(given, mistake):
    data, problems = build_custom_data("Purchase", {"value": given, "currency": "EUR"})
    problem = only(problems)
    assert "value" not in data
    assert (problem.field, problem.code, problem.fatal) == ("value", 2804009, True)
    assert problem.mistake is mistake

    data, problems = build_custom_data("Lead", {"value": given, "currency": "EUR"})
    problem = only(problems)
    assert data == {"currency": "EUR"}
    assert (problem.field, problem.code, problem.fatal) == ("value", 2804019, False)


def test_the_message_about_a_comma_names_the_locale():  # row 10
    _data, problems = purchase(value="12,50")
    assert "locale" in only(problems).rule


class Money:
    amount, currency = Decimal("12.30"), "EUR"

    def __repr__(self):
        raise AssertionError("never looked at")

    __str__ = __repr__


def test_a_money_object_is_refused_with_a_hint():  # row 20
    _data, problems = purchase(value=Money())
    assert ".amount" in only(problems).rule
    assert only(problems).mistake


def test_a_purchase_of_nothing_is_sent_and_reported():  # row 9
    data, problems = purchase(value=0)
    assert data["value"] == 0
    assert not only(problems).fatal


def test_an_improbable_value_is_sent_and_reported():  # row 19
    data, problems = purchase(value=10**15)
    assert data["value"] == 10**15
    assert not only(problems).fatal


def test_the_callers_decimal_context_changes_nothing():
    with decimal.localcontext(prec=2, rounding=decimal.ROUND_UP) as context:
        context.traps[decimal.Inexact] = True
        data, problems = purchase(value=Decimal("1234.565"), predicted_ltv="1234.565")
    assert (data["value"], data["predicted_ltv"], problems) == (1234.56, 1234.56, [])


def test_net_revenue_may_be_negative_and_predicted_value_not():
    data, problems = purchase(net_revenue=Decimal("-3.005"), predicted_ltv=-1)
    assert data["net_revenue"] == -3
    assert "predicted_ltv" not in data
    assert only(problems).field == "predicted_ltv"


# Currency


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("eur", id="1: lower case"),
        pytest.param("eur ", id="3: a space"),
        pytest.param(gettext_lazy("EUR"), id="lazy"),
        pytest.param(enum.Enum("Currency", {"EURO": "EUR"}).EURO, id="36: enumeration"),
    ],
)
def test_a_currency_is_brought_to_upper_case(given):
    assert purchase(currency=given) == ({"currency": "EUR", "value": 10}, [])


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("€", id="2: sign"),
        pytest.param("EURO", id="2: four letters"),
        pytest.param("", id="2: empty"),
        pytest.param(None, id="2: None"),
        pytest.param("12", id="2: digits"),
        pytest.param("XXX", id="2: no currency"),
        pytest.param("E UR", id="2: inner space"),
        pytest.param("\u0131dr", id="4: Turkish letter"),
        pytest.param(978, id="a number"),
    ],
)
def test_a_bad_currency_is_fatal_for_a_purchase_and_takes_the_value_along_elsewhere(given):
    data, problems = purchase(currency=given)
    problem = only(problems)
    assert (problem.field, problem.code, problem.fatal) == ("currency", 2804010, True)
    assert not problem.mistake
    assert "currency" not in data

    data, problems = lead(value=5, currency=given, content_name="x")
    assert data == {"content_name": "x"}
    assert {(problem.field, problem.code, problem.fatal) for problem in problems} == {
        ("value", 2804023, False)
    } | ({("currency", 2804019, False)} if given is not None else set())


def test_a_currency_is_never_guessed():
    data, problems = lead(value=5)
    assert data == {}
    assert (only(problems).code, only(problems).mistake) == (2804023, True)


@pytest.mark.parametrize("missing", ["value", "currency"])
def test_a_purchase_without_money_is_the_developers_mistake(missing):
    params = {"value": 10, "currency": "EUR"}
    del params[missing]
    _data, problems = build_custom_data("Purchase", params)
    problem = only(problems)
    assert (problem.field, problem.fatal, problem.mistake) == (missing, True, True)
    assert problem.code == {"value": 2804009, "currency": 2804010}[missing]


# Contents


def test_what_follows_from_contents_is_filled_in():
    contents = [
        {"id": "A", "quantity": 2, "item_price": Decimal("1.50")},
        {"id": 7, "quantity": "1"},
        {"id": "A", "quantity": 1, "item_price": 2.5, "title": "Cup", "colour": "red"},
    ]
    data, problems = purchase(contents=contents)
    assert problems == []
    assert data == {
        "currency": "EUR",
        "value": 10,
        "contents": [
            {"id": "A", "quantity": 2, "item_price": 1.5},
            {"id": "7", "quantity": 1},
            {"id": "A", "quantity": 1, "item_price": 2.5, "title": "Cup", "colour": "red"},
        ],
        "content_ids": ["A", "7"],
        "content_type": "product",
        "num_items": 4,
    }


def test_what_is_given_beside_contents_stays():
    data, problems = purchase(
        contents=[{"id": "A", "quantity": 2}],
        content_ids=["parent"],
        content_type="product_group",
        num_items=5,
    )
    assert problems == []
    assert data["content_ids"] == ["parent"]
    assert data["content_type"] == "product_group"
    assert data["num_items"] == 5


def test_content_ids_alone_make_contents_of_one_piece_each_and_count_nothing():
    one_each = [{"id": "A", "quantity": 1}, {"id": "B", "quantity": 1}]
    assert lead(content_ids=["A", "B"]) == (
        {"content_ids": ["A", "B"], "contents": one_each, "content_type": "product"},
        [],
    )
    data, _problems = lead(content_ids=["A"], content_type="product_group")
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert data["content_type"] == "product_group"


def test_what_is_no_product_makes_no_contents():
    assert "contents" not in lead(content_ids=["ROOM-7"], content_type="hotel")[0]


@pytest.mark.parametrize("contents", [[{"id": "A", "quantity": 0}], [], (), "x"], ids=str)
def test_contents_that_cannot_be_used_follow_from_content_ids(contents):
    data, problems = lead(content_ids=["A"], contents=contents)
    assert data == {
        "content_ids": ["A"],
        "contents": [{"id": "A", "quantity": 1}],
        "content_type": "product",
    }
    assert bool(problems) is bool(contents)


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        pytest.param(0, None, id="33: none"),
        pytest.param(-1, None, id="33: negative"),
        pytest.param(1.5, None, id="33: decided, a fraction leaves the item out"),
        pytest.param("2", 2, id="33: text"),
        pytest.param(Decimal("2.0"), 2, id="decimal"),
        pytest.param(2.0, 2, id="float"),
        pytest.param(True, None, id="True"),
        pytest.param("many", None, id="word"),
        pytest.param(10**20, None, id="astronomic"),
    ],
)
def test_a_quantity_is_a_whole_number_of_one_or_more(quantity, expected):
    data, problems = purchase(contents=[{"id": "A", "quantity": quantity}])
    if expected:
        assert data["contents"] == [{"id": "A", "quantity": expected}]
        assert problems == []
    else:
        assert "contents" not in data
        assert only(problems).field == "contents.quantity"
        assert not only(problems).fatal


@pytest.mark.parametrize(
    "identifier",
    [pytest.param(ABSENT, id="absent"), None, "", "  ", [], pytest.param(object(), id="an object")],
    ids=str,
)
def test_an_item_without_id_is_what_meta_refuses(identifier):
    item = {"quantity": 1} | ({} if identifier is ABSENT else {"id": identifier})
    _data, problems = lead(contents=[item])
    problem = next(problem for problem in problems if problem.fatal)
    assert (problem.field, problem.code) == ("contents.id", 2804008)
    assert problem.mistake is (identifier is ABSENT)


def test_an_item_without_quantity_counts_once_and_is_reported():
    data, problems = lead(contents=[{"id": "A"}])
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert only(problems).mistake


@pytest.mark.parametrize("word", ["price", "Price"])
def test_the_price_of_an_item_is_sent_under_meta_s_name(word):
    data, problems = purchase(contents=[{"id": "A", "quantity": 1, word: Decimal("3.50")}])
    assert data["contents"] == [{"id": "A", "quantity": 1, "item_price": 3.5}]
    assert "'item_price'" in only(problems).rule
    assert (only(problems).field, only(problems).mistake) == (f"contents.{word}", False)


@pytest.mark.parametrize("first", ["price", "item_price"])
def test_the_price_of_an_item_never_replaces_its_item_price(first):
    item = dict.fromkeys([first, "price", "item_price"], 0) | {"price": 5, "item_price": 3}
    data, problems = purchase(contents=[{"id": "A", "quantity": 1} | item])
    assert data["contents"] == [{"id": "A", "quantity": 1, "item_price": 3, "price": 5}]
    assert "'item_price'" in only(problems).rule


def test_a_bad_price_is_told_under_its_own_word():
    data, problems = purchase(contents=[{"id": "A", "quantity": 1, "price": "1,50"}])
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert {problem.field for problem in problems} == {"contents.price"}


@pytest.mark.parametrize(
    "price",
    [-1, "1,50", float("nan"), Decimal("Infinity"), pytest.param(object(), id="an object")],
    ids=str,
)
def test_a_bad_price_leaves_the_item(price):
    data, problems = purchase(contents=[{"id": "A", "quantity": 1, "item_price": price}])
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert (only(problems).field, only(problems).fatal) == ("contents.item_price", False)


def test_a_price_without_currency_keeps_its_places():
    data, _problems = lead(contents=[{"id": "A", "quantity": 1, "item_price": Decimal("1.23456")}])
    assert data["contents"][0]["item_price"] == 1.2346


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param({"id": "A", "quantity": 1}, id="one item, no list"),
        pytest.param("[{'id': 'A'}]", id="text"),
        pytest.param((item for item in [{"id": "A", "quantity": 1}]), id="35: generator"),
        pytest.param(["A"], id="ids"),
        pytest.param([[]], id="lists"),
        pytest.param(7, id="number"),
    ],
)
def test_contents_that_are_no_list_of_items_are_the_developers_mistake(contents):
    data, problems = lead(contents=contents)
    assert data == {}
    assert only(problems).mistake


def test_an_item_may_be_any_mapping():
    data, problems = lead(contents=(OrderedDict(id="A", quantity=1),))
    assert (data["contents"], problems) == ([{"id": "A", "quantity": 1}], [])


def test_long_contents_are_cut():  # row 34
    data, problems = lead(contents=[{"id": str(n), "quantity": 1} for n in range(10_000)])
    assert len(data["contents"]) == catalogue.LIST_MAX
    assert only(problems).field == "contents"


ITEMS = st.fixed_dictionaries(
    {
        "id": st.text(max_size=5) | st.integers() | st.none(),
        "quantity": st.integers(-2, 5) | st.booleans() | st.text("1a", max_size=2),
        "item_price": st.decimals(allow_nan=True, allow_infinity=True) | st.floats() | st.none(),
    }
)


@settings(max_examples=150, deadline=None)
@given(ITEMS, st.sampled_from([0, 2, 3, 4]))
@example({"id": "A-1", "quantity": 1, "item_price": Decimal("9.99")}, 2)
@example({"id": " A", "quantity": 1, "item_price": Decimal("9.99")}, 2)
@example({"id": "a@b.example", "quantity": 1, "item_price": Decimal("9.99")}, 2)
@example({"id": "A", "quantity": 1, "item_price": Decimal("sNaN")}, 2)
def test_the_short_way_for_an_item_and_the_careful_way_agree(item, exponent):
    short = custom_data._ordinary_content(item, exponent)
    assert short is None or short == custom_data._content(item, exponent, [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([None, "", 1, 1.0], ["1"], id="32: blanks and repeats"),
        pytest.param(("b", "a"), ["b", "a"], id="order kept"),
        pytest.param({"b", "a", "c"}, ["a", "b", "c"], id="36: set, in a stable order"),
        pytest.param([uuid.UUID(int=1)], [str(uuid.UUID(int=1))], id="UUID"),
        pytest.param([" SKU 1 "], ["SKU 1"], id="trimmed"),
        pytest.param(["a\u0000b"], ["ab"], id="40: NUL"),
        pytest.param([], ABSENT, id="empty list"),
    ],
)
def test_content_ids_are_texts(given, expected):
    data, problems = lead(content_ids=given)
    assert data.get("content_ids", ABSENT) == expected
    assert problems == []


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("['a','b']", id="31: text of a list"),
        pytest.param("sku", id="31: one id"),
        pytest.param(7, id="a number"),
        pytest.param(iter(["a"]), id="35: iterator"),
        pytest.param([["a"]], id="nested"),
        pytest.param([True], id="True"),
        pytest.param([1.5], id="a fraction"),
    ],
)
def test_content_ids_that_are_no_list_of_ids_are_the_developers_mistake(given):
    data, problems = lead(content_ids=given)
    assert data == {}
    assert only(problems).field == "content_ids"
    assert only(problems).mistake


def test_a_product_whose_id_is_too_long_is_left_out_and_becomes_no_other():
    alike = [f"{'x' * 100}{last}" for last in "12"]
    data, problems = lead(content_ids=[*alike, "A"])
    assert data["content_ids"] == ["A"]
    assert {problem.field for problem in problems} == {"content_ids"}
    items = [{"id": name, "quantity": 1} for name in (*alike, "A")]
    data, problems = lead(contents=items)
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert not any(problem.fatal or problem.mistake for problem in problems)
    assert len(problems) == 2


# Texts and choices


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("</script><!-- ]]>", "</script><!-- ]]>", id="39: escaped on the page"),
        pytest.param("a\u2028b\u2029c", "a b c", id="40: line separators"),
        pytest.param("a\x00b\ufeffc\u202ed", "abcd", id="40: controls"),
        pytest.param("line\r\nbreak\ttab", "line break tab", id="40: breaks become spaces"),
        pytest.param("👨\u200d👩", "👨\u200d👩", id="41: joiner stays"),
        pytest.param("Jose\u0301", "Jos\u00e9", id="41: NFC"),
        pytest.param("x" * 1_000_000, "x" * 500, id="42: 1 MB"),
        pytest.param("ü" * 1_000_000, "ü" * 500, id="42: 2 MB"),
        pytest.param("a\ud800b", "ab", id="half a surrogate pair"),
        pytest.param("  ", ABSENT, id="blank"),
        pytest.param("\x00", ABSENT, id="nothing left"),
        pytest.param(17, "17", id="number"),
        pytest.param(gettext_lazy("Cup"), "Cup", id="36: lazy"),
        pytest.param(date(2026, 2, 3), "2026-02-03", id="36: date"),
    ],
)
def test_a_text_is_cleaned(given, expected):
    data, problems = lead(content_name=given)
    assert data.get("content_name", ABSENT) == expected
    assert problems == []
    json.dumps(data).encode()


@pytest.mark.parametrize(
    "given", [b"x", ["x"], {"a": 1}, 1.5, True, pytest.param(object(), id="an object")], ids=str
)
def test_what_is_no_text_is_the_developers_mistake(given):
    data, problems = lead(content_name=given)
    assert data == {}
    assert only(problems).mistake


@pytest.mark.parametrize("text", ["anna@example.com", "mail to anna@example.com please"])
def test_a_text_with_an_e_mail_address_is_left_out(text):
    data, problems = build_custom_data("Search", {"search_string": text, "note": text})
    assert data == {}
    assert {problem.field for problem in problems} == {"search_string", "note"}
    assert all("anna" not in problem.rule for problem in problems)


def test_a_product_whose_id_is_an_e_mail_address_is_left_out():
    data, problems = lead(content_ids=["anna@example.com", "A"])
    assert data["content_ids"] == ["A"]
    assert (only(problems).field, only(problems).mistake) == ("content_ids", False)
    items = [
        {"id": name, "quantity": 1, "item_price": Decimal(1)} for name in ("anna@a.example", "A")
    ]
    data, problems = lead(contents=items)
    assert data["content_ids"] == ["A"]
    assert (only(problems).field, only(problems).fatal) == ("contents.id", False)


def test_an_at_sign_alone_is_no_e_mail_address():
    assert lead(content_name="2 @ 9.99 @home") == ({"content_name": "2 @ 9.99 @home"}, [])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"num_items": "3"}, {"num_items": 3}),
        ({"num_items": 0}, {"num_items": 0}),
        ({"status": True}, {"status": True}),
        ({"status": "completed"}, {"status": "completed"}),
        ({"delivery_category": "in_store"}, {"delivery_category": "in_store"}),
        ({"event_source": "crm"}, {"event_source": "crm"}),
        ({"content_type": "Product"}, {"content_type": "product"}),
        ({"order_id": uuid.UUID(int=1)}, {"order_id": str(uuid.UUID(int=1))}),
        ({"order_id": 0}, {"order_id": "0"}),
        ({"content_name": None}, {}),
    ],
)
def test_parameters_of_other_kinds(params, expected):
    assert lead(**params) == (expected, [])


@pytest.mark.parametrize(
    "params",
    [{"num_items": -1}, {"num_items": 1.5}, {"delivery_category": "pigeon"}, {"status": []}],
    ids=str,
)
def test_parameters_outside_their_rule_are_left_out(params):
    data, problems = lead(**params)
    assert data == {}
    assert only(problems).field in params


def test_an_unknown_content_type_is_sent_and_reported():
    data, problems = lead(content_type="yacht")
    assert data == {"content_type": "yacht"}
    assert not only(problems).mistake


# Custom properties


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("red", "red"),
        (7, 7),
        (1.25, 1.25),
        (True, True),
        (Decimal("1.10"), 1.1),
        (Decimal("2.00"), 2),
        (datetime(2026, 2, 3, 4, tzinfo=UTC), "2026-02-03T04:00:00+00:00"),
        (enum.Enum("Size", {"L": "large"}).L, "large"),
        (gettext_lazy("red"), "red"),
        (["a", 1, None, True], ["a", 1, True]),
        (("a",), ["a"]),
        (frozenset({"b", "a"}), ["a", "b"]),
    ],
)
def test_a_property_of_one_s_own_may_be_a_scalar_or_a_list_of_them(given, expected):
    assert lead(colour=given) == ({"colour": expected}, [])


def circular():
    loop = {}
    loop["self"] = loop
    return loop


def circular_list():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "given",
    [
        pytest.param((n for n in range(3)), id="35: generator"),
        pytest.param({"a": {"b": 1}}, id="nested"),
        pytest.param([["a"]], id="nested list"),
        pytest.param(b"x", id="36: bytes"),
        pytest.param(circular(), id="38: circular"),
        pytest.param(circular_list(), id="38: circular list"),
        pytest.param(Money(), id="36: an object, never its repr"),
        pytest.param({Money()}, id="36: a set of objects"),
    ],
)
def test_a_property_json_has_no_word_for_is_the_developers_mistake(given):
    data, problems = lead(colour=given)
    assert data == {}
    assert (only(problems).field, only(problems).mistake) == ("colour", True)


@pytest.mark.parametrize("given", [float("nan"), Decimal("Infinity"), 10**30], ids=str)
def test_a_property_that_is_no_usable_number_is_left_out(given):
    data, problems = lead(score=given)
    assert data == {}
    assert not only(problems).fatal


@pytest.mark.parametrize("key", ["$price", "a.b", "a" * 200, "", "my key", "ü", 7])
def test_a_key_with_other_characters_is_left_out(key):  # row 37
    data, problems = build_custom_data("Lead", {key: 1})
    assert data == {}
    assert only(problems).field == "custom_data"


def test_more_properties_than_anybody_needs_are_left_out():
    data, problems = build_custom_data("Lead", {f"p{n}": n for n in range(150)})
    assert len(data) == catalogue.PROPERTIES_MAX
    assert {problem.field for problem in problems} == {"custom_data"}


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("content_id", "content_ids"),
        ("contentIds", "content_ids"),
        ("content", "contents"),
        ("curency", "currency"),
        ("orderId", "order_id"),
        ("Value", "value"),
    ],
)
def test_a_near_miss_is_kept_and_gets_a_hint(key, meant):
    data, problems = build_custom_data("Lead", {key: "x"})
    assert data == {key: "x"}
    assert repr(meant) in only(problems).rule
    assert only(problems).mistake


@pytest.mark.parametrize(("key", "meant"), parameters.SYNONYMS.items())
def test_a_word_of_another_tool_is_kept_and_meta_s_is_named(key, meant):
    data, problems = build_custom_data("Lead", {key: "x"})
    assert data == {key: "x"}
    assert repr(meant) in only(problems).rule
    assert not only(problems).mistake
    assert meant in parameters.PARAMETERS
    assert key not in parameters.PARAMETERS


@pytest.mark.parametrize(
    ("key", "meant", "mistake"),
    [
        ("itemPrice", "item_price", True),
        ("Quantity", "quantity", True),
        ("qty", "quantity", False),
        ("sku", "id", False),
        ("name", "title", False),
    ],
)
def test_a_near_miss_in_an_item_gets_the_word_for_an_item(key, meant, mistake):
    data, problems = lead(contents=[{"id": "A", "quantity": 1, key: "x"}])
    assert data["contents"] == [{"id": "A", "quantity": 1, key: "x"}]
    problem = only(problems)
    assert (problem.field, problem.mistake) == (f"contents.{key}", mistake)
    assert repr(meant) in problem.rule
    assert meant in parameters.ITEM_PARAMETERS


def test_an_item_says_nothing_about_a_person():
    data, problems = lead(contents=[{"id": "A", "quantity": 1, "email": "x"}])
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert only(problems).mistake


# Subcodes


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"num_items": -1}, 2804019),
        ({"status": []}, 2804019),
        ({"delivery_category": "pigeon"}, 2804019),
        ({"content_ids": 7}, 2804019),
        ({"content_ids": [[]]}, 2804019),
        ({"content_ids": ["anna@example.com"]}, None),
        ({"contents": ["A"]}, 2804019),
        ({"contents": [{"id": "A"}]}, 2804019),
        ({"contents": "x"}, 2804019),
        ({"contents": [{"id": "A", "quantity": 1, "item_price": "x"}]}, 2804019),
        ({"colour": {"a": 1}}, None),
        ({"contents": [{"id": "A", "quantity": 1, "colour": {}}]}, None),
        ({"search_string": "anna@example.com"}, None),
    ],
    ids=str,
)
def test_a_problem_names_meta_s_subcode_where_meta_would_have_answered(params, code):
    assert only(lead(**params)[1]).code == code


# A refund


@pytest.mark.parametrize("given", [-12.3, "-12.30", Decimal("-12.30"), 12.3, Decimal("12.300")])
def test_a_refund_is_a_positive_number(given):
    data, problems = build_custom_data("Refund", {"value": given, "currency": "EUR"})
    assert (data, problems) == ({"value": 12.3, "currency": "EUR"}, [])


def test_no_amount_of_a_refund_is_negative():
    amounts = {"value": -1, "predicted_ltv": "-2.50", "net_revenue": Decimal("-1234.56")}
    with decimal.localcontext(prec=2):
        data, problems = build_custom_data("Refund", amounts | {"currency": "EUR"})
    assert problems == []
    assert data == {
        "value": 1, "predicted_ltv": 2.5, "net_revenue": 1234.56, "currency": "EUR",
    }  # fmt: skip


def test_a_refund_of_nonsense_is_left_out_like_any_other_value():
    data, problems = build_custom_data("Refund", {"value": "much", "currency": "EUR"})
    assert data == {"currency": "EUR"}
    assert only(problems).field == "value"
    assert build_custom_data("Refund", {}) == ({}, [])


@pytest.mark.parametrize("key", ["event_id", "event_time", "user_data", "email", "phone", "em", "fbp"])  # fmt: skip
def test_what_belongs_elsewhere_is_no_parameter(key):
    data, problems = build_custom_data("Lead", {key: "x"})
    assert data == {}
    assert (only(problems).field, only(problems).mistake) == (key, True)


def test_places_are_ordinary_properties():
    assert lead(city="Łódź", country="PL")[1] == []


def test_a_custom_event_takes_the_same_parameters():
    assert build_custom_data("My Event", {"value": 1, "currency": "jpy"}) == (
        {"currency": "JPY", "value": 1},
        [],
    )


def test_a_key_that_may_be_a_number_of_somebody_s_is_not_repeated():
    for value in (b"x", BrokenList()):
        for params in ({"p48601234567": value}, {"contents": [{"id": "A", "quantity": 1, "p48601234567": value}]}):  # fmt: skip
            assert "486" not in repr(build_custom_data("Lead", params)[1])


# Objects that break


class BrokenText(str):
    __slots__ = ()

    def refuse(self, *_args):
        raise RuntimeError("not me")

    __str__ = __repr__ = strip = isascii = refuse
    __hash__ = str.__hash__


class BrokenList(list):
    def __iter__(self):
        raise RuntimeError("not me")


class BrokenDict(dict):
    def items(self):
        raise RuntimeError("not me")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"content_ids": BrokenList("A")}, "content_ids"),
        ({"contents": [BrokenDict(id="A")]}, "contents"),
        ({"predicted_ltv": BrokenText("1")}, "predicted_ltv"),
        ({"colour": BrokenList("A")}, "colour"),
        ({"contents": [{"id": "A", "quantity": BrokenText("1")}]}, "contents.quantity"),
        ({"contents": [{"id": "A", "quantity": 1, "item_price": BrokenText("1")}]}, "contents.item_price"),
    ],
    ids=["a list", "an item", "an amount", "a property", "a quantity", "a price"],
)  # fmt: skip
def test_an_object_that_breaks_costs_its_own_parameter_only(params, field):
    data, problems = purchase(**params)
    assert data.items() >= {"value": 10, "currency": "EUR"}.items()
    assert not any(problem.fatal for problem in problems)
    broken = next(problem for problem in problems if problem.field == field)
    assert (broken.rule, broken.mistake) == ("could not be read", True)


@pytest.mark.parametrize("key", ["value", "currency"])
def test_a_purchase_whose_value_or_currency_breaks_is_rejected_and_not_lost(key):
    for name in ("Purchase", "Refund"):
        params = {"value": 1, "currency": "EUR"} | {key: BrokenText("1")}
        _data, problems = build_custom_data(name, params)
        broken = next(problem for problem in problems if problem.field == key)
        assert broken.fatal is (name == "Purchase")
        assert broken.mistake


def test_a_text_that_only_prints_wrongly_is_still_a_text():
    assert purchase(content_name=BrokenText("Cup"))[0]["content_name"] == "Cup"


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals(allow_nan=True)
    | st.text(max_size=20) | st.binary(max_size=3) | st.uuids()
)  # fmt: skip
ITEM_KEYS = st.sampled_from(["id", "quantity", "item_price", "x"])
ANYTHING = SCALARS | st.lists(SCALARS | st.dictionaries(ITEM_KEYS, SCALARS, max_size=3), max_size=2)
PARAMS = st.dictionaries(st.sampled_from([*parameters.PARAMETERS, "colour"]), ANYTHING, max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["Purchase", "AddToCart", "My Event"]), PARAMS)
def test_whatever_is_given_comes_out_as_json(name, params):
    data, problems = build_custom_data(name, params)
    assert json.loads(json.dumps(data, allow_nan=False, ensure_ascii=False).encode()) == data
    assert None not in data.values()
    if name == "Purchase" and not any(problem.fatal for problem in problems):
        assert data["value"] >= 0
        assert data["currency"] in CURRENCIES
    if "value" in data and name != "Purchase":
        assert "currency" in data


@settings(max_examples=100, deadline=None)
@given(
    st.decimals(0, 10**9, allow_nan=False),
    st.sampled_from(sorted(CURRENCIES)),
)
def test_an_amount_is_rounded_exactly(value, currency):
    data, _problems = build_custom_data("Purchase", {"value": value, "currency": currency})
    places = Decimal(1).scaleb(-CURRENCIES[currency])
    assert Decimal(repr(data["value"])) == value.quantize(places, decimal.ROUND_HALF_EVEN)
