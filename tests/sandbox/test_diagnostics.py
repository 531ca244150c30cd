from __future__ import annotations

import pytest

from tests.sandbox.samples import AGENT, FBP, PIXEL, digest
from wagtail_metapixel.findings import TEXTS
from wagtail_metapixel.sandbox.diagnostics import (
    _DECIDED_BY_LINTER,
    CATALOGUE,
    copy_diagnostics,
    explain,
)
from wagtail_metapixel.sandbox.records import Copy
from wagtail_metapixel.sandbox.store import Store

FBC = "fb.1.1795322685020.IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB"


def a_copy(channel="server", **changes):
    fields = {
        "pixel": PIXEL,
        "event_name": "Contact",
        "event_id": "id-1",
        "received": 1_795_000_000.0,
        "event_time": 1_795_000_000,
        "event_source_url": "https://shop.example/mug/",
        "user_data": {"client_user_agent": AGENT, "fbp": FBP, "fbc": FBC},
    }
    return Copy(channel=channel, **(fields | changes))


def with_user_data(**user_data):
    return a_copy(user_data={"client_user_agent": AGENT, **user_data})


@pytest.mark.parametrize("channel", ["browser", "server"])
def test_a_sound_copy_has_none(channel):
    assert copy_diagnostics(a_copy(channel)) == []


MONEY = {"value": 1, "currency": "EUR", "content_ids": ["a"]}
FAULTY = [
    ("missing_event_id", a_copy(event_id="")),
    ("missing_event_id", a_copy("browser", event_id="")),
    ("event_id_in_custom_data", a_copy(custom_data={"event_id": "id-1"})),
    ("missing_event_source_url", a_copy(event_source_url="")),
    ("missing_client_user_agent", a_copy(user_data={"fbp": FBP})),
    ("invalid_client_ip_address", with_user_data(client_ip_address="203.0.113.7, 10.0.0.1")),
    ("private_client_ip_address", with_user_data(client_ip_address="192.168.1.2")),
    ("private_client_ip_address", with_user_data(client_ip_address="::1")),
    ("private_client_ip_address", with_user_data(client_ip_address="10.0.0.1.AQICAQMC")),
    ("invalid_fbp", with_user_data(fbp="fb.1.1795322685.1234567890")),
    ("invalid_fbp", with_user_data(fbp="1234567890")),
    ("invalid_fbc", with_user_data(fbc="IwAR2F4")),
    ("invalid_fbc", with_user_data(fbc="fb.1.1795322685.IwAR2F4")),
    ("unhashed", a_copy("browser", unhashed=("em",))),
    ("unhashed", with_user_data(fbp=FBP, subscription_id="ada@example.com")),
    ("empty_hash", with_user_data(em=[digest("")])),
    ("unknown_user_data", with_user_data(email="x")),
    ("invalid_value", a_copy("browser", custom_data={"value": "12 EUR", "currency": "EUR"})),
    ("invalid_value", a_copy("browser", custom_data={"value": -1, "currency": "EUR"})),
    ("invalid_value", a_copy(event_name="Purchase", custom_data={**MONEY, "value": None})),
    ("invalid_value", a_copy("browser", event_name="Purchase", custom_data={**MONEY, "value": -1})),
    ("invalid_currency", a_copy("browser", custom_data={"value": 1})),
    ("invalid_currency", a_copy("browser", custom_data={"currency": "EURO"})),
    ("missing_content", a_copy(event_name="ViewContent", custom_data={})),
    ("unknown_content_type", a_copy(custom_data={"content_type": "mug"})),
    ("name_case", a_copy(event_name="add_to_cart")),
    ("reserved_name", a_copy("browser", event_name="SubscribedButtonClick")),
    ("personal_url", a_copy(event_source_url="https://shop.example/?email=ada%40example.com")),
    ("personal_url", a_copy(referrer_url="https://shop.example/u/ada@example.com/")),
    ("personal_url", a_copy("browser", event_source_url="https://shop.example/?tel=48601234567")),
    ("personal_url", a_copy(referrer_url="https://shop.example/?q=4111111111111111")),
    ("secret_url", a_copy(event_source_url="https://shop.example/?access_token=x")),
    ("technical_url", a_copy(event_source_url="https://shop.example/admin/")),
    ("personal_parameter", a_copy("browser", custom_data={"note": "ada@example.com"})),
    ("personal_parameter", a_copy(custom_data={"phone": "1"})),
    ("personal_parameter", a_copy(custom_data={"note": "DE89370400440532013000"})),
    ("misspelled_parameter", a_copy(custom_data={"content_id": "a"})),
    ("late", a_copy(event_time=1_795_000_000 - 3601)),
    ("very_late", a_copy(event_time=1_795_000_000 - 86_401)),
    ("ldu_without_ip", a_copy(data_processing_options=("LDU", "0", "0"))),
]


