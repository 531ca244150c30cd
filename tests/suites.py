"""Runs the test suites one after another.

``make test`` runs them all, ``make test SUITES="lint unit"`` only some. A suite that cannot run
on this machine says why and what to install; with METAPIXEL_TEST_ALL=1 it counts as failed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests import throwaway_postgres
from tests.celery import broker
from tests.nginx import server as nginx

ROOT = Path(__file__).resolve().parents[1]
PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"

PYTEST = (sys.executable, "-m", "pytest", "-q", "--tb=short", "-rs")
UNIT = (*PYTEST, "--numprocesses=auto")
"""For the suites whose tests need neither a port nor a browser of their own."""
OF_A_ROW = ("-m", "not (browser or packaging or postgres or nginx or processes)")
"""What is tested with the versions of another row, too."""
BY_FILE = ("--numprocesses=2", "--dist=loadfile")
"""For tests that share a server by module: two browsers are no trouble, and take half the time."""
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
OLDEST_NODE = 20
WAGTAIL_CACHE_ROW = "py311-django52-wagtail74"
WAGTAIL_CACHE_TESTS = "tests/browser/test_wagtail_cache.py"
TIDYING_SECONDS = 10  # less than suicide_timeout in tox.ini

Command = Sequence[str]
Variables = dict[str, str]


def nothing_missing() -> str:
    return ""


@contextlib.contextmanager
def as_it_is() -> Iterator[Variables]:
    yield {}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Commands that all have to succeed."""

    name: str
    about: str
    commands: Sequence[Command]
    missing: Callable[[], str] = nothing_missing
    """Says what this machine lacks and how to get it; ``""`` when the suite can run."""
    around: Callable[[], AbstractContextManager[Variables]] = as_it_is
    """Holds what the commands need while they run; gives variables for their environment."""


@dataclass(frozen=True, kw_only=True)
class Result:
    suite: str
    outcome: str
    seconds: float = 0.0
    reason: str = ""


# What a suite needs of the machine


def node_missing() -> str:
    node = shutil.which("node")
    answer = output_of(node, "--version") if node else ""
    if answer.startswith("v") and int(answer[1:].split(".")[0]) >= OLDEST_NODE:
        return ""
    return f"needs Node {OLDEST_NODE} or newer ({answer or 'none found'}): apt-get install nodejs"


def chromium() -> str:
    """Return the path of the browser; METAPIXEL_CHROMIUM goes first."""
    found = filter(None, map(shutil.which, CHROMIUMS))
    return os.environ.get("METAPIXEL_CHROMIUM") or next(found, "")


def chromium_missing() -> str:
    return "" if chromium() else "needs Chromium: apt-get install chromium"


def postgres_missing() -> str:
    if os.environ.get("METAPIXEL_POSTGRES_URL") or throwaway_postgres.programs():
        return ""
    return "needs PostgreSQL: apt-get install postgresql, or set METAPIXEL_POSTGRES_URL"


def own_postgres_missing() -> str:
    """Like :func:`postgres_missing`, for those who stop and start it."""
    return "" if throwaway_postgres.programs() else "needs PostgreSQL: apt-get install postgresql"


def interpreter_missing(version: str) -> str:
    """Ask it to run: pyenv leaves a shim on the PATH for versions that are not switched on."""
    if output_of(f"python{version}", "-c", "import sys; print(sys.version)").startswith(version):
        return ""
    return f"needs Python {version}: install it; with pyenv, list it in PYENV_VERSION too"


def output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# What stands around a suite while it runs


@contextlib.contextmanager
def example_site() -> Iterator[Variables]:
    yield {"PYTHONPATH": str(ROOT / "example_site")}


@contextlib.contextmanager
def browser() -> Iterator[Variables]:
    yield {"METAPIXEL_CHROMIUM": chromium()}


@contextlib.contextmanager
def postgres() -> Iterator[Variables]:
    given = os.environ.get("METAPIXEL_POSTGRES_URL")
    if given:
        yield {"METAPIXEL_TEST_DATABASE": given}
        return
    programs = throwaway_postgres.programs()
    assert programs, "asked before"
    with throwaway_postgres.running(programs) as url:
        yield {"METAPIXEL_TEST_DATABASE": url}


