"""Addresses of pages, and what of them Meta may be told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wagtail_metapixel import addresses, catalogue
from wagtail_metapixel.addresses import clean_url

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"{SHOP}/p/cup/", f"{SHOP}/p/cup/"),
        (SHOP, f"{SHOP}/"),
        pytest.param("HTTPS://Shop.Example/P/", "https://shop.example/P/", id="case of the host"),
        pytest.param("javascript:alert(1)", None, id="77: javascript"),
        pytest.param("data:text/html,x", None, id="77: data"),
        pytest.param("//evil.example/", None, id="77: no scheme"),
        pytest.param("/p/cup/", None, id="77: relative"),
        pytest.param("", None, id="77: empty"),
        pytest.param("https://", None, id="77: no host"),
        pytest.param("https://a b/", None, id="77: a space in the host"),
        pytest.param("https://shop.example\\@evil.example/", None, id="77: backslash"),
        pytest.param("https://shop.example/\nSet-Cookie: x", None, id="77: line break"),
        pytest.param(None, None, id="77: None"),
        pytest.param(b"https://shop.example/", None, id="77: bytes"),
        pytest.param("https://me:secret@shop.example/p/", f"{SHOP}/p/", id="78: password"),
        pytest.param(f"{SHOP}/p/#token=x", f"{SHOP}/p/", id="78: fragment"),
        pytest.param(f"{SHOP}/p/?email=anna@example.com", f"{SHOP}/p/", id="78: e-mail in query"),
        pytest.param(f"{SHOP}/u/anna@example.com/x/", f"{SHOP}/u/x/", id="78: e-mail in path"),
        pytest.param(f"{SHOP}/u/anna%40example.com", f"{SHOP}/u/", id="78: e-mail, escaped"),
        pytest.param(f"{SHOP}/reset/MQ/abc-def/", f"{SHOP}/reset/", id="78: reset"),
        pytest.param(f"{SHOP}/en/password_reset_confirm/x", f"{SHOP}/en/password_reset_confirm/", id="78: reset, one word of several"),
        pytest.param(f"{SHOP}/%72eset/MQ/", f"{SHOP}/%72eset/", id="78: reset, escaped"),
        pytest.param(f"{SHOP}/o/{'0a' * 16}/", f"{SHOP}/o/", id="78: hexadecimal token"),
        pytest.param(f"{SHOP}/o/aB3{'x' * 20}/", f"{SHOP}/o/", id="78: mixed token"),
        pytest.param(f"{SHOP}/p/blue-linen-Shirt-XL-2026-limited-edition/", f"{SHOP}/p/blue-linen-Shirt-XL-2026-limited-edition/", id="a long slug stays"),
        *(
            pytest.param(f"{SHOP}{path}", f"{SHOP}{path}", id=f"stays: {path}")
            for path in (
                "/magic-the-gathering/cards/black-lotus/", "/magic/cards/", "/reset-button/red/",
                "/invitation-cards/wedding/", "/wedding-invitation/gold-on-blue/",
                "/p/iPhone15ProMax256GBBlackTitanium/", "/p/MacBookPro16M3Max36GB1TB/",
                "/p/mug@2x.png", "/p/mug@1.5x.JPEG", "/p/123456789012345678901234567890/",
            )
        ),
        *(
            pytest.param(f"{SHOP}/{word}/x-1/y/", f"{SHOP}/{word}/", id=f"cut: {word}")
            for word in (
                "reset", "password-reset", "Reset_Password", "verify-email", "confirm_e_mail",
                "magic-link", "magiclink", "account-activation", "token", "invitation",
                "account-confirm-email",
            )
        ),
        *(
            pytest.param(f"{SHOP}/p/{token}/x/", f"{SHOP}/p/x/", id=f"cut: {token}")
            for token in (
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.SflKxwRJSMeKKF2QT4fwpM",
                "9f86d081884c7d659a2feaa0c55ad015", "cq8x3p-9f86d081884c7d659a2feaa0c55ad015",
                "Zk3pQ9vLx7TbR2mWc5Ns", "me@2x.png.example.com", "me@2x.pngs", "2x@mug.png.de",
            )
        ),
        pytest.param(f"{SHOP}/p/presetconfirmer/x/", f"{SHOP}/p/presetconfirmer/x/", id="only whole words"),
        pytest.param(f"{SHOP}:8443/p/", f"{SHOP}:8443/p/", id="79: port"),
        pytest.param("https://münchen.de/ü/", "https://münchen.de/%C3%BC/", id="79: IDN"),
        pytest.param(f"{SHOP}/%FF/", f"{SHOP}/%FF/", id="79: bytes that are no UTF-8"),
        pytest.param("http://[2001:db8::1]:80/p/", "http://[2001:db8::1]:80/p/", id="IPv6"),
        pytest.param(f"{SHOP}/a b/", f"{SHOP}/a%20b/", id="a space in the path"),
    ],
)  # fmt: skip
def test_an_address_is_cleaned(given, expected):
    assert clean_url(given, keep_query=None) == expected
    assert clean_url(given, keep_query=None) == expected  # the second time from memory
    if expected:
        assert clean_url(expected, keep_query=None) == expected


@pytest.mark.parametrize(
    ("query", "keep", "expected"),
    [
        ("utm_source=x&a=1&fbclid=Ab-C_1&gclid=y", None, "?utm_source=x&fbclid=Ab-C_1"),
        pytest.param("fbclid=", None, "", id="88: empty"),
        pytest.param("fbclid=A&fbclid=B", None, "?fbclid=A", id="88: repeated"),
        pytest.param(f"fbclid={'a' * 1024}", None, "", id="88: 1 kB"),
        pytest.param("utm_term=anna@example.com", None, "", id="e-mail as value"),
        pytest.param("utm_term=anna%40example.com", None, "", id="e-mail as value, escaped"),
        pytest.param("utm_term=a+b%20c", None, "?utm_term=a+b%20c", id="kept byte for byte"),
        pytest.param("utm_term=ä b", None, "?utm_term=%C3%A4%20b", id="escaped"),
        pytest.param("utm_term=" + "x" * 201, None, "", id="long value"),
        pytest.param("UTM_source=x", None, "", id="names are told apart by case"),
        pytest.param("q=cup&page=2&utm_source=x", frozenset({"q"}), "?q=cup", id="own list"),
        pytest.param("q=cup", frozenset(), "", id="nothing"),
        pytest.param("ref_a=1&x=2", frozenset({"ref_*"}), "?ref_a=1", id="own prefix"),
        pytest.param("&&=x&utm_source", None, "", id="broken"),
    ],
)
def test_of_the_query_only_the_allowed_names_stay(query, keep, expected):
    assert clean_url(f"{SHOP}/p/?{query}", keep_query=keep) == f"{SHOP}/p/{expected}"


def test_a_long_address_is_cut_between_its_parts():  # row 79
    cleaned = clean_url(f"{SHOP}/{'part/' * 2000}?utm_source=x", keep_query=None)
    assert len(cleaned) <= catalogue.URL_MAX
    assert cleaned.endswith("/part/")


def test_only_harmless_addresses_are_remembered_and_not_without_end():
    addresses._harmless.clear()
    clean_url(f"{SHOP}/reset/secret-of-one/", keep_query=None)
    clean_url(f"{SHOP}/u/anna@example.com/", keep_query=None)
    clean_url(f"{SHOP}/p/?fbclid=x", keep_query=None)
    assert addresses._harmless == {f"{SHOP}/p/"}
    for number in range(addresses._HARMLESS_MAX + 5):
        clean_url(f"{SHOP}/{number}/", keep_query=None)
    assert len(addresses._harmless) <= addresses._HARMLESS_MAX


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60) | st.text("ht ps:/?#@%40&=a.é", max_size=30).map("https://x.y/".__add__)
)
def test_no_address_raises_and_none_is_changed_twice(value):
    cleaned = clean_url(value, keep_query=None)
    if cleaned is not None:
        assert cleaned.startswith(("http://", "https://"))
        assert "#" not in cleaned
        assert clean_url(cleaned, keep_query=None) == cleaned
