"""The whole walk, and buying with the webhook and the confirmation page in either order."""

from __future__ import annotations

from datetime import datetime

import pytest
from walking.shopper import CLICK_ID, SHOP_ZONE, seconds_across_midnight
from walking.verdict import judge

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, until

pytestmark = pytest.mark.browser


def judged(shopper, sandbox):
    return judge(
        shopper.expected,
        sandbox.events(),
        click_id=CLICK_ID,
        refused=sandbox.rejections(),
        troubles=shopper.all_troubles(),
    )


def allow_and_order(shopper):
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    shopper.go_to_the_bank()


@pytest.mark.parametrize(
    ("hour", "minute", "second", "seconds"),
    [(12, 0, 0, 0), (23, 58, 59, 0), (23, 59, 30, 31), (23, 59, 59, 2), (0, 0, 0, 0)],
)
def test_a_walk_does_not_cross_midnight_in_the_checkout(hour, minute, second, seconds):
    now = datetime(2026, 2, 28, hour, minute, second, tzinfo=SHOP_ZONE)
    assert seconds_across_midnight(now) == seconds


def test_walk_reports_every_event_once_from_both_sides(shop, sandbox, visit):
    shopper = visit(shop)
    shopper.walk()
    verdict = judged(shopper, sandbox)
    assert verdict, f"\n{verdict}"
    assert {row.name for row in verdict.rows} == {
        "PageView",
        "ViewContent",
        "Search",
        "AddToCart",
        "InitiateCheckout",
        "AddPaymentInfo",
        "Purchase",
        "Lead",
        "CompleteRegistration",
    }


def test_purchase_counts_once_when_the_confirmation_page_is_first(shop, sandbox, visit):
    shopper = visit(shop)
    allow_and_order(shopper)
    shopper.pay()
    assert sandbox.events("Purchase") == []
    shopper.return_to_shop()
    shopper.reload()
    shopper.hear_of_the_payment_again()
    verdict = judged(shopper, sandbox)
    assert verdict, f"\n{verdict}"
    assert len(sandbox.events("Purchase")) == 1


def test_purchase_counts_once_when_the_webhook_is_first(cached_shop, sandbox, visit):
    shopper = visit(cached_shop)
    allow_and_order(shopper)
    shopper.pay()
    assert shopper.wait_until(lambda: sandbox.events("Purchase"), PATIENCE)
    shopper.return_to_shop()
    assert shopper.is_paid()
    shopper.reload()
    shopper.hear_of_the_payment_again()
    verdict = judged(shopper, sandbox)
    assert verdict, f"\n{verdict}"
    assert len(sandbox.events("Purchase")) == 1


def test_shopper_who_never_comes_back_from_the_bank_is_counted(cached_shop, sandbox, visit):
    shopper = visit(cached_shop)
    allow_and_order(shopper)
    shopper.pay()
    mine = shopper.cookies()
    shopper.page.context.close()
    until(lambda: sandbox.events("Purchase"))
    (purchase,) = sandbox.events("Purchase")
    assert purchase["counts"] == {"browser": 0, "server": 1}
    (copy,) = purchase["copies"]
    assert copy["user_data"]["fbp"] == mine["_fbp"]
    assert copy["user_data"]["fbc"] == mine["_fbc"]
    assert copy["event_source_url"].startswith(cached_shop.url)


def test_confirmation_page_in_another_browser_gets_nothing(cached_shop, sandbox, visit):
    shopper = visit(cached_shop)
    allow_and_order(shopper)
    shopper.pay()
    assert shopper.wait_until(lambda: sandbox.events("Purchase"), PATIENCE)
    friend = visit(cached_shop)
    friend.arrive()
    friend.accept()
    friend.page.goto(shopper.confirmation_page)
    assert friend.wait_until(lambda: len(friend.events()) == 2, PATIENCE)
    friend.wait(SECONDS_OF_SILENCE)
    assert sandbox.events("Purchase")[0]["counts"] == {"browser": 0, "server": 1}

    shopper.return_to_shop()
    assert shopper.page.url == shopper.confirmation_page
    assert sandbox.events("Purchase")[0]["counts"] == {"browser": 1, "server": 1}
