"""What Meta would reject never leaves: whatever is given, the sandbox takes what we would send."""

from __future__ import annotations

import json
import pickle
import uuid
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wagtail_metapixel import catalogue, event_options, match_keys, matching, parameters, payloads
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.events import Event, check_event_time
from wagtail_metapixel.exceptions import EventError, RefusedError, TakenError
from wagtail_metapixel.sandbox.validation import check_request

NOW = 1_800_000_000.25
META = json.loads(Path(__file__).with_name("data").joinpath("meta_events.json").read_text())

NAMES = st.sampled_from([*catalogue.STANDARD_EVENTS, *catalogue.CUSTOM_EVENTS, "My Event"])
NUMBERS = (
    st.integers()
    | st.floats()
    | st.decimals()
    | st.integers(-3, 300)
    | st.decimals(-1, 10**6, places=3)
    | st.sampled_from(["12.30", "12,50", "nan", "1e400", "9" * 400, 1e308, 10**400, Decimal("1E+999999")])
)  # fmt: skip
WORDS = st.text(max_size=12) | st.sampled_from(
    ["", " ", "product", "hotel", "in_store", "crm", "\ud800", "\0", "a@b.example", "x" * 3000, "f",
     "Anna", "+48 601 234 567", "1990-02-03", "PL", "fb.1.1700000000000.123", "a" * 64, "203.0.113.9"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | NUMBERS | WORDS | st.binary(max_size=3) | st.uuids() | st.dates()
    | st.datetimes() | st.sampled_from([*CURRENCIES, "eur", "XXX", uuid.UUID(int=1), object()])
)  # fmt: skip
ITEMS = st.dictionaries(
    st.sampled_from([*parameters.ITEM_PARAMETERS, *parameters.ITEM_SYNONYMS, "x"]) | WORDS,
    SCALARS,
    max_size=5,
)
GOOD_ITEMS = st.fixed_dictionaries(
    {"id": st.uuids() | st.integers() | WORDS, "quantity": st.integers(0, 9)},
    optional={"item_price": NUMBERS, "x": SCALARS},
)
ANYTHING = SCALARS | st.recursive(
    SCALARS | ITEMS | GOOD_ITEMS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS, inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *parameters.PARAMETERS,
        *parameters.SYNONYMS,
        *sorted(catalogue.EVENT_KEYS),
        *sorted(event_options.NAMES),
        "email",
        "colour",
    ]
)
MONEY = st.fixed_dictionaries(
    {}, optional={"value": NUMBERS, "currency": st.sampled_from(["EUR", "jpy", "KWD", "", None])}
)
PARAMS = st.builds(
    lambda money, others: others | money, MONEY, st.dictionaries(KEYS | WORDS, ANYTHING, max_size=5)
)
READABLE = [key.name for key in match_keys.USER_DATA.values()]
PEOPLE = st.dictionaries(
    st.sampled_from([*match_keys.USER_DATA, *READABLE, "nonsense"]), ANYTHING, max_size=5
)
TIMES = st.none() | NUMBERS | WORDS | st.dates() | st.datetimes(timezones=st.just(UTC)) | st.floats(
    NOW - 70 * catalogue.DAY, NOW + 2 * catalogue.DAY
)  # fmt: skip
SOURCES = st.sampled_from([*catalogue.ACTION_SOURCES, "web"])
VISITOR = {"client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0"}


def built(name, params, person, time, source):
    """Build an event as ``track()`` does: the event, its ``user_data``, and the fatal problems."""
    options, params, odd = event_options.read(params)
    custom_data, wrong = build_custom_data(name, params)
    event_time, late = check_event_time(time, now=NOW, action_source=source)
    user_data, unmatched = matching.match(person)
    event = Event(
        event_name=catalogue.check_event_name(name),
        event_id="1",
        event_time=event_time,
        action_source=source,
        event_source_url="https://testserver/shoes/",
        referrer_url=options.referrer_url,
        custom_data=custom_data,
        options=options.wire,
    )
    problems = [*odd, *wrong, *late, *unmatched]
    return event, user_data, [problem for problem in problems if problem.fatal]


def sent(event, user_data):
    """Return the request as Meta reads it."""
    rows = [(payloads.server_event(event), payloads.dump(user_data))]
    return json.loads(payloads.request_body(rows, test_event_code="TEST12345"))


def judge(request):
    """Raise what Meta would answer with."""
    check_request(
        {key: value for key, value in request.items() if key != "data"}, request["data"], NOW
    )


@settings(max_examples=400, deadline=None)
@given(NAMES, PARAMS, PEOPLE, TIMES, SOURCES, st.booleans())
@example("Purchase", {"value": "1e400", "currency": "EUR"}, {}, None, "website", True)
@example("Lead", {"content_ids": [1], "content_type": "flight"}, {}, None, "website", True)
@example("Refund", {"value": -5, "currency": "eur"}, {}, None, "website", True)
@example("Lead", {}, {"lead_id": "123456789012345"}, None, "system_generated", False)
@example("Lead", {}, {"fn": "Anna", "ge": "f"}, None, "website", False)
@example("Lead", {}, {}, NOW + 3600, "website", True)
@example("Lead", {}, {}, date(2027, 1, 1), "website", True)
def test_whatever_is_given_the_sandbox_takes_what_we_would_send(
    name, params, person, time, source, has_visitor
):
    event, user_data, fatal = built(name, params, person, time, source)
    user_data |= VISITOR if has_visitor else {}
    if not fatal and matching.enough(user_data):
        judge(sent(event, user_data))


