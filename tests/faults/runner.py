"""Runs the faults, and reports: one after another, but both databases side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import throwaway_postgres
from tests.faults import held_by_tests
from tests.faults.places import Databases
from tests.faults.results import (
    BOTH,
    FAILED,
    FAULTS,
    NOT_RUN,
    PASSED,
    SELECTIONS,
    Bench,
    Fault,
    Result,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen faults; 0 when nothing was lost, doubled or broken."""
    given = arguments(argv)
    if given.database:
        results = run_and_tell(given)
    else:
        results = side_by_side(sys.argv[1:] if argv is None else argv, given.json)
    if not given.is_half:
        print(summary(results))  # noqa: T201
    if not results:
        return 0 if given.is_half else 1
    return int(any(result.outcome == FAILED for result in results))


def run_and_tell(given: argparse.Namespace) -> list[Result]:
    results = []
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(given.json.open("w")) if given.json else None
        for result in run(given):
            results.append(result)
            print(result.as_line(), flush=True)  # noqa: T201
            if report:
                print(result.as_json(), file=report, flush=True)
    return results


def side_by_side(argv: Sequence[str], report: Path | None) -> list[Result]:
    """Run each database's faults in a process: most of their time they wait for something to end.

    A process that dies counts as a fault that failed.
    """
    results = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        halves = {kind: stack.enter_context(half(argv, kind, folder / kind)) for kind in BOTH}
        for kind, process in halves.items():
            status = process.wait()
            told = (folder / kind).read_text() if (folder / kind).exists() else ""
            found = [Result(**json.loads(line)) for line in told.splitlines()]
            results += found
            if status and not any(result.outcome == FAILED for result in found):
                reason = f"its process ended with {status}"
                results.append(
                    Result(row="?", name="?", database=kind, outcome=FAILED, reason=reason)
                )
    if report:
        report.write_text("".join(f"{result.as_json()}\n" for result in results))
    return results


@contextlib.contextmanager
def half(argv: Sequence[str], kind: str, report: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.faults", *argv, "--database", kind, "--half"]
    with subprocess.Popen([*command, "--json", str(report)]) as process:
        try:
            yield process
        finally:
            process.terminate()


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Break things on purpose; see docs/faults.md."
    )
    parser.add_argument("--selection", choices=SELECTIONS, default="ci")
    parser.add_argument("--long", dest="selection", action="store_const", const="long")
    parser.add_argument("--rows", type=lambda text: text.split(","), default=[], metavar="1,2,A")
    parser.add_argument("--database", choices=BOTH, help="only this one; else both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a line of JSON for each result")
    parser.add_argument("--half", dest="is_half", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=20261122, help="of all that is drawn by lot")
    parser.add_argument("--keep", action="store_true", help="keep the folder of databases and logs")
    given = parser.parse_args(argv)
    unknown = set(given.rows) - {fault.row for fault in FAULTS} - set(held_by_tests.ROWS)
    if unknown:
        parser.error(f"no fault is called {', '.join(sorted(unknown))}")
    return given


def run(given: argparse.Namespace) -> Iterator[Result]:
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="metapixel-faults-"))
        if given.keep:
            print(f"everything stays in {folder}")  # noqa: T201
        else:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        kind = given.database
        chosen = [fault for fault in FAULTS if is_chosen(fault, kind, given)]
        programs = throwaway_postgres.programs()
        if kind == "postgres" and not programs:
            yield from (not_run(fault, kind, given.seed) for fault in chosen)
        elif chosen:
            url = ""
            if kind == "postgres":
                assert programs
                url = stack.enter_context(throwaway_postgres.running(programs))
            databases = Databases(kind, folder, url)
            for fault in chosen:
                yield run_one(fault, databases, given)
    if kind == "sqlite":
        yield from held_by_tests.run(given.selection, given.rows)


def is_chosen(fault: Fault, kind: str, given: argparse.Namespace) -> bool:
    named = fault.row in given.rows or not given.rows
    in_time = SELECTIONS.index(fault.selection) <= SELECTIONS.index(given.selection)
    return named and in_time and kind in fault.databases


def not_run(fault: Fault, kind: str, seed: int) -> Result:
    result = Result(row=fault.row, name=fault.name, database=kind, seed=seed, outcome=NOT_RUN)
    result.reason = "needs PostgreSQL: apt-get install postgresql"
    return result


def run_one(fault: Fault, databases: Databases, given: argparse.Namespace) -> Result:
    result = Result(row=fault.row, name=fault.name, database=databases.kind, seed=given.seed)
    bench = Bench(databases=databases, result=result, selection=given.selection)
    random.seed(f"{given.seed} {fault.row} {databases.kind}")
    started = time.monotonic()
    try:
        fault.inject(bench)
        result.judge()
    except Exception as error:  # noqa: BLE001 - the other faults are still to be run
        result.outcome = FAILED
        result.reason = f"{type(error).__name__}: {error}"
    result.seconds = round(time.monotonic() - started, 2)
    if result.outcome == FAILED:
        for place in bench.places:
            print(*place.log()[-15:], sep="\n", file=sys.stderr)  # noqa: T201
    if not given.keep:
        for place in bench.places:
            shutil.rmtree(place.folder, ignore_errors=True)
    return result


def summary(results: Sequence[Result]) -> str:
    count = {o: sum(r.outcome == o for r in results) for o in (PASSED, FAILED, NOT_RUN)}
    lost, twice, broken = (
        sum(getattr(result, name) for result in results) for name in ("lost", "twice", "broken")
    )
    failed = [
        f"  {r.row} {r.database}: {r.reason or 'L, X or Z'}" for r in results if r.outcome == FAILED
    ]
    lines = ["", *(["Failed:", *failed, ""] if failed else [])]
    lines.append(f"L={lost} lost, X={twice} sent twice, Z={broken} requests of the shop broken")
    lines.append(
        f"faults: {count[PASSED]} passed, {count[FAILED]} failed, {count[NOT_RUN]} not run"
    )
    return "\n".join(lines)
