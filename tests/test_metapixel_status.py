from __future__ import annotations

import io
import json
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone
from wagtail.models import Site

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import copies, counters, datasets, delivery, site_settings, status
from wagtail_metapixel.models import Counter, Dataset, Delivery, OutboxEvent, State

pytestmark = pytest.mark.django_db

OTHER_PIXEL = "9999999999"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def only_our_site():
    Site.objects.all().delete()
    site_settings.clear()


def run(*arguments):
    """Run the command; gives what it printed, and how it ended."""
    out = io.StringIO()
    try:
        call_command("metapixel_status", *arguments, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue() + str(error), error.returncode
    return out.getvalue(), 0


def document(*arguments):
    return json.loads(run("--json", *arguments)[0])


def ago(**span):
    return timezone.now() - timedelta(**span)


def test_an_empty_outbox_is_well():
    text, exit_status = run("--check")
    assert exit_status == 0
    assert text.splitlines() == [
        "Waiting: 0 events",
        "Ended in the last 24 hours: none",
        "Sent a minute: 0 in the last hour, 0 in the last day",
        "Pixels: none",
        "Nothing needs a person.",
    ]


def test_what_waits_is_told_by_what_it_waits_for():
    OutboxEventFactory.create_batch(2)
    OutboxEventFactory(leased_until=timezone.now() + HOUR)
    OutboxEventFactory(leased_until=ago(hours=1))
    OutboxEventFactory(due_at=timezone.now() + HOUR)
    OutboxEventFactory(state=State.SENT, final_at=ago(days=2))
    waiting = document()["waiting"]
    assert [waiting[name] for name in ("total", "now", "leased", "later", "held")] == [
        5,
        3,
        1,
        1,
        0,
    ]
    assert "  3 due now, 1 on their way, 1 due later\n" in run()[0]


def test_the_oldest_the_oldest_purchase_and_the_nearest_deadline_are_told():
    OutboxEventFactory(recorded_at=ago(days=1, hours=2), pixel_id=OTHER_PIXEL)
    purchase = OutboxEventFactory(event_name="Purchase", recorded_at=ago(minutes=30))
    soon = OutboxEventFactory(twin_expires_at=timezone.now() + HOUR)
    OutboxEventFactory(event_name="Purchase")
    text, _status = run()
    assert "  oldest: 1 d 2 h (" in text
    assert "  oldest Purchase: 30 min (" in text
    waiting = document()["waiting"]
    told = datetime.fromisoformat(waiting["oldest_purchase"])
    assert (told, told.utcoffset()) == (purchase.recorded_at.replace(microsecond=0), timedelta(0))
    nearest = datetime.fromisoformat(waiting["nearest_deadline"])
    assert nearest == soon.twin_expires_at.replace(microsecond=0)


def test_what_ended_in_a_day_is_told_by_state_with_the_commonest_reasons():
    for _ in range(3):
        OutboxEventFactory(state=State.SENT, final_at=ago(hours=2))
    OutboxEventFactory(state=State.SENT, final_at=ago(minutes=5))
    OutboxEventFactory(state=State.SENT, final_at=ago(hours=25))
    for number, reason in enumerate(["a", "b", "b", "c", "d", "e", "f"]):
        OutboxEventFactory(
            state=State.REJECTED,
            final_at=ago(hours=1, minutes=number),
            reason=f"Meta error {reason}",
        )
    found = document()
    assert found["ended_24h"] == {"rejected": 7, "sent": 4}
    assert found["reasons_24h"][0] == {"state": "rejected", "reason": "Meta error b", "count": 2}
    assert len(found["reasons_24h"]) == status.REASONS
    assert found["sent_per_minute"] == {"hour": round(1 / 60, 2), "day": round(4 / 1440, 2)}
    assert "        2  rejected: Meta error b\n" in run()[0]


def test_each_pixel_tells_whether_it_is_sent_to():
    PixelFactory()
    PixelFactory(pixel_id="2222222222")
    datasets.resume(PIXEL_ID, using="default", accepted=True)
    datasets.pause("2222222222", 90, "Meta error 4", using="default")
    Dataset.objects.create(pixel_id=OTHER_PIXEL)
    one, paused, unset = document()["pixels"]
    assert (one["state"], one["failures"], one["needs_a_person"]) == ("sending", 0, False)
    assert (paused["state"], paused["reason"], paused["failures"]) == ("paused", "Meta error 4", 1)
    assert datetime.fromisoformat(paused["paused_until"]) > timezone.now()
    assert unset["state"] == "unset"
    text = run()[0]
    assert f"  {PIXEL_ID}: sending; last accepted " in text
    assert "Meta error 4; 1 failure in a row; none accepted; 0 waiting" in text


@pytest.mark.parametrize(
    ("reason", "needs"),
    [
        ("Meta error 190/463: Session has expired", True),
        ("Meta error 100/33", True),
        ("Meta error 200", True),
        ("HTTP 404 without an error that can be read.", True),
        (delivery.NO_TOKEN, True),
        ("Meta error 4", False),
        ("Meta error 80004: Too many calls", False),
        ("Meta error 2", False),
        ("HTTP 429 without an error that can be read.", False),
        ("HTTP 503 without an error that can be read.", False),
        ("Meta could not be reached.", False),
    ],
)
@pytest.mark.parametrize("seconds", [300, -1])
def test_a_pause_that_only_a_person_ends_is_said_until_an_event_is_taken(reason, needs, seconds):
    PixelFactory()
    datasets.pause(PIXEL_ID, seconds, reason, using="default")
    text, exit_status = run("--check")
    assert exit_status == int(needs)
    said = reason.rstrip(".")
    assert (f"! Pixel {PIXEL_ID} takes no events. {said}. " in text) is needs
    assert run()[1] == 0
    Dataset.objects.update(paused_until=None)
    datasets.resume(PIXEL_ID, using="default", accepted=True)
    assert run("--check")[1] == 0


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("Meta error 190/463: Expired", "Make a new token in the Events Manager and save it."),
        ("Meta error 200/12345", "Give the token's user access to the pixel."),
        ("Meta error 9999", "Mend that; saving the settings ends the pause at once."),
        (delivery.NO_TOKEN, "Mend that; saving the settings ends the pause at once."),
    ],
)
def test_what_a_person_is_needed_for_says_what_helps(reason, remedy):
    PixelFactory()
    datasets.pause(PIXEL_ID, 300, reason, using="default")
    [sentence] = document()["needs_a_person"]
    assert sentence.endswith(f". {remedy}")