# As a shop has them: each parameter of its own kind, one now and then odd.
KIND = {
    "money": NUMBERS,
    "currency": st.sampled_from(["EUR", "jpy", "KWD"]),
    "ids": st.lists(WORDS | st.integers() | st.uuids(), max_size=4),
    "contents": st.lists(GOOD_ITEMS | ITEMS, max_size=3),
    "type": st.sampled_from(["product", "product_group", "hotel", "yacht"]),
    "choice": st.sampled_from(["in_store", "crm", "customer_in_loyalty_program"]),
    "text": WORDS,
    "count": st.integers(-1, 9) | NUMBERS,
    "flag": st.booleans() | WORDS,
}
SHOP = st.fixed_dictionaries(
    {"value": st.decimals(0, 10**6, places=3), "currency": KIND["currency"]},
    optional={
        name: KIND[fact.kind]
        for name, fact in parameters.PARAMETERS.items()
        if name not in ("value", "currency")
    }
    | {"colour": ANYTHING},
)


@settings(max_examples=300, deadline=None)
@given(NAMES, SHOP, PEOPLE, st.sampled_from(["website", "physical_store", "chat"]))
def test_an_event_of_a_shop_is_taken_or_found_wrong(name, params, person, source):
    event, user_data, fatal = built(name, params, person, NOW - 60, source)
    if not fatal:
        judge(sent(event, user_data | VISITOR))


@settings(max_examples=100, deadline=None)
@given(NAMES, PARAMS, PEOPLE, TIMES, SOURCES)
def test_what_is_wrong_is_told_in_words_and_numbers_of_meta_s(name, params, person, time, source):
    known = {error["subcode"] for error in META["errors"]}
    _custom_data, wrong = build_custom_data(name, params)
    for problem in [*wrong, *check_event_time(time, now=NOW)[1], *matching.match(person)[1]]:
        assert problem.rule
        assert problem.code in known


def test_the_judge_can_say_no():
    event, user_data, fatal = built("Purchase", {}, {}, None, "website")
    assert [problem.code for problem in fatal] == [2804010, 2804009]
    with pytest.raises(Exception, match="Invalid parameter"):
        judge(sent(event, user_data | VISITOR))


def test_a_good_purchase_is_taken_with_all_it_says():
    event, user_data, fatal = built(
        "Purchase",
        {"value": Decimal("12.30"), "currency": "EUR", "content_ids": ["A"], "net_revenue": -1},
        {"email": "anna@example.com"},
        NOW - 60,
        "website",
    )
    assert fatal == []
    request = sent(event, user_data | VISITOR)
    judge(request)
    assert request["data"][0]["custom_data"] == {
        "currency": "EUR", "value": 12.3, "content_ids": ["A"], "net_revenue": -1,
        "contents": [{"id": "A", "quantity": 1}], "content_type": "product",
    }  # fmt: skip
    keys = META["request_keys"]
    assert set(request) <= {*keys["required"], *keys["optional_documented"]}


@pytest.mark.parametrize("code", sorted(CURRENCIES))
def test_every_currency_of_ours_is_one_of_meta_s(code):
    event, user_data, fatal = built("Purchase", {"value": 1, "currency": code}, {}, None, "other")
    assert fatal == []
    judge(sent(event, user_data | VISITOR))


# What an error may hold


def test_an_error_survives_pickling_and_names_field_and_rule_only():
    error = EventError("currency", "has to be an ISO 4217 code")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is EventError
    assert (again.field, again.rule, str(again)) == (error.field, error.rule, str(error))
    assert repr(again) == "EventError('currency: has to be an ISO 4217 code')"


@pytest.mark.parametrize("kind", [RefusedError, TakenError])
@pytest.mark.parametrize(("fatal", "mistake"), [(True, False), (False, True)])
def test_a_refusal_survives_pickling_with_all_it_says(kind, fatal, mistake):
    again = pickle.loads(pickle.dumps(kind("has to be x", fatal=fatal, mistake=mistake)))
    assert type(again) is kind
    assert (again.rule, again.fatal, again.mistake) == ("has to be x", fatal, mistake)
    assert str(again) == "has to be x"


CANARY = "jane.canary@example.com"
SECRETS = st.sampled_from(
    [CANARY, f" {CANARY} ", [CANARY], {"a": CANARY}, CANARY.encode(), (CANARY,)]
)


@settings(max_examples=100, deadline=None)
@given(NAMES, st.dictionaries(KEYS, SECRETS, max_size=4), st.dictionaries(st.sampled_from(READABLE), SECRETS))  # fmt: skip
def test_no_problem_and_no_error_repeats_a_value(name, params, person):
    _options, params, odd = event_options.read(params)
    custom_data, wrong = build_custom_data(name, params)
    problems = [*odd, *wrong, *check_event_time(CANARY, now=NOW)[1], *matching.match(person)[1]]
    for problem in problems:
        error = EventError(problem.field, problem.rule)
        for text in (repr(problem), repr(error), str(error), repr(pickle.dumps(error))):
            assert "canary" not in text
    assert "canary" not in repr(custom_data).lower()


@pytest.mark.parametrize("name", [CANARY, f"Lead {CANARY}", CANARY * 9])
def test_a_refused_name_is_not_repeated(name):
    with pytest.raises(EventError) as caught:
        catalogue.check_event_name(name)
    assert "canary" not in repr(caught.value)
