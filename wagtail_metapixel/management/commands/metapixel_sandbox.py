"""``manage.py metapixel_sandbox``: the local stand-in for Meta, with its live page."""

from __future__ import annotations

import errno
import signal
import time
from threading import Event
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from wagtail_metapixel.sandbox.misbehaviour import MODES
from wagtail_metapixel.sandbox.server import SandboxServer, is_loopback

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Run a local stand-in for Meta: it takes events, judges them as Meta would, shows them."
    # A site whose settings are not finished yet should be able to look at its events.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address (%(default)s)")
        parser.add_argument("--port", type=int, default=8001, help="the port (%(default)s)")
        parser.add_argument(
            "--pixel",
            action="append",
            default=[],
            help="a pixel id to know, with its --token; may be repeated. Without it, every pixel"
            " and every token is good",
        )
        parser.add_argument(
            "--token", action="append", default=[], help="the access token of the --pixel before"
        )
        parser.add_argument(
            "--app-secret",
            default="",
            help="demand the appsecret_proof made with this secret of an app",
        )
        parser.add_argument(
            "--strict",
            action="store_true",
            help="also refuse what Meta takes and only warns about, such as an event without"
            " event_id; the refusal says that Meta would accept it. For a shop's own tests",
        )
        parser.add_argument("--misbehave", choices=MODES, help="begin with this fault switched on")
        parser.add_argument("--event-id", default="", help="with --misbehave reject_id: the id")
        parser.add_argument(
            "--insecure-allow-production",
            action="store_true",
            help="run although DEBUG is off",
        )

    def handle(self, **options: Any) -> None:
        self._refuse_production(allowed=options["insecure_allow_production"])
        server = self._server(options)
        stop = Event()
        previous = signal.signal(signal.SIGTERM, lambda *_: stop.set())
        try:
            self._start(server)
            self._welcome(server)
            # A wait with a timeout lets Ctrl-C through on every platform.
            while not stop.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, previous)
            server.stop()
        self.stdout.write("\nSandbox stopped.")

    def _refuse_production(self, *, allowed: bool) -> None:
        if not settings.DEBUG and not allowed:
            raise CommandError(
                "DEBUG is off, so this looks like production, where no event should go to a"
                " sandbox. If you mean it, add --insecure-allow-production."
            )

    def _server(self, options: dict[str, Any]) -> SandboxServer:
        pixels, tokens = options["pixel"], options["token"]
        if len(pixels) != len(tokens):
            raise CommandError(
                "Give each --pixel its own --token, in the same order; with neither, the sandbox"
                " takes every pixel and token."
            )
        if not is_loopback(options["host"]):
            raise CommandError(
                "--host: the sandbox has no log-in, so it listens on loopback addresses only,"
                " such as 127.0.0.1."
            )
        server = SandboxServer(
            options["host"],
            options["port"],
            dict(zip(pixels, tokens, strict=True)) or None,
            strict=options["strict"],
            app_secret=options["app_secret"],
            on_event=self._print_event,
            on_rejection=self._print_rejection,
        )
        if options["event_id"] and options["misbehave"] != "reject_id":
            raise CommandError("--event-id goes with --misbehave reject_id.")
        if options["misbehave"] == "reject_id" and not options["event_id"]:
            raise CommandError("--misbehave reject_id needs the id: add --event-id ID.")
        if options["misbehave"]:
            try:
                server.misbehave(options["misbehave"], event_id=options["event_id"])
            except ValueError as error:
                raise CommandError(f"--misbehave: {error}") from None
        return server

    def _start(self, server: SandboxServer) -> None:
        try:
            server.start()
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise CommandError(
                    f"Port {server.port} is taken. Choose another one with --port."
                ) from None
            raise CommandError(f"Cannot listen on port {server.port}: {error}") from None

    def _welcome(self, sandbox: SandboxServer) -> None:
        self.stdout.write(f"Sandbox for Meta at {sandbox.url}/ (the live page).")
        if sandbox.strict:
            self.stdout.write("Strict mode: what Meta only warns about is refused.")
        if sandbox.misbehaviour is not None:
            self.stdout.write(f"It {MODES[sandbox.misbehaviour.mode]}, until you switch it off.")
        self.stdout.write("Quit with Ctrl-C.\n")

    def _print_event(self, record: dict[str, Any]) -> None:
        channels = " + ".join(channel for channel, count in record["counts"].items() if count)
        facts = [channels]
        if record["status"] == "deduplicated":
            facts.append(f"deduplicated, the {record['kept']} copy is kept")
        warnings = sum(found["level"] == "warning" for found in record["diagnostics"])
        if warnings:
            facts.append(f"{warnings} warning{'s'[: warnings > 1]}")
        self._print(f"{record['event_name'][:40]:<22} {'; '.join(facts)}")

    def _print_rejection(self, rejection: dict[str, Any]) -> None:
        error = rejection["error"]
        names = ", ".join(rejection["event_names"]) or "unreadable request"
        numbers = "/".join(str(error[key]) for key in ("code", "error_subcode") if key in error)
        text = error.get("error_user_msg") or error["message"]
        whose = " (only in strict mode)" if rejection["strict"] else ""
        self._print(f"{names:<22} refused {numbers}{whose}: {text}", self.style.ERROR)

    def _print(self, line: str, style: Any = str) -> None:
        # What was received may hold escape sequences, which a terminal would obey.
        safe = "".join(c if c.isprintable() else "?" for c in line[:300])
        self.stdout.write(f"{time.strftime('%H:%M:%S')}  {style(safe)}")
