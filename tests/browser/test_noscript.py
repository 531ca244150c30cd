"""A browser that runs no script: the image in ``<noscript>``, where nobody has to be asked."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE

pytestmark = pytest.mark.browser

NOT_REQUIRED = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(consent_provider="not_required")
"""
# No route of the browser's sees where a redirect leads, so the sandbox has its own address here.
OWN_ADDRESS = {"EXAMPLE_META_HOSTS": "0"}


@pytest.fixture(scope="module")
def open_shop(new_shop):
    """The shop of an owner who states that nobody has to be asked."""
    with new_shop("not-required", prepared_by=NOT_REQUIRED, **OWN_ADDRESS) as running:
        yield running


@pytest.fixture(scope="module")
def asking_shop(new_shop):
    """The shop with its banner."""
    with new_shop("asking", **OWN_ADDRESS) as running:
        yield running


def told(sandbox):
    return [
        (event["event_name"], [copy["method"] for copy in event["copies"]])
        for event in sandbox.events()
    ]


def test_without_scripts_each_page_is_told_once_by_an_image(open_shop, visit, sandbox):
    shopper = visit(open_shop, java_script_enabled=False)
    for count, path in enumerate(("/", "/contact/", "/"), 1):
        shopper.page.goto(open_shop.url + path)
        assert shopper.wait_until(lambda wanted=count: len(told(sandbox)) >= wanted, PATIENCE)
    shopper.wait(SECONDS_OF_SILENCE)
    assert told(sandbox) == [("PageView", ["noscript"])] * 3
    assert not [name for name in shopper.cookies() if name.startswith(("_fb", "metapixel"))]
    assert shopper.all_troubles() == []


def test_meta_learns_the_shops_origin_and_not_the_page(open_shop, visit, sandbox):
    shopper = visit(open_shop, java_script_enabled=False)
    with shopper.page.expect_request("**/tr?*") as request:
        shopper.page.goto(f"{open_shop.url}/contact/?q=secret")
    assert request.value.all_headers()["referer"] == f"{open_shop.url}/"
    assert shopper.wait_until(lambda: told(sandbox), PATIENCE)


def test_global_privacy_control_is_obeyed(open_shop, visit, sandbox):
    headers = {"Sec-GPC": "1"}
    shopper = visit(open_shop, java_script_enabled=False, extra_http_headers=headers)
    shopper.page.goto(open_shop.url)
    shopper.wait(SECONDS_OF_SILENCE)
    assert sandbox.requests == []
    assert told(sandbox) == []


def test_where_consent_is_asked_for_nothing_is_told(asking_shop, visit, sandbox):
    shopper = visit(asking_shop, java_script_enabled=False)
    shopper.page.goto(asking_shop.url)
    assert "noscript/" not in shopper.page.content()
    shopper.wait(SECONDS_OF_SILENCE)
    assert told(sandbox) == []


def test_with_scripts_the_image_is_not_asked_for(open_shop, visit, sandbox):
    shopper = visit(open_shop)
    shopper.arrive()
    assert shopper.wait_until(lambda: told(sandbox), PATIENCE)
    shopper.wait(SECONDS_OF_SILENCE)
    [(name, methods)] = told(sandbox)
    assert name == "PageView"
    assert "noscript" not in methods
