"""The echo through nginx, whose buffers refuse an answer or a request with too long headers."""

from __future__ import annotations

import base64
import json
from http.cookies import SimpleCookie

import pytest
from django.http import HttpResponse
from django.urls import include, path

from tests.factories import PixelFactory
from tests.visits import AGENT, COOKIES
from wagtail_metapixel import browser, site_settings
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.tracking import track

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(__name__),
]

EVENTS = 20
VISITOR = {
    "Cookie": "; ".join(f"{name}={value}" for name, value in COOKIES.items()),
    "User-Agent": AGENT,
    "Referer": "http://testserver/shoes/",
    "X-Test-Address": "203.0.113.7",
}


def buy(request):
    """Report so many events that no header could hold them all."""
    for number in range(EVENTS):
        contents = [{"id": f"sku-{number}-{item}", "quantity": 1} for item in range(20)]
        track("AddToCart", request, value=1, currency="EUR", contents=contents)
    return HttpResponse("bought")


def too_much(_request):
    """Answer as a shop would that put all of it into cookies."""
    response = HttpResponse("bought")
    for number in range(EVENTS):
        response.set_cookie(f"all_{number}", "x" * 700)
    return response


urlpatterns = [
    path("metapixel/", include("wagtail_metapixel.urls")),
    path("buy/", buy),
    path("too-much/", too_much),
]


@pytest.fixture(autouse=True)
def shop(transactional_db, settings):
    settings.WAGTAIL_METAPIXEL = {"TRUSTED_PROXIES": 1}
    PixelFactory(hosts="testserver")
    site_settings.refresh()


def test_nginx_refuses_what_an_echo_without_bounds_would_be(nginx):
    assert nginx("/too-much/", VISITOR)[0] == 502
    long = VISITOR | {"Cookie": f"{VISITOR['Cookie']}; {'; '.join(['x=' + 'y' * 700] * EVENTS)}"}
    assert nginx("/buy/", long)[0] == 400


def test_the_echo_of_many_events_passes_in_cookies_both_ways(nginx):
    status, headers, _body = nginx("/buy/", VISITOR)
    assert (status, OutboxEvent.objects.count()) == (200, EVENTS)
    cookies = echo_cookies(headers)
    assert 0 < size(cookies) <= browser.ECHO_BYTES
    assert "no-store" in headers["Cache-Control"]

    # A browser whose script is blocked sends them all back, and buys once more.
    held = "; ".join(f"{name}={value}" for name, value in cookies.items())
    again = VISITOR | {"Cookie": f"{VISITOR['Cookie']}; {held}"}
    status, headers, _body = nginx("/buy/", again)
    assert status == 200
    assert size(cookies | echo_cookies(headers)) <= browser.ECHO_BYTES


def echo_cookies(headers):
    set_now = [
        (name, morsel.value)
        for line in headers.get_all("Set-Cookie") or []
        for name, morsel in SimpleCookie(line).items()
    ]
    return {n: value for n, value in set_now if n.startswith(browser.ECHO_COOKIE_PREFIX)}


def size(cookies):
    return sum(len(name) + len(value) for name, value in cookies.items())


def test_the_echo_of_many_events_passes_in_a_header(nginx):
    status, headers, _body = nginx("/buy/", VISITOR | {"HX-Request": "true"})
    assert status == 200
    value = headers[browser.ECHO_HEADER]
    assert len(value) <= browser.ECHO_BYTES
    told = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    known = set(OutboxEvent.objects.values_list("event_id", flat=True))
    assert told
    assert {copy["i"] for copy in told} <= known


def test_an_event_that_did_not_fit_is_fetched_by_its_id(nginx):
    _status, headers, _body = nginx("/buy/", VISITOR | {"HX-Request": "true"})
    value = headers[browser.ECHO_HEADER]
    ids = [
        copy["i"] for copy in json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    ]
    own = {"Origin": "http://testserver", "Content-Type": "text/plain"}
    body = json.dumps({"ids": ids[:5]})
    status, _headers, answer = nginx("/metapixel/echo/", VISITOR | own, body)
    assert status == 200
    events = json.loads(answer)["events"]
    assert {event["i"] for event in events} == set(ids[:5])
    assert all(event["n"] == "AddToCart" for event in events)


def test_the_visitors_address_is_the_one_the_proxy_names(nginx):
    nginx("/buy/", VISITOR | {"X-Test-Address": "198.51.100.9, 203.0.113.7"})
    user_data = json.loads(bytes(OutboxEvent.objects.first().user_data))
    assert user_data["client_ip_address"] == "203.0.113.7"


@pytest.mark.parametrize(("to", "http_only"), [("socket", False), ("strict", True)])
def test_the_doctor_can_see_what_a_proxy_makes_of_our_cookies(nginx, to, http_only):
    own = {"Origin": "http://testserver", "Content-Type": "application/json"}
    status, headers, _body = nginx("/metapixel/echo/", own, '{"probe": true}', to=to)
    assert status == 200
    (line,) = headers.get_all("Set-Cookie")
    assert line.startswith(f"{browser.PROBE_COOKIE}=")
    assert ("httponly" in line.lower()) is http_only
