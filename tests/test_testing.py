from __future__ import annotations

import json
import re
import time
from decimal import Decimal
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpResponse
from django.test import (
    AsyncClient,
    Client,
    LiveServerTestCase,
    RequestFactory,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.urls import include, path
from wagtail.models import Page, Site
from wagtail.test.utils import WagtailPageTestCase

from tests.factories import SiteFactory
from wagtail_metapixel import matching, outbox, site_settings
from wagtail_metapixel.capturing.capture import REMEDIES
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.models import ConsentProof, MetaPixel, MetaPixelSettings, OutboxEvent, State
from wagtail_metapixel.testing import (
    CLIENT_IP_ADDRESS,
    PIXEL_ID,
    USER_AGENT,
    MetaPixelTestMixin,
    VisitorClient,
    assert_not_tracked,
    assert_tracked,
    assert_withheld,
    capture_events,
    deny_consent,
    grant_consent,
    sandbox,
    use_pixel,
    visitor_client,
    visitor_request,
)
from wagtail_metapixel.tracking import remember, track

JANA = "jana.canary@example.com"
PHONE = "+48 601 234 567"
PAID = {"value": Decimal("59.00"), "currency": "EUR"}
LINES = [
    {"id": "mug", "quantity": 2, "item_price": Decimal("19.50")},
    {"id": "tea", "quantity": 1, "item_price": Decimal("20.00")},
]


# A shop


def order(number=17):
    """Stand in for an order of the shop: a saved object with a primary key."""
    return Group(pk=number)


def buy(request):
    """The shop's checkout, which can go wrong in several ways."""
    with transaction.atomic():
        track(
            "Purchase",
            request,
            key=order(),
            user_data={"email": JANA, "phone": PHONE},
            contents=LINES,
            order_id="A-17",
            **PAID,
        )
        if "fail" in request.GET:
            transaction.set_rollback(True)
    return HttpResponse()


def add(request):
    """The shop's cart."""
    track("AddToCart", request, **PAID)
    return HttpResponse()


def add_later(request):
    """A shop that tells after its commit, and does something else then, too."""
    transaction.on_commit(partial(MAILS.append, "a mail"))
    transaction.on_commit(partial(track, "AddToCart", request, **PAID))
    return HttpResponse()


MAILS: list[str] = []

urlpatterns = [
    path("buy/", buy),
    path("add/", add),
    path("later/", add_later),
    path("metapixel/", include("wagtail_metapixel.urls")),
]


@pytest.fixture
def shop(db, settings):
    """A pixel on the default site, and the shop's own views."""
    settings.ROOT_URLCONF = __name__
    MAILS.clear()
    return use_pixel()


@pytest.fixture
def bought(shop):
    """What was captured of one purchase."""
    with capture_events() as events:
        client = visitor_client()
        client.get("/checkout/")
        client.post("/buy/")
    return events


def failure(call, *args, **kwargs):
    with pytest.raises(AssertionError) as failed:
        call(*args, **kwargs)
    return str(failed.value)


# Setting up


def test_pixel_is_set_up_on_the_default_site_and_sends_for_the_test_clients_host(db):
    pixel = use_pixel(hosts=["shop.example"])
    assert pixel.settings.site == Site.objects.get(is_default_site=True)
    config = site_settings.current().site(pixel.settings.site_id)
    assert {"testserver", "localhost", "127.0.0.1", "shop.example"} <= config.pixels[0].hosts
    assert (config.consent_provider, config.advanced_matching) == ("cookie", True)


def test_setting_up_twice_changes_the_same_pixel(db):
    use_pixel()
    use_pixel(advanced_matching=False, phone_region="DE", events=["Purchase"])
    assert MetaPixel.objects.count() == MetaPixelSettings.objects.count() == 1
    config = site_settings.current().sites[0]
    assert (config.advanced_matching, config.phone_region) == (False, "DE")
    assert config.pixels[0].events == {"Purchase"}


def test_another_site_gets_a_pixel_of_its_own(db):
    site = SiteFactory(hostname="other.example")
    pixel = use_pixel(site, pixel_id="55555")
    assert (pixel.settings.site, pixel.pixel_id) == (site, "55555")


def test_site_is_made_where_the_tables_are_empty(db):
    Site.objects.all().delete()
    Page.objects.all().delete()
    use_pixel()
    with capture_events():
        track("AddToCart", visitor_request(), **PAID)
        assert_tracked("AddToCart")


def test_pixel_without_sandbox_has_no_token_to_send_with(bought):
    assert deliver_due().requests == 0
    assert OutboxEvent.objects.get().state == State.PENDING


@pytest.mark.parametrize("client_class", [Client, AsyncClient, RequestFactory])
def test_grant_sets_the_cookies_of_a_browser_that_said_yes(client_class):
    client = client_class()
    grant_consent(client, click_id="AbCd-123")
    assert re.fullmatch(r"granted\.[0-9a-f]{32}", client.cookies["metapixel_consent"].value)
    assert re.fullmatch(r"fb\.1\.\d{13}\.\d{10}", client.cookies["_fbp"].value)
    assert re.fullmatch(r"fb\.1\.\d{13}\.AbCd-123", client.cookies["_fbc"].value)


@pytest.mark.parametrize("choice", ["granted", "denied"])
def test_cookie_of_an_answer_looks_like_that_of_the_endpoint(shop, choice):
    real, ours = Client(), Client()
    real.post(
        "/metapixel/consent/",
        json.dumps({"choice": choice}),
        content_type="application/json",
        headers={"origin": "http://testserver"},
    )
    {"granted": grant_consent, "denied": deny_consent}[choice](ours)
    texts = [client.cookies["metapixel_consent"].value for client in (real, ours)]
    if choice == "granted":
        assert ConsentProof.objects.get().proof_id in texts[0]
    assert re.sub("[0-9a-f]{32}", "<id>", texts[0]) == re.sub("[0-9a-f]{32}", "<id>", texts[1])


def test_second_grant_keeps_the_browsers_id():
    client = Client()
    grant_consent(client)
    first = client.cookies["_fbp"].value
    grant_consent(client)
    assert client.cookies["_fbp"].value == first


def test_blocked_browser_says_yes_without_metas_cookie():
    client = Client()
    grant_consent(client, fbp=False)
    assert set(client.cookies) == {"metapixel_consent"}


def test_denial_takes_metas_cookies_away():
    client = visitor_client()
    deny_consent(client)
    assert client.cookies.keys() == {"metapixel_consent"}


@pytest.mark.parametrize("wrong", [{"click_id": "with space"}, {"fbp": "nonsense"}])
def test_cookie_that_meta_would_not_write_is_refused_without_showing_it(wrong):
    with pytest.raises(ValueError, match="is not what Meta writes") as refused:
        grant_consent(Client(), **wrong)
    assert not any(value in str(refused.value) for value in wrong.values())


def test_request_of_a_visitor_carries_what_meta_matches_by(shop):
    with capture_events() as events:
        track("AddToCart", visitor_request("/mug/", click_id="AbCd"), **PAID)
    [event] = events
    assert event.match_keys == {"client_ip_address", "client_user_agent", "fbp", "fbc"}
    assert event.user_data["client_ip_address"] == CLIENT_IP_ADDRESS
    assert event.user_data["client_user_agent"] == USER_AGENT
    assert event.event_source_url == "http://testserver/mug/"


def test_posting_request_comes_from_the_page_at_its_address(shop):
    with capture_events() as events:
        track("AddToCart", visitor_request("/mug/", method="POST"), **PAID)
    events.assert_tracked("AddToCart", event_source_url="/mug/")


@pytest.mark.parametrize(("consent", "reason"), [(None, Reason.UNKNOWN), ("denied", Reason.DENIED)])
def test_request_without_consent_is_withheld(shop, consent, reason):
    with capture_events() as events:
        track("AddToCart", visitor_request(consent=consent), **PAID)
    events.assert_not_tracked("AddToCart")
    events.assert_withheld("AddToCart", reason=reason)


def test_visitors_client_posts_from_the_page_it_is_on(shop):
    client = visitor_client("testserver")
    with capture_events() as events:
        client.post("/add/")
        client.get("/later/")
        client.post("/add/")
        client.post("/add/", headers={"referer": "http://testserver/cart/"})
    urls = [event.event_source_url for event in events]
    assert urls == [f"http://testserver/{name}/" for name in ("add", "later", "cart")]


@pytest.mark.parametrize("address", [{}, {"HTTP_HOST": "localhost"}, {"SERVER_NAME": "127.0.0.1"}])
def test_visitors_client_knows_its_own_address(shop, address):
    client = VisitorClient(**address)
    grant_consent(client)
    with capture_events() as events:
        client.post("/add/", secure=True)
    host = next(iter(address.values()), "testserver")
    events.assert_tracked("AddToCart", event_source_url=f"https://{host}/add/")


# Capturing


def test_capture_holds_what_was_recorded_within_it_alone(shop):
    track("AddToCart", visitor_request(), **PAID)
    with capture_events() as events:
        track("Lead", visitor_request())
    track("Search", visitor_request())
    assert [event.event_name for event in events] == ["Lead"]
    assert (len(events), events[0].event_name, events[:1][0].pixel_id) == (1, "Lead", PIXEL_ID)


def test_captured_event_says_all_about_itself(bought):
    [event] = bought
    assert (event.value, event.currency) == (Decimal("59.00"), "EUR")
    assert event.contents[0] == {"id": "mug", "quantity": 2, "item_price": 19.5}
    assert event.custom_data["order_id"] == "A-17"
    assert abs(event.event_time - time.time()) < 60
    assert (event.action_source, event.state, event.reason) == ("website", "pending", "")
    assert event.keyed
    assert event.twin
    assert event.match_keys >= {"em", "ph", "fbp"}
    assert event.browser["i"] == event.event_id
    assert event.browser["p"]["value"] == 59
    assert "em" not in event.browser["p"]
    assert repr(event).startswith(f"<Purchase {event.event_id[:8]} 59 EUR to {PIXEL_ID}")
    assert repr(event) in repr(bought)


def test_captured_event_cannot_be_changed(bought):
    with pytest.raises(AttributeError):
        bought[0].state = "sent"
    with pytest.raises(TypeError):
        bought[0].user_data["em"] = []


def test_event_of_a_rolled_back_order_does_not_count(shop):
    with capture_events() as events:
        visitor_client().post("/buy/?fail")
    events.assert_not_tracked("Purchase")
    assert len(events) == 0


def test_event_rolled_back_after_the_capture_does_not_count(shop):
    def sell():
        with transaction.atomic(), capture_events() as events:
            track("Lead", visitor_request())
            yield events
            raise ZeroDivisionError

    selling = sell()
    events = next(selling)
    assert len(events) == 1
    with pytest.raises(ZeroDivisionError):
        next(selling)
    track("Search", visitor_request())  # gets the number of the row that is gone
    assert events.all() == []


def test_capturing_costs_no_query(shop, django_assert_num_queries):
    site_settings.current()
    request = visitor_request()
    track("Lead", request)
    site_settings.refresh()
    with capture_events():
        site_settings.current()
        with django_assert_num_queries(3):  # savepoint, INSERT, release
            track("Lead", request)


def test_person_is_known_also_after_delivery(bought, shop):
    with sandbox() as meta:
        summary = deliver_due()
    assert (summary.by_state["sent"], len(meta.events("Purchase"))) == (1, 1)
    assert bytes(OutboxEvent.objects.get().user_data) == b"{}"
    bought.assert_tracked("Purchase", email=JANA, state="sent")


def test_person_who_took_consent_back_is_gone_from_the_capture_too(bought):
    OutboxEvent.objects.update(state=State.WITHDRAWN, user_data=b"{}")
    assert bought[0].match_keys == frozenset()


def test_settings_in_memory_end_with_the_capture(shop):
    site_settings.current()
    with capture_events():
        assert not site_settings.is_fresh()
        site_settings.current()
    assert not site_settings.is_fresh()


def test_captures_may_nest(shop):
    with capture_events() as outer:
        with capture_events() as inner:
            track("Lead", visitor_request(consent=None))
            track("Lead", visitor_request())
        track("Search", visitor_request())
    assert (len(outer), len(inner)) == (2, 1)
    assert outer.withheld == inner.withheld


def test_capture_ends_when_the_block_fails(shop):
    with pytest.raises(ZeroDivisionError), capture_events() as events:
        raise ZeroDivisionError
    track("Lead", visitor_request())
    assert len(events) == 0
    assert_tracked("Lead")


def test_page_events_are_captured_and_withheld_ones_too(shop):
    granted, silent = visitor_client(), Client()
    with capture_events() as events:
        for client in (granted, silent):
            client.post(
                "/metapixel/collect/",
                json.dumps(
                    {
                        "events": [
                            {
                                "event_name": "PageView",
                                "event_id": "0b9f0d6e-4a0c-4d52-9f0a-3b0a3a6f1c11",
                            }
                        ],
                        "url": "http://testserver/mug/",
                    }
                ),
                content_type="application/json",
                headers={"origin": "http://testserver"},
            )
    events.assert_tracked("PageView", once=True, event_source_url="/mug/", match_keys={"fbp"})
    events.assert_withheld("PageView", reason="consent unknown")


def test_mistake_is_told_with_what_was_wrong(shop):
    with capture_events() as events:
        track("purchase", visitor_request(), **PAID)
        track("Purchase", visitor_request(), value="much", currency="EUR")
        track("AddToCart", visitor_request(), value=1, currency="EUR", content_id="mug")
    assert events.failed[0].event_name == "purchase"
    assert "did you mean 'Purchase'" in events.failed[0].reason
    assert [event.event_name for event in events.rejected] == ["Purchase"]
    assert events.rejected[0].browser is None
    assert any("content_id" in text for text in events.diagnostics)
    text = failure(events.assert_tracked, "Purchase")
    assert "Not recorded: purchase, event_name is not known to Meta" in text.replace(": is", " is")
    assert "rejected, it will never be sent: value" in text
    events.assert_not_tracked("Purchase")


# On commit


def test_functions_that_wait_for_the_commit_are_left_alone(shop):
    with capture_events() as events:
        visitor_client().post("/later/")
    events.assert_not_tracked("AddToCart")
    assert MAILS == []
    text = failure(events.assert_tracked, "AddToCart")
    assert "2 on_commit function(s) wait" in text


def test_functions_that_wait_run_at_the_end_when_asked_for(shop):
    with capture_events(on_commit=True) as events:
        visitor_client().post("/later/")
        assert MAILS == []
    events.assert_tracked("AddToCart", once=True)
    assert MAILS == ["a mail"]


def test_functions_that_wait_run_once_and_with_those_they_add(shop):
    ran = []
    transaction.on_commit(partial(ran.append, "before the capture"))
    with capture_events(on_commit=True) as events:
        transaction.on_commit(lambda: transaction.on_commit(partial(ran.append, "inner")))
        assert events.run_on_commit() == 2
        assert events.run_on_commit() == 0
    assert ran == ["inner"]


def test_function_that_fails_on_commit_fails_the_test_unless_it_is_robust(shop, caplog):
    with capture_events() as events:
        transaction.on_commit(lambda: 1 / 0, robust=True)
        assert events.run_on_commit() == 1
        transaction.on_commit(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            events.run_on_commit()
    assert "ZeroDivisionError on commit" in caplog.text


def test_our_own_functions_that_wait_are_no_news(bought):
    assert "on_commit" not in failure(bought.assert_tracked, "Lead")


# Asserting


@pytest.mark.parametrize("value", [Decimal("59.00"), 59, "59.00", 59.0, Decimal(59)])
def test_value_compares_as_money(bought, value):
    assert bought.assert_tracked("Purchase", value=value, currency="EUR", once=True) == bought[0]


@pytest.mark.parametrize("value", [Decimal("59.01"), 58, "59,00", None, 59.001])
def test_other_value_is_another_value(bought, value):
    assert "value is 59, " in failure(bought.assert_tracked, "Purchase", value=value)


@pytest.mark.parametrize(
    "expected",
    [
        {"contents": [{"id": "mug"}, {"id": "tea", "quantity": 1}]},
        {"contents": [{"id": "tea"}, {"id": "mug", "item_price": Decimal("19.50")}]},
        {"content_ids": ["tea", "mug"]},
        {"content_ids": {"mug", "tea"}},
        {"order_id": "A-17", "num_items": 3, "content_type": "product", "search_string": None},
        {"match_keys": {"em", "ph"}},
        {"match_keys": "email"},
        {"email": JANA.upper()},
        {"phone": "0048601234567"},
        {"user_data": {"email": JANA, "phone": PHONE}},
        {"event_source_url": "/checkout/"},
        {"event_source_url": "http://testserver/checkout/"},
        {"pixel_id": PIXEL_ID, "action_source": "website", "state": "pending"},
        {"twin": True, "keyed": True},
        {"referrer_url": None, "count": 1},
    ],
)
def test_expectation_that_holds(bought, expected):
    bought.assert_tracked("Purchase", **expected)


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ({"currency": "PLN"}, "currency is 'EUR', not 'PLN'"),
        ({"contents": [{"id": "mug"}]}, "contents is [{'id': 'mug'"),
        ({"contents": [{"id": "mug"}, {"id": "mug"}]}, "contents is"),
        ({"contents": [{"id": "mug", "quantity": 3}, {"id": "tea"}]}, "contents is"),
        ({"content_ids": ["tea"]}, "content_ids is ['mug', 'tea'], not ['tea']"),
        ({"order_id": "A-18"}, "order_id is 'A-17', not 'A-18'"),
        ({"order_id": None}, "order_id is 'A-17', none was expected"),
        ({"valeu": 59}, "valeu was not sent, 59 was expected"),
        ({"match_keys": {"em", "db"}}, "match_keys lack db (sent: client_ip_address,"),
        ({"email": "other@example.com"}, "em is somebody else's"),
        ({"user_data": {"city": "Berlin"}}, "ct was not sent"),
        ({"event_source_url": "/cart/"}, "event_source_url is 'http://testserver/checkout/'"),
        ({"keyed": False}, "keyed is True, not False"),
        ({"state": "sent"}, "state is 'pending', not 'sent'"),
        ({"key": Group(pk=18)}, "key is another one"),
    ],
)
def test_expectation_that_does_not_hold_says_what_differs(bought, expected, difference):
    text = failure(bought.assert_tracked, "Purchase", **expected)
    assert text.startswith("Purchase was not tracked as expected.\nRecorded:\n  Purchase 59 EUR of")
    assert difference in text


