"""The examples of docs/reporting.md, run one after the other."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from wagtail.models import Site

from tests.visits import ask, order, told
from wagtail_metapixel.catalogue import ACTION_SOURCES, DAY
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.tracking import track

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reporting.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python run\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_there_are_examples():
    assert len(EXAMPLES) == PAGE.count("```python run") >= 4


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda text: re.search(r"track\(\"(\w+)", text)[1]
)
def test_an_example_records_one_event_that_meta_takes(shop, settings, example):
    settings.DEBUG = True
    known = {
        "track": track,
        "request": ask(),
        "product": order(5),
        "order": order(17),
        "site": Site.objects.get(pk=shop.site_pk),
        "sold_at": timezone.now() - timedelta(days=30),
    }
    exec(compile(example, "docs/reporting.md", "exec"), known)
    row = OutboxEvent.objects.get()
    assert (row.state, row.reason) == (State.PENDING, "")
    assert told(row)[0]["custom_data"]["currency"] == "EUR"


def test_the_table_of_action_sources_says_what_is_so():
    table = PAGE.split("## Not on the website")[1].split("`app` and")[0]
    found = {}
    for names, days in re.findall(r"^\| (`.*?`) \|.*\| (\d+) days \|$", table, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", names), int(days) * DAY)
    refused = {"app", "business_messaging"}
    assert found == {
        name: source.max_age for name, source in ACTION_SOURCES.items() if name not in refused
    }
