from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.db import DatabaseError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wagtail.models import Site

from tests.factories import (
    PIXEL_ID,
    OutboxEventFactory,
    PixelFactory,
    SettingsFactory,
    SiteFactory,
)
from wagtail_metapixel import (
    browser,
    catalogue,
    counters,
    keys,
    limits,
    outbox,
    payloads,
    signals,
    site_settings,
    views,
    visitor,
)
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.models import (
    AnsweredTicket,
    ConsentProof,
    MetaPixelSettings,
    OutboxEvent,
    State,
    VisitorRecord,
    Withdrawal,
)
from wagtail_metapixel.tracking import track
from wagtail_metapixel.visitor import Visitor

pytestmark = pytest.mark.django_db

ENDPOINTS = ("collect", "echo", "ticket", "consent")
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
IP = "203.0.113.7"
MS = int(time.time() * 1000)
FBP, OTHER_FBP = f"fb.1.{MS}.1234567890", f"fb.1.{MS}.999"
FBC = f"fb.1.{MS}.IwAR0Click_Id-x"
GRANTED = "metapixel_consent=granted.0123abcd"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver", "User-Agent": AGENT}
CLIENT = Client(enforce_csrf_checks=True)


@pytest.fixture
def site():
    """A site with a pixel, its settings read already."""
    PixelFactory()
    site_settings.refresh()
    return SiteFactory()


def send(endpoint, data, *, cookie=GRANTED, content_type="text/plain;charset=UTF-8", **headers):
    """Post ``data`` as metapixel.js does; headers given replace its own, ``None`` removes."""
    body = data if isinstance(data, (bytes, str)) else json.dumps(data)
    sent = {**OWN, "Cookie": cookie, **{name.replace("_", "-"): v for name, v in headers.items()}}
    sent = {name: value for name, value in sent.items() if value is not None}
    address = f"/metapixel/{endpoint}/"
    return CLIENT.post(address, body, content_type=content_type, headers=sent, REMOTE_ADDR=IP)


def page_view(**told):
    return {"event_id": str(uuid.uuid4()), "event_name": "PageView", **told}


def declared(site, name="ViewContent", **custom_data):
    """Return an event as metapixel.js posts what a page declared."""
    text = payloads.declaration(name, custom_data)
    signature = keys.sign_declaration(text, site.pk)
    return {"event_id": str(uuid.uuid4()), "declaration": text, "signature": signature}


def view(*events, **told):
    """Return the body of collect/ for a page view."""
    return {
        "url": "http://testserver/p/?fbclid=AbC",
        "referrer": "https://www.facebook.com/",
        "fbp": FBP,
        "fbc": None,
        "domain": None,
        "pixel": "loaded",
        "events": list(events) or [page_view()],
        **told,
    }


def a_body_for(endpoint):
    ticket = keys.sign_ticket({"n": "Purchase", "i": "1" * 32}, SiteFactory().pk)
    bodies = {"collect": view(), "echo": {"ids": ["1" * 32]}, "consent": {"choice": "granted"}}
    return bodies.get(endpoint, {"ticket": ticket})


def stored():
    """Return what waits for Meta: pairs of event and user_data."""
    rows = OutboxEvent.objects.order_by("pk")
    return [(json.loads(bytes(row.event)), json.loads(bytes(row.user_data))) for row in rows]


def counted(kind):
    return {item.reason for item in counters.waiting() if item.kind == kind}


def is_private(response):
    return set(response["Cache-Control"].split(", ")) == {"private", "no-store"}


def refuses(response, status):
    """Tell whether a request was turned away as it has to be."""
    return response.status_code == status and not response.cookies and is_private(response)


# The door of all


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_only_a_post_comes_in(site, django_assert_num_queries, method):
    for endpoint in ENDPOINTS:
        with django_assert_num_queries(0):
            response = getattr(CLIENT, method)(f"/metapixel/{endpoint}/", headers=OWN)
        assert refuses(response, 405)
        assert response["Allow"] == "POST"


REFUSED_ORIGINS = [
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://testserver:8000"},
    {"Origin": "http://sub.testserver"},
    {"Origin": "http://testserver.evil.example"},
    {"Origin": "http://testserver@evil.example"},
    {"Origin": "http://evil.example/testserver"},
    {"Origin": "ftp://testserver"},
    {"Origin": "testserver"},
    {"Origin": "http://["},
    {"Origin": None, "Sec_Fetch_Site": None},
    {"Origin": None, "Sec_Fetch_Site": None, "Referer": "https://evil.example/testserver"},
    {"Origin": None, "Sec_Fetch_Site": None, "Referer": "about:blank"},
    {"Origin": "https://evil.example", "Sec_Fetch_Site": None, "Referer": "http://testserver/"},
]
ACCEPTED_ORIGINS = [
    {},
    {"Origin": None},
    {"Sec_Fetch_Site": None},
    {"Origin": "HTTP://TestServer"},
    {"Origin": "https://testserver"},
    {"Origin": None, "Sec_Fetch_Site": None, "Referer": "http://testserver/p/"},
]


@pytest.mark.parametrize("headers", REFUSED_ORIGINS, ids=str)
def test_a_request_of_another_origin_is_refused(site, django_assert_num_queries, headers):
    bodies = {endpoint: a_body_for(endpoint) for endpoint in ENDPOINTS}
    site_settings.refresh()
    with django_assert_num_queries(0):
        responses = [send(endpoint, body, **headers) for endpoint, body in bodies.items()]
    assert all(refuses(response, 403) for response in responses)