def test_key_names_what_it_happened_to(bought, shop):
    bought.assert_tracked("Purchase", key=order())
    with capture_events() as events:
        track("AddToCart", visitor_request(), **PAID)
    assert "key was not given" in failure(events.assert_tracked, "AddToCart", key=order())


def test_once_means_once_for_meta(shop):
    client = visitor_client()
    with capture_events() as events:
        client.post("/buy/")
        client.post("/buy/")
    assert len(events) == 2
    events.assert_tracked("Purchase", once=True, count=1)


def test_event_for_two_pixels_is_one_event(shop):
    use_pixel(pixel_id="55555")
    with capture_events() as events:
        track("Lead", visitor_request())
    assert [event.pixel_id for event in events] == [PIXEL_ID, "55555"]
    events.assert_tracked("Lead", once=True, pixel_id="55555")


def test_once_counts_all_of_the_name_and_count_those_that_match(shop):
    with capture_events() as events:
        for value in (1, 1, 2):
            track("AddToCart", visitor_request(), value=value, currency="EUR")
    events.assert_tracked("AddToCart", value=1, count=2)
    text = failure(events.assert_tracked, "AddToCart", value=2, once=True)
    assert text.startswith("AddToCart was tracked 3 times, not once.")
    text = failure(events.assert_tracked, "AddToCart", value=1, count=3)
    assert text.startswith("AddToCart was tracked 2 times, not 3.")


