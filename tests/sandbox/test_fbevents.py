"""The stand-in for Meta's script, in a real browser."""

from __future__ import annotations

import re

import pytest

from tests.sandbox.samples import PIXEL, digest

pytestmark = pytest.mark.browser

OTHER = "999999"
STUB = """
window.fbq = function () {
  fbq.callMethod ? fbq.callMethod.apply(fbq, arguments) : fbq.queue.push(arguments);
};
fbq.push = fbq; fbq.queue = []; fbq.loaded = true; fbq.version = "2.0";
"""
CLICK = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB"


@pytest.fixture
def visit(chromium, shop, sandbox):
    """Visit a page of the shop whose script is ``calls``; returns the page."""
    context = chromium.new_context()
    context.set_default_timeout(15_000)

    def visit(calls, path="/mug/", host="127.0.0.1", script=None):
        source = script or f"{sandbox.url}/en_US/fbevents.js"
        shop.html = (
            f"<!doctype html><title>Mug</title><script>{STUB}{calls}</script>"
            f'<script async src="{source}"></script>'
        )
        page = visit.page = context.new_page()
        visit.warnings = []
        page.on("console", lambda message: visit.warnings.append(message.text))
        page.goto(f"http://{host}:{shop.server_port}{path}")
        return page

    visit.context = context
    yield visit
    context.close()


@pytest.fixture
def hits(sandbox, eventually):
    """Wait for the copies of so many hits, in the order in which they came."""

    def hits(count):
        def came():
            found = [copy for event in sandbox.events() for copy in event["copies"]]
            return found if len(found) >= count else None

        copies = eventually(came)
        assert len(copies) == count
        return copies

    return hits


def cookies(page):
    found = page.context.cookies(page.url)
    return {cookie["name"]: cookie for cookie in found}


def test_what_was_called_before_the_script_came_is_sent_in_order(visit, hits):
    visit(
        f"""fbq('init', '{PIXEL}');
        fbq('track', 'PageView', {{}}, {{eventID: 'one'}});
        fbq('track', 'ViewContent', {{value: 12.5, currency: 'EUR', content_ids: ['a'],
             contents: [{{id: 'a', quantity: 1}}]}}, {{eventID: 'two'}});
        fbq('trackCustom', 'Unboxing', {{box: null, size: 'L'}});"""
    )
    copies = hits(3)
    by_name = {copy["event_name"]: copy for copy in copies}
    assert by_name.keys() == {"PageView", "ViewContent", "Unboxing"}
    assert [by_name[name]["event_id"] for name in ("PageView", "ViewContent")] == ["one", "two"]
    assert by_name["ViewContent"]["custom_data"] == {
        "value": 12.5,
        "currency": "EUR",
        "content_ids": ["a"],
        "contents": [{"id": "a", "quantity": 1}],
    }
    assert by_name["Unboxing"]["custom_data"] == {"size": "L"}
    assert by_name["Unboxing"]["event_id"] == ""
    assert by_name["PageView"]["event_source_url"].endswith("/mug/")


def test_calls_after_the_script_came_are_sent_at_once(visit, hits):
    page = visit(f"fbq('init', '{PIXEL}')")
    page.wait_for_function("!!fbq.callMethod")
    page.evaluate("fbq('track', 'AddToCart', {}, {eventID: 'x'})")
    assert hits(1)[0]["event_id"] == "x"


def test_track_tells_every_pixel_and_track_single_one(visit, hits):
    visit(
        f"""fbq('init', '{PIXEL}'); fbq('init', '{OTHER}');
        fbq('track', 'Contact');
        fbq('trackSingle', '{OTHER}', 'Lead', {{}}, {{eventID: 'l'}});
        fbq('trackSingleCustom', '{PIXEL}', 'Mine', {{}}, {{eventID: 'm'}});"""
    )
    told = {(copy["pixel"], copy["event_name"], copy["event_id"]) for copy in hits(4)}
    assert told == {
        (PIXEL, "Contact", ""),
        (OTHER, "Contact", ""),
        (OTHER, "Lead", "l"),
        (PIXEL, "Mine", "m"),
    }


def test_a_pixel_is_initialised_once(visit, hits, eventually):
    visit(f"fbq('init', '{PIXEL}'); fbq('init', '{PIXEL}'); fbq('track', 'Contact');")
    hits(1)
    eventually(lambda: any("Duplicate Pixel ID" in text for text in visit.warnings))


def test_the_browser_id_is_made_kept_and_sent(visit, hits):
    page = visit(f"fbq('init', '{PIXEL}'); fbq('track', 'Contact');")
    [first] = hits(1)
    cookie = cookies(page)["_fbp"]
    assert first["user_data"]["fbp"] == cookie["value"]
    assert re.fullmatch(r"fb\.\d\.\d{13}\.\d+", cookie["value"])
    assert not cookie["httpOnly"]
    page.reload()
    assert hits(2)[1]["user_data"]["fbp"] == cookie["value"]


def test_a_browser_id_that_is_there_stays(visit, hits, shop):
    value = "fb.1.1736063807103.526608478763752515.AQICAQMC"
    visit.context.add_cookies(
        [{"name": "_fbp", "value": value, "url": f"http://127.0.0.1:{shop.server_port}"}]
    )
    visit(f"fbq('init', '{PIXEL}'); fbq('track', 'Contact');")
    assert hits(1)[0]["user_data"]["fbp"] == value


def test_cookies_stand_on_the_shortest_domain_that_takes_them(visit, hits):
    page = visit(f"fbq('init', '{PIXEL}'); fbq('track', 'Contact');", host="a.www.shop.test")
    hits(1)
    cookie = cookies(page)["_fbp"]
    assert cookie["domain"] == ".shop.test"
    assert cookie["value"].startswith("fb.1.")


