"""The live page, in a real browser."""

from __future__ import annotations

import time

import pytest

from tests.sandbox.samples import digest
from wagtail_metapixel.sandbox.server import SandboxServer

pytestmark = pytest.mark.browser

BAD = "<img src=x onerror=window.attacked=1>"


@pytest.fixture
def live(chromium, sandbox):
    """Open the live page in a window of its own; the test fails on any error in its console."""
    contexts, errors = [], []

    def live(address=sandbox.url, **options):
        context = chromium.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.goto(address + "/")
        page.locator("[data-state=live]").wait_for()
        return page

    live.errors = errors
    yield live
    for context in contexts:
        context.close()
    assert errors == []


def lines(page):
    return page.locator("#list > li:visible")


def opened(place):
    """Open the one line of ``place``; the page fills it a moment after the click."""
    place.locator("summary").click()
    place.locator(".content > *").first.wait_for()
    return place.locator(".content").inner_text()


def purchase(client):
    money = {"value": 59.9, "currency": "EUR"}
    client.browser(ev="Purchase", **{"cd[value]": "59.80", "cd[currency]": "EUR"})
    user_data = {"fbp": "fb.1.1795322685020.1", "em": [digest("x")]}
    client.server(event_name="Purchase", custom_data=money, user_data=user_data)


def test_an_empty_page_says_what_to_do(live, sandbox):
    page = live()
    assert page.get_by_role("heading", name="Waiting for the first event").is_visible()
    assert f'{{"SANDBOX": "{sandbox.url}"}}' in page.locator("#setting").inner_text()


def test_strict_mode_stands_at_the_head_of_the_page_and_at_what_it_refused(live, client):
    assert live().locator("#strict").is_hidden()
    with SandboxServer(strict=True) as strict:
        client.sandbox = strict
        client.server(event_id=None)
        page = live(address=strict.url)
        assert page.locator("header #strict").inner_text() == "Strict mode"
        line = lines(page).first
        assert "Strict mode only: No event_id" in line.locator("summary").inner_text()
        assert "Only strict mode refuses this. No event_id" in opened(line)


def test_events_appear_by_themselves_newest_first(live, client):
    page = live()
    client.browser(ev="PageView", eid="1")
    client.browser(ev="Lead", eid="2")
    lines(page).nth(1).wait_for()
    assert page.locator(".name").all_inner_texts() == ["Lead", "PageView"]
    assert page.locator("#empty").is_hidden()
    assert page.locator("#total-events").inner_text() == "2"


def test_one_line_tells_both_channels_and_the_verdict(live, client):
    purchase(client)
    page = live()
    line = lines(page).first
    assert line.locator(".from .badge").all_inner_texts() == ["Browser", "Server"]
    assert "Deduplicated" in line.locator(".status").inner_text()
    content = opened(line)
    assert "keeps the browser copy" in content
    assert line.locator(".keys code").all_inner_texts() == ["em"]
    assert "59.8" in line.locator(".differences").inner_text()
    assert line.locator("[data-kept=true] .badge").inner_text() == "Browser"


def test_a_line_that_is_open_stays_open_when_its_other_half_comes(live, client):
    client.browser()
    page = live()
    page.locator("summary").click()
    client.server()
    page.locator(".copy").nth(1).wait_for()
    assert page.locator("details[open]").count() == 1


def test_a_refused_request_is_shown_with_its_reason(live, client):
    client.server(event_name="Purchase")
    page = live()
    assert "Refused 100 / 2804009" in lines(page).first.inner_text()
    assert "A Purchase event needs a value" in opened(page)


def test_what_was_received_is_text_and_never_markup(live, client):
    client.browser(
        ev=BAD, eid=BAD, dl=BAD, rl=BAD, a=BAD, fbp=BAD, fbc=BAD,
        **{f"cd[{BAD}]": BAD, f"ud[{BAD}]": BAD, "cd[content_name]": BAD, "cd[currency]": BAD},
    )  # fmt: skip
    client.graph({"event_name": BAD, BAD: 1}, pixel=BAD, test_event_code=BAD)
    page = live()
    for summary in page.locator("summary").all():
        summary.click()
    page.wait_for_timeout(100)
    assert BAD in page.locator(".name").first.inner_text()
    assert page.locator("#list img").count() == 0
    assert page.evaluate("window.attacked") is None


