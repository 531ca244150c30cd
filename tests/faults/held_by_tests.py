"""Faults that a test of another suite holds already: it is run, and reported beside the others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from tests import suites
from tests.faults.results import FAILED, NOT_RUN, PASSED, Result

UNIT, EXAMPLE, BROWSER = "unit", "example", "browser"
_OPTIONS: Mapping[str, Sequence[str]] = {
    UNIT: (),
    EXAMPLE: ("--ds=config.settings",),
    BROWSER: ("-m", "browser"),
}


class Held(NamedTuple):
    """A fault, and the tests that hold it, as ``file::function`` below ``tests/``."""

    name: str
    tests: Sequence[str]
    suite: str = UNIT


_GRAPH = "test_graph_api.py::test_"
_DELIVERY = "test_delivery.py::test_"
_THROTTLED = _DELIVERY + "throttled_pixel_pauses_as_long_as_meta_says"
_CLASSES = _GRAPH + "each_error_of_metas_has_its_class"
_REFUSED = _DELIVERY + "refused_token_pauses_the_pixel_and_costs_no_attempt"
_TWO_TABS = "browser/test_two_tabs.py::test_thank_you_page_in_two_tabs_tells_the_purchase_once"

ROWS: Mapping[str, Held] = {
    "17": Held(
        "HTTP 429 with any Retry-After",
        [
            _GRAPH + "pause_lasts_as_long_as_meta_says_within_an_hour",
            _GRAPH + "pause_until_a_date_is_as_long_as_the_date_is_away",
            _THROTTLED,
        ],
    ),
    "18": Held("400 with a code of throttling", [_CLASSES, _THROTTLED]),
    "19": Held(
        "Usage near its limit on a 200",
        [_DELIVERY + "pixel_near_its_limit_rests_without_a_probe"],
    ),
    "20": Held(
        "5xx with any body",
        [
            _GRAPH + "answer_has_its_class",
            _DELIVERY + "unknown_answer_is_remembered_and_tried_again",
            "test_claims.py::test_long_reason_is_cut_to_its_column",
        ],
    ),
    "21": Held(
        "2xx that is no success",
        [
            _GRAPH + "answer_has_its_class",
            _GRAPH + "success_for_fewer_events_than_were_sent_is_none",
        ],
    ),
    "22": Held(
        "The token is refused",
        [
            _REFUSED,
            _DELIVERY + "saved_token_ends_the_pause",
            _DELIVERY + "after_a_pause_one_row_proves_the_pixel_before_the_others_follow",
            _DELIVERY + "probe_that_fails_pauses_again",
        ],
    ),
    "23": Held("A permission is missing", [_CLASSES, _REFUSED]),
    "24": Held("The dataset is not found", [_CLASSES, _REFUSED]),
    "25": Held(
        "An invalid event among valid ones",
        [
            _DELIVERY + "poison_among_64_costs_few_requests_and_its_neighbours_nothing",
            _DELIVERY + "rejected_row_says_why",
        ],
    ),
    "28": Held(
        "Older than Meta takes",
        [_DELIVERY + "row_past_its_deadline_is_not_sent_and_harms_nobody"],
    ),
    "29": Held(
        "Ages out between claim and send",
        [_DELIVERY + "row_that_expires_on_a_long_way_is_not_sent"],
    ),
    "30": Held(
        "Too old for its browser's copy",
        [
            _DELIVERY + "row_past_its_deadline_is_not_sent_and_harms_nobody",
            "test_outbox.py::test_row_with_a_twin_expires_before_meta_would_count_both",
        ],
    ),
    "38": Held(
        "Another payload version, other columns",
        [
            _DELIVERY + "row_of_a_newer_release_waits_for_its_code",
            "test_migrations.py::test_what_a_release_adds_to_the_settings_has_a_value_where_an_older_one_writes",
        ],
    ),
    "41": Held(
        "The pixel changes while rows wait",
        [_DELIVERY + "the_gate_is_asked_again_before_an_event_leaves"],
    ),
    "42": Held(
        "Consent is taken back while rows wait",
        [_DELIVERY + "row_whose_person_took_the_consent_back_is_not_sent"],
    ),
    "43": Held(
        "The site is switched off while rows wait",
        [_DELIVERY + "nothing_leaves_while_a_site_is_switched_off"],
    ),
    "44": Held("Time zones, naive times", ["test_events.py::test_a_time_becomes_seconds"]),
    "48": Held(
        "The thank-you page is loaded again",
        ["browser/test_walk.py::test_purchase_counts_once_when_the_confirmation_page_is_first"],
        BROWSER,
    ),
    "49": Held("The thank-you page in two tabs", [_TWO_TABS], BROWSER),
    "50": Held(
        "Double click on the last button",
        [
            "example/test_checkout.py::test_second_click_on_the_button_places_no_second_order",
            "example/test_checkout.py::test_click_that_comes_while_the_order_is_placed_gets_that_order",
        ],
        EXAMPLE,
    ),
    "52": Held(
        "A cached page is served often",
        [
            "browser/test_full_page_cache.py::test_two_visitors_walk_on_the_same_bytes_with_events_of_their_own"
        ],
        BROWSER,
    ),
    "53": Held(
        "Meta's script is blocked",
        [
            "browser/test_obstacles.py::test_events_arrive_from_the_server_where_meta_is_blocked",
        ],
        BROWSER,
    ),
    "54": Held(
        "Another script fails",
        [
            "browser/test_obstacles.py::test_shopper_whose_scripts_stop_working_is_counted_by_the_server",
        ],
        BROWSER,
    ),
    "55": Held(
        "Cron alone, no daemon",
        ["test_metapixel_deliver.py::test_once_sends_all_that_is_due_and_succeeds"],
    ),
    "56": Held(
        "Settings that cannot be used",
        [
            "test_metapixel_deliver.py::test_setting_that_cannot_be_used_is_said_before_anything_is_claimed",
            "test_checks.py::test_a_setting_that_cannot_be_used_is_an_error_with_a_way_out",
        ],
    ),
}


def run(selection: str, named: Collection[str]) -> Iterator[Result]:
    """Run the tests of the rows that are chosen; those in a browser not in CI's selection."""
    chosen = {row: held for row, held in ROWS.items() if row in named or not named}
    for suite in (UNIT, EXAMPLE, BROWSER):
        ours = {row: held for row, held in chosen.items() if held.suite == suite}
        if ours and (suite == UNIT or selection != "ci" or named):
            yield from _run_suite(suite, ours)