def test_a_click_id_is_kept_until_another_click(visit, hits, shop):
    calls = f"fbq('init', '{PIXEL}'); fbq('track', 'Contact');"
    page = visit(calls, path=f"/?fbclid={CLICK}")
    first = hits(1)[0]["user_data"]["fbc"]
    assert re.fullmatch(rf"fb\.\d\.\d{{13}}\.{CLICK}", first)
    assert cookies(page)["_fbc"]["value"] == first
    page.reload()
    assert hits(2)[1]["user_data"]["fbc"] == first
    page.goto(f"http://127.0.0.1:{shop.server_port}/cup/")
    assert hits(3)[2]["user_data"]["fbc"] == first
    page.goto(f"http://127.0.0.1:{shop.server_port}/?fbclid=Another")
    assert hits(4)[3]["user_data"]["fbc"].endswith(".Another")


def test_revoked_consent_holds_hits_and_cookies_until_it_is_given(visit, hits, sandbox):
    page = visit(
        f"""fbq('consent', 'revoke'); fbq('init', '{PIXEL}');
        fbq('track', 'PageView', {{}}, {{eventID: 'held'}});"""
    )
    page.wait_for_function("!!fbq.callMethod")
    page.wait_for_timeout(100)
    assert sandbox.events() == []
    assert cookies(page) == {}
    page.evaluate("fbq('consent', 'grant')")
    assert hits(1)[0]["event_id"] == "held"
    assert "_fbp" in cookies(page)


def test_a_long_hit_is_posted(visit, hits):
    page = visit(f"fbq('init', '{PIXEL}')")
    page.wait_for_function("!!fbq.callMethod")
    page.evaluate("fbq('track', 'Contact', {note: 'x'.repeat(3000)}, {eventID: 'long'})")
    [copy] = hits(1)
    assert (copy["method"], copy["event_id"]) == ("post", "long")
    assert copy["custom_data"] == {"note": "x" * 3000}


def test_hashed_match_keys_go_along_and_plain_ones_do_not(visit, hits, eventually):
    user = f"{{em: '{digest('x')}', external_id: 'user-1', ph: '+491234'}}"
    visit(f"fbq('init', '{PIXEL}', {user}); fbq('track', 'Contact');")
    [copy] = hits(1)
    assert copy["user_data"]["em"] == digest("x")
    assert copy["user_data"]["external_id"] == "user-1"
    assert "ph" not in copy["user_data"]
    eventually(lambda: any("match key ph" in text for text in visit.warnings))


def test_agent_and_data_processing_options_go_along(visit, hits):
    visit(
        f"""fbq('dataProcessingOptions', ['LDU'], 1, 1000);
        fbq('set', 'autoConfig', false, '{PIXEL}'); fbq('init', '{PIXEL}');
        fbq('set', 'agent', 'wagtail-metapixel', '{PIXEL}'); fbq('track', 'Contact');"""
    )
    [copy] = hits(1)
    assert copy["agent"] == "wagtail-metapixel"
    assert copy["data_processing_options"] == ("LDU", "1", "1000")


def test_one_address_is_viewed_once(visit, hits):
    visit(
        f"""fbq('init', '{PIXEL}'); fbq('track', 'PageView'); fbq('track', 'PageView');
        fbq('track', 'Contact');"""
    )
    assert sorted(copy["event_name"] for copy in hits(2)) == ["Contact", "PageView"]


@pytest.mark.parametrize("name", ["pushState", "replaceState"])
def test_a_new_address_is_viewed_by_itself(visit, hits, name):
    again = "fbq.allowDuplicatePageViews = true;"
    page = visit(f"{again} fbq('init', '{PIXEL}'); fbq('track', 'PageView');")
    hits(1)
    page.evaluate(f"history.{name}({{}}, '', location.href)")
    page.evaluate(f"history.{name}({{}}, '', '/cup/')")
    assert hits(2)[1]["event_source_url"].endswith("/cup/")


def test_a_page_can_keep_its_addresses_to_itself(visit, hits):
    page = visit(f"fbq.disablePushState = true; fbq('init', '{PIXEL}'); fbq('track', 'PageView');")
    hits(1)
    page.evaluate("history.pushState({}, '', '/cup/'); fbq('track', 'Contact')")
    assert [copy["event_name"] for copy in hits(2)] == ["PageView", "Contact"]


def test_the_script_twice_on_a_page_sends_once(visit, hits, sandbox):
    page = visit(f"fbq('init', '{PIXEL}'); fbq('track', 'Contact');")
    hits(1)
    page.add_script_tag(url=f"{sandbox.url}/en_US/fbevents.js")
    page.evaluate("fbq('track', 'Lead')")
    hits(2)


def test_loaded_from_meta_it_reports_to_meta(visit, sandbox, client, eventually):
    code = client.session.get(f"{sandbox.url}/en_US/fbevents.js").text
    asked = []

    def answer(route):
        asked.append(route.request.url)
        script = "fbevents" in route.request.url
        route.fulfill(body=code if script else "", content_type="text/javascript")

    visit.context.route("https://connect.facebook.net/**", answer)
    visit.context.route("https://www.facebook.com/**", answer)
    visit(
        f"fbq('init', '{PIXEL}'); fbq('track', 'Contact');",
        script="https://connect.facebook.net/en_US/fbevents.js",
    )
    eventually(lambda: any(url.startswith("https://www.facebook.com/tr/?id=") for url in asked))
    eventually(lambda: any(f"/signals/config/{PIXEL}?" in url for url in asked))
    assert sandbox.requests[1:] == []
