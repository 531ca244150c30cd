"""The shop and the sandbox, as the demo, the walk and the browser tests run them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

EXAMPLE_SITE = Path(__file__).resolve().parents[1]
PIXELS = {"1234567890123456": "SANDBOX-TOKEN-1234567890"}

SECONDS_TO_START = 60
SECONDS_TO_STOP = 5
LAST_LINES = 25


class ShopFailed(Exception):
    """The shop could not be prepared or started, or ended by itself. Says what it said last."""


# Ports


def is_taken(port):
    """Tell whether somebody answers, or nobody else may answer, at this port of this machine."""
    # The payment page is at "localhost", which browsers look for at ::1 first.
    if any(_answers(host, port) for host in ("127.0.0.1", "::1")):
        return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _answers(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port():
    """Return a port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# The sandbox


def sandbox_server(port=0, **options):
    """Return the stand-in for Meta, knowing the demo's pixel and token; not started yet."""
    # A checkout in which the package is not installed will do; see manage.py.
    sys.path.append(str(EXAMPLE_SITE.parent))
    from wagtail_metapixel.sandbox.server import SandboxServer  # noqa: PLC0415

    return SandboxServer(port=port, pixels=PIXELS, **options)


# The shop


@dataclass
class Shop:
    """The example shop as a process of its own, on ``127.0.0.1`` and, for the bank, ``localhost``.

    ``database`` is the path of a SQLite file or a ``postgres://`` address, ``log`` the file for
    what the process writes, ``options`` more of the environment that the settings read.
    """

    port: int
    database: str
    sandbox: str
    log: Path
    options: dict[str, str] = field(default_factory=dict)
    webhook_secret: str = field(default_factory=secrets.token_hex)
    _process: subprocess.Popen | None = None

    @property
    def url(self):
        """``http://127.0.0.1:<port>``, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bank(self):
        """The payment page's address: the same process under another host name."""
        return f"http://localhost:{self.port}"

    def prepare(self):
        """Make the tables and fill the shelves; what is there already is kept."""
        for command in (["migrate", "--verbosity", "0"], ["fill_shop"]):
            self.run([sys.executable, "manage.py", *command])

    def start(self):
        """Serve, and return when the first page was answered. Raises :class:`ShopFailed`."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "walking.serve", str(self.port)],
                cwd=EXAMPLE_SITE,
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for whoever started us; they then end this process.
                start_new_session=True,
            )
        try:
            self._wait_for_first_page()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End the process: politely, then not. Does nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.stdin.close()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def check(self):
        """Raise :class:`ShopFailed` if the process has ended."""
        status = self._process.poll() if self._process else None
        if status is not None:
            raise ShopFailed(f"The shop ended with status {status}:\n{self.last_lines()}")

    def last_lines(self):
        """What the process wrote last."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-LAST_LINES:])

    def environment(self):
        """The environment of the shop's processes: ours, but for what would change the shop."""
        ours = ("EXAMPLE_", "METAPIXEL_", "DJANGO_SETTINGS_MODULE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return kept | {
            "PYTHONUNBUFFERED": "1",
            "EXAMPLE_DB": self.database,
            "EXAMPLE_SHOP": self.url,
            "EXAMPLE_PAYMENT": self.bank,
            "EXAMPLE_SANDBOX": self.sandbox,
            "EXAMPLE_WEBHOOK_SECRET": self.webhook_secret,
            **self.options,
        }

    def run(self, command):
        """Run a command in the shop's environment. Raises :class:`ShopFailed` with what it said."""
        done = subprocess.run(
            command,
            check=False,
            cwd=EXAMPLE_SITE,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            said = "\n".join(done.stdout.splitlines()[-LAST_LINES:])
            raise ShopFailed(f"{' '.join(command[1:])} ended with {done.returncode}:\n{said}")

    def _wait_for_first_page(self):
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            self.check()
            if self._is_up():
                return
            time.sleep(0.1)
        raise ShopFailed(f"The shop did not answer in {SECONDS_TO_START} s:\n{self.last_lines()}")

    def _is_up(self):
        try:
            with urllib.request.urlopen(self.url, timeout=SECONDS_TO_START):
                return True
        except urllib.error.HTTPError as error:
            page = error.read().decode(errors="replace")
            raise ShopFailed(f"The shop's first page failed:\n{page[:2000]}") from None
        except OSError:
            return False


@contextmanager
def temporary_folder():
    """A folder for a fresh database and a log, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="metapixel-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_politely():
    """Let SIGTERM and Ctrl-C both raise ``KeyboardInterrupt``, so that everything is tidied up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not the default of Ctrl-C: in the background of a shell script it is ignored.
        signal.signal(number, signal.default_int_handler)