def _run_suite(suite: str, ours: Mapping[str, Held]) -> Iterator[Result]:
    started = time.monotonic()
    lacking = suites.chromium_missing() if suite == BROWSER else ""
    outcomes = {} if lacking else _outcomes(suite, ours)
    share = (time.monotonic() - started) / len(ours)
    for row, held in ours.items():
        result = Result(row=row, name=held.name, database="sqlite", seconds=round(share, 2))
        result.figure = f"held by {len(held.tests)} {suite} tests"
        wrong = [test for test in held.tests if outcomes.get(test) != PASSED]
        if lacking:
            result.outcome, result.reason = NOT_RUN, lacking
        elif wrong:
            result.outcome, result.reason = FAILED, f"not passed: {', '.join(wrong)}"
        yield result


def _outcomes(suite: str, ours: Mapping[str, Held]) -> dict[str, str]:
    """Run the tests in one process; returns what became of each, FAILED where any case failed."""
    files = sorted(
        {f"tests/{test.partition('::')[0]}" for held in ours.values() for test in held.tests}
    )
    names = sorted({test.partition("::")[2] for held in ours.values() for test in held.tests})
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    if suite == EXAMPLE:
        environment |= {"PYTHONPATH": str(suites.ROOT / "example_site")}
        environment.pop("DJANGO_SETTINGS_MODULE")
    if suite == BROWSER:
        environment |= {"METAPIXEL_CHROMIUM": suites.chromium()}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *_OPTIONS[suite]]
        command += [*files, "-k", " or ".join(names)]
        done = subprocess.run(
            command, cwd=suites.ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode not in {0, 1} or not report.exists():
            print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)  # noqa: T201
            return {}
        return _read(report)


def _read(report: Path) -> dict[str, str]:
    outcomes: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        file = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        test = f"{file}.py::{case.get('name', '').partition('[')[0]}"
        failed = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
        if failed or outcomes.get(test) != FAILED:
            outcomes[test] = FAILED if failed else PASSED
    return outcomes
