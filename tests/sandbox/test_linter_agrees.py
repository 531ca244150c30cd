"""Whatever the sandbox refuses, as Meta would, the linter calls an error.

Not the other way round: some errors are about what Meta's terms forbid, and Meta takes the event.
"""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.sandbox.samples import AGENT, FBP, digest
from wagtail_metapixel import match_keys, parameters
from wagtail_metapixel.linter import lint
from wagtail_metapixel.sandbox.graph_errors import GraphError
from wagtail_metapixel.sandbox.validation import check_event

NOW = 1_795_400_000
DAY = 86_400
EMAIL = digest("ada@example.com")
SOUND = {
    "event_name": "Purchase",
    "event_time": NOW - 60,
    "event_id": "id-1",
    "action_source": "website",
    "event_source_url": "https://shop.example/mug/",
    "user_data": {"em": [EMAIL], "fbp": FBP, "client_user_agent": AGENT},
    "custom_data": {
        "value": 12.5,
        "currency": "EUR",
        "contents": [{"id": "MUG", "quantity": 1}],
        "content_ids": ["MUG"],
        "content_type": "product",
    },
}
EXTINFO = ["a2", "", "", "", "14", *[""] * 11]
EXCEPTIONS = {
    "user_data is null": "so the outbox marks an event whose person it forgot; Meta had the data",
    "received_at": "stands beside an event to say when Meta got it, and is not sent",
    "nested too deep": "the sandbox's own limit, so that it can walk what it keeps; not Meta's",
}
"""What the sandbox refuses and the linter rightly does not mind."""


def changed(path, value):
    """The sound event with ``value`` at a path such as ``custom_data.value``."""
    event = copy.deepcopy(SOUND)
    *way, last = path.split(".")
    inside = event
    for key in way:
        inside = inside[0] if key == "0" else inside.setdefault(key, {})
    inside[last] = value
    return event


def refusal(event):
    try:
        check_event(event, "", NOW)
    except GraphError as error:
        return error
    return None


def errors(event):
    return [(found.code, found.field) for found in lint([event], now=NOW) if found.level == "error"]


def test_the_sound_event_is_taken_by_both():
    assert refusal(SOUND) is None
    assert lint([SOUND], now=NOW) == []