def test_a_pixel_that_is_in_no_settings_any_more_needs_nobody():
    datasets.pause(OTHER_PIXEL, 300, "Meta error 190", using="default")
    assert run("--check")[1] == 0


@pytest.mark.parametrize(("minutes", "needs"), [(61, 1), (59, 0)])
def test_a_purchase_that_waits_over_an_hour_needs_a_person(minutes, needs):
    OutboxEventFactory(event_name="Purchase", recorded_at=ago(minutes=minutes))
    OutboxEventFactory(event_name="PageView", recorded_at=ago(minutes=179))
    text, exit_status = run("--check")
    assert exit_status == needs
    assert ("! A Purchase has waited for 1 h 1 min.\n" in text) is bool(needs)


@pytest.mark.parametrize(("minutes", "needs"), [(181, 1), (179, 0)])
def test_anything_that_waits_for_hours_needs_a_person(minutes, needs):
    OutboxEventFactory(event_name="PageView", recorded_at=ago(minutes=minutes))
    text, exit_status = run("--check")
    assert exit_status == needs
    assert ("! An event has waited for 3 h 1 min. Does anybody deliver?\n" in text) is bool(needs)


@pytest.mark.parametrize("driver", ["wroker", "tasks"])
def test_a_driver_that_cannot_work_needs_a_person(settings, driver):
    settings.WAGTAIL_METAPIXEL = {"DELIVERY": driver}
    settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}
    text, exit_status = run("--check")
    assert (exit_status, "! Nobody delivers. " in text) == (1, True)


