from __future__ import annotations

import json
import re
import time
import unittest
from decimal import Decimal
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.signals import post_save
from django.http import HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
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
from django.utils import timezone
from wagtail.models import Page, Site
from wagtail.test.utils import WagtailPageTestCase

from tests.factories import SiteFactory
from wagtail_metapixel import declarations, matching, outbox, site_settings
from wagtail_metapixel.capturing import capture
from wagtail_metapixel.capturing.remedies import REMEDIES
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import ConsentProof, MetaPixel, MetaPixelSettings, OutboxEvent, State
from wagtail_metapixel.testing import (
    CLIENT_IP_ADDRESS,
    PIXEL_ID,
    USER_AGENT,
    MetaPixelTestMixin,
    VisitorClient,
    assert_clean,
    assert_declared,
    assert_not_declared,
    assert_not_tracked,
    assert_tracked,
    assert_withheld,
    capture_events,
    declared,
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

PAGE = """{% load metapixel %}<!doctype html><html><head>{% metapixel %}</head><body>
<script>var html = "<p data-metapixel-event>";</script>
{% metapixel_event "ViewContent" value="59.00" currency="EUR" contents=contents %}
{% metapixel_event "ViewContent" content_name="R&D </script> <b>" %}
</body></html>"""
PRODUCTS = {"contents": [{"id": "mug", "quantity": 1}, {"id": "tea", "quantity": 2}]}


def product(request):
    """A product's page."""
    return HttpResponse(render(request, request.GET.get("page", PAGE)))


def render(request, text):
    return engines["django"].from_string(text).render(PRODUCTS, request)


urlpatterns = [
    path("mug/", product),
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


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"nonsense": 1}, "has no argument 'nonsense'; there are advanced_matching, "),
        ({"advanced_matchin": True}, "did you mean 'advanced_matching'"),
        ({"host": ["shop.example"]}, "did you mean 'hosts'"),
    ],
)
def test_unknown_choice_is_refused_with_a_hint(db, wrong, hint):
    with pytest.raises(TypeError, match=hint):
        use_pixel(**wrong)
    assert not MetaPixel.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"content_id_scheme": "sku"}, "^content_id_scheme: .* There are 'pk', 'attribute', 'func"),
        ({"consent_provider": "cookies"}, "^consent_provider: .* 'cookie'"),
        ({"phone_region": "de"}, "^phone_region: Two capital letters"),
        ({"advanced_matching": "off"}, "^advanced_matching: "),
        ({"pixel_id": "my pixel"}, "^pixel_id: A pixel id is a number"),
        ({"events": ["purchase"]}, "did you mean 'Purchase'"),
        ({"events": "Purchase"}, "^events: has to be a list"),
        ({"hosts": "shop.example"}, "^hosts: has to be a list"),
    ],
)
def test_choice_the_settings_would_not_take_is_refused(db, wrong, why):
    with pytest.raises(ValueError, match=why):
        use_pixel(**wrong)
    assert not MetaPixel.objects.exists()


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


# On commit


def test_functions_that_wait_for_the_commit_are_left_alone(shop):
    with capture_events() as events:
        visitor_client().post("/later/")
    events.assert_not_tracked("AddToCart", before_commit=True)
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


def test_setting_up_again_is_no_news_whatever_waits_for_it(shop):
    def index(**_kwargs):
        transaction.on_commit(partial(MAILS.append, "indexed"))

    post_save.connect(index, sender=MetaPixelSettings)
    try:
        with capture_events() as events:
            use_pixel(advanced_matching=False)
    finally:
        post_save.disconnect(index, sender=MetaPixelSettings)
    events.assert_clean()
    assert "on_commit" not in failure(events.assert_tracked, "Lead")
    events.run_on_commit()
    assert MAILS == ["indexed"]


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
        ({"colour": "red"}, "colour was not sent, 'red' was expected"),
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
    assert text.startswith("Purchase was not tracked as expected.\nRecorded:\n  Purchase 59 EUR,")
    assert difference in text


