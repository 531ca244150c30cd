#!/usr/bin/env python
"""The example shop, a local stand-in for Meta and a shopper who walks once; until Ctrl-C.

Nothing leaves this machine, and no account or key is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from walking import chromium, processes
from walking.apart import run_apart
from walking.internet import Internet
from walking.shopper import CLICK_ID, Shopper
from walking.verdict import judge, shortened

MEANINGS = {
    "browser": "waiting for the server's copy",
    "server": "waiting for the browser's copy",
    "deduplicated": "both are here: counted once",
}


def main():
    options = arguments()
    processes.end_politely()
    try:
        refuse_taken_ports(options)
        run(options)
    except KeyboardInterrupt:
        say("\nStopped. The shop keeps its database for the next time.")
        return 0
    except (PortTaken, processes.ShopFailed) as error:
        print(error, file=sys.stderr)
        return 1


class PortTaken(Exception):
    """Somebody else answers where the shop or the sandbox should. Says the way out."""


def arguments(argv=None):
    parser = argparse.ArgumentParser(
        prog="make demo", usage='make demo [ARGS="OPTION ..."]', description=__doc__
    )
    parser.add_argument(
        "--port",
        type=port,
        default=os.environ.get("EXAMPLE_PORT") or "8000",
        help="of the shop; also EXAMPLE_PORT",
    )
    parser.add_argument(
        "--sandbox-port",
        type=port,
        default=os.environ.get("EXAMPLE_SANDBOX_PORT") or "8001",
        help="of the stand-in for Meta; also EXAMPLE_SANDBOX_PORT",
    )
    parser.add_argument("--no-walk", action="store_true", help="leave the shop to yourself")
    return parser.parse_args(argv)


def port(text):
    """Read the number of a port; the system's own choice, 0, would not be known to the shop."""
    if not (text.isdecimal() and text.isascii() and 0 < int(text) < 65_536):
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


def refuse_taken_ports(options):
    """Raise :class:`PortTaken` with the way out."""
    if options.port == options.sandbox_port:
        raise PortTaken(
            f"Port {options.port} cannot be the shop's and the sandbox's: give one of them another,"
            " EXAMPLE_PORT or EXAMPLE_SANDBOX_PORT."
        )
    wanted = {"EXAMPLE_PORT": options.port, "EXAMPLE_SANDBOX_PORT": options.sandbox_port}
    taken = {name: port for name, port in wanted.items() if processes.is_taken(port)}
    if not taken:
        return
    ports = "\n".join(f"Port {port} of this machine is taken." for port in taken.values())
    chosen = {name: port for name, port in wanted.items() if name in os.environ}
    others = " ".join(f"{name}={port}" for name, port in (chosen | other_ports(taken)).items())
    raise PortTaken(
        f"{ports}\nIf an earlier demo is still running, end it with Ctrl-C. Or use another port:\n"
        f"    make demo {others}"
    )


def other_ports(taken):
    """A free port for each name, near the taken one."""
    free = {}
    for name, port in taken.items():
        candidates = [*range(port + 80, 65_536), *range(8080, port)]
        nearby = (each for each in candidates if each not in free.values())
        free[name] = next(each for each in nearby if not processes.is_taken(each))
    return free


def run(options):
    """Bring everything up, stay, and take everything down again."""
    with ExitStack() as stack:
        folder = stack.enter_context(processes.temporary_folder())
        sandbox = processes.sandbox_server(
            options.sandbox_port, on_event=show_event, on_rejection=show_rejection
        )
        shop = processes.Shop(
            port=options.port,
            database=os.environ.get("EXAMPLE_DB") or str(processes.EXAMPLE_SITE / "db.sqlite3"),
            sandbox=f"http://127.0.0.1:{options.sandbox_port}",
            log=folder / "shop.log",
        )
        say("Preparing the shop; the first time, that takes a while ...")
        shop.prepare()
        stack.enter_context(sandbox)
        stack.enter_context(shop)
        welcome(shop)
        if not options.no_walk:
            send_a_shopper(shop, sandbox)
        say("Now it is your turn. Ctrl-C ends the demo.\n")
        stay(shop)


def welcome(shop):
    say(f"""
  Shop           {shop.url}/
  Test events    {shop.sandbox}/
  Admin          {shop.url}/admin/   admin / admin
                 Use a private window for it: a browser that was in the admin counts as staff,
                 and what staff do in the shop is not reported.
  The shop's log {shop.log}

Nothing leaves this machine: the test events page is what Meta would have received.
""")


def stay(shop):
    while True:
        time.sleep(1)
        shop.check()


# The shopper


def send_a_shopper(shop, sandbox):
    """Let a shopper walk once, if there is a browser; say so if there is none."""
    say("A shopper walks through the shop once; each event as it arrives:\n")
    try:
        verdict = run_apart(partial(visit, shop, sandbox))
    except chromium.NoBrowser as error:
        say(f"{error}\nThe demo goes on without the shopper.\n")
    except chromium.Error as error:
        shop.check()
        say(f"\nThe shopper could not go on: {error}\n")
    else:
        say(f"\n{verdict if verdict.faults else verdict.last_line()}\n")


def visit(shop, sandbox, tell):
    """Walk, and judge what came of it; others may be in the shop at the same time."""
    with chromium.launched() as browser:
        context = browser.new_context()
        internet = Internet(context, sandbox, (shop.url, shop.bank, sandbox.url))
        shopper = Shopper(context, shop, sandbox, internet, tell=tell)
        shopper.walk()
        troubles = shopper.all_troubles()
        return judge(shopper.expected, shopper.events(), click_id=CLICK_ID, troubles=troubles)


# What the sandbox receives


def show_event(event):
    """Print one line for the copy of an event that has just come in."""
    copy = event["copies"][-1]
    cells = (
        datetime.now().astimezone().strftime("%H:%M:%S"),
        f"{copy['channel']:<7}",
        f"{event['event_name']:<20}",
        f"{event['event_id'][:8]:<8}",
        f"{shortened(urlsplit(copy['event_source_url']).path, 32):<32}",
        MEANINGS[event["status"]],
    )
    say("  " + "  ".join(cells))


def show_rejection(rejection):
    say(f"  Refused: {', '.join(rejection['event_names'])}: {rejection['error']['message']}")


def say(text):
    # In one piece: the sandbox's threads print too.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