REFUSED = [
    ("value", 3, "event_key_unknown"),
    ("event_name", "", "event_name_missing"),
    ("event_name", 5, "event_name_missing"),
    ("event_name", "x" * 51, "event_name_too_long"),
    ("event_name", "purchase" + "_" * 50, "event_name_too_long"),
    ("event_time", None, "event_time_invalid"),
    ("event_time", "1795399940", "event_time_invalid"),
    ("event_time", float(NOW), "event_time_invalid"),
    ("event_time", NOW - 7 * DAY - 1, "sent_too_late"),
    ("event_time", NOW + 61, "event_time_future"),
    ("event_time", NOW * 1000, "event_time_milliseconds"),
    ("event_id", 17, "event_key_malformed"),
    ("action_source", None, "action_source_missing"),
    ("action_source", "", "action_source_missing"),
    ("action_source", "web", "action_source_unknown"),
    ("action_source", "app", "action_source_incomplete"),
    ("action_source", "business_messaging", "action_source_incomplete"),
    ("event_source_url", "", "event_source_url_invalid"),
    ("event_source_url", "www.x.de", "event_source_url_invalid"),
    ("event_source_url", 5, "event_source_url_invalid"),
    ("referrer_url", 5, "event_key_malformed"),
    ("opt_out", "true", "event_key_malformed"),
    ("app_data", "x", "event_key_malformed"),
    ("attribution_data", [], "event_key_malformed"),
    ("advanced_measurement_table", 5, "event_key_malformed"),
    ("messaging_channel", "telegram", "event_key_malformed"),
    ("customer_segmentation", "new", "event_key_malformed"),
    ("original_event_data", "x", "event_key_malformed"),
    ("original_event_data", {"event_time": "1"}, "event_key_malformed"),
    ("original_event_data", {"order_id": 1}, "event_key_malformed"),
    ("data_processing_options", ["ldu"], "event_key_malformed"),
    ("data_processing_options", "LDU", "event_key_malformed"),
    ("data_processing_options_country", 5, "event_key_malformed"),
    ("data_processing_options_country", True, "event_key_malformed"),
    ("data_processing_options_state", 5, "event_key_malformed"),
    ("custom_data", "x", "custom_data_malformed"),
    ("custom_data.value", None, "value_missing"),
    ("custom_data.value", -1, "purchase_value_negative"),
    ("custom_data.value", "1,50", "value_invalid"),
    ("custom_data.currency", None, "currency_missing"),
    ("custom_data.currency", "EURO", "currency_invalid"),
    ("custom_data.content_ids", "A", "content_ids_malformed"),
    ("custom_data.content_ids", [None], "content_ids_malformed"),
    ("custom_data.contents", {"id": "A"}, "contents_malformed"),
    ("custom_data.contents", ["A"], "contents_malformed"),
    ("custom_data.contents.0.id", None, "contents_malformed"),
    ("custom_data.contents.0.quantity", None, "contents_quantity_missing"),
    ("custom_data.contents.0.quantity", "1", "parameter_malformed"),
    ("custom_data.contents.0.item_price", "x", "parameter_malformed"),
    ("custom_data.contents.0.delivery_category", "x", "parameter_malformed"),
    ("custom_data.contents.0.title", 5, "parameter_malformed"),
    *(
        (f"custom_data.{name}", {}, "parameter_malformed")
        for name in parameters.PARAMETERS
        if name not in {"value", "currency", "content_ids", "contents"}
    ),
    ("custom_data.num_items", "2", "parameter_malformed"),
    ("user_data", "x", "user_data_malformed"),
    ("user_data", {}, "user_data_insufficient"),
    ("user_data", {"em": [None]}, "user_data_insufficient"),
    ("user_data", {"em": "ada@example.com"}, "user_data_insufficient"),
    ("user_data", {"foo": "x"}, "user_data_insufficient"),
    ("user_data", {"fbp": "x"}, "user_data_insufficient"),
    ("user_data", {"fbc": "fb.1.1795322685.x"}, "user_data_insufficient"),
    ("user_data", {"fbp": "fb.12.1795322685020.1"}, "user_data_insufficient"),
    ("user_data", {"client_ip_address": "x"}, "user_data_insufficient"),
    ("user_data", {"subscription_id": EMAIL}, "user_data_insufficient"),
    ("user_data", {"db": EMAIL, "client_user_agent": AGENT}, "user_data_insufficient"),
    ("user_data.lead_id", "12", "match_key_unreadable"),
    *((f"user_data.{key}", {}, "match_key_unreadable") for key in match_keys.USER_DATA),
    *(
        (f"user_data.{key}", [EMAIL], "match_key_unreadable")
        for key, known in match_keys.USER_DATA.items()
        if not known.many
    ),
]


@pytest.mark.parametrize(("path", "value", "code"), REFUSED)
def test_what_the_sandbox_refuses_is_an_error(path, value, code):
    event = changed(path, value)
    assert refusal(event) is not None
    assert code in {found for found, _field in errors(event)}


@pytest.mark.parametrize(
    "given",
    [
        {"event_name": "Lead", "custom_data": {"value": "", "currency": "EUR"}},
        {"event_name": "Lead", "custom_data": {"value": 1}},
        {"event_name": "Lead", "custom_data": {"currency": 5}},
        {"action_source": "app", "app_data": {"extinfo": EXTINFO[1:]}},
        {"action_source": "app", "app_data": {"extinfo": ["a1", *EXTINFO[1:]]}},
        {"action_source": "business_messaging", "messaging_channel": "messenger"},
        {"action_source": "business_messaging", "messaging_channel": "instagram"},
        {"action_source": "business_messaging", "messaging_channel": "whatsapp"},
        {"action_source": "physical_store", "event_time": NOW - 62 * DAY - 1},
    ],
)
def test_what_it_refuses_for_several_reasons_together_is_one_too(given):
    assert refusal(SOUND | given) is not None
    assert errors(SOUND | given)