def test_products_are_not_read_as_a_count(shop):
    with capture_events() as events:
        track("AddToCart", visitor_request(), content_ids=[1], **PAID)
    assert "AddToCart 59 EUR, content_ids 1 (event_id " in failure(events.assert_tracked, "Lead")
    with capture_events() as events:
        track("AddToCart", visitor_request(), content_ids=[1])
    assert "AddToCart, content_ids 1 (event_id " in failure(events.assert_tracked, "Lead")


def test_failure_without_a_pixel_says_so(db):
    with capture_events() as events:
        track("Lead", visitor_request())
    assert failure(events.assert_tracked, "Lead").splitlines()[:3] == [
        "Lead was not tracked.",
        "Nothing was recorded.",
        "No pixel is set up: call use_pixel(), or take the fixture metapixel.",
    ]


@pytest.mark.parametrize("numbers", [{"once": True, "count": 2}, {"count": 0}])
def test_numbers_that_make_no_sense_raise(bought, numbers):
    with pytest.raises(EventError, match=r"^count: "):
        bought.assert_tracked("Purchase", **numbers)


def test_limited_data_use_is_expected_as_it_was_given(shop):
    given = {"data_processing_options": "LDU", "data_processing_options_state": "CA"}
    with capture_events() as events:
        track("Lead", visitor_request(), **given)
    events.assert_tracked("Lead", **given)
    events.assert_tracked(
        "Lead", data_processing_options_state="ca", data_processing_options=["LDU"]
    )
    events.assert_tracked("Lead", data_processing_options_state=1000)
    text = failure(events.assert_tracked, "Lead", data_processing_options_state="CO")
    assert "data_processing_options_state is 1000, not 'CO'" in text


def test_person_without_advanced_matching_is_told_to_switch_it_on(shop):
    use_pixel(advanced_matching=False)
    person = {"user_data": {"email": JANA}, "action_source": "phone_call", "consent": "granted"}
    with capture_events() as events:
        track("Lead", site=Site.objects.get(), **person)
    events.assert_withheld("Lead", reason=Reason.NO_MATCHING)
    assert "(call use_pixel(advanced_matching=True))" in failure(events.assert_tracked, "Lead")


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
        "Purchase was tracked.\nRecorded:\n  Purchase 59 EUR, content_ids mug, tea (event_id"
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


# What must not pass


@pytest.mark.parametrize(
    "expected",
    [
        {"content_ids": "['mug', 'tea']"},
        {"contents": "[{'id': 'mug', 'quantity': 2, 'item_price': 19.5}]"},
        {"order_id": ["A-17"]},
        {"order_id": {"id": "A-17"}},
        {"value": [59]},
        {"gift": "5"},
        {"wrapped": "True"},
        {"wrapped": 1},
        {"shelf": 7},
        {"num_items": True},
    ],
)
def test_value_of_another_type_is_another_value(shop, expected):
    with capture_events() as events:
        own = {"gift": 5, "wrapped": True, "shelf": "7", "order_id": "A-17"}
        track("Purchase", visitor_request(), contents=LINES, **PAID, **own)
    assert f"{next(iter(expected))} is " in failure(events.assert_tracked, "Purchase", **expected)
    events.assert_tracked("Purchase", num_items="3", gift=5, shelf="7", content_ids=("tea", "mug"))


def test_number_of_an_order_may_be_given_as_a_number(shop):
    with capture_events() as events:
        track("Lead", visitor_request(), order_id=17, content_ids=[5])
    events.assert_tracked("Lead", order_id=17, content_ids=[5])
    events.assert_tracked("Lead", order_id="17", content_ids=["5"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vallue", "value"),
        ("valeu", "value"),
        ("velue", "value"),
        ("curency", "currency"),
        ("contentIds", "content_ids"),
        ("data_procesing_options", "data_processing_options"),
        ("optout", "opt_out"),
        ("fist_name", "first_name"),
        ("emial", "email"),
        ("event_surce_url", "event_source_url"),
    ],
)
def test_misspelt_name_raises_though_nothing_was_expected(bought, name, meant):
    with pytest.raises(EventError, match=f"^{name}: is not known; did you mean '{meant}'"):
        bought.assert_tracked("Purchase", **{name: None})


