"""A consent tool of somebody else's on the page: a stub with its documented object and events."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

CHOOSE_COOKIEBOT = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(consent_provider="cookiebot", consent_category="marketing")
"""
STUB = """
window.Cookiebot = { hasResponse: false, consent: { marketing: false } };
window.answerCookiebot = (marketing) => {
  const told = `{stamp:'x',necessary:true,preferences:false,statistics:false,marketing:${marketing}`;
  const value = `${told},method:'explicit',ver:1,utc:1,region:'de'}`;
  document.cookie = `CookieConsent=${encodeURIComponent(value)}; Path=/; Max-Age=999`;
  window.Cookiebot.hasResponse = true;
  window.Cookiebot.consent = { necessary: true, marketing, method: 'explicit' };
  window.dispatchEvent(new Event(marketing ? 'CookiebotOnAccept' : 'CookiebotOnDecline'));
};
if (/CookieConsent=/.test(document.cookie)) {
  const marketing = /marketing%3Atrue/.test(document.cookie);
  window.Cookiebot = { hasResponse: true, consent: { marketing, method: 'explicit' } };
}
"""


@pytest.fixture(scope="module")
def cookiebot_shop(new_shop):
    """The shop with Cookiebot chosen in its settings."""
    options = {"prepared_by": CHOOSE_COOKIEBOT, "EXAMPLE_WEBHOOK_DELAY": "0"}
    with new_shop("cookiebot", **options) as running:
        yield running


@pytest.fixture
def shopper(cookiebot_shop, visit):
    one = visit(cookiebot_shop)
    one.page.context.add_init_script(STUB)
    return one


def answer(shopper, marketing):
    shopper.page.evaluate(f"answerCookiebot({str(marketing).lower()})")


def names(sandbox):
    return sorted(event["event_name"] for event in sandbox.events())


def test_a_yes_in_the_tool_reports_this_page_and_the_next_from_both_sides(shopper, sandbox):
    shopper.arrive()
    shopper.wait(SECONDS_OF_SILENCE)
    assert sandbox.requests == []
    assert shopper.asked_of_meta() == []

    answer(shopper, True)
    assert shopper.wait_until(lambda: names(sandbox) == ["PageView"], PATIENCE)
    shopper.page.goto(shopper.page.url.split("?")[0] + "crockery/")
    assert shopper.wait_until(
        lambda: (
            names(sandbox) == ["PageView", "PageView"]
            and {event["status"] for event in sandbox.events()} == {"deduplicated"}
        ),
        PATIENCE,
    )
    assert shopper.all_troubles() == []


@pytest.mark.parametrize("said", [False, None], ids=["a no", "nothing said"])
def test_without_a_yes_in_the_tool_meta_hears_nothing(shopper, sandbox, said):
    shopper.arrive()
    if said is not None:
        answer(shopper, said)
    shopper.open_product()
    shopper.add_to_cart()
    shopper.wait(SECONDS_OF_SILENCE)
    assert sandbox.requests == []
    assert shopper.asked_of_meta() == []
    assert not [name for name in shopper.cookies() if name.startswith("_fb")]


def test_a_change_of_mind_in_the_tool_ends_the_events_and_takes_metas_cookies(shopper, sandbox):
    shopper.arrive()
    answer(shopper, True)
    assert shopper.wait_until(lambda: names(sandbox) == ["PageView"], PATIENCE)
    answer(shopper, False)
    assert shopper.wait_until(
        lambda: not [name for name in shopper.cookies() if name.startswith("_fb")], PATIENCE
    )
    shopper.page.goto(shopper.page.url.split("?")[0] + "crockery/")
    shopper.wait(SECONDS_OF_SILENCE)
    assert names(sandbox) == ["PageView"]
