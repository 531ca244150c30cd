"""An outbox of any size: one row as :func:`track` recorded it, copied by the database."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.http import HttpRequest
from django.test import RequestFactory

from benchmarks.build_event import AGENT, purchases
from wagtail_metapixel import visitor
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.tracking import track

COOKIES = "metapixel_consent=granted.0123abcd; _fbp=fb.1.1795322685020.1234567890"
_DIGEST = "substr(md5('{}' || n), 1, 24)"


def request(host: str = "testserver") -> HttpRequest:
    """Return a buyer's request as it comes out of our middleware, with consent."""
    made = RequestFactory().post(
        "/checkout/payment/",
        headers={"user-agent": AGENT, "host": host, "cookie": COOKIES},
        REMOTE_ADDR="203.0.113.7",
    )
    visitor.capture(made, by_middleware=True)
    return made


def template(name: str, host: str = "testserver", *, using: str = "default", **more: Any) -> int:
    """Record one event through the public verb; returns its row's key."""
    bought = purchases(1)[0]
    person = {k: v for k, v in bought.user_data.items() if not k.startswith(("client", "fb"))}
    params = {k: v for k, v in bought.params.items() if k != "order_id"}
    tracked = track(name, request(host), using=using, user_data=person, **params, **more)
    if not tracked:
        raise SystemExit(f"{name} was not recorded: {tracked.reason}")
    newest = OutboxEvent.objects.using(using).filter(event_name=name).order_by("-pk").first()
    assert newest
    return newest.pk


def copy(row_pk: int, count: int, *, using: str = "default", sent: bool = False) -> None:
    """Append ``count`` rows like this one, each with its own id and its own person's digests."""
    row = OutboxEvent.objects.using(using).get(pk=row_pk)
    event_id = f"md5(n || '{'sent' if sent else 'waits'} {row_pk} ' || clock_timestamp())"
    digests = [_DIGEST.format(number) for number in range(len(row.digests.split()))]
    values = {
        "event_id": "made.id",
        "event": "convert_to(replace(convert_from(told.event, 'UTF8'), told.event_id, made.id), 'UTF8')",
        "digests": " || ' ' || ".join(digests) or "''",
        # Deadlines as far apart as if they had been recorded one after the other.
        "expires_at": "told.expires_at - n * interval '10 milliseconds'",
        "twin_expires_at": "told.twin_expires_at - n * interval '10 milliseconds'",
    }
    if sent:
        values |= {"state": f"'{State.SENT}'", "user_data": "'{}'", "final_at": "now()"}
    fields = [
        str(field.column)
        for field in OutboxEvent._meta.concrete_fields
        if not field.primary_key and not field.generated
    ]
    chosen = ", ".join(values.get(column, f"told.{column}") for column in fields)
    table = OutboxEvent._meta.db_table
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(fields)}) SELECT {chosen} FROM {table} told,"
            f" LATERAL (SELECT n, {event_id} AS id FROM generate_series(1, %s) n) made"
            " WHERE told.id = %s",
            [count, row_pk],
        )


def tidy(*, using: str = "default") -> None:
    """Let the database know what it holds, as autovacuum would in a while."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"VACUUM (ANALYZE) {OutboxEvent._meta.db_table}")
        cursor.execute("CHECKPOINT")
