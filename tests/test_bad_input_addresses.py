"""Bad addresses, cookies and click ids, as they come with a request. Numbers name the case."""

from __future__ import annotations

import time

import pytest
from django.test import RequestFactory

from wagtail_metapixel import catalogue, site_settings, visitor
from wagtail_metapixel.addresses import clean_url
from wagtail_metapixel.identifiers import Fbc, Fbp

NOW = int(time.time() * 1000)
SHOP = "https://shop.example"
SITE = site_settings.SiteConfig(
    site_pk=1,
    hostname="shop.example",
    port=443,
    is_default=True,
    own_hosts=frozenset({"shop.example", "testserver"}),
)
GOOD_FBP = f"fb.1.{NOW}.1234567890"


@pytest.fixture(autouse=True)
def no_database(monkeypatch):
    snapshot = site_settings.Snapshot(
        sites=(SITE,), installation_key=b"k", taken_at=time.monotonic()
    )
    monkeypatch.setattr(site_settings, "_latest", snapshot)


def read(path="/", method="get", **headers):
    """The visitor of a request with these headers, once the gate said yes."""
    request = RequestFactory().generic(method.upper(), path, headers=headers)
    return visitor.read(visitor.capture(request), SITE, consent="granted", consent_proof="")


def told(address):
    """Where an event happened, when the browser of a form says it was at ``address``."""
    return read("/cart/add/", "post", Referer=address).url


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("javascript:alert(1)", id="77: javascript"),
        pytest.param("JavaScript:alert(1)//https://shop.example/", id="77: javascript, disguised"),
        pytest.param("java\nscript:alert(1)", id="77: javascript with a line break"),
        pytest.param("data:text/html,https://shop.example/", id="77: data"),
        pytest.param("blob:https://shop.example/0f1e", id="77: blob"),
        pytest.param("file:///etc/passwd", id="77: file"),
        pytest.param("//evil.example/p/", id="77: without a scheme"),
        pytest.param("//shop.example/p/", id="77: without a scheme, own host"),
        pytest.param("/p/cup/", id="77: relative"),
        pytest.param("shop.example/p/", id="77: relative, like a host"),
        pytest.param("https:/shop.example/", id="77: one slash"),
        pytest.param("https://", id="77: no host"),
        pytest.param("https://shop.example\\@evil.example/", id="77: backslash"),
        pytest.param(f"https://{'a' * 254}.example/", id="79: a host no DNS knows"),
    ],
)
def test_what_is_no_page_on_the_web_is_dropped(address):
    assert clean_url(address, keep_query=None) is None
    assert told(address) == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("https://me:secret@shop.example/p/", "/p/", id="78: user and password"),
        pytest.param("https://me:se@cret@shop.example/p/", "/p/", id="78: password with an @"),
        pytest.param(f"{SHOP}/p/#email=anna@example.com", "/p/", id="78: fragment"),
        pytest.param(f"{SHOP}/p/?email=anna@example.com", "/p/", id="78: e-mail in the query"),
        pytest.param(
            f"{SHOP}/p/?utm_term=anna%40example.com", "/p/", id="78: e-mail in what is kept"
        ),
        pytest.param(
            f"{SHOP}/p/?utm_term=anna%2540example.com", "/p/", id="78: e-mail, escaped twice"
        ),
        pytest.param(
            f"{SHOP}/p/?utm_anna@example.com=1&utm_a=2", "/p/?utm_a=2", id="78: e-mail as a name"
        ),
        pytest.param(f"{SHOP}/u/anna@example.com/x/", "/u/x/", id="78: e-mail in the path"),
        pytest.param(f"{SHOP}/u/anna%2540example.com/", "/u/", id="78: in the path, escaped twice"),
        pytest.param(f"{SHOP}/reset/MQ/c1-5f3a/", "/reset/", id="78: reset"),
        pytest.param(f"{SHOP}/Reset/MQ/c1-5f3a/?fbclid=x", "/Reset/?fbclid=x", id="78: Reset"),
        pytest.param(f"{SHOP}/%2572eset/MQ/", "/%2572eset/", id="78: reset, escaped twice"),
        pytest.param(f"{SHOP}/p/?token=abc&next=/reset/x", "/p/", id="78: token in the query"),
        pytest.param(f"{SHOP}/d/{'0a1B' * 10}/", "/d/", id="78: long secret"),
        pytest.param(f"{SHOP}:8443/p/", ":8443/p/", id="79: port"),
        pytest.param(f"{SHOP}/%FF%FE/", "/%FF%FE/", id="79: escapes that are no UTF-8"),
        pytest.param(f"{SHOP}/a%/", "/a%/", id="79: half an escape"),
        pytest.param(f"{SHOP}/ü/", "/%C3%BC/", id="79: letters that are not ASCII"),
        pytest.param(f"{SHOP}/p/?utm_a=\ud800&utm_b=1", "/p/?utm_b=1", id="79: half a surrogate"),
        pytest.param(f"{SHOP}/p/?utm_a=x\n&utm_b=1", "/p/?utm_b=1", id="79: line break"),
    ],
)
def test_what_is_private_or_broken_is_taken_out(address, expected):
    assert clean_url(address, keep_query=None) == SHOP + expected
    assert told(address) == SHOP + expected


