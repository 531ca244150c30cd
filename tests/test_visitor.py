from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.request import Request as WrappedRequest

from tests.factories import PixelFactory
from wagtail_metapixel import counters, site_settings, visitor
from wagtail_metapixel.models import VisitorRecord
from wagtail_metapixel.visitor import Visitor

NOW_MS = int(time.time() * 1000)
FBP = f"fb.1.{NOW_MS}.1234567890"
FBC = f"fb.1.{NOW_MS}.IwAR0Click_Id-x"
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"


def ask(path="/", method="get", cookies=None, host="testserver", remote="203.0.113.7", **headers):
    """Return the capture of a request with these headers."""
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    request = RequestFactory().generic(
        method.upper(), path, headers={"Host": host, **headers}, REMOTE_ADDR=remote
    )
    return visitor.capture(request)


@pytest.fixture
def site(db):
    """A site with a pixel for testserver and shop.example."""
    pixel = PixelFactory(hosts="testserver\nshop.example")
    return site_settings.current().site(pixel.settings.site_id)


@pytest.fixture
def clean_counters():
    counters.clear()
    yield
    counters.clear()


# The raw copy


def test_the_copy_stays_as_it_was_when_a_cache_changes_the_request():
    request = RequestFactory().get("/p/?fbclid=abc", headers={"Cookie": f"_fbp={FBP}"})
    held = visitor.capture(request)
    request.META["QUERY_STRING"] = ""
    request.META["HTTP_COOKIE"] = ""
    assert held.cookies == {"_fbp": FBP}
    assert held.meta["QUERY_STRING"] == "fbclid=abc"


def test_a_framework_wrapper_and_the_request_it_wraps_share_one_copy():
    for first_wrapped in (True, False):
        request = RequestFactory().get("/")
        wrapped = WrappedRequest(request)
        pair = (wrapped, request) if first_wrapped else (request, wrapped)
        assert visitor.capture(pair[0]) is visitor.capture(pair[1])


def test_a_copy_taken_without_the_middleware_says_so():
    request = RequestFactory().get("/")
    assert not visitor.capture(request).has_middleware
    assert visitor.capture(request, by_middleware=True).has_middleware
    assert visitor.capture(request).has_middleware


@pytest.mark.parametrize("host", ["evil.example", "testserver\r\nx: y", "a b", "", ":80"])
def test_a_host_that_django_does_not_allow_is_no_host(settings, host):
    settings.ALLOWED_HOSTS = ["testserver"]
    held = ask(host=host)
    assert (held.host, held.netloc) == ("", "")


def test_a_request_without_anything_in_it_can_be_copied():
    held = visitor.capture(HttpRequest())
    assert (held.host, held.cookies, held.method, held.site()) == ("", {}, "GET", None)


@pytest.mark.parametrize(
    ("headers", "by_script"),
    [
        ({}, False),
        ({"Sec-Fetch-Mode": "navigate"}, False),
        ({"Sec-Fetch-Mode": "cors"}, True),
        ({"Sec-Fetch-Mode": "same-origin"}, True),
        ({"HX-Request": "true"}, True),
        ({"Turbo-Frame": "cart"}, True),
        ({"X-Requested-With": "XMLHttpRequest"}, True),
        ({"X-Requested-With": "XMLHttpRequest", "Sec-Fetch-Mode": "navigate"}, True),
        # Plain http, and older browsers: what they accept tells a page from the rest.
        ({"Accept": "*/*"}, True),
        ({"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, False),
        ({"Accept": "*/*", "Sec-Fetch-Mode": "navigate"}, False),
    ],
)
def test_a_request_tells_whether_a_script_made_it(headers, by_script):
    assert ask(**headers).asked_by_script is by_script


# The page


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"HX-Current-URL": "https://testserver/a/", "Referer": "https://testserver/b/"}, "/a/"),
        ({"HX-Current-URL": "https://other.example/a/", "Referer": "https://testserver/b/"}, "/b/"),
        ({"HX-Current-URL": "http://[", "Referer": "https://testserver/b/"}, "/b/"),
        ({"Referer": "https://testserver:8000/b/"}, ":8000/b/"),
    ],
)
def test_the_page_is_what_htmx_says_else_the_referrer_when_it_is_ours(site, headers, expected):
    held = ask("/cart/add/", "post", **headers)
    assert visitor.page_url(held, site) == f"https://testserver{expected}"


