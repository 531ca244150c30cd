"""``manage.py metapixel_lint``: what Meta would complain about in what the outbox holds."""

from __future__ import annotations

import argparse
import csv
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.db import Error
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from wagtail.models import Site

from wagtail_metapixel import outbox, site_settings
from wagtail_metapixel.findings import LEVELS, Level
from wagtail_metapixel.linter import Finding, Linter
from wagtail_metapixel.models import State

_WRONG_USE = 2
_PROGRESS_EVERY = 500
_FIELDS = (
    "code", "level", "event_name", "field", "message", "remedy", "event_ids", "occurrences",
)  # fmt: skip
_FAILING: Mapping[str, tuple[Level, ...]] = {
    "error": ("error",),
    "warning": ("error", "warning"),
    "never": (),
}
_HOURS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(h|d)?")

EPILOG = """\
examples:
  manage.py metapixel_lint                                 the last seven days
  manage.py metapixel_lint --since 24 --fail-on warning    yesterday, for a nightly job
  manage.py metapixel_lint --content-ids catalogue.csv     are the product ids the catalogue's?

Every code is explained in docs/linter.md. Of events that were sent, only what says nothing about
the person is kept: their match keys cannot be looked at any more.
"""


class _HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Our options first, as everywhere in Django, and the examples as they are written."""


class Command(BaseCommand):
    """Prints findings by pixel, the worst first."""

    help = (
        "Predict what Meta's Events Manager will complain about, from the events in the outbox: "
        "those that wait and those that went. Prints each finding with what to do, how many events "
        "have it, and ids of a few. Changes and sends nothing. Exit status 0 when nothing as bad "
        "as --fail-on was found, 1 when something was, 2 when an option is wrong."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.formatter_class = _HelpFormatter
        parser.description = textwrap.fill(self.help, 99)
        parser.epilog = EPILOG
        parser.add_argument("--site", metavar="HOST|PK", help="only this Wagtail site")
        parser.add_argument(
            "--pixel", action="append", default=[], metavar="ID", help="only this pixel; repeatable"
        )
        parser.add_argument(
            "--since", default="7d", metavar="WHEN",
            help="hours back (24), days back (7d), or an ISO date or time (2026-11-01); default 7d",
        )  # fmt: skip
        parser.add_argument(
            "--content-ids", type=Path, metavar="FILE",
            help="the catalogue's product ids: one a line, or CSV or TSV with a column named id",
        )  # fmt: skip
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument(
            "--fail-on", choices=["error", "warning", "never"], default="error",
            help="end with status 1 when there is such a finding or a worse one; default error",
        )  # fmt: skip

    def handle(self, *_args: Any, **options: Any) -> None:
        """Read, lint and print."""
        since = _since(options["since"])
        known_ids = None if options["content_ids"] is None else _ids_in(options["content_ids"])
        try:
            sites = _site_pks(options["site"])
            total, found = self._lint(since, sites, options["pixel"], known_ids)
        except Error as error:
            raise CommandError(
                f"The outbox cannot be read ({type(error).__name__}). Is the database there, and"
                " migrated?"
            ) from None
        if options["format"] == "json":
            self._print_json(since, total, found)
        else:
            self._print_text(since, total, found, options)
        self._judge(found, options["fail_on"])

    def _lint(
        self, since: datetime, sites: list[int], pixels: list[str], known_ids: set[str] | None
    ) -> tuple[Counter[str], dict[str, list[Finding]]]:
        count, rows = outbox.recorded_since(
            using=outbox.alias(), moment=since, pixel_ids=pixels, site_pks=sites
        )
        now = timezone.now()
        hosts = _hosts_by_pixel()
        linters: dict[str, Linter] = {}
        total: Counter[str] = Counter()
        for row in self._with_progress(rows, count):
            pixel = row["pixel_id"]
            if pixel not in linters:
                linters[pixel] = Linter(
                    hosts=hosts.get(pixel, ()), content_ids=known_ids, now=now.timestamp()
                )
            linters[pixel].read(_event(row, now))
            total[pixel] += 1
        return total, {pixel: linters[pixel].findings() for pixel in sorted(linters)}

    def _with_progress(
        self, rows: Iterable[dict[str, Any]], count: int
    ) -> Iterator[dict[str, Any]]:
        shown = self.stderr.isatty()
        for number, row in enumerate(rows, start=1):
            if shown and number % _PROGRESS_EVERY == 0:
                self.stderr.write(f"\r{number:,} of {count:,} events", ending="")
                self.stderr.flush()
            yield row
        if shown and count >= _PROGRESS_EVERY:
            self.stderr.write("\r" + " " * 60 + "\r", ending="")

    def _print_json(
        self, since: datetime, total: Counter[str], found: dict[str, list[Finding]]
    ) -> None:
        levels = Counter(finding.level for findings in found.values() for finding in findings)
        report = {
            "since": since.isoformat(),
            "events": total.total(),
            "findings_by_level": {level: levels[level] for level in LEVELS},
            "findings": [
                {"pixel_id": pixel, **dict(zip(_FIELDS, finding, strict=True))}
                for pixel, findings in found.items()
                for finding in findings
            ],
        }
        self.stdout.write(json.dumps(report, indent=2))

    def _print_text(
        self,
        since: datetime,
        total: Counter[str],
        found: dict[str, list[Finding]],
        options: dict[str, Any],
    ) -> None:
        if not total:
            narrowed = " that these options choose" if options["site"] or options["pixel"] else ""
            when = f"{timezone.localtime(since):%Y-%m-%d %H:%M %Z}"
            self.stdout.write(f"Nothing in the outbox since {when}{narrowed}.")
            return
        for pixel, findings in found.items():
            self.stdout.write(f"Pixel {pixel}: {_counted(total[pixel], 'event')}")
            for finding in findings:
                self.stdout.write(self._lines(finding))
        if not any(found.values()):
            self.stdout.write(self.style.SUCCESS("Nothing that Meta would complain about."))

    def _lines(self, finding: Finding) -> str:
        colour = {
            "error": self.style.ERROR,
            "warning": self.style.WARNING,
            "advice": self.style.NOTICE,
        }[finding.level]
        about = ", ".join(filter(None, [finding.event_name, finding.field]))
        where = f" ({about})" if about else ""
        count = _counted(finding.occurrences, "event")
        lines = [
            f"{colour(f'{finding.level:<8}')} {finding.code}{where}: {count}",
            finding.message,
            f"-> {finding.remedy}",
        ]
        if finding.event_ids:
            lines.append(f"such as {', '.join(finding.event_ids)}")
        return "\n         ".join(lines)

    def _judge(self, found: dict[str, list[Finding]], fail_on: str) -> None:
        levels = Counter(finding.level for findings in found.values() for finding in findings)
        failing = _FAILING[fail_on]
        if any(levels[level] for level in failing):
            told = (_counted(levels[level], level) for level in failing if levels[level])
            raise CommandError(f"{' and '.join(told)} to mend.", returncode=1)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _event(row: dict[str, Any], now: datetime) -> Any:
    try:
        event = json.loads(bytes(row["event"]))
        user_data = json.loads(bytes(row["user_data"]))
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    waits = row["state"] == State.PENDING
    received = now if waits else row["final_at"] or row["recorded_at"]
    # A final row holds nothing of the person any more, which is no fault of the event's.
    event["user_data"] = user_data if waits or user_data else None
    event["received_at"] = received.timestamp()
    return event


# The options


def _since(text: str) -> datetime:
    if match := _HOURS.fullmatch(text.strip()):
        hours = float(match[1]) * (24 if match[2] == "d" else 1)
        return timezone.now() - timedelta(hours=hours)
    try:
        day = parse_date(text.strip())
        moment = datetime.combine(day, time.min) if day else parse_datetime(text.strip())
        if moment is not None:
            return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    except (ValueError, OverflowError):
        pass
    raise CommandError(
        "--since has to be a number of hours (24), of days (7d), or an ISO date (2026-11-01).",
        returncode=_WRONG_USE,
    )


def _site_pks(wanted: str | None) -> list[int]:
    if wanted is None:
        return []
    sites = Site.objects.all()
    if wanted.isdecimal():
        found = sites.filter(pk=int(wanted[:18]))
    else:
        host, _colon, port = wanted.lower().partition(":")
        found = sites.filter(hostname__iexact=host)
        found = found.filter(port=int(port[:9])) if port.isdecimal() else found
    pks = list(found.values_list("pk", flat=True))
    if not pks:
        known = ", ".join(f"{site.hostname} ({site.pk})" for site in sites.order_by("pk")[:20])
        raise CommandError(
            f"--site: there is no such Wagtail site. There are: {known or 'none'}.",
            returncode=_WRONG_USE,
        )
    return pks


def _hosts_by_pixel() -> dict[str, set[str]]:
    hosts: dict[str, set[str]] = {}
    for site in site_settings.refresh().sites:
        for pixel in site.pixels:
            hosts.setdefault(pixel.pixel_id, set()).update(site.own_hosts)
    return hosts


def _ids_in(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            # Meta's own template of a product feed begins with lines of explanation.
            told = (line for line in lines if line.strip() and not line.startswith("#"))
            ids = {value.strip() for value in _values_of(told, path) if value.strip()}
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _unusable(path, "is not UTF-8 text") from None
    except csv.Error as error:
        raise _unusable(path, f"is no table ({error})") from None
    if not ids:
        raise _unusable(path, "holds no id")
    return ids


def _values_of(lines: Iterator[str], path: Path) -> Iterator[str]:
    first = next(lines, "")
    delimiter = next((mark for mark in "\t;," if mark in first), ",")
    names = [name.strip().strip('"').lower() for name in first.split(delimiter)]
    is_table = path.suffix.lower() in {".csv", ".tsv"} or "\t" in first or "id" in names
    if not is_table:
        yield first
        yield from lines
    elif "id" not in names:
        raise _unusable(path, "has no column named id")
    else:
        column = names.index("id")
        for row in csv.reader(lines, delimiter=delimiter):
            yield row[column] if len(row) > column else ""


def _unusable(path: Path, why: str) -> CommandError:
    return CommandError(f"--content-ids: {path} {why}.", returncode=_WRONG_USE)