def test_not_tracked_fails_where_it_was(bought):
    bought.assert_not_tracked("Lead")
    text = failure(bought.assert_not_tracked, "Purchase")
    assert text.startswith(
        "Purchase was tracked.\nRecorded:\n  Purchase 59 EUR of mug, tea (event_id"
    )


def test_withheld_fails_where_nothing_was_or_for_another_reason(shop):
    with capture_events() as events:
        track("Lead", visitor_request(consent=None))
    events.assert_withheld("Lead")
    events.assert_withheld("Lead", reason="Consent")
    assert failure(events.assert_withheld, "Search").startswith("Search was not withheld.")
    assert "not withheld for 'staff'" in failure(events.assert_withheld, "Lead", reason="staff")


@pytest.mark.parametrize("verb", ["assert_tracked", "assert_not_tracked", "assert_withheld"])
def test_misspelt_event_name_is_no_reason_to_be_glad(bought, verb):
    with pytest.raises(ValueError, match="did you mean 'Purchase'"):
        getattr(bought, verb)("purchase")


def test_failure_says_why_it_was_withheld_and_what_to_do(shop):
    with capture_events() as events:
        track("Lead", visitor_request(consent=None))
    text = failure(events.assert_tracked, "Lead")
    assert text.splitlines() == [
        "Lead was not tracked.",
        "Nothing was recorded.",
        "Withheld: Lead, consent unknown (no consent for this browser: call grant_consent(client))",
    ]


