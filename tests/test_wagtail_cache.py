"""Behind wagtail-cache, which strips cookies and click ids from requests before views see them.

Its releases are for Wagtail before 8; the rows of the matrix with Wagtail 7.4 install it.
"""

from __future__ import annotations

import itertools
import json

import pytest
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import include, path

from tests.factories import PixelFactory
from tests.visits import AGENT, CART, COOKIES, FBP, GRANTED, order
from wagtail_metapixel import browser, site_settings, visitor
from wagtail_metapixel.diagnostics import MIDDLEWARE
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.tracking import track

pytest.importorskip("wagtailcache", reason="wagtail-cache has no release for this Wagtail")
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

PAGE = """{% load metapixel %}<html><head>{% metapixel %}
{% metapixel_event "ViewContent" content_name="Mug" %}</head></html>"""
THANKS = """{% load metapixel %}<html><head>{% metapixel %}
{% metapixel_ticket "Purchase" key %}</head>page {{ page }}</html>"""
pages = itertools.count()


def rendered(text, request, **context):
    return HttpResponse(engines["django"].from_string(text).render(context, request))


def product(request):
    return rendered(PAGE, request)


def thanks(request):
    return rendered(THANKS, request, key=order(), page=next(pages))


def added(request):
    track("AddToCart", request, **CART)
    return HttpResponse("added")


urlpatterns = [
    path("metapixel/", include("wagtail_metapixel.urls")),
    path("product/", product),
    path("thanks/", thanks),
    path("added/", added),
]


@pytest.fixture(autouse=True)
def shop(settings):
    settings.MIDDLEWARE = [
        MIDDLEWARE,
        "wagtailcache.cache.UpdateCacheMiddleware",
        *(name for name in settings.MIDDLEWARE if name != MIDDLEWARE),
        "wagtailcache.cache.FetchFromCacheMiddleware",
    ]
    PixelFactory(hosts="testserver")
    site_settings.refresh()


def get(address, cookies=COOKIES):
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return Client().get(address, headers={"Cookie": cookie, "User-Agent": AGENT})


def test_a_page_is_one_for_all_and_declares_its_event():
    first = get("/product/?fbclid=AbC", GRANTED | {"_fbp": FBP})
    second = get("/product/?fbclid=Other", {"_fbp": "fb.1.1700000000000.2"})
    assert (first["X-Wagtail-Cache"], second["X-Wagtail-Cache"]) == ("miss", "hit")
    assert first.content == second.content
    assert b"metapixel-config" in first.content
    assert b"data-metapixel-event" in first.content
    assert not first.cookies
    assert not second.cookies


def test_an_event_knows_the_browser_that_the_cache_took_from_the_request():
    # In production a view reaches the cache with a session only, and the click id is gone.
    get("/added/?fbclid=AbC")
    user_data = json.loads(bytes(OutboxEvent.objects.get().user_data))
    assert user_data["fbp"] == FBP
    assert user_data["client_user_agent"] == AGENT


@pytest.mark.django_db(transaction=True)
def test_an_echo_goes_to_whom_it_belongs_and_not_into_the_cache():
    first, second = get("/added/"), get("/added/", {})
    names = [name for name in first.cookies if name.startswith(browser.ECHO_COOKIE_PREFIX)]
    assert len(names) == 1
    assert "no-store" in first["Cache-Control"]
    assert not second.cookies


def test_a_page_with_a_ticket_is_made_for_each():
    # Its header calls a page a hit that was only kept out of the cache; so the pages are counted.
    answers = [get("/thanks/", GRANTED) for _ in range(2)]
    for answer in answers:
        assert b"data-metapixel-ticket" in answer.content
        assert "no-store" in answer["Cache-Control"]
    first, second = (answer.content.partition(b"page ")[2] for answer in answers)
    assert first != second


def test_a_post_passes_the_cache_untouched():
    body = {
        "events": [
            {"event_id": "0" * 12 + "4" + "0" * 3 + "8" + "0" * 15, "event_name": "PageView"}
        ],
        "url": "http://testserver/product/?fbclid=AbC",
        "fbp": FBP,
    }
    cookie = "; ".join(f"{name}={value}" for name, value in COOKIES.items())
    answer = Client().post(
        "/metapixel/collect/",
        json.dumps(body),
        content_type="text/plain",
        headers={"Cookie": cookie, "User-Agent": AGENT, "Origin": "http://testserver"},
        REMOTE_ADDR="203.0.113.7",
    )
    assert answer.status_code == 204
    assert json.loads(bytes(OutboxEvent.objects.get().user_data))["fbp"] == FBP
    assert visitor.CONSENT_COOKIE not in answer.cookies
