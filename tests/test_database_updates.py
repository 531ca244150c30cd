from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db.models import F

from tests.factories import OutboxEventFactory
from wagtail_metapixel.database_time import Seconds
from wagtail_metapixel.database_updates import updated
from wagtail_metapixel.models import OutboxEvent

pytestmark = pytest.mark.django_db
ROWS = OutboxEvent.objects


def test_those_that_were_changed_are_told(django_assert_num_queries):
    one, other, third = OutboxEventFactory.create_batch(3)
    with django_assert_num_queries(1):
        told = updated(ROWS.exclude(pk=other.pk), {"attempts": F("attempts") + 1}, using="default")
    assert sorted(told) == [(one.pk,), (third.pk,)]
    assert list(ROWS.order_by("pk").values_list("attempts", flat=True)) == [1, 0, 1]


def test_columns_are_told_as_they_are_afterwards():
    OutboxEventFactory(expires_at=datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC))
    columns = ["event_name", "reason", "user_data", Seconds("expires_at"), Seconds("final_at")]
    [told] = updated(ROWS.all(), {"reason": "why", "user_data": b"{}"}, columns, using="default")
    moment = pytest.approx(datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC).timestamp(), abs=0.002)
    assert told == ("AddToCart", "why", b"{}", moment, None)


def test_where_nothing_is_changed_nothing_is_told():
    assert updated(ROWS.all(), {"reason": "why"}, using="default") == []
