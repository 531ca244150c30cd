"""``manage.py metapixel_purge``: delete what was kept long enough."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from wagtail_metapixel import conf, retention
from wagtail_metapixel.management.operator_command import OperatorCommand

_KINDS = {
    "personal_parts": "personal parts of events that cannot be sent again",
    "sent": "sent events",
    "unsent": "events that ended otherwise",
    "keys": "keys of what can happen only once",
    "tickets": "notes of which browser copy was handed out",
    "withdrawals": "withdrawals of consent",
    "withheld_orders": "notes of orders without an answer",
    "proofs": "proofs of consent",
    "visitor_records": "visitors kept with a cart or order",
    "counters": "daily counts",
}


class Command(OperatorCommand):
    """Prints how many rows of each kind went."""

    help = (
        "Delete what was kept for longer than the settings say: events that reached their end, "
        "keys, proofs, counts. An event that waits is never touched. Works in small pieces, so "
        "that nobody waits for it, and may be stopped at any time."
    )
    examples = """\
examples:
  manage.py metapixel_purge --dry-run    how much would go
  manage.py metapixel_purge              delete it

Whoever delivers does this by itself, once an hour. For how many days what is
kept, "RETENTION" in WAGTAIL_METAPIXEL says.
"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="count only, change nothing")

    def operate(self, using: str, options: Mapping[str, Any]) -> None:
        """Count or delete, and print what."""
        days = conf.retention()
        is_dry = options["dry_run"]
        counts = retention.overdue(using=using) if is_dry else retention.purge(using=using)
        if options["json"]:
            self.print_json({"dry_run": is_dry, "retention_days": days, "rows": counts})
            return
        for kind, count in counts.items():
            if count:
                self.stdout.write(f"{count:>9,}  {_KINDS[kind]}")
        if not any(counts.values()):
            self.stdout.write("Nothing was kept for too long.")
        elif is_dry:
            self.stdout.write("Nothing was changed: --dry-run only counts.")
