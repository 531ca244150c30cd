from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from wagtail.models import Site

from tests.factories import TOKEN, PixelFactory
from wagtail_metapixel import counters, diagnostics, graph_api
from wagtail_metapixel.diagnosis import ok
from wagtail_metapixel.graph_api import Answer, Kind
from wagtail_metapixel.models import Counter

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def only_our_site():
    Site.objects.all().delete()
    counters.clear()
    yield
    counters.clear()


def doctor(*args, **options):
    """Return what the command printed, and its exit status."""
    out = io.StringIO()
    try:
        call_command("metapixel_doctor", *args, stdout=out, no_color=True, **options)
    except CommandError as error:
        return f"{out.getvalue()}{error}", error.returncode
    return out.getvalue(), 0


def test_all_is_well_with_status_0():
    PixelFactory()
    text, status = doctor("--offline")
    assert status == 0
    assert text.endswith("Everything is in place.\n")
    assert all(line.startswith("ok ") for line in text.splitlines()[:-1])


def test_each_problem_stands_with_its_advice_and_the_status_is_1():
    PixelFactory(token="", hosts="shop.example")
    text, status = doctor("--offline")
    assert status == 1
    assert text.endswith("2 problems to mend.")
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("problem "):
            assert lines[number + 1].startswith("         -> ")


def test_a_note_is_no_problem():
    PixelFactory(settings__advanced_matching=False)
    text, status = doctor("--offline")
    assert status == 0
    assert "note " in text


@pytest.mark.parametrize(("code", "status"), [(190, 1), (100, 0)])
def test_meta_is_asked_unless_offline(monkeypatch, code, status):
    PixelFactory()
    answer = Answer(kind=Kind.ACCESS, code=code, message="said Meta")
    monkeypatch.setattr(graph_api, "get_pixel", lambda pixel_id, token: answer)
    text, found = doctor()
    assert found == status
    assert "said Meta" in text
    assert TOKEN not in text
    assert "said Meta" not in doctor("--offline")[0]


@pytest.mark.parametrize("value", [{"GRAPH_VERSION": "latest"}, {"POLL_INTERVAL": "a"}, "x"])
@pytest.mark.parametrize("options", [{}, {"skip_checks": True}, {"skip_checks": False}])
def test_a_setting_that_cannot_be_used_is_one_problem_among_all_lines(settings, value, options):
    PixelFactory()
    settings.WAGTAIL_METAPIXEL = value
    text, status = doctor("--offline", **options)
    assert status == 1
    assert text.endswith("1 problem to mend.")
    assert "problem  settings: WAGTAIL_METAPIXEL" in text
    assert "note     delivery: " in text or "ok       delivery: " in text
    assert "ok       outbox: Nothing waits." in text


def test_lines_are_printed_as_they_are_found(monkeypatch):
    def examine(**_kwargs):
        yield ok("first", "It is there.")
        raise KeyboardInterrupt

    monkeypatch.setattr(diagnostics, "examine", examine)
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        call_command("metapixel_doctor", stdout=out, no_color=True)
    assert out.getvalue() == "ok       first: It is there.\n"


def test_what_was_counted_in_memory_is_saved_and_told():
    PixelFactory()
    counters.add(counters.Item(counters.WITHHELD, "consent unknown", "PageView"), 4)
    assert "4 x consent unknown" in doctor("--offline")[0]
    assert Counter.objects.get().count == 4
