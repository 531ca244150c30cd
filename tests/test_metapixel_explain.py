from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from tests.factories import PIXEL_ID, OutboxEventFactory, PixelFactory
from wagtail_metapixel import tracking
from wagtail_metapixel.models import (
    AnsweredTicket,
    ConsentProof,
    OutboxEvent,
    SentKey,
    State,
    Twin,
    WithheldOrder,
)

pytestmark = pytest.mark.django_db

ID = "5f0c4d2be6d84e9f8e1d3c5b7a90f1e2"
OTHER_PIXEL = "9999999999"
THEN = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
THEN_TEXT = "2026-05-04 12:30:15 UTC"
EVENT = (
    b'{"event_name":"Purchase","event_time":1777897815,"event_id":"x","action_source":"website",'
    b'"event_source_url":"https://testserver/checkout/",'
    b'"custom_data":{"value":59.0,"currency":"EUR"}}'
)
PERSON = b'{"em":["canary"],"client_ip_address":"203.0.113.7","fbp":"canary"}'


def run(*arguments):
    """Run the command; gives what it printed, and how it ended."""
    out = io.StringIO()
    try:
        call_command("metapixel_explain", *arguments, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue() + str(error), error.returncode
    return out.getvalue(), 0


def document(event_id=ID):
    return json.loads(run("--json", event_id)[0])


def told(name):
    """What the lines of that name say."""
    lines = run(ID)[0].splitlines()
    return [line[14:] for line in lines if line.startswith(f"  {name:<12}")]


def purchase(**values):
    return OutboxEventFactory(
        **{
            "event_id": ID, "event_name": "Purchase", "event": EVENT, "user_data": PERSON,
            "recorded_at": THEN, "keyed": True, "twin": Twin.MAYBE, "rank": 0, **values,
        }
    )  # fmt: skip


def test_a_waiting_event_tells_where_it_was_born_and_what_it_waits_for():
    row = purchase(due_at=THEN, expires_at=THEN + timedelta(days=7), reason="No access token.")
    text, exit_status = run(ID)
    assert exit_status == 0
    assert text.splitlines()[:2] == [f"Event {ID}", f"Purchase for pixel {PIXEL_ID}: pending"]
    assert told("born") == [f"on the server; recorded {THEN_TEXT}"]
    place = f"https://testserver/checkout/ (host testserver, site {row.site_pk})"
    assert told("happened") == [f"{THEN_TEXT}, website at {place}"]
    assert told("says") == ['{"value": 59.0, "currency": "EUR"}']
    assert told("rank") == ["0 (0 leaves first)"]
    assert told("now") == [f"waits; due {THEN_TEXT}: No access token."]
    assert told("deadlines") == ["Meta takes it until 2026-05-11 12:30:15 UTC"]


def test_match_keys_are_told_by_name_and_never_by_value():
    purchase()
    assert told("match keys") == ["client_ip_address, em, fbp"]
    for text in (run(ID)[0], run("--json", ID)[0]):
        assert "canary" not in text
        assert "203.0.113.7" not in text


def test_a_final_row_says_that_its_match_keys_are_deleted():
    purchase(state=State.SENT, final_at=THEN, user_data=b"{}", trace_id="AbC")
    assert told("match keys") == ["deleted: what is over keeps nothing of the person"]
    assert told("now") == [f"sent since {THEN_TEXT}; Meta's trace id AbC"]
    row = document()["rows"][0]
    assert (row["match_keys"], row["due_at"]) == (None, None)


def test_each_try_is_told_with_its_answer():
    purchase(
        attempts=2,
        answers="g of a line that was cut off\n2026-05-04 12:30:15 +0000 HTTP 500\n",
        leased_until=THEN,
        first_unknown_at=THEN,
    )
    assert told("story") == ["g of a line that was cut off", f"{THEN_TEXT}: HTTP 500"]
    assert told("failed") == ["2 times"]
    assert told("now") == [f"on its way until {THEN_TEXT}"]
    assert told("unknown") == [f"Meta may have taken it already, {THEN_TEXT}"]
    assert document()["rows"][0]["answers"][1] == {
        "at": "2026-05-04T12:30:15+00:00",
        "text": "HTTP 500",
    }


@pytest.mark.parametrize(
    ("values", "born"),
    [
        ({"event_name": "PageView", "keyed": False}, "browser"),
        ({"event_name": "AddToCart", "keyed": False}, "server"),
        ({"event_name": "Purchase"}, "server"),
        ({"event_name": "ViewContent"}, "server"),
        ({"event_name": "MyOwn", "keyed": False}, "either"),
    ],
)
def test_the_birthplace_is_told_as_far_as_it_is_known(values, born):
    purchase(**values)
    assert document()["rows"][0]["born"] == born


# The gate


def test_the_proof_of_consent_is_told():
    purchase(consent_proof="ab" * 16)
    ConsentProof.objects.create(
        proof_id="ab" * 16, site_pk=1, choice="granted", tool="cookie", given_at=THEN,
        text_version="7",
    )  # fmt: skip
    assert told("gate") == [f"granted {THEN_TEXT}, cookie, text 7; proof {'ab' * 16}"]


def test_a_proof_that_is_not_kept_any_more_is_named():
    purchase(consent_proof="ab" * 16)
    assert told("gate") == [f"granted; its proof {'ab' * 16} is not kept any more"]


def test_consent_without_a_proof_names_the_tool_of_the_site():
    PixelFactory(settings__consent_provider="cookiebot")
    purchase()
    assert told("gate") == ["open: granted, without a proof of ours; the site asks cookiebot now"]


def test_consent_that_is_not_required_says_so():
    PixelFactory(settings__consent_provider="not_required")
    purchase()
    assert told("gate") == ["open: consent is not required, by the settings as they are now"]
    assert document()["rows"][0]["consent"]["choice"] == "not_required"


def test_a_row_whose_site_is_gone_is_told_all_the_same():
    purchase(site_pk=987_654)
    assert told("gate") == ["open: granted, without a proof of ours"]


# The browser, the key, what was withheld


def test_the_browsers_copy_is_told_when_it_was_handed_out():
    purchase()
    assert told("browser") == ["may tell it, too; none has asked for its copy yet"]
    AnsweredTicket.objects.create(event_id=ID, answered_at=THEN)
    assert told("browser") == [f"was given its copy {THEN_TEXT}"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"twin": Twin.NO}, "none may tell it: it is the server's alone"),
        ({"twin": Twin.PIXEL}, "none tells this pixel, by the settings when it was recorded"),
        ({"event_name": "PageView", "keyed": False}, "has told it itself"),
        ({"event_name": "AddToCart", "keyed": False}, "may tell it, too"),
    ],
)
def test_who_else_tells_the_event_is_told(values, text):
    purchase(**values)
    assert told("browser") == [text]


