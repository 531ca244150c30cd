from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel import findings, personal_data
from wagtail_metapixel.event_rules import FIELDS, FLAGS, FRESH_FOR, STALE_AFTER
from wagtail_metapixel.findings import LEVELS, SECTIONS, TEXTS
from wagtail_metapixel.linter import CROWD, EXAMPLES, MANY, Finding, Linter, faults, lint
from wagtail_metapixel.match_key_rules import EMPTY_HASH

PAGE = Path(__file__).resolve().parents[1] / "docs" / "linter.md"
NOW = 1_795_400_000
HOUR = 3600
DAY = 24 * HOUR
DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
FBP = "fb.1.1795322685020.526608478763752515"
FBC = "fb.1.1795322685020.IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB"
USER = {
    "em": [DIGEST],
    "fbp": FBP,
    "fbc": FBC,
    "client_user_agent": "Mozilla/5.0",
    "client_ip_address": "2001:db8::1",
}
CARD = "4111 1111 1111 1111"
IBAN = "DE89370400440532013000"
CUSTOM = {
    "value": 12.5,
    "currency": "EUR",
    "content_type": "product",
    "content_ids": ["MUG"],
    "contents": [{"id": "MUG", "quantity": 1}],
}
CONTEXT = {"hosts": ["shop.example"], "content_ids": ["MUG"], "now": NOW}


def event(**changes):
    """A sound Purchase. A change to None takes a key out, ``user`` and ``custom`` change inside."""
    user = _changed(USER, changes.pop("user", {}))
    custom = _changed(CUSTOM, changes.pop("custom", {}))
    sound = {
        "event_name": "Purchase",
        "event_time": NOW - 60,
        "event_id": "id-1",
        "action_source": "website",
        "event_source_url": "https://shop.example/mug/?utm_source=mail",
        "user_data": user,
        "custom_data": custom,
    }
    return _changed(sound, changes)


def _changed(sound, changes):
    return {key: value for key, value in (sound | changes).items() if value is not None}


def codes(events, **options):
    return [finding.code for finding in lint(events, **(CONTEXT | options))]


def found_in(subject):
    return set(codes([subject]))


def test_a_sound_event_has_no_finding():
    assert lint([event()], **CONTEXT) == []


# One event: (code, what is wrong)

