from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from tests.factories import PIXEL_ID, OutboxEventFactory, PixelFactory
from wagtail_metapixel import outbox
from wagtail_metapixel.findings import TEXTS
from wagtail_metapixel.management.commands.metapixel_lint import Command
from wagtail_metapixel.models import State

pytestmark = pytest.mark.django_db

CONTENTS = {"contents": [{"id": "MUG", "quantity": 1}], "content_type": "product"}
USER = {"fbp": "fb.1.1700000000000.1", "client_user_agent": "Mozilla/5.0"}


def row(user=None, custom=None, event=None, **fields):
    """Put an AddToCart into the outbox that has no fault but what is given."""
    now = timezone.now()
    name, event_id = fields.get("event_name", "AddToCart"), fields.pop("event_id", "id-1")
    body = {
        "event_name": name,
        "event_time": int(fields.get("recorded_at", now).timestamp()),
        "event_id": event_id,
        "action_source": "website",
        "event_source_url": "https://testserver/mug/",
        "custom_data": CONTENTS | (custom or {}),
    }
    given = {"user_data": json.dumps(USER if user is None else user).encode()} | fields
    return OutboxEventFactory(
        event=json.dumps(body | (event or {})).encode(), event_id=event_id, **given
    )


def run(*args, terminal=False):
    """Return what the command printed, what it said beside it, and its exit status."""
    out, err = io.StringIO(), io.StringIO()
    err.isatty = lambda: terminal
    try:
        call_command("metapixel_lint", *args, stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        return out.getvalue(), str(error), error.returncode
    return out.getvalue(), err.getvalue(), 0


def codes(*args):
    report = json.loads(run("--format", "json", "--fail-on", "never", *args)[0])
    return [finding["code"] for finding in report["findings"]]


def test_an_empty_outbox_is_told_kindly():
    text, _err, status = run("--since", "2026-11-01")
    assert text == "Nothing in the outbox since 2026-11-01 00:00 UTC.\n"
    assert status == 0
    assert "that these options choose" in run("--pixel", "12345")[0]


def test_sound_events_are_told_so():
    row()
    text, err, status = run()
    assert text == f"Pixel {PIXEL_ID}: 1 event\nNothing that Meta would complain about.\n"
    assert (err, status) == ("", 0)


def test_a_finding_is_told_with_its_number_its_remedy_and_ids():
    row(custom={"value": -1, "currency": "EUR"})
    row(custom={"value": -2, "currency": "EUR"}, event_id="id-2")
    text, _err, status = run()
    assert text.splitlines() == [
        f"Pixel {PIXEL_ID}: 2 events",
        "warning  value_negative (AddToCart, custom_data.value): 2 events",
        f"         {TEXTS['value_negative'].message}",
        f"         -> {TEXTS['value_negative'].remedy}",
        "         such as id-1, id-2",
    ]
    assert status == 0


def test_the_status_follows_fail_on():
    row(custom={"value": -1, "currency": "EUR"})
    assert run("--fail-on", "warning")[1:] == ("1 warning to mend.", 1)
    row(custom={"value": 1}, event_id="id-2")
    assert run()[1:] == ("1 error to mend.", 1)
    assert run("--fail-on", "warning")[1:] == ("1 error and 1 warning to mend.", 1)
    assert run("--fail-on", "never")[1:] == ("", 0)


def test_json_says_the_same_to_programs():
    row(custom={"value": 1})
    text, _err, status = run("--format", "json")
    report = json.loads(text)
    assert status == 1
    assert report["events"] == 1
    assert report["findings_by_level"] == {"error": 1, "warning": 0, "advice": 0}
    (finding,) = report["findings"]
    assert finding.keys() == {
        "pixel_id", "code", "level", "event_name", "field", "message", "remedy", "event_ids",
        "occurrences",
    }  # fmt: skip
    assert finding["pixel_id"] == PIXEL_ID
    assert finding["event_ids"] == ["id-1"]


def test_json_of_nothing_is_json():
    report = json.loads(run("--format", "json")[0])
    assert (report["events"], report["findings"]) == (0, [])


def test_each_pixel_stands_for_itself():
    row()
    row(pixel_id="9876543210")
    text = run()[0]
    assert [line for line in text.splitlines() if line.startswith("Pixel")] == [
        f"Pixel {PIXEL_ID}: 1 event",
        "Pixel 9876543210: 1 event",
    ]
    assert PIXEL_ID not in run("--pixel", "9876543210")[0]


def test_one_id_for_different_events_is_found_and_two_pixels_are_no_reason():
    row()
    row(custom={"content_name": "another"}, pixel_id="9876543210")
    assert codes() == []
    row(custom={"content_name": "another"})
    assert codes() == ["event_id_repeated"]


def test_what_only_repeats_a_keyed_fact_is_left_out():
    row(keyed=True)
    row(keyed=True, custom={"content_name": "told again"})
    row(custom={"content_name": "told again"}, state=State.DUPLICATE)
    assert codes() == []
    assert "1 event\n" in run()[0]


def test_a_repetition_of_what_was_rejected_is_looked_at():
    row(keyed=True, state=State.REJECTED, final_at=timezone.now(), user={})
    row(keyed=True)
    assert "2 events\n" in run()[0]


def test_a_final_row_has_no_person_and_that_is_no_fault():
    final = {"state": State.SENT, "final_at": timezone.now(), "user": {}}
    row(**final)
    assert codes() == []
    row(user={}, event_id="id-2")
    assert codes() == ["user_data_insufficient", "user_agent_missing"]


def test_a_sent_event_is_as_late_as_its_answer_and_a_waiting_one_as_now():
    recorded = timezone.now() - timedelta(hours=3)
    row(recorded_at=recorded, state=State.SENT, final_at=recorded + timedelta(minutes=1))
    assert codes() == []
    row(recorded_at=recorded, event_id="id-2")
    assert codes() == ["sent_late"]


def test_a_page_of_a_host_the_pixel_does_not_send_for_is_found():
    PixelFactory()
    row(event={"event_source_url": "https://elsewhere.example/"})
    assert codes() == ["event_source_url_host"]


@pytest.mark.parametrize("event", [b"{", b"[]", b"\xff"])
def test_bytes_that_are_no_event_are_a_finding(event):
    row()
    OutboxEventFactory(event=event)
    assert codes() == ["event_malformed"]


def test_older_rows_are_left_out():
    row(recorded_at=timezone.now() - timedelta(hours=5))
    assert "1 event\n" in run("--since", "6")[0]
    assert "1 event\n" in run("--since", "0.5d")[0]
    assert run("--since", "4h")[0].startswith("Nothing")
    assert "1 event\n" in run("--since", "2026-01-01")[0]
    assert run("--since", timezone.now().isoformat())[0].startswith("Nothing")
    row(recorded_at=timezone.now() - timedelta(days=8), event_id="id-2")
    assert "1 event\n" in run()[0]


@pytest.mark.parametrize("since", ["yesterday", "-3", "2026-13-01", "", "nan", "99999999999999999"])
def test_a_time_nobody_understands_is_one_sentence(since):
    _out, err, status = run(f"--since={since}")
    assert status == 2
    assert err.startswith("--since has to be")


def test_a_site_is_chosen_by_host_or_primary_key():
    pixel = PixelFactory()
    site = pixel.settings.site
    row()
    row(site_pk=site.pk + 1, event_id="id-2")
    for wanted in ("testserver", "TestServer:80", str(site.pk)):
        assert "1 event\n" in run("--site", wanted)[0]


@pytest.mark.parametrize("wanted", ["nowhere.example", "99999", "9" * 30, "testserver:81", ""])
def test_an_unknown_site_is_told_which_there_are(wanted):
    PixelFactory()
    _out, err, status = run("--site", wanted)
    assert status == 2
    assert "testserver (" in err


FILES = [
    ("ids.txt", "MUG\nCUP\n"),
    ("ids.txt", "\ufeffMUG\r\n\r\nCUP"),
    ("ids.txt", "a,b\nMUG"),
    ("feed.csv", "id,title\nMUG,A mug\n"),
    ("feed.csv", '# Required\n"ID";"title"\n"MUG";"A\nmug"\n'),
    ("feed.csv", "id\nMUG\n"),
    ("feed.tsv", "title\tid\nA mug\tMUG\nshort\n"),
    ("feed.txt", "title\tid\nA mug\tMUG\n"),
]


@pytest.mark.parametrize(("name", "text"), FILES)
def test_ids_are_compared_with_a_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    row()
    assert codes("--content-ids", str(path)) == []
    row(custom={"contents": [{"id": "CAP", "quantity": 1}]}, event_id="id-2")
    assert codes("--content-ids", str(path)) == ["content_id_unknown"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("feed.csv", b"sku,title\nMUG,A mug\n", "has no column named id"),
        ("feed.txt", b"sku\ttitle\nMUG\tA mug\n", "has no column named id"),
        ("ids.txt", b"\n \n", "holds no id"),
        ("ids.csv", b"", "has no column named id"),
        ("feed.csv", b"id,title\n", "holds no id"),
        ("ids.txt", b"\xff\xfe", "is not UTF-8 text"),
        ("feed.csv", b"id\n" + b"x" * 200_000, "is no table"),
        (".", None, "cannot be read"),
        ("missing.txt", None, "cannot be read"),
    ],
)
def test_a_file_without_ids_is_one_sentence(tmp_path, name, content, why):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    _out, err, status = run("--content-ids", str(tmp_path / name))
    assert status == 2
    assert why in err


