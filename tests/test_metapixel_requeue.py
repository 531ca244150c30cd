from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory
from wagtail_metapixel import claims, copies, delivery, graph_api, requeueing
from wagtail_metapixel.models import Delivery, OutboxEvent, SentKey, State, Twin, Withdrawal
from wagtail_metapixel.sandbox.server import SandboxServer

pytestmark = pytest.mark.django_db

OTHER_PIXEL = "9999999999"
ABLE = [State.REJECTED, State.DEAD]
HOUR = timedelta(hours=1)
WHY = "Meta error 100/2804019"


def run(*arguments):
    """Run the command; gives what it printed, and how it ended."""
    out = io.StringIO()
    try:
        call_command("metapixel_requeue", *arguments, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue() + str(error), error.returncode
    return out.getvalue(), 0


def ended(state=State.REJECTED, **values):
    """A row as it is kept for being sent again."""
    found = {
        "state": state,
        "reason": WHY,
        "trace_id": "trace",
        "attempts": 3,
        "recorded_at": timezone.now() - 2 * HOUR,
        "final_at": timezone.now() - HOUR,
        "digests": "a b",
        "answers": "2026-11-22 20:00:00 +0000 HTTP 500\n",
        **values,
    }
    return OutboxEventFactory(**found)


def again(row):
    return OutboxEvent.objects.get(pk=row.pk)


@pytest.mark.parametrize("state", ABLE)
def test_a_row_that_is_named_waits_again_due_at_once_and_keeps_its_story(state):
    row = ended(state)
    text, exit_status = run(row.event_id)
    assert exit_status == 0
    assert text == f"{row.event_id} for {PIXEL_ID}: put back\n1 event put back.\n"
    back = again(row)
    assert (back.state, back.reason, back.trace_id, back.attempts) == (State.PENDING, "", "", 0)
    assert back.final_at is None
    assert bytes(back.user_data) == bytes(row.user_data)
    before, put_back = back.answers.splitlines()
    assert before.endswith("HTTP 500")
    assert put_back.endswith(f" Put back by an operator; it was {state}: {WHY}")
    assert [row.pk for row in claims.claim(10, using="default")[1]] == [row.pk]


def test_what_was_put_back_is_sent(settings):
    row = ended(keyed=True)
    run(row.event_id)
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as sandbox:
        settings.WAGTAIL_METAPIXEL = {"SANDBOX": sandbox.url}
        delivery.deliver_due()
        graph_api.close()
    assert again(row).state == State.SENT
    assert len(sandbox.requests) == 1


def test_its_story_stays_as_short_as_any():
    row = ended(answers="x" * claims.ANSWERS_MAX)
    run(row.event_id)
    assert len(again(row).answers) == claims.ANSWERS_MAX
    assert again(row).answers.endswith(f"{WHY}\n")


REFUSED = {
    "sent": ({"state": State.SENT}, "It was sent."),
    "waiting": ({"state": State.PENDING, "final_at": None}, "It waits already."),
    "duplicate": ({"state": State.DUPLICATE}, "Another row told the same fact."),
    "expired": ({"state": State.EXPIRED}, "A deadline has passed."),
    "withdrawn": ({"state": State.WITHDRAWN}, "The person took the consent back."),
    "erased": ({"state": State.ERASED}, "It was erased on the person's request."),
    "browser": ({"state": State.BROWSER}, "Its pixel is told by browsers alone."),
    "emptied": ({"user_data": b"{}"}, "Its personal part was deleted."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_row_that_may_not_be_sent_again_is_left_and_says_why(name):
    values, why = REFUSED[name]
    row = ended(**values)
    before = OutboxEvent.objects.values().get(pk=row.pk)
    text, exit_status = run(row.event_id)
    assert f"{row.event_id} for {PIXEL_ID}: {why}\n0 events put back.\n" in text
    assert (exit_status, text.splitlines()[-1]) == (1, "1 event not put back.")
    assert OutboxEvent.objects.values().get(pk=row.pk) == before


def test_every_state_but_those_two_has_words_of_its_own():
    assert set(requeueing._OF_A_STATE) | set(ABLE) == set(State)


@pytest.mark.parametrize("state", ABLE)
@pytest.mark.parametrize(
    ("deadline", "why"),
    [
        ("expires_at", "It is older than Meta takes events."),
        ("twin_expires_at", "It is too late to match it with the browser's copy; it would count"),
    ],
)
def test_no_row_goes_past_a_deadline(state, deadline, why):
    row = ended(state, twin=Twin.MAYBE, **{deadline: timezone.now() - timedelta(seconds=1)})
    text, _status = run(row.event_id)
    assert why in text
    assert again(row).state == state


@pytest.mark.parametrize(("hours", "refused"), [(48, True), (46, False)])
def test_what_meta_may_have_taken_goes_only_while_it_would_know_it_again(hours, refused):
    since = timezone.now() - timedelta(hours=hours)
    row = ended(State.DEAD, first_unknown_at=since)
    text, _status = run(row.event_id)
    assert ("Meta may have taken it, and it is too late to ask again." in text) is refused
    assert (again(row).state, again(row).first_unknown_at) == (
        State.DEAD if refused else State.PENDING, since,
    )  # fmt: skip


def test_nothing_goes_of_who_took_the_consent_back_since():
    row, other = ended(), ended(digests="c")
    Withdrawal.objects.create(digest="b")
    text, exit_status = run(row.event_id, other.event_id)
    assert exit_status == 1
    assert f"{row.event_id} for {PIXEL_ID}: The person took the consent back.\n" in text
    assert (again(row).state, again(other).state) == (State.REJECTED, State.PENDING)


def test_what_was_never_valid_says_so():
    now = timezone.now()
    row = ended(
        user_data=b"{}", recorded_at=now, final_at=now, trace_id="", answers="", attempts=0
    )  # fmt: skip
    assert "It was rejected when it was recorded" in run(row.event_id)[0]


def test_a_fact_that_another_row_told_meanwhile_is_not_told_twice():
    row = ended(event_name="Purchase", keyed=True, event_id="f" * 32)
    SentKey.objects.create(
        pixel_id=PIXEL_ID, event_name="Purchase", event_id="f" * 32, row_id=0, settled=True
    )
    run(row.event_id)
    delivery.deliver_due()
    assert again(row).state == State.DUPLICATE


def test_an_id_nobody_knows_is_told_what_to_try():
    row = ended()
    text, exit_status = run("0" * 32, row.event_id)
    assert exit_status == 1
    assert f"{'0' * 32}: Nothing is known of this event id." in text
    assert "metapixel_explain" in text
    assert again(row).state == State.PENDING


def test_of_several_pixels_those_that_failed_go_again():
    sent = ended(State.SENT, event_id="e" * 32)
    failed = ended(event_id="e" * 32, pixel_id=OTHER_PIXEL)
    text, exit_status = run("e" * 32)
    assert exit_status == 0
    assert f"for {PIXEL_ID}: It was sent.\n" in text
    assert f"for {OTHER_PIXEL}: put back\n" in text
    assert (again(sent).state, again(failed).state) == (State.SENT, State.PENDING)


# Many at once


def test_a_state_is_put_back_whole_and_says_what_was_left():
    able = [ended() for _ in range(3)]
    ended(user_data=b"{}")
    ended(State.DEAD)
    text, exit_status = run("--state", "rejected")
    assert exit_status == 0
    assert text == (
        "        1  left: Its personal part was deleted.\n3 events put back.\n"
    )  # fmt: skip
    assert {again(row).state for row in able} == {State.PENDING}
    assert OutboxEvent.objects.filter(state=State.DEAD).exists()


def test_it_may_be_narrowed_by_pixel_time_and_reason():
    wanted = ended(pixel_id=OTHER_PIXEL, reason="Meta error 100/2804010: no currency")
    ended(reason="Meta error 100/2804010")
    ended(pixel_id=OTHER_PIXEL)
    ended(pixel_id=OTHER_PIXEL, reason="2804010", final_at=timezone.now() - 25 * HOUR)
    run("--state", "rejected", "--pixel", OTHER_PIXEL, "--since", "24h", "--reason", "2804010")
    assert OutboxEvent.objects.get(state=State.PENDING) == wanted


@pytest.mark.parametrize(("span", "count"), [("61m", 1), ("59m", 0), ("2h", 1), ("1d", 1)])
def test_the_span_is_in_minutes_hours_or_days(span, count):
    ended()
    run("--state", "rejected", "--since", span)
    assert OutboxEvent.objects.filter(state=State.PENDING).count() == count


def test_more_than_a_piece_goes_piece_by_piece(monkeypatch):
    monkeypatch.setattr(requeueing, "PIECE", 2)
    for _ in range(5):
        ended()
    assert run("--state", "rejected")[0] == "5 events put back.\n"
    assert not OutboxEvent.objects.exclude(state=State.PENDING).exists()


@pytest.mark.parametrize(
    "change",
    [{"user_data": b"{}"}, {"expires_at": datetime(2026, 5, 4, tzinfo=UTC)}],
    ids=["emptied", "late"],
)
def test_a_row_that_changes_meanwhile_is_left_alone(monkeypatch, change):
    row = ended()
    judge = requeueing._refusals

    def judge_and_lose(rows, using):
        found = judge(rows, using)
        OutboxEvent.objects.filter(pk=row.pk).update(**change)
        return found

    monkeypatch.setattr(requeueing, "_refusals", judge_and_lose)
    assert "It changed meanwhile." in run(row.event_id)[0]
    assert again(row).state == State.REJECTED


@pytest.mark.parametrize("arguments", [["--state", "rejected"], []])
def test_a_dry_run_says_the_same_and_changes_nothing(arguments):
    row, emptied = ended(), ended(user_data=b"{}")
    before = list(OutboxEvent.objects.order_by("pk").values())
    text, _status = run("--dry-run", *(arguments or [row.event_id, emptied.event_id]))
    assert "1 event would be put back; nothing was changed." in text
    assert "Its personal part was deleted." in text
    assert list(OutboxEvent.objects.order_by("pk").values()) == before


# What is held back since the database was copied


@pytest.fixture
def held():
    Delivery.objects.create(fingerprint="x", held_since=timezone.now(), held_reason="Copied.")
    return OutboxEventFactory(held=True, reason=copies.HELD, due_at=timezone.now() + HOUR)


def test_what_is_held_back_is_let_go_and_nothing_else(held):
    later, rejected = OutboxEventFactory(due_at=timezone.now() + HOUR), ended()
    assert run("--held") == ("1 event put back.\n", 0)
    assert [row.pk for row in claims.claim(10, using="default")[1]] == [held.pk]
    assert again(later).due_at == later.due_at
    assert again(rejected).state == State.REJECTED
    assert Delivery.objects.get().held_since is None


def test_a_dry_run_lets_nothing_go(held):
    assert run("--held", "--dry-run") == ("1 event would be put back; nothing was changed.\n", 0)
    assert json.loads(run("--held", "--dry-run", "--json")[0])["requeued"] == 1
    assert again(held).due_at == held.due_at


@pytest.mark.parametrize(
    "more",
    [["a" * 32], ["--state", "dead"], ["--since", "1h"], ["--pixel", "1"], ["--reason", "x"]],
)
def test_what_is_held_back_goes_whole_or_not_at_all(held, more):
    text, exit_status = run("--held", *more)
    assert (exit_status, "leave the rest out" in text) == (2, True)
    assert again(held).due_at == held.due_at


def test_programs_read_one_document():
    row, emptied = ended(), ended(user_data=b"{}")
    document = json.loads(run("--json", "--state", "rejected")[0])
    assert document == {
        "dry_run": False,
        "requeued": 1,
        "rows": [
            {"event_id": row.event_id, "pixel_id": PIXEL_ID, "requeued": True, "refusal": ""},
            {
                "event_id": emptied.event_id,
                "pixel_id": PIXEL_ID,
                "requeued": False,
                "refusal": "Its personal part was deleted.",
            },
        ],
    }


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "manage.py metapixel_requeue --state rejected"),
        (["--pixel", PIXEL_ID], "manage.py metapixel_requeue --state rejected"),
        (["--state", "rejected", "--since", "yesterday"], "90m, 24h or 7d"),
        (["--state", "rejected", "--since", "99999999d"], "90m, 24h or 7d"),
        (["--state", "rejected", "--since", ""], "90m, 24h or 7d"),
    ],
)
def test_what_was_not_understood_says_what_to_type(arguments, told):
    row = ended()
    text, exit_status = run(*arguments)
    assert exit_status == 2
    assert told in text
    assert again(row).state == State.REJECTED


@pytest.mark.parametrize("state", ["sent", "pending", "withdrawn", "erased", "expired"])
def test_other_states_cannot_be_chosen(state):
    with pytest.raises(CommandError):
        call_command("metapixel_requeue", "--state", state)
