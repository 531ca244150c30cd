"""What people and shops really pass as values, one by one; each id begins with its row number.

N: normalised. D: left out, the event goes on. R: refused, a mistake that ``DEBUG`` raises.
X: Meta would refuse the event, so it is stored as rejected.
"""

from __future__ import annotations

import enum
import json
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext_lazy
from wagtail.models import Site

from tests.factories import PixelFactory, SettingsFactory, SiteFactory
from tests.visits import PAID, PERSON, ask, counted, order, told
from wagtail_metapixel import catalogue, claims, payloads, site_settings
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.events import check_event_id, check_event_time
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.tracking import track

NOW = 1_800_000_000.25
DAY = 86_400
ROWS = {*range(1, 43), *range(71, 77)}


def only(problems):
    (problem,) = problems
    return problem


class Colour(enum.Enum):
    RED = "red"


class Money:
    """What django-money and its like have, and nothing more."""

    amount, currency = Decimal("12.30"), "EUR"

    def __repr__(self):
        raise AssertionError("a value is never written out")

    __str__ = __repr__


CIRCULAR = {}
CIRCULAR["self"] = CIRCULAR
AS_DJANGO_WRITES_IT = json.loads(json.dumps(Decimal("12.30"), cls=DjangoJSONEncoder))


# N: read as what was meant


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({"currency": "eur"}, {"currency": "EUR"}, id="1: lower case"),
        pytest.param({"currency": "usd "}, {"currency": "USD"}, id="3: a space"),
        pytest.param({"value": -0.0}, {"value": 0}, id="7: minus zero"),
        pytest.param({"value": Decimal("10.123456789012345678")}, {"value": 10.12}, id="14: places"),
        pytest.param({"value": Decimal("1E+3")}, {"value": 1000}, id="15: exponent"),
        pytest.param({"value": 100.5, "currency": "JPY"}, {"value": 100}, id="16: decided, half to even"),
        pytest.param({"value": 101.5, "currency": "JPY"}, {"value": 102}, id="16: half to even, up"),
        pytest.param({"value": 1.234, "currency": "KWD"}, {"value": 1.234}, id="16: three places"),
        pytest.param({"value": AS_DJANGO_WRITES_IT}, {"value": 12.3}, id="18: as Django writes JSON"),
        pytest.param({"value": gettext_lazy("12.30")}, {"value": 12.3}, id="20: lazy text"),
        pytest.param({"content_ids": [None, "", 1, 1.0]}, {"content_ids": ["1"]}, id="32: blanks"),
        pytest.param(
            {"contents": [{"id": "A", "quantity": "2"}]},
            {"contents": [{"id": "A", "quantity": 2}]},
            id="33: quantity as text",
        ),
        pytest.param({"tags": {"b", "a"}}, {"tags": ["a", "b"]}, id="36: set, in one order"),
        pytest.param({"day": date(2026, 2, 3)}, {"day": "2026-02-03"}, id="36: date"),
        pytest.param({"colour": Colour.RED}, {"colour": "red"}, id="36: Enum"),
        pytest.param({"colour": gettext_lazy("red")}, {"colour": "red"}, id="36: Promise"),
        pytest.param({"content_name": "a\u2028b\u2029c"}, {"content_name": "a b c"}, id="40: separators"),
        pytest.param({"content_name": "a\0b\ufeffc\u202ed"}, {"content_name": "abcd"}, id="40: controls"),
        pytest.param({"content_name": "🙂"}, {"content_name": "🙂"}, id="41: emoji of four bytes"),
        pytest.param({"content_name": "👨\u200d👩"}, {"content_name": "👨\u200d👩"}, id="41: joiner"),
        pytest.param({"content_name": "e\u0301"}, {"content_name": "\u00e9"}, id="41: NFD to NFC"),
        pytest.param({"content_name": "x" * 2**20}, {"content_name": "x" * 500}, id="42: 1 MB"),
    ],
)  # fmt: skip
def test_read_as_what_was_meant(params, expected):
    data, problems = build_custom_data("Purchase", {"value": 5, "currency": "EUR"} | params)
    assert {key: data[key] for key in expected} == expected
    assert not [problem for problem in problems if problem.fatal or problem.mistake]


