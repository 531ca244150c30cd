#!/usr/bin/env python
"""A shopper walks through the shop in Chromium; then it is counted what Meta would have heard.

Ends with 0 only if every event arrived from the browser and from the server, once each and equal,
and nothing else did. Shop, bank and sandbox run on free ports of this machine, with a database of
their own; nothing leaves it.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from walking import chromium, processes
from walking.apart import run_apart
from walking.internet import Internet
from walking.shopper import CLICK_ID, Shopper
from walking.verdict import judge

META_HOSTS = {"EXAMPLE_META_HOSTS": "1"}


def main():
    options = arguments()
    processes.end_politely()
    started = time.monotonic()
    try:
        verdict = walk(options)
    except (chromium.NoBrowser, processes.ShopFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nThe walk was interrupted.")
        return 130
    print(f"\n{verdict}\n{time.monotonic() - started:.0f} seconds.")
    return 0 if verdict else 1


def arguments():
    parser = argparse.ArgumentParser(
        prog="make walk", usage='make walk [ARGS="OPTION ..."]', description=__doc__
    )
    parser.add_argument("--headed", action="store_true", help="show the browser's window")
    parser.add_argument("--slow", action="store_true", help="take time, to watch it")
    parser.add_argument(
        "--screenshots", type=Path, metavar="DIR", help="keep a picture of every page"
    )
    return parser.parse_args()


def walk(options):
    """Run shop, sandbox and shopper, and return the verdict."""
    chromium.find()  # before the shop is prepared, which takes a while
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    with processes.temporary_folder() as folder, processes.sandbox_server() as sandbox:
        shop = processes.Shop(
            port=processes.free_port(),
            database=str(folder / "db.sqlite3"),
            sandbox=sandbox.url,
            log=folder / "shop.log",
            options=META_HOSTS,
        )
        print("Preparing a fresh shop ...", flush=True)
        shop.prepare()
        with shop:
            return run_apart(partial(walk_through, shop, sandbox, options))


def walk_through(shop, sandbox, options, go_on):
    slow = 400 if options.slow else 0
    with chromium.launched(headed=options.headed, slow=slow) as browser:
        context = browser.new_context()
        internet = Internet(context, sandbox, (shop.url, shop.bank))

        def tell(step):
            go_on(step)
            say(step)

        shopper = Shopper(
            context, shop, sandbox, internet, tell=tell, screenshots=options.screenshots
        )
        stopped = walk_or_stop(shopper, shop)
        return judge(
            shopper.expected,
            sandbox.events(),
            click_id=CLICK_ID,
            refused=sandbox.rejections(),
            troubles=[*stopped, *shopper.all_troubles()],
        )


def walk_or_stop(shopper, shop):
    """Walk to the end, or as far as it goes. Returns why it did not go on, as sentences."""
    try:
        shopper.walk()
    except chromium.Error as error:
        shop.check()
        return [f"the shopper could not go on at {shopper.page.url}: {error}"]
    return []


def say(text):
    print(f"  The shopper {text}." if text[0] != "(" else f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
