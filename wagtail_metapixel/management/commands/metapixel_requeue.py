"""``manage.py metapixel_requeue``: send again what was rejected or given up."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db.models import QuerySet
from django.utils import timezone

from wagtail_metapixel import copies, requeueing
from wagtail_metapixel.management.operator_command import (
    WRONG_USE,
    OperatorCommand,
    counted,
    pixel_option,
    shown,
)
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.requeueing import Outcome

_SPAN = re.compile(r"([0-9]{1,5})(m|h|d)")
_UNKNOWN = "Nothing is known of this event id. Try: manage.py metapixel_explain EVENT_ID"


class Command(OperatorCommand):
    """Prints what was put back, and why something was not."""

    help = (
        "Put events that were rejected or given up back among those that wait, once what kept Meta "
        "from taking them is mended. Names them by their ids, or chooses them by --state. Never "
        "puts back what is past a deadline, of a person who took the consent back, or without its "
        "personal part. Asks nothing: look with --dry-run first."
    )
    examples = """\
examples:
  manage.py metapixel_requeue --state rejected --since 24h --dry-run
  manage.py metapixel_requeue --state rejected --reason 2804019
  manage.py metapixel_requeue 5f0c4d2be6d84e9f8e1d3c5b7a90f1e2

Exit status 0; 1 when nothing was put back of an event that was named; 2 when
an option is wrong.
"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("event_ids", nargs="*", metavar="EVENT_ID", help="these events")
        parser.add_argument(
            "--state", choices=[str(state) for state in requeueing.STATES],
            help="all events in this state; needed where no event is named",
        )  # fmt: skip
        parser.add_argument(
            "--since", metavar="SPAN", help="only what ended in the last 90m, 24h or 7d"
        )
        parser.add_argument(
            "--reason", default="", metavar="TEXT", help="only with this text in the reason"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be put back")
        pixel_option(parser)
        parser.add_argument(
            "--held", action="store_true",
            help="instead: let go what is held back since the database was copied or restored; "
            "only where nobody else sends it, and nobody has",
        )  # fmt: skip

    def operate(self, using: str, options: Mapping[str, Any]) -> None:
        """Put back, and print."""
        ids, is_dry = options["event_ids"], options["dry_run"]
        if options["held"]:
            self._let_go(using, options)
            return
        if not ids and not options["state"]:
            raise CommandError(
                "Name events, or choose a state: manage.py metapixel_requeue --state rejected",
                returncode=WRONG_USE,
            )
        rows = _rows(using, options)
        outcomes = list(requeueing.requeue(rows, using=using, dry_run=is_dry))
        known = {outcome.event_id for outcome in outcomes}
        outcomes += [Outcome(each, "", False, _UNKNOWN) for each in ids if each not in known]
        if options["json"]:
            self._print_document(outcomes, is_dry=is_dry)
        else:
            self._print(outcomes, each=bool(ids), is_dry=is_dry)
        if missed := set(ids) - {one.event_id for one in outcomes if one.requeued}:
            raise CommandError(f"{counted(len(missed), 'event')} not put back.", returncode=1)

    def _let_go(self, using: str, options: Mapping[str, Any]) -> None:
        if any(options[name] for name in ("event_ids", "state", "since", "reason", "pixel")):
            raise CommandError(
                "--held lets go all that is held back, and nothing else: leave the rest out.",
                returncode=WRONG_USE,
            )
        is_dry = options["dry_run"]
        count = copies.held(using=using) if is_dry else copies.release(using=using)
        if options["json"]:
            self.print_json({"dry_run": is_dry, "requeued": count, "rows": []})
        else:
            self.stdout.write(_done(count, is_dry=is_dry))

    def _print_document(self, outcomes: Iterable[Outcome], *, is_dry: bool) -> None:
        rows = [outcome._asdict() for outcome in outcomes]
        requeued = sum(row["requeued"] for row in rows)
        self.print_json({"dry_run": is_dry, "requeued": requeued, "rows": rows})

    def _print(self, outcomes: Iterable[Outcome], *, each: bool, is_dry: bool) -> None:
        done = 0
        refused: Counter[str] = Counter()
        for outcome in outcomes:
            done += outcome.requeued
            if not outcome.requeued:
                refused[outcome.refusal] += 1
            if each:
                where = f" for {outcome.pixel_id}" if outcome.pixel_id else ""
                told = outcome.refusal or ("may be put back" if is_dry else "put back")
                self.stdout.write(f"{shown(outcome.event_id)}{where}: {told}")
        if not each:
            for refusal, count in refused.most_common():
                self.stdout.write(f"{count:>9,}  left: {refusal}")
        self.stdout.write(_done(done, is_dry=is_dry))


def _done(count: int, *, is_dry: bool) -> str:
    done = "would be put back; nothing was changed." if is_dry else "put back."
    return f"{counted(count, 'event')} {done}"


def _rows(using: str, options: Mapping[str, Any]) -> QuerySet[OutboxEvent]:
    ids = options["event_ids"]
    rows = requeueing.choose(
        using=using,
        states=[options["state"]] if options["state"] else (),
        pixel_ids=options["pixel"],
        since=_since(options["since"]),
        reason=options["reason"],
    )
    return rows.filter(event_id__in=ids) if ids else rows


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    if not (match := _SPAN.fullmatch(text)):
        raise CommandError("--since has to look like 90m, 24h or 7d.", returncode=WRONG_USE)
    unit = {"m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timezone.now() - timedelta(**{unit: int(match[1])})