def test_a_host_in_another_script_stays():  # row 79
    assert clean_url("https://münchen.example/p/", keep_query=None) == "https://münchen.example/p/"


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(f"{SHOP}/{'part/' * 2000}", id="79: 10 kB of parts"),
        pytest.param(f"{SHOP}/{'x' * 10_000}", id="79: 10 kB in one part"),
        pytest.param(f"{SHOP}/p/?utm_source={'x' * 10_000}", id="79: 10 kB of query"),
        pytest.param(f"{SHOP}/p/?{'utm_a=1&' * 1500}", id="79: 10 kB of parameters"),
        pytest.param(f"{SHOP}/{'ü' * 5000}", id="79: 10 kB that grow when escaped"),
    ],
)
def test_a_long_address_is_cut(address):
    cleaned = told(address)
    assert cleaned.startswith(f"{SHOP}/")
    assert len(cleaned) <= catalogue.URL_MAX


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("https://other.example/p/", id="80: another host"),
        pytest.param("https://shop.example.evil.example/p/", id="80: ours as its beginning"),
        pytest.param("https://evilshop.example/p/", id="80: ours as its end"),
        pytest.param("https://shop.example@evil.example/p/", id="80: ours as its user"),
    ],
)
def test_an_address_of_another_host_is_not_where_it_happened(address):
    assert told(address) == ""
    assert read("/p/", Referer=address).url == "http://testserver/p/"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("fb.1.abc.x", id="81: letters"),
        pytest.param("", id="81: empty"),
        pytest.param("undefined", id="81: undefined"),
        pytest.param("null", id="81: null"),
        pytest.param("GA1.2.3", id="81: of another tool"),
        pytest.param(f"fb.1.{NOW}.{'1' * 4000}", id="81: 4 kB"),
        pytest.param(f"fb.1.{NOW}.12<b>", id="81: markup"),
        pytest.param(f"fb.1.{NOW}.١٢٣", id="81: digits of another script"),
        pytest.param(f"fb.1.{NOW // 1000}.123", id="87: seconds"),
        pytest.param(f"fb.1.{NOW + 3 * 86_400_000}.123", id="87: future"),
    ],
)
def test_a_browser_id_that_meta_did_not_write_is_dropped(value):
    assert Fbp.parse(value) is None
    assert read(Cookie=f"_fbp={value}".encode().decode("latin-1")).fbp == ""


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"{GOOD_FBP}.AQEAAQMB", id="82: the parameter builder's fifth part"),
        pytest.param(f"{GOOD_FBP}.Bg", id="82: its older form"),
        pytest.param(f"fb.2.{NOW}.1", id="82: one digit"),
    ],
)
def test_a_browser_id_is_kept_byte_for_byte(value):
    assert read(Cookie=f"a=b; _fbp={value}").fbp == value


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("IwAR-a_b-C", id="83: dash and underscore"),
        pytest.param("-_-", id="83: nothing else"),
        pytest.param("iwarabcdef", id="84: lower case"),
        pytest.param("IwArAbCdEf", id="84: mixed case"),
        pytest.param("IWARABCDEF", id="84: upper case"),
    ],
)
def test_a_click_id_is_kept_byte_for_byte(payload):
    assert read(Cookie=f"_fbc=fb.1.{NOW}.{payload}").fbc == f"fb.1.{NOW}.{payload}"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"fb.1.{NOW}.{'a' * 4096}", id="85: 4 kB"),
        pytest.param(f"fb.1.{NOW}.a<b", id="85: markup"),
        pytest.param(f"fb.1.{NOW}.a\r\nSet-Cookie: x", id="85: CRLF"),
        pytest.param(f"fb.1.{NOW}.a\n", id="85: a line break at the end"),
        pytest.param(f"fb.1.{NOW}.a b", id="85: blank"),
        pytest.param(f"fb.1.{NOW}.a%20b", id="85: escaped"),
        pytest.param(f"fb.1.{NOW // 1000}.abc", id="87: seconds"),
        pytest.param(f"fb.1.{NOW + 3 * 86_400_000}.abc", id="87: future"),
        pytest.param("fb.1.0.abc", id="87: zero"),
        pytest.param(f"fb.1.-{NOW}.abc", id="87: negative"),
    ],
)
def test_a_click_id_that_is_odd_is_dropped(value):
    assert Fbc.parse(value) is None
    # A line break cannot come in a header; the request parsers refuse it before us.
    if value.isprintable():
        assert read(Cookie=f"_fbc={value}").fbc == ""


