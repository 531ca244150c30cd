from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    connection,
    connections,
)
from django.utils import timezone

from tests import databases
from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory, PixelFactory
from wagtail_metapixel import counters, datasets, delivery, graph_api, retention
from wagtail_metapixel.delivery import Summary
from wagtail_metapixel.drivers import draining
from wagtail_metapixel.management.commands import metapixel_deliver
from wagtail_metapixel.management.commands.metapixel_deliver import Command, Work
from wagtail_metapixel.management.progress import Progress
from wagtail_metapixel.models import Counter, MetaPixel, OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[1]
OTHER_PIXEL = "9999999999"
SECONDS = 30
WORK = Work(using="default", only=[], batch=10, stopping=lambda: False)


@pytest.fixture
def sandbox(settings):
    with SandboxServer(pixels={PIXEL_ID: TOKEN, OTHER_PIXEL: "OTHER"}) as server:
        settings.WAGTAIL_METAPIXEL = {
            "SANDBOX": server.url,
            "ACCESS_TOKENS": {PIXEL_ID: TOKEN, OTHER_PIXEL: "OTHER"},
            "POLL_INTERVAL": 0.01,
        }
        yield server
        graph_api.close()


def deliver(*arguments):
    """Run the command; gives what it wrote, and how it ended."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("metapixel_deliver", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue() + err.getvalue() + str(error), error.returncode
    return out.getvalue() + err.getvalue(), 0


def states():
    return list(OutboxEvent.objects.order_by("pk").values_list("state", flat=True))


# Once


@pytest.mark.django_db
def test_once_sends_all_that_is_due_and_succeeds(sandbox):
    OutboxEventFactory.create_batch(5)
    text, status = deliver("--once", "--batch", "2")
    assert status == 0
    assert text == "3 requests: 5 sent\n"
    assert [len(request.params["data"]) for request in sandbox.requests] == [2, 2, 1]


@pytest.mark.django_db
def test_once_without_anything_due_succeeds(sandbox):
    assert deliver("--once") == ("0 requests: nothing sent\n", 0)


@pytest.mark.django_db
def test_once_fails_and_says_why_when_meta_rejects_an_event(sandbox):
    OutboxEventFactory.create_batch(2)
    OutboxEventFactory(user_data=b"{}")
    text, status = deliver("--once")
    assert status == 1
    assert "2 sent" in text
    assert "1 rejected" in text
    assert f"{PIXEL_ID}: Meta error 100/2804050" in text


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["500", "expired_token", "429", "reset"])
def test_once_fails_and_ends_when_meta_does_not_take_events(sandbox, mode):
    OutboxEventFactory.create_batch(2)
    sandbox.misbehave(mode)
    text, status = deliver("--once")
    assert (status, states()) == (1, [State.PENDING, State.PENDING])
    assert f"{PIXEL_ID}: " in text
    assert len(sandbox.requests) == 1


@pytest.mark.django_db
def test_once_fails_without_a_token(sandbox, settings):
    settings.WAGTAIL_METAPIXEL["ACCESS_TOKENS"] = {}
    PixelFactory(token="")
    OutboxEventFactory()
    text, status = deliver("--once")
    assert status == 1
    assert delivery.NO_TOKEN in text


@pytest.mark.django_db
def test_once_after_a_pause_proves_the_pixel_and_then_sends_the_rest(sandbox):
    OutboxEventFactory.create_batch(4)
    datasets.pause(PIXEL_ID, -1, "token", using="default")
    assert deliver("--once")[1] == 0
    assert set(states()) == {State.SENT}


@pytest.mark.django_db
def test_once_sends_what_waits_behind_a_pixel_that_is_switched_off(sandbox):
    OutboxEventFactory.create_batch(6, rank=0)
    MetaPixel.objects.update(active=False)
    OutboxEventFactory.create_batch(3, pixel_id=OTHER_PIXEL)
    text, status = deliver("--once", "--batch", "2")
    assert states() == [State.PENDING] * 6 + [State.SENT] * 3
    assert status == 3
    assert f"{PIXEL_ID}: events wait: The pixel is switched off" in text


@pytest.mark.django_db
def test_once_says_that_the_database_is_away_where_a_pixel_was_named(monkeypatch):
    def away(*_args, **_options):
        raise OperationalError

    monkeypatch.setattr(draining, "is_known", away)
    text, status = deliver("--once", "--pixel", PIXEL_ID)
    assert status == 1
    assert "The database does not answer (OperationalError)." in text


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["--once", "--watch"])
@pytest.mark.parametrize(
    "setting", [{"ENCRYPTION_KEYS": ["no key"]}, {"REQUEST_TIMEOUT": 31}], ids=str
)
def test_what_no_pixel_could_be_sent_with_is_said_before_anything_is_claimed(
    settings, setting, mode
):
    OutboxEventFactory()
    settings.WAGTAIL_METAPIXEL = setting
    text, status = deliver(mode)
    assert status == 2
    assert next(iter(setting)) in text
    assert OutboxEvent.objects.get().lease_token is None


@pytest.mark.django_db
def test_only_the_named_pixels_are_served(sandbox):
    OutboxEventFactory()
    OutboxEventFactory(pixel_id=OTHER_PIXEL)
    deliver("--once", "--pixel", OTHER_PIXEL)
    assert states() == [State.PENDING, State.SENT]


@pytest.mark.django_db
def test_once_saves_what_was_counted(sandbox):
    counters.clear()
    counters.add(counters.Item(counters.WITHHELD, "consent unknown"), 3)
    deliver("--once")
    assert Counter.objects.get().count == 3


@pytest.mark.parametrize("batch", ["0", "-1", "1001"])
def test_batch_that_meta_would_not_take_is_refused(batch):
    text, status = deliver("--once", "--batch", batch)
    assert status == 2
    assert "from 1 to 1000" in text


@pytest.mark.parametrize(
    "options",
    [{"GRAPH_VERSION": "latest"}, {"SANDBOX": "http://meta.example"}, {"POLL_INTERVAL": 0}],
)
def test_setting_that_cannot_be_used_is_said_before_anything_is_claimed(settings, options):
    settings.WAGTAIL_METAPIXEL = options
    text, status = deliver()
    assert status == 2
    assert next(iter(options)) in text


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_no_time_at_all_is_refused(seconds):
    text, status = deliver("--once", "--max-seconds", seconds)
    assert (status, "above 0" in text) == (2, True)


@pytest.mark.processes
def test_an_option_that_does_not_exist_has_the_status_of_wrong_usage():
    worker = subprocess.run(
        [sys.executable, "-m", "django", "metapixel_deliver", "--once", "--watch"],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert worker.returncode == 2
    assert "not allowed with argument --once" in worker.stderr


def test_help_tells_the_exit_statuses():
    text = Command().create_parser("manage.py", "metapixel_deliver").format_help()
    assert re.findall(r"^  (\d)  ", text, re.MULTILINE) == ["0", "1", "2", "3"]


@pytest.mark.django_db
def test_once_with_nothing_tried_tells_a_paused_pixel_apart(sandbox):
    OutboxEventFactory()
    datasets.pause(PIXEL_ID, 60, "The token is too old.", using="default")
    text, status = deliver("--once")
    assert status == 3
    assert f"{PIXEL_ID}: paused until " in text
    assert "The token is too old." in text
    PixelFactory(pixel_id=OTHER_PIXEL)
    assert deliver("--once", "--pixel", OTHER_PIXEL)[1] == 0


@pytest.mark.django_db
def test_a_pixel_that_nobody_knows_is_a_mistake_of_the_option(sandbox):
    text, status = deliver("--once", "--pixel", "55555")
    assert (status, "know a pixel 55555" in text) == (2, True)


@pytest.mark.django_db
@pytest.mark.parametrize("options", [{"DELIVERY": "wroker"}, {"POLL_INTERVAL": "x"}])
def test_a_setting_that_cannot_be_used_has_a_status_of_its_own(settings, options):
    settings.WAGTAIL_METAPIXEL = options
    text, status = deliver("--once")
    assert (status, next(iter(options)) in text) == (2, True)


@pytest.mark.django_db
def test_once_tells_events_of_a_copied_database_apart(sandbox, monkeypatch):
    hindrance = draining.Hindrance("", "The database is another one than before.")
    monkeypatch.setattr(draining, "hindrances", lambda using, only: [hindrance])
    text, status = deliver("--once")
    assert status == 3
    assert "held back. The database is another one" in text


@pytest.mark.django_db
def test_once_fails_when_an_event_was_too_old_to_be_sent(sandbox):
    OutboxEventFactory(expires_at=timezone.now() - timedelta(hours=1))
    text, status = deliver("--once")
    assert (status, "1 expired" in text) == (1, True)


@pytest.mark.django_db
def test_once_says_that_the_database_does_not_answer(monkeypatch):
    def refuse(**_kwargs):
        raise OperationalError("password=canary")

    monkeypatch.setattr(delivery, "deliver_due", refuse)
    text, status = deliver("--once")
    assert (status, "OperationalError" in text, "canary" in text) == (1, True, False)


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["--once", "--watch"])
def test_when_the_time_is_up_the_rest_is_left(sandbox, monkeypatch, mode):
    OutboxEventFactory.create_batch(5)
    monkeypatch.setattr(draining, "until", lambda seconds: lambda: len(sandbox.requests) == seconds)
    _text, status = deliver(mode, "--batch", "1", "--max-seconds", "2")
    assert (status, states().count(State.SENT)) == (0, 2)
    assert not OutboxEvent.objects.exclude(lease_token=None).exists()


@pytest.mark.django_db
def test_each_run_purges(monkeypatch, sandbox):
    purged = []
    monkeypatch.setattr(retention, "purge", lambda using, stopping: purged.append(using))
    deliver("--once")
    assert purged == ["default"]


# On a terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.django_db
def test_on_a_terminal_one_line_is_rewritten(sandbox):
    OutboxEventFactory.create_batch(5)
    OutboxEventFactory(user_data=b"{}", rank=99)
    out, err = Terminal(), io.StringIO()
    with pytest.raises(CommandError):
        call_command("metapixel_deliver", "--once", "--batch", "2", stdout=out, stderr=err)
    lines = out.getvalue().split("\r")
    assert [" ".join(found.split()[:6]) for found in lines if "waiting" in found] == [
        "2 sent, 0 rejected, 4 waiting,",
        "4 sent, 0 rejected, 2 waiting,",
        "5 sent, 1 rejected, 0 waiting,",
        "5 sent, 1 rejected, 0 waiting,",
    ]
    assert all(re.search(r"\d+ events a second *$", found.splitlines()[0]) for found in lines[1:2])
    assert "5 requests: 1 rejected, 5 sent" in out.getvalue().splitlines()[-1]


# Until it is told to stop


@pytest.fixture
def work(monkeypatch, settings):
    """Answers of ``deliver_due``, one after the other; the last one is followed by SIGTERM."""
    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": 0.01}
    answers = []

    def deliver_due(**_kwargs):
        if len(answers) == 1:
            signal.raise_signal(signal.SIGTERM)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(delivery, "deliver_due", deliver_due)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield answers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.django_db
def test_batch_under_way_is_finished_before_the_end(work):
    work += [Summary(), Summary(claimed=2, by_state={"sent": 2}, requests=1)]
    text, status = deliver()
    assert status == 0
    assert text.splitlines()[1:] == [
        "1 request: 2 sent",
        "Stopped; nothing is held.",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_worker_outlives_a_database_that_does_not_answer(work, error):
    work += [error("password=canary"), Summary()]
    text, status = deliver()
    assert status == 0
    assert error.__name__ in text
    assert "canary" not in text


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_worker_takes_a_new_connection_when_the_old_one_was_cut(sandbox):
    OutboxEventFactory()
    pids, claimed = [], []
    both = threading.Barrier(2, timeout=SECONDS)

    def run():
        command = Command(stdout=io.StringIO(), stderr=io.StringIO())
        progress = Progress(command.stdout, using="default", only=[])
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.extend(cursor.fetchone())
        both.wait()
        both.wait()
        for _ in range(2):
            claimed.append(command._patiently(WORK, progress).claimed)
            close_old_connections()
        connections.close_all()
        graph_api.close()

    worker = threading.Thread(target=run)
    worker.start()
    both.wait()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", pids)
    both.wait()
    worker.join(SECONDS)
    assert claimed == [0, 1]


# A process of its own


WORKER = """
import sys
import django
from tests import settings