BAD = [
    ("event_malformed", "no object"),
    ("event_malformed", None),
    ("event_key_unknown", event(value=3)),
    ("event_name_missing", event(event_name=None)),
    ("event_name_missing", event(event_name=" ")),
    ("event_name_near_miss", event(event_name="purchase")),
    ("event_name_near_miss", event(event_name="add_to_cart")),
    ("event_name_near_miss", event(event_name="Purchased")),
    ("event_name_near_miss", event(event_name="refund")),
    ("event_name_near_miss", event(event_name="Page Views")),
    ("event_name_reserved", event(event_name="Microdata")),
    ("event_name_reserved", event(event_name="microdata")),
    ("event_name_too_long", event(event_name="x" * 51)),
    ("event_name_invalid", event(event_name="größer")),
    ("event_id_missing", event(event_id=None)),
    ("event_id_missing", event(event_id="")),
    ("event_key_malformed", event(event_id=17)),
    ("event_key_malformed", event(opt_out="true")),
    ("event_key_malformed", event(referrer_url=5)),
    ("event_key_malformed", event(customer_segmentation="new")),
    ("event_key_malformed", event(data_processing_options=["ldu"])),
    ("event_key_malformed", event(data_processing_options_country=2)),
    ("event_key_malformed", event(data_processing_options_state=5)),
    ("event_key_malformed", event(original_event_data="x")),
    ("event_key_malformed", event(original_event_data={"event_time": "1795399940"})),
    ("action_source_incomplete", event(action_source="app")),
    ("action_source_incomplete", event(action_source="app", app_data={"extinfo": ["a2"]})),
    ("action_source_incomplete", event(action_source="business_messaging")),
    (
        "action_source_incomplete",
        event(action_source="business_messaging", messaging_channel="messenger"),
    ),
    ("event_id_malformed", event(event_id=" id-1")),
    ("event_id_malformed", event(event_id="x" * 65)),
    ("event_id_in_custom_data", event(custom={"event_id": "id-1"})),
    ("action_source_missing", event(action_source=None)),
    ("action_source_unknown", event(action_source="web")),
    ("action_source_unknown", event(action_source=["website"])),
    ("event_time_invalid", event(event_time=None)),
    ("event_time_invalid", event(event_time="1795399940")),
    ("event_time_invalid", event(event_time=-1)),
    ("event_time_invalid", event(event_time=True)),
    ("event_time_invalid", event(event_time=NOW - 60.0)),
    ("event_time_milliseconds", event(event_time=(NOW - 60) * 1000)),
    ("event_time_future", event(event_time=NOW + 61)),
    ("sent_late", event(event_time=NOW - HOUR - 1)),
    ("sent_very_late", event(event_time=NOW - DAY - 1)),
    ("sent_too_late", event(event_time=NOW - 7 * DAY - 1)),
    ("sent_too_late", event(event_time=NOW - 62 * DAY - 1, action_source="physical_store")),
    ("sent_very_late", event(received_at=NOW - 60 + DAY + 1)),
    ("event_source_url_missing", event(event_source_url=None)),
    ("event_source_url_invalid", event(event_source_url="/mug/")),
    ("event_source_url_invalid", event(event_source_url="www.shop.example")),
    ("event_source_url_invalid", event(event_source_url="")),
    ("event_source_url_invalid", event(event_source_url="javascript:void")),
    ("event_source_url_invalid", event(event_source_url="https://[broken")),
    ("event_source_url_invalid", event(event_source_url=["https://shop.example/"])),
    ("event_source_url_host", event(event_source_url="https://staging.example/mug/")),
    ("event_source_url_technical", event(event_source_url="https://shop.example/admin/login/")),
    ("event_source_url_technical", event(event_source_url="https://shop.example/?wc-ajax=add")),
    (
        "event_source_url_technical",
        event(event_name="AddToCart", event_source_url="https://shop.example/checkout/payment/"),
    ),
    ("url_email", event(event_source_url="https://shop.example/?e=ada%40example.com")),
    ("url_email", event(event_source_url="https://shop.example/?e=ada%2540example.com")),
    ("url_email", event(referrer_url="https://shop.example/u/ada@example.com/")),
    ("url_phone", event(event_source_url="https://shop.example/?tel=48601234567")),
    ("url_phone", event(event_source_url="https://shop.example/?q=%2B48%20601%20234%20567")),
    ("url_phone", event(event_source_url="https://shop.example/call/+48601234567/")),
    ("url_phone", event(event_source_url="https://shop.example/call/%252B48601234567/")),
    ("url_account_number", event(event_source_url=f"https://shop.example/?q={IBAN}")),
    ("url_account_number", event(referrer_url=f"https://shop.example/pay/{CARD}/")),
    ("url_secret", event(event_source_url="https://shop.example/?access_token=x1")),
    ("url_secret", event(event_source_url="https://shop.example/reset/MTIz/abc-def/")),
    ("url_secret", event(event_source_url="https://shop.example/set-password/abc/")),
    ("url_secret", event(event_source_url="https://shop.example/d/Ab_x-9Qz-LmT_4kVwP2-Rj/")),
    ("url_secret", event(referrer_url="https://ada:pw@shop.example/")),
    ("value_missing", event(custom={"value": None})),
    ("value_missing", event(custom={"value": ""})),
    ("value_invalid", event(custom={"value": "12,50 EUR"})),
    ("value_invalid", event(custom={"value": True})),
    ("value_invalid", event(custom={"value": float("inf")})),
    ("value_invalid", event(event_name="Lead", custom={"value": "", "currency": None})),
    ("value_negative", event(event_name="Lead", custom={"value": -1})),
    ("purchase_value_negative", event(custom={"value": -1})),
    ("purchase_value_negative", event(custom={"value": "-1.50"})),
    ("value_without_currency", event(event_name="Lead", custom={"currency": None})),
    ("currency_missing", event(custom={"currency": None})),
    ("currency_invalid", event(custom={"currency": "EURO"})),
    ("currency_invalid", event(custom={"currency": "€"})),
    ("currency_invalid", event(custom={"currency": "\u0131dr"})),
    ("currency_invalid", event(custom={"currency": 978})),
    ("currency_without_value", event(event_name="Lead", custom={"value": None})),
    ("custom_data_malformed", event(event_name="Lead", custom_data=[])),
    ("content_missing", event(custom={"contents": None, "content_ids": []})),
    ("content_type_missing", event(custom={"content_type": None})),
    ("content_type_unknown", event(custom={"content_type": "mug"})),
    ("contents_malformed", event(custom={"contents": [{"quantity": 1}]})),
    ("contents_malformed", event(custom={"contents": [{"id": " ", "quantity": 1}]})),
    ("contents_quantity_missing", event(custom={"contents": [{"id": "MUG"}]})),
    ("contents_quantity_missing", event(custom={"contents": [{"id": "MUG", "quantity": None}]})),
    *(
        ("parameter_malformed", event(custom={"contents": [{"id": "MUG", "quantity": 1} | item]}))
        for item in ({"quantity": "1"}, {"item_price": "x"}, {"delivery_category": "x"})
    ),
    *(
        ("parameter_malformed", event(custom=parameter))
        for parameter in (
            {"num_items": "2"},
            {"num_items": True},
            {"net_revenue": "x"},
            {"predicted_ltv": "x"},
            {"status": 5},
            {"delivery_category": "drone"},
            {"customer_segmentation": "new"},
            {"event_source": "shop"},
            {"content_name": 5},
            {"order_id": 17},
            {"content_type": 5},
        )
    ),
    ("contents_malformed", event(custom={"contents": {"id": "MUG"}})),
    ("content_ids_malformed", event(custom={"content_ids": "MUG"})),
    ("content_ids_malformed", event(custom={"content_ids": ["MUG", None]})),
    ("content_id_unknown", event(custom={"content_ids": ["MUG", "CUP"]})),
    ("content_id_unknown", event(custom={"contents": [{"id": "CUP", "quantity": 1}]})),
    ("parameter_near_miss", event(custom={"content_id": "MUG"})),
    ("parameter_near_miss", event(custom={"Value": 3})),
    ("parameter_email", event(custom={"note": "from ada@example.com"})),
    ("parameter_email", event(custom={"notes": {"a": ["ada@example.com"]}})),
    ("parameter_phone", event(custom={"note": "call +48 601 234 567"})),
    ("parameter_phone", event(custom={"note": "(650) 555-1212"})),
    ("parameter_account_number", event(custom={"note": f"paid with {CARD}"})),
    ("parameter_account_number", event(custom={"note": int(CARD.replace(" ", ""))})),
    ("parameter_account_number", event(custom={"notes": [IBAN]})),
    ("parameter_phone", event(custom={"tel": "0601 234 567"})),
    ("parameter_phone", event(custom={"mobile": 48601234567})),
    ("parameter_personal_name", event(custom={"customer_name": "x"})),
    ("parameter_personal_name", event(custom={"newsletter_email": "x"})),
    ("parameter_personal_name", event(custom={"contact_email": "x"})),
    ("parameter_personal_name", event(custom={"contactPhoneNumber": "x"})),
    ("parameter_personal_name", event(custom={"first_name": "x"})),
    ("parameter_personal_name", event(custom={"E-Mail": "x"})),
    ("user_data_malformed", event(user_data="none")),
    ("user_data_insufficient", event(user_data={"client_user_agent": "Mozilla/5.0"})),
    *(
        ("user_data_insufficient", event(action_source="email", user_data=user))
        for user in (
            {"external_id": []},
            {"subscription_id": DIGEST},
            {"client_user_agent": "Mozilla/5.0", "db": DIGEST},
        )
    ),
    *(
        ("match_key_unreadable", event(user=user))
        for user in (
            {"em": [{"a": 1}]},
            {"external_id": True},
            {"external_id": 17},
            {"fbc": ["x"]},
            {"client_ip_address": 7},
            {"client_user_agent": 7},
            {"lead_id": "12"},
            {"lead_id": 12},
            {"fb_login_id": "x"},
            {"f5first": [DIGEST]},
        )
    ),
    ("match_key_personal", event(user={"subscription_id": "ada@example.com"})),
    ("match_key_personal", event(user={"anon_id": "+48 601 234 567"})),
    *(
        ("user_agent_server", event(user={"client_user_agent": agent}))
        for agent in (
            "python-requests/2.32",
            "curl/8.5.0",
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Go-http-client/2.0",
            "GuzzleHttp/7",
            "Java/17.0.1",
        )
    ),
    ("match_key_unknown", event(user={"email": DIGEST})),
    ("match_key_blank", event(user={"ph": ""})),
    ("match_key_blank", event(user={"ph": []})),
    ("match_key_blank", event(user={"external_id": [" "]})),
    ("match_key_unhashed", event(user={"em": ["ada@example.com"]})),
    ("match_key_unhashed", event(user={"ph": "48601234567"})),
    ("match_key_unhashed", event(user={"fn": "ada"})),
    ("match_key_unhashed", event(user={"external_id": "ada@example.com"})),
    ("match_key_foreign_digest", event(user={"em": "0cc175b9c0f1b6a831c399e269772661"})),
    ("match_key_malformed", event(user={"em": DIGEST.upper()})),
    ("match_key_malformed", event(user={"em": DIGEST[:-1]})),
    ("match_key_empty_hash", event(user={"em": [EMPTY_HASH]})),
    ("match_key_empty_hash", event(user={"external_id": EMPTY_HASH})),
    ("user_agent_missing", event(user={"client_user_agent": None})),
    ("user_agent_invalid", event(user={"client_user_agent": " "})),
    ("user_agent_invalid", event(user={"client_user_agent": DIGEST})),
    ("fbp_invalid", event(user={"fbp": "GA1.2.3"})),
    ("fbp_invalid", event(user={"fbp": "fb.1.17953226.1"})),
    ("fbc_invalid", event(user={"fbc": "IwAR2F4"})),
    ("fbp_seconds", event(user={"fbp": "fb.1.1795322685.12345"})),
    ("fbc_seconds", event(user={"fbc": "fb.1.1795322685.IwAR2F4"})),
    ("fbp_future", event(user={"fbp": f"fb.1.{(NOW + DAY + 1) * 1000}.12345"})),
    ("fbc_future", event(user={"fbc": f"fb.1.{(NOW + DAY + 1) * 1000}.IwAR2F4"})),
    ("ip_invalid", event(user={"client_ip_address": "203.0.113.7, 10.0.0.1"})),
    ("ip_invalid", event(user={"client_ip_address": DIGEST})),
    ("ip_private", event(user={"client_ip_address": "10.0.0.1"})),
    ("ip_private", event(user={"client_ip_address": "::1"})),
    ("ip_private", event(user={"client_ip_address": "192.168.1.2.AQICAQMC"})),
]
FOLLOWS = {
    "user_data_malformed": {"user_data_insufficient", "user_agent_missing"},
    "user_data_insufficient": {"match_key_blank"},
    "parameter_phone": {"parameter_personal_name"},
    "action_source_incomplete": {"event_source_url_missing"},
}