def test_what_browsers_alone_tell_lacks_nothing_that_the_server_would_say():
    row(user={}, state=State.BROWSER, final_at=timezone.now())
    assert codes() == []
    told = {"user": {}, "state": State.BROWSER, "event_id": "id-2"}
    row(**told, final_at=timezone.now(), custom={"currency": "EURO"})
    assert codes() != []


def test_a_database_that_does_not_answer_is_one_sentence(monkeypatch):
    def away(**_options):
        raise OperationalError("password of ada@example.com")

    monkeypatch.setattr(outbox, "recorded_since", away)
    _out, err, status = run()
    assert status == 1
    assert "OperationalError" in err
    assert "ada@" not in err


def test_progress_is_shown_to_a_terminal_only(monkeypatch):
    monkeypatch.setattr("wagtail_metapixel.management.commands.metapixel_lint._PROGRESS_EVERY", 2)
    for number in range(3):
        row(event_id=f"id-{number}")
    assert "\r2 of 3 events" in run(terminal=True)[1]
    assert run()[1] == ""


def test_rows_are_read_in_pieces(django_assert_num_queries):
    for number in range(3):
        row(event_id=f"id-{number}")
    with django_assert_num_queries(2):
        count, rows = outbox.recorded_since(
            using="default", moment=timezone.now() - timedelta(hours=1)
        )
        assert next(rows)["pixel_id"] == PIXEL_ID
        assert iter(rows) is rows
        assert count == 1 + len(list(rows))


def test_nobody_is_named_whatever_stands_in_a_row():
    row(
        user={"em": ["ada@example.com"], "ph": "+48601234567"},
        custom={"ada@example.com": "x", "note": "ada@example.com"},
        event_id="ada@example.com",
    )
    text, err, _status = run()
    assert "match_key_unhashed" in text
    assert "ada@" not in text + err
    assert "601234567" not in text + err


def test_help_helps():
    text = Command().create_parser("manage.py", "metapixel_lint").format_help()
    for word in ("--site", "--pixel", "--since", "--content-ids", "--format", "--fail-on"):
        assert word in text
    assert "examples:\n  manage.py metapixel_lint  " in text
