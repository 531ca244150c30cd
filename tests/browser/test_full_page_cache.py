"""Pages that everybody gets from one cache: the same bytes, and each visitor's own events."""

from __future__ import annotations

import time
import urllib.request

import pytest

from tests.browser.conftest import assert_counted

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


def test_two_visitors_walk_on_the_same_bytes_with_events_of_their_own(cached_shop, sandbox, visit):
    visitors = [visit(cached_shop), visit(cached_shop)]
    seen = []
    for shopper in visitors:
        shopper.walk()
        seen.append(shopper.events())
        assert_counted(shopper)

    one, other = (shopper.bodies for shopper in visitors)
    cached = ["/", "/crockery/", PRODUCT, "/search/", "/pantry/tea-and-biscuits/"]
    assert [path for path in cached if one[path] != other[path]] == []
    assert b"csrfmiddlewaretoken" not in b"".join(one[path] for path in cached)

    ids = {event["event_id"] for events in seen for event in events}
    assert len(ids) == len(seen[0]) + len(seen[1]) == len(sandbox.events())