def test_18_an_amount_leaves_as_a_number():
    data, _problems = build_custom_data("Purchase", {"value": "12.30", "currency": "EUR"})
    assert payloads.dump(data) == b'{"currency":"EUR","value":12.3}'


@pytest.mark.parametrize(
    "value", [pytest.param(0, id="9: nothing"), pytest.param(10**15, id="19: improbable")]
)
def test_sent_and_reported(value):
    data, problems = build_custom_data("Purchase", {"value": value, "currency": "EUR"})
    assert data["value"] == value
    assert (only(problems).field, only(problems).fatal) == ("value", False)


def test_34_ten_thousand_items_are_cut():
    items = [{"id": str(number), "quantity": 1} for number in range(10_000)]
    data, problems = build_custom_data("Lead", {"contents": items})
    assert len(data["contents"]) == len(data["content_ids"]) == catalogue.LIST_MAX
    assert only(problems).field == "contents"


# X for a Purchase, D otherwise


@pytest.mark.parametrize(
    "currency",
    [
        *(
            pytest.param(given, id=f"2: {given!r}")
            for given in ("€", "EURO", "", None, "12", "XXX", "E UR")
        ),
        pytest.param("\u0131dr", id="4: Turkish letter"),
    ],
)
def test_no_currency(currency):
    given = {"value": 5, "currency": currency}
    _data, problems = build_custom_data("Purchase", given)
    assert [(problem.code, problem.fatal) for problem in problems] == [(2804010, True)]
    data, problems = build_custom_data("Lead", given)
    assert data == {}
    assert problems
    assert not any(problem.fatal for problem in problems)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("nan"), id="5: float"),
        pytest.param(Decimal("NaN"), id="5: Decimal"),
        pytest.param(Decimal("sNaN"), id="5: signalling"),
        pytest.param("nan", id="5: text"),
        pytest.param(float("inf"), id="6: inf"),
        pytest.param(float("-inf"), id="6: -inf"),
    ],
)
@pytest.mark.parametrize("name", ["Purchase", "Lead"])
def test_what_no_json_can_say_is_rejected(value, name):
    data, problems = build_custom_data(name, {"value": value, "currency": "EUR"})
    assert "value" not in data
    assert only(problems).fatal
    assert only(problems).code


def test_8_a_negative_purchase_is_rejected():
    _data, problems = build_custom_data("Purchase", {"value": -5, "currency": "EUR"})
    assert (only(problems).code, only(problems).fatal) == (2804009, True)


# R: the developer's mistake


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("12,50", id="10: comma"),
        pytest.param("1,234.50", id="11: thousands"),
        pytest.param("1.234,50", id="11: German thousands"),
        pytest.param("1_000", id="12: underscore"),
        pytest.param("١٢٣", id="13: decided, refused"),
        pytest.param(True, id="17: True"),
        pytest.param(Money(), id="20: Money"),
    ],
)
def test_an_amount_that_cannot_be_read_safely_is_a_mistake(value):
    _data, problems = build_custom_data("Purchase", {"value": value, "currency": "EUR"})
    assert (only(problems).mistake, only(problems).fatal) == (True, True)
    assert "value" not in _data


def test_10_the_message_names_the_locale():
    _data, problems = build_custom_data("Purchase", {"value": "12,50", "currency": "EUR"})
    assert "locale" in only(problems).rule


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("content_ids", "['a','b']", id="31: text of a list"),
        pytest.param("colours", (x for x in "ab"), id="35: generator"),
        pytest.param("colours", [(x for x in "ab")], id="35: nested generator"),
        pytest.param("content_ids", Site.objects.values_list("pk"), id="35: QuerySet of ids"),
        pytest.param("colours", Site.objects.all(), id="35: QuerySet"),
        pytest.param("colour", b"red", id="36: bytes"),
        pytest.param("colour", Money(), id="36: an object"),
        pytest.param("colour", CIRCULAR, id="38: circular dict"),
        pytest.param("contents", [CIRCULAR], id="38: circular item"),
    ],
)
def test_what_is_no_value_is_a_mistake_and_never_looked_into(key, value):
    data, problems = build_custom_data("Lead", {key: value})
    assert data == {}
    assert any(problem.mistake for problem in problems)


# D: left out