@pytest.mark.parametrize(("code", "copy"), FAULTY)
def test_a_fault_is_named_and_nothing_else(code, copy):
    assert copy_diagnostics(copy) == [code]


@pytest.mark.parametrize(
    "copy",
    [
        with_user_data(client_ip_address="203.0.113.7"),
        with_user_data(client_ip_address="2001:db8::1.AQICAQMC"),
        with_user_data(fbp=f"{FBP}.AQICAQMC", fbc=f"{FBC}.Bg"),
        a_copy("browser", user_data={"client_ip_address": "127.0.0.1"}),
        a_copy(action_source="email", event_source_url="", user_data={"fbp": FBP}),
        a_copy(event_name="Purchase", custom_data=MONEY),
        a_copy(custom_data={"content_type": "hotel"}),
        a_copy(event_name="MyOwnEvent"),
        a_copy(event_source_url="https://ada@shop.example/?q=mug"),
        a_copy(event_source_url="https://[broken"),
        a_copy(data_processing_options=("LDU", "1", "1000")),
        a_copy("browser", event_time=None),
    ],
)
def test_what_meta_does_not_mind_is_not_named(copy):
    assert copy_diagnostics(copy) == []


def codes(*copies):
    store = Store()
    store.add(copies)
    return [found["code"] for event in store.events() for found in event["diagnostics"]]


def test_an_event_id_of_two_visitors_is_named():
    other = a_copy("browser", user_data={"fbp": FBP + "1"})
    assert codes(a_copy("browser"), other) == ["repeated_event_id"]


def test_an_event_id_of_two_pages_is_named():
    other = a_copy("browser", event_source_url="https://shop.example/cup/")
    assert codes(a_copy("browser"), other) == ["repeated_event_id"]


def test_a_reload_with_the_same_event_id_is_not_named():
    assert codes(a_copy("browser"), a_copy("browser"), a_copy()) == []


def test_a_match_without_an_event_id_is_named():
    found = codes(a_copy("browser", event_id=""), a_copy())
    assert found == ["matched_without_event_id", "missing_event_id"]


def test_copies_that_differ_are_named():
    assert codes(a_copy("browser"), a_copy(custom_data={"plan": "b"})) == ["copies_differ"]


def test_every_code_can_be_explained_and_is_tested():
    of_records = {"repeated_event_id", "matched_without_event_id", "copies_differ"}
    of_stores = {"counted_again", "identical_values"}  # see test_store
    assert {code for code, _ in FAULTY} | of_records | of_stores == CATALOGUE.keys()
    for code in CATALOGUE:
        assert explain(code, "server").keys() == {"code", "channel", "level", "title", "text"}
        assert explain(code, "server")["level"] in {"warning", "advice"}


def test_what_the_linter_decides_is_known_on_both_sides():
    assert _DECIDED_BY_LINTER.keys() < CATALOGUE.keys()
    decided = [name for names in _DECIDED_BY_LINTER.values() for name in names]
    assert set(decided) < TEXTS.keys()
    assert len(decided) == len(set(decided))


@pytest.mark.parametrize(
    "custom_data", [{"value": 1, "currency": "eur"}, {"value": "1.50"} | MONEY]
)
def test_money_that_meta_reads_is_not_named(custom_data):
    assert copy_diagnostics(a_copy(custom_data=custom_data)) == []


def test_events_of_a_shop_may_be_sent_together_days_later():
    shop = a_copy(action_source="physical_store", event_time=1_795_000_000 - 9 * 86_400)
    assert copy_diagnostics(shop) == []
