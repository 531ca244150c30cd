"""Browsers and pages that make it hard: silent blockers, no storage, broken scripts, slow lines."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

SILENT_SUBSTITUTE = "window.fbq = Object.assign(() => {}, { callMethod: () => {}, queue: [] });"
# A browser that keeps no cookies says nothing about it; in a sandboxed frame it throws.
NO_COOKIES = "Object.defineProperty(Document.prototype, 'cookie', { get: () => '', set() {} });"
COOKIES_THROW = """
const insecure = () => { throw new DOMException('The operation is insecure.', 'SecurityError'); };
Object.defineProperty(Document.prototype, 'cookie', { get: insecure, set: insecure });
"""
NO_STORAGE = """
const refuse = () => { throw new DOMException('The operation is insecure.', 'SecurityError'); };
for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches']) {
  Object.defineProperty(window, name, { get: refuse });
}
"""
OTHER_SCRIPTS = """
Object.prototype.extra = 'from an old library';
Array.prototype.last = function () { return this[this.length - 1]; };
document.addEventListener('DOMContentLoaded', () => { throw new Error('another script'); });
window.addEventListener('load', () => Promise.reject(new Error('another promise')));
"""
SLOW = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 120_000,
    "uploadThroughput": 60_000,
}


def names(sandbox):
    return sorted(event["event_name"] for event in sandbox.events())


def statuses(sandbox):
    return {event["status"] for event in sandbox.events()}


def test_a_blocker_that_puts_a_silent_script_in_place_costs_the_browsers_half_only(
    shop, sandbox, visit
):
    shopper = visit(shop, patience=0)
    shopper.page.context.route(
        "https://connect.facebook.net/**",
        lambda route: route.fulfill(content_type="text/javascript", body=SILENT_SUBSTITUTE),
    )
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    shopper.add_to_cart()
    expected = ["AddToCart", "PageView", "ViewContent"]
    assert shopper.wait_until(lambda: names(sandbox) == expected, PATIENCE)
    assert statuses(sandbox) == {"server"}
    assert {event["copies"][0]["user_data"]["fbp"] for event in sandbox.events()} == {
        shopper.cookies()["_fbp"]
    }


def test_a_browser_without_storage_shops_and_its_own_half_arrives(shop, sandbox, visit):
    shopper = visit(shop, patience=0)
    shopper.page.add_init_script(NO_STORAGE + NO_COOKIES)
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    assert shopper.wait_until(lambda: names(sandbox) == ["PageView", "ViewContent"], PATIENCE)
    shopper.find("add-to-cart").click()
    shopper.page.locator("#added > *").wait_for()
    shopper.wait(SECONDS_OF_SILENCE)
    assert all(event["counts"]["browser"] == 1 for event in sandbox.events())
    assert page_errors(shopper) == []


def test_where_cookies_throw_the_shop_works_and_nothing_of_ours_fails(shop, visit):
    shopper = visit(shop, patience=0, blocked=("connect.facebook.net",))
    shopper.page.add_init_script(NO_STORAGE + COOKIES_THROW)
    answers = []
    shopper.page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    collected = (f"{shop.url}/metapixel/collect/", 204)
    assert shopper.wait_until(lambda: collected in answers, PATIENCE)
    shopper.find("add-to-cart").click()
    shopper.page.locator("#added > *").wait_for()
    assert page_errors(shopper) == []


def test_scripts_of_others_that_break_do_not_break_ours(shop, sandbox, visit):
    shopper = visit(shop, patience=0)
    shopper.page.context.add_init_script(OTHER_SCRIPTS)
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    shopper.add_to_cart()
    expected = ["AddToCart", "PageView", "ViewContent"]
    assert shopper.wait_until(
        lambda: names(sandbox) == expected and statuses(sandbox) == {"deduplicated"}, PATIENCE
    )
    assert {error for error in page_errors(shopper) if "another" not in error} == set()


def test_on_a_slow_line_a_page_that_is_left_at_once_is_told_by_the_server(shop, sandbox, visit):
    shopper = visit(shop, patience=0)
    shopper.arrive()
    shopper.accept()
    network = shopper.page.context.new_cdp_session(shopper.page)
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", SLOW)
    # Meta's script is still on its way when the page is left.
    shopper.page.context.route("https://connect.facebook.net/**", lambda _route: None)
    for path in ("/crockery/", "/privacy/"):
        shopper.page.goto(shop.url + path, wait_until="domcontentloaded")
    paths = {"/crockery/", "/privacy/"}
    assert shopper.wait_until(lambda: paths <= told_by_the_server(sandbox), 2 * PATIENCE)
    assert shopper.wait_until(
        lambda: {event["counts"]["server"] for event in sandbox.events()} == {1}, PATIENCE
    )


def told_by_the_server(sandbox):
    return {
        "/" + copy["event_source_url"].split("/", 3)[3]
        for event in sandbox.events()
        for copy in event["copies"]
        if copy["channel"] == "server"
    }


def page_errors(shopper):
    return [trouble for trouble in shopper.all_troubles() if "rror" in trouble]
