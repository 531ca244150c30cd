from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import OutboxEventFactory
from wagtail_metapixel import claims, datasets
from wagtail_metapixel.models import ConsentProof, OutboxEvent, SentKey, State, Twin, Withdrawal

USING = "default"
FACT = {"keyed": True, "event_name": "Purchase", "event_id": "f" * 32}

pytestmark = pytest.mark.django_db


def claim(limit=100, **kwargs):
    return claims.claim(limit, using=USING, **kwargs)


def ids(rows):
    return [row.pk for row in rows]


def stored(claimed):
    return OutboxEvent.objects.get(pk=claimed.pk)


def end_lease(*rows):
    """Let the lease of ``rows`` end, as time would."""
    past = timezone.now() - timedelta(seconds=1)
    OutboxEvent.objects.filter(pk__in=ids(rows)).update(leased_until=past)


def finish(rows, token, state=State.SENT, **kwargs):
    return claims.finish(rows, token, state, using=USING, **kwargs)


def test_claim_leases_the_rows_it_returns():
    OutboxEventFactory()
    token, [claimed] = claim(lease=timedelta(seconds=90))
    row = stored(claimed)
    assert row.lease_token == token
    left = row.leased_until - timezone.now()
    assert timedelta(seconds=85) < left <= timedelta(seconds=90)


def test_nobody_else_claims_a_leased_row():
    OutboxEventFactory.create_batch(3)
    _, first = claim(2)
    _, second = claim()
    assert len(first) == 2
    assert len(second) == 1
    assert not set(ids(first)) & set(ids(second))


def test_row_whose_lease_ended_is_claimable_again():
    OutboxEventFactory()
    first, rows = claim()
    end_lease(*rows)
    second, again = claim()
    assert ids(again) == ids(rows)
    assert stored(again[0]).lease_token == second != first


def test_row_whose_worker_vanished_may_have_been_sent_since_its_lease_ended():
    OutboxEventFactory()
    _, [row] = claim()
    assert row.first_unknown_at is None
    end_lease(row)
    ended = OutboxEvent.objects.get().leased_until
    _, [row] = claim()
    assert row.first_unknown_at == pytest.approx(ended.timestamp(), abs=0.002)
    assert stored(row).first_unknown_at == ended
    end_lease(row)
    assert stored(claim()[1][0]).first_unknown_at == ended


def test_row_that_was_given_back_was_not_sent():
    OutboxEventFactory()
    token, rows = claim()
    claims.release(rows, token, using=USING)
    assert claim()[1][0].first_unknown_at is None


@pytest.mark.parametrize("state", [state for state in State if state != State.PENDING])
def test_final_row_is_never_claimed(state):
    OutboxEventFactory(state=state)
    assert claim()[1] == []
    assert OutboxEvent.objects.get().lease_token is None


def test_row_that_is_not_due_waits():
    OutboxEventFactory(due_at=timezone.now() + timedelta(minutes=1))
    assert claim()[1] == []


def test_claim_may_be_limited_to_some_pixels():
    OutboxEventFactory(pixel_id="111111")
    mine = OutboxEventFactory(pixel_id="222222")
    assert ids(claim(only=["222222"])[1]) == [mine.pk]


def test_rows_leave_by_rank_and_then_in_the_order_of_recording():
    worst = OutboxEventFactory(rank=90)
    second, third = OutboxEventFactory.create_batch(2, rank=20)
    first = OutboxEventFactory(rank=0)
    assert ids(claim()[1]) == ids([first, second, third, worst])


def test_batch_takes_the_best_ranked():
    OutboxEventFactory.create_batch(30, rank=90)
    best = OutboxEventFactory.create_batch(20, rank=0)
    _, rows = claim(20)
    assert len(set(ids(rows)) & set(ids(best))) == 18


def test_tenth_of_a_batch_goes_to_the_nearest_deadlines():
    soon = timezone.now() + timedelta(hours=1)
    urgent = OutboxEventFactory.create_batch(3, rank=90, expires_at=soon)
    OutboxEventFactory.create_batch(30, rank=0)
    _, rows = claim(20)
    assert len(set(ids(rows)) & set(ids(urgent))) == 2


