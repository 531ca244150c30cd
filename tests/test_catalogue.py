"""The catalogue against Meta's facts in ``tests/data``."""

from __future__ import annotations

import enum
import json
from pathlib import Path

import pytest

from wagtail_metapixel import catalogue, match_keys, parameters
from wagtail_metapixel.exceptions import EventError

META = json.loads(Path(__file__).with_name("data").joinpath("meta_events.json").read_text())


def test_the_eighteen_standard_events_are_known():
    assert list(catalogue.STANDARD_EVENTS) == sorted(META["events"], key=_order)
    assert len(catalogue.STANDARD_EVENTS) == 18


def _order(name):
    return (name != "PageView", name)


@pytest.mark.parametrize("event", catalogue.STANDARD_EVENTS.values(), ids=lambda event: event.name)
def test_an_event_lists_the_parameters_meta_documents(event):
    facts = META["events"][event.name]
    assert set(event.required) == set(facts["properties"]["required"])
    assert set(event.recommended) == set(facts["properties"]["recommended"])
    assert set(event.optional) == set(facts["properties"]["optional"])
    assert ["|".join(group) for group in event.catalogue_ads] == facts["catalog_ads"]
    assert event.description.endswith(".")
    listed = {*event.required, *event.recommended, *event.optional}
    assert listed <= set(parameters.PARAMETERS)


def test_page_events_are_six_and_action_events_the_rest():
    page = {name for name in catalogue.STANDARD_EVENTS if catalogue.is_page_event(name)}
    assert page == {
        "PageView", "ViewContent", "Search", "FindLocation", "Contact", "CustomizeProduct",
    }  # fmt: skip
    assert catalogue.is_page_event("Wishlist opened")
    assert not catalogue.is_page_event("Purchase")


def test_a_refund_is_an_event_of_ours_that_no_page_declares():
    assert catalogue.check_event_name("Refund") == "Refund"
    assert not catalogue.is_standard("Refund")
    assert not catalogue.is_page_event("Refund")
    assert "changes no number" in catalogue.REFUND.description
    assert set(catalogue.REFUND.parameters) <= set(parameters.PARAMETERS)
    assert not set(catalogue.CUSTOM_EVENTS) & set(catalogue.STANDARD_EVENTS)


KINDS = {
    "money": "number",
    "currency": "string",
    "ids": "array<string|int>",
    "contents": "array<object>",
    "type": "string",
    "choice": "string",
    "text": "string",
    "count": "integer",
    "flag": "boolean|string",
}


def test_parameters_are_those_meta_documents():
    assert set(parameters.PARAMETERS) == set(META["object_properties"])
    for name, facts in META["object_properties"].items():
        assert KINDS[parameters.PARAMETERS[name].kind] == facts["type"], name
        if "enum" in facts:
            assert parameters.PARAMETERS[name].choices == set(facts["enum"]), name
    types = META["object_properties"]["content_type"]
    assert (set(types["enum_documented"]) | set(types["enum_vertical"])) == parameters.CONTENT_TYPES


def test_every_parameter_says_what_it_is_and_what_it_has_to_be():
    for table in (parameters.PARAMETERS, parameters.ITEM_PARAMETERS):
        for parameter in table.values():
            assert parameter.meaning
            assert parameter.rule.startswith("has to be ")


def test_parameters_of_an_item_are_those_meta_documents():
    facts = META["object_properties"]["contents"]
    assert list(parameters.REQUIRED_OF_ITEM) == facts["item_required"]
    assert set(parameters.ITEM_PARAMETERS) == {*facts["item_required"], *facts["item_optional"]}


def test_the_only_parameter_that_no_browser_sees_is_the_net_revenue():
    hidden = {name for name, fact in parameters.PARAMETERS.items() if fact.server_only}
    assert hidden == parameters.SERVER_ONLY == {"net_revenue"}


def test_synonyms_lead_from_an_unknown_word_to_a_known_one():
    for synonyms, known in (
        (parameters.SYNONYMS, parameters.PARAMETERS),
        (parameters.ITEM_SYNONYMS, parameters.ITEM_PARAMETERS),
    ):
        assert set(synonyms.values()) <= set(known)
        assert not set(synonyms) & set(known)


