"""Ctrl-C raises in the main thread, wherever that is: hence the browser is led from another one.

In the middle of one of Playwright's own messages it would leave a conversation that cannot be
ended properly.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor


class GoneHome(Exception):
    """The walk was broken off between two steps, because nobody waits for it any more."""


def run_apart(walk):
    """Return ``walk(tell)``, run in a thread that ends soon after this one was interrupted.

    ``tell`` is to be called with each step, in words; it raises :class:`GoneHome` then.
    """
    leaving = threading.Event()

    def tell(_step):
        if leaving.is_set():
            raise GoneHome

    with ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(walk, tell)
        try:
            return future.result()
        except KeyboardInterrupt:
            leaving.set()
            raise