@pytest.mark.parametrize(
    "expected",
    [
        {"user_data": {"emial": None}},
        {"user_data": {"emial": JANA}},
        {"match_keys": {"emial"}},
        {"contents": [{"id": "mug", "quantiy": None}, {}]},
    ],
)
def test_misspelt_match_key_or_key_of_an_item_raises(bought, expected):
    with pytest.raises(EventError, match=r"did you mean '(email|quantity)'"):
        bought.assert_tracked("Purchase", **expected)


def test_names_of_a_shops_own_are_no_slips(bought, shop):
    own = ("colour", "stage", "county", "price", "band", "item_count", "event_type", "seller")
    bought.assert_tracked("Purchase", **dict.fromkeys(own))
    with capture_events() as events:
        track("Lead", visitor_request(), valve="open", country="DE")
    events.assert_tracked("Lead", valve="open", country="DE")


@pytest.mark.parametrize("delivered", [False, True])
def test_second_telling_of_a_key_is_not_what_meta_hears(shop, delivered):
    with capture_events() as events:
        for value in (5, 6):
            track(
                "Purchase",
                visitor_request(),
                key=order(),
                value=value,
                currency="EUR",
                content_ids=["mug"],
            )
    if delivered:
        with sandbox():
            deliver_due()
            OutboxEvent.objects.filter(state="pending").update(due_at=timezone.now())
            deliver_due()
        assert {event.state for event in events} == {"sent", "duplicate"}
    assert events.assert_tracked("Purchase", value=5, once=True).value == 5
    text = failure(events.assert_tracked, "Purchase", value=6, once=True)
    assert "    - value is 5, not 6" in text
    assert "the first of an id counts; it has another value" in text
    assert [event.value for event in events.contradictions] == [6]
    assert "- contradiction: Purchase 6 EUR" in failure(events.assert_clean)
    events.assert_clean(ignore="contradiction")


def test_second_telling_with_the_same_parameters_is_no_contradiction(shop):
    use_pixel(pixel_id="55555")
    with capture_events() as events:
        for _ in range(2):
            track("Purchase", visitor_request(), key=order(), contents=LINES, **PAID)
    assert events.contradictions == []
    events.assert_clean()


@pytest.mark.parametrize(
    ("params", "noticed"),
    [
        ({"predicted_ltv": "12,50", "value": 1, "currency": "EUR"}, "predicted_ltv"),
        ({"user_data": {"emial": JANA}}, "user_data"),
        ({"user_data": {"phone": "abc"}}, "phone"),
        ({"contents": [{"id": "mug", "quantity": 1, "price": 5}]}, "contents.price"),
        ({"data_procesing_options": ["LDU"]}, "data_processing_options"),
        ({"optout": True}, "opt_out"),
    ],
)
def test_field_that_was_lost_or_misspelt_is_not_clean(shop, params, noticed):
    with capture_events() as events:
        track("Lead", visitor_request(), **params)
    text = failure(events.assert_clean)
    assert f"- noticed: {noticed}: " in text
    assert JANA not in text
    events.assert_clean(ignore={noticed})


def test_page_of_a_site_that_is_switched_off_is_clean(shop):
    use_pixel(enabled=False)
    with capture_events() as events:
        declarations.head(visitor_request())
    events.assert_clean()
    events.assert_not_tracked("PageView")


@pytest.mark.parametrize("verb", ["assert_not_tracked", "assert_clean"])
def test_nothing_is_certain_while_functions_of_the_shop_wait(shop, verb):
    arguments = ["Lead"] if verb == "assert_not_tracked" else []
    with capture_events() as events:
        transaction.on_commit(lambda: track("Lead", visitor_request()))
        text = failure(getattr(events, verb), *arguments)
        assert "run_on_commit(), or capture_events(on_commit=True), runs them" in text
        getattr(events, verb)(*arguments, before_commit=True)
        assert_not_tracked("Lead", before_commit=True)
    assert "1 on_commit function(s) wait" in failure(getattr(events, verb), *arguments)
    assert events.run_on_commit() >= 1
    events.assert_tracked("Lead")  # what it tracked is captured, though the block has ended
    events.assert_clean()