def test_browser_copy_that_has_to_be_matched_brings_the_deadline_nearer():
    OutboxEventFactory.create_batch(30, rank=0)
    hours = timedelta(hours=1)
    OutboxEventFactory.create_batch(2, rank=90, expires_at=timezone.now() + 30 * hours)
    mirrored = OutboxEventFactory(
        rank=90, expires_at=timezone.now() + 150 * hours, twin_expires_at=timezone.now() + hours
    )
    assert mirrored.pk in ids(claim(10)[1])


def test_rows_of_several_pixels_leave_by_rank():
    worst = OutboxEventFactory(rank=90, pixel_id="111111")
    best = OutboxEventFactory(rank=0, pixel_id="333333")
    middle = OutboxEventFactory(rank=20, pixel_id="222222")
    assert ids(claim()[1]) == ids([best, middle, worst])
    assert ids(claim()[1]) == []


def test_pixel_behind_a_stream_of_better_ranked_events_has_its_turn(monkeypatch):
    OutboxEventFactory.create_batch(30, rank=0, pixel_id="111111")
    patient = OutboxEventFactory(rank=90, pixel_id="222222")
    monkeypatch.setattr("random.shuffle", list.reverse)
    assert patient.pk in ids(claim(10)[1])


def test_paused_pixel_is_passed_without_a_look_at_its_rows(django_assert_max_num_queries):
    OutboxEventFactory.create_batch(30, rank=0, pixel_id="111111")
    other = OutboxEventFactory(rank=90, pixel_id="222222")
    datasets.pause("111111", 60, "The token has expired.", using=USING)
    # Pauses, three pixels that may be next, one row taken in three steps, and a last look.
    with django_assert_max_num_queries(12):
        assert ids(claim(10)[1]) == [other.pk]


def test_batch_of_one_takes_the_best_ranked():
    OutboxEventFactory(rank=90, expires_at=timezone.now() + timedelta(hours=1))
    best = OutboxEventFactory(rank=0)
    assert ids(claim(1)[1]) == [best.pk]


def test_claim_of_few_rows_takes_each_once():
    OutboxEventFactory.create_batch(5)
    _, rows = claim(1000)
    assert len(rows) == len(set(ids(rows))) == 5


# Writing under a lease


def test_final_row_says_nothing_of_a_person():
    OutboxEventFactory()
    token, rows = claim()
    finish(rows, token, reason="told", trace_id="trace")
    row = OutboxEvent.objects.get()
    assert bytes(row.user_data) == b"{}"
    assert (row.state, row.reason, row.trace_id) == (State.SENT, "told", "trace")
    assert row.final_at is not None
    assert (row.lease_token, row.leased_until) == (None, None)


@pytest.mark.parametrize("state", [state for state in State if state != State.PENDING])
def test_only_what_may_be_sent_after_all_still_says_who_it_was(state):
    OutboxEventFactory(user_data=b'{"em":["x"]}')
    token, rows = claim()
    finish(rows, token, state)
    kept = b'{"em":["x"]}' if state == State.REJECTED else b"{}"
    assert bytes(OutboxEvent.objects.get().user_data) == kept


def test_long_reason_is_cut_to_its_column():
    OutboxEventFactory()
    token, rows = claim()
    finish(rows, token, reason="r" * 900, trace_id="t" * 900)
    row = OutboxEvent.objects.get()
    assert (len(row.reason), len(row.trace_id)) == (500, 64)


def test_released_row_is_due_again_after_the_delay():
    OutboxEventFactory()
    token, rows = claim()
    released = claims.release(rows, token, using=USING, delay=timedelta(minutes=1), reason="later")
    row = OutboxEvent.objects.get()
    assert (released, row.state, row.reason) == (1, State.PENDING, "later")
    assert timedelta(seconds=55) < row.due_at - timezone.now() <= timedelta(seconds=60)
    assert claim()[1] == []


def test_release_costs_no_attempt_unless_it_is_charged():
    OutboxEventFactory()
    for charged in (False, True):
        token, rows = claim()
        claims.release(rows, token, using=USING, charged=charged)
        OutboxEvent.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert OutboxEvent.objects.get().attempts == 1


def test_what_each_try_brought_is_kept_with_its_time_the_newest_last():
    OutboxEventFactory()
    for reason in ("Meta could not be reached.", "Meta error 4"):
        token, rows = claim()
        claims.release(rows, token, using=USING, reason=reason, answered=True)
    token, rows = claim()
    claims.release(rows, token, using=USING, reason="Sending is switched off for this site.")
    lines = OutboxEvent.objects.get().answers.splitlines()
    assert [line.split(" ", 3)[3] for line in lines] == [
        "Meta could not be reached.",
        "Meta error 4",
    ]
    assert datetime.strptime(lines[0][:25], "%Y-%m-%d %H:%M:%S %z") <= timezone.now()


