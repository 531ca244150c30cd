from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import OutboxEventFactory
from wagtail_metapixel import database_time, retention, site_settings
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.models import OutboxEvent, SentKey, State

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_2040(monkeypatch):
    """A process whose clock stands years ahead of its database's."""
    years = timedelta(days=14 * 365)
    real_now, real_time = timezone.now, database_time.time.time
    monkeypatch.setattr(timezone, "now", lambda: real_now() + years)
    monkeypatch.setattr(database_time.time, "time", lambda: real_time() + years.total_seconds())


def test_time_is_that_of_the_database():
    assert abs(database_time.now("default") - timezone.now()) < timedelta(seconds=5)


def test_a_wrong_clock_does_not_change_it(in_2040):
    assert abs(database_time.now("default") - timezone.now()) > timedelta(days=14 * 365 - 1)


def test_a_worker_with_a_wrong_clock_expires_nothing(in_2040, monkeypatch):
    monkeypatch.setattr(site_settings, "access_token", lambda _pixel_id: "")  # it goes nowhere
    OutboxEventFactory()
    OutboxEvent.objects.update(
        expires_at=database_time.now("default") + timedelta(days=6),
        due_at=database_time.now("default") - timedelta(seconds=5),
    )
    deliver_due()
    assert OutboxEvent.objects.get().state == State.PENDING


def test_a_worker_with_a_wrong_clock_purges_nothing(in_2040):
    moment = database_time.now("default")
    OutboxEventFactory(state=State.SENT, final_at=moment)
    SentKey.objects.create(event_id="a", event_name="Lead", row_id=1, created_at=moment)
    assert not any(retention.purge(using="default").values())
    assert OutboxEvent.objects.count() == SentKey.objects.count() == 1
