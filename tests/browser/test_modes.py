"""Who tells Meta of a pixel's events, and of which events: server only, browser only, chosen ones."""

from __future__ import annotations

import re
from unittest import mock

import pytest
from walking import processes

from tests.browser.conftest import LISTEN, PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

PIXEL = "1234567890123456"
BROWSER_PIXEL = "2345678901234567"
CHECKOUT_PIXEL = "3456789012345678"
# The browser's pixel needs none; it has one, so that copies from the server could arrive.
TOKENS = {BROWSER_PIXEL: "SANDBOX-TOKEN-2345678901", CHECKOUT_PIXEL: "SANDBOX-TOKEN-3456789012"}
SERVER_ONLY = """
from wagtail_metapixel.models import MetaPixel
MetaPixel.objects.update(mode="server")
"""
# One pixel for what people look at, one that only browsers tell, one for what they do;
# and all of them with Limited Data Use.
THREE_PIXELS = f"""
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings
MetaPixelSettings.objects.update(limited_data_use=True)
shelf = MetaPixel.objects.get()
common = {{"settings_id": shelf.settings_id, "hosts": shelf.hosts}}
MetaPixel.objects.update(events=["PageView", "ViewContent"])
MetaPixel.objects.create(**common, pixel_id="{BROWSER_PIXEL}", mode="browser")
MetaPixel.objects.create(
    **common, pixel_id="{CHECKOUT_PIXEL}", events=["AddToCart", "InitiateCheckout"]
)
"""


@pytest.fixture(scope="module")
def server_shop(new_shop):
    with new_shop("server_only", prepared_by=SERVER_ONLY) as running:
        yield running


@pytest.fixture(scope="module")
def three_pixels(new_shop):
    """A shop with three pixels, which the sandbox knows as long as the shop runs."""
    tokens = {f"METAPIXEL_ACCESS_TOKEN_{pixel}": token for pixel, token in TOKENS.items()}
    with (
        mock.patch.dict(processes.PIXELS, TOKENS),
        new_shop("three_pixels", prepared_by=THREE_PIXELS, **tokens) as running,
    ):
        yield running


def look_and_check_out(visit, shop):
    """A visitor's page view, product, cart and checkout; ``patience=0``: who tells is the test."""
    shopper = visit(shop, patience=0)
    shopper.page.goto(shop.url)
    shopper.accept()
    shopper.open_product()
    shopper.add_to_cart()
    shopper.page.goto(f"{shop.url}/checkout/")
    return shopper


def heard(sandbox, pixel):
    """What a pixel heard of: the name of each event, and how many copies each side sent."""
    return sorted(
        (event["event_name"], event["counts"]["browser"], event["counts"]["server"])
        for event in sandbox.events(pixel=pixel)
    )


def of_each(*names, browser, server):
    return [(name, browser, server) for name in names]


LOOKED = ("PageView", "PageView", "PageView", "ViewContent")
DID = ("AddToCart", "InitiateCheckout")


def test_server_only_tells_everything_and_loads_nothing_of_metas(server_shop, sandbox, visit):
    shopper = look_and_check_out(visit, server_shop)
    wanted = of_each(*DID, *LOOKED, browser=0, server=1)
    assert shopper.wait_until(lambda: heard(sandbox, PIXEL) == wanted, PATIENCE)
    shopper.wait(SECONDS_OF_SILENCE)
    assert heard(sandbox, PIXEL) == wanted
    assert shopper.asked_of_meta() == []
    assert shopper.page.evaluate("typeof window.fbq") == "undefined"
    assert not [name for name in shopper.cookies() if name.startswith("metapixel_e_")]
    assert shopper.all_troubles() == []

    # Nobody but us made the ids.
    ids = shopper.cookies()["_fbp"]
    assert re.fullmatch(r"fb\.0\.\d{13}\.\d+", ids)
    assert {copy["user_data"]["fbp"] for e in sandbox.events() for copy in e["copies"]} == {ids}


def test_each_pixel_gets_what_was_chosen_for_it(three_pixels, sandbox, visit):
    shopper = look_and_check_out(visit, three_pixels)
    wanted = {
        PIXEL: of_each(*LOOKED, browser=1, server=1),
        BROWSER_PIXEL: of_each(*DID, *LOOKED, browser=1, server=0),
        CHECKOUT_PIXEL: of_each(*DID, browser=1, server=1),
    }

    def is_complete():
        return {pixel: heard(sandbox, pixel) for pixel in wanted} == wanted

    assert shopper.wait_until(is_complete, PATIENCE), [heard(sandbox, each) for each in wanted]
    shopper.wait(SECONDS_OF_SILENCE)
    assert is_complete()
    assert sandbox.rejections() == []
    assert not [one for one in sandbox.requests if one.path.endswith(f"{BROWSER_PIXEL}/events")]
    # An event has one id, whichever pixels are told of it.
    assert len({event["event_id"] for event in sandbox.events()}) == len(DID + LOOKED)
    assert shopper.all_troubles() == []


def test_limited_data_use_is_said_by_both_sides_before_any_pixel_begins(
    three_pixels, sandbox, visit
):
    shopper = visit(three_pixels, patience=0)
    shopper.page.add_init_script(LISTEN)
    shopper.page.goto(three_pixels.url)
    shopper.accept()
    wanted = [("PageView", 1, 1)]
    assert shopper.wait_until(lambda: heard(sandbox, PIXEL) == wanted, PATIENCE)
    said = shopper.page.evaluate("said")
    verbs = [words[0] for words in said]
    first, *others = [at for at, verb in enumerate(verbs) if verb == "init"]
    assert ["dataProcessingOptions", ["LDU"], 0, 0] in said[:first]
    assert len(others) == len(TOKENS)
    copies = [copy for event in sandbox.events(pixel=PIXEL) for copy in event["copies"]]
    assert [list(copy["data_processing_options"]) for copy in copies] == [["LDU", "0", "0"]] * 2
    assert shopper.all_troubles() == []
