"""Delivery by Celery: the shared task ``wagtail_metapixel.deliver``, for any number of workers.

Loaded only with ``DELIVERY = "celery"``. What is to be sent stands in the outbox and never in a
message, so neither a broker that forgets nor a worker that is killed loses an event.
"""

from __future__ import annotations

import contextlib
from typing import Any

from celery import shared_task

from wagtail_metapixel import outbox
from wagtail_metapixel.drivers import draining

EXPIRES_SECONDS = 60
"""A message older than this has been followed by another one; workers drop it unread."""
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
# Without a limit Celery would try to reach the broker for ever.
_ONE_TRY: dict[str, Any] = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "connect_retries_timeout": CONNECT_SECONDS,
}
_REDIS = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": ANSWER_SECONDS}
_AMQP = {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}


@shared_task(name="wagtail_metapixel.deliver", ignore_result=True)
def deliver() -> None:
    """Send for a while. What is still due when the time is up is the next message's."""
    using = outbox.alias()
    made_room = draining.take_turn(using=using) is None
    if not made_room and draining.waiting(using=using):
        # Where the broker has gone meanwhile, the thread of a web process, or beat, asks again.
        with contextlib.suppress(Exception):
            publish()


def publish() -> None:
    """Ask for one turn. Raises within seconds what the broker's client raises."""
    app = deliver.app
    scheme = str(app.conf.broker_write_url or app.conf.broker_url or "amqp").partition(":")[0]
    timeouts = _AMQP if scheme in {"amqp", "amqps", "pyamqp"} else {}
    timeouts = _REDIS if scheme.partition("+")[0] in {"redis", "rediss", "sentinel"} else timeouts
    options = _ONE_TRY | timeouts
    with app.connection_for_write(
        connect_timeout=CONNECT_SECONDS, transport_options=options
    ) as connection:
        deliver.apply_async(connection=connection, retry=False, expires=EXPIRES_SECONDS)
