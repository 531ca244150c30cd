"""Where no opt-in is needed: Meta's script is there before the answer, and hears nothing."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

CHOOSE = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(load_before_consent=True, consent_statement="Firms only.")
"""


@pytest.fixture(scope="module")
def early_shop(new_shop):
    with new_shop("early", prepared_by=CHOOSE) as running:
        yield running


def meta_cookies(shopper):
    return [name for name in shopper.cookies() if name.startswith("_fb")]


def test_the_script_waits_for_the_grant(early_shop, sandbox, visit):
    shopper = visit(early_shop)
    shopper.arrive()
    shopper.wait(SECONDS_OF_SILENCE)
    assert [url.partition("?")[0].rpartition("/")[2] for url in shopper.asked_of_meta()] == [
        "fbevents.js"
    ]
    assert (sandbox.events(), meta_cookies(shopper)) == ([], [])

    shopper.accept()
    assert shopper.wait_until(
        lambda: [event["status"] for event in sandbox.events()] == ["deduplicated"], PATIENCE
    )
    assert sandbox.totals()["browser"] == sandbox.totals()["server"] == 1
    # The walk's own watch takes this for a fault, as it is wherever nobody stated a reason.
    (early,) = shopper.all_troubles()
    assert early.startswith("before consent, a page asked for ")


def test_who_refused_gets_no_script_on_the_next_page(early_shop, sandbox, visit):
    shopper = visit(early_shop)
    shopper.arrive()
    shopper.refuse()
    asked = len(shopper.asked_of_meta())
    shopper.open_product()
    shopper.wait(SECONDS_OF_SILENCE)
    assert len(shopper.asked_of_meta()) == asked == 1
    assert (sandbox.events(), meta_cookies(shopper)) == ([], [])