@pytest.mark.parametrize(("code", "bad"), BAD)
def test_a_fault_is_named_and_nothing_else(code, bad):
    assert found_in(bad) - FOLLOWS.get(code, set()) == {code}


@pytest.mark.parametrize(
    "good",
    [
        event(event_name="My Own-Event_2"),
        event(event_name="Contact", custom_data=None),
        event(event_id="x" * 64),
        event(event_time=NOW),
        event(event_time=NOW + 60),
        event(event_time=NOW - HOUR),
        event(event_time=NOW - 40 * DAY, action_source="physical_store"),
        event(event_time=NOW - 9 * DAY, received_at=NOW - 9 * DAY + 5),
        event(action_source="email", event_source_url=None, user={"client_user_agent": None}),
        event(event_source_url="http://shop.example:8443/größe/"),
        event(event_source_url="https://ada@shop.example/?q=mug"),
        event(event_source_url="https://shop.example/administration/?q=1234567890"),
        event(event_source_url="https://shop.example/?code=SUMMER&q=mug+1234567"),
        event(event_source_url="https://shop.example/reset/"),
        event(event_name="AddPaymentInfo", event_source_url="https://shop.example/payment/"),
        event(event_name="PageView", event_source_url="https://shop.example/payment/"),
        event(event_name="InitiateCheckout", event_source_url="https://shop.example/payment/"),
        event(event_source_url="https://shop.example/checkout/payment/"),
        event(event_source_url="https://shop.example/wedding/invitation/rustic-kraft/"),
        event(event_source_url="https://shop.example/software/activation/office-2021/"),
        event(custom={"newsletter_email": False, "has_email": True, "send_email": False}),
        event(referrer_url="https://www.facebook.com/?fbclid=IwAR2F4"),
        event(event_source_url="https://shop.example/invitation-cards/wedding/"),
        event(event_source_url="https://shop.example/magic-the-gathering/cards/black-lotus/"),
        event(event_source_url="https://shop.example/p/iPhone15ProMax256GBBlackTitanium/"),
        event(event_source_url="https://shop.example/p/mug@2x.png"),
        event(event_source_url="https://shop.example/?q=4111+1111+1111+1112"),
        event(custom={"content_name": "mug@2x.png", "product_name": "x", "mobile_app": "x"}),
        event(custom={"order_id": "4111111111111111", "note": "DE89370400440532013001"}),
        event(event_name="Unsubscribe"),
        event(user={"client_user_agent": "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80; U; en)"}),
        event(user={"client_user_agent": "Nodebrowser 1"}),
        event(data_processing_options=["LDU"], data_processing_options_state=1013),
        event(data_processing_options=[], customer_segmentation="new_customer_to_business"),
        event(custom={"value": 0}),
        event(custom={"value": "142.52", "currency": "usd"}),
        event(custom={"value": 1, "currency": "KWD"}),
        event(custom={"content_ids": None}),
        event(custom={"contents": None, "content_ids": ["MUG"]}),
        event(event_name="Lead", custom_data={}),
        event(custom={"content_type": "hotel", "city": "Paris", "country": "FR", "zip": "75001"}),
        event(custom={"order_id": "48601234567", "item_number": "2026-11-22T10:00:00+01:00"}),
        event(custom={"plan": "a @ b", "flag": True, "parts": [1, {"x": None}]}),
        event(user={"em": [DIGEST, f"{DIGEST}.AQICAQMC"], "ph": f"{DIGEST}.Bg"}),
        event(user={"external_id": ["user-17", "17"]}),
        event(user={"fbp": f"{FBP}.AQICAQMC", "fbc": f"{FBC}.Bg"}),
        event(user={"fbp": "fb.2.1795322685020.1", "fbc": None}),
        event(user={"client_ip_address": "203.0.113.7"}),
        event(user={"client_ip_address": "2001:db8::1.AQICAQMC"}),
        event(user={"client_ip_address": None, "lead_id": 123456789012345}),
    ],
)
def test_what_meta_does_not_mind_is_not_named(good):
    assert found_in(good) == set()