def test_match_keys_are_those_meta_documents():
    assert set(match_keys.USER_DATA) == set(META["user_data"])
    for key, facts in META["user_data"].items():
        assert match_keys.USER_DATA[key].hashed == facts["hash"], key
        assert match_keys.USER_DATA[key].many == facts["multi"], key
        assert match_keys.USER_DATA[key].scope == facts["scope"], key


def test_readable_names_are_unique():
    names = [key.name for key in match_keys.USER_DATA.values()]
    assert len(set(names)) == len(names)


def test_combinations_meta_calls_too_broad_are_known():
    facts = {frozenset(keys) for keys in META["invalid_user_data_combinations"]}
    assert set(match_keys.INVALID_USER_DATA_SETS) == facts


def test_action_sources_have_meta_s_age_limits():
    facts = META["action_source"]
    assert list(catalogue.ACTION_SOURCES) == list(facts)
    for name, source in catalogue.ACTION_SOURCES.items():
        assert source.max_age == facts[name]["max_age_days"] * catalogue.DAY
    assert (
        list(catalogue.ACTION_SOURCES["website"].needs)
        == (META["server_event_keys"]["required_website"])
    )


@pytest.mark.parametrize("name", catalogue.ACTION_SOURCES)
def test_an_action_source_is_sent_or_refused_with_a_reason(name):
    source = catalogue.ACTION_SOURCES[name]
    problem = catalogue.action_source_problem(name)
    assert source.description.endswith(".")
    if name in {"app", "business_messaging"}:
        assert not source.supported
        assert (problem.field, problem.fatal, problem.mistake) == ("action_source", True, True)
        assert "not sent by this package" in problem.rule
    else:
        assert source.supported
        assert problem is None


@pytest.mark.parametrize("name", ["web", "Website", "", None, 7, ["website"]])
def test_an_unknown_action_source_is_answered_with_those_that_are_sent(name):
    problem = catalogue.action_source_problem(name)
    assert (problem.code, problem.fatal) == (2804019, True)
    assert "website" in problem.rule
    assert "business_messaging" not in problem.rule


def test_states_of_limited_data_use_are_meta_s_fourteen():
    names = {
        "CA": "California", "CO": "Colorado", "CT": "Connecticut", "FL": "Florida",
        "OR": "Oregon", "TX": "Texas", "MT": "Montana", "DE": "Delaware", "NE": "Nebraska",
        "NH": "New Hampshire", "NJ": "New Jersey", "MN": "Minnesota", "MD": "Maryland",
        "RI": "Rhode Island",
    }  # fmt: skip
    found = {str(number): names[state] for state, number in catalogue.LDU_STATES.items()}
    assert found | {"0": "geolocate"} == META["ldu_states"]
    assert len(catalogue.LDU_STATES) == 14


def test_event_keys_are_those_meta_does_not_refuse():
    facts = META["server_event_keys"]
    assert list(catalogue.REQUIRED_EVENT_KEYS) == facts["required"]
    website = {key for key in facts["required_website"] if "." not in key}
    assert {*facts["required"], *website, *facts["optional"]} == catalogue.EVENT_KEYS


def test_limits_are_meta_s_where_it_publishes_one():
    limits = META["limits"]
    assert limits["events_per_request"] == catalogue.MAX_EVENTS_PER_REQUEST
    assert limits["max_event_age_seconds"] == catalogue.MAX_AGE
    assert limits["max_event_age_seconds_physical_store"] == catalogue.MAX_AGE_PHYSICAL_STORE
    assert limits["dedup_window_seconds"] == catalogue.DEDUPLICATION_WINDOW
    assert limits["browser_preferred_within_seconds"] == catalogue.BROWSER_PREFERRED_WINDOW
    assert limits["custom_event_name_max_chars"] == catalogue.CUSTOM_NAME_MAX
    assert limits["partner_agent_max_chars_exclusive"] == catalogue.PARTNER_AGENT_MAX + 1
    assert limits["cookie_lifetime_seconds"] == catalogue.COOKIE_LIFETIME
    assert limits["partner_agent_min_alpha"] == catalogue.PARTNER_AGENT_MIN_LETTERS
    assert limits["offline_dedup_window_seconds"] == catalogue.OFFLINE_DEDUPLICATION_WINDOW


def test_limits_meta_publishes_none_of_are_called_ours():
    meta_s = {value for value in META["limits"].values() if isinstance(value, int)}
    assert {limit.amount for limit in catalogue.LIMITS if not limit.ours} <= meta_s
    assert all(limit.meaning for limit in catalogue.LIMITS)


