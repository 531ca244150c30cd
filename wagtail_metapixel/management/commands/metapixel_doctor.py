"""``manage.py metapixel_doctor``: is everything in place, and if not, what to do."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from wagtail_metapixel import counters, diagnostics, outbox
from wagtail_metapixel.diagnosis import Finding, Level


class Command(BaseCommand):
    """Prints one line a finding."""

    help = (
        "Examine the installation: settings, middleware, addresses, content security policy, "
        "database, each site's pixel, token and choices, whether Meta (or the sandbox) answers, and what waits. "
        "Each line says ok or what to do. Exit status 1 when there is a problem."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--offline", action="store_true", help="do not ask Meta, look at this machine only"
        )

    def check(self, *_args: Any, **_kwargs: Any) -> None:
        """Leave the system checks out: the doctor says itself what ours say.

        One setting that cannot be used would else keep it from saying anything.
        """

    def handle(self, *_args: Any, **options: Any) -> None:
        """Examine and print."""
        problems = 0
        counters.flush(using=outbox.alias())
        for finding in diagnostics.examine(network=not options["offline"]):
            self.stdout.write(self._line(finding))
            problems += finding.level is Level.PROBLEM
        if problems:
            plural = "" if problems == 1 else "s"
            raise CommandError(f"{problems} problem{plural} to mend.", returncode=1)
        self.stdout.write(self.style.SUCCESS("Everything is in place."))

    def _line(self, finding: Finding) -> str:
        colour = {
            Level.OK: self.style.SUCCESS,
            Level.NOTE: self.style.WARNING,
            Level.PROBLEM: self.style.ERROR,
        }[finding.level]
        line = f"{colour(f'{finding.level:<8}')} {finding.subject}: {finding.fact}"
        return f"{line}\n         -> {finding.advice}" if finding.advice else line