def test_answers_of_a_week_of_failures_do_not_grow_without_bound():
    OutboxEventFactory(answers="x" * claims.ANSWERS_MAX)
    token, rows = claim()
    claims.release(rows, token, using=USING, reason="r" * 900, answered=True)
    answers = OutboxEvent.objects.get().answers
    assert (len(answers), answers[-3:]) == (claims.ANSWERS_MAX, "rr\n")


def test_first_unknown_answer_is_remembered_for_ever():
    OutboxEventFactory()
    seen = set()
    for _ in range(2):
        token, rows = claim()
        claims.release(rows, token, using=USING, unknown=True)
        seen.add(OutboxEvent.objects.get().first_unknown_at)
        OutboxEvent.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert len(seen) == 1
    assert None not in seen


def test_renewed_lease_lasts_longer():
    OutboxEventFactory()
    token, rows = claim(lease=timedelta(seconds=5))
    assert claims.renew(rows, token, using=USING) == {rows[0].pk}
    assert OutboxEvent.objects.get().leased_until > timezone.now() + timedelta(seconds=50)


@pytest.fixture
def late():
    """A worker whose lease ended, and whose keyed row another worker holds since: token, rows."""
    OutboxEventFactory(**FACT)
    token, rows = claim()
    claims.decide_keys(rows, using=USING)
    end_lease(*rows)
    assert ids(claim()[1]) == ids(rows)
    return token, rows


def columns():
    return list(OutboxEvent.objects.values()), list(SentKey.objects.values())


@pytest.mark.parametrize("state", [state for state in State if state != State.PENDING])
def test_late_worker_finishes_nothing(late, state):
    token, rows = late
    before = columns()
    assert finish(rows, token, state) == []
    assert columns() == before


def test_late_worker_releases_nothing(late):
    token, rows = late
    before = columns()
    assert claims.release(rows, token, using=USING, charged=True, unknown=True, reason="x") == 0
    assert columns() == before


def test_late_worker_renews_nothing(late):
    token, rows = late
    before = columns()
    assert claims.renew(rows, token, using=USING) == set()
    assert columns() == before


def test_worker_that_lost_one_row_still_finishes_the_others():
    OutboxEventFactory.create_batch(2)
    token, [lost, kept] = claim()
    end_lease(lost)
    claim()
    assert ids(finish([lost, kept], token)) == [kept.pk]
    lost = stored(lost)
    assert lost.state == State.PENDING


def test_stranger_changes_nothing():
    OutboxEventFactory()
    _, rows = claim()
    assert finish(rows, uuid.uuid4()) == []


# One event per key


def decide(*rows):
    """Claim ``rows`` alone and decide; returns the token, and what was found, as numbers."""
    others = OutboxEvent.objects.exclude(pk__in=ids(rows))
    OutboxEvent.objects.filter(pk__in=ids(rows)).update(
        due_at=timezone.now() - timedelta(seconds=9)
    )
    others.update(due_at=timezone.now() + timedelta(days=1))
    token, claimed = claim()
    assert ids(claimed) == ids(rows)
    duplicates, waiting = claims.decide_keys(claimed, using=USING)
    return token, ids(duplicates), ids(waiting)


def test_first_row_of_a_key_goes_and_the_others_wait_for_its_answer():
    first, second, third = OutboxEventFactory.create_batch(3, **FACT)
    assert decide(first, second, third)[1:] == ([], [second.pk, third.pk])


def test_once_one_was_sent_the_others_are_duplicates():
    first, second = OutboxEventFactory.create_batch(2, **FACT)
    token, *_ = decide(first)
    finish([first], token)
    assert decide(second)[1:] == ([second.pk], [])


@pytest.mark.parametrize(
    "state", [State.REJECTED, State.WITHDRAWN, State.ERASED, State.EXPIRED, State.DEAD]
)
def test_row_that_was_not_sent_takes_no_key(state):
    first, second = OutboxEventFactory.create_batch(2, **FACT)
    token, *_ = decide(first)
    finish([first], token, state)
    assert decide(second)[1:] == ([], [])