def test_there_is_a_remedy_for_every_reason():
    assert REMEDIES.keys() == set(Reason)


@pytest.mark.parametrize(
    "expected", [{"email": JANA}, {"user_data": {"em": JANA}}, {"order_id": JANA}]
)
def test_failure_never_shows_an_address(shop, expected):
    with capture_events() as events:
        track("Lead", visitor_request())
    text = failure(events.assert_tracked, "Lead", **expected)
    assert JANA not in text
    assert "canary" not in text
    assert matching.hash_value(JANA) not in text


def test_person_without_a_normal_form_is_the_tests_mistake(bought):
    with pytest.raises(ValueError, match=r"^email: ") as wrong:
        bought.assert_tracked("Purchase", email="not an address")
    assert "not an address" not in str(wrong.value)


def test_failure_says_that_advanced_matching_is_off(shop):
    use_pixel(advanced_matching=False)
    with capture_events() as events:
        visitor_client().post("/buy/")
    text = failure(events.assert_tracked, "Purchase", email=JANA)
    assert "em was not sent (advanced matching is off)" in text


def test_local_phone_number_belongs_to_the_region_of_the_site(shop):
    use_pixel(phone_region="PL")
    with capture_events() as events:
        visitor_client().post("/buy/")
    events.assert_tracked("Purchase", phone="601 234 567")


