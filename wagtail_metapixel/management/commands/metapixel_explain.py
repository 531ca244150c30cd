"""``manage.py metapixel_explain``: what became of one event, and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import CommandError

from wagtail_metapixel import event_story
from wagtail_metapixel.event_story import Consent, Row, Story
from wagtail_metapixel.management.operator_command import OperatorCommand, moment, shown
from wagtail_metapixel.models import State, Twin

_UNKNOWN = """\
Nothing is known of this event id. It may be misspelt; or the gate kept the
event back, so that it never had a row; or its row was kept long enough and
purged.
  manage.py metapixel_status    shows what was withheld, by reason
  manage.py metapixel_doctor    says what stands in the way"""

_BORN = {
    "browser": "in the browser, on a page that declares it",
    "server": "on the server",
    "either": "on a page or on the server: its name and id leave it open",
}
_TWINS = {
    Twin.NO: "none may tell it: it is the server's alone",
    Twin.PIXEL: "none tells this pixel, by the settings when it was recorded",
    Twin.MAYBE: "may tell it, too",
}
_SPEAKS = {
    "this": "this row speaks for it",
    "other": "another row speaks for it",
    "nobody": "nobody speaks for it yet",
}


class Command(OperatorCommand):
    """Prints a paragraph for each pixel that was to be told."""

    help = (
        "Tell the whole story of one event: where it was born, what the gate decided, what it "
        "says, each try and Meta's answer, its deadlines, and what the browser was given. Of the "
        "person only the names of the match keys are shown. Changes and sends nothing. Exit "
        "status 1 when nothing is known of the id."
    )
    examples = """\
examples:
  manage.py metapixel_explain 5f0c4d2be6d84e9f8e1d3c5b7a90f1e2
  manage.py metapixel_explain --json 5f0c4d2be6d84e9f8e1d3c5b7a90f1e2

The id is what Meta's Events Manager calls Event ID, and what track() returns
as event_id.
"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("event_id", metavar="EVENT_ID", help="the event's id")

    def operate(self, using: str, options: Mapping[str, Any]) -> None:
        """Look it up and print."""
        story = event_story.of(options["event_id"].strip(), using=using)
        if options["json"]:
            self.print_json({"known": story.is_known, **story.as_dict()})
        elif story.is_known:
            for line in _lines(story):
                self.stdout.write(shown(line))
        if not story.is_known:
            raise CommandError(_UNKNOWN, returncode=1)


def _lines(story: Story) -> Iterator[str]:
    yield f"Event {story.event_id}"
    for row in story.rows:
        yield f"{row.event_name} for pixel {row.pixel_id}: {row.state}"
        for name, told in _of_row(row, story):
            yield f"  {name:<12}{told}"
    for each in story.withheld:
        yield (
            f"Withheld {moment(each['withheld_at'])}, before the visitor had answered; it happened "
            f"{moment(each['happened_at'])}. For a day, the first answer on the buyer's own thank-you "
            "page completes it, if it is a yes."
        )
    if not story.rows:
        yield "No row is kept: it was withheld, or its rows were kept long enough and purged."
        for key in story.keys:
            told = "was told" if key["settled"] else "was about to be told"
            yield f"{key['event_name']} {told} to pixel {key['pixel_id']}; seen {moment(key['created_at'])}"
        if story.browser_told_at:
            yield f"A browser was given its copy {moment(story.browser_told_at)}."


def _of_row(row: Row, story: Story) -> Iterator[tuple[str, str]]:
    yield "born", f"{_BORN[row.born]}; recorded {moment(row.recorded_at)}"
    yield "happened", f"{moment(row.event_time)}, {_where(row)}"
    yield "gate", _consent(row.consent)
    yield "says", json.dumps(row.custom_data, ensure_ascii=False)
    yield "match keys", _match_keys(row)
    yield "browser", _browser(row, story)
    if row.keyed:
        yield "key", f"happens once; {_SPEAKS[row.speaks]}"
    yield "rank", f"{row.rank} (0 leaves first)"
    if row.test_event_code:
        yield "test code", row.test_event_code
    for answer in row.answers:
        yield (
            "story",
            f"{moment(answer['at'])}: {answer['text']}" if answer["at"] else answer["text"],
        )
    if row.attempts:
        yield "failed", "once" if row.attempts == 1 else f"{row.attempts} times"
    if row.first_unknown_at:
        yield "unknown", f"Meta may have taken it already, {moment(row.first_unknown_at)}"
    yield "now", _now(row)
    yield "deadlines", _deadlines(row)


def _where(row: Row) -> str:
    place = f" at {row.event_source_url}" if row.event_source_url else ""
    return f"{row.action_source or 'nowhere'}{place} (host {row.host or 'unknown'}, site {row.site_pk})"


def _consent(consent: Consent) -> str:
    if consent.given_at:
        version = f", text {consent.text_version}" if consent.text_version else ""
        given = f"{consent.choice} {moment(consent.given_at)}, {consent.tool}{version}"
        return f"{given}; proof {consent.proof}"
    if consent.proof:
        return f"{consent.choice}; its proof {consent.proof} is not kept any more"
    if consent.choice == "not_required":
        return "open: consent is not required, by the settings as they are now"
    asks = f"; the site asks {consent.tool} now" if consent.tool else ""
    return f"open: {consent.choice}, without a proof of ours{asks}"


def _match_keys(row: Row) -> str:
    if row.match_keys is None:
        return "deleted: what is over keeps nothing of the person"
    return ", ".join(row.match_keys) or "none"


def _browser(row: Row, story: Story) -> str:
    told = _TWINS[Twin(row.twin)]
    if row.twin != Twin.MAYBE:
        return told
    if story.browser_told_at:
        return f"was given its copy {moment(story.browser_told_at)}"
    if row.born == "browser":
        return "has told it itself"
    return f"{told}; none has asked for its copy yet" if row.keyed else told


def _now(row: Row) -> str:
    reason = f": {row.reason}" if row.reason else ""
    trace = f"; Meta's trace id {row.trace_id}" if row.trace_id else ""
    if row.state != State.PENDING:
        return f"{row.state} since {moment(row.final_at)}{reason}{trace}"
    if row.leased_until:
        return f"on its way until {moment(row.leased_until)}{reason}"
    return f"waits; due {moment(row.due_at)}{reason}"


def _deadlines(row: Row) -> str:
    told = f"Meta takes it until {moment(row.expires_at)}"
    if not row.twin_expires_at:
        return told
    return f"{told}; matched with the browser's copy until {moment(row.twin_expires_at)}"
