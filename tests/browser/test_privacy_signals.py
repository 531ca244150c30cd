"""Global Privacy Control: who sends it is told of by neither side, whatever a banner is answered."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

NO_CONTENT = 204
HEADER = {"Sec-GPC": "1"}
PROPERTY = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })"
CONSENT = "metapixel_consent"


def order(visitor):
    visitor.open_product()
    visitor.go_to_the_bank()
    visitor.pay()
    visitor.return_to_shop()


def traces(visitor):
    """Cookies from which Meta, or we, would know the visitor again."""
    return [
        name
        for name in visitor.cookies()
        if name.startswith(("_fb", "metapixel_")) and name != CONSENT
    ]


def assert_silence(visitor, sandbox):
    visitor.wait(SECONDS_OF_SILENCE)
    assert sandbox.requests == []
    assert visitor.asked_of_meta() == []
    assert traces(visitor) == []
    assert visitor.page.evaluate("typeof window.fbq") == "undefined"
    assert visitor.all_troubles() == []


def test_nothing_is_told_even_after_accept(cached_shop, sandbox, visit):
    visitor = visit(cached_shop, extra_http_headers=HEADER)
    visitor.page.add_init_script(PROPERTY)
    visitor.arrive()
    with visitor.page.expect_response("**/metapixel/consent/") as answer:
        visitor.find("consent-accept").click()
    assert answer.value.status == NO_CONTENT
    assert visitor.cookies()[CONSENT].startswith("granted.")
    order(visitor)
    assert visitor.wait_until(visitor.is_paid, PATIENCE)
    assert_silence(visitor, sandbox)