# The suites


def all_suites() -> list[Suite]:
    ruff = (sys.executable, "-m", "ruff")
    return [
        Suite(
            name="lint",
            about="ruff: rules and format",
            commands=[(*ruff, "check"), (*ruff, "format", "--check")],
        ),
        Suite(
            name="types",
            about="mypy, strict",
            commands=[(sys.executable, "-m", "mypy")],
        ),
        Suite(
            name="js",
            about="the browser's files in Node, without a browser",
            commands=[("node", "--test", *javascript_tests())],
            missing=node_missing,
        ),
        Suite(name="unit", about="everything that needs nothing, on SQLite", commands=[UNIT]),
        Suite(
            name="example",
            about="the example shop, with its own settings",
            commands=[(*PYTEST, "--ds=config.settings", "tests/example")],
            around=example_site,
        ),
        Suite(
            name="wheel",
            about="the wheel in a fresh environment, and the README's blocks typed into a fresh project",
            commands=[(*PYTEST, "-m", "packaging")],
        ),
        Suite(
            name="postgres",
            about="the unit suite and what only PostgreSQL can do, on PostgreSQL",
            commands=[(*UNIT, "-m", "not (browser or packaging or nginx)")],
            missing=postgres_missing,
            around=postgres,
        ),
        Suite(
            name="faults",
            about="kills, restarts, full disks: what they lose, double or break, on both databases",
            commands=[(sys.executable, "-m", "tests.faults")],
            missing=own_postgres_missing,
        ),
        Suite(
            name="browser",
            about="a real Chromium on a real site",
            # Two commands: each of these folders has a Playwright of its own.
            commands=[
                (*PYTEST, *BY_FILE, "-m", "browser", "tests/browser"),
                (*PYTEST, *BY_FILE, "-m", "browser", "tests/sandbox"),
            ],
            missing=chromium_missing,
            around=browser,
        ),
        Suite(
            name="nginx",
            about="what has to pass through a real nginx",
            commands=[(*PYTEST, "-m", "nginx", "tests/nginx")],
            missing=nginx.missing,
        ),
        Suite(
            name="celery",
            about="delivery by real workers of Celery on a real Redis and PostgreSQL",
            commands=[(*PYTEST, "tests/celery")],
            missing=lambda: broker.missing() or postgres_missing(),
            around=postgres,
        ),
        Suite(
            name="wagtail-cache",
            about="a real Chromium on a site behind wagtail-cache, with the Wagtail that it is for",
            commands=[in_row(WAGTAIL_CACHE_ROW, *PYTEST[3:], "-m", "browser", WAGTAIL_CACHE_TESTS)],
            missing=lambda: chromium_missing() or row_missing(WAGTAIL_CACHE_ROW),
            around=browser,
        ),
        *map(matrix_suite, other_rows()),
    ]


def javascript_tests() -> list[str]:
    """Return the files: what Node makes of a folder differs from version to version."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/js/**/*.test.*js"))
    return files or ["tests/js/*.test.js"]  # which fails: no test is no success


def other_rows() -> list[str]:
    """Return the rows of tox.ini's matrix save the one that this environment is."""
    names = output_of(sys.executable, "-m", "tox", "list", "--no-desc", "-q").split()
    return [name for name in names if is_row(name) and name != this_row()]


def is_row(name: str) -> bool:
    return name.startswith("py3")


def this_row() -> str:
    digits = [
        "".join(importlib.metadata.version(package).split(".")[:2])
        for package in ("django", "wagtail")
    ]
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    return f"{python}-django{digits[0]}-wagtail{digits[1]}"


def matrix_suite(row: str) -> Suite:
    """``py312-django60-wagtail74``: the unit suite with these versions."""
    return Suite(
        name=row,
        about="matrix: the unit suite with these versions",
        commands=[in_row(row, *UNIT[3:], *OF_A_ROW)],
        missing=functools.partial(row_missing, row),
    )


def in_row(row: str, *words: str) -> Command:
    """Return the command that calls pytest with ``words`` in a row's environment."""
    return (sys.executable, "-m", "tox", "run", "-q", "-e", row, "--", *words)


def row_missing(row: str) -> str:
    python = row.partition("-")[0].removeprefix("py3")
    return interpreter_missing(f"3.{python}")


