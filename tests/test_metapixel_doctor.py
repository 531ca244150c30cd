from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from wagtail.models import Site

from tests.factories import TOKEN, PixelFactory
from wagtail_metapixel import counters, graph_api
from wagtail_metapixel.graph_api import Answer, Kind
from wagtail_metapixel.models import Counter

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def only_our_site():
    Site.objects.all().delete()
    counters.clear()
    yield
    counters.clear()


def doctor(*args):
    """Return what the command printed, and its exit status."""
    out = io.StringIO()
    try:
        call_command("metapixel_doctor", *args, stdout=out, no_color=True)
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


@pytest.mark.parametrize("value", [{"GRAPH_VERSION": "latest"}, {"TRUSTED_PROXIES": "1"}, "x"])
def test_a_setting_that_cannot_be_used_is_one_sentence_and_status_1(settings, value):
    settings.WAGTAIL_METAPIXEL = value
    text, status = doctor("--offline")
    assert status == 1
    assert text.startswith("WAGTAIL_METAPIXEL")


def test_what_was_counted_in_memory_is_saved_and_told():
    PixelFactory()
    counters.add(counters.Item(counters.WITHHELD, "consent unknown", "PageView"), 4)
    assert "4 x consent unknown" in doctor("--offline")[0]
    assert Counter.objects.get().count == 4