def test_without_hosts_and_a_list_of_ids_nobody_asks_for_them():
    other = event(event_source_url="https://other.example/", custom={"content_ids": ["CUP"]})
    assert lint([other], now=NOW) == []


def test_hosts_may_have_capitals_and_a_port():
    assert codes([event()], hosts=["Shop.Example:443"]) == []


def test_an_emptied_person_is_no_fault_and_an_absent_one_is():
    assert lint([{**event(), "user_data": None}], **CONTEXT) == []
    assert "user_data_insufficient" in found_in(event(user_data={}))


def test_many_events_with_one_fault_are_one_finding_with_a_few_ids():
    many = [event(event_name="Lead", event_id=f"id-{n}", custom={"value": -n}) for n in range(1, 9)]
    (finding,) = lint(many, **CONTEXT)
    assert finding == Finding(
        code="value_negative",
        level="warning",
        event_name="Lead",
        field="custom_data.value",
        message=TEXTS["value_negative"].message,
        remedy=TEXTS["value_negative"].remedy,
        event_ids=tuple(f"id-{n}" for n in range(1, 1 + EXAMPLES)),
        occurrences=8,
    )


def test_the_worst_stands_first():
    several = event(event_time=NOW - 2 * HOUR, custom={"value": None}, user={"ph": ""})
    assert codes([several]) == ["value_missing", "match_key_blank", "sent_late"]


