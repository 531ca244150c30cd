from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.signals import post_delete, pre_delete
from django.utils import timezone

from tests.factories import OutboxEventFactory
from wagtail_metapixel import conf, deployment, retention
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.models import (
    AnsweredTicket,
    ConsentProof,
    Counter,
    OutboxEvent,
    SentKey,
    State,
    VisitorRecord,
    Withdrawal,
    WithheldOrder,
)

pytestmark = pytest.mark.django_db

FINAL = [state for state in State if state != State.PENDING]
KEPT_FOR_TRYING_AGAIN = [State.REJECTED, State.DEAD]
MINUTE = timedelta(minutes=1)


def ago(days, **more):
    return timezone.now() - timedelta(days=days, **more)


def ended(state, moment, **values):
    return OutboxEventFactory(state=state, final_at=moment, user_data=b"{}", **values)


def purge(**kwargs):
    return retention.purge(using="default", **kwargs)


def left(model=OutboxEvent):
    return list(model.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize("state", FINAL)
def test_a_final_row_goes_when_its_days_are_over_and_not_before(state):
    days = 7 if state == State.SENT else 30
    ended(state, ago(days) - MINUTE)
    young = ended(state, ago(days) + MINUTE)
    counts = purge()
    assert left() == [young.pk]
    assert counts["sent"] + counts["unsent"] == 1


def test_a_row_that_waits_is_never_purged_however_old_it_is():
    old = OutboxEventFactory(recorded_at=ago(999), due_at=ago(999), expires_at=ago(900))
    odd = OutboxEventFactory(final_at=ago(999))
    purge()
    assert left() == [old.pk, odd.pk]
    assert bytes(OutboxEvent.objects.get(pk=old.pk).user_data) != b"{}"


@pytest.mark.parametrize(
    ("model", "column", "values"),
    [
        (SentKey, "created_at", {"pixel_id": "1", "event_name": "Purchase", "row_id": 1}),
        (AnsweredTicket, "answered_at", {}),
        (Withdrawal, "withdrawn_at", {}),
        (ConsentProof, "given_at", {"site_pk": 1, "choice": "granted", "tool": "cookie"}),
    ],
)
def test_what_outlives_the_rows_goes_later(model, column, values):
    days = 1095 if model is ConsentProof else 70
    name = {Withdrawal: "digest", ConsentProof: "proof_id"}.get(model, "event_id")
    model.objects.create(**values, **{name: "old", column: ago(days) - MINUTE})
    young = model.objects.create(**values, **{name: "young", column: ago(days) + MINUTE})
    assert sum(purge().values()) == 1
    assert left(model) == [young.pk]


def test_the_key_of_a_purged_row_stays():
    row = ended(State.SENT, ago(8), keyed=True)
    SentKey.objects.create(
        pixel_id=row.pixel_id, event_name=row.event_name, event_id=row.event_id, row_id=row.pk,
        settled=True, created_at=ago(8),
    )  # fmt: skip
    purge()
    assert left() == []
    assert SentKey.objects.filter(row_id=row.pk, settled=True).exists()


def test_records_orders_without_an_answer_and_counts_go_in_their_time():
    for number, moment in ((1, ago(0) - MINUTE), (2, ago(0) + MINUTE)):
        VisitorRecord.objects.create(
            key_digest=number, site_pk=1, data=b"x", expires_at=moment, recorded_at=ago(9)
        )
    for event_id, moment in (("old", ago(1) - MINUTE), ("young", ago(1) + MINUTE)):
        WithheldOrder.objects.create(
            event_id=event_id, site_pk=1, happened_at=moment, withheld_at=moment
        )
    for days in (402, 398):
        Counter.objects.create(day=ago(days).date(), kind="withheld", count=3)
    counts = purge()
    assert counts["visitor_records"] == counts["withheld_orders"] == counts["counters"] == 1
    assert list(VisitorRecord.objects.values_list("key_digest", flat=True)) == ["2"]
    assert list(WithheldOrder.objects.values_list("event_id", flat=True)) == ["young"]
    assert Counter.objects.get().day == ago(398).date()


# What is left of a person


@pytest.mark.parametrize("state", KEPT_FOR_TRYING_AGAIN)
@pytest.mark.parametrize("deadline", ["expires_at", "twin_expires_at"])
def test_past_a_deadline_nothing_of_the_person_is_left_but_the_account(state, deadline):
    row = OutboxEventFactory(state=state, final_at=ago(1), digests="a b", **{deadline: ago(0)})
    before = OutboxEvent.objects.values().get(pk=row.pk)
    assert purge()["personal_parts"] == 1
    after = OutboxEvent.objects.values().get(pk=row.pk)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"user_data", "digests"}
    assert (bytes(after["user_data"]), after["digests"]) == (b"{}", "")
    assert purge()["personal_parts"] == 0


@pytest.mark.parametrize("state", KEPT_FOR_TRYING_AGAIN)
def test_before_its_deadlines_a_row_keeps_what_it_needs_to_be_sent_again(state):
    row = OutboxEventFactory(state=state, final_at=ago(1), digests="a b")
    purge()
    kept = OutboxEvent.objects.get(pk=row.pk)
    assert bytes(kept.user_data) == bytes(row.user_data)
    assert kept.digests == "a b"


def test_as_many_queries_however_many_may_be_sent_again(django_assert_max_num_queries):
    for number in range(30):
        OutboxEventFactory(state=State.REJECTED, final_at=ago(1), digests=number)
        Withdrawal.objects.create(digest=number, withdrawn_at=timezone.now() + MINUTE)
    with django_assert_max_num_queries(25):
        assert purge()["personal_parts"] == 30


