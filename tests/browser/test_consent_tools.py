"""Consent tools of somebody else's on the page, from the question to a change of mind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from walking.internet import Internet
from walking.shopper import Shopper

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, knowing
from tests.browser.consent_tools import TCF_WITHOUT_META, TOOLS

pytestmark = pytest.mark.browser

CHOSEN = TOOLS | TCF_WITHOUT_META
HOSTS = {f"{name}.localhost": tool for name, tool in CHOSEN.items()}
# A site of its own for each tool, with the same pages.
CHOOSE = f"""
from urllib.parse import urlsplit
from django.conf import settings
from wagtail.models import Site
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings
(pixel,) = MetaPixel.objects.all()
common = {{"root_page": Site.objects.get().root_page, "port": urlsplit(settings.EXAMPLE_SHOP).port}}
for host, (provider, vendor, provider_id) in {
    {host: (tool.provider, tool.vendor, tool.provider_id) for host, tool in HOSTS.items()}
}.items():
    site = Site.objects.create(hostname=host, **common)
    chosen = MetaPixelSettings.objects.create(
        site=site,
        consent_provider=provider,
        consent_vendor_id=vendor,
        consent_ac_provider_id=provider_id,
    )
    MetaPixel.objects.create(settings=chosen, pixel_id=pixel.pixel_id, hosts=host)
"""
KEPT = {"accept": "2026-01-01T00:00:00+00:00", "decline": "-1"}


@pytest.fixture(scope="module")
def many_sites(new_shop):
    """One shop, and in it a site for each tool."""
    shop = new_shop("consent_tools", prepared_by=CHOOSE, EXAMPLE_WEBHOOK_DELAY="0")
    # The bank's name is one of the allowed hosts; there is no bank on any of ours.
    shop.options["EXAMPLE_PAYMENT"] = "http://*"
    with shop as running:
        yield running


@pytest.fixture(scope="module")
def naming_browser(browser):
    with knowing(browser, HOSTS) as running:
        yield running


@pytest.fixture
def visitor_of(many_sites, naming_browser, sandbox):
    """Make a visitor of the site that has this tool."""
    contexts = []

    def make(name):
        context = naming_browser.new_context()
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        url = f"http://{name}.localhost:{many_sites.port}"
        internet = Internet(context, sandbox, [url])
        shopper = Shopper(context, SimpleNamespace(url=url), sandbox, internet, patience=0)
        context.add_init_script(CHOSEN[name].script)
        context.route("**/cookies/*/", django_cookie_consent)
        return shopper

    sandbox.clear()
    yield make
    for context in contexts:
        context.close()


def django_cookie_consent(route):
    """Answer as the server half of that package does."""
    kept = KEPT[route.request.url.split("/")[-2]]
    cookie = f'cookie_consent="marketing={kept}"; HttpOnly; Path=/; Max-Age=999; SameSite=Lax'
    route.fulfill(status=200, headers={"Set-Cookie": cookie}, body="")


def answer(shopper, tool, yes):
    """Click in the tool."""
    click = f"answerTool({str(yes).lower()})"
    if tool.loads_anew:
        with shopper.page.expect_navigation():
            shopper.page.evaluate(click)
    else:
        shopper.page.evaluate(click)


def look_on(shopper):
    """Another page, and something that the server hears of by itself."""
    shopper.open_product()
    shopper.add_to_cart()
    shopper.wait(SECONDS_OF_SILENCE)


def meta_cookies(shopper):
    return sorted(name for name in shopper.cookies() if name.startswith("_fb"))


def assert_silence(shopper, sandbox):
    assert sandbox.requests == []
    assert shopper.asked_of_meta() == []
    assert meta_cookies(shopper) == []
    assert shopper.all_troubles() == []


def assert_page_views(shopper, sandbox, *views):
    """These and nothing else, each under one id: how many copies came of the browser and of the server."""
    wanted = sorted(("PageView", *view) for view in views)

    def told():
        return sorted(
            (event["event_name"], event["counts"]["browser"], event["counts"]["server"])
            for event in sandbox.events()
        )

    assert shopper.wait_until(lambda: told() == wanted, PATIENCE), told()


@pytest.mark.parametrize("name", TOOLS)
def test_events_begin_with_the_tools_yes_and_end_with_its_no(visitor_of, sandbox, name):
    shopper, tool = visitor_of(name), TOOLS[name]
    shopper.arrive()
    shopper.wait(SECONDS_OF_SILENCE)
    assert_silence(shopper, sandbox)

    answer(shopper, tool, True)
    # A page that is left with a yes tells of itself, too late for Meta's script.
    left = [(0, 1)] if tool.loads_anew else []
    assert_page_views(shopper, sandbox, *left, (1, 1))
    assert meta_cookies(shopper) == ["_fbc", "_fbp"]
    shopper.open_shelf()
    assert_page_views(shopper, sandbox, *left, (1, 1), (1, 1))
    assert shopper.all_troubles() == []

    answer(shopper, tool, False)
    assert shopper.wait_until(lambda: meta_cookies(shopper) == [], PATIENCE)
    asked = shopper.asked_of_meta()
    look_on(shopper)
    assert_page_views(shopper, sandbox, *left, (1, 1), (1, 1))
    assert shopper.asked_of_meta() == asked
    assert meta_cookies(shopper) == []


def test_a_visitor_who_says_no_at_once_is_not_told_of(visitor_of, sandbox):
    shopper = visitor_of("cookiebot")
    shopper.arrive()
    answer(shopper, TOOLS["cookiebot"], False)
    look_on(shopper)
    assert_silence(shopper, sandbox)


@pytest.mark.parametrize("name", TCF_WITHOUT_META)
def test_a_yes_that_does_not_name_meta_is_none(visitor_of, sandbox, name):
    shopper = visitor_of(name)
    shopper.arrive()
    answer(shopper, TCF_WITHOUT_META[name], True)
    look_on(shopper)
    assert_silence(shopper, sandbox)


def test_a_cookie_that_no_script_can_read_is_asked_of_our_endpoint(visitor_of):
    name = "django-cookie-consent"
    shopper = visitor_of(name)
    with shopper.page.expect_response("**/metapixel/choice/") as before:
        shopper.arrive()
    with shopper.page.expect_response("**/metapixel/choice/") as after:
        answer(shopper, TOOLS[name], True)
    for told, choice in [(before.value, "unknown"), (after.value, "granted")]:
        assert told.json() == {"choice": choice}
        assert "no-store" in told.headers["cache-control"]
    assert "cookie_consent" in shopper.cookies()
    assert "cookie_consent" not in shopper.page.evaluate("document.cookie")