@pytest.mark.parametrize("headers", ACCEPTED_ORIGINS, ids=str)
def test_a_request_of_our_own_page_comes_in(site, headers):
    assert send("collect", view(), **headers).status_code == 204
    assert len(stored()) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "text/plain", 400),
        (b"null", "text/plain", 400),
        (b"1", "text/plain", 400),
        (b'"x"', "text/plain", 400),
        (b"[]", "text/plain", 400),
        (b"[{}]", "text/plain", 400),
        (b"{}", "text/plain", 400),
        (b"\xef\xbb\xbf{}", "text/plain", 400),
        ("{}".encode("utf-16"), "text/plain", 400),
        (b"\xff\xfe\xfd", "text/plain", 400),
        (b"\x1f\x8b\x08gzip", "text/plain", 400),
        (b'{"events":' + b"9" * 5000 + b"}", "text/plain", 400),
        (b'{"a":' * 8 + b"1" + b"}" * 8, "text/plain", 400),
        (b"[" * 8000, "text/plain", 400),
        (b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}", "text/plain", 400),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", "text/plain", 400),
        (b'{"a":"' + b"x" * 8185 + b'"}', "text/plain", 413),
        (b'{"a":"' + b"x" * 8184 + b'"}', "text/plain", 400),
        (b'{"a":"' + b"x" * 3_000_000 + b'"}', "text/plain", 413),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"{}", "multipart/form-data; boundary=x", 415),
        (b"{}", "application/csp-report", 415),
        (b"{}", "", 415),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_of_another_shape_is_refused(
    site, django_assert_num_queries, body, content_type, status
):
    with django_assert_num_queries(0):
        responses = [send(endpoint, body, content_type=content_type) for endpoint in ENDPOINTS]
    assert all(refuses(response, status) for response in responses)
    assert not counted(counters.FAILED)


@pytest.mark.parametrize(
    ("length", "status"), [("0", 400), ("-1", 411), ("", 411), ("x", 411), ("1e3", 411)]
)
def test_a_body_whose_length_is_not_told_is_refused(site, length, status):
    response = CLIENT.generic(
        "POST", "/metapixel/collect/", b"{}", "text/plain", headers=OWN, CONTENT_LENGTH=length
    )
    assert refuses(response, status)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "TEXT/PLAIN"])
def test_a_script_and_a_beacon_come_in(site, content_type):
    send("collect", view(), content_type=content_type)
    assert len(stored()) == 1


def test_staff_and_hosts_without_a_site_are_turned_away(site, django_assert_num_queries):
    Site.objects.exclude(pk=site.pk).delete()
    bodies = {endpoint: a_body_for(endpoint) for endpoint in ENDPOINTS}
    site_settings.refresh()
    for endpoint, body in bodies.items():
        with django_assert_num_queries(0):
            assert refuses(send(endpoint, body, cookie=f"{GRANTED}; metapixel_off="), 204)
            assert refuses(send(endpoint, body, Host="elsewhere.example"), 404)


def test_strangers_come_in_where_the_shop_asks_for_a_login(site, settings):
    login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login]
    for endpoint in ENDPOINTS:
        assert send(endpoint, a_body_for(endpoint)).status_code in {200, 204}


@pytest.mark.parametrize("appended", [True, False])
def test_a_post_is_never_sent_elsewhere_whether_or_not_slashes_are_appended(
    site, settings, appended
):
    settings.APPEND_SLASH = appended
    for endpoint in ENDPOINTS:
        assert browser.endpoint(endpoint) == f"/metapixel/{endpoint}/"
        assert send(endpoint, a_body_for(endpoint)).status_code in {200, 204}
    assert len(stored()) == 1


def test_our_own_short_transaction_is_enough_where_requests_are_atomic(site, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        send("collect", view())
    savepoints = [q for q in queries.captured_queries if q["sql"].startswith("SAVEPOINT")]
    assert len(stored()) == len(savepoints) == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("error", [DatabaseError, RuntimeError, KeyError])
def test_a_fault_of_our_own_is_no_fault_of_the_shop(site, monkeypatch, caplog, endpoint, error):
    def fail(*args, **kwargs):
        raise error("jane@example.com")

    for module, name in (
        ("collecting", "collect"),
        ("views", "_copies"),
        ("keys", "read_ticket"),
        ("privacy", "prove"),
    ):
        monkeypatch.setattr(f"wagtail_metapixel.{module}.{name}", fail)
    response = send(endpoint, a_body_for(endpoint))
    assert refuses(response, 204)
    assert counted(counters.FAILED) == {error.__name__}
    assert error.__name__ in caplog.text
    assert "jane@example.com" not in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ODD_TEXTS = st.text() | st.sampled_from(
    ["http://[", "http://testserver:x/", "fb.1.1.1", "granted", "PageView", "\ud800", "1" * 32]
)
EVENTS = st.fixed_dictionaries(
    {"event_id": st.just(str(uuid.UUID(int=0, version=4))) | JSON},
    optional={
        "event_name": st.just("PageView") | JSON,
        "declaration": st.none() | ODD_TEXTS | JSON,
        "signature": ODD_TEXTS | JSON,
    },
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["url", "referrer", "fbp", "fbc", "domain", "pixel"], ODD_TEXTS | JSON),
        "events": st.lists(EVENTS | JSON, max_size=4) | JSON,
        "ids": st.lists(ODD_TEXTS | JSON, max_size=3) | JSON,
        "ticket": ODD_TEXTS | JSON,
        "choice": st.sampled_from(["granted", "denied", "withdrawn"]) | JSON,
    },
)  # fmt: skip


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES | JSON)
def test_no_body_whatsoever_ends_in_a_fault(site, endpoint, body):
    response = send(endpoint, json.dumps(body))
    assert response.status_code in {200, 204, 400}
    assert not counted(counters.FAILED)
    assert is_private(response)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_who_asks_too_often_is_turned_away_and_touches_no_database(
    site, settings, endpoint, monkeypatch, django_assert_num_queries
):
    settings.WAGTAIL_METAPIXEL = {"REQUESTS_PER_ADDRESS": 2}
    now = time.time()
    monkeypatch.setattr(limits.time, "time", lambda: now)
    body = a_body_for(endpoint)
    assert {send(endpoint, body).status_code for _ in range(2)} <= {200, 204}
    with django_assert_num_queries(0):
        assert refuses(send(endpoint, body), 429)
    assert "too many requests of one address in a minute" in counted(counters.REFUSED)


