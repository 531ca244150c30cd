"""What Meta would count once, with a clock that the test moves."""

from __future__ import annotations

import pytest

from tests.sandbox.samples import FBP, PIXEL
from wagtail_metapixel.sandbox.records import MAX_COPIES, Copy
from wagtail_metapixel.sandbox.store import Store

HOUR = 3600


class Story:
    """Copies that come in at given times, told in the order of the calls."""

    def __init__(self, **options):
        self.store = Store(**options)

    def came(self, channel, at=0.0, **changes):
        fields = {"pixel": PIXEL, "event_name": "Purchase", "event_id": "id-1"}
        self.store.add([Copy(channel=channel, received=at, **(fields | changes))])
        return self

    @property
    def events(self):
        return self.store.events()

    def statuses(self):
        return [event["status"] for event in self.events]


@pytest.fixture
def story():
    return Story()


def test_browser_and_server_copy_of_one_id_are_one_event(story):
    story.came("browser").came("server", at=1)
    assert story.statuses() == ["deduplicated"]
    assert story.events[0]["counts"] == {"browser": 1, "server": 1}
    assert story.events[0]["matched_by"] == "event_id"
    assert story.store.totals() == {"browser": 1, "server": 1, "events": 1, "rejected": 0}


@pytest.mark.parametrize(
    "change", [{"pixel": "999999"}, {"event_name": "Lead"}, {"event_id": "id-1 "}]
)
def test_another_pixel_name_or_id_is_another_event(story, change):
    story.came("browser").came("server", at=1, **change)
    assert story.statuses() == ["browser", "server"]


def test_a_second_server_copy_counts_once(story):
    story.came("server").came("server", at=47 * HOUR)
    assert story.statuses() == ["server"]
    assert story.events[0]["counts"] == {"browser": 0, "server": 2}


def test_deduplication_ends_48_hours_after_the_first_copy(story):
    story.came("server").came("server", at=48 * HOUR)
    assert len(story.events) == 1
    story.came("server", at=48 * HOUR + 1)
    assert len(story.events) == 2
    assert [found["code"] for found in story.events[1]["diagnostics"]][:1] == ["counted_again"]


def test_the_window_does_not_move_with_later_copies(story):
    story.came("server").came("server", at=40 * HOUR).came("server", at=50 * HOUR)
    assert len(story.events) == 2


def test_after_the_window_copies_join_the_new_event(story):
    story.came("server").came("server", at=50 * HOUR).came("browser", at=51 * HOUR)
    assert story.statuses() == ["server", "deduplicated"]


@pytest.mark.parametrize(
    ("first", "second", "gap", "kept"),
    [
        ("browser", "server", 1, "browser"),
        ("browser", "server", 4 * HOUR, "browser"),
        ("server", "browser", 300, "browser"),
        ("server", "browser", 301, "server"),
    ],
)
def test_the_browser_is_preferred_within_five_minutes_else_the_first(
    story, first, second, gap, kept
):
    story.came(first).came(second, at=gap)
    [event] = story.events
    assert event["kept"] == kept
    assert event["copies"][event["kept_copy"]]["channel"] == kept


def test_what_the_kept_copy_lacks_is_named(story):
    story.came("browser", user_data={"fbp": FBP, "fbc": "fb.1.1795322685020.x"})
    story.came("server", at=1, user_data={"fbp": FBP, "em": ["e"], "ph": ["p"]})
    assert story.events[0]["lacking"] == ["em", "ph"]


def test_one_copy_alone_lacks_nothing(story):
    assert story.came("server", user_data={"em": ["e"]}).events[0]["lacking"] == []


# Without event ids


def test_without_an_id_a_server_copy_joins_the_browser_by_fbp(story):
    story.came("browser", event_id="", user_data={"fbp": FBP})
    story.came("server", at=48 * HOUR, event_id="", user_data={"fbp": FBP})
    assert story.statuses() == ["deduplicated"]
    assert story.events[0]["matched_by"] == "fallback"
    assert story.events[0]["kept"] == "browser"


@pytest.mark.parametrize(("browser_id", "server_id"), [("", "id-1"), ("id-1", "")])
def test_the_fallback_needs_one_copy_without_an_id(story, browser_id, server_id):
    story.came("browser", event_id=browser_id, user_data={"external_id": "u"})
    story.came("server", at=1, event_id=server_id, user_data={"external_id": ["v", "u"]})
    assert story.statuses() == ["deduplicated"]
    assert story.events[0]["event_id"] == "id-1"


def test_two_different_ids_are_two_events_whoever_sent_them(story):
    story.came("browser", user_data={"fbp": FBP}).came(
        "server", at=1, event_id="id-2", user_data={"fbp": FBP}
    )
    assert story.statuses() == ["browser", "server"]


def test_the_fallback_does_not_join_a_browser_copy_to_the_server(story):
    story.came("server", event_id="", user_data={"fbp": FBP})
    story.came("browser", at=1, event_id="", user_data={"fbp": FBP})
    assert story.statuses() == ["server", "browser"]


@pytest.mark.parametrize("channel", ["browser", "server"])
def test_the_fallback_does_not_join_copies_of_one_channel(story, channel):
    story.came(channel, event_id="", user_data={"fbp": FBP})
    story.came(channel, at=1, event_id="", user_data={"fbp": FBP})
    assert story.statuses() == [channel, channel]