@pytest.mark.parametrize(
    "quantity",
    [
        pytest.param(0, id="33: none"),
        pytest.param(-1, id="33: negative"),
        pytest.param(1.5, id="33: decided, a fraction"),
    ],
)
def test_an_item_of_no_number_is_left_out(quantity):
    items = [{"id": "A", "quantity": quantity}, {"id": "B", "quantity": 1}]
    data, problems = build_custom_data("Lead", {"contents": items})
    assert data["contents"] == [{"id": "B", "quantity": 1}]
    assert (only(problems).field, only(problems).fatal) == ("contents.quantity", False)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("$price", id="37: $"),
        pytest.param("a.b", id="37: dot"),
        pytest.param("a" * 200, id="37: 200 characters"),
    ],
)
def test_a_key_that_is_none_is_left_out(key):
    data, problems = build_custom_data("Lead", {key: 1})
    assert data == {}
    assert not only(problems).fatal


# On the page


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("</script>", id="39: end of the script"),
        pytest.param("<!--", id="39: comment"),
        pytest.param("]]>", id="39: CDATA"),
        pytest.param("a\u2028b\u2029c\0d\ufeffe\u202ef", id="40: separators and controls"),
    ],
)
def test_a_text_is_inert_in_a_page_and_still_itself(text):
    data, _problems = build_custom_data("ViewContent", {"content_name": text})
    markup = payloads.declaration("ViewContent", data)
    assert not set("<>&\u2028\u2029\0\ufeff\u202e") & set(markup)
    assert json.loads(markup)["custom_data"] == data
    assert not set("<>\u2028\u2029") & set(payloads.script_safe(text))


# Event ids and names


def test_21_no_id_makes_one(shop):
    first, second = (track("Lead", ask()) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first.event_id)
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("", id="22: empty"),
        pytest.param("a b", id="22: a space"),
        pytest.param("x" * 300, id="22: 300 characters"),
        pytest.param("a\n", id="22: line end"),
        pytest.param("🙂", id="22: emoji"),
    ],
)
def test_an_id_of_other_characters_is_refused(given):
    with pytest.raises(EventError) as caught:
        check_event_id(given)
    assert caught.value.field == "event_id"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        pytest.param(0, "0", id="23: zero"),
        pytest.param(uuid.UUID(int=5), str(uuid.UUID(int=5)), id="24: UUID"),
    ],
)
def test_an_id_becomes_text(given, text):
    assert check_event_id(given) == text


@pytest.mark.parametrize(
    "key", [pytest.param(0, id="23: zero"), pytest.param(uuid.UUID(int=5), id="24: UUID")]
)
def test_a_key_of_any_kind_is_one(shop, key):
    first, second = (track("Lead", ask(), key=key) for _ in range(2))
    assert first
    assert first.event_id == second.event_id


def test_25_the_same_key_under_another_name_is_another_event(shop):
    track("Purchase", ask(), key=order(), **PAID)
    track("Lead", ask(), key=order(), **PAID)
    rows = list(OutboxEvent.objects.order_by("pk"))
    assert len({row.event_id for row in rows}) == 2
    assert _goes(rows) == rows


def test_26_the_same_fact_with_another_value_waits_for_the_first(shop):
    track("Purchase", ask(), key=order(), **PAID)
    track("Purchase", ask(), key=order(), **PAID | {"value": 99})
    first, second = OutboxEvent.objects.order_by("pk")
    assert first.event_id == second.event_id
    assert _goes([first, second]) == [first]
    assert told(first)[0]["custom_data"]["value"] == PAID["value"]


def _goes(rows):
    duplicates, waiting = claims.decide_keys(rows, using="default")
    return [row for row in rows if row not in [*duplicates, *waiting]]


def test_27_two_sites_may_share_the_number_of_an_order(shop):
    other = SiteFactory(hostname="other.example")
    PixelFactory(pixel_id="22222", settings=SettingsFactory(site=other), hosts="other.example")
    site_settings.clear()
    for site in (Site.objects.get(pk=shop.site_pk), other):
        assert track(
            "Purchase", key=order(), site=site, consent="granted", user_data=PERSON,
            action_source="system_generated", **PAID,
        )  # fmt: skip
    rows = list(OutboxEvent.objects.order_by("pk"))
    assert len({row.event_id for row in rows}) == 2
    assert _goes(rows) == rows


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("purchase", "'Purchase'", id="28: lower case"),
        pytest.param("<script>", "1 to 50", id="29: markup"),
        pytest.param("a" * 51, "1 to 50", id="29: 51 characters"),
        pytest.param("", "1 to 50", id="29: empty"),
    ],
)
def test_a_name_that_is_none_is_refused(name, hint):
    with pytest.raises(EventError) as caught:
        catalogue.check_event_name(name)
    assert hint in caught.value.rule