def test_a_withdrawal_is_heard_however_busy_the_site_is(site, settings):
    settings.WAGTAIL_METAPIXEL = {"REQUESTS_PER_ADDRESS": 3, "REQUESTS_PER_SITE": 1}
    while send("collect", view()).status_code != 429:
        pass
    response = send("consent", {"choice": "withdrawn"}, cookie=f"{GRANTED}; _fbp={FBP}")
    assert response.status_code == 204
    assert Withdrawal.objects.exists()


# collect/: what is recorded


def test_a_page_view_and_what_the_page_declared_are_one_insert(site):
    body = view(page_view(), declared(site, value=5, currency="EUR"), declared(site, "Search"))
    with CaptureQueriesContext(connection) as queries:
        response = send("collect", body)
    inserts = [q for q in queries.captured_queries if q["sql"].startswith("INSERT")]
    assert (response.status_code, response.content, len(inserts)) == (204, b"", 1)
    assert [event["event_name"] for event, _ in stored()] == ["PageView", "ViewContent", "Search"]
    assert is_private(response)


def test_a_recorded_event_is_the_twin_of_what_the_browser_sends(site):
    told = declared(site, value=5, currency="EUR")
    send("collect", view(told))
    [(event, user_data)] = stored()
    assert abs(event.pop("event_time") - time.time()) < 5
    assert event == {
        "event_name": "ViewContent",
        "event_id": told["event_id"],
        "action_source": "website",
        "event_source_url": "http://testserver/p/?fbclid=AbC",
        "referrer_url": "https://www.facebook.com/",
        "custom_data": {"value": 5, "currency": "EUR"},
    }
    assert user_data == {"client_ip_address": IP, "client_user_agent": AGENT, "fbp": FBP}
    row = OutboxEvent.objects.get()
    assert (row.site_pk, row.pixel_id, row.consent_proof) == (site.pk, PIXEL_ID, "0123abcd")


@pytest.mark.parametrize(
    ("pixel", "twin"),
    [("loaded", "maybe"), ("unknown", "maybe"), ("failed", "no"), ("shared", "maybe")],
)
def test_without_metas_script_there_is_no_twin(site, pixel, twin):
    send("collect", view(pixel=pixel))
    assert OutboxEvent.objects.get().twin == twin
    assert (views.SHARED in counted(counters.DIAGNOSTIC)) == (pixel == "shared")


def test_who_the_visitor_is_comes_from_the_request_and_never_from_the_body(site):
    forged = {"client_ip_address": "198.51.100.1", "client_user_agent": "forged", "em": "x" * 64}
    send("collect", view(page_view(user_data=forged, event_time=1), **forged, user_data=forged))
    [(event, user_data)] = stored()
    assert user_data == {"client_ip_address": IP, "client_user_agent": AGENT, "fbp": FBP}
    assert event["event_time"] > 1
    assert "collect: user data" in counted(counters.REFUSED)


@pytest.mark.parametrize(
    "url", ["https://evil.example/p/", "http://[", "javascript:alert(1)", "", 7, "x" * 5000]
)
def test_a_page_elsewhere_is_not_believed(site, url):
    send("collect", view(url=url), Referer="http://testserver/q/")
    assert stored()[0][0]["event_source_url"] == "http://testserver/q/"


def test_the_page_is_stored_without_what_is_private(site):
    send("collect", view(url="http://testserver/p/?email=a@b.co&token=x#y", referrer="data:x"))
    event = stored()[0][0]
    assert event["event_source_url"] == "http://testserver/p/"
    assert "referrer_url" not in event


@pytest.mark.parametrize(
    "value", ["fb.1.abc.x", "undefined", f"{FBP}<b>", f" {FBP}", 7, ["x"], None]
)
def test_a_browser_id_is_taken_strictly_or_not_at_all(site, value):
    response = send("collect", view(fbp=value, fbc=value))
    assert not {"fbp", "fbc"} & stored()[0][1].keys()
    assert not {"_fbp", "_fbc"} & response.cookies.keys()


def test_the_browser_ids_of_the_cookies_stand_in_for_those_that_were_not_told(site):
    send("collect", view(fbp=None), cookie=f"{GRANTED}; _fbp={FBP}; _fbc={FBC}")
    user_data = stored()[0][1]
    assert (user_data["fbp"], user_data["fbc"]) == (FBP, FBC)


@pytest.mark.parametrize("chosen", [["PageView"], ["ViewContent", "Lead"]])
def test_each_pixel_gets_what_its_owner_chose(chosen):
    PixelFactory()
    PixelFactory(pixel_id="22222", events=chosen)
    site = SiteFactory()
    send("collect", view(page_view(), declared(site)))
    rows = set(OutboxEvent.objects.values_list("pixel_id", "event_name"))
    assert {name for pixel, name in rows if pixel == PIXEL_ID} == {"PageView", "ViewContent"}
    assert {name for pixel, name in rows if pixel == "22222"} == {"PageView", "ViewContent"} & {
        *chosen
    }