@pytest.mark.parametrize("state", [State.EXPIRED, State.DEAD, State.WITHDRAWN, State.ERASED])
def test_row_that_meta_may_have_counted_keeps_its_key(state):
    first, second = OutboxEventFactory.create_batch(2, **FACT)
    token, *_ = decide(first)
    OutboxEvent.objects.filter(pk=first.pk).update(first_unknown_at=timezone.now())
    first.refresh_from_db()
    finish([first], token, state)
    assert decide(second)[1:] == ([second.pk], [])


def test_fact_whose_browser_copy_is_too_old_to_match_is_not_told_by_a_later_row_either():
    first, second = OutboxEventFactory.create_batch(2, **FACT, twin=Twin.MAYBE)
    token, _ = claim(1)
    finish([first], token, State.EXPIRED)
    assert decide(second)[1:] == ([second.pk], [])


def test_duplicate_does_not_free_the_key():
    first, second, third = OutboxEventFactory.create_batch(3, **FACT)
    token, *_ = decide(first)
    finish([first], token)
    token, *_ = decide(second)
    finish([second], token, State.DUPLICATE)
    assert decide(third)[1:] == ([third.pk], [])


def test_several_rows_of_one_key_may_end_at_once():
    rows = OutboxEventFactory.create_batch(2, **FACT, twin=Twin.MAYBE)
    token, _ = claim()
    assert ids(finish(rows, token, State.EXPIRED)) == ids(rows)


def test_row_in_flight_keeps_its_key_when_claimed_again():
    first, second = OutboxEventFactory.create_batch(2, **FACT)
    decide(first)
    end_lease(first)
    assert decide(first, second)[1:] == ([], [second.pk])


def test_key_outlives_its_row():
    first = OutboxEventFactory(**FACT)
    token, *_ = decide(first)
    finish([first], token)
    OutboxEvent.objects.all().delete()
    second = OutboxEventFactory(**FACT)
    assert decide(second)[1:] == ([second.pk], [])


@pytest.mark.parametrize(
    "other", [{"pixel_id": "999999"}, {"event_name": "Lead"}, {"event_id": "e" * 32}], ids=str
)
def test_another_pixel_name_or_id_is_another_fact(other):
    first, second = OutboxEventFactory(**FACT), OutboxEventFactory(**(FACT | other))
    token, *_ = decide(first)
    finish([first], token)
    assert decide(second)[1:] == ([], [])


def test_event_without_a_key_asks_and_leaves_nothing_in_the_table(django_assert_num_queries):
    rows = OutboxEventFactory.create_batch(2)
    with django_assert_num_queries(0):
        assert claims.decide_keys(rows, using=USING) == ([], [])


# Consent taken back


@pytest.mark.parametrize(("seconds", "stops"), [(1, True), (-60, False)])
def test_withdrawal_stops_what_was_recorded_before_it(seconds, stops):
    row = OutboxEventFactory(digests="aaa bbb")
    withdrawn_at = row.recorded_at + timedelta(seconds=seconds)
    Withdrawal.objects.create(digest="bbb", withdrawn_at=withdrawn_at)
    assert ids(claims.withdrawn([row], using=USING)) == ([row.pk] if stops else [])


@pytest.mark.parametrize(("seconds", "stops"), [(-29, True), (-31, False)])
def test_withdrawal_stops_what_was_on_its_way_and_recorded_just_after_it(seconds, stops):
    row = OutboxEventFactory(digests="aaa")
    withdrawn_at = row.recorded_at + timedelta(seconds=seconds)
    Withdrawal.objects.create(digest="aaa", withdrawn_at=withdrawn_at)
    assert ids(claims.withdrawn([row], using=USING)) == ([row.pk] if stops else [])


@pytest.mark.parametrize(("hours", "stops"), [(-2, False), (2, True)])
def test_withdrawal_stops_what_rests_on_a_consent_from_before_whenever_it_was_recorded(
    hours, stops
):
    given_at = timezone.now() - timedelta(hours=5)
    ConsentProof.objects.create(proof_id="p", site_pk=1, choice="granted", given_at=given_at)
    row = OutboxEventFactory(digests="aaa", consent_proof="p")
    Withdrawal.objects.create(digest="aaa", withdrawn_at=given_at + timedelta(hours=hours))
    assert ids(claims.withdrawn([row], using=USING)) == ([row.pk] if stops else [])


