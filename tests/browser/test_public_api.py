"""What a site's own code may call: ``grant``, ``deny``, ``revoke``, ``on`` and ``flush``."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, assert_told, told

pytestmark = pytest.mark.browser

# As code of the page's own, which hears of everything from its first moment.
HEAR = """
() => {
  window.heard = { event: [], consent: [] };
  window.stop = ["event", "consent"].map((name) =>
    metapixel.on(name, (detail) => heard[name].push(detail))
  );
}
"""
ADD_BY_FETCH = """
async (headers) => {
  const form = document.querySelector("[data-walk=add-form]");
  const response = await fetch(form.action, { method: "POST", body: new FormData(form), headers });
  const before = heard.event.length;
  metapixel.flush(response);
  metapixel.flush(response);
  return { redirected: response.redirected, before };
}
"""


@pytest.fixture
def visitor(cached_shop, cached_product, visit):
    """Somebody on a product's page who has not answered yet."""
    shopper = visit(cached_shop, patience=0)
    shopper.page.goto(cached_product)
    shopper.page.evaluate(HEAR)
    return shopper


def heard(visitor, name):
    return visitor.page.evaluate("(name) => heard[name]", name)


def path(visitor):
    return urlsplit(visitor.page.url).path


def meta_cookies(visitor):
    return [name for name in visitor.cookies() if name.startswith("_fb")]


def of_the_page(visitor):
    return [("PageView", path(visitor)), ("ViewContent", path(visitor))]


def grant(visitor):
    """The page's own button, whatever it looks like; returns when both sides have told."""
    visitor.page.evaluate("metapixel.grant()")
    wanted = sorted((*event, "deduplicated") for event in of_the_page(visitor))
    assert visitor.wait_until(lambda: told(visitor) == wanted, PATIENCE), told(visitor)


def test_grant_tells_what_was_held_until_revoke_and_callbacks_until_they_end(visitor, sandbox):
    assert heard(visitor, "event") == heard(visitor, "consent") == []
    assert (sandbox.requests, meta_cookies(visitor)) == ([], [])
    grant(visitor)
    assert heard(visitor, "consent") == ["granted"]
    assert [(each["event_name"], each["event_id"]) for each in heard(visitor, "event")] == [
        (event["event_name"], event["event_id"])
        for event in sorted(sandbox.events(), key=lambda event: event["event_name"])
    ]
    assert visitor.cookies()["metapixel_consent"].startswith("granted.")

    visitor.page.evaluate("stop[0]()")
    visitor.page.evaluate("metapixel.track('Contact', { content_name: 'Hotline' })")
    wanted = ["Contact", "PageView", "ViewContent"]
    assert visitor.wait_until(lambda: [name for name, *_ in told(visitor)] == wanted, PATIENCE)
    assert len(heard(visitor, "event")) == len(of_the_page(visitor))

    visitor.page.evaluate("metapixel.revoke()")
    assert visitor.wait_until(lambda: meta_cookies(visitor) == [], PATIENCE)
    assert heard(visitor, "consent") == ["granted", "denied"]
    visitor.page.evaluate("metapixel.track('FindLocation')")
    visitor.page.reload()
    visitor.wait(SECONDS_OF_SILENCE)
    assert sorted(event["event_name"] for event in sandbox.events()) == wanted
    assert visitor.cookies()["metapixel_consent"] == "denied"
    assert visitor.all_troubles() == []


@pytest.mark.parametrize("carrier", ["header", "cookie"])
def test_flush_tells_the_servers_event_once_with_its_id(visitor, carrier):
    grant(visitor)
    # The shop sends who does not ask for a part of a page to the cart: a fetch follows unseen.
    headers = {"HX-Request": "true"} if carrier == "header" else {}
    answer = visitor.page.evaluate(ADD_BY_FETCH, headers)
    assert answer == {"redirected": carrier == "cookie", "before": 2}
    assert_told(visitor, *of_the_page(visitor), ("AddToCart", path(visitor)))
    (added,) = [event for event in visitor.events() if event["event_name"] == "AddToCart"]
    assert added["differences"] == []
    last = heard(visitor, "event")[2:]
    assert [(each["event_name"], each["event_id"]) for each in last] == [
        ("AddToCart", added["event_id"])
    ]
    assert last[0]["params"]["value"] == added["copies"][0]["custom_data"]["value"]
    assert not [name for name in visitor.cookies() if name.startswith("metapixel_e_")]
    assert visitor.all_troubles() == []