def test_who_speaks_for_the_key_is_told():
    row = purchase()
    assert told("key") == ["happens once; nobody speaks for it yet"]
    key = SentKey.objects.create(
        pixel_id=PIXEL_ID, event_name="Purchase", event_id=ID, row_id=row.pk
    )
    assert told("key") == ["happens once; this row speaks for it"]
    SentKey.objects.filter(pk=key.pk).update(row_id=row.pk + 1)
    assert told("key") == ["happens once; another row speaks for it"]


def test_the_key_outlives_the_row():
    SentKey.objects.create(
        pixel_id=PIXEL_ID, event_name="Purchase", event_id=ID, row_id=1, settled=True,
        created_at=THEN,
    )  # fmt: skip
    text, exit_status = run(ID)
    assert exit_status == 0
    assert f"Purchase was told to pixel {PIXEL_ID}; seen {THEN_TEXT}\n" in text
    assert "No row is kept" in text


def test_what_was_withheld_is_told():
    WithheldOrder.objects.create(event_id=ID, site_pk=1, happened_at=THEN, withheld_at=THEN)
    text, exit_status = run(ID)
    assert exit_status == 0
    assert (
        f"Withheld {THEN_TEXT}, before the visitor had answered; it happened {THEN_TEXT}." in text
    )
    assert document()["withheld"][0]["withheld_at"] == "2026-05-04T12:30:15+00:00"


def test_each_pixel_has_its_paragraph():
    purchase()
    purchase(pixel_id=OTHER_PIXEL, state=State.REJECTED, final_at=THEN, reason="Meta error 100")
    lines = run(ID)[0].splitlines()
    assert f"Purchase for pixel {PIXEL_ID}: pending" in lines
    assert f"Purchase for pixel {OTHER_PIXEL}: rejected" in lines
    assert told("now")[1] == f"rejected since {THEN_TEXT}: Meta error 100"


def test_an_event_of_track_is_found_by_the_id_it_returned(settings, shop):
    found = tracking.track(
        "Lead", site=_site(shop), consent="granted", user_data={"email": "jana@example.com"},
        key="17",
    )  # fmt: skip
    assert found.recorded
    text, exit_status = run(found.event_id)
    assert exit_status == 0
    assert f"Lead for pixel {PIXEL_ID}: pending" in text
    assert "  match keys  em\n" in text
    assert "jana" not in text


def _site(shop):
    return PixelFactory._meta.model.objects.get(pixel_id=PIXEL_ID).settings.site


# What cannot be told


@pytest.mark.parametrize("event_id", ["0" * 32, "", "x" * 500, "\x1b[2J"])
def test_an_unknown_id_says_what_to_try(event_id):
    purchase()
    text, exit_status = run(event_id)
    assert exit_status == 1
    assert text.startswith("Nothing is known of this event id.")
    assert "manage.py metapixel_status" in text
    assert "\x1b" not in text


def test_an_unknown_id_is_a_document_too():
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("metapixel_explain", "--json", "0" * 32, stdout=out)
    found = json.loads(out.getvalue())
    assert (found["known"], found["rows"]) == (False, [])


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b'{"event_time":"x","custom_data":[1]}'])
def test_bytes_that_are_no_event_break_nothing(data):
    purchase(event=data, user_data=data)
    assert run(ID)[1] == 0
    assert run("--json", ID)[1] == 0


def test_nothing_of_an_event_steers_the_terminal():
    purchase(event='{"event_source_url":"https://a/\x9b2J","custom_data":{"a":"\u202e"}}'.encode())
    text = run(ID)[0]
    assert "\x9b" not in text
    assert "\u202e" not in text


def test_nothing_is_changed():
    purchase()
    before = list(OutboxEvent.objects.values())
    run(ID)
    assert list(OutboxEvent.objects.values()) == before
