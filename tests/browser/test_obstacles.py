"""Browsers that block Meta's script, or run no script at all."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "blocked",
    [("connect.facebook.net",), ("connect.facebook.net", "www.facebook.com")],
    ids=["script", "everything of Meta's"],
)
def test_events_arrive_from_the_server_where_meta_is_blocked(shop, sandbox, visit, blocked):
    shopper = visit(shop, blocked=blocked, patience=0)
    shopper.arrive()
    shopper.open_product()
    shopper.accept()
    shopper.add_to_cart()
    assert shopper.wait_until(lambda: len(sandbox.events()) == 3, PATIENCE)
    names = ["AddToCart", "PageView", "ViewContent"]
    assert sorted(event["event_name"] for event in sandbox.events()) == names
    for event in sandbox.events():
        assert event["counts"] == {"browser": 0, "server": 1}
        assert event["copies"][0]["user_data"]["fbp"] == shopper.cookies()["_fbp"]
    assert shopper.asked_of_meta() != []


def test_shop_sells_to_a_browser_without_scripts_and_reports_nothing(cached_shop, sandbox, visit):
    shopper = visit(cached_shop, java_script_enabled=False)
    shopper.arrive()
    assert not shopper.find("consent-banner").is_visible()
    shopper.search("honey")
    shopper.open_product()
    shopper.follow("add-to-cart")
    shopper.check_out()
    shopper.place_order()
    shopper.choose_payment()
    shopper.pay()
    shopper.return_to_shop()
    assert shopper.order_number.startswith("LS-")
    shopper.wait(SECONDS_OF_SILENCE)
    shopper.reload()
    assert shopper.is_paid()
    assert sandbox.requests == []
    assert shopper.all_troubles() == []


def test_shopper_whose_scripts_stop_working_is_counted_by_the_server(cached_shop, sandbox, visit):
    shopper = visit(cached_shop, java_script_enabled=False)
    shopper.page.context.add_cookies(
        [
            {"name": name, "value": value, "url": cached_shop.url}
            for name, value in {
                "metapixel_consent": "granted.0123456789abcdef",
                "_fbp": "fb.0.1700000000000.123456789",
            }.items()
        ]
    )
    shopper.arrive()
    shopper.open_product()
    shopper.follow("add-to-cart")
    shopper.check_out()
    shopper.place_order()
    shopper.choose_payment()
    shopper.pay()
    shopper.return_to_shop()
    assert shopper.wait_until(lambda: len(sandbox.events()) == 4, PATIENCE)
    names = ["AddPaymentInfo", "AddToCart", "InitiateCheckout", "Purchase"]
    assert sorted(event["event_name"] for event in sandbox.events()) == names
    assert {event["status"] for event in sandbox.events()} == {"server"}


def test_walk_notices_what_the_policy_forbids_and_what_leaves_the_shop(shop, visit):
    shopper = visit(shop)
    shopper.arrive()
    image = "document.body.append(Object.assign(new Image(), {src: '%s'}))"
    shopper.page.evaluate(image % "https://elsewhere.example/policy.gif")
    shopper.page.goto("about:blank")  # which has no policy
    shopper.page.evaluate("fetch('https://elsewhere.example/leak').catch(() => {})")
    policy, *_others, leak = shopper.all_troubles()
    assert "Content Security Policy" in policy
    assert leak == "unexpected traffic: GET https://elsewhere.example/leak"
