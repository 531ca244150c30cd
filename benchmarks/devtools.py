"""Chromium over a pipe, with nothing switched on that was not asked for.

Playwright watches every request of a page, and Chromium then notes for each where in the code it
was made: a cost of several milliseconds that no visitor has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Browser:
    """Commands of the DevTools protocol, one at a time."""

    def __init__(self, reading: int, writing: int) -> None:
        self.events: list[dict[str, Any]] = []
        """What came unasked, the oldest first."""
        self._reading, self._writing = os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)
        self._rest = b""
        self._number = 0

    def send(self, method: str, *, session: str = "", **params: Any) -> dict[str, Any]:
        """Return the answer to a command. Raises ``RuntimeError`` when it is refused."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._writing.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, method: str) -> list[dict[str, Any]]:
        """Return all that came unasked until an event of this name."""
        while not any(event["method"] == method for event in self.events):
            self.events.append(self._next())
        came, self.events = self.events, []
        return came

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = self._reading.read(1 << 20)
            if not part:
                raise RuntimeError("The browser has ended.")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def close(self) -> None:
        """Let go of the pipe; the browser ends with it."""
        self._reading.close()
        self._writing.close()


# The browser reads at 3 and writes at 4, whatever numbers the ends of the pipes have here. A shell
# would do, but Debian's knows no number above 9.
MOVED = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def launched(program: str, arguments: Sequence[str], profile: str) -> Iterator[Browser]:
    """Run Chromium without a window; ``profile`` is a folder for what it keeps."""
    (to_read, we_write), (we_read, to_write) = os.pipe(), os.pipe()
    ends = [str(to_read), str(to_write)]
    command = [program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", MOVED, *ends, *command, *arguments],
        pass_fds=(to_read, to_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    browser = Browser(we_read, we_write)
    try:
        yield browser
    finally:
        try:
            browser.send("Browser.close")
        except (OSError, RuntimeError):
            process.terminate()
        browser.close()
        process.wait(timeout=10)
