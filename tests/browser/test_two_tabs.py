"""Several tabs of one visitor: what the server did is told by one of them, whoever is first."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, Answer, held

pytestmark = pytest.mark.browser

ONCE = {"browser": 1, "server": 1}


@pytest.fixture
def shopper(cached_shop, cached_product, visit):
    """Somebody who has allowed it all, on a product's page."""
    visitor = visit(cached_shop)
    consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef"}
    visitor.page.context.add_cookies([consent | {"url": cached_shop.url}])
    visitor.page.goto(cached_product)
    return visitor


def answer_to(shopper, act):
    """Do ``act``, which puts the product into the cart, and hold the shop's answer."""
    asked = held(shopper.page, "**/cart/add/**", times=1)
    act()
    assert shopper.wait_until(lambda: asked, PATIENCE)
    return Answer(shopper, asked[0])


def post_the_form(shopper):
    """As where htmx is missing: the browser is sent to the cart's page."""
    script = "setTimeout(() => document.querySelector('[data-walk=add-form]').submit())"
    shopper.page.evaluate(script)


def other_tab(shopper, url):
    """Open ``url`` in another tab, and wait until it has told of itself."""
    tab = shopper.page.context.new_page()
    tab.goto(url)
    assert_page_views(shopper, urlsplit(url).path, 1)
    return tab


def assert_page_views(shopper, path, number):
    assert shopper.wait_until(lambda: page_views(shopper).count((path, ONCE)) == number, PATIENCE)


def page_views(shopper):
    return [
        (urlsplit(event["copies"][0]["event_source_url"]).path, event["counts"])
        for event in shopper.events()
        if event["event_name"] == "PageView"
    ]


def told(sandbox, name):
    """Where each copy that the browser told of ``name`` was told."""
    return [
        urlsplit(copy["event_source_url"]).path
        for event in sandbox.events(name)
        for copy in event["copies"]
        if copy["channel"] == "browser"
    ]


def assert_once(shopper, sandbox, name, path):
    """One event, one copy from each side, the browser's on that page.

    Whatever else a page has to tell goes out before the server's copy of its page view.
    """

    def counts():
        return [event["counts"] for event in sandbox.events(name)]

    assert shopper.wait_until(lambda: counts() == [ONCE], PATIENCE), counts()
    assert told(sandbox, name) == [path]
    assert sandbox.events(name)[0]["differences"] == []
    assert shopper.all_troubles() == []


def test_answer_without_navigation_is_told_in_the_tab_that_asked(cached_shop, shopper, sandbox):
    path = urlsplit(shopper.page.url).path
    answer = answer_to(shopper, shopper.find("add-to-cart").click)
    # No cookie, which another tab could take between the answer and htmx.
    assert "metapixel-echo" in answer.headers
    assert "metapixel_e_" not in answer.headers.get("set-cookie", "")
    tab = other_tab(shopper, f"{cached_shop.url}/cart/")
    answer.arrive()
    shopper.page.locator("#added > *").wait_for()
    tab.reload()
    assert_page_views(shopper, "/cart/", 2)
    assert_once(shopper, sandbox, "AddToCart", path)


def test_another_tab_that_loads_before_the_answer_tells_nothing(cached_shop, shopper, sandbox):
    answer = answer_to(shopper, lambda: post_the_form(shopper))
    tab = other_tab(shopper, f"{cached_shop.url}/search/")
    assert told(sandbox, "AddToCart") == []
    with shopper.page.expect_navigation(url="**/cart/"):
        answer.arrive()
    tab.reload()
    assert_page_views(shopper, "/search/", 2)
    assert_once(shopper, sandbox, "AddToCart", "/cart/")


def test_another_tab_that_loads_after_the_answer_tells_it_for_both(cached_shop, shopper, sandbox):
    answer = answer_to(shopper, lambda: post_the_form(shopper))
    # The cookie is there, and the tab has yet to go where it is sent.
    answer.arrive(status=204, body="")
    assert shopper.wait_until(lambda: echoes(shopper), PATIENCE)
    other_tab(shopper, f"{cached_shop.url}/search/")
    assert echoes(shopper) == []
    shopper.page.goto(f"{cached_shop.url}/cart/")
    assert_page_views(shopper, "/cart/", 1)
    assert_once(shopper, sandbox, "AddToCart", "/search/")


def echoes(shopper):
    return [name for name in shopper.cookies() if name.startswith("metapixel_e_")]


def test_thank_you_page_in_two_tabs_tells_the_purchase_once(shopper, sandbox):
    shopper.go_to_the_bank()
    shopper.pay()
    assert shopper.wait_until(lambda: sandbox.events("Purchase"), PATIENCE)

    context = shopper.page.context
    tabs = [shopper.page, context.new_page()]
    asked = held(context, "**/metapixel/ticket/")
    for tab in tabs:
        tab.goto(shopper.confirmation_page)
    assert shopper.wait_until(lambda: len(asked) == len(tabs), PATIENCE)
    context.unroute("**/metapixel/ticket/")
    for route in asked:
        route.continue_()
    path = urlsplit(shopper.confirmation_page).path
    assert_page_views(shopper, path, 2)
    assert shopper.wait_until(lambda: told(sandbox, "Purchase") == [path], PATIENCE)

    for tab in tabs:
        tab.go_back()
        tab.go_forward()
        tab.reload()
    # A ticket is asked for, and answered, after that.
    shopper.wait(SECONDS_OF_SILENCE)
    assert_once(shopper, sandbox, "Purchase", path)