# As plain functions


def test_plain_functions_ask_the_innermost_capture(shop):
    track("Search", visitor_request())
    with capture_events():
        track("Lead", visitor_request())
        track("Lead", visitor_request(consent="denied"))
        assert assert_tracked("Lead", once=True).event_name == "Lead"
        assert_not_tracked("Search")
        assert_withheld("Lead", reason="denied")


def test_plain_functions_ask_the_whole_outbox_without_a_capture(bought):
    assert assert_tracked("Purchase", email=JANA) == bought[0]
    assert_not_tracked("Lead")
    assert "Within capture_events()" in failure(assert_tracked, "Lead")
    with pytest.raises(RuntimeError, match="within capture_events"):
        assert_withheld("Lead")


# Linting


def test_ordinary_purchase_is_clean(bought):
    assert [found for found in bought.lint() if found.level != "advice"] == []
    bought.assert_clean()


def test_unclean_event_is_told_with_its_remedy(bought):
    text = failure(bought.assert_clean, content_ids=["cup"])
    [found] = [found for found in bought.lint(content_ids=["cup"]) if found.level != "advice"]
    assert text.startswith(f"The events are not clean:\n  - {found.code}: Purchase")
    assert found.remedy in text
    bought.assert_clean(content_ids=["cup"], ignore={found.code})


