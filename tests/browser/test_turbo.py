"""Turbo itself on the shop's pages, in place of htmx.

Turbo is not part of this repository. Fetch it with ``npm pack @hotwired/turbo`` and name the file
``dist/turbo.es2017-umd.js`` of what you get in METAPIXEL_TEST_TURBO; without it these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.conftest import PATIENCE, assert_told, told

TURBO = os.environ.get("METAPIXEL_TEST_TURBO", "")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(TURBO).is_file(),
        reason="METAPIXEL_TEST_TURBO does not name a file of Turbo; see the top of this file",
    ),
]

PRODUCT = "/crockery/mueritz-breakfast-bowl/"
SHELF = "/crockery/"
# The style of Turbo's progress bar wants a nonce, which the shop's policy does not give.
TURBOS_OWN = "Applying inline style violates"
ADD_TURBO = """
() => new Promise((loaded) => {
  window.stillTheSamePage = true;
  window.previews = [];
  document.addEventListener("turbo:render", () => {
    const { documentElement } = document;
    if (documentElement.hasAttribute("data-turbo-preview")) previews.push(location.pathname);
  });
  const script = Object.assign(document.createElement("script"), { src: "/turbo.js" });
  script.onload = loaded;
  document.head.append(script);
})
"""


@pytest.fixture
def start(shop, visit):
    """Open a page as somebody who has allowed it all, with Turbo and without htmx."""

    def go(path="/"):
        visitor = visit(shop, patience=0)
        consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef"}
        visitor.page.context.add_cookies([consent | {"url": shop.url}])
        visitor.page.route(
            "**/django_htmx/htmx-*.js", lambda route: route.fulfill(content_type="text/javascript")
        )
        visitor.page.route(
            f"{shop.url}/turbo.js",
            lambda route: route.fulfill(path=TURBO, content_type="text/javascript"),
        )
        visitor.page.goto(shop.url + path)
        visitor.page.evaluate(ADD_TURBO)
        return visitor

    return go


def follow(visitor, path):
    """Press a link to ``path``, and wait until Turbo shows that page."""
    visitor.page.locator(f"main a[href$='{path}']").first.click()
    shows(visitor, path)
    visitor.page.mouse.move(0, 0)  # what lies under the pointer is fetched


def shows(visitor, path):
    visitor.page.wait_for_function(
        "(path) => location.pathname === path && !document.documentElement.ariaBusy", arg=path
    )


def test_visit_is_one_page_view_of_the_new_path_with_its_declarations(start):
    visitor = start(SHELF)
    follow(visitor, PRODUCT)
    assert_told(visitor, ("PageView", SHELF), ("PageView", PRODUCT), ("ViewContent", PRODUCT))


def test_way_back_and_forth_is_a_view_each_time(start):
    visitor = start(SHELF)
    follow(visitor, PRODUCT)
    assert visitor.wait_until(lambda: len(told(visitor)) == 3, PATIENCE)
    visitor.page.evaluate("history.back()")
    shows(visitor, SHELF)
    assert visitor.wait_until(lambda: len(told(visitor)) == 4, PATIENCE)
    visitor.page.evaluate("history.forward()")
    shows(visitor, PRODUCT)
    assert_told(
        visitor,
        *[("PageView", SHELF)] * 2,
        *[("PageView", PRODUCT), ("ViewContent", PRODUCT)] * 2,
    )


def test_page_that_is_shown_from_turbos_cache_first_is_one_view(start):
    visitor = start(SHELF)
    follow(visitor, PRODUCT)
    for count, path in ((4, SHELF), (6, PRODUCT)):
        visitor.page.evaluate("(path) => Turbo.visit(path)", path)
        shows(visitor, path)
        assert visitor.wait_until(lambda wanted=count: len(told(visitor)) == wanted, PATIENCE)
    assert_told(
        visitor,
        *[("PageView", SHELF)] * 2,
        *[("PageView", PRODUCT), ("ViewContent", PRODUCT)] * 2,
    )
    assert visitor.page.evaluate("previews") == [SHELF, PRODUCT]


def test_visit_that_is_redirected_is_one_page_view_of_where_it_ends(start):
    visitor = start(SHELF)
    visitor.page.evaluate("Turbo.visit('/account/')")
    shows(visitor, "/account/sign-in/")
    assert_told(visitor, ("PageView", SHELF), ("PageView", "/account/sign-in/"))


def test_page_that_is_fetched_under_the_pointer_is_no_view(start):
    visitor = start(SHELF)
    with visitor.page.expect_response(lambda answer: answer.url.endswith(PRODUCT)) as answer:
        visitor.page.locator(f"main a[href$='{PRODUCT}']").first.hover()
    assert answer.value.request.headers["x-sec-purpose"] == "prefetch"
    assert_told(visitor, ("PageView", SHELF))


def test_form_that_is_redirected_carries_the_echo(start):
    visitor = start(PRODUCT)
    visitor.find("add-to-cart").click()
    shows(visitor, "/cart/")
    assert_told(
        visitor,
        ("PageView", PRODUCT),
        ("ViewContent", PRODUCT),
        ("AddToCart", PRODUCT),
        ("PageView", "/cart/"),
    )
    assert not [name for name in visitor.cookies() if name.startswith("metapixel_e_")]


def test_next_form_on_the_same_page_has_an_echo_of_its_own(start):
    visitor = start(PRODUCT)
    for _each in range(2):
        visitor.find("add-to-cart").click()
        shows(visitor, "/cart/")
        visitor.page.evaluate("history.back()")
        shows(visitor, PRODUCT)
    assert visitor.wait_until(
        lambda: [row[0] for row in told(visitor)].count("PageView") == 5, PATIENCE
    )
    assert_told(
        visitor,
        *[("PageView", PRODUCT), ("ViewContent", PRODUCT)] * 3,
        *[("AddToCart", PRODUCT), ("PageView", "/cart/")] * 2,
    )
