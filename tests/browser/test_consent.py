"""Without a yes, nothing: no script, no cookie, no event, from neither side."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, Answer, column, held

pytestmark = pytest.mark.browser

PROOFS = "SELECT choice FROM wagtail_metapixel_consentproof ORDER BY id"
TAKE_BACK_AND_LEAVE = "(url) => { metapixel.revoke(); location.href = url; }"


def meta_cookies(shopper):
    return [name for name in shopper.cookies() if name.startswith(("_fb", "metapixel_e_"))]


def look_around(shopper):
    shopper.search("honey")
    shopper.open_product()
    shopper.add_to_cart()
    shopper.open_cart()
    shopper.check_out()
    shopper.wait(SECONDS_OF_SILENCE)


@pytest.mark.parametrize("answer", ["refuse", "say nothing"])
def test_without_a_grant_meta_hears_nothing(shop, sandbox, visit, answer):
    shopper = visit(shop)
    shopper.arrive()
    if answer == "refuse":
        shopper.refuse()
    look_around(shopper)
    assert sandbox.requests == []
    assert shopper.asked_of_meta() == []
    assert meta_cookies(shopper) == []
    assert shopper.all_troubles() == []


def test_withdrawal_stops_both_sides_and_takes_the_cookies_away(shop, sandbox, visit):
    shopper = visit(shop)
    shopper.arrive()
    shopper.accept()
    assert sorted(meta_cookies(shopper)) == ["_fbc", "_fbp"]
    shopper.withdraw()
    before = [event["event_id"] for event in sandbox.events()]
    assert len(before) == 1

    assert shopper.wait_until(lambda: meta_cookies(shopper) == [], PATIENCE)
    look_around(shopper)
    assert [event["event_id"] for event in sandbox.events()] == before
    assert sandbox.totals()["browser"] == 1
    assert sandbox.totals()["server"] == 1
    assert meta_cookies(shopper) == []
    assert shopper.all_troubles() == []


@pytest.mark.parametrize("heard", [True, False], ids=["the server has it", "the server has it not"])
def test_withdrawal_calls_back_a_yes_that_is_on_its_way(
    cached_shop, cached_product, sandbox, visit, heard
):
    shopper = visit(cached_shop, patience=0)
    shopper.arrive()
    before = len(column(cached_shop, PROOFS))
    asked = held(shopper.page, "**/metapixel/consent/", times=1)
    shopper.find("consent-accept").click()
    assert shopper.wait_until(lambda: asked, PATIENCE)
    yes = Answer(shopper, asked[0]) if heard else None
    with shopper.page.expect_navigation(url=cached_product):
        shopper.page.evaluate(TAKE_BACK_AND_LEAVE, cached_product)
    if yes:
        yes.arrive()
    else:
        asked[0].continue_()
    assert shopper.wait_until(
        lambda: shopper.cookies().get("metapixel_consent") == "denied", PATIENCE
    )
    shopper.add_to_cart()
    shopper.wait(SECONDS_OF_SILENCE)
    said = ["granted", "withdrawn"] if heard else ["withdrawn"]
    assert column(cached_shop, PROOFS)[before:] == said
    assert shopper.cookies()["metapixel_consent"] == "denied"
    assert sandbox.requests == []
    assert shopper.asked_of_meta() == []
    assert meta_cookies(shopper) == []
    assert shopper.all_troubles() == []


def test_grant_after_a_refusal_reports_from_that_page_on(shop, sandbox, visit):
    shopper = visit(shop)
    shopper.arrive()
    shopper.refuse()
    shopper.open_product()
    shopper.find("consent-grant-later").click()
    assert shopper.wait_until(
        lambda: {event["status"] for event in sandbox.events()} == {"deduplicated"}, PATIENCE
    )
    assert sorted(event["event_name"] for event in sandbox.events()) == ["PageView", "ViewContent"]
    (fbc,) = {copy["user_data"]["fbc"] for e in sandbox.events() for copy in e["copies"]}
    assert fbc.endswith(".IwAR0MixedCase_AbC-123")


@pytest.mark.parametrize("told_of_payment", ["before the grant", "after the grant"])
def test_grant_on_the_thank_you_page_completes_the_order(
    shop, cached_shop, sandbox, visit, told_of_payment
):
    at = cached_shop if told_of_payment == "before the grant" else shop
    shopper = visit(at)
    shopper.arrive()
    shopper.open_product()
    shopper.go_to_the_bank()
    shopper.pay()
    shopper.return_to_shop()
    if at is cached_shop:
        # The page asks the bank's word of the shop by itself.
        assert shopper.wait_until(shopper.is_paid, PATIENCE)
    assert sandbox.requests == []

    shopper.accept()
    (purchase,) = sandbox.events("Purchase")
    assert purchase["counts"] == {"browser": 1, "server": 1}
    assert purchase["differences"] == []
    (expected,) = [one for one in shopper.expected if one.name == "Purchase"]
    assert list(expected.wrong_in(purchase)) == []

    shopper.page.reload()
    assert shopper.wait_until(lambda: len(sandbox.events("PageView")) == 2, PATIENCE)
    shopper.wait(SECONDS_OF_SILENCE)
    (purchase,) = sandbox.events("Purchase")
    assert purchase["counts"] == {"browser": 1, "server": 1}
    assert sandbox.rejections() == []
    assert shopper.all_troubles() == []


def test_staff_are_not_reported_and_the_admin_asks_nobody_else(shop, sandbox, visit):
    shopper = visit(shop)
    shopper.page.goto(f"{shop.url}/admin/")
    shopper.page.locator("[name=username]").fill("admin")
    shopper.page.locator("[name=password]").fill("admin")
    with shopper.page.expect_navigation():
        shopper.page.locator("button[type=submit]").click()
    assert "metapixel_off" in shopper.cookies()
    shopper.arrive()
    shopper.open_product()
    shopper.find("add-to-cart").click()
    shopper.wait(SECONDS_OF_SILENCE)
    assert sandbox.requests == []
    assert shopper.all_troubles() == []
