from __future__ import annotations

import contextlib
import sys
import tomllib
from pathlib import Path

import pytest

from tests import suites
from tests.nginx import server
from tests.suites import FAILED, NOT_RUN, PASSED, Result, Suite

ROOT = Path(__file__).resolve().parents[1]


def suite(name="some", code="", **kwargs):
    return Suite(name=name, about="a test", commands=[(sys.executable, "-c", code)], **kwargs)


def test_suite_passes_when_all_its_commands_do():
    assert suites.run(suite(), everything=False).outcome == PASSED


def test_suite_fails_with_its_first_failing_command():
    result = suites.run(suite(code="raise SystemExit(3)"), everything=False)
    assert (result.outcome, result.reason) == (
        FAILED,
        "status 3 of: python -c 'raise SystemExit(3)'",
    )


def test_program_that_does_not_exist_is_a_failure():
    broken = Suite(name="some", about="", commands=[("/nowhere/program",)])
    assert suites.run(broken, everything=False).outcome == FAILED


@pytest.mark.parametrize(("everything", "outcome"), [(False, NOT_RUN), (True, FAILED)])
def test_suite_that_cannot_run_fails_only_when_all_must_run(everything, outcome):
    lacking = suite(
        code="raise SystemExit(3)", missing=lambda: "needs a moon: apt-get install moon"
    )
    result = suites.run(lacking, everything=everything)
    assert (result.outcome, result.reason) == (outcome, "needs a moon: apt-get install moon")


def test_surroundings_lend_variables_and_are_taken_down_after_a_failure():
    events = []

    @contextlib.contextmanager
    def around():
        events.append("up")
        yield {"LENT": "yes"}
        events.append("down")

    code = "import os; raise SystemExit(7 if os.environ['LENT'] == 'yes' else 0)"
    result = suites.run(suite(code=code, around=around), everything=False)
    assert result.reason.startswith("status 7")
    assert events == ["up", "down"]


def test_names_choose_suites_in_their_own_order():
    known = [suite("lint"), suite("unit"), suite("py312-a"), suite("py313-b")]

    def names(*wanted):
        return [found.name for found in suites.chosen(wanted, known)]

    assert names() == ["lint", "unit", "py312-a", "py313-b"]
    assert names("unit", "lint") == ["lint", "unit"]
    assert names("matrix") == ["py312-a", "py313-b"]
    with pytest.raises(KeyError, match="moon"):
        names("moon", "unit")


def test_report_lists_what_was_not_run_and_counts_for_machines():
    text = suites.report(
        [
            Result(suite="unit", outcome=PASSED, seconds=1.25),
            Result(suite="browser", outcome=NOT_RUN, reason="needs Chromium: ..."),
            Result(suite="lint", outcome=FAILED, reason="status 1"),
        ]
    )
    assert "Not run on this machine:\n  browser: needs Chromium: ..." in text
    assert "Failed:\n  lint: status 1" in text
    assert text.splitlines()[-1] == "suites: 1 passed, 1 failed, 1 skipped"


def test_interpreter_that_does_not_run_is_missing():
    assert suites.interpreter_missing(f"3.{sys.version_info.minor}") == ""
    assert suites.interpreter_missing("3.99").startswith("needs Python 3.99")


def test_hooks_and_suite_lint_with_one_version_of_ruff():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (pinned,) = pyproject["dependency-groups"]["lint"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert hooks.count(f'["{pinned}"]') == hooks.count("ruff==") > 0


def test_every_suite_is_in_the_table_for_developers():
    table = (ROOT / "docs" / "development.md").read_text()
    names = [found.name for found in suites.all_suites() if not suites.is_row(found.name)]
    assert "wagtail-cache" in names
    assert [name for name in names if f"| `{name}` |" not in table] == []


def test_command_in_a_row_is_toxs():
    command = suites.in_row("py312-a", "-m", "browser")
    assert command[1:] == ("-m", "tox", "run", "-q", "-e", "py312-a", "--", "-m", "browser")


def test_row_lacks_the_interpreter_that_its_name_says():
    assert suites.row_missing("py399-django52").startswith("needs Python 3.99")
    assert suites.row_missing(f"py3{sys.version_info.minor}-django52") == ""


@pytest.mark.parametrize(("found", "lacking"), [("", "needs nginx"), ("/usr/sbin/nginx", "")])
def test_nginx_is_missing_where_it_is_not_found(monkeypatch, found, lacking):
    monkeypatch.setattr(server, "program", lambda: found)
    assert server.missing().startswith(lacking)
    assert bool(server.missing()) is bool(lacking)