@pytest.mark.parametrize("mirror", ["none", "sampled"])
def test_page_views_from_the_server_can_be_switched_off_or_fewer(site, mirror):
    MetaPixelSettings.objects.update(page_view_mirror=mirror)
    site_settings.refresh()
    in_no_sample = str(uuid.UUID(int=1, version=4))
    send("collect", view(page_view(event_id=in_no_sample), declared(site)))
    assert [event["event_name"] for event, _ in stored()] == ["ViewContent"]
    response = send("collect", view(page_view(event_id=in_no_sample)))
    assert len(stored()) == 1
    assert response.cookies["_fbp"].value == FBP, "the first-party cookies are kept alive anyway"


# collect/: what is refused


def not_ours(site):
    """Return events that the server must not take, by what is wrong with them."""
    good = declared(site, value=5, currency="EUR")
    other_site = SiteFactory(hostname="other.example")
    return {
        "an unsigned name": {"event_id": good["event_id"], "event_name": "ViewContent"},
        "an own name, unsigned": {"event_id": good["event_id"], "event_name": "ReadRecipe"},
        "no name": {"event_id": good["event_id"]},
        "a changed price": {**good, "declaration": good["declaration"].replace("5", "6")},
        "a cut signature": {**good, "signature": good["signature"][:-1]},
        "no signature": {k: v for k, v in good.items() if k != "signature"},
        "another site's": declared(other_site, value=5, currency="EUR"),
        "a surrogate": {**good, "declaration": "\ud800"},
        "no id": {k: v for k, v in good.items() if k != "event_id"},
        "an own id": {**good, "event_id": "order-17"},
        "a UUIDv1": {**good, "event_id": str(uuid.uuid1())},
        "a UUIDv7": {**good, "event_id": "01890a5d-ac96-774b-bcce-b302099a8057"},
        "capitals": {**good, "event_id": "AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA"},
        "a newline": {**good, "event_id": f"{good['event_id']}\n"},
        "a number": 7,
        "a list": [good],
        "null": None,
    }


def test_what_is_not_ours_is_refused_without_a_query_or_a_cookie(site, django_assert_num_queries):
    for what, event in not_ours(site).items():
        site_settings.refresh()
        with django_assert_num_queries(0):
            response = send("collect", view(event))
        assert refuses(response, 400), what
    assert counted(counters.REFUSED) == {"collect: event", "collect: no event of ours"}


def test_one_bad_event_costs_its_neighbours_nothing(site):
    bad = list(not_ours(site).values())
    site_settings.refresh()
    send("collect", view(page_view(), *bad, declared(site)))
    assert [event["event_name"] for event, _ in stored()] == ["PageView", "ViewContent"]


@pytest.mark.parametrize(
    "name", [name for name, event in catalogue.STANDARD_EVENTS.items() if event.born == "server"]
)
def test_an_action_event_is_refused_signed_or_not(site, name):
    signed = declared(site, name, value=5, currency="EUR")
    unsigned = page_view(event_name=name)
    assert refuses(send("collect", view(signed)), 400)
    assert refuses(send("collect", view(unsigned)), 400)
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("name", sorted(views.UNSIGNED))
def test_a_name_that_carries_no_value_needs_no_signature(site, name):
    told = {"content_name": "  Hotline " + "x" * 200, "content_category": "Help"}
    forged = {"value": 5, "currency": "EUR", "content_ids": ["A"], "order_id": "7"}
    send("collect", view(page_view(event_name=name, custom_data=told | forged)))
    ((event, _user_data),) = stored()
    assert event["event_name"] == name
    assert event["custom_data"] == {
        "content_name": ("Hotline " + "x" * 200)[:100],
        "content_category": "Help",
    }


@pytest.mark.parametrize(
    "told",
    [None, "x", [], {}, {"content_name": 7, "content_category": ["x"]}, {"content_name": " "}],
)
def test_what_cannot_be_said_beside_an_unsigned_name_costs_itself_only(site, told):
    send("collect", view(page_view(event_name="Contact", custom_data=told)))
    ((event, _user_data),) = stored()
    assert "custom_data" not in event


def test_page_events_are_left_out_while_too_many_wait_and_action_events_are_not(site, settings):
    settings.WAGTAIL_METAPIXEL = {"PAGE_EVENTS_WAITING": 2}
    OutboxEventFactory.create_batch(3)
    assert send("collect", view()).status_code == 204
    assert OutboxEvent.objects.count() == 3
    assert Reason.CROWDED in counted(counters.WITHHELD)
    assert track(
        "Purchase",
        consent="granted",
        site=SiteFactory(),
        value=1,
        currency="EUR",
        user_data={"fbp": FBP},
    )
    assert OutboxEvent.objects.count() == 4


@pytest.mark.parametrize(
    ("events", "status"),
    [(20, 204), (21, 400), (0, 400), ("x", 400), ({}, 400), (None, 400)],
    ids=str,
)
def test_a_view_holds_one_to_twenty_events(site, events, status):
    told = [page_view() for _ in range(events)] if isinstance(events, int) else events
    assert send("collect", {**view(), "events": told}).status_code == status


@pytest.mark.parametrize(
    ("cookie", "headers", "reason"),
    [
        ("", {}, Reason.UNKNOWN),
        ("metapixel_consent=denied", {}, Reason.DENIED),
        (GRANTED, {"Sec_GPC": "1"}, Reason.GPC),
    ],
)
def test_without_consent_nothing_is_recorded_and_no_cookie_set(
    site, django_assert_num_queries, cookie, headers, reason
):
    site_settings.refresh()
    with django_assert_num_queries(0):
        response = send("collect", view(declared(site)), cookie=cookie, **headers)
    assert refuses(response, 204)
    item = counters.Item(counters.WITHHELD, reason, "ViewContent", site.pk)
    assert counters.waiting() == {item: 1}


