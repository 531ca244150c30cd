"""``manage.py metapixel_status``: what waits, what went, and whether a person is needed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from wagtail_metapixel import status
from wagtail_metapixel.management.operator_command import (
    OperatorCommand,
    counted,
    moment,
    pixel_option,
    shown,
)
from wagtail_metapixel.status import Pixel, Status, Waiting


class Command(OperatorCommand):
    """Prints the numbers first and the sentences after them."""

    help = (
        "Show how delivery stands: what waits and since when, what ended in the last 24 hours, "
        "whether each pixel is sent to, how many events leave in a minute, and what was not "
        "recorded, by reason. Changes and sends nothing. Exit status 0; with --check 1 when "
        "something needs a person."
    )
    examples = """\
examples:
  manage.py metapixel_status
  manage.py metapixel_status --check > /dev/null || mail ...    in a monitor
  manage.py metapixel_status --json --pixel 1234567890123456

With --check the exit status is 1 when a pixel takes no events until somebody
mends something, when events of a copied or restored database are held back,
when a Purchase has waited for more than an hour or anything for three, or
when the driver of delivery lacks something.
"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="end with status 1 when a person is needed"
        )
        pixel_option(parser)

    def operate(self, using: str, options: Mapping[str, Any]) -> None:
        """Look, print, and judge."""
        found = status.of(using=using, only=options["pixel"])
        if options["json"]:
            self.print_json(found.as_dict())
        else:
            for line in _lines(found):
                self.stdout.write(line)
            for sentence in found.needs_a_person:
                self.stdout.write(self.style.ERROR(f"! {shown(sentence)}"))
            if not found.needs_a_person:
                self.stdout.write(self.style.SUCCESS("Nothing needs a person."))
        if options["check"] and found.needs_a_person:
            count = len(found.needs_a_person)
            raise CommandError(
                f"{counted(count, 'thing')} {'needs' if count == 1 else 'need'} a person.",
                returncode=1,
            )


def _lines(found: Status) -> Iterator[str]:
    yield f"Waiting: {counted(found.waiting.total, 'event')}"
    yield from _waiting(found.waiting, found.at)
    ended = ", ".join(f"{count:,} {state}" for state, count in found.ended_24h.items())
    yield f"Ended in the last 24 hours: {ended or 'none'}"
    for row in found.reasons_24h:
        yield f"{row['count']:>9,}  {row['state']}: {shown(row['reason']) or 'no reason kept'}"
    rate = found.sent_per_minute
    yield f"Sent a minute: {rate['hour']:g} in the last hour, {rate['day']:g} in the last day"
    yield "Pixels:" if found.pixels else "Pixels: none"
    for pixel in found.pixels:
        yield f"  {pixel.pixel_id}: {_pixel(pixel, found.at)}"
    if found.counted:
        yield "Not recorded, or odd (today / 7 days):"
    for row in found.counted:
        numbers = f"{row['today']:>9,} {row['seven_days']:>9,}"
        yield f"{numbers}  {row['kind']}: {shown(row['reason'])}"


def _waiting(waiting: Waiting, now: datetime) -> Iterator[str]:
    if not waiting.total:
        return
    parts = [f"{waiting.now:,} due now", f"{waiting.leased:,} on their way"]
    parts.append(f"{waiting.later:,} due later")
    if waiting.held:
        parts.append(f"{waiting.held:,} held back")
    yield f"  {', '.join(parts)}"
    yield f"  oldest: {_since(waiting.oldest, now)}"
    yield f"  oldest Purchase: {_since(waiting.oldest_purchase, now)}"
    yield f"  nearest deadline: {moment(waiting.nearest_deadline)}"


def _since(then: datetime | None, now: datetime) -> str:
    return f"{status.age(now - then)} ({moment(then)})" if then else "none"


def _pixel(pixel: Pixel, now: datetime) -> str:
    told = {
        "sending": "sending",
        "probing": "one event has to prove it first",
        "paused": f"paused until {moment(pixel.paused_until)}",
        "unset": "in no settings, or switched off: what waits is not sent",
    }[pixel.state]
    parts = [told]
    if pixel.reason:
        parts.append(shown(pixel.reason))
    if pixel.failures:
        parts.append(f"{counted(pixel.failures, 'failure')} in a row")
    accepted = pixel.last_accepted
    parts.append(f"last accepted {status.age(now - accepted)} ago" if accepted else "none accepted")
    parts.append(f"{pixel.waiting.total:,} waiting")
    return "; ".join(parts)
