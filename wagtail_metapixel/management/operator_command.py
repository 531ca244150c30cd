"""What the commands of an operator share: options, help, and errors that say what to do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.db import Error, connections

from wagtail_metapixel import outbox
from wagtail_metapixel.exceptions import ConfigurationError

WRONG_USE = 2


class _HelpFormatter(DjangoHelpFormatter):
    """Our options first, as everywhere in Django, and the examples as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class OperatorCommand(BaseCommand):
    """A command that looks into the outbox, for people or, with ``--json``, for programs."""

    examples = ""
    """What stands below the help: example lines, and what else is to be known."""
    # What waits has to be seen on a site whose settings are not in order, above all there.
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.formatter_class = _HelpFormatter
        parser.epilog = self.examples
        self.add_options(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument("--using", metavar="ALIAS", help="the database; default: the outbox's")

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare what only this command has."""

    def handle(self, *_args: Any, **options: Any) -> None:
        """Find the database and do the work; errors become a sentence."""
        using = options["using"] or outbox.alias()
        if using not in connections:
            known = ", ".join(connections)
            raise CommandError(f"--using has to be one of: {known}.", returncode=WRONG_USE)
        try:
            self.operate(using, options)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=WRONG_USE) from None
        except Error as error:
            raise CommandError(
                f"The outbox cannot be read ({type(error).__name__}). Is the database there, and "
                "migrated? Try: manage.py metapixel_doctor --offline"
            ) from None

    def operate(self, using: str, options: Mapping[str, Any]) -> None:
        """Do the work on the database ``using``."""
        raise NotImplementedError

    def print_json(self, document: Mapping[str, Any]) -> None:
        """Print ``document``, times as ISO 8601 in UTC."""
        self.stdout.write(json.dumps(document, indent=2, default=_plain))


def pixel_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--pixel``."""
    parser.add_argument(
        "--pixel", action="append", default=[], metavar="ID", help="only this pixel; repeatable"
    )


def counted(count: int, noun: str) -> str:
    """Return ``"1,204 events"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(value: datetime | None) -> str:
    """Return a time for people, in UTC like the lines that a row keeps of its tries."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else "none"


def shown(text: str) -> str:
    """Return ``text`` without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return str(value)