def test_every_host_that_a_pixel_sends_for_is_our_own(site):
    held = ask("/cart/add/", "post", Referer="https://shop.example/b/")
    assert visitor.page_url(held, site) == "https://shop.example/b/"


@pytest.mark.parametrize(
    "referrer", ["https://www.facebook.com/", "https://testserver.evil.example/"]
)
def test_a_page_that_was_asked_for_is_the_page_when_the_referrer_is_not_ours(site, referrer):
    held = ask("/p/", Referer=referrer)
    assert visitor.page_url(held, site) == "http://testserver/p/"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("post", {}),
        ("put", {}),
        ("get", {"Sec-Fetch-Mode": "cors"}),
        ("get", {"HX-Request": "true"}),
        ("post", {"Referer": "https://pay.example/checkout/"}),
    ],
)
def test_an_endpoint_or_a_webhook_is_never_the_page(site, method, headers):
    assert visitor.page_url(ask("/api/cart/", method, **headers), site) == ""


@pytest.mark.parametrize(
    ("told", "cleaned"),
    [
        ("https://testserver/p/?fbclid=AbC&utm_source=x&email=a@b.co&q=1", "/p/?fbclid=AbC&utm_source=x"),
        ("https://user:secret@testserver/p/#top", "/p/"),
        ("https://testserver/reset/Mq-1a2b3c/", "/reset/"),
        ("https://testserver/u/jane@example.com/", "/u/"),
    ],
)  # fmt: skip
def test_the_page_is_told_without_what_is_private(site, told, cleaned):
    assert (
        visitor.page_url(ask(method="post", Referer=told), site) == f"https://testserver{cleaned}"
    )


def test_the_asked_page_keeps_its_query_as_far_as_meta_may_see_it(site):
    held = ask("/p/?fbclid=AbC&token=secret")
    assert visitor.page_url(held, site) == "http://testserver/p/?fbclid=AbC"


def test_a_question_mark_inside_the_path_stays_inside_the_path(site):
    held = visitor.capture(RequestFactory().get("/what%3Ffbclid=x/%C3%BC/"))
    assert visitor.page_url(held, site) == "http://testserver/what%3Ffbclid%3Dx/%C3%BC/"


def test_behind_a_proxy_the_page_has_the_host_the_visitor_sees(settings, site):
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https"}
    held = ask("/p/", host="internal:8080", **headers)
    assert visitor.page_url(held, site) == "https://shop.example/p/"