def test_functions_that_wait_from_before_or_after_the_capture_are_not_its_own(shop):
    transaction.on_commit(lambda: None)
    with capture_events() as events:
        track("Contact", visitor_request())
    transaction.on_commit(lambda: None)
    events.assert_not_tracked("Lead")
    events.assert_clean()


def test_without_a_capture_all_functions_that_wait_count(shop):
    transaction.on_commit(lambda: track("Lead", visitor_request()))
    assert "wait for the commit" in failure(assert_not_tracked, "Lead")
    assert_not_tracked("Lead", before_commit=True)


def test_our_own_functions_that_wait_leave_no_doubt(shop):
    with capture_events() as events:
        visitor_client().post("/buy/")
        MetaPixel.objects.get().save()
    events.assert_not_tracked("Lead")
    events.assert_clean()


@pytest.mark.parametrize(
    ("name", "params", "why"),
    [
        ("purchase", PAID, "was not recorded because the call was wrong"),
        ("Purchase", {"key": Group(), **PAID}, "was not recorded because"),
        (
            "Purchase",
            {"value": "much", "currency": "EUR"},
            "was tracked with a mistake, and reject",
        ),
    ],
)
def test_call_that_went_wrong_is_not_nothing(shop, name, params, why):
    with capture_events() as events:
        track(name, visitor_request(), **params)
    assert f"Purchase {why}" in failure(events.assert_not_tracked, "Purchase")
    events.assert_not_tracked("Lead")


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("wanted", [[0, 1], [1, 0]])
def test_each_item_of_contents_finds_its_own_in_any_order(shop, order, wanted):
    sent = [{"id": "A", "quantity": 2}, {"id": "A", "quantity": 1}]
    asked = [{"id": "A"}, {"id": "A", "quantity": 2}]
    with capture_events() as events:
        track("Lead", visitor_request(), contents=[sent[i] for i in order])
    events.assert_tracked("Lead", contents=[asked[i] for i in wanted])
    twice = [{"id": "A", "quantity": 2}] * 2
    assert "contents is" in failure(events.assert_tracked, "Lead", contents=twice)


def test_many_items_of_contents_are_compared_in_time(shop):
    with capture_events() as events:
        track(
            "Lead",
            visitor_request(),
            contents=[{"id": "A", "quantity": n} for n in range(1, 301)],
        )
    wanted = [{"id": "A"}] * 150 + [{"id": "A", "quantity": n} for n in range(1, 151)]
    events.assert_tracked("Lead", contents=wanted)


def test_limit_that_is_off_was_not_sent(bought, shop):
    bought.assert_tracked("Purchase", opt_out=False, data_processing_options=[])
    assert "opt_out was not sent" in failure(bought.assert_tracked, "Purchase", opt_out=True)
    with capture_events() as events:
        track("Lead", visitor_request(), opt_out=True)
    events.assert_tracked("Lead", opt_out=True)
    assert "opt_out is True" in failure(events.assert_tracked, "Lead", opt_out=False)
    assert "opt_out is True" in failure(events.assert_tracked, "Lead", opt_out=None)


@pytest.mark.parametrize("empty", [{"email": ""}, {"user_data": {"em": " "}}, {"email": []}])
def test_empty_match_key_is_the_tests_mistake(bought, empty):
    with pytest.raises(ValueError, match=r"^em(ail)?: is empty; None stands for what was not sent"):
        bought.assert_tracked("Purchase", **empty)


def test_match_key_that_is_none_was_not_sent(bought):
    bought.assert_tracked("Purchase", user_data={"city": None}, date_of_birth=None)
    for expected in ({"user_data": {"email": None}}, {"email": None}, {"em": None}):
        text = failure(bought.assert_tracked, "Purchase", **expected)
        assert "em was sent, none was expected" in text


def test_both_names_of_a_match_key_may_be_given(bought):
    bought.assert_tracked("Purchase", user_data={"email": JANA, "em": [JANA]})
    both = {"email": JANA, "em": "other@example.com"}
    assert "em is somebody" in failure(bought.assert_tracked, "Purchase", user_data=both)


