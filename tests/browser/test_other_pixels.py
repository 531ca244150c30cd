"""Who else speaks of Meta on the page: somebody's own fbq, or a tag manager."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import LISTEN, PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

PIXEL = "1234567890123456"
ONCE = {"browser": 1, "server": 1}
HAND_OVER = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(data_layer=True, limited_data_use=True)
"""
# As a theme or a tag manager puts it on the page, whoever has agreed to what: before our files.
SOMEBODYS_PIXEL = """
(() => {
  window.fbq = window._fbq = function () {
    fbq.callMethod ? fbq.callMethod(...arguments) : fbq.queue.push(arguments);
  };
  Object.assign(fbq, { push: fbq, loaded: true, version: "2.0", queue: [] });
  document.addEventListener("DOMContentLoaded", () => {
    const script = document.createElement("script");
    script.src = "https://connect.facebook.net/en_US/fbevents.js";
    document.head.append(script);
  });
  fbq("init", "1234567890123456");
})();
"""


@pytest.fixture(scope="module")
def handing_shop(new_shop):
    """A shop whose tag manager tells Meta, and that limits the use of the data."""
    with new_shop("data_layer", prepared_by=HAND_OVER) as running:
        yield running


def look_and_buy(visitor, shop, *scripts):
    """A product and the cart, by somebody who has agreed."""
    for script in scripts:
        visitor.page.add_init_script(script)
    consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef", "url": shop.url}
    visitor.page.context.add_cookies([consent])
    visitor.page.goto(shop.url)
    visitor.open_product()
    visitor.add_to_cart()


LOOKED_AND_BOUGHT = ["AddToCart", "PageView", "PageView", "ViewContent"]


def names(sandbox):
    return sorted(event["event_name"] for event in sandbox.events())


def counts(sandbox):
    return {tuple(event["counts"].items()) for event in sandbox.events()}


def wait_for(visitor, sandbox, wanted):
    """Each event has arrived as often as ``wanted`` from each side, and nothing more comes."""

    def has_come():
        return names(sandbox) == LOOKED_AND_BOUGHT and counts(sandbox) == {tuple(wanted.items())}

    assert visitor.wait_until(has_come, PATIENCE), (names(sandbox), counts(sandbox))
    visitor.wait(SECONDS_OF_SILENCE)
    assert has_come()


def scripts(visitor):
    return visitor.page.locator("script[src*='fbevents.js']").count()


def test_somebody_elses_fbq_is_shared(shop, sandbox, visit):
    visitor = visit(shop, patience=0)
    notes = []
    visitor.page.on("console", lambda message: notes.append(message.text))
    look_and_buy(visitor, shop, LISTEN, SOMEBODYS_PIXEL)
    wait_for(visitor, sandbox, ONCE)
    said = visitor.page.evaluate("said")
    assert [words[1] for words in said if words[0] == "init"] == [PIXEL]
    assert scripts(visitor) == 1
    assert not [text for text in notes if "Duplicate Pixel ID" in text]
    assert [text for text in notes if "another Meta pixel is on this page" in text]
    assert {event["pixel"] for event in sandbox.events()} == {PIXEL}


def test_tag_manager_gets_the_events_with_the_ids_of_the_server(handing_shop, sandbox, visit):
    visitor = visit(handing_shop, patience=0)
    look_and_buy(visitor, handing_shop)
    wait_for(visitor, sandbox, {"browser": 0, "server": 1})
    assert visitor.asked_of_meta() == []
    assert visitor.page.evaluate("typeof window.fbq") == "undefined"

    handed = visitor.page.evaluate("dataLayer")
    path = urlsplit(visitor.page.url).path
    copies = [copy for event in sandbox.events() for copy in event["copies"]]
    here = [copy for copy in copies if urlsplit(copy["event_source_url"]).path == path]
    assert sorted((each["event_name"], each["event_id"]) for each in handed) == sorted(
        (copy["event_name"], copy["event_id"]) for copy in here
    )
    assert {each["event"] for each in handed} == {"metapixel"}
    assert [each["data_processing_options"] for each in handed] == [["LDU"]] * 3
    (bought,) = [each for each in handed if each["event_name"] == "AddToCart"]
    (recorded,) = [copy for copy in here if copy["event_name"] == "AddToCart"]
    shared = recorded["custom_data"].keys() & bought["custom_data"].keys()
    assert {"value", "currency", "contents"} <= shared
    assert {name: str(bought["custom_data"][name]) for name in ("value", "currency")} == {
        name: str(recorded["custom_data"][name]) for name in ("value", "currency")
    }
    assert visitor.all_troubles() == []