def test_what_is_held_back_needs_a_person_until_it_is_let_go():
    OutboxEventFactory(held=True, reason=copies.HELD, due_at=timezone.now() + HOUR)
    Delivery.objects.create(fingerprint="x", held_since=ago(days=1), held_reason="It was copied.")
    text, exit_status = run("--check")
    assert exit_status == 1
    assert "0 due now, 0 on their way, 0 due later, 1 held back" in text
    assert "! 1 event is held back. It was copied. If nobody else sends them" in text
    assert document()["held"].keys() == {"since", "reason", "events"}
    copies.release(using="default")
    assert (run("--check")[1], document()["held"]) == (0, None)


def test_what_was_not_recorded_is_told_by_reason():
    today = timezone.now().date()
    for name in ("Purchase", "Lead"):
        Counter.objects.create(
            day=today, kind=counters.WITHHELD, event_name=name, reason="consent unknown", count=2
        )
    assert document()["counted"] == [
        {"kind": "withheld", "reason": "consent unknown", "today": 4, "seven_days": 4}
    ]
    assert "        4         4  withheld: consent unknown\n" in run()[0]


def test_one_pixel_may_be_looked_at_alone():
    for pixel_id in (PIXEL_ID, OTHER_PIXEL):
        PixelFactory(pixel_id=pixel_id)
        OutboxEventFactory(pixel_id=pixel_id)
        OutboxEventFactory(pixel_id=pixel_id, state=State.SENT, final_at=ago(hours=1))
    found = document("--pixel", OTHER_PIXEL)
    assert found["waiting"]["total"] == 1
    assert found["ended_24h"] == {"sent": 1}
    assert [pixel["pixel_id"] for pixel in found["pixels"]] == [OTHER_PIXEL]


def test_the_document_has_the_keys_that_programs_rely_on():
    assert list(document()) == [
        "at", "waiting", "ended_24h", "reasons_24h", "sent_per_minute", "pixels", "held",
        "counted", "needs_a_person",
    ]  # fmt: skip


def test_nobody_is_named_and_no_token_is_shown():
    PixelFactory()
    OutboxEventFactory(user_data=b'{"em":["canary"]}', digests="canary")
    for text in (run()[0], run("--json")[0]):
        assert "canary" not in text
        assert TOKEN not in text


def test_nothing_of_meta_steers_the_terminal():
    PixelFactory()
    datasets.pause(PIXEL_ID, 60, "Meta error 190: \x1b[2J", using="default")
    assert "\x1b" not in run()[0]


def test_as_many_queries_whatever_waits(django_assert_max_num_queries):
    OutboxEventFactory.create_batch(3)
    with django_assert_max_num_queries(14):
        run()


def test_nothing_is_changed():
    OutboxEventFactory()
    before = list(OutboxEvent.objects.values())
    run("--check")
    assert list(OutboxEvent.objects.values()) == before
    assert not Delivery.objects.exists()


# Wrong use


def test_a_database_there_is_not_is_told_which_there_are():
    text, exit_status = run("--using", "nowhere")
    assert (text, exit_status) == ("--using has to be one of: default.", 2)


def test_a_database_that_does_not_answer_is_one_sentence(monkeypatch):
    def fail(**_kwargs):
        raise DatabaseError("password=canary")

    monkeypatch.setattr(status, "of", fail)
    text, exit_status = run()
    assert exit_status == 1
    assert text.startswith("The outbox cannot be read (DatabaseError).")
    assert "canary" not in text
    assert "manage.py metapixel_doctor" in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 5 s"),
        (7500, "2 h 5 min"), (7505, "2 h 5 min"), (86_400, "1 d"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_a_span_is_told_in_its_two_largest_units(seconds, told):
    assert status.age(timedelta(seconds=seconds)) == told
