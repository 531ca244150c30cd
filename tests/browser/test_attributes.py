"""Links, buttons and forms that tell an event by their attributes alone, from a click to Meta."""

from __future__ import annotations

import pytest

from tests.browser.conftest import PATIENCE, SECONDS_OF_SILENCE, Answer, column, held

pytestmark = pytest.mark.browser

META_SCRIPT = "https://connect.facebook.net/**"
HOTLINE = {"content_name": "Hotline"}
SWITCH_ON = """
from wagtail_metapixel.models import MetaPixelSettings
MetaPixelSettings.objects.update(html_attributes=True)
"""
EVENT_IDS = "SELECT event_id FROM wagtail_metapixel_outboxevent ORDER BY id"
ADD = """
([tag, attributes]) => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.textContent = "marked";
  document.getElementById("main").prepend(element);
}
"""


@pytest.fixture(scope="module")
def marked_shop(new_shop):
    """A shop that looks at the attributes."""
    with new_shop("attributes", prepared_by=SWITCH_ON) as running:
        yield running


@pytest.fixture
def shopper(marked_shop, visit):
    """A visitor on the home page who has allowed it all, once the page view is told."""
    visitor = visit(marked_shop, patience=0)
    allow(visitor, marked_shop)
    visitor.page.goto(marked_shop.url)
    assert visitor.wait_until(lambda: told(visitor) == [("PageView", "deduplicated")], PATIENCE)
    return visitor


def allow(visitor, shop):
    consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef", "url": shop.url}
    visitor.page.context.add_cookies([consent])


def add(visitor, tag, event="Contact", **attributes):
    """Add an element, after the page has loaded, and return it."""
    marks = {"data-metapixel-event": event, "data-metapixel-params": '{"content_name": "Hotline"}'}
    visitor.page.evaluate(ADD, [tag, marks | attributes])
    return visitor.page.locator(f"#main > {tag}[data-metapixel-event]").first


def told(visitor):
    return sorted((event["event_name"], event["status"]) for event in visitor.events())


def contacts(visitor):
    return [event for event in visitor.events() if event["event_name"] == "Contact"]


def assert_one_contact(visitor):
    """Both copies have arrived, and say the same; nothing else came of it."""
    assert visitor.wait_until(
        lambda: [each["status"] for each in contacts(visitor)] == ["deduplicated"], PATIENCE
    )
    visitor.wait(SECONDS_OF_SILENCE)
    (contact,) = contacts(visitor)
    assert contact["counts"] == {"browser": 1, "server": 1}
    assert [copy["custom_data"] for copy in contact["copies"]] == [HOTLINE, HOTLINE]


@pytest.mark.parametrize("href", ["tel:+49301234567", "mailto:shop@example.com"])
def test_call_and_mail_are_told_by_both_sides(shopper, href):
    add(shopper, "a", href=href).click()
    assert_one_contact(shopper)


def test_download_is_told_by_both_sides(shopper):
    link = add(shopper, "a", href="/static/shop/logo.svg", download="logo.svg")
    with shopper.page.expect_download():
        link.click()
    assert_one_contact(shopper)


def test_link_that_leaves_the_page_is_told_by_both_sides(shopper, marked_shop):
    link = add(shopper, "a", href=f"{marked_shop.url}/contact/")
    with shopper.page.expect_navigation():
        link.click()
    assert_one_contact(shopper)
    assert shopper.all_troubles() == []


def test_link_to_another_site_is_told_by_both_sides(shopper, marked_shop):
    with shopper.page.expect_navigation():
        add(shopper, "a", href=f"{marked_shop.bank}/static/shop/logo.svg").click()
    assert_one_contact(shopper)


def test_click_that_leaves_while_metas_script_still_loads_is_told_by_the_server(marked_shop, visit):
    visitor = visit(marked_shop, patience=0)
    visitor.page.context.route(META_SCRIPT, lambda route: None)  # and never an answer
    allow(visitor, marked_shop)
    visitor.page.goto(marked_shop.url, wait_until="domcontentloaded")
    link = add(visitor, "a", href=f"{marked_shop.bank}/static/shop/logo.svg")
    link.click(no_wait_after=True)
    assert visitor.wait_until(
        lambda: told(visitor) == [("Contact", "server"), ("PageView", "server")], PATIENCE
    )