def test_second_row_of_an_event_is_no_second_event_to_the_linter(shop):
    use_pixel(pixel_id="55555")
    client = visitor_client()
    with capture_events() as events:
        client.post("/buy/")
        client.post("/buy/")
    assert len(events) == 4
    events.assert_clean()


def test_rejected_and_failed_events_are_not_clean(shop):
    with capture_events() as events:
        track("Purchase", visitor_request(), currency="EUR", value="much")
        track("purchase", visitor_request())
    assert events.lint() == []
    text = failure(events.assert_clean)
    assert "- rejected: Purchase" in text
    assert "- not recorded: purchase" in text


# Work without a request


def test_webhook_tells_of_the_buyer_who_was_kept(shop):
    remember(visitor_request(method="POST"), order())
    with capture_events() as events:
        track("Purchase", key=order(), **PAID)
        track("Purchase", key=order(18), **PAID)
    events.assert_tracked("Purchase", key=order(), match_keys={"fbp"}, once=True)
    events.assert_withheld("Purchase", reason="no visitor known")


# The sandbox


def test_sandbox_takes_events_and_says_what_it_refused(bought):
    with sandbox() as meta:
        deliver_due()
        assert [event["event_name"] for event in meta.events()] == ["Purchase"]
        assert meta.rejections() == []
    assert site_settings.is_fresh() is False


