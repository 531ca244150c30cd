"""The browser: the Chromium that is on this machine. Nothing is ever downloaded."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

try:
    from playwright.sync_api import Error, sync_playwright
except ImportError:  # the demo goes on without a shopper
    sync_playwright = None
    Error = RuntimeError

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

HOW_TO_INSTALL = """\
No Chromium was found on this machine. Install one:
    apt-get install chromium            Debian, Ubuntu
    dnf install chromium                Fedora
    brew install --cask chromium        macOS
    playwright install chromium         Playwright's own, if you prefer that
or name the one you have: METAPIXEL_CHROMIUM=/path/to/chromium"""
NO_PLAYWRIGHT = "Playwright is missing: pip install playwright"

ARGUMENTS = (
    # Chromium itself asks nobody for anything, and could find nobody if it did.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


class NoBrowser(Exception):
    """There is no browser to walk with. Says what to install."""


def find():
    """Return the path of Chromium. Raises :class:`NoBrowser`."""
    given = os.environ.get("METAPIXEL_CHROMIUM")
    if given and not shutil.which(given):
        raise NoBrowser(f"METAPIXEL_CHROMIUM is {given}, and there is no program of that name.")
    on_path = next(filter(None, map(shutil.which, NAMES)), None)
    in_place = next((place for place in PLACES if Path(place).exists()), None)
    found = given or on_path or in_place or _playwrights_own()
    if not found:
        raise NoBrowser(HOW_TO_INSTALL)
    return found


def _playwrights_own():
    """The Chromium of an earlier ``playwright install``."""
    if sync_playwright is None:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


@contextmanager
def launched(*, headed=False, slow=0):
    """Run Chromium; ``slow`` are milliseconds between its actions. Raises :class:`NoBrowser`."""
    if sync_playwright is None:
        raise NoBrowser(NO_PLAYWRIGHT)
    path = find()
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if _is_root() else [])]
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path,
                headless=not headed,
                slow_mo=slow,
                args=arguments,
                # Ctrl-C and SIGTERM are ours to handle; Playwright would close the browser first.
                handle_sigint=False,
                handle_sigterm=False,
            )
        except Error as error:
            raise NoBrowser(f"{path} does not start:\n{error}") from None
        try:
            yield browser
        finally:
            browser.close()


def _is_root():
    """Chromium's own sandbox refuses to work for root, as in most containers."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