@pytest.mark.parametrize(
    "expected",
    [
        {"first_name": "Canary"},
        {"fn": "Canary"},
        {"ph": "+48600111222"},
        {"external_id": "canary-1"},
        {"city": "Canary"},
        {"mobile": "+48600111222"},
        {"user_data": {"phone": "+48600111222"}},
    ],
)
def test_failure_never_shows_a_person(bought, expected):
    text = failure(bought.assert_tracked, "Purchase", **expected)
    assert "anary" not in text
    assert "600111222" not in text


def test_match_keys_among_the_parameters_are_compared_by_hash(bought):
    bought.assert_tracked("Purchase", ph=PHONE, em=JANA)
    text = failure(bought.assert_tracked, "Purchase", ph="+48600111222")
    assert "ph is somebody else's" in text


def test_wrong_value_among_right_ones_is_the_tests_mistake(bought):
    with pytest.raises(EventError, match=r"^email: has to be") as wrong:
        bought.assert_tracked("Purchase", email=[JANA, "canary"])
    assert "canary" not in str(wrong.value)


def test_strict_sandbox_refuses_what_meta_would_warn_of(shop):
    refused = []
    for strict in (False, True):
        track("Lead", visitor_request(), event_time=time.time() - 2 * 24 * 3600)
        with sandbox(strict=strict) as meta:
            deliver_due()
            refused.append(len(meta.rejections()))
    assert refused == [0, 1]


# As plain functions


def test_plain_functions_ask_the_innermost_capture(shop):
    track("Search", visitor_request())
    with capture_events():
        track("Lead", visitor_request())
        track("Lead", visitor_request(consent="denied"))
        assert assert_tracked("Lead", once=True).event_name == "Lead"
        assert_not_tracked("Search")
        assert_withheld("Lead", reason="denied")
        assert_clean()
        track("lead", visitor_request())
        assert "- not recorded: lead" in failure(assert_clean)


def test_plain_functions_ask_the_whole_outbox_without_a_capture(bought):
    assert assert_tracked("Purchase", email=JANA) == bought[0]
    assert_not_tracked("Lead")
    assert "Within capture_events()" in failure(assert_tracked, "Lead")
    with pytest.raises(RuntimeError, match="within capture_events"):
        assert_withheld("Lead")


def test_plain_assert_without_a_pixel_does_not_pass_for_nothing(db):
    for check in (
        partial(assert_not_tracked, "Lead"),
        assert_clean,
        partial(assert_tracked, "Lead"),
    ):
        assert "No pixel is set up: call use_pixel(), or take the fixture" in failure(check)
    use_pixel()
    assert_not_tracked("Lead")
    assert_clean()
    assert "No pixel" not in failure(assert_tracked, "Lead")


# What a page declares


def test_page_declares_its_events_in_order(shop):
    events = declared(Client().get("/mug/"))
    assert [event.event_name for event in events] == ["ViewContent", "ViewContent"]
    assert events[0].custom_data["contents"] == PRODUCTS["contents"]
    assert events[1].custom_data == {"content_name": "R&D </script> <b>"}


def test_declaration_is_compared_like_an_event(shop):
    page = Client().get("/mug/")
    expected = {"value": Decimal("59.00"), "currency": "EUR", "search_string": None}
    first = assert_declared(page, "ViewContent", content_ids={"tea", "mug"}, **expected)
    assert first == declared(page)[0]
    assert_declared(page, "ViewContent", contents=[{"id": "tea"}, {"id": "mug"}], count=1)
    assert_declared(page, "ViewContent", count=2)
    with capture_events() as events:
        events.assert_declared(page, "ViewContent", value=59)
        events.assert_not_declared(page, "Search")
    assert_not_declared(page, "Search")


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"value": 58}, "    - value is 59, not 58"),
        ({"colour": "red"}, "    - colour was not sent, 'red' was expected"),
        ({"once": True}, "ViewContent is declared 2 times, not once."),
        ({"count": 3}, "ViewContent is declared 2 times, not 3."),
    ],
)
def test_failing_declaration_says_what_there_is_instead(shop, expected, told):
    text = failure(assert_declared, Client().get("/mug/"), "ViewContent", **expected)
    assert told in text
    assert "Declared:\n  ViewContent currency='EUR', value=59, contents=" in text


