"""``manage.py metapixel_deliver``: the delivery driver of its own process."""

from __future__ import annotations

import argparse
import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, close_old_connections

from wagtail_metapixel import conf, counters, delivery, outbox
from wagtail_metapixel.delivery import Summary
from wagtail_metapixel.exceptions import ConfigurationError


class Command(BaseCommand):
    """Sends what waits in the outbox; any number may run, on any number of machines."""

    help = (
        "Send the events that wait in the outbox to Meta. Runs until it is told to stop "
        "(Ctrl-C or SIGTERM: the batch under way is finished). With --once it sends what is due "
        "and ends: exit status 0 when nothing due is left, 1 when something could not be sent."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="send what is due, then end")
        parser.add_argument(
            "--pixel", action="append", default=[], metavar="ID", help="only this pixel; repeatable"
        )
        parser.add_argument(
            "--batch", type=int, default=1000, metavar="N", help="events a request, 1 to 1000"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Send until done or stopped."""
        if not 1 <= options["batch"] <= 1000:
            raise CommandError("--batch has to be a number from 1 to 1000.")
        try:
            conf.graph_url(), conf.graph_version()
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        if options["once"]:
            self._once(options)
        else:
            self._forever(options)

    def _once(self, options: dict[str, Any]) -> None:
        total = Summary()
        counters.flush(using=outbox.alias())
        while True:
            summary = self._batch(options)
            _add(total, summary)
            if summary.claimed <= summary.released:
                break
        self.stdout.write(_line(total))
        if total.messages:
            raise CommandError(
                "Not everything could be sent; see the messages above.", returncode=1
            )

    def _forever(self, options: dict[str, Any]) -> None:
        stop = threading.Event()

        def asked_to_stop(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, asked_to_stop)
        self.stdout.write("Waiting for events. Ctrl-C ends.")
        while not stop.is_set():
            summary = self._patiently(options)
            if summary.claimed:
                self.stdout.write(_line(summary))
            if summary.claimed <= summary.released:
                close_old_connections()
                stop.wait(conf.seconds("POLL_INTERVAL"))
        self.stdout.write("Stopped; nothing is held.")

    def _patiently(self, options: dict[str, Any]) -> Summary:
        try:
            counters.flush(using=outbox.alias())
            return self._batch(options)
        except Error as error:
            self.stderr.write(f"The database does not answer ({type(error).__name__}); trying on.")
            return Summary()

    def _batch(self, options: dict[str, Any]) -> Summary:
        summary = delivery.deliver_due(only=options["pixel"], limit=options["batch"])
        for message in summary.messages:
            self.stderr.write(message)
        return summary


def _add(total: Summary, summary: Summary) -> None:
    total.claimed += summary.claimed
    total.released += summary.released
    total.requests += summary.requests
    total.messages += summary.messages
    for state, count in summary.by_state.items():
        total.by_state[state] += count


def _line(summary: Summary) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(summary.by_state.items()))
    requests = "1 request" if summary.requests == 1 else f"{summary.requests} requests"
    waiting = f"; {summary.released} wait for another time" if summary.released else ""
    return f"{requests}: {states or 'nothing sent'}{waiting}"