def test_a_field_is_named_by_its_path():
    found = lint([event(custom={"note": "ada@example.com"}, user={"ln": "x"}, test=1)], **CONTEXT)
    fields = {finding.code: finding.field for finding in found}
    assert fields == {
        "parameter_email": "custom_data.note",
        "match_key_unhashed": "user_data.ln",
        "event_key_unknown": "test",
    }


# Many events


def purchases(count, **changes):
    return [
        event(event_id=f"id-{n}", custom={"value": 10 + n, "currency": ["EUR", "PLN"][n % 2]})
        | {key: change(n) for key, change in changes.items()}
        for n in range(count)
    ]


def test_different_purchases_have_no_finding():
    assert codes(purchases(30)) == []


def test_one_id_for_different_events_is_named():
    pages = [event(), event(event_source_url="https://shop.example/cup/")]
    carts = [event(), event(custom={"value": 13})]
    people = [event(), event(user={"fbp": f"{FBP[:-1]}9"})]
    for pair in (pages, carts, people):
        assert codes(pair) == ["event_id_repeated"]
        assert lint(pair, **CONTEXT)[0].event_ids == ("id-1",)


def test_a_repetition_and_another_name_are_no_repeated_id():
    assert codes([event(), event(event_time=NOW - 30)]) == []
    assert codes([event(), event(event_name="Subscribe")]) == []


def test_one_id_across_many_names_is_named():
    names = ["PageView", "ViewContent", "AddToCart", "InitiateCheckout", "Purchase"]
    assert codes([event(event_name=name) for name in names]) == ["event_id_constant"]
    assert codes([event(event_name=name) for name in names[: MANY - 1]]) == []