def test_nothing_is_left_of_a_person_who_took_the_consent_back():
    taken_back = OutboxEventFactory(state=State.REJECTED, final_at=ago(1), digests="a b")
    other = OutboxEventFactory(state=State.REJECTED, final_at=ago(1), digests="c")
    waiting = OutboxEventFactory(digests="b")
    Withdrawal.objects.create(digest="b", withdrawn_at=timezone.now() + MINUTE)
    assert purge()["personal_parts"] == 1
    kept = OutboxEvent.objects.exclude(user_data=b"{}").order_by("pk")
    assert [row.pk for row in kept] == [other.pk, waiting.pk]
    assert not OutboxEvent.objects.get(pk=taken_back.pk).digests


# In pieces


@pytest.fixture
def pieces_of_two(monkeypatch):
    monkeypatch.setattr(retention, "PIECE", 2)


def old_rows_of_every_table():
    for number in range(5):
        ended(State.SENT, ago(8))
        ended(State.DUPLICATE, ago(31, minutes=number))
        OutboxEventFactory(state=State.REJECTED, final_at=ago(1), expires_at=ago(0))
        AnsweredTicket.objects.create(event_id=number, answered_at=ago(71))
        Withdrawal.objects.create(digest=number, withdrawn_at=ago(71))


@pytest.mark.usefixtures("pieces_of_two")
def test_more_than_a_piece_goes_piece_by_piece():
    old_rows_of_every_table()
    young = ended(State.SENT, ago(6))
    Withdrawal.objects.create(digest="young")
    counted = retention.overdue(using="default")
    assert counted == {**dict.fromkeys(counted, 0), **dict.fromkeys(
        ["personal_parts", "sent", "unsent", "tickets", "withdrawals"], 5
    )}  # fmt: skip
    assert purge() == counted
    assert sum(purge().values()) == 0
    assert OutboxEvent.objects.exclude(state=State.REJECTED).get() == young
    assert Withdrawal.objects.get().digest == "young"


@pytest.mark.usefixtures("pieces_of_two")
def test_the_purge_ends_after_the_piece_under_way():
    old_rows_of_every_table()
    asked = []

    def stopping():
        asked.append(1)
        return len(asked) > 1

    counts = purge(stopping=stopping)
    assert counts["personal_parts"] == 2
    assert sum(counts.values()) == 2


def test_a_row_that_was_put_back_meanwhile_is_left_alone():
    row = ended(State.DEAD, ago(31))

    def put_back_by_somebody():
        OutboxEvent.objects.filter(pk=row.pk).update(state=State.PENDING, final_at=None)

    purge(stopping=put_back_by_somebody)
    assert left() == [row.pk]


@pytest.mark.usefixtures("pieces_of_two")
def test_a_table_whose_oldest_rows_are_young_is_not_read_through(django_assert_max_num_queries):
    for number in range(40):
        Withdrawal.objects.create(digest=number)
    with django_assert_max_num_queries(20):
        purge()


def test_rows_are_not_loaded_for_those_who_listen_to_deletions():
    ended(State.SENT, ago(8))
    heard = []

    def listen(instance, **_kwargs):
        heard.append(instance)

    for signal in (pre_delete, post_delete):
        signal.connect(listen)
    try:
        purge()
    finally:
        for signal in (pre_delete, post_delete):
            signal.disconnect(listen)
    assert (left(), heard) == ([], [])


# The setting


def test_the_setting_says_for_how_many_days(settings):
    settings.WAGTAIL_METAPIXEL = {"RETENTION": {"sent": 2, "keys": 63}}
    ended(State.SENT, ago(3))
    other = ended(State.DUPLICATE, ago(29))
    SentKey.objects.create(
        pixel_id="1", event_name="a", event_id="b", row_id=1, created_at=ago(64)
    )  # fmt: skip
    assert sum(purge().values()) == 2
    assert left() == [other.pk]


def test_without_the_setting_all_defaults_hold(settings):
    settings.WAGTAIL_METAPIXEL = {}
    assert conf.retention() == conf.DEFAULTS["RETENTION"]


@pytest.mark.parametrize(
    "value",
    [
        7, None, [], "sent", {"sent": 0}, {"sent": -1}, {"sent": 7.0}, {"sent": True},
        {"sent": "7"}, {"sent": None}, {"sents": 7}, {1: 7}, {"sent": 10**9}, {"keys": 62}, {"keys": 1},
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_deletes_nothing_and_says_so(settings, caplog, value):
    settings.WAGTAIL_METAPIXEL = {"RETENTION": value}
    ended(State.SENT, ago(999))
    with pytest.raises(ConfigurationError, match=r'\["RETENTION"\] has to '):
        conf.retention()
    [mistake] = deployment.mistakes()
    assert (mistake.is_unknown, "RETENTION" in mistake.fact) == (False, True)
    assert purge() == {}
    assert len(left()) == 1
    assert 'WAGTAIL_METAPIXEL["RETENTION"]' in caplog.text


def test_the_page_for_operators_names_every_default():
    page = Path(__file__).resolve().parents[1] / "docs" / "operating.md"
    rows = re.findall(r'^\| `"(\w+)"` \| (\d+)', page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(days) for name, days in rows} == conf.DEFAULTS["RETENTION"]
    assert f"at least {conf.KEYS_DAYS_MIN}" in page.read_text(encoding="utf-8")
