from __future__ import annotations

import pytest

from tests.factories import PIXEL_ID, OutboxEventFactory
from wagtail_metapixel import claims, datasets
from wagtail_metapixel.models import Dataset

USING = "default"

pytestmark = pytest.mark.django_db


def claim(limit=100, **kwargs):
    return claims.claim(limit, using=USING, **kwargs)


def ids(rows):
    return [row.pk for row in rows]


def test_rows_of_a_paused_dataset_are_left_alone():
    OutboxEventFactory()
    other = OutboxEventFactory(pixel_id="999999")
    datasets.pause(PIXEL_ID, 60, "token", using=USING)
    assert ids(claim()[1]) == [other.pk]


def test_pause_ends_by_itself_with_a_probe():
    OutboxEventFactory()
    datasets.pause(PIXEL_ID, -1, "token", using=USING)
    assert len(claim()[1]) == 1
    assert datasets.probing([PIXEL_ID], using=USING) == {PIXEL_ID: 1}


def test_resumed_dataset_sends_everything_at_once():
    OutboxEventFactory()
    datasets.pause(PIXEL_ID, 60, "token", using=USING)
    datasets.resume(PIXEL_ID, using=USING)
    assert len(claim()[1]) == 1
    assert datasets.probing([PIXEL_ID], using=USING) == {}
    dataset = Dataset.objects.get()
    assert (dataset.pause_reason, dataset.failures, dataset.last_accepted_at) == ("", 0, None)


def test_failures_in_a_row_are_counted_until_something_is_accepted():
    assert datasets.failures(PIXEL_ID, using=USING) == 0
    datasets.pause(PIXEL_ID, -1, "down", using=USING)
    datasets.pause(PIXEL_ID, -1, "down", using=USING)
    assert datasets.failures(PIXEL_ID, using=USING) == 2
    datasets.resume(PIXEL_ID, using=USING, accepted=True)
    assert datasets.failures(PIXEL_ID, using=USING) == 0
    assert Dataset.objects.get().last_accepted_at is not None


@pytest.mark.parametrize("shorten", [datasets.pause, datasets.rest])
def test_a_pause_is_never_shortened_by_another_worker(shorten):
    datasets.pause(PIXEL_ID, 600, "Meta error 4", using=USING)
    until = Dataset.objects.get().paused_until
    shorten(PIXEL_ID, 2, "down", using=USING)
    dataset = Dataset.objects.get()
    assert (dataset.paused_until, dataset.pause_reason) == (until, "Meta error 4")


def test_an_accepted_event_ends_no_pause_that_still_lasts():
    datasets.pause(PIXEL_ID, 600, "Meta error 4", using=USING)
    datasets.resume(PIXEL_ID, using=USING, accepted=True)
    dataset = Dataset.objects.get()
    assert dataset.paused_until is not None
    assert (dataset.probing, dataset.last_accepted_at is None) == (True, False)