def test_one_event_that_was_tried_again_and_again_has_no_constant_id():
    assert codes([event()] * (3 * MANY)) == []
    names = ["PageView", "ViewContent", "AddToCart", "InitiateCheckout", "Purchase", "Subscribe"]
    (finding,) = lint([event(event_name=name) for name in names * 3], **CONTEXT)
    assert (finding.code, finding.occurrences) == ("event_id_constant", len(names))


def test_one_value_for_all_purchases_is_named():
    same = purchases(MANY, custom_data=lambda n: CUSTOM | {"currency": ["EUR", "PLN"][n % 2]})
    assert codes(same) == ["value_constant"]
    assert codes(same[1:]) == []
    assert codes([*same, *purchases(1, event_id=lambda n: "another")]) == []


def test_one_currency_for_all_purchases_is_advice():
    same = purchases(MANY, custom_data=lambda n: CUSTOM | {"value": n})
    (finding,) = lint(same, **CONTEXT)
    assert (finding.code, finding.level) == ("currency_constant", "advice")
    assert (finding.event_name, finding.occurrences) == ("Purchase", MANY)
    assert codes(same[1:]) == []


def test_events_that_never_have_a_value_are_advised_to():
    def carts(count, **custom):
        return [event(event_name="AddToCart", event_id=f"{n}", custom=custom) for n in range(count)]

    bare = carts(MANY, value=None, currency=None)
    assert codes(bare) == ["value_recommended"]
    assert codes(bare[1:]) == []
    assert "value_recommended" not in codes([*bare, *carts(1)])


def one_address(count, *, people):
    return purchases(
        count, user_data=lambda n: USER | {"fbp": f"fb.1.1795322685020.{n % people + 1}"}
    )


def test_one_address_for_many_people_is_named():
    (finding,) = lint(one_address(CROWD, people=CROWD), **CONTEXT)
    assert (finding.code, finding.occurrences) == ("ip_shared", CROWD)
    assert len(finding.event_ids) == EXAMPLES


def test_one_address_of_one_person_or_a_small_part_is_not():
    assert codes(one_address(50, people=CROWD - 1)) == []
    others = purchases(
        CROWD * 10,
        event_id=lambda n: f"other-{n}",
        user_data=lambda n: USER | {"client_ip_address": f"2001:db8::{n + 2:x}"},
    )
    assert codes([*one_address(CROWD, people=CROWD), *others]) == []


def test_a_crowded_address_is_found_among_any_number_of_others():
    # After a while every fourth event comes from the server's address, others from one each.
    def user_data(n):
        address = "2001:db8::1" if n > 400 and n % 4 == 0 else f"2001:db8:1::{n:x}"
        return USER | {"client_ip_address": address, "fbp": f"fb.1.1795322685020.{n + 1}"}

    linter = Linter(now=NOW)
    for one in purchases(1500, user_data=user_data):
        linter.read(one)
    assert [finding.code for finding in linter.findings()] == ["ip_shared"]
    assert len(linter._addresses._places) <= 100


def test_only_ipv4_is_advice():
    old = purchases(MANY, user_data=lambda n: USER | {"client_ip_address": f"203.0.113.{n}"})
    assert codes(old) == ["ipv4_only"]
    assert codes([*old, event(event_id="new")]) == []
    assert codes(old[1:]) == []


# Both sides


def copy(**changes):
    """The browser's copy of ``event()``."""
    custom = _changed(CUSTOM, changes.pop("custom", {}))
    made = {"event_name": "Purchase", "event_id": "id-1", "custom_data": custom}
    return _changed(made | {"user_data": {"fbp": FBP, "fbc": FBC}}, changes)


def test_equal_halves_have_no_finding():
    assert codes([event()], browser_events=[copy()]) == []
    assert codes([event()], browser_events=[copy(custom={"value": "12.50"}, user_data={})]) == []
    deep = event(
        custom={"order_id": "A", "num_items": 2, "net_revenue": 3, "content_ids": ["a", "b"]}
    )
    other = copy(
        custom={"order_id": "A", "num_items": 2, "currency": "eur", "content_ids": ["b", "a"]}
    )
    assert codes([deep], browser_events=[other], content_ids=None) == []


