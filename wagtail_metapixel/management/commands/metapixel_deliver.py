"""``manage.py metapixel_deliver``: the delivery driver of its own process."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, close_old_connections

from wagtail_metapixel import conf, delivery, keys, outbox
from wagtail_metapixel.delivery import Summary
from wagtail_metapixel.drivers import draining
from wagtail_metapixel.drivers.housekeeping import Housekeeping
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.management.progress import Progress, line
from wagtail_metapixel.models import State

NOT_SENT, USAGE, KEPT_BACK = 1, 2, 3
"""Exit statuses beside 0."""
REFUSED = (State.REJECTED, State.EXPIRED, State.DEAD)
"""Final states in which Meta never learns of the event although it was to."""

EXIT_STATUSES = """
exit status:
  0  --once: all that was due has left, or the time of --max-seconds was up; --watch: stopped
  1  something was refused, or could not be sent now; the messages say what
  2  wrong option, or a setting that cannot be used
  3  nothing went wrong, but events are kept back: those of a copied database,
     which are held, those of a paused pixel, or of one that is switched off

SIGTERM and Ctrl-C: the request under way is finished, the rest of the batch given back.
A second one ends at once; what was leased is taken up again after a minute.
"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be sent, and until when."""

    using: str
    only: list[str]
    batch: int
    stopping: Callable[[], bool]


class Command(BaseCommand):
    """Sends what waits in the outbox; any number may run, on any number of machines."""

    help = "Send the events that wait in the outbox to Meta."
    # What cannot be used ends with its own status, and what waits leaves whatever else is wrong.
    requires_system_checks = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._housekeeping = Housekeeping()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Show the exit statuses as they stand."""
        kwargs |= {
            "epilog": EXIT_STATUSES,
            "formatter_class": argparse.RawDescriptionHelpFormatter,
        }
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--once", action="store_true", help="send what is due, then end")
        mode.add_argument(
            "--watch", action="store_true", help="go on until told to stop (the default)"
        )
        parser.add_argument(
            "--max-seconds",
            type=float,
            metavar="N",
            help="end after about N seconds, so that runs from cron do not overlap",
        )
        parser.add_argument(
            "--pixel", action="append", default=[], metavar="ID", help="only this pixel; repeatable"
        )
        parser.add_argument(
            "--batch", type=int, default=1000, metavar="N", help="events a request, 1 to 1000"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Send until done or stopped."""
        if not 1 <= options["batch"] <= 1000:
            raise CommandError("--batch has to be a number from 1 to 1000.", returncode=USAGE)
        seconds = options["max_seconds"]
        if seconds is not None and not seconds > 0:
            raise CommandError("--max-seconds has to be a number above 0.", returncode=USAGE)
        try:
            conf.graph_url(), conf.graph_version(), conf.driver(), keys.encrypt(b"")
            conf.seconds("POLL_INTERVAL"), conf.seconds("REQUEST_TIMEOUT")
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        stop = threading.Event()
        is_late = draining.until(seconds) if seconds else draining.never
        using = outbox.alias()
        _check_pixels(options["pixel"], using)
        work = Work(
            using=using,
            only=options["pixel"],
            batch=options["batch"],
            stopping=lambda: stop.is_set() or is_late(),
        )
        progress = Progress(self.stdout, using=work.using, only=work.only)
        with _stopped_by_signals(stop):
            (self._once if options["once"] else self._watch)(work, progress, stop)

    # Once

    def _once(self, work: Work, progress: Progress, _stop: threading.Event) -> None:
        try:
            self._housekeeping.run(using=work.using, stopping=work.stopping)
            total = draining.drain(
                using=work.using,
                stopping=work.stopping,
                only=work.only,
                limit=work.batch,
                after_batch=lambda summary: self._after_batch(summary, progress),
            )
            progress.end()
            self.stdout.write(line(total))
            self._housekeeping.run(using=work.using)
            self._end_with_status(total, work)
        except Error as error:
            raise _away(error) from None

    def _after_batch(self, summary: Summary, progress: Progress) -> None:
        if progress.is_live:
            progress.batch(summary)
        self._complain(summary, progress)

    def _end_with_status(self, total: Summary, work: Work) -> None:
        refused = [f"{total.by_state[s]} {s}" for s in REFUSED if total.by_state.get(s)]
        if total.messages or refused:
            what = f" ({', '.join(refused)})" if refused else ""
            raise CommandError(f"Not everything could be sent{what}.", returncode=NOT_SENT)
        found = draining.hindrances(using=work.using, only=work.only)
        found += [draining.Hindrance(pixel, reason) for pixel, reason in total.closed.items()]
        if found:
            raise CommandError("\n".join(map(_told, found)), returncode=KEPT_BACK)
        if work.stopping():
            self.stdout.write("Told to stop before all was sent, or out of time; the rest waits.")

    # Until it is told to stop

    def _watch(self, work: Work, progress: Progress, stop: threading.Event) -> None:
        self.stdout.write("Waiting for events. Ctrl-C ends.")
        told: list[str] = []
        while not work.stopping():
            summary = self._patiently(work, progress)
            if summary.claimed <= summary.released:
                told = self._tell_hindrances(work, progress, told)
                close_old_connections()
                stop.wait(conf.seconds("POLL_INTERVAL"))
        progress.end()
        self.stdout.write("Stopped; nothing is held.")

    def _patiently(self, work: Work, progress: Progress) -> Summary:
        try:
            self._housekeeping.run(using=work.using, stopping=work.stopping)
            summary = delivery.deliver_due(
                using=work.using, only=work.only, limit=work.batch, stopping=work.stopping
            )
            progress.batch(summary)
        except Error as error:
            progress.end()
            self.stderr.write(f"The database does not answer ({type(error).__name__}); trying on.")
            return Summary()
        self._complain(summary, progress)
        return summary

    def _tell_hindrances(self, work: Work, progress: Progress, told: list[str]) -> list[str]:
        """Say why nothing moves, when it is another reason than the last time."""
        try:
            found = draining.hindrances(using=work.using, only=work.only)
        except Error:
            return told
        texts = [f"{each.pixel_id}{each.reason}" for each in found]
        for each, text in zip(found, texts, strict=True):
            if text not in told:
                progress.end()
                self.stderr.write(_told(each))
        return texts

    def _complain(self, summary: Summary, progress: Progress) -> None:
        if summary.messages:
            progress.end()
        for message in summary.messages:
            self.stderr.write(message)


def _check_pixels(pixel_ids: Sequence[str], using: str) -> None:
    try:
        unknown = [each for each in pixel_ids if not draining.is_known(each, using=using)]
    except Error as error:
        raise _away(error) from None
    if unknown:
        text = f"--pixel: no settings and no events know a pixel {unknown[0]}."
        raise CommandError(text, returncode=USAGE)


def _away(error: Error) -> CommandError:
    text = f"The database does not answer ({type(error).__name__})."
    return CommandError(text, returncode=NOT_SENT)


def _told(hindrance: draining.Hindrance) -> str:
    if not hindrance.pixel_id:
        return f"Events are held back. {hindrance.reason}"
    if not hindrance.until:
        return f"{hindrance.pixel_id}: events wait: {hindrance.reason}"
    until = f"{hindrance.until:%Y-%m-%d %H:%M:%S %Z}"
    return f"{hindrance.pixel_id}: paused until {until}: {hindrance.reason}"


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C set ``stop``, and a second one end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # called by somebody's scheduler: signals are not ours there
        return

    def asked_to_stop(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, asked_to_stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
