"""A single-page application on the shop's own pages: it fetches them and changes the address itself."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from walking import chromium
from walking.internet import Internet
from walking.shopper import Shopper

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, assert_told, told

pytestmark = pytest.mark.browser

SWITCH_ON = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(single_page=True)
"""

# A router as people write them: the address first, then the title, then the content, then scan().
ROUTER = """
(() => {
  const render = async () => {
    const text = await (await fetch(location.pathname)).text();
    const page = new DOMParser().parseFromString(text, "text/html");
    document.title = page.title;
    document.getElementById("main").replaceWith(document.adoptNode(page.getElementById("main")));
    window.metapixel.scan();
    window.rendered = location.pathname;
  };
  window.go = (path, how = "pushState") => {
    history[how]({ mine: true }, "", path);
    return render();
  };
  window.addEventListener("popstate", render);
})();
"""


@pytest.fixture(scope="module")
def app(new_shop):
    """A shop that looks at the address."""
    with new_shop("single_page", prepared_by=SWITCH_ON) as running:
        yield running


@pytest.fixture
def start(app, visit):
    """Open a page of the application as somebody who has allowed it all."""

    def go(path="/", **options):
        visitor = visit(app, patience=0, **options)
        consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef", "url": app.url}
        visitor.page.context.add_cookies([consent])
        visitor.page.route(
            f"{app.url}/router.js",
            lambda route: route.fulfill(body=ROUTER, content_type="text/javascript"),
        )
        visitor.page.goto(app.url + path)
        visitor.page.add_script_tag(url="/router.js")
        return visitor

    return go


@pytest.fixture(scope="module")
def product(app, browser):
    """The path of a product's page."""
    page = browser.new_page()
    page.goto(app.url)
    path = urlsplit(page.locator("[data-walk=product-link]").first.evaluate("(a) => a.href")).path
    page.close()
    return path


def go(visitor, path, how="pushState"):
    visitor.page.evaluate("([path, how]) => go(path, how)", [path, how])


def test_each_path_is_a_view_with_the_declarations_of_its_content(start, product):
    visitor = start()
    go(visitor, product)
    go(visitor, "/contact/")
    assert_told(
        visitor,
        ("PageView", "/"),
        ("PageView", product),
        ("ViewContent", product),
        ("PageView", "/contact/"),
    )


def test_declarations_of_the_page_before_are_not_told_for_the_next_path(start, product):
    visitor = start(product)
    # The address has changed for good, and the content has not come yet.
    visitor.page.evaluate("history.pushState(null, '', '/contact/')")
    assert_told(visitor, ("PageView", product), ("ViewContent", product), ("PageView", "/contact/"))


def test_way_back_is_a_view_and_its_declarations_are_told_again(start, product):
    visitor = start(product)
    go(visitor, "/contact/")
    visitor.page.go_back()
    visitor.page.wait_for_function("(path) => window.rendered === path", arg=product)
    assert_told(
        visitor,
        *[("PageView", product), ("ViewContent", product)] * 2,
        ("PageView", "/contact/"),
    )


def test_query_fragment_and_state_are_no_view(start):
    visitor = start()
    visitor.page.evaluate(
        """() => {
          history.pushState(null, "", "?page=2");
          history.pushState(null, "", "#part");
          history.replaceState({ scroll: 5 }, "");
          history.replaceState({ scroll: 6 }, "", "/?page=3");
          history.back();
        }"""
    )
    assert_told(visitor, ("PageView", "/"))


def test_redirect_is_one_view(start):
    visitor = start()
    visitor.page.evaluate(
        "history.pushState(null, '', '/account/'); history.replaceState(null, '', '/contact/')"
    )
    assert_told(visitor, ("PageView", "/"), ("PageView", "/contact/"))


def test_router_on_the_navigation_api_is_heard(start):
    visitor = start()
    visitor.page.evaluate(
        """async () => {
          navigation.addEventListener("navigate", (event) => event.intercept({ handler: async () => {} }));
          await navigation.navigate("/contact/").finished;
        }"""
    )
    assert_told(visitor, ("PageView", "/"), ("PageView", "/contact/"))


def test_htmx_that_changes_the_address_is_one_view(start, product):
    visitor = start()
    visitor.page.evaluate(
        """(path) => {
          const link = document.createElement("a");
          const marks = { href: path, "hx-get": path, "hx-push-url": "true", "hx-target": "#main", "hx-select": "#main", "hx-swap": "outerHTML", id: "by-htmx" };
          Object.entries(marks).forEach(([name, value]) => link.setAttribute(name, value));
          link.textContent = "by htmx";
          document.getElementById("main").prepend(link);
          htmx.process(link);
        }""",
        product,
    )
    visitor.page.locator("#by-htmx").click()
    assert_told(visitor, ("PageView", "/"), ("PageView", product), ("ViewContent", product))
    visitor.page.go_back()
    assert_told(visitor, *[("PageView", "/")] * 2, ("PageView", product), ("ViewContent", product))


def test_view_is_told_when_the_page_is_left_at_once(start, app):
    visitor = start()
    assert visitor.wait_until(
        lambda: told(visitor) == [("PageView", "/", "deduplicated")], PATIENCE
    )
    # Or the last request would wait for this process, and may be given up with its page.
    visitor.page.context.unroute_all()
    visitor.page.evaluate(
        "history.pushState(null, '', '/contact/'); location.href = '/cart/badge/'"
    )
    assert visitor.wait_until(
        lambda: (
            [row[:2] for row in told(visitor)] == [("PageView", "/"), ("PageView", "/contact/")]
        ),
        PATIENCE,
    )


def test_views_before_an_answer_are_told_after_the_yes(app, visit):
    visitor = visit(app, patience=0)
    posts = []
    visitor.page.on("request", lambda request: posts.append(request.method))
    visitor.page.goto(app.url)
    visitor.page.evaluate("history.pushState(null, '', '/contact/')")
    visitor.wait(SECONDS_OF_SILENCE)
    assert "POST" not in posts
    assert visitor.asked_of_meta() == []
    visitor.find("consent-accept").click()
    assert_told(visitor, ("PageView", "/"), ("PageView", "/contact/"))


@pytest.fixture
def remembering(browser, sandbox, app):
    """A visitor whose browser keeps pages for the way back, which Playwright's does not."""
    running = browser.browser_type.launch(
        executable_path=chromium.find(),
        args=[*chromium.ARGUMENTS, "--no-sandbox"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    sandbox.clear()
    context = running.new_context()
    internet = Internet(context, sandbox, (app.url, app.bank))
    yield Shopper(context, app, sandbox, internet, patience=0)
    running.close()


def test_page_that_comes_back_from_the_cache_is_a_view_and_goes_on_as_one(app, remembering):
    visitor = remembering
    consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef", "url": app.url}
    visitor.page.context.add_cookies([consent])
    visitor.page.goto(app.url)
    visitor.page.evaluate("history.pushState(null, '', '/contact/')")
    assert visitor.wait_until(lambda: len(told(visitor)) == 2, PATIENCE)
    visitor.page.evaluate("window.stillTheSamePage = true")
    visitor.page.goto(f"{app.url}/static/shop/logo.svg")
    visitor.page.go_back(wait_until="commit")  # the load event is over
    assert visitor.page.evaluate("window.stillTheSamePage === true")
    visitor.page.evaluate("history.pushState(null, '', '/')")
    assert_told(visitor, *[("PageView", "/")] * 2, *[("PageView", "/contact/")] * 2)
