"""``manage.py metapixel_sandbox``."""

from __future__ import annotations

import os
import re
import signal
import time
from io import StringIO
from threading import Thread

import pytest
import requests
from django.core.management import CommandError, call_command

from tests.sandbox.conftest import wait_for
from tests.sandbox.samples import PIXEL, TOKEN, a_hit, an_event
from wagtail_metapixel.management.commands.metapixel_sandbox import Command
from wagtail_metapixel.sandbox.server import SandboxServer


@pytest.fixture(autouse=True)
def _in_development(settings):
    settings.DEBUG = True


def run(visit, *arguments, end=signal.SIGINT):
    """Run the command, let ``visit(address)`` happen, end it; returns what it printed."""
    stdout = StringIO()
    failures = []

    def meanwhile():
        try:
            found = wait_for(lambda: re.search(r"http://\S+:\d+", stdout.getvalue()))
            wait_for(lambda: "Ctrl-C" in stdout.getvalue())
            visit(found[0])
        except BaseException as error:  # noqa: BLE001  # raised again below, in the test's thread
            failures.append(error)
        time.sleep(0.02)
        os.kill(os.getpid(), end)

    thread = Thread(target=meanwhile)
    thread.start()
    call_command(Command(), *arguments, "--port", "0", stdout=stdout, no_color=True)
    thread.join()
    assert failures == []
    return stdout.getvalue()


def post(address, token=TOKEN, **changes):
    event = an_event(**({"event_time": int(time.time())} | changes))
    return requests.post(
        f"{address}/v26.0/{PIXEL}/events", json={"data": [event], "access_token": token}
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_ends_cleanly(end):
    printed = run(lambda address: requests.get(address).raise_for_status(), end=end)
    assert printed.startswith("Sandbox for Meta at http://127.0.0.1:")
    assert printed.endswith("\nSandbox stopped.\n")


def test_it_prints_a_line_for_each_copy():
    def visit(address):
        requests.get(f"{address}/tr/", params=a_hit(ts=str(int(time.time() * 1000))))
        post(address)

    lines = run(visit).splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  Contact +browser", lines[2])
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  Contact +browser \+ server; deduplicated, the browser copy is kept",
        lines[3],
    )


def test_it_prints_a_line_for_each_refusal():
    printed = run(lambda address: post(address, event_name="Purchase"))
    assert re.search(r"Purchase +refused 100/2804009: A Purchase event needs a value", printed)


def test_it_prints_no_escape_sequence_that_was_received():
    printed = run(
        lambda address: requests.get(f"{address}/tr/", params=a_hit(ev="\x1b[31mred\r\n"))
    )
    assert "?[31mred??" in printed
    assert "\x1b" not in printed


def test_it_knows_the_pixels_it_is_told():
    def visit(address):
        assert post(address).status_code == 200
        assert post(address, token="wrong").status_code == 401

    run(visit, "--pixel", PIXEL, "--token", TOKEN)


def test_it_can_be_strict():
    def visit(address):
        assert post(address, event_id=None).status_code == 400
        assert post(address).status_code == 200

    printed = run(visit, "--strict")
    assert "Strict mode: what Meta only warns about is refused." in printed
    assert re.search(r"refused 100/2804019 \(only in strict mode\): No event_id", printed)


def test_it_is_not_strict_by_itself():
    def visit(address):
        assert post(address, event_id=None).status_code == 200

    assert "Strict" not in run(visit)


def test_it_can_demand_the_proof_of_an_app_secret():
    def visit(address):
        assert post(address).json()["error"]["code"] == 104

    printed = run(visit, "--app-secret", "app-secret")
    assert "refused 104" in printed
    assert "app-secret" not in printed


def test_it_can_begin_with_a_fault():
    def visit(address):
        assert post(address).status_code == 500

    assert "It answers 500, until you switch it off." in run(visit, "--misbehave", "500")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "loopback"),
        (["--pixel", PIXEL], "own --token"),
        (["--misbehave", "reject_id"], "add --event-id ID"),
        (["--event-id", "1"], "goes with --misbehave reject_id"),
        (["--misbehave", "explode"], "invalid choice"),
        (["--port", "99999999"], "Cannot listen on port 99999999"),
    ],
)
def test_what_cannot_work_is_said_plainly(arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command(Command(), *arguments)


def test_a_taken_port_names_the_way_out():
    with SandboxServer() as other, pytest.raises(CommandError, match=r"taken.*--port"):
        call_command(Command(), "--port", str(other.port))


def test_it_refuses_production_unless_told(settings):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="--insecure-allow-production"):
        call_command(Command(), "--port", "0")
    printed = run(lambda address: None, "--insecure-allow-production")
    assert "Sandbox stopped." in printed