@pytest.mark.parametrize(
    ("browser", "server"),
    [
        ({"fbp": FBP}, {"fbp": FBP + "1"}),
        ({"fbp": FBP, "external_id": "u"}, {"fbp": FBP, "external_id": "v"}),
        ({"fbp": FBP}, {"external_id": "u"}),
        ({}, {}),
    ],
)
def test_the_fallback_needs_a_person_that_nothing_contradicts(story, browser, server):
    story.came("browser", event_id="", user_data=browser)
    story.came("server", at=1, event_id="", user_data=server)
    assert story.statuses() == ["browser", "server"]


def test_the_fallback_ends_after_48_hours(story):
    story.came("browser", event_id="", user_data={"fbp": FBP})
    story.came("server", at=48 * HOUR + 1, event_id="", user_data={"fbp": FBP})
    assert story.statuses() == ["browser", "server"]


def test_the_fallback_takes_the_latest_browser_copy(story):
    for at in (0, 10):
        story.came("browser", at=at, event_id="", user_data={"fbp": FBP})
    story.came("server", at=20, event_id="", user_data={"fbp": FBP})
    assert story.statuses() == ["browser", "deduplicated"]


def test_the_latest_browser_copy_is_found_by_whatever_it_knows(story):
    story.came("browser", event_id="", user_data={"fbp": FBP})
    story.came("browser", at=10, event_id="", user_data={"external_id": "u"})
    story.came("server", at=20, event_id="", user_data={"fbp": FBP, "external_id": "u"})
    assert story.statuses() == ["browser", "deduplicated"]


# Offline


def offline(**changes):
    custom_data = {"order_id": "10042", "item_number": "1"} | changes.pop("custom_data", {})
    fixed = {"action_source": "physical_store", "event_id": "", "event_time": 7}
    return fixed | {"custom_data": custom_data} | changes


def test_offline_events_are_one_by_order_for_seven_days(story):
    story.came("server", **offline()).came("server", at=7 * 24 * HOUR, **offline())
    assert len(story.events) == 1
    assert story.events[0]["matched_by"] == "order_id"
    story.came("server", at=7 * 24 * HOUR + 1, **offline())
    assert len(story.events) == 2


@pytest.mark.parametrize(
    "change",
    [{"event_time": 8}, {"custom_data": {"item_number": "2"}}, {"custom_data": {"order_id": "9"}}],
)
def test_offline_events_that_differ_are_two(story, change):
    story.came("server", **offline()).came("server", at=1, **offline(**change))
    assert len(story.events) == 2


def test_an_offline_event_never_joins_the_browser(story):
    story.came("browser", user_data={"fbp": FBP})
    story.came("browser", event_id="", user_data={"fbp": FBP})
    story.came("server", at=1, **offline(event_id="id-1", user_data={"fbp": FBP}))
    assert story.statuses() == ["browser", "browser", "server"]


# Bounds


def test_the_store_forgets_the_event_that_changed_longest_ago():
    story = Story(max_records=2)
    story.came("server", event_id="a").came("server", event_id="b").came("server", event_id="a")
    story.came("server", event_id="c")
    assert [event["event_id"] for event in story.events] == ["a", "c"]
    assert story.store.totals()["events"] == 3
    story.came("server", event_id="b")
    assert len(story.store._by_key) == len(story.store._keys) == 2


def test_forgetting_an_old_event_leaves_the_new_one_of_the_same_id():
    story = Story(max_records=2)
    story.came("server").came("server", at=50 * HOUR).came("server", at=50 * HOUR, event_id="b")
    story.came("browser", at=51 * HOUR)
    assert story.statuses() == ["deduplicated", "server"]


def test_an_event_remembers_some_copies_and_counts_all(story):
    for number in range(MAX_COPIES + 5):
        story.came("server", at=number)
    story.came("browser", at=100, user_data={"fbp": FBP})
    [event] = story.events
    assert event["counts"] == {"browser": 1, "server": MAX_COPIES + 5}
    assert len(event["copies"]) == MAX_COPIES + 1
    assert event["status"] == "deduplicated"


def test_clearing_forgets_ids_and_refusals(story):
    story.came("server")
    story.store.reject({"error": {}})
    story.store.clear()
    assert story.store.changes(0)["generation"] == 1
    assert story.events == story.store.rejections() == []
    assert set(story.store.totals().values()) == {0}
    assert len(story.came("browser").events) == 1
    assert story.statuses() == ["browser"]


def test_changes_are_what_came_since(story):
    story.came("server", event_id="a").came("server", event_id="b")
    before = story.store.changes(0)
    story.came("browser", event_id="a")
    story.store.reject({"error": {}})
    changes = story.store.changes(before["sequence"])
    assert [event["event_id"] for event in changes["events"]] == ["a"]
    assert len(changes["rejections"]) == 1
    assert [e["event_id"] for e in story.store.changes(0, limit=1)["events"]] == ["a"]


def test_waiting_ends_at_once_if_there_is_news_and_with_false_if_not(story):
    assert story.store.wait(0, 0, 0.01) is False
    story.came("server")
    assert story.store.wait(0, 0, 60) is True


def test_ten_purchases_of_one_value_look_constant(story):
    for number in range(10):
        story.came("server", event_id=str(number), custom_data={"value": 9})
    codes = [[found["code"] for found in event["diagnostics"]] for event in story.events]
    assert ["identical_values" in found for found in codes] == [False] * 9 + [True]


def test_a_wake_that_comes_before_the_wait_is_not_lost(story):
    seen = story.store.changes(0)
    story.store.wake()
    assert story.store.wait(seen["generation"], seen["sequence"], 0) is True
    seen = story.store.changes(seen["sequence"])
    assert story.store.wait(seen["generation"], seen["sequence"], 0) is False