def test_those_who_listen_hear_what_a_closed_gate_kept_back(site):
    heard = []

    def listen(**told):
        heard.append((told["event_name"], told["reason"], told["site_pk"]))

    signals.event_withheld.connect(listen)
    try:
        send("collect", view(declared(site)), cookie="")
    finally:
        signals.event_withheld.disconnect(listen)
    assert heard == [("ViewContent", str(Reason.UNKNOWN), site.pk)]


def test_a_visitor_whom_nothing_tells_apart_is_withheld(site):
    CLIENT.post(
        "/metapixel/collect/",
        json.dumps(view(fbp=None)),
        content_type="text/plain",
        headers={**OWN, "User-Agent": "", "Cookie": GRANTED},
        REMOTE_ADDR="10.0.0.1",
    )
    assert counted(counters.WITHHELD) == {Reason.NO_IDENTIFIER}
    assert not OutboxEvent.objects.exists()


# collect/: the first-party cookies


def test_the_browser_ids_become_cookies_of_the_server_that_last(site):
    response = send("collect", view(fbc=FBC), Host="testserver")
    for name, value in (("_fbp", FBP), ("_fbc", FBC)):
        cookie = response.cookies[name]
        assert (cookie.value, cookie["path"], cookie["samesite"]) == (value, "/", "Lax")
        assert cookie["max-age"] == 90 * 24 * 3600
        assert not cookie["httponly"], "Meta's script reads them"
        assert not cookie["domain"]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("example.com", "example.com"),
        ("Shop.Example.com", "shop.example.com"),
        ("xample.com", ""),
        ("evil.example", ""),
        (".example.com", ""),
        ("example.com; Secure", ""),
        ("", ""),
        (None, ""),
        (["example.com"], ""),
    ],
)
def test_the_cookies_stand_on_the_domain_the_browser_found_if_it_is_ours(told, kept):
    site = SiteFactory(hostname="shop.example.com")
    PixelFactory(settings=SettingsFactory(site=site), hosts="shop.example.com")
    origin = "http://shop.example.com"
    response = send("collect", view(domain=told), Host="shop.example.com", Origin=origin)
    assert response.cookies["_fbp"]["domain"] == kept


def test_the_domain_set_for_all_cookies_goes_before_the_one_the_browser_found(settings):
    settings.WAGTAIL_METAPIXEL = {"COOKIE_DOMAIN": "shop.example.com"}
    site = SiteFactory(hostname="www.shop.example.com")
    PixelFactory(settings=SettingsFactory(site=site), hosts="www.shop.example.com")
    here = {"Host": "www.shop.example.com", "Origin": "http://www.shop.example.com"}
    told = send("collect", view(domain="example.com"), **here).cookies
    answered = send("consent", {"choice": "withdrawn"}, **here).cookies
    assert told["_fbp"]["domain"] == "shop.example.com"
    assert {name: cookie["domain"] for name, cookie in answered.items()} == dict.fromkeys(
        ("_fbp", "_fbc", "metapixel_consent"), "shop.example.com"
    )


# echo/


def copy_ids(response):
    return [copy["i"] for copy in response.json()["events"]]


def test_an_event_that_did_not_fit_is_handed_out_by_its_id(site):
    row = OutboxEventFactory(site_pk=site.pk, twin="maybe")
    OutboxEventFactory(site_pk=site.pk, event_id=row.event_id, pixel_id="22222", twin="maybe")
    response = send("echo", {"ids": [row.event_id, "0" * 32]})
    [copy] = response.json()["events"]
    assert (copy["i"], copy["n"], copy["x"]) == (row.event_id, "AddToCart", [PIXEL_ID, "22222"])
    assert is_private(response)


def test_only_recent_events_of_this_site_that_may_be_told_are_handed_out(site):
    OutboxEventFactory(site_pk=site.pk + 1, event_id="1" * 32)
    OutboxEventFactory(
        site_pk=site.pk, event_id="2" * 32, recorded_at=timezone.now() - timedelta(minutes=31)
    )
    for number, state in enumerate(State):
        OutboxEventFactory(site_pk=site.pk, event_id=f"{number:x}" * 31 + "f", state=state)
    ids = OutboxEvent.objects.values_list("event_id", flat=True)
    told = copy_ids(send("echo", {"ids": list(ids)}))
    states = set(OutboxEvent.objects.filter(event_id__in=told).values_list("state", flat=True))
    assert "1" * 32 not in told
    assert "2" * 32 not in told
    assert not states & {State.REJECTED, State.WITHDRAWN, State.ERASED}


@pytest.mark.parametrize("ids", [None, "x", {}, ["1" * 32] * 21])
def test_the_echo_wants_a_short_list(site, django_assert_num_queries, ids):
    with django_assert_num_queries(0):
        assert refuses(send("echo", {"ids": ids}), 400)


@pytest.mark.parametrize(
    ("ids", "cookie"),
    [([], GRANTED), ([7, None, "order-17", "A" * 32], GRANTED), (["1" * 32], ""), (["1" * 32], "metapixel_consent=denied")],
)  # fmt: skip
def test_the_echo_is_empty_without_a_valid_id_or_consent(
    site, django_assert_num_queries, ids, cookie
):
    OutboxEventFactory(site_pk=site.pk, event_id="1" * 32)
    site_settings.refresh()
    with django_assert_num_queries(0):
        assert copy_ids(send("echo", {"ids": ids}, cookie=cookie)) == []


# ticket/


@pytest.fixture
def order(site):
    """The event id of an order that the browser with FBP bought and paid."""
    key = site_settings.current().installation_key
    event_id = keys.event_id(key, site.pk, ("order", 17), "Purchase")
    OutboxEventFactory(
        site_pk=site.pk,
        event_name="Purchase",
        event_id=event_id,
        digests=keys.digest(key, "fbp", FBP),
        twin="maybe",
    )
    return event_id