# The address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "remote", "expected"),
    [
        # nobody declared: only the peer counts, and only when it is public
        (0, None, "203.0.113.7", "203.0.113.7"),
        (0, "198.51.100.1", "203.0.113.7", "203.0.113.7"),
        (0, "198.51.100.1", "10.0.0.1", ""),
        # a number, counted from the right
        (1, "198.51.100.1", "10.0.0.1", "198.51.100.1"),
        (1, "8.8.8.8, 198.51.100.1", "10.0.0.1", "198.51.100.1"),
        (2, "8.8.8.8, 198.51.100.1, 10.0.0.2", "10.0.0.1", "198.51.100.1"),
        (1, None, "203.0.113.7", "203.0.113.7"),
        # networks, from the right to the first stranger
        (["10.0.0.0/8"], "8.8.8.8, 198.51.100.1, 10.0.0.2", "10.0.0.1", "198.51.100.1"),
        (["10.0.0.0/8"], "198.51.100.1", "203.0.113.7", "203.0.113.7"),
        (["10.0.0.0/8"], "198.51.100.1", "::ffff:10.0.0.1", "198.51.100.1"),
        (["10.0.0.0/8"], "198.51.100.1", "", "198.51.100.1"),
        (["10.0.0.0/8"], None, "10.0.0.1", ""),
        # what stands in the chain
        (1, "198.51.100.1:5678", "10.0.0.1", "198.51.100.1"),
        (1, "2001:db8::1", "10.0.0.1", "2001:db8::1"),
        (1, "[2001:db8::1]:443", "10.0.0.1", "2001:db8::1"),
        (1, "::ffff:198.51.100.1", "10.0.0.1", "198.51.100.1"),
        (1, "2001:0DB8:0:0:0:0:0:1", "10.0.0.1", "2001:db8::1"),
        (1, "unknown", "10.0.0.1", ""),
        (1, "<script>", "10.0.0.1", ""),
        (1, "fe80::1%eth0", "10.0.0.1", ""),
        (1, ", ,", "10.0.0.1", ""),
        (0, None, "", ""),
        (0, None, "::1", ""),
    ],
)
def test_an_address_is_believed_as_far_as_the_proxies_reach(
    settings, clean_counters, proxies, forwarded, remote, expected
):
    settings.WAGTAIL_METAPIXEL = {"TRUSTED_PROXIES": proxies}
    meta = {"REMOTE_ADDR": remote}
    if forwarded is not None:
        meta["HTTP_X_FORWARDED_FOR"] = forwarded
    assert visitor.client_ip_address(meta) == expected


@pytest.mark.parametrize(
    ("proxies", "meta", "counted"),
    [
        (0, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}, True),
        ([], {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}, True),
        (0, {"REMOTE_ADDR": "203.0.113.7", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}, False),
        (0, {"REMOTE_ADDR": "10.0.0.1"}, False),
        (1, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}, False),
    ],
)
def test_a_proxy_that_nobody_declared_is_counted(settings, clean_counters, proxies, meta, counted):
    settings.WAGTAIL_METAPIXEL = {"TRUSTED_PROXIES": proxies}
    visitor.client_ip_address(meta)
    item = counters.Item(counters.DIAGNOSTIC, visitor.UNDECLARED_PROXY)
    assert (item in counters.waiting()) is counted


# The visitor


def read(held, site):
    return visitor.read(held, site, consent="granted", consent_proof="p")


def test_a_visitor_is_what_the_request_says(site):
    cookies = {"_fbp": FBP, "_fbc": FBC, "sessionid": "abc"}
    referrer = "https://www.facebook.com/x?fbclid=Z"
    found = read(ask("/p/", cookies=cookies, User_Agent=AGENT, Referer=referrer), site)
    assert found.user_data() == {
        "client_ip_address": "203.0.113.7",
        "client_user_agent": AGENT,
        "fbp": FBP,
        "fbc": FBC,
    }
    assert (found.url, found.referrer) == ("http://testserver/p/", referrer)
    assert (found.host, found.site_pk, found.consent) == ("testserver", site.site_pk, "granted")


def test_what_is_not_known_stays_out(site):
    found = read(ask(remote=""), site)
    assert found.user_data() == {}
    assert found.digests(site_settings.current()) == []


@pytest.mark.parametrize(
    "value",
    ["fb.1.abc.x", "undefined", "GA1.2.3", "", f"{FBP}<b>", f'"{FBP}"', f"fb.1.{NOW_MS}.a b"],
)
def test_a_browser_id_that_is_not_metas_is_dropped(site, value):
    assert read(ask(cookies={"_fbp": value}), site).fbp == ""


def test_of_two_cookies_of_one_name_the_first_valid_one_counts(site):
    other = f"fb.1.{NOW_MS}.999"
    held = ask(Cookie=f"_fbp=undefined; _fbp={FBP}; _fbp={other}")
    assert read(held, site).fbp == FBP