def test_form_is_told_when_it_is_submitted_by_the_keyboard(shopper, marked_shop):
    form = add(shopper, "form", action="/search/")
    form.evaluate(
        "(form) => form.append(Object.assign(document.createElement('input'), {name: 'q'}))"
    )
    field = form.locator("input")
    field.click()
    field.fill("honey")
    assert contacts(shopper) == []
    with shopper.page.expect_navigation():
        field.press("Enter")
    assert_one_contact(shopper)
    assert shopper.all_troubles() == []


def test_button_is_told_by_the_keyboard(shopper):
    add(shopper, "button", type="button").focus()
    shopper.page.keyboard.press("Enter")
    assert_one_contact(shopper)
    assert shopper.all_troubles() == []


def test_double_click_counts_once(shopper):
    # Both at once, however busy the machine is.
    add(shopper, "button", type="button").evaluate(
        "(button) => { button.click(); button.click(); }"
    )
    assert_one_contact(shopper)
    assert shopper.all_troubles() == []


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_click_while_the_page_view_is_on_its_way_tells_each_once(marked_shop, visit, lost):
    visitor = visit(marked_shop, patience=0)
    allow(visitor, marked_shop)
    before = len(column(marked_shop, EVENT_IDS))
    asked = held(visitor.page, "**/metapixel/collect/", times=1)
    visitor.page.goto(marked_shop.url)
    assert visitor.wait_until(lambda: asked, PATIENCE)
    answer = Answer(visitor, asked[0]) if lost else None
    add(visitor, "button", type="button").click()
    assert visitor.wait_until(lambda: ("Contact", "deduplicated") in told(visitor), PATIENCE)
    if answer:
        asked[0].abort()
    else:
        asked[0].continue_()
    wanted = [("Contact", "deduplicated"), ("PageView", "deduplicated")]
    assert visitor.wait_until(lambda: told(visitor) == wanted, PATIENCE), told(visitor)
    visitor.page.goto("about:blank")  # which gives the page its last chance to tell more
    visitor.wait(SECONDS_OF_SILENCE)
    assert told(visitor) == wanted
    assert [each["counts"] for each in visitor.events()] == [{"browser": 1, "server": 1}] * 2
    ids = sorted(each["event_id"] for each in visitor.events())
    assert sorted(column(marked_shop, EVENT_IDS)[before:]) == ids


def test_page_that_stops_its_clicks_is_heard_all_the_same(shopper):
    add(shopper, "a", href="#main").evaluate(
        "(link) => link.addEventListener('click', (event) => { event.preventDefault(); event.stopImmediatePropagation(); })"
    )
    shopper.page.locator("#main > a[data-metapixel-event]").click()
    assert_one_contact(shopper)


def test_element_inside_a_shadow_root_is_heard(shopper):
    shopper.page.evaluate(
        """() => {
          const host = document.createElement("shop-card");
          document.getElementById("main").prepend(host);
          const link = document.createElement("button");
          link.dataset.metapixelEvent = "Contact";
          link.dataset.metapixelParams = '{"content_name": "Hotline"}';
          link.textContent = "marked";
          host.attachShadow({ mode: "open" }).append(link);
        }"""
    )
    shopper.page.locator("shop-card button").click()
    assert_one_contact(shopper)


def test_what_a_browser_may_not_say_is_said_by_nobody(shopper, sandbox):
    notes = []
    shopper.page.on("console", lambda message: notes.append(message.text))
    add(shopper, "a", "Purchase", href="#main").click()
    add(shopper, "a", "Contact", href="#main", **{"data-metapixel-params": '{"value": '}).click()
    assert shopper.wait_until(lambda: len(contacts(shopper)) == 1, PATIENCE)
    shopper.wait(SECONDS_OF_SILENCE)
    assert [name for name, _status in told(shopper)] == ["Contact", "PageView"]
    assert len([note for note in notes if note.startswith("metapixel:")]) == 2
    assert sandbox.rejections() == []
    assert shopper.all_troubles() == []


def test_click_before_an_answer_is_told_after_the_yes(marked_shop, visit):
    visitor = visit(marked_shop, patience=0)
    posts = []
    visitor.page.on("request", lambda request: posts.append(request.method))
    visitor.page.goto(marked_shop.url)
    add(visitor, "button", type="button").click()
    visitor.wait(SECONDS_OF_SILENCE)
    assert "POST" not in posts
    assert visitor.asked_of_meta() == []
    visitor.find("consent-accept").click()
    assert_one_contact(visitor)