def test_30_a_name_of_one_s_own_is_a_custom_event():
    assert catalogue.check_event_name("My Event") == "My Event"
    assert not catalogue.is_standard("My Event")


# Times


@pytest.mark.parametrize(
    ("given", "seconds", "reported", "mistake"),
    [
        pytest.param(1_799_999_940_123, 1_799_999_940, True, True, id="71: milliseconds"),
        pytest.param("2027-01-15T07:59:00Z", 1_799_999_940, False, False, id="72: ISO with zone"),
        pytest.param("2027-01-15T07:59:00", 1_800_000_000, True, True, id="72: ISO without zone"),
        pytest.param(datetime(2027, 1, 15, 7, 59), 1_800_000_000, True, True, id="73: decided, naive is now"),  # noqa: DTZ001
        pytest.param(NOW + 5, 1_800_000_000, False, False, id="75: five seconds ahead"),
        pytest.param(NOW + 3600, 1_800_000_000, True, False, id="75: an hour ahead"),
        pytest.param(None, 1_800_000_000, False, False, id="76: None"),
    ],
)  # fmt: skip
def test_a_time_is_read_or_mended(given, seconds, reported, mistake):
    found, problems = check_event_time(given, now=NOW)
    assert found == seconds
    assert bool(problems) is reported
    assert any(problem.mistake for problem in problems) is mistake
    assert not any(problem.fatal for problem in problems)


@pytest.mark.parametrize(
    ("given", "source", "code"),
    [
        pytest.param(NOW - 8 * DAY, "website", 2804003, id="74: eight days"),
        pytest.param(NOW - 63 * DAY, "physical_store", 2804003, id="74: 63 days in a store"),
        pytest.param(NOW + 365 * DAY, "website", 2804004, id="75: a year ahead"),
        pytest.param(0, "website", 2804003, id="76: zero"),
        pytest.param(-1, "website", 2804003, id="76: minus one"),
        pytest.param("yesterday", "website", ..., id="76: a word"),
    ],
)
def test_a_time_meta_would_refuse_is_rejected(given, source, code):
    _found, problems = check_event_time(given, now=NOW, action_source=source)
    assert only(problems).fatal
    assert code is ... or only(problems).code == code


def test_74_a_store_may_be_late():
    assert check_event_time(NOW - 61 * DAY, now=NOW, action_source="physical_store")[1] == []


# All the way


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"currency": "€"}, id="2"),
        pytest.param({"value": float("nan")}, id="5"),
        pytest.param({"value": -5}, id="8"),
        pytest.param({"value": "12,50"}, id="10"),
        pytest.param({"contents": [{"quantity": 1}]}, id="items without id"),
        pytest.param({"event_time": datetime.now(UTC) - timedelta(days=8)}, id="74"),
    ],
)
def test_what_meta_would_refuse_is_stored_as_rejected(shop, wrong):
    tracked = track("Purchase", ask(), key=order(), **PAID | wrong)
    row = OutboxEvent.objects.get()
    assert not tracked
    assert tracked.reason
    assert (row.state, bytes(row.user_data)) == (State.REJECTED, b"{}")


@pytest.mark.parametrize("wrong", [{"value": "12,50"}, {"colour": b"red"}, {"content_ids": "A"}])
def test_a_mistake_raises_while_debugging_and_never_in_production(shop, wrong, settings):
    track("Purchase", ask(), **PAID | wrong)
    assert counted()
    settings.DEBUG = True
    with pytest.raises(EventError) as caught:
        track("Purchase", ask(), **PAID | wrong)
    assert caught.value.field in wrong


def test_a_model_is_no_value(shop):
    data, problems = build_custom_data("Lead", {"colour": Group(name="secret name")})
    assert data == {}
    assert "secret" not in only(problems).rule


def test_every_row_is_here():
    text = Path(__file__).read_text(encoding="utf-8")
    found = re.findall(r'\bid=f?"(\d+)(?=[:"])|def test_(\d+)_', text)
    assert {int(number or name) for number, name in found} == ROWS
