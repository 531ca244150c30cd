from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from django.db import connections

from wagtail_metapixel import conf, driver_choice
from wagtail_metapixel.management.commands.metapixel_deliver import (
    EXIT_STATUSES,
    KEPT_BACK,
    NOT_SENT,
    USAGE,
    Command,
)

DUMMY = "DummyBackend"
IMMEDIATE = "ImmediateBackend"


class RealBackend:
    queues = frozenset({"default"})


class OneQueue(RealBackend):
    queues = frozenset({"mail"})


class AnyQueue(RealBackend):
    queues = frozenset()


class BackendsStandIn(dict):
    settings = property(lambda self: self)


def api(**backends):
    return types.SimpleNamespace(task_backends=BackendsStandIn(backends))


@pytest.fixture
def tasks(monkeypatch):
    """Choose the backends in TASKS; gives what stands in the way then."""

    def obstacles(**backends):
        monkeypatch.setattr(driver_choice, "tasks_api", lambda: api(**backends))
        return list(driver_choice.obstacles_of("tasks"))

    return obstacles


def test_thread_and_worker_demand_no_package(monkeypatch):
    monkeypatch.setattr(driver_choice.importlib.util, "find_spec", lambda name: None)
    assert [*driver_choice.obstacles_of("thread"), *driver_choice.obstacles_of("worker")] == []


# Celery


@pytest.mark.parametrize("is_there", [True, False])
def test_celery_is_asked_for_where_it_is_chosen(monkeypatch, is_there):
    monkeypatch.setattr(
        driver_choice.importlib.util, "find_spec", lambda name: is_there and name == "celery"
    )
    obstacles = list(driver_choice.obstacles_of("celery"))
    assert [each.check_id for each in obstacles] == ([] if is_there else ["metapixel.E002"])
    assert all("pip install" in each.advice for each in obstacles)


# Tasks


@pytest.mark.parametrize("backend", [RealBackend(), AnyQueue()])
def test_a_real_backend_will_do(tasks, backend):
    assert tasks(default=backend) == []


@pytest.mark.parametrize("name", [DUMMY, IMMEDIATE])
def test_a_backend_that_is_no_queue_is_refused_and_so_is_one_made_of_it(tasks, name):
    no_queue = type(name, (RealBackend,), {})
    made_of_it = type("Ours", (no_queue,), {})
    for backend in (no_queue(), made_of_it()):
        [obstacle] = tasks(default=backend)
        assert (obstacle.check_id, obstacle.is_error) == ("metapixel.E002", True)
        assert name in obstacle.fact
        assert "django_tasks_db.DatabaseBackend" in obstacle.advice


def test_a_backend_of_our_own_goes_before_the_default_one(tasks):
    assert tasks(default=type(IMMEDIATE, (RealBackend,), {})(), metapixel=RealBackend()) == []


def test_a_backend_without_our_queue_is_refused(tasks):
    [obstacle] = tasks(default=OneQueue())
    assert 'a queue called "default" in TASKS["default"]["QUEUES"]' in obstacle.fact


def test_no_backend_at_all_is_refused(tasks):
    [obstacle] = tasks()
    assert "KeyError" in obstacle.fact


def test_without_the_api_the_line_to_type_is_told(monkeypatch):
    monkeypatch.setattr(driver_choice.importlib.util, "find_spec", lambda name: None)
    [obstacle] = driver_choice.obstacles_of("tasks")
    assert obstacle.advice == "Run: pip install django-tasks django-tasks-db"


def test_what_django_does_without_a_setting_is_not_a_queue():
    [obstacle] = driver_choice.obstacles_of("tasks")
    assert IMMEDIATE in obstacle.fact


# The database, and the thread


@pytest.mark.parametrize(
    ("driver", "what"),
    [
        ("thread", "The delivery thread does not run"),
        ("tasks", "The delivery thread does not run"),
        ("celery", "The delivery thread does not run"),
        ("worker", "The worker makes the shop's own transactions fail"),
    ],
)
def test_a_database_that_bears_no_second_writer_stands_in_the_way_of_all(monkeypatch, driver, what):
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {})
    monkeypatch.setattr(type(connections["default"]), "vendor", "sqlite")
    told = {each.check_id: each for each in driver_choice.obstacles(driver, using="default")}
    assert told["metapixel.W005"].fact.startswith(what)


@pytest.mark.parametrize(
    ("options", "lacking"),
    [
        ({}, True),
        ({"enable-threads": b"false"}, True),
        ({b"enable-threads": b"true"}, False),
        ({"enable-threads": True}, False),
        ({"threads": b"2"}, False),
        ({"threads": b"0"}, True),
        ({"processes": b"4"}, True),
    ],
)
def test_uwsgi_without_threads_is_seen_from_inside(monkeypatch, options, lacking):
    monkeypatch.setitem(sys.modules, "uwsgi", types.SimpleNamespace(opt=options))
    assert driver_choice.uwsgi_lacks_threads() is lacking
    found = [each.check_id for each in driver_choice.obstacles("thread", using="nowhere")]
    assert found == (["metapixel.W011"] if lacking else [])


def test_without_uwsgi_nothing_lacks_threads():
    assert not driver_choice.uwsgi_lacks_threads()


# What the docs say

DOCS = (Path(__file__).resolve().parents[1] / "docs" / "delivery.md").read_text()


def test_docs_tell_of_every_driver_and_no_other():
    named = re.findall(r'^\| `"([a-z]+)"` \|', DOCS, re.MULTILINE)
    assert named == list(conf.DRIVERS)
    assert set(re.findall(r'"DELIVERY": "(\w+)"', DOCS)) <= set(conf.DRIVERS)


def test_docs_tell_the_exit_statuses_of_the_command():
    told = re.findall(r"^\| (\d) \|", DOCS, re.MULTILINE)
    assert told == re.findall(r"^  (\d)  ", EXIT_STATUSES, re.MULTILINE)
    assert {str(status) for status in (NOT_SENT, USAGE, KEPT_BACK)} < set(told)


def test_docs_use_options_that_there_are():
    parser = Command().create_parser("manage.py", "metapixel_deliver")
    for line in re.findall(r"metapixel_deliver (--[^\n`]*)", DOCS):
        parser.parse_args(line.split())
