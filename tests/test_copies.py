from __future__ import annotations

import shutil
import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, ProgrammingError, connection, connections
from django.utils import timezone

from tests.factories import OutboxEventFactory
from wagtail_metapixel import claims, copies
from wagtail_metapixel.models import Delivery, OutboxEvent, State

USING = "default"
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """A process that has not looked yet."""
    monkeypatch.setattr(copies, "_looked_at", {})


def look():
    copies._looked_at.clear()
    return copies.look(using=USING)


def known(**changed):
    """Let a deliverer of this database have been here, ``changed`` since."""
    look()
    Delivery.objects.update(**changed)


def claimed():
    return [row.pk for row in claims.claim(100, using=USING)[1]]


def test_a_new_installation_holds_nothing():
    row = OutboxEventFactory()
    assert (look(), claimed()) == (0, [row.pk])


def test_a_deliverer_that_comes_back_soon_holds_nothing():
    row = OutboxEventFactory()
    known(seen_at=timezone.now() - timedelta(hours=46))
    assert (look(), claimed()) == (0, [row.pk])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"fingerprint": "postgresql 1 2 3"}, "the database is another one"),
        ({"seen_at": timezone.now() - timedelta(hours=48)}, "Nobody has delivered"),
    ],
    ids=["another database", "long ago"],
)
def test_what_waits_in_a_copy_is_held_and_what_comes_later_is_not(changed, why, caplog):
    held = OutboxEventFactory(recorded_at=timezone.now() - timedelta(hours=50))
    known(**changed)
    new = OutboxEventFactory(recorded_at=timezone.now() + 10 * MINUTE)
    assert (look(), claimed()) == (1, [new.pk])
    held.refresh_from_db()
    assert (held.state, held.reason, held.due_at) == (State.PENDING, copies.HELD, held.deadline)
    noted = Delivery.objects.get()
    assert noted.held_since is not None
    assert why in noted.held_reason
    assert "1 waiting events are held back" in caplog.text
    assert look() == 0  # it is said once


def test_what_was_recorded_long_after_the_last_deliverer_leaves():
    known(fingerprint="another", seen_at=timezone.now() - 10 * MINUTE)
    row = OutboxEventFactory()
    assert (look(), claimed()) == (0, [row.pk])
    assert Delivery.objects.get().held_since is None


def test_what_the_original_may_have_sent_until_its_next_note_is_held():
    days_ago = timezone.now() - timedelta(days=3)
    OutboxEventFactory(recorded_at=days_ago + timedelta(seconds=copies.LOOK_SECONDS))
    known(fingerprint="another", seen_at=days_ago)
    assert (look(), claimed()) == (1, [])


@pytest.mark.parametrize("days", [14 * 365, -50 * 365], ids=["2040", "1970s"])
def test_the_clock_of_a_worker_holds_nothing(monkeypatch, days):
    row = OutboxEventFactory(recorded_at=timezone.now() - 10 * MINUTE)
    known()
    off = timedelta(days=days)
    now, clock = timezone.now, time.time
    with monkeypatch.context() as patched:
        patched.setattr("django.utils.timezone.now", lambda: now() + off)
        patched.setattr("time.time", lambda: clock() + off.total_seconds())
        assert look() == 0
    assert claimed() == [row.pk]


def test_a_database_that_says_less_of_itself_for_a_while_is_no_other_one(monkeypatch):
    row = OutboxEventFactory(recorded_at=timezone.now() - 10 * MINUTE)
    full = copies.fingerprint(USING)
    for says in ("kind 1 2 3", "kind", "kind 1 2 3"):
        monkeypatch.setattr(copies, "fingerprint", lambda _using, says=says: says)
        if says == "kind" or not Delivery.objects.exists():
            known()
        assert look() == 0
        assert Delivery.objects.get().fingerprint == "kind 1 2 3"
    monkeypatch.setattr(copies, "fingerprint", lambda _using: full)
    assert claimed() == [row.pk]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_does_not_answer_is_no_other_one(monkeypatch, error):
    row = OutboxEventFactory(recorded_at=timezone.now() - 10 * MINUTE)
    known()

    def away(_using):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(copies, "fingerprint", away)
        with pytest.raises(error):
            look()
    # Not in a minute: nothing was seen.
    assert copies.look(using=USING) == 0
    assert Delivery.objects.get().fingerprint == copies.fingerprint(USING)
    assert claimed() == [row.pk]


