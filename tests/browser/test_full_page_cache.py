"""Pages that everybody gets from one cache: the same bytes, and each visitor's own events."""

from __future__ import annotations

import time
import urllib.request

import pytest
from walking.shopper import CLICK_ID
from walking.verdict import judge

pytestmark = pytest.mark.browser

PAGES = ["/", "/crockery/", "/crockery/mueritz-breakfast-bowl/", "/search/?q=honey", "/privacy/"]
PRODUCT = "/crockery/mueritz-breakfast-bowl/"


def fetch(shop, path, cookies=""):
    request = urllib.request.Request(shop.url + path, headers={"Cookie": cookies})
    with urllib.request.urlopen(request) as answer:
        return answer.read(), answer.headers


@pytest.mark.parametrize("path", PAGES)
def test_cached_page_holds_nothing_of_a_visitor(cached_shop, path):
    body, headers = fetch(cached_shop, path)
    assert b"metapixel-config" in body
    assert b"csrfmiddlewaretoken" not in body
    assert "Set-Cookie" not in headers
    assert "cookie" not in headers.get("Vary", "").lower()


def test_two_visitors_get_the_bytes_of_one_cache_entry(cached_shop):
    one, first = fetch(cached_shop, PRODUCT, "_fbp=fb.0.1700000000000.1; sessionid=one")
    time.sleep(1.1)  # a page made anew would expire a second later
    other, second = fetch(cached_shop, PRODUCT, "metapixel_consent=granted.abc; sessionid=other")
    assert one == other
    assert first["Expires"] == second["Expires"]


def test_two_visitors_of_a_cached_page_send_events_of_their_own(cached_shop, sandbox, visit):
    visitors = [visit(cached_shop), visit(cached_shop)]
    bodies = [look_at_product(shopper) for shopper in visitors]
    assert bodies[0] == bodies[1]

    seen = [shopper.events() for shopper in visitors]
    for shopper, events in zip(visitors, seen, strict=True):
        troubles = shopper.all_troubles()
        verdict = judge(shopper.expected, events, click_id=CLICK_ID, troubles=troubles)
        assert verdict, f"\n{verdict}"
        assert sorted(row.name for row in verdict.rows) == ["AddToCart", "PageView", "ViewContent"]
    ids = {event["event_id"] for events in seen for event in events}
    assert len(ids) == 6
    assert len(sandbox.events()) == 6


def look_at_product(shopper):
    """Arrive, accept on a product's page and put it into the cart; the page's bytes."""
    shopper.arrive()
    with shopper.page.expect_response(lambda response: response.url.endswith(PRODUCT)) as found:
        shopper.open_product()
    shopper.accept()
    shopper.add_to_cart()
    return found.value.body()