def test_latest_withdrawal_counts():
    row = OutboxEventFactory(digests="aaa")
    for days in (1, -1):
        at = row.recorded_at + timedelta(days=days)
        Withdrawal.objects.create(digest="aaa", withdrawn_at=at)
    assert ids(claims.withdrawn([row], using=USING)) == [row.pk]


def test_withdrawal_of_somebody_else_stops_nothing():
    row = OutboxEventFactory(digests="aaa")
    Withdrawal.objects.create(digest="aa", withdrawn_at=timezone.now() + timedelta(days=1))
    assert claims.withdrawn([row], using=USING) == []


def test_withdrawals_are_asked_once_a_batch(django_assert_num_queries):
    rows = [OutboxEventFactory(digests=f"d{number}") for number in range(5)]
    with django_assert_num_queries(1):
        claims.withdrawn(rows, using=USING)


# What a batch costs


def test_a_claim_asks_as_often_for_many_rows_as_for_few(django_assert_num_queries):
    OutboxEventFactory()
    with CaptureQueriesContext(connections[USING]) as few:
        claim(2)
    OutboxEventFactory.create_batch(40)
    with django_assert_num_queries(len(few)):
        assert len(claim(30)[1]) == 30


def test_rows_are_finished_in_one_statement_and_keys_settled_in_another(django_assert_num_queries):
    rows = [OutboxEventFactory(keyed=True) for _ in range(5)]
    token, claimed = claim()
    with django_assert_num_queries(2):
        claims.decide_keys(claimed, using=USING)
    with django_assert_num_queries(4) as queries:
        finish(claimed, token)
    verbs = [query["sql"].split()[0] for query in queries]
    assert verbs == ["SAVEPOINT", "UPDATE", "INSERT", "RELEASE"]
    assert SentKey.objects.filter(settled=True).count() == len(rows)


def test_nobodys_digests_are_asked_for_where_nobody_took_back_a_consent(django_assert_num_queries):
    rows = OutboxEventFactory.create_batch(3, digests="a b c")
    with django_assert_num_queries(1):
        assert claims.withdrawn(rows, using=USING) == []


def test_a_claimed_row_shows_nothing_of_the_person():
    OutboxEventFactory(user_data=b'{"client_user_agent":"Netscape"}', digests="0123abcd")
    _, [row] = claim()
    assert "Netscape" in str(row.user_data)
    assert "Netscape" not in repr(row)
    assert "0123abcd" not in repr(row)


def test_a_key_that_is_given_free_meanwhile_is_asked_for_again(monkeypatch):
    """The row that spoke for it ended untold between our two statements."""
    OutboxEventFactory.create_batch(2, **FACT)
    _, [first, second] = claim()
    claims.decide_keys([first], using=USING)
    note = claims._note_keys

    def note_and_free(*words, **options):
        note(*words, **options)
        SentKey.objects.all().delete()

    monkeypatch.setattr(claims, "_note_keys", note_and_free)
    assert claims.decide_keys([second], using=USING) == ([], [second])


def test_a_row_that_is_deleted_meanwhile_is_nobodys(monkeypatch):
    row = OutboxEventFactory(digests="0123abcd")
    Withdrawal.objects.create(digest="0123abcd")
    monkeypatch.setattr(claims, "_given_at", lambda *_words: {})
    assert claims.withdrawn([row], using=USING) == []


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "no zones at all"])
def test_a_deadline_is_the_same_moment_whatever_zone_the_database_is_kept_in(settings, zone):
    settings.USE_TZ = zone != "no zones at all"
    connection = connections[USING]
    kept = zone if settings.USE_TZ and connection.vendor == "sqlite" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "TIME_ZONE", kept)
        forget_the_zone(connection)
        hour = timedelta(hours=1)
        old = OutboxEventFactory(expires_at=timezone.now() - hour, due_at=Now())
        new = OutboxEventFactory(expires_at=timezone.now() + hour, due_at=Now())
        rows = {row.pk: row for row in claim()[1]}
        assert rows[new.pk].deadline == pytest.approx(time.time() + 3600, abs=30)
        assert rows[old.pk].deadline == pytest.approx(time.time() - 3600, abs=30)
        assert claims.too_old(list(rows.values()), using=USING) == {old.pk}
    forget_the_zone(connection)


def forget_the_zone(connection):
    for name in ("timezone", "timezone_name"):
        connection.__dict__.pop(name, None)