def test_a_person_lets_it_leave_after_all():
    row = OutboxEventFactory(recorded_at=timezone.now() - MINUTE)
    known(fingerprint="another")
    look()
    assert (copies.held(using=USING), claimed()) == (1, [])
    assert copies.release(using=USING) == 1
    assert (copies.held(using=USING), claimed()) == (0, [row.pk])
    assert Delivery.objects.get().held_since is None
    assert OutboxEvent.objects.get().reason == ""


def test_rows_that_are_done_or_wait_for_something_else_are_not_let_go():
    done = OutboxEventFactory(state=State.SENT, recorded_at=timezone.now() - MINUTE)
    known(fingerprint="another")
    assert look() == 0
    later = OutboxEventFactory(due_at=timezone.now() + MINUTE, reason="Meta could not be reached.")
    copies.release(using=USING)
    assert claimed() == []
    done.refresh_from_db()
    later.refresh_from_db()
    assert (done.state, later.reason) == (State.SENT, "Meta could not be reached.")


def test_a_database_that_is_older_than_the_cache_is_a_backup():
    OutboxEventFactory(recorded_at=timezone.now() - timedelta(hours=3))
    known()
    Delivery.objects.update(seen_at=timezone.now() - timedelta(hours=2))
    assert look() == 1
    assert "older than the cache" in Delivery.objects.get().held_reason


def test_a_cache_that_is_away_or_holds_nonsense_is_no_witness(monkeypatch):
    OutboxEventFactory(recorded_at=timezone.now() - timedelta(hours=3))
    known(seen_at=timezone.now() - timedelta(hours=2))
    for broken in ({"get": lambda *_args, **_options: "x"}, {"get": fail, "set": fail}):
        for name, work in broken.items():
            monkeypatch.setattr(type(cache._connections[cache._alias]), name, work, raising=False)
        Delivery.objects.update(seen_at=timezone.now() - timedelta(hours=2))
        assert look() == 0


def fail(*_args, **_options):
    raise ConnectionError


def test_what_is_held_expires_at_its_deadline_like_any_other():
    row = OutboxEventFactory(recorded_at=timezone.now() - MINUTE)
    known(fingerprint="another")
    assert (look(), claimed()) == (1, [])
    OutboxEvent.objects.update(
        expires_at=timezone.now() - timedelta(seconds=1), due_at=timezone.now() - MINUTE
    )
    assert (look(), copies.held(using=USING), claimed()) == (0, 0, [row.pk])


def test_a_process_looks_once_a_minute(django_assert_num_queries, monkeypatch):
    look()
    with django_assert_num_queries(0):
        assert copies.look(using=USING) == 0
    clock = copies.time.monotonic()
    monkeypatch.setattr(copies.time, "monotonic", lambda: clock + 61)
    Delivery.objects.all().delete()
    copies.look(using=USING)
    assert Delivery.objects.exists()


@pytest.mark.parametrize(
    ("error", "silence"), [(OperationalError, True), (ProgrammingError, False)]
)
def test_a_postgresql_that_is_cut_off_is_no_other_one(monkeypatch, error, silence):
    def cut(**_options):
        raise error

    monkeypatch.setattr(connections[USING], "vendor", "postgresql")
    monkeypatch.setattr(copies.transaction, "atomic", cut)
    if silence:
        with pytest.raises(error):
            copies.fingerprint(USING)
    else:
        assert copies.fingerprint(USING) == "postgresql"


def test_a_database_is_known_again():
    assert copies.fingerprint(USING) == copies.fingerprint(USING)
    assert copies.fingerprint(USING).startswith(connection.vendor)


def test_a_copied_file_of_sqlite_is_another_database(tmp_path, monkeypatch):
    original, copy = tmp_path / "shop.sqlite3", tmp_path / "copy.sqlite3"
    original.write_bytes(b"")

    def fingerprint(path):
        monkeypatch.setitem(connections[USING].settings_dict, "NAME", str(path))
        monkeypatch.setattr(connections[USING], "vendor", "sqlite")
        return copies.fingerprint(USING)

    before = fingerprint(original)
    shutil.copy(original, copy)
    assert fingerprint(original) == before != fingerprint(copy)