def ticket_of(site, event_id):
    return {"ticket": keys.sign_ticket({"n": "Purchase", "i": event_id}, site.pk), "fbp": FBP}


def test_the_buyer_gets_the_event_once(site, order):
    body = ticket_of(site, order)
    first = send("ticket", body)
    assert first.json()["event"]["i"] == order
    assert first.json()["event"]["n"] == "Purchase"
    assert is_private(first)
    reloaded = send("ticket", ticket_of(site, order))
    assert refuses(reloaded, 204)
    assert AnsweredTicket.objects.get().event_id == order


def test_what_the_server_alone_may_tell_no_browser_gets(site, order):
    OutboxEventFactory(site_pk=site.pk, event_id="2" * 32, twin="no")
    assert copy_ids(send("echo", {"ids": ["2" * 32]})) == []


def test_one_signal_with_a_limit_is_enough_to_keep_an_event_from_browsers(site, order):
    told = OutboxEvent.objects.get(event_id=order)
    OutboxEventFactory(site_pk=site.pk, event_id=order, twin="no", digests=told.digests)
    assert copy_ids(send("echo", {"ids": [order]})) == []
    assert refuses(send("ticket", ticket_of(site, order)), 204)
    assert not outbox.first_to_tell(order, using="default")
    assert not AnsweredTicket.objects.exists()


def test_what_already_travelled_with_a_response_is_not_told_by_ticket_again(site, order):
    assert outbox.first_to_tell(order, using="default")
    assert refuses(send("ticket", ticket_of(site, order)), 204)


def test_an_order_that_is_not_paid_yet_is_worth_waiting_for(site):
    response = send("ticket", ticket_of(site, "1" * 32))
    assert response.json() == {"wait": True}
    assert is_private(response)
    assert not AnsweredTicket.objects.exists()


def test_the_session_of_the_buyer_is_as_good_as_the_browser_id(site, order):
    snapshot = site_settings.current()
    digest = keys.digest(snapshot.installation_key, "session", "the-session")
    OutboxEvent.objects.update(digests=digest)
    body = {**ticket_of(site, order), "fbp": None}
    response = send("ticket", body, cookie=f"{GRANTED}; sessionid=the-session")
    assert response.json()["event"]["i"] == order


@pytest.mark.parametrize("fbp", [OTHER_FBP, None, "x"])
def test_another_browser_gets_nothing_and_leaves_the_event_to_the_buyer(site, order, fbp):
    body = ticket_of(site, order)
    assert refuses(send("ticket", {**body, "fbp": fbp}), 204)
    assert send("ticket", body).json()["event"]["i"] == order


@pytest.mark.parametrize(
    ("cookie", "headers"),
    [("", {}), ("metapixel_consent=denied", {}), (GRANTED, {"Sec_GPC": "1"})],
)
def test_without_consent_there_is_no_event_and_later_there_is(site, order, cookie, headers):
    body = ticket_of(site, order)
    assert refuses(send("ticket", body, cookie=cookie, **headers), 204)
    assert send("ticket", body).json()["event"]["i"] == order


def test_a_forged_ticket_is_refused_without_a_query(site, order, django_assert_num_queries):
    good = ticket_of(site, order)["ticket"]
    forged = [
        good[:-1],
        f"{good}x",
        keys.sign_ticket({"n": "Purchase", "i": order}, site.pk + 1),
        signing.dumps({"n": "Purchase", "i": order}),
        signing.dumps([order], salt=f"{keys.TICKET_SALT}.{site.pk}"),
        "",
        "\ud800",
        None,
        7,
        {"i": order},
    ]
    for ticket in forged:
        site_settings.refresh()
        with django_assert_num_queries(0):
            response = send("ticket", {"ticket": ticket, "fbp": FBP})
        assert refuses(response, 400), ticket


@pytest.mark.parametrize(("age", "status"), [(86300, 200), (86500, 400)])
def test_a_ticket_is_good_for_a_day(site, order, monkeypatch, age, status):
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(signing.time, "time", lambda: now - age)
        body = ticket_of(site, order)
    assert send("ticket", body).status_code == status


def test_an_event_recorded_longer_than_a_day_ago_is_not_fired_anymore(site, order):
    OutboxEvent.objects.update(recorded_at=timezone.now() - timedelta(hours=25))
    assert refuses(send("ticket", ticket_of(site, order)), 204)


@pytest.mark.parametrize("state", [State.REJECTED, State.WITHDRAWN, State.ERASED])
def test_what_meta_must_not_hear_is_not_handed_to_the_browser(site, order, state):
    OutboxEvent.objects.update(state=state)
    assert refuses(send("ticket", ticket_of(site, order)), 204)


# consent/


def consent_cookie(response):
    return response.cookies["metapixel_consent"]


def test_a_grant_is_kept_in_a_cookie_with_its_proof(site):
    response = send("consent", {"choice": "granted"}, cookie="")
    proof = ConsentProof.objects.get()
    assert (proof.choice, proof.site_pk, proof.tool) == ("granted", site.pk, "cookie")
    cookie = consent_cookie(response)
    assert (response.status_code, cookie.value) == (204, f"granted.{proof.proof_id}")
    assert (cookie["max-age"], cookie["path"], cookie["samesite"]) == (180 * 86400, "/", "Lax")
    assert not cookie["httponly"], "the banner reads it"
    assert is_private(response)


def test_the_cookie_of_a_grant_opens_the_gate(site):
    granted = consent_cookie(send("consent", {"choice": "granted"}, cookie="")).value
    send("collect", view(), cookie=f"metapixel_consent={granted}")
    assert OutboxEvent.objects.get().consent_proof == ConsentProof.objects.get().proof_id


