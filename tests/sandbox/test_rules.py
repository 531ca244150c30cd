"""The sandbox's own copy of Meta's facts, against the facts."""

from __future__ import annotations

from tests.sandbox.samples import FACTS
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.sandbox import rules


def test_every_standard_event_is_known_and_no_other():
    assert FACTS["events"].keys() == rules.STANDARD_EVENTS


def test_the_events_that_need_money_are_known():
    needing = {name for name, fact in FACTS["events"].items() if fact["needs_value_currency"]}
    assert needing == rules.VALUE_EVENTS


def test_every_key_of_an_event_is_known_and_no_other():
    keys = FACTS["server_event_keys"]
    top_level = {key for key in keys["required_website"] if "." not in key}
    assert {*keys["required"], *keys["optional"], *top_level} == rules.EVENT_KEYS
    assert list(rules.REQUIRED_EVENT_KEYS) == keys["required"]


def test_every_action_source_has_its_age():
    ages = {name: fact["max_age_days"] for name, fact in FACTS["action_source"].items()}
    assert ages == rules.ACTION_SOURCES


def test_every_match_key_is_hashed_and_listed_as_documented():
    facts = {
        key: (fact["hash"], fact["multi"], fact["type"]) for key, fact in FACTS["user_data"].items()
    }
    assert {key: tuple(fact) for key, fact in rules.MATCH_KEYS.items()} == facts


def test_the_combinations_that_are_too_broad_are_known():
    assert set(rules.TOO_BROAD) == {
        frozenset(keys) for keys in FACTS["invalid_user_data_combinations"]
    }


def test_every_standard_parameter_has_its_type():
    facts = FACTS["object_properties"]
    of_their_own = {"value", "currency", "content_ids", "contents"}
    assert {
        key: fact["type"] for key, fact in facts.items() if key not in of_their_own
    } == rules.CUSTOM_DATA_TYPES
    assert rules.CONTENT_TYPES.keys() == set(facts["contents"]["item_optional"])
    assert facts["contents"]["item_required"] == ["id", "quantity"]


def test_every_choice_is_known():
    facts = FACTS["object_properties"]
    choices = {key: set(fact["enum"]) for key, fact in facts.items() if "enum" in fact}
    choices["messaging_channel"] = set(FACTS["messaging_channels"])
    assert choices == rules.CHOICES


def test_the_limits_are_metas():
    limits = FACTS["limits"]
    assert limits["events_per_request"] == rules.MAX_EVENTS
    assert limits["max_event_age_seconds"] == 7 * rules.DAY
    assert limits["max_event_age_seconds_physical_store"] == 62 * rules.DAY
    assert limits["dedup_window_seconds"] == rules.DEDUPLICATION_WINDOW
    assert limits["browser_preferred_within_seconds"] == rules.BROWSER_PREFERRED_WITHIN
    assert limits["offline_dedup_window_seconds"] == rules.OFFLINE_DEDUPLICATION_WINDOW
    assert limits["custom_event_name_max_chars"] == rules.MAX_EVENT_NAME
    assert limits["partner_agent_max_chars_exclusive"] == rules.MAX_PARTNER_AGENT + 1
    assert limits["partner_agent_min_alpha"] == rules.MIN_PARTNER_AGENT_LETTERS
    assert limits["extinfo_items"] == rules.EXTINFO_ITEMS
    assert limits["future_event_tolerance_seconds"] is None, "published now: use it"


def test_the_places_of_limited_data_use_are_known():
    assert {str(state) for state in rules.LDU_STATES} == FACTS["ldu_states"].keys()


def test_every_currency_of_the_package_is_known():
    assert set(CURRENCIES) <= rules.CURRENCIES


def test_funds_and_what_was_withdrawn_of_late_is_known_but_no_metal_or_test_code():
    assert {"CLF", "USN", "BGN", "ANG"} <= rules.CURRENCIES
    assert not {"XAU", "XDR", "XTS", "XXX"} & rules.CURRENCIES
    assert all(len(code) == 3 and code.isupper() for code in rules.CURRENCIES)