def test_sandbox_knows_the_pixels_it_is_given(shop):
    use_pixel(pixel_id="55555")
    track("Lead", visitor_request())
    with sandbox(PIXEL_ID, "55555") as meta:
        assert deliver_due().by_state["sent"] == 2
    assert len(meta.requests) == 2


# In Django's own test cases


@override_settings(ROOT_URLCONF=__name__)
class InATestCase(MetaPixelTestMixin, TestCase):
    def test_purchase_is_tracked_without_a_commit(self):
        grant_consent(self.client)
        self.client.post("/buy/")
        self.metapixel.assert_tracked("Purchase", once=True)
        self.assert_tracked("Purchase", value=59, email=JANA)

    def test_browser_without_an_answer_is_withheld(self):
        self.client.get("/add/")
        self.assert_not_tracked("AddToCart")
        self.assert_withheld("AddToCart", reason="consent unknown")

    def test_what_waits_for_the_commit_can_be_run(self):
        grant_consent(self.client)
        self.client.post("/later/")
        self.metapixel.run_on_commit()
        self.assert_tracked("AddToCart")

    async def test_async_test_looks_through_a_thread(self):
        grant_consent(self.async_client)
        await self.async_client.post("/add/")
        await sync_to_async(self.assert_tracked)("AddToCart", once=True)


@override_settings(ROOT_URLCONF=__name__)
class InATransactionTestCase(MetaPixelTestMixin, TransactionTestCase):
    serialized_rollback = True  # as in conftest.py: all such tests, or none
    metapixel_choices = {"advanced_matching": False}

    def test_order_that_is_rolled_back_is_not_tracked(self):
        grant_consent(self.client)
        self.client.post("/buy/?fail")
        self.assert_not_tracked("Purchase")

    def test_functions_on_commit_ran_at_the_commit(self):
        grant_consent(self.client)
        self.client.post("/later/")
        self.assert_tracked("AddToCart")
        assert self.metapixel.run_on_commit() == 0

    def test_choices_of_the_class_are_used(self):
        grant_consent(self.client)
        self.client.post("/buy/")
        assert "em" not in self.assert_tracked("Purchase").match_keys


@override_settings(ROOT_URLCONF=__name__)
class OnALiveServer(MetaPixelTestMixin, LiveServerTestCase):
    serialized_rollback = True

    def test_events_of_the_servers_threads_are_captured(self):
        import requests

        browser = Client()
        grant_consent(browser)
        cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
        with requests.Session() as session:
            session.trust_env = False
            session.get(f"{self.live_server_url}/buy/", cookies=cookies).raise_for_status()
        self.assert_tracked("Purchase", once=True, match_keys={"em", "fbp"})


class InAWagtailPageTestCase(MetaPixelTestMixin, WagtailPageTestCase):
    def test_pixel_stands_on_wagtails_own_site(self):
        config = site_settings.current().site(Site.objects.get(is_default_site=True).pk)
        assert [pixel.pixel_id for pixel in config.pixels] == [PIXEL_ID]


@pytest.mark.django_db(transaction=True)
def test_capture_with_real_transactions(settings):
    settings.ROOT_URLCONF = __name__
    MAILS.clear()
    use_pixel()
    with capture_events(on_commit=True) as events:
        client = visitor_client()
        client.post("/buy/?fail")
        events.assert_not_tracked("Purchase")
        client.post("/buy/")
        client.post("/later/")
    events.assert_tracked("Purchase", once=True)
    events.assert_tracked("AddToCart", once=True)
    assert MAILS == ["a mail"]


def test_outbox_is_the_one_of_the_router(shop):
    with capture_events(using=outbox.alias()) as events:
        track("Lead", visitor_request())
    assert len(events) == 1