def test_declaration_that_should_not_be_there_fails(shop):
    text = failure(assert_not_declared, Client().get("/mug/"), "ViewContent")
    assert text.startswith("ViewContent is declared.\nDeclared:\n  ViewContent currency='EUR', ")


def test_page_without_declarations_says_what_it_needs(shop):
    text = failure(assert_declared, HttpResponse("<html>", status=404), "ViewContent")
    assert text.splitlines() == [
        "ViewContent is not declared.",
        "The page declares nothing.",
        "The template needs {% metapixel_event %}, and this host a pixel: use_pixel(hosts=)",
        "The page has no scripts of ours: {% metapixel %} prints them, in its <head>.",
        "The response has the status 404.",
    ]


def test_declaration_nobody_tells_is_not_enough(shop):
    page = Client().get("/mug/", {"page": PAGE.replace("{% metapixel %}", "")})
    text = failure(assert_declared, page, "ViewContent")
    assert text.startswith("ViewContent is declared, but no script on this page tells it.")
    body = PAGE[PAGE.index("<body>") : PAGE.index("</html>")]
    fragment = render(visitor_request(), "{% load metapixel %}" + body)
    assert_declared(fragment, "ViewContent")


@pytest.mark.parametrize(
    "forge",
    [lambda html: html.replace("59", "1"), lambda html: html.replace('event="', 'event="x')],
)
def test_forged_declaration_counts_for_nothing_and_is_told(shop, forge):
    html = forge(Client().get("/mug/").content.decode())
    text = failure(assert_declared, html, "ViewContent", currency="EUR")
    assert "not signed by this installation for this site: " in text
    assert "ViewContent is declared." in failure(assert_not_declared, html, "ViewContent")


def test_declaration_of_another_site_is_forged(shop):
    other = SiteFactory(hostname="other.example")
    use_pixel(other, pixel_id="55555")
    html = Client().get("/mug/", SERVER_NAME="other.example").content
    page = Client().get("/mug/")
    assert declared(html.decode()) == declared(page)
    page.content = html
    assert declared(page) == []


def test_every_kind_of_response_is_read(shop):
    html = render(visitor_request(), PAGE)
    lazy = TemplateResponse(visitor_request(), engines["django"].from_string(PAGE), PRODUCTS)
    for response in (html, lazy, StreamingHttpResponse([html[:300], html[300:]])):
        assert len(declared(response)) == 2
    assert declared(HttpResponse()) == declared("") == []
    assert declared('<script data-metapixel-event="">[]</script>') == []


@pytest.mark.parametrize(
    ("name", "expected", "hint"),
    [
        ("viewcontent", {}, "did you mean 'ViewContent'"),
        ("Purchase", {}, r"is told by track\(\): use assert_tracked\(\)"),
        ("ViewContent", {"vallue": None}, "did you mean 'value'"),
        ("ViewContent", {"contents": [{"quantiy": None}]}, "did you mean 'quantity'"),
        ("ViewContent", {"email": None}, "is never declared by a page"),
        ("ViewContent", {"event_id": None}, "is never declared by a page"),
        ("ViewContent", {"once": True, "count": 2}, "contradicts once=True"),
    ],
)
def test_mistake_in_what_a_page_should_declare_raises(shop, name, expected, hint):
    with pytest.raises(EventError, match=hint):
        assert_declared(Client().get("/mug/"), name, **expected)


def test_nothing_is_declared_without_a_pixel_and_that_is_no_success(db):
    assert declared("") == []
    assert "No pixel is set up" in failure(assert_not_declared, "", "ViewContent")
    assert "No pixel is set up" in failure(assert_declared, "", "ViewContent")


