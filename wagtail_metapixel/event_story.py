"""The whole story of one event: where it was born, what the gate decided, what Meta answered.

For ``manage.py metapixel_explain``. Of a person only the names of the match keys are told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from wagtail_metapixel import catalogue, site_settings
from wagtail_metapixel.choices import ConsentProvider
from wagtail_metapixel.models import (
    AnsweredTicket,
    ConsentProof,
    OutboxEvent,
    SentKey,
    State,
    WithheldOrder,
)

_ANSWER = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) (.*)")


@dataclass(kw_only=True)
class Consent:
    """What is kept of the decision that let an event pass."""

    choice: str
    """``granted``, ``denied`` or ``not_required``."""
    tool: str
    proof: str
    """Its id, ``""`` where no proof was kept with the event."""
    given_at: datetime | None
    """``None`` where the proof is not kept, or not any more."""
    text_version: str


@dataclass(kw_only=True)
class Row:
    """What one pixel was to be told. Times are aware."""

    pixel_id: str
    event_name: str
    site_pk: int
    born: str
    """``browser``, ``server``, or ``either`` where the id and the name leave it open."""
    host: str
    event_source_url: str
    action_source: str
    recorded_at: datetime
    event_time: datetime | None
    rank: int
    keyed: bool
    twin: str
    test_event_code: str
    consent: Consent
    custom_data: dict[str, Any]
    match_keys: list[str] | None
    """Names; ``None`` where what was said of the person is deleted."""
    state: str
    reason: str
    final_at: datetime | None
    due_at: datetime | None
    """``None`` where nothing is going to happen any more."""
    leased_until: datetime | None
    attempts: int
    answers: list[dict[str, Any]]
    """``at, text`` of each time Meta did not take it, the oldest first."""
    trace_id: str
    expires_at: datetime
    twin_expires_at: datetime | None
    first_unknown_at: datetime | None
    """When Meta may have taken it, without anybody knowing."""
    speaks: str
    """Who speaks for its key: ``this``, ``other``, ``nobody``, or ``""`` without a key."""


@dataclass(kw_only=True)
class Story:
    """All that is known of one event id."""

    event_id: str
    rows: list[Row]
    browser_told_at: datetime | None
    """When a browser was given its copy by a page's ticket or with an answer."""
    withheld: list[dict[str, Any]]
    """``site_pk, happened_at, withheld_at`` where it was reported before an answer."""
    keys: list[dict[str, Any]]
    """``pixel_id, event_name, settled, created_at``: outlive the rows."""

    @property
    def is_known(self) -> bool:
        """Whether anything at all is known."""
        return bool(self.rows or self.browser_told_at or self.withheld or self.keys)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, and times."""
        return asdict(self)


def of(event_id: str, *, using: str) -> Story:
    """Return what the tables know of ``event_id``."""
    rows = OutboxEvent.objects.using(using).filter(event_id=event_id).order_by("pk")
    keys = list(SentKey.objects.using(using).filter(event_id=event_id).order_by("pk"))
    told = AnsweredTicket.objects.using(using).filter(event_id=event_id)
    withheld = WithheldOrder.objects.using(using).filter(event_id=event_id).order_by("pk")
    return Story(
        event_id=event_id,
        rows=[_row(row, keys, using) for row in rows],
        browser_told_at=told.values_list("answered_at", flat=True).first(),
        withheld=[
            {
                "site_pk": each.site_pk,
                "happened_at": each.happened_at,
                "withheld_at": each.withheld_at,
            }
            for each in withheld
        ],
        keys=[
            {
                "pixel_id": key.pixel_id,
                "event_name": key.event_name,
                "settled": key.settled,
                "created_at": key.created_at,
            }
            for key in keys
        ],
    )


def _row(row: OutboxEvent, keys: Iterable[SentKey], using: str) -> Row:
    event, user_data = _object(row.event), _object(row.user_data)
    waits = row.state == State.PENDING
    return Row(
        pixel_id=row.pixel_id,
        event_name=row.event_name,
        site_pk=row.site_pk,
        born=_born(row),
        host=row.host,
        event_source_url=str(event.get("event_source_url", "")),
        action_source=str(event.get("action_source", "")),
        recorded_at=row.recorded_at,
        event_time=_time(event.get("event_time")),
        rank=row.rank,
        keyed=row.keyed,
        twin=row.twin,
        test_event_code=row.test_event_code,
        consent=_consent(row, using),
        custom_data=event.get("custom_data", {}),
        match_keys=sorted(user_data) if user_data or waits else None,
        state=row.state,
        reason=row.reason,
        final_at=row.final_at,
        due_at=row.due_at if waits else None,
        leased_until=row.leased_until,
        attempts=row.attempts,
        answers=[_answer(line) for line in row.answers.splitlines()],
        trace_id=row.trace_id,
        expires_at=row.expires_at,
        twin_expires_at=row.twin_expires_at,
        first_unknown_at=row.first_unknown_at,
        speaks=_speaks(row, keys),
    )


def _born(row: OutboxEvent) -> str:
    """Tell where an event was born. No column says so; its key and its name do, mostly."""
    if row.keyed or not catalogue.is_page_event(row.event_name):
        return "server"
    return "browser" if catalogue.is_standard(row.event_name) else "either"


def _consent(row: OutboxEvent, using: str) -> Consent:
    proofs = ConsentProof.objects.using(using).filter(proof_id=row.consent_proof)
    if row.consent_proof and (proof := proofs.first()):
        return Consent(
            choice=proof.choice,
            tool=proof.tool,
            proof=proof.proof_id,
            given_at=proof.given_at,
            text_version=proof.text_version,
        )
    # What the gate asked: by the settings as they are now, which is all that is left to ask.
    site = site_settings.refresh().site(row.site_pk)
    tool = site.consent_provider if site else ""
    is_needed = tool != ConsentProvider.NOT_REQUIRED or bool(row.consent_proof)
    return Consent(
        choice="granted" if is_needed else "not_required",
        tool=tool,
        proof=row.consent_proof,
        given_at=None,
        text_version="",
    )


def _speaks(row: OutboxEvent, keys: Iterable[SentKey]) -> str:
    if not row.keyed:
        return ""
    for key in keys:
        if (key.pixel_id, key.event_name) == (row.pixel_id, row.event_name):
            return "this" if key.row_id == row.pk else "other"
    return "nobody"


def _answer(line: str) -> dict[str, Any]:
    # Of a long story the beginning is cut off, in the middle of a line.
    if not (match := _ANSWER.fullmatch(line)):
        return {"at": None, "text": line}
    return {"at": datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S %z"), "text": match[2]}


def _object(data: bytes | memoryview) -> dict[str, Any]:
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(str(value)), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None
