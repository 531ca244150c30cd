"""What a task of Celery does after its turn; needs Celery, and no broker."""

from __future__ import annotations

import pytest

from tests.factories import PIXEL_ID
from wagtail_metapixel.delivery import Summary
from wagtail_metapixel.drivers import celery, draining


@pytest.mark.parametrize(
    ("turn", "waits", "asked"),
    [
        (Summary(), {PIXEL_ID: 1}, 1),
        (Summary(), {}, 0),
        # It would be the next to make room, at once; those who send hand on.
        (None, {PIXEL_ID: 1}, 0),
    ],
    ids=["something is left", "nothing is left", "it made room"],
)
def test_a_task_asks_for_another_where_it_leaves_something(monkeypatch, turn, waits, asked):
    published = []
    monkeypatch.setattr(draining, "take_turn", lambda using: turn)
    monkeypatch.setattr(draining, "waiting", lambda using: waits)
    monkeypatch.setattr(celery, "publish", lambda: published.append(1))
    celery.deliver()
    assert len(published) == asked
