"""The harness itself: a fault that is overlooked would be worse than none."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests import suites
from tests.faults import held_by_tests, prepared, runner
from tests.faults.meta import Meta
from tests.faults.results import FAILED, FAULTS, PASSED, Result


def post(meta: Meta, *ids: str) -> tuple[int, dict]:
    events = [{"event_name": "Lead", "event_id": told, "event_time": 1} for told in ids]
    connection = http.client.HTTPConnection(urlsplit(meta.url).netloc, timeout=5)
    headers = {"Authorization": "Bearer t"}
    connection.request("POST", "/v26.0/17/events", json.dumps({"data": events}), headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_every_row_of_the_table_is_there_once():
    real = {fault.row for fault in FAULTS}
    assert not real & set(held_by_tests.ROWS)
    assert {str(number) for number in range(1, 57)} <= real | set(held_by_tests.ROWS)


def test_tests_that_hold_a_row_exist():
    for held in held_by_tests.ROWS.values():
        for test in held.tests:
            file, _, function = test.partition("::")
            assert f"def {function}(" in (suites.ROOT / "tests" / file).read_text(), test


def test_ledger_counts_what_was_accepted_and_how_often():
    with Meta() as meta:
        assert post(meta, "a", "b")[1]["events_received"] == 2
        post(meta, "b")
    assert (meta.accepted, meta.twice) == (2, 1)


def test_request_with_poison_is_refused_as_a_whole():
    with Meta() as meta:
        meta.poison = {"b"}
        status, answer = post(meta, "a", "b")
    assert (status, answer["error"]["code"], meta.accepted) == (400, 100, 0)


def test_reset_comes_after_the_events_were_taken():
    with Meta() as meta:
        meta.script.append("reset")
        with pytest.raises(ConnectionError):
            post(meta, "a")
    assert meta.accepted == 1


@pytest.mark.parametrize(
    ("figures", "outcome"),
    [
        ({}, PASSED),
        ({"lost": 1}, FAILED),
        ({"broken": 1}, FAILED),
        ({"twice": 50, "twice_allowed": 50}, PASSED),
        ({"twice": 51, "twice_allowed": 50}, FAILED),
    ],
)
def test_figures_decide(figures, outcome):
    result = Result(row="1", name="", database="sqlite", **figures)
    result.judge()
    assert result.outcome == outcome


PRINT = """
import json, pathlib, sys
told = {"row": "1", "name": "a fault", "database": sys.argv[1]}
pathlib.Path(sys.argv[2]).write_text(json.dumps(told) + "\\n")
"""


@pytest.mark.parametrize(("outcome", "status"), [(PASSED, 0), (FAILED, 1)])
def test_one_failure_is_the_status_of_the_run(outcome, status, monkeypatch, tmp_path, capsys):
    result = Result(row="1", name="a fault", database="sqlite", outcome=outcome)
    monkeypatch.setattr(runner, "run", lambda _given: iter([result]))
    given = ["--database", "sqlite", "--json", str(tmp_path / "lines")]
    assert runner.main(given) == status
    assert json.loads((tmp_path / "lines").read_text())["outcome"] == outcome
    assert "a fault" in capsys.readouterr().out


def test_run_of_nothing_is_no_success(monkeypatch, capsys):
    monkeypatch.setattr(runner, "run", lambda _given: iter([]))
    assert runner.main(["--database", "sqlite"]) == 1


@pytest.mark.parametrize(("code", "status"), [("", 1), ("raise SystemExit(1)", 1), (PRINT, 0)])
def test_both_databases_have_a_process_whose_end_counts(code, status, monkeypatch, tmp_path, capfd):
    @contextlib.contextmanager
    def half(_argv, kind, report):
        with subprocess.Popen([sys.executable, "-c", code, kind, str(report)]) as process:
            yield process

    monkeypatch.setattr(runner, "half", half)
    assert runner.main(["--json", str(tmp_path / "lines")]) == status
    told = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [result["database"] for result in told] == ([] if not code else ["sqlite", "postgres"])
    assert f"faults: {2 if code == PRINT else 0} passed" in capfd.readouterr().out


def test_all_modules_with_faults_are_loaded():
    assert importlib.import_module("tests.faults.crashes") in prepared.ROWS