settings.WAGTAIL_METAPIXEL = {"SANDBOX": sys.argv[1], "ACCESS_TOKENS": {sys.argv[2]: sys.argv[3]}}
django.setup()
from django.core.management import execute_from_command_line

execute_from_command_line(["manage.py", "metapixel_deliver", *sys.argv[4:]])
"""


def started(sandbox, *arguments):
    """Start the command as a process, and wait until its first request is on its way."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "METAPIXEL_TEST_DATABASE": databases.url_of(connection),
    }
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, sandbox.url, PIXEL_ID, TOKEN, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + SECONDS
    while not sandbox.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    return worker


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("mode", "number", "said"),
    [
        ("--watch", signal.SIGTERM, "Stopped; nothing is held."),
        ("--once", signal.SIGINT, "Told to stop"),
    ],
    ids=["watch-term", "once-int"],
)
def test_a_signal_ends_a_worker_after_the_request_on_its_way(sandbox, mode, number, said):
    OutboxEventFactory.create_batch(3)
    sandbox.misbehave("slow", seconds=0.5)
    worker = started(sandbox, mode, "--batch", "2")
    try:
        worker.send_signal(number)
        out, err = worker.communicate(timeout=SECONDS)
    finally:
        worker.kill()
    assert (worker.returncode, err) == (0, "")
    assert "1 request: 2 sent\n" in out
    assert out.splitlines()[-1].startswith(said)
    assert states() == [State.SENT, State.SENT, State.PENDING]
    assert not OutboxEvent.objects.exclude(lease_token=None).exists()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_second_signal_ends_it_at_once(sandbox):
    OutboxEventFactory()
    sandbox.misbehave("slow", seconds=SECONDS)
    worker = started(sandbox)
    try:
        worker.send_signal(signal.SIGINT)
        time.sleep(0.3)  # two at once would be one
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=SECONDS / 2)
    finally:
        worker.kill()
    assert worker.returncode == 128 + signal.SIGINT
    assert states() == [State.PENDING]


def test_a_scheduler_may_call_it_in_a_thread_of_its_own():
    before = signal.getsignal(signal.SIGTERM)
    found = []
    runner = threading.Thread(target=lambda: found.append(_in_a_thread()))
    runner.start()
    runner.join(SECONDS)
    assert found == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def _in_a_thread():
    stop = threading.Event()
    with metapixel_deliver._stopped_by_signals(stop):
        return not stop.is_set()


@pytest.mark.django_db
def test_handlers_of_the_caller_are_given_back(sandbox):
    before = signal.getsignal(signal.SIGTERM)
    deliver("--once")
    assert signal.getsignal(signal.SIGTERM) is before
