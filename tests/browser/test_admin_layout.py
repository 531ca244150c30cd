"""Our page in the Wagtail admin on a telephone and on a desk."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

# What stands beyond the right edge, though it can be seen: by its tag and id.
BEYOND = """() => [...document.querySelectorAll('main *')]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => `${one.tagName} ${one.id}`)"""


@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_on_the_settings_page_stands_beyond_the_screen(shop, visit, width, scheme):
    viewport = {"width": width, "height": 900}
    page = visit(shop, viewport=viewport, color_scheme=scheme).page
    page.goto(f"{shop.url}/admin/")
    page.locator("[name=username]").fill("admin")
    page.locator("[name=password]").fill("admin")
    page.locator("[type=submit]").click()
    page.goto(f"{shop.url}/admin/settings/wagtail_metapixel/metapixelsettings/")
    tabs = page.locator("[role=tab]")
    tabs.first.wait_for()
    assert tabs.count() == 4
    for number in range(tabs.count()):
        tabs.nth(number).click()
        page.locator("[role=tabpanel]").nth(number).wait_for()
        assert page.evaluate(BEYOND) == []
        page_width = page.evaluate("document.documentElement.scrollWidth")
        assert page_width == width
