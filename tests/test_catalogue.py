"""The catalogue against Meta's facts in ``tests/data``."""

from __future__ import annotations

import enum
import json
from pathlib import Path

import pytest

from wagtail_metapixel import catalogue
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
    assert listed <= set(catalogue.PARAMETERS)


def test_page_events_are_six_and_action_events_the_rest():
    page = {name for name in catalogue.STANDARD_EVENTS if catalogue.is_page_event(name)}
    assert page == {
        "PageView", "ViewContent", "Search", "FindLocation", "Contact", "CustomizeProduct",
    }  # fmt: skip
    assert catalogue.is_page_event("Wishlist opened")
    assert not catalogue.is_page_event("Purchase")


def test_parameters_are_those_meta_documents():
    assert set(catalogue.PARAMETERS) == set(META["object_properties"])
    for name, facts in META["object_properties"].items():
        if "enum" in facts:
            assert catalogue.PARAMETERS[name].choices == set(facts["enum"]), name
    types = META["object_properties"]["content_type"]
    assert (set(types["enum_documented"]) | set(types["enum_vertical"])) == catalogue.CONTENT_TYPES


def test_match_keys_are_those_meta_documents():
    assert set(catalogue.USER_DATA) == set(META["user_data"])
    for key, facts in META["user_data"].items():
        assert catalogue.USER_DATA[key].hashed == facts["hash"], key
        assert catalogue.USER_DATA[key].many == facts["multi"], key


def test_readable_names_are_unique():
    names = [key.name for key in catalogue.USER_DATA.values()]
    assert len(set(names)) == len(names)


def test_combinations_meta_calls_too_broad_are_known():
    facts = {frozenset(keys) for keys in META["invalid_user_data_combinations"]}
    assert set(catalogue.INVALID_USER_DATA_SETS) == facts


def test_action_sources_have_meta_s_age_limits():
    facts = META["action_source"]
    assert list(catalogue.ACTION_SOURCES) == list(facts)
    for name, source in catalogue.ACTION_SOURCES.items():
        assert source.max_age == facts[name]["max_age_days"] * catalogue.DAY
    assert (
        list(catalogue.ACTION_SOURCES["website"].needs)
        == (META["server_event_keys"]["required_website"])
    )


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


def test_explained_errors_exist():
    facts = {(error["code"], error["subcode"]) for error in META["errors"]}
    assert set(catalogue.ERRORS) <= facts


def test_currencies_have_the_decimal_places_of_iso_4217():
    expected = {"EUR": 2, "USD": 2, "PLN": 2, "JPY": 0, "ISK": 0, "KWD": 3, "TND": 3, "CLF": 4}
    assert {code: catalogue.CURRENCIES[code] for code in expected} == expected
    assert not catalogue.CURRENCIES.keys() & {"XXX", "XTS", "XAU", "XDR", "DEM"}
    assert all(len(code) == 3 and code.isupper() for code in catalogue.CURRENCIES)


class Choice(enum.StrEnum):
    PURCHASE = "Purchase"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param("Purchase", "Purchase", id="standard"),
        pytest.param("My Event", "My Event", id="row 30: custom"),
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
        pytest.param("<script>", "1 to 50", id="row 29: markup"),
        pytest.param("a" * 51, "1 to 50", id="row 29: 51 characters"),
        pytest.param("", "1 to 50", id="row 29: empty"),
        pytest.param(" My Event", "1 to 50", id="outer space"),
        pytest.param("Zażółć", "1 to 50", id="not ASCII"),
        pytest.param("line\nbreak", "1 to 50", id="control character"),
        pytest.param("Microdata", "Meta's own", id="reserved"),
        pytest.param(7, "a text", id="no text"),
        pytest.param(None, "a text", id="nothing"),
    ],
)
def test_event_names_that_are_refused_with_a_hint(given, hint):
    with pytest.raises(EventError) as caught:
        catalogue.check_event_name(given)
    assert caught.value.field == "event_name"
    assert hint in caught.value.rule


def test_standard_and_custom_names_are_told_apart():
    assert catalogue.is_standard("Lead")
    assert not catalogue.is_standard("My Event")


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        catalogue.STANDARD_EVENTS["Mine"] = None
    with pytest.raises(AttributeError):
        catalogue.STANDARD_EVENTS["Lead"].born = "browser"
