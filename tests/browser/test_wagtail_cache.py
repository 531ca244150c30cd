"""Chromium before the shop behind wagtail-cache, which takes cookies and click ids from requests.

Its releases are for Wagtail before 8; so the suite ``wagtail-cache`` has an environment of its own.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from walking import shopper as walker

from tests.browser.conftest import assert_counted, order_and_reload
from wagtail_metapixel.browser import ECHO_COOKIE_PREFIX

pytest.importorskip("wagtailcache", reason="wagtail-cache has no release for this Wagtail")
pytestmark = pytest.mark.browser

PRODUCT = "/crockery/mueritz-breakfast-bowl/"


@pytest.fixture(scope="module")
def shop(new_shop):
    options = {"EXAMPLE_FULL_PAGE_CACHE": "wagtail-cache", "EXAMPLE_WEBHOOK_DELAY": "0"}
    with new_shop("wagtail-cache", **options) as running:
        yield running


def pages_of(shopper):
    """What wagtail-cache says of the pages that the visitor loads: a list of path and word."""
    found = []

    def note(response):
        if response.request.is_navigation_request() and "x-wagtail-cache" in response.headers:
            found.append((urlsplit(response.url).path, response.headers["x-wagtail-cache"]))

    shopper.page.on("response", note)
    return found


def test_visitors_of_cached_pages_have_events_and_click_ids_of_their_own(shop, visit, monkeypatch):
    events, bodies, cached = [], [], []
    for click_id in ("IwAR0TheFirst", "IwAR0AnotherOne"):
        monkeypatch.setattr(walker, "CLICK_ID", click_id)
        shopper = visit(shop)
        cached.append(pages_of(shopper))
        shopper.arrive()
        shopper.open_product()
        shopper.accept()
        shopper.add_to_cart()
        assert_counted(shopper, click_id)
        assert shopper.cookies()["_fbc"].endswith(f".{click_id}")
        events.append({event["event_id"]: event["event_name"] for event in shopper.events()})
        bodies.append(shopper.bodies)

    # Whoever waited for the shop to start has asked for "/" before, without a click id.
    assert cached == [[("/", "hit"), (PRODUCT, "miss")], [("/", "hit"), (PRODUCT, "hit")]]
    assert bodies[0] == bodies[1]
    names = ["AddToCart", "PageView", "ViewContent"]
    assert [sorted(each.values()) for each in events] == [names, names]
    assert len(events[0] | events[1]) == 6


def test_walk_to_the_thank_you_page_loses_nothing_behind_wagtail_cache(shop, visit):
    shopper = visit(shop)
    pages = pages_of(shopper)
    order_and_reload(shopper)

    verdict = assert_counted(shopper)
    told = {row.name for row in verdict.rows}
    assert {"AddToCart", "InitiateCheckout", "AddPaymentInfo", "Purchase"} <= told
    assert [name for name in shopper.cookies() if name.startswith(ECHO_COOKIE_PREFIX)] == []
    assert pages[0] == ("/", "hit")