def test_a_refusal_is_kept_with_its_proof_and_stops_nothing_that_was_never_granted(site):
    response = send("consent", {"choice": "denied"}, cookie=f"_fbp={FBP}")
    assert consent_cookie(response).value == "denied"
    assert ConsentProof.objects.get().choice == "denied"
    assert not Withdrawal.objects.exists()


@pytest.mark.parametrize("choice", ["withdrawn", "denied"])
def test_taking_a_grant_back_stops_what_waits_and_forgets_what_is_kept(site, choice):
    snapshot = site_settings.current()
    person = Visitor(site_pk=site.pk, host="testserver", fbp=FBP, consent="granted")
    stranger = Visitor(site_pk=site.pk, host="testserver", fbp=OTHER_FBP, consent="granted")
    visitor.store(person, 17, using="default")
    visitor.store(stranger, 18, using="default")
    cookie = f"{GRANTED}; _fbp={FBP}; sessionid=the-session"
    response = send("consent", {"choice": choice}, cookie=cookie)
    assert set(Withdrawal.objects.values_list("digest", flat=True)) == {
        keys.digest(snapshot.installation_key, "fbp", FBP),
        keys.digest(snapshot.installation_key, "session", "the-session"),
    }
    assert VisitorRecord.objects.count() == 1
    assert visitor.recall(18, using="default") == stranger
    assert consent_cookie(response).value == "denied"
    assert [response.cookies[name]["max-age"] for name in ("_fbp", "_fbc")] == [0, 0]
    assert ConsentProof.objects.get().choice == choice


@pytest.mark.parametrize("choice", ["Granted", "unknown", "not_required", "", None, 1, [], {}])
def test_another_choice_is_refused(site, django_assert_num_queries, choice):
    with django_assert_num_queries(0):
        assert refuses(send("consent", {"choice": choice}), 400)
    assert not counted(counters.FAILED)


@pytest.fixture
def nobody_is_asked(site):
    MetaPixelSettings.objects.update(consent_provider="not_required")
    site_settings.refresh()
    return site


def test_where_nobody_is_asked_a_grant_takes_an_objection_back(nobody_is_asked):
    objected = consent_cookie(send("consent", {"choice": "withdrawn"}, cookie="")).value
    cookie = f"metapixel_consent={objected}"
    send("collect", view(page_view()), cookie=cookie)
    assert not OutboxEvent.objects.exists()

    response = send("consent", {"choice": "granted"}, cookie=cookie)
    assert response.status_code == 204
    assert (consent_cookie(response).value, consent_cookie(response)["max-age"]) == ("", 0)
    proofs = ConsentProof.objects.order_by("pk").values_list("choice", "tool")
    assert list(proofs) == [("withdrawn", "not_required"), ("granted", "not_required")]

    send("collect", view(page_view()), cookie="")
    assert OutboxEvent.objects.count() == 1


def test_where_nobody_is_asked_a_no_is_an_objection_by_its_own_name(nobody_is_asked):
    assert refuses(send("consent", {"choice": "denied"}), 400)


@pytest.mark.parametrize("provider", ["function", "cookiebot", ""])
def test_where_another_tool_asks_only_an_objection_is_heard(provider):
    PixelFactory(settings=SettingsFactory(consent_provider=provider))
    site_settings.refresh()
    assert refuses(send("consent", {"choice": "granted"}), 400)
    assert refuses(send("consent", {"choice": "denied"}), 400)
    assert consent_cookie(send("consent", {"choice": "withdrawn"})).value == "denied"
    assert ConsentProof.objects.get().choice == "withdrawn"


# matching/: who has signed in


@pytest.fixture
def signed_in(site):
    """Make the cookies of a visitor who has signed in and agreed, where the owner chose fields."""
    MetaPixelSettings.objects.update(browser_matching=["em", "fn", "external_id"])
    site_settings.refresh()
    make = get_user_model().objects.create_user
    client = Client()
    client.force_login(make("jane", "Jane.Canary@Example.com", first_name="Jane"))
    session = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    return f"{GRANTED}; metapixel_user=; {django_settings.SESSION_COOKIE_NAME}={session}"


def without(name, cookie):
    return "; ".join(pair for pair in cookie.split("; ") if not pair.startswith(name))


EM = hashlib.sha256(b"jane.canary@example.com").hexdigest()


def test_a_visitor_who_signed_in_is_told_the_digests_that_the_owner_chose(signed_in):
    response = send("matching", {}, cookie=signed_in)
    told = response.json()
    assert told.keys() == {"em", "fn", "external_id"}
    assert told["em"] == EM
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in told.values())
    assert is_private(response)
    assert not response.cookies


@pytest.mark.parametrize(
    ("lacks", "headers"),
    [
        ("metapixel_consent", {}),
        ("metapixel_user", {}),
        ("nothing", {"Sec_GPC": "1"}),
        ("nothing", {"Host": "localhost", "Origin": "http://localhost"}),
    ],
)
def test_without_a_grant_or_the_mark_nobody_is_asked_for(
    signed_in, django_assert_num_queries, lacks, headers
):
    Site.objects.update(is_default_site=False)
    Site.objects.filter(hostname="testserver").update(is_default_site=True)
    site_settings.refresh()
    with django_assert_num_queries(0):
        response = send("matching", {}, cookie=without(lacks, signed_in), **headers)
    assert response.json() == {}


def test_who_refused_is_not_asked_for(signed_in, django_assert_num_queries):
    refused = signed_in.replace(GRANTED, "metapixel_consent=denied")
    with django_assert_num_queries(0):
        assert send("matching", {}, cookie=refused).json() == {}