def test_an_id_and_its_hash_are_one_person():
    hashed = hashlib.sha256(b"user-17").hexdigest()
    one, other = event(user={"external_id": ["user-17"]}), copy(user_data={"external_id": hashed})
    assert codes([one], browser_events=[other]) == []
    another = copy(user_data={"external_id": hashed[::-1]})
    (finding,) = lint([one], browser_events=[another], now=NOW)
    assert (finding.code, finding.field) == ("halves_differ", "user_data.external_id")


@pytest.mark.parametrize(
    ("browser", "field"),
    [
        (copy(custom={"value": 12}), "custom_data.value"),
        (copy(custom={"currency": "PLN"}), "custom_data.currency"),
        (copy(custom={"content_ids": ["CUP"]}), "custom_data.content_ids"),
        (copy(custom={"contents": [{"id": "MUG", "quantity": 2}]}), "custom_data.contents"),
        (copy(custom={"num_items": 2}), "custom_data.num_items"),
        (copy(custom={"order_id": "17"}), "custom_data.order_id"),
        (copy(custom={"note": True}), "custom_data.note"),
        (copy(user_data={"fbp": f"{FBP}1"}), "user_data.fbp"),
        (copy(user_data={"fbc": FBC.lower()}), "user_data.fbc"),
    ],
)
def test_halves_that_differ_are_named(browser, field):
    (finding,) = lint([event()], browser_events=[browser], now=NOW)
    assert (finding.code, finding.field) == ("halves_differ", field)
    assert finding.event_ids == ("id-1",)


def test_a_value_on_one_side_only_is_a_difference():
    lead, other = event(event_name="Lead"), copy(event_name="Lead", custom_data={})
    found = lint([lead], browser_events=[other], now=NOW)
    assert {finding.field for finding in found} == {
        f"custom_data.{name}"
        for name in ("value", "currency", "content_type", "content_ids", "contents")
    }


def test_one_id_under_two_names_is_named():
    found = codes([event()], browser_events=[copy(event_name="Subscribe")])
    assert found == ["halves_names_differ", "halves_server_missing"]


def test_halves_that_never_meet_are_named():
    found = lint([event()], browser_events=[copy(event_id="id-2")], now=NOW)
    assert [(finding.code, finding.event_ids) for finding in found] == [
        ("halves_server_missing", ("id-2",)),
        ("halves_browser_missing", ("id-1",)),
    ]


def test_three_in_four_that_meet_are_enough():
    servers = purchases(5)
    browsers = [copy(**{key: one[key] for key in ("event_id", "custom_data")}) for one in servers]
    assert codes(servers[:3], browser_events=browsers[:4]) == []
    assert codes(servers, browser_events=browsers[:4]) == []
    assert codes(servers[:2], browser_events=browsers[:4]) == ["halves_server_missing"]
    assert codes(servers, browser_events=browsers[:2]) == ["halves_browser_missing"]


def test_what_happened_elsewhere_needs_no_browser():
    shop = event(event_id="id-2", action_source="physical_store")
    assert codes([event(), shop], browser_events=[copy()]) == []


def test_a_browser_copy_is_looked_at_without_what_only_servers_have():
    assert codes([], browser_events=[copy(event_id=None)]) == ["event_id_missing"]
    found = codes([event()], browser_events=[copy(event_source_url="https://a.example/?e=a@b.de")])
    assert sorted(found) == ["event_source_url_host", "url_email"]
    assert codes([], browser_events=["no object"]) == ["event_malformed"]


def test_faults_of_one_event_are_codes():
    assert faults(event(event_id=None), now=NOW) == {"event_id_missing"}
    assert faults(copy(), now=NOW, browser=True) == set()


# The table and the page

TOGETHER = {
    "event_id_repeated", "event_id_constant", "value_constant", "currency_constant",
    "value_recommended", "ip_shared", "ipv4_only", "halves_differ", "halves_names_differ",
    "halves_server_missing", "halves_browser_missing",
}  # fmt: skip


def test_every_rule_has_a_text_and_an_example():
    assert {code for code, _bad in BAD} | TOGETHER == TEXTS.keys()
    assert FLAGS.keys() | FIELDS.keys() | TOGETHER | {"event_malformed"} == TEXTS.keys()
    assert not FLAGS.keys() & FIELDS.keys()


def test_every_text_is_whole():
    assert sum(len(texts) for _title, texts in SECTIONS) == len(TEXTS)
    for text in TEXTS.values():
        assert text.level in LEVELS
        assert text.message.endswith((".", "?"))
        assert text.remedy.endswith((".", "..."))
        assert "|" not in text.message + text.remedy
        assert (text.code in FIELDS or text.code == "halves_differ") == (text.field == "*")