@pytest.mark.parametrize(
    "given",
    [
        {"action_source": "app", "app_data": {"extinfo": EXTINFO}},
        {
            "action_source": "business_messaging",
            "messaging_channel": "whatsapp",
            "user_data": {"page_id": "17", "em": EMAIL},
        },
        {"data_processing_options": ["LDU"], "data_processing_options_state": 1000},
        {"original_event_data": {"event_name": "Purchase", "event_time": 1}},
        {"user_data": {"fbc": "fb.1.1795322685020.IwAR2F4"}},
        {"user_data": {"client_ip_address": "203.0.113.7", "lead_id": 123456789012345}},
        {"user_data": {"external_id": "user-17"}},
    ],
)
def test_what_it_takes_is_none(given):
    assert refusal(SOUND | given) is None
    assert errors(SOUND | given) == []


def test_exceptions_are_what_they_are_said_to_be():
    forgotten = SOUND | {"user_data": None}
    late = SOUND | {"received_at": NOW - 3600, "event_time": NOW - 3660}
    deep = changed("custom_data.plan", [[[[[[[[[[[[["x"]]]]]]]]]]]]])
    for event in (forgotten, late, deep):
        assert refusal(event) is not None
        assert errors(event) == []
    assert len(EXCEPTIONS) == 3


VALUES = st.recursive(
    st.sampled_from(
        [
            None, True, False, 0, 1, 17, -1, 1.5, 1e400, 10**400, "", " ", "x", "1", "-1", "12.50",
            "EUR", "LDU", "ada@example.com", EMAIL, EMAIL.upper(), f"{EMAIL}.Bg", FBP, f"{FBP}.Bg",
            "fb.1.1795322685.1", "fb.12.1795322685020.1", "fb.1.1795322685020.", "203.0.113.7",
            "203.0.113.7.Bg", "10.0.0.1, 10.0.0.2", "https://", "http://x", "//x", "https://[x",
            "https://:80/", "crm", "in_store", "whatsapp", "messenger", "app", "website",
            "business_messaging", "physical_store", "Purchase", "Lead", "123456789012345",
            NOW, NOW * 1000, NOW + 61, NOW - 7 * DAY - 1, 1013, 1014, "\u0131dr", "١٢",
        ]
    )
    | st.text(max_size=60)
    | st.integers()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "quantity", "item_price", "x"]), inner, max_size=4)
    ),
    max_leaves=5,
)  # fmt: skip
PATHS = [
    *SOUND, "referrer_url", "opt_out", "app_data", "attribution_data", "messaging_channel",
    "customer_segmentation", "original_event_data", "advanced_measurement_table",
    "data_processing_options", "data_processing_options_country", "data_processing_options_state",
    *(f"original_event_data.{key}" for key in ("event_name", "event_time", "event_id", "order_id")),
    "app_data.extinfo",
    *(f"custom_data.{name}" for name in parameters.PARAMETERS),
    *(f"custom_data.contents.0.{name}" for name in parameters.ITEM_PARAMETERS),
    *(f"user_data.{key}" for key in match_keys.USER_DATA),
]  # fmt: skip


def with_changes(changes, bare):
    event = copy.deepcopy(SOUND)
    if bare:  # what is changed in user_data stands alone there
        event["user_data"] = {}
    for path, value in changes:
        *way, last = path.split(".")
        inside = event
        for key in way:
            if key == "0":
                inside = inside[0] if isinstance(inside, list) and inside else {}
            else:
                inside = inside.setdefault(key, {}) if isinstance(inside, dict) else {}
        if isinstance(inside, dict):
            inside[last] = value
    return event


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["Purchase", "Lead", "MyOwn"]),
)
@example([("custom_data.value", -1)], False, "Purchase")
def test_whatever_the_sandbox_refuses_is_an_error(changes, bare, name):
    event = with_changes(changes, bare)
    event["event_name"] = name if event["event_name"] == "Purchase" else event["event_name"]
    if event["user_data"] is None:
        return  # an exception
    told = refusal(event)
    if told is not None and "nested too deep" not in json.dumps(vars(told), default=str):
        assert errors(event), told