def test_a_click_id_keeps_its_case_and_its_appendix(site):
    value = f"fb.1.{NOW_MS}.IwAR_aBc-D.AQEAAQMB"
    assert read(ask(cookies={"_fbc": value}), site).fbc == value


@pytest.mark.parametrize(
    ("sent", "kept"), [(AGENT, AGENT), (f" a\x00\x1b[31mb{'x' * 5000}", f"a[31mb{'x' * 1018}"), ("", "")]
)  # fmt: skip
def test_an_agent_is_kept_printable_and_short(site, sent, kept):
    assert read(ask(User_Agent=sent), site).client_user_agent == kept


def test_the_session_is_known_by_a_digest_only(site):
    found = read(ask(cookies={"sessionid": "the-session-key"}), site)
    assert found.session
    assert "the-session-key" not in repr(found)


@pytest.mark.parametrize(
    ("cookies", "buyer"),
    [
        ({}, False),
        ({"csrftoken": "x"}, False),
        ({"sessionid": "x"}, True),
        ({"_fbp": "x"}, True),
        ({"metapixel_consent": "granted"}, True),
        ({"metapixel_off": "", "sessionid": "x"}, False),
    ],
)
def test_a_request_speaks_for_a_buyer_when_it_carries_our_cookies_and_is_not_staffs(cookies, buyer):
    assert visitor.is_the_buyers(ask(cookies=cookies)) is buyer


# The record


@pytest.fixture
def person(site):
    return Visitor(
        site_pk=site.site_pk,
        host="testserver",
        url="https://testserver/p/",
        client_ip_address="203.0.113.7",
        client_user_agent=AGENT,
        fbp=FBP,
        fbc=FBC,
        consent="granted",
    )


def test_a_visitor_kept_with_an_order_comes_back_as_it_was(person):
    visitor.store(person, ("order", 17), using="default")
    assert visitor.recall(("order", 17), using="default") == person
    assert visitor.recall(("order", 18), using="default") is None


def test_nothing_personal_can_be_read_in_the_stored_bytes(person):
    visitor.store(person, "order-17", using="default")
    row = VisitorRecord.objects.values().get()
    stored = b"|".join(
        bytes(v) if isinstance(v, memoryview) else str(v).encode() for v in row.values()
    )
    for secret in ("203.0.113.7", AGENT, FBP, FBC, "order-17", "/p/"):
        assert secret.encode() not in stored


def test_the_newest_record_of_an_order_counts(person, site):
    visitor.store(person, 17, using="default")
    newer = Visitor(site_pk=site.site_pk, host="testserver", consent="denied")
    visitor.store(newer, 17, using="default")
    assert visitor.recall(17, using="default") == newer


def test_a_record_is_forgotten_after_seven_days(person):
    visitor.store(person, 17, using="default")
    row = VisitorRecord.objects.get()
    assert timedelta(days=6) < row.expires_at - timezone.now() <= timedelta(days=7)
    VisitorRecord.objects.update(expires_at=timezone.now())
    assert visitor.recall(17, using="default") is None


def test_a_record_that_no_key_opens_is_no_visitor(settings, person):
    visitor.store(person, 17, using="default")
    settings.SECRET_KEY = "another one, as after a restore on another machine"
    assert visitor.recall(17, using="default") is None


def test_a_rotated_secret_still_opens_the_record(settings, person):
    visitor.store(person, 17, using="default")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one, and long enough for everybody's taste"
    assert visitor.recall(17, using="default") == person


def test_a_record_of_another_release_is_read_as_far_as_it_is_known(monkeypatch, person):
    known = visitor.Visitor._asdict
    later = {**known(person), "of_tomorrow": 1}
    monkeypatch.setattr(visitor.Visitor, "_asdict", lambda _person: later)
    visitor.store(person, 17, using="default")
    assert visitor.recall(17, using="default") == person
