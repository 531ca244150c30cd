from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.utils import timezone

from tests.factories import OutboxEventFactory
from wagtail_metapixel import conf, retention
from wagtail_metapixel.management.commands import metapixel_purge
from wagtail_metapixel.models import AnsweredTicket, OutboxEvent, State

pytestmark = pytest.mark.django_db

COMMANDS = ["metapixel_status", "metapixel_explain", "metapixel_requeue", "metapixel_purge"]


def run(*arguments):
    """Run the command; gives what it printed, and how it ended."""
    out = io.StringIO()
    try:
        call_command("metapixel_purge", *arguments, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue() + str(error), error.returncode
    return out.getvalue(), 0


@pytest.fixture
def old():
    long_ago = timezone.now() - timedelta(days=999)
    for _ in range(3):
        OutboxEventFactory(state=State.SENT, final_at=long_ago, user_data=b"{}")
    AnsweredTicket.objects.create(event_id="old", answered_at=long_ago)
    return OutboxEventFactory(recorded_at=long_ago)


def test_it_says_what_went_and_leaves_what_waits(old):
    text, exit_status = run()
    assert exit_status == 0
    assert text.splitlines() == [
        "        3  sent events",
        "        1  notes of which browser copy was handed out",
    ]
    assert OutboxEvent.objects.get() == old


def test_a_dry_run_only_counts(old):
    text, exit_status = run("--dry-run")
    assert exit_status == 0
    assert text.splitlines() == [
        "        3  sent events",
        "        1  notes of which browser copy was handed out",
        "Nothing was changed: --dry-run only counts.",
    ]
    assert OutboxEvent.objects.count() == 4
    assert AnsweredTicket.objects.exists()


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_where_nothing_is_old_it_says_so(arguments):
    OutboxEventFactory()
    assert run(*arguments) == ("Nothing was kept for too long.\n", 0)


@pytest.mark.usefixtures("old")
def test_programs_read_one_document():
    document = json.loads(run("--json", "--dry-run")[0])
    assert document["dry_run"] is True
    assert document["retention_days"] == conf.DEFAULTS["RETENTION"]
    assert (document["rows"]["sent"], document["rows"]["unsent"]) == (3, 0)
    assert json.loads(run("--json")[0])["rows"] == document["rows"]


def test_every_kind_has_words():
    assert retention.overdue(using="default").keys() == metapixel_purge._KINDS.keys()
    assert retention.purge(using="default").keys() == metapixel_purge._KINDS.keys()


@pytest.mark.usefixtures("old")
def test_a_setting_that_cannot_be_used_is_one_sentence(settings):
    settings.WAGTAIL_METAPIXEL = {"RETENTION": {"keys": 1}}
    text, exit_status = run()
    assert exit_status == 2
    assert text.startswith('WAGTAIL_METAPIXEL["RETENTION"] has to keep "keys" for 63 days')
    assert OutboxEvent.objects.count() == 4


# The help of all commands for operators


def help_of(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    return load_command_class("wagtail_metapixel", name).create_parser("", name).format_help()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_lines_to_type(name, monkeypatch):
    text = help_of(name, 100, monkeypatch)
    assert f"  manage.py {name} " in text.split("examples:")[1]
    assert "--json" in text


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("columns", [60, 100, 200])
def test_help_fits_the_terminal(name, columns, monkeypatch):
    text = help_of(name, columns, monkeypatch).split("examples:")
    assert max(map(len, text[0].splitlines())) <= columns
    assert max(map(len, text[1].splitlines())) <= 79