def test_page_event_that_was_not_tracked_is_looked_for_in_the_page(shop):
    with capture_events() as events:
        Client().get("/mug/")
    text = failure(events.assert_tracked, "ViewContent")
    told = "Page events are told by the browser; use assert_declared(response, 'ViewContent', ...)."
    assert told in text.splitlines()
    assert "{% metapixel %} makes it tell this one" in failure(events.assert_tracked, "PageView")
    assert "browser" not in failure(events.assert_tracked, "Lead")


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


def test_event_of_a_pixel_that_browsers_alone_tell_says_so_and_is_clean(shop):
    MetaPixel.objects.update(mode="browser")
    site_settings.clear()
    with capture_events() as events:
        visitor_client().post("/buy/")
    event = events.assert_tracked("Purchase", state="browser", twin=True, value=59)
    assert (event.recorded, event.match_keys, event.browser["x"]) == (True, set(), [PIXEL_ID])
    assert "told by the browser alone" in failure(events.assert_tracked, "Purchase", value=60)
    events.assert_clean()


def test_event_of_a_pixel_in_no_browser_has_no_copy(shop):
    MetaPixel.objects.update(mode="server")
    site_settings.clear()
    with capture_events() as events:
        visitor_client().post("/buy/")
    event = events.assert_tracked("Purchase", state="pending", twin=False)
    assert event.browser is None


def test_the_linter_reads_the_row_that_knows_the_person(shop, monkeypatch):
    monkeypatch.setattr(capture, "lint", lambda events, **_options: events)
    MetaPixel.objects.update(mode="browser")
    use_pixel(pixel_id="55555")
    with capture_events() as events:
        visitor_client().post("/buy/")
    assert [event.pixel_id for event in events] == [PIXEL_ID, "55555"]
    [read] = events.lint()
    assert "em" in read["user_data"]


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


class Forgetful(MetaPixelTestMixin, TestCase):
    """As a stranger writes it: run by the test below, not by pytest."""

    __test__ = False
    asks = staticmethod(lambda _test: None)

    def setUp(self):
        pass

    def test_nothing(self):
        self.asks()


@pytest.mark.parametrize(
    "ask",
    [
        lambda test: test.assert_tracked("Lead"),
        lambda test: test.assert_not_tracked("Lead"),
        lambda test: test.assert_withheld("Lead"),
        lambda test: test.assert_clean(),
        lambda test: test.assert_declared("", "ViewContent"),
        lambda test: test.assert_not_declared("", "ViewContent"),
        lambda test: test.metapixel,
    ],
)
def test_set_up_that_forgets_the_mixins_passes_no_assert(shop, ask):
    class Asking(Forgetful):
        asks = ask

    with capture_events():
        result = unittest.TestResult()
        unittest.TestCase.run(Asking("test_nothing"), result)
    [(_test, text)] = result.errors
    assert "RuntimeError: Nothing is captured: call super().setUp()" in text
    assert "put MetaPixelTestMixin before TestCase" in text


def test_mixin_behind_the_test_case_is_refused():
    with pytest.raises(TypeError, match="Backwards: put MetaPixelTestMixin before TestCase"):
        type("Backwards", (TestCase, MetaPixelTestMixin), {})
    between = type("Between", (MetaPixelTestMixin,), {})  # a mixin of the shop's own
    assert issubclass(type("Forwards", (between, TestCase), {}), TestCase)


@override_settings(ROOT_URLCONF=__name__)
class WithASetUpOfItsOwn(MetaPixelTestMixin, TestCase):
    def setUp(self):
        super().setUp()
        grant_consent(self.client)

    def test_capture_runs(self):
        self.client.post("/add/")
        self.assert_tracked("AddToCart")

    def test_pages_are_asked_what_they_declare(self):
        page = self.client.get("/mug/")
        assert len(self.declared(page)) == 2
        self.assert_declared(page, "ViewContent", value=59)
        self.assert_not_declared(page, "Search")


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


def test_a_pixel_has_the_mode_that_was_asked_for(db):
    assert use_pixel(mode="server").mode == "server"
    assert use_pixel().mode == "both"
    with pytest.raises(ValueError, match="mode"):
        use_pixel(mode="neither")