def test_a_semicolon_ends_the_cookie():  # row 85
    assert Fbc.parse(f"fb.1.{NOW}.a;b") is None
    assert read(Cookie=f"_fbc=fb.1.{NOW}.a;b").fbc == f"fb.1.{NOW}.a"


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        pytest.param(f"_fbp=x; _fbp={GOOD_FBP}", GOOD_FBP, id="86: the second is valid"),
        pytest.param(f"_fbp={GOOD_FBP}; _fbp=fb.1.{NOW}.9", GOOD_FBP, id="86: both are"),
        pytest.param(f"_fbp={GOOD_FBP};_fbp=", GOOD_FBP, id="86: the second is empty"),
        pytest.param("_fbp=; _fbp=x", "", id="86: none is"),
        pytest.param(f"x_fbp={GOOD_FBP}; _fbpx={GOOD_FBP}", "", id="86: names that only resemble"),
    ],
)
def test_of_two_browser_ids_the_first_valid_one_counts(cookies, expected):
    assert read(Cookie=cookies).fbp == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("fbclid=", "", id="88: empty"),
        pytest.param("fbclid", "", id="88: no value"),
        pytest.param("fbclid=A-b_1&fbclid=C", "?fbclid=A-b_1", id="88: repeated"),
        pytest.param("fbclid=&fbclid=C", "?fbclid=C", id="88: repeated, the first empty"),
        pytest.param("fbclid=<b>&fbclid=C", "?fbclid=C", id="88: repeated, the first broken"),
        pytest.param(f"fbclid={'a' * 500}", f"?fbclid={'a' * 500}", id="88: at the cap"),
        pytest.param(f"fbclid={'a' * 501}", "", id="88: over the cap"),
        pytest.param(f"fbclid={'a' * 1024}", "", id="88: 1 kB"),
        pytest.param("FBCLID=abc", "", id="88: of another name"),
    ],
)
def test_a_click_id_in_the_address(query, expected):
    assert read(f"/p/?{query}").url == f"http://testserver/p/{expected}"
