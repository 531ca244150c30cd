"""``manage.py metapixel_doctor``: is everything in place, and if not, what to do."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from wagtail_metapixel import counters, diagnostics, outbox
from wagtail_metapixel.diagnostics import Finding, Level
from wagtail_metapixel.exceptions import ConfigurationError


class Command(BaseCommand):
    """Prints one line a finding."""

    help = (
        "Examine the installation: settings, middleware, addresses, database, each site's pixel, "
        "token and consent choice, whether Meta (or the sandbox) answers, and what waits. "
        "Each line says ok or what to do. Exit status 1 when there is a problem."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--offline", action="store_true", help="do not ask Meta, look at this machine only"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Examine and print."""
        counters.flush(using=outbox.alias())
        try:
            findings = list(diagnostics.examine(network=not options["offline"]))
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        for finding in findings:
            self.stdout.write(self._line(finding))
        problems = sum(finding.level is Level.PROBLEM for finding in findings)
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