class Choice(enum.StrEnum):
    PURCHASE = "Purchase"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param("Purchase", "Purchase", id="standard"),
        pytest.param("My Event", "My Event", id="row 30: custom"),
        pytest.param("Newsletter", "Newsletter", id="unlike any other"),
        pytest.param("Leads closed", "Leads closed", id="only begins alike"),
        pytest.param("Search result", "Search result", id="longer than its kin"),
        pytest.param("Unsubscribe", "Unsubscribe", id="the opposite"),
        pytest.param("Purchased", "Purchased", id="another form of the word"),
        pytest.param("StartTrial2", "StartTrial2", id="a second one"),
        pytest.param("Purchse", "Purchse", id="a slip is told, and costs no event"),
        pytest.param("a" * 50, "a" * 50, id="fifty characters"),
        pytest.param(Choice.PURCHASE, "Purchase", id="member of an enumeration"),
    ],
)
def test_event_names_that_are_accepted(given, name):
    checked = catalogue.check_event_name(given)
    assert checked == name
    assert type(checked) is str


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        pytest.param("purchase", "'Purchase'", id="row 28: lower case"),
        pytest.param("add_to_cart", "'AddToCart'", id="row 28: underscores"),
        pytest.param("Page View", "'PageView'", id="row 28: a space"),
        pytest.param("Add to cart", "'AddToCart'", id="row 28: words"),
        pytest.param("purchases", "'Purchase'", id="several"),
        pytest.param("Leads", "'Lead'", id="several"),
        pytest.param("refund", "'Refund'", id="ours, in lower case"),
        pytest.param("<script>", "1 to 50", id="row 29: markup"),
        pytest.param("a" * 51, "1 to 50", id="row 29: 51 characters"),
        pytest.param("", "1 to 50", id="row 29: empty"),
        pytest.param(" My Event", "1 to 50", id="outer space"),
        pytest.param("Zażółć", "1 to 50", id="not ASCII"),
        pytest.param("line\nbreak", "1 to 50", id="control character"),
        pytest.param("Microdata", "Meta's own", id="reserved"),
        pytest.param("microdata", "Meta's own", id="reserved, in lower case"),
        pytest.param("appendvalue", "Meta's own", id="reserved, in lower case"),
        pytest.param("subscribed_button_click", "Meta's own", id="reserved, with other marks"),
        pytest.param(7, "a text", id="no text"),
        pytest.param(None, "a text", id="nothing"),
    ],
)
def test_event_names_that_are_refused_with_a_hint(given, hint):
    with pytest.raises(EventError) as caught:
        catalogue.check_event_name(given)
    assert caught.value.field == "event_name"
    assert hint in caught.value.rule


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Purchse", "Purchase"),
        ("Purchsae", "Purchase"),
        ("AddToCrat", "AddToCart"),
        ("Purchased", "Purchase"),
        ("Subscribed", "Subscribe"),
        ("Refunded", "Refund"),
    ],
)
def test_a_name_that_is_like_one_of_meta_s_gets_a_hint_and_is_sent(name, meant):
    problem = catalogue.event_name_problem(catalogue.check_event_name(name))
    assert repr(meant) in problem.rule
    assert (problem.field, problem.fatal, problem.mistake) == ("event_name", False, False)
    assert name not in problem.rule.replace(meant, "")


@pytest.mark.parametrize(
    "name",
    [
        "Unsubscribe", "Unsubscribed", "Research", "StartTrial2", "AddToCartB", "Newsletter",
        "Leads closed", *catalogue.STANDARD_EVENTS, "Refund",
    ],
)  # fmt: skip
def test_a_name_with_a_meaning_of_its_own_gets_no_hint(name):
    assert catalogue.event_name_problem(catalogue.check_event_name(name)) is None


def test_options_are_keys_of_the_event():
    assert set(catalogue.EVENT_OPTIONS) <= catalogue.EVENT_KEYS


def test_standard_and_custom_names_are_told_apart():
    assert catalogue.is_standard("Lead")
    assert not catalogue.is_standard("My Event")


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        catalogue.STANDARD_EVENTS["Mine"] = None
    with pytest.raises(AttributeError):
        catalogue.STANDARD_EVENTS["Lead"].born = "browser"