@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_long_names_break_no_layout(live, client, width):
    long = "x" * 300
    client.browser(ev=long, eid=long, dl=f"https://shop.example/{long}", **{f"cd[{long}]": long})
    client.server(event_name="Purchase", custom_data={"value": 1, "currency": "EUR", long: long})
    client.server(event_name="x" * 50, strange_key_that_is_refused=1)
    page = live(viewport={"width": width, "height": 700})
    for summary in page.locator("summary").all():
        summary.click()
    page.locator(".copy").nth(1).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_lines_open_from_the_keyboard(live, client):
    client.browser()
    page = live()
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.locator(".copy").wait_for()
    page.keyboard.press("Space")
    page.locator("details:not([open])").wait_for()


def test_the_filter_finds_name_id_pixel_and_status(live, client):
    client.browser(ev="Lead", eid="abc")
    client.browser(ev="Contact", eid="def", id="999999")
    client.server(event_name="Contact", event_time=1)
    page = live()
    for words, count in [("lead", 1), ("DEF", 1), ("999999", 1), ("contact", 2), ("", 3)]:
        page.fill("#filter", words)
        assert lines(page).count() == count, words
    for status, count in [("browser", 2), ("rejected", 1), ("deduplicated", 0), ("", 3)]:
        page.select_option("#status", status)
        assert lines(page).count() == count, status
    page.select_option("#pixel", "999999")
    assert lines(page).count() == 1
    page.fill("#filter", "nothing of the kind")
    page.get_by_role("button", name="Show every event").click()
    assert lines(page).count() == 3


def test_new_events_obey_the_filter(live, client):
    client.browser(ev="Lead", eid="1")
    page = live()
    page.fill("#filter", "lead")
    client.browser(ev="Contact", eid="2")
    page.locator(".name", has_text="Contact").wait_for(state="attached")
    assert lines(page).count() == 1


def test_the_list_can_be_cleared(live, client, sandbox):
    client.browser()
    page = live()
    page.get_by_role("button", name="Clear").click()
    page.locator("#empty").wait_for()
    assert sandbox.events() == []


def test_a_fault_is_switched_on_shown_and_switched_off(live, client, sandbox):
    page = live()
    page.get_by_role("button", name="Simulate a fault").click()
    page.get_by_label("What Meta does").select_option("reject_id")
    page.get_by_role("button", name="Switch on").click()
    page.get_by_role("alert").get_by_text("reject_id needs one").wait_for()
    live.errors.clear()  # the console names the answer 400
    page.get_by_label("Event id", exact=True).fill("poison")
    page.get_by_label("How many requests").fill("2")
    page.get_by_role("button", name="Switch on").click()
    page.locator("#fault").wait_for()
    assert (sandbox.misbehaviour.event_id, sandbox.misbehaviour.times) == ("poison", 2)
    assert "2 more times" in page.locator("#fault").inner_text()
    client.server(event_id="poison")
    page.get_by_text("once more").wait_for()
    page.get_by_role("button", name="Switch off").click()
    page.locator("#fault").wait_for(state="hidden")
    assert sandbox.misbehaviour is None


def test_it_comes_back_when_the_sandbox_does(live, client, sandbox):
    client.browser(eid="before")
    page = live()
    page.locator("summary").click()
    sandbox._port = sandbox.port
    sandbox.stop()
    page.locator("[data-state=lost]").wait_for()
    sandbox.start()
    page.locator("[data-state=live]").wait_for()
    client.browser(eid="after")
    lines(page).nth(1).wait_for()
    page.locator("details[open] .copy").wait_for()
    live.errors.clear()  # the console names the lost connection


def test_it_has_a_dark_face(live):
    colours = {
        scheme: live(color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert colours["light"] != colours["dark"]


def test_a_screen_reader_is_told_of_new_events(live, client):
    page = live()
    client.browser(eid="1")
    client.browser(eid="2")
    page.get_by_text("2 new events").wait_for(state="attached")
    assert page.locator("#news").get_attribute("role") == "status"


def send_many(client, prefix):
    now = int(time.time())
    events = [
        {"event_name": "Contact", "event_time": now, "event_id": f"{prefix}-{number}",
         "action_source": "website", "user_data": {"em": digest("x")}}
        for number in range(200)
    ]  # fmt: skip
    assert client.graph(*events).status_code == 200


def test_hundreds_of_events_show_the_newest(live, client):
    early = live()
    for count, prefix in [("200", "first"), ("400", "second")]:
        send_many(client, prefix)
        early.locator("#total-events", has_text=count).wait_for()
    for page in (early, live()):
        page.wait_for_function("document.querySelectorAll('#list > li').length === 300")
        assert page.locator("#total-events").inner_text() == "400"