def test_page_equals_the_table():
    """``docs/linter.md`` ends in ``findings.markdown()``; copy it there after a change."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.endswith(f"\n\n{findings.markdown()}\n")
    for level, meaning in LEVELS.items():
        assert f"| {level} | {meaning} |" in page


def test_limits_are_metas():
    facts = json.loads((PAGE.parents[1] / "tests/data/meta_events.json").read_text())["limits"]
    assert facts["freshness_good_seconds"] == FRESH_FOR
    assert facts["freshness_bad_seconds"] == STALE_AFTER
    assert hashlib.sha256(b"").hexdigest() == EMPTY_HASH


def test_no_database_and_no_site_are_needed():
    done = subprocess.run(
        [sys.executable, "-c", "import sys; import wagtail_metapixel.linter; print(*sys.modules)"],
        cwd=PAGE.parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not {"django.db", "wagtail", "requests"} & set(done.stdout.split())


# Whatever comes

EMAIL = "ada.lovelace@example.org"
PHONES = ["+48 601 234 567", "48601234567", "(650) 555-1212"]
PERSONAL = st.sampled_from([EMAIL, *PHONES, f"Write to {EMAIL}!", f"ring {PHONES[0]} now"])
KEYS = st.sampled_from([*event(), *USER, *CUSTOM, "received_at", "quantity", "id"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | PERSONAL
    | st.sampled_from([DIGEST, FBP, "https://shop.example/?e=" + EMAIL, "https://[x", "10.0.0.1"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | PERSONAL | st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=12,
)
EVENTS = st.dictionaries(KEYS | PERSONAL | st.text(max_size=9), VALUES, max_size=9)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(EVENTS | VALUES, max_size=6),
    st.lists(EVENTS | VALUES, max_size=3),
    st.lists(st.text(max_size=9), max_size=2),
)
def test_lint_takes_whatever_comes_and_repeats_no_person(events, browser_events, hosts):
    # As it may have come, and with faults only a nearly sound event can have.
    events += [event() | one for one in events if isinstance(one, dict)]
    found = lint(events, browser_events=browser_events, hosts=hosts, content_ids=[], now=NOW)
    told = json.dumps(found)
    for personal in (EMAIL, "ada.lovelace", "601 234 567", "601234567", "555-1212"):
        assert personal not in told
    for finding in found:
        assert finding.code in TEXTS
        assert len(finding.event_ids) <= EXAMPLES
        assert finding.occurrences >= len(set(finding.event_ids))


def test_objects_too_deep_and_numbers_too_long_are_borne():
    deep = []
    for _level in range(50_000):
        deep = [deep]
    long = 10**5000
    lint([event(custom={"x": deep}, user={"external_id": deep})], now=NOW)
    lint([event(event_id=long, event_time=long, custom={"value": long, "content_ids": [long]})])
    while deep:  # an interpreter that frees it in one go runs out of stack
        deep = deep[0]


@pytest.mark.parametrize(
    ("key", "personal"),
    [
        *((key, True) for key in ("tel", "mobile", "mobile_no", "userMobile", "customerPhone")),
        *((key, True) for key in ("customer_name", "contact_email", "Contact e-mail", "user_mail")),
        *((key, True) for key in ("customer_first_name", "e-mail address", "shippingName")),
        *(
            (key, False)
            for key in ("product_name", "name", "is_mobile", "mobile_app", "automobile")
        ),
        *((key, False) for key in ("iPhone", "royal_mail", "voicemail", "email_opt_in", "", "no")),
    ],
)
def test_a_name_of_something_personal_is_known(key, personal):
    assert personal_data.is_personal_name(key) == personal


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("4111 1111 1111 1111", True),
        ("card 5555-5555-5555-4444.", True),
        ("378282246310005", True),
        ("6011000990139424", True),
        ("DE89 3704 0044 0532 0130 00", True),
        ("GB82WEST12345698765432", True),
        ("to GB82 WEST 1234 5698 7654 32 TODAY", True),
        pytest.param("4111 1111 1111 1112", False, id="the last digit is wrong"),
        pytest.param("GB82WEST12345698765431", False, id="the check digits are wrong"),
        pytest.param("1795322685020", False, id="a time in milliseconds"),
        pytest.param("9780306406157", False, id="an ISBN"),
        pytest.param("a4111111111111111", False, id="part of a word"),
    ],
)
def test_a_number_of_a_card_or_an_account_is_known_by_its_check_digits(text, known):
    assert personal_data.has_account_number(text) == known