def chosen(names: Sequence[str], suites: Sequence[Suite]) -> list[Suite]:
    """Return the suites of these names, ``matrix`` being all its rows; without names, all.

    ``KeyError`` with the names that are unknown.
    """
    known = {suite.name for suite in suites}
    wanted = {name for name in names if name != "matrix"}
    if wanted - known:
        raise KeyError(", ".join(sorted(wanted - known)))
    if "matrix" in names:
        wanted |= {suite.name for suite in suites if is_row(suite.name)}
    return [suite for suite in suites if suite.name in wanted or not names]


# Running them


def run(suite: Suite, *, everything: bool) -> Result:
    """Run one suite. ``everything``: being unable to run is a failure."""
    lacking = suite.missing()
    if lacking:
        outcome = FAILED if everything else NOT_RUN
        return Result(suite=suite.name, outcome=outcome, reason=lacking)
    started = time.monotonic()
    reason = first_failure(suite)
    return Result(
        suite=suite.name,
        outcome=FAILED if reason else PASSED,
        seconds=time.monotonic() - started,
        reason=reason,
    )


def first_failure(suite: Suite) -> str:
    try:
        with suite.around() as variables:
            for command in suite.commands:
                status = call(command, os.environ | variables)
                if status:
                    return f"status {status} of: {readable(command)}"
    except OSError as error:
        return str(error)
    return ""


def readable(command: Command) -> str:
    return shlex.join(command).replace(sys.executable, "python")


def call(command: Command, environment: Variables) -> int:
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Ctrl-C has reached it too: it may tidy up. A SIGTERM was for us alone.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TIDYING_SECONDS)
            process.terminate()
            raise


def run_all(suites: Sequence[Suite], *, everything: bool) -> list[Result]:
    results = []
    for number, suite in enumerate(suites, start=1):
        say(f"\n[{number}/{len(suites)}] {suite.name}: {suite.about}")
        results.append(run(suite, everything=everything))
        say(f"[{number}/{len(suites)}] {line(results[-1])}")
    return results


def line(result: Result) -> str:
    return f"{result.suite:<26} {result.outcome:<8} {result.seconds:7.1f} s"


def report(results: Sequence[Result]) -> str:
    """The table at the end; its last line is one that continuous integration understands."""
    lines = ["", *(line(result) for result in results)]
    for outcome, title in [(NOT_RUN, "Not run on this machine:"), (FAILED, "Failed:")]:
        reasons = [f"  {r.suite}: {r.reason}" for r in results if r.outcome == outcome]
        lines += ["", title, *reasons] if reasons else []
    count = {o: sum(r.outcome == o for r in results) for o in (PASSED, FAILED, NOT_RUN)}
    lines += ["", f"suites: {count[PASSED]} passed, {count[FAILED]} failed"]
    if count[NOT_RUN]:
        lines[-1] += f", {count[NOT_RUN]} skipped"
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, flush=True)


def arguments(argv: Sequence[str] | None, suites: Sequence[Suite]) -> argparse.Namespace:
    listing = "\n".join(f"  {suite.name:<26} {suite.about}" for suite in suites)
    parser = argparse.ArgumentParser(
        prog="python -m tests.suites",
        description=f"{__doc__}\nsuites:\n{listing}\n  {'matrix':<26} all rows of the matrix",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", nargs="*", help="which to run; without any, all of them")
    return parser.parse_args(argv)


def stop_politely(*_signal: object) -> None:
    raise KeyboardInterrupt  # so that what stands around a suite is taken down


def main(argv: Sequence[str] | None = None) -> int:
    suites = all_suites()
    try:
        todo = chosen(arguments(argv, suites).suites, suites)
    except KeyError as unknown:
        say(f"No suite is called {unknown.args[0]}; --help lists them.")
        return 2
    signal.signal(signal.SIGTERM, stop_politely)
    try:
        results = run_all(todo, everything=os.environ.get("METAPIXEL_TEST_ALL") == "1")
    except KeyboardInterrupt:
        say("\nInterrupted.")
        return 130
    say(report(results))
    return int(any(result.outcome == FAILED for result in results))


if __name__ == "__main__":
    sys.exit(main())