def test_a_mark_whose_session_is_over_is_nobody(signed_in):
    assert send("matching", {}, cookie=f"{GRANTED}; metapixel_user=").json() == {}


def test_where_the_owner_chose_no_field_nobody_is_asked_for(signed_in, django_assert_num_queries):
    MetaPixelSettings.objects.update(browser_matching=[])
    site_settings.refresh()
    with django_assert_num_queries(0):
        assert send("matching", {}, cookie=signed_in).json() == {}


def test_staff_are_not_asked_for(signed_in, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert refuses(send("matching", {}, cookie=f"{signed_in}; metapixel_off="), 204)


def test_only_our_own_pages_may_ask_who_signed_in_and_not_too_often(
    signed_in, settings, monkeypatch, django_assert_num_queries
):
    settings.WAGTAIL_METAPIXEL = {"REQUESTS_PER_ADDRESS": 1}
    now = time.time()
    monkeypatch.setattr(limits.time, "time", lambda: now)
    with django_assert_num_queries(0):
        assert refuses(Client().get("/metapixel/matching/", headers=OWN), 405)
        assert refuses(send("matching", {}, cookie=signed_in, Sec_Fetch_Site="cross-site"), 403)
    assert send("matching", {}, cookie=signed_in).json()
    with django_assert_num_queries(0):
        assert refuses(send("matching", {}, cookie=signed_in), 429)


def test_the_servers_copy_of_a_page_event_knows_what_the_browsers_knows(signed_in):
    told = send("matching", {}, cookie=signed_in).json()
    send("collect", view(), cookie=signed_in)
    [(_event, user_data)] = stored()
    assert {key: user_data[key] for key in told} == {key: [value] for key, value in told.items()}
    assert user_data["fbp"] == FBP
    key = site_settings.current().installation_key
    found = OutboxEvent.objects.get().digests.split()
    assert {keys.digest(key, name, told[name]) for name in ("em", "external_id")} < set(found)


def test_the_servers_copy_knows_it_without_the_matching_of_orders(signed_in):
    MetaPixelSettings.objects.update(advanced_matching=False)
    site_settings.refresh()
    send("collect", view(), cookie=signed_in)
    assert stored()[0][1]["em"] == [EM]


@pytest.mark.parametrize("lacks", ["metapixel_user", "metapixel_consent"])
def test_a_view_of_somebody_unmarked_asks_for_no_session(signed_in, lacks):
    with CaptureQueriesContext(connection) as queries:
        send("collect", view(), cookie=without(lacks, signed_in))
    asked = [query["sql"] for query in queries.captured_queries]
    assert not [sql for sql in asked if "django_session" in sql or "auth_user" in sql]
    assert not [user_data for _event, user_data in stored() if "em" in user_data]


@pytest.mark.parametrize("choice", ["withdrawn", "denied"])
def test_taking_a_grant_back_takes_the_mark_away(signed_in, choice):
    response = send("consent", {"choice": choice}, cookie=signed_in)
    assert response.cookies["metapixel_user"]["max-age"] == 0
    assert response.cookies["metapixel_user"]["path"] == "/"


@pytest.mark.parametrize(
    ("choice", "cookie"), [("withdrawn", GRANTED), ("granted", f"{GRANTED}; metapixel_user=")]
)
def test_a_choice_that_takes_no_mark_away_leaves_it_alone(site, choice, cookie):
    assert "metapixel_user" not in send("consent", {"choice": choice}, cookie=cookie).cookies


# choice/


@pytest.mark.parametrize(
    ("cookie", "choice"),
    [
        ("cookie_consent=marketing=2026-01-01T00:00:00+00:00", "granted"),
        ("cookie_consent=marketing=-1", "denied"),
        ("cookie_consent=", "unknown"),
        ("metapixel_consent=granted.0123abcd", "unknown"),
    ],
)
def test_the_answer_in_a_cookie_that_no_script_reads_is_told(
    site, cookie, choice, django_assert_num_queries
):
    provider = ConsentProvider.DJANGO_COOKIE_CONSENT
    MetaPixelSettings.objects.update(consent_provider=provider, consent_category="marketing")
    site_settings.refresh()
    with django_assert_num_queries(0):
        response = send("choice", {}, cookie=cookie)
    assert response.json() == {"choice": choice}
    assert is_private(response)
    assert not response.cookies


def test_where_no_such_tool_is_chosen_the_answer_is_unknown(site):
    assert send("choice", {}).json() == {"choice": "unknown"}


def test_only_our_own_pages_may_ask_for_the_answer(site):
    assert refuses(send("choice", {}, Sec_Fetch_Site="cross-site"), 403)


def test_a_withdrawal_that_the_tool_knows_of_already_needs_no_cookie_of_ours(site):
    provider = ConsentProvider.COOKIEBOT
    MetaPixelSettings.objects.update(consent_provider=provider, consent_category="marketing")
    site_settings.refresh()
    told = "CookieConsent={stamp:'x',necessary:true,marketing:%s,method:'explicit'}"
    refused = send("consent", {"choice": "withdrawn"}, cookie=(told % "false").replace(",", "%2C"))
    assert visitor.CONSENT_COOKIE not in refused.cookies
    allowed = send("consent", {"choice": "withdrawn"}, cookie=(told % "true").replace(",", "%2C"))
    assert allowed.cookies[visitor.CONSENT_COOKIE].value == "denied"
    assert ConsentProof.objects.filter(tool="cookiebot").count() == 2


def test_the_doctor_is_given_a_cookie_as_the_echo_sets_them(site, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = send("echo", {"probe": True}, cookie="")
    (cookie,) = response.cookies.values()
    assert cookie.key.startswith(browser.ECHO_COOKIE_PREFIX)
    assert not cookie["httponly"]
    assert is_private(response)
