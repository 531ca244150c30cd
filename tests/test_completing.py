"""A grant on the thank-you page completes the order that was withheld for want of an answer."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.sessions.backends import cache, cached_db, db, file, signed_cookies
from django.contrib.sessions.models import Session
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone
from wagtail.models import Site

from tests.factories import PIXEL_ID, PixelFactory, SettingsFactory
from tests.visits import AGENT, FBP, ask, change, counted, order, told, webhook
from wagtail_metapixel import (
    counters,
    declarations,
    keys,
    outbox,
    retention,
    signed_in,
    site_settings,
    unanswered,
    visitor,
)
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.models import AnsweredTicket, OutboxEvent, State, Twin, WithheldOrder
from wagtail_metapixel.tracking import remember, track

pytestmark = pytest.mark.django_db

PLACED = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
PAID = {
    "value": Decimal("54.90"),
    "currency": "EUR",
    "contents": [{"id": "sku-1", "quantity": 2, "item_price": Decimal("25.00")}],
}
TOLD = {
    "value": 54.9,
    "currency": "EUR",
    "contents": [{"id": "sku-1", "quantity": 2, "item_price": 25.0}],
}
GRANTED = "metapixel_consent=granted.0123abcd"


@pytest.fixture(autouse=True)
def committed(monkeypatch):
    """Run at once what waits for the commit: each test is one transaction."""
    monkeypatch.setattr(transaction, "on_commit", lambda work, **_options: work())


@pytest.fixture
def session(shop):
    """The session of a buyer with a cart."""
    kept = db.SessionStore()
    kept["cart"] = 7
    kept.save()
    return kept.session_key


def browse(session_key, answer="", address="/checkout/", store=db.SessionStore, **headers):
    """Return a request of the browser with this session."""
    cookies = {"sessionid": session_key} if session_key else {"_fbp": FBP}
    if answer:
        cookies["metapixel_consent"] = answer
    request = ask(address, cookies, **headers)
    request.session = store(session_key)
    return request


def buy(session_key):
    """Place and pay an order in one request, before any answer."""
    return track("Purchase", browse(session_key), key=order(), event_time=PLACED, **PAID)


def ticket(key=None, **params):
    """Return what the thank-you page's tag signs, with the order's parameters unless others."""
    markup = declarations.ticket(ask("/thanks/"), "Purchase", key or order(), **(params or PAID))
    return json.loads(markup.partition(">")[2].partition("<")[0])


def post(session_key, text=None, cookie=GRANTED, **headers):
    """Ask with the ticket, as metapixel.js does."""
    cookie = f"{cookie}; sessionid={session_key}" if session_key else cookie
    headers = {
        "Sec-Fetch-Site": "same-origin",
        "Origin": "http://testserver",
        "Referer": "http://testserver/thanks/17/",
        "User-Agent": AGENT,
        "Cookie": cookie,
    } | headers
    return Client().post(
        "/metapixel/ticket/",
        json.dumps({"ticket": text or ticket(), "fbp": FBP}),
        content_type="text/plain;charset=UTF-8",
        headers=headers,
        REMOTE_ADDR="203.0.113.7",
    )


def waits(response):
    """Tell whether the browser was told to ask again, and nothing was recorded."""
    return response.json() == {"wait": True} and not OutboxEvent.objects.exists()


# Completed


def test_a_grant_records_what_was_withheld_and_tells_the_browser_the_same(shop, session):
    assert not buy(session)
    answer = post(session).json()["event"]
    event, user_data = told()
    event_id = keys.event_id(
        site_settings.current().installation_key, shop.site_pk, order(), "Purchase"
    )
    assert event == {
        "event_name": "Purchase",
        "event_time": int(PLACED.timestamp()),
        "event_id": event_id,
        "action_source": "website",
        "event_source_url": "http://testserver/thanks/17/",
        "custom_data": event["custom_data"],
    }
    assert TOLD.items() <= event["custom_data"].items()
    assert user_data == {
        "client_ip_address": "203.0.113.7",
        "client_user_agent": AGENT,
        "fbp": FBP,
    }
    assert answer == {
        "i": event_id,
        "n": "Purchase",
        "p": event["custom_data"],
        "t": event["event_time"],
        "x": [PIXEL_ID],
    }


def test_the_row_is_that_of_a_granted_order(shop, session):
    buy(session)
    post(session)
    row = OutboxEvent.objects.get()
    assert (row.keyed, row.twin, row.state, row.consent_proof) == (
        True, Twin.MAYBE, State.PENDING, "0123abcd",
    )  # fmt: skip
    assert counted()[counters.WITHHELD, Reason.UNKNOWN] == 1


def test_a_reload_adds_nothing(shop, session):
    buy(session)
    assert post(session).status_code == 200
    assert post(session).status_code == 204
    assert OutboxEvent.objects.count() == AnsweredTicket.objects.count() == 1


def test_the_same_order_reported_again_later_is_the_same_event(shop, session):
    buy(session)
    post(session)
    site = Site.objects.get(pk=shop.site_pk)
    told_again = {"site": site, "consent": "granted", "user_data": {"email": "a@b.de"}}
    assert track("Purchase", key=order(), **told_again, **PAID)
    assert OutboxEvent.objects.values("event_id", "keyed").distinct().count() == 1


def test_two_tabs_at_once_make_one_event_and_one_copy(shop, session, monkeypatch):
    buy(session)
    monkeypatch.setattr(outbox, "is_recorded", lambda *_args, **_options: False)
    first, second = (post(session).json() for _tab in range(2))
    assert (first["event"]["n"], second) == ("Purchase", {"wait": True})
    assert OutboxEvent.objects.count() == 1


def test_an_order_paid_by_a_webhook_is_completed_in_the_session_that_placed_it(shop, session):
    assert not remember(browse(session), order())
    assert waits(post(session))
    assert track("Purchase", webhook(), key=order(), **PAID).reason == Reason.NO_COOKIES
    assert post(session).json()["event"]["n"] == "Purchase"


def test_a_webhook_without_a_request_counts_alike(shop, session):
    remember(browse(session), order())
    track("Purchase", key=order(), event_time=PLACED, **PAID)
    assert post(session).json()["event"]["t"] == int(PLACED.timestamp())


def test_a_webhook_is_believed_to_speak_of_the_only_shop(shop, session):
    second = PixelFactory(
        settings=SettingsFactory(site__hostname="tea.example"), hosts="tea.example"
    ).settings.site
    remember(browse(session), order())
    track("Purchase", webhook(), key=order(), **PAID)
    assert not WithheldOrder.objects.exists(), "it may be either's"
    track("Purchase", webhook(), key=order(), site=second, **PAID)
    assert waits(post(session))
    track("Purchase", webhook(), key=order(), site=Site.objects.get(pk=shop.site_pk), **PAID)
    assert post(session).status_code == 200


def test_a_site_that_limits_the_use_of_data_limits_it_here_too(shop, session):
    change(shop, limited_data_use=True)
    assert not buy(session)
    assert post(session).json()["event"]["n"] == "Purchase"
    assert told()[0]["data_processing_options"] == ["LDU"]


def test_the_next_person_at_this_browser_lends_the_order_nothing(shop, session, monkeypatch):
    remember(browse(session), order())
    track("Purchase", key=order(), **PAID)
    monkeypatch.setattr(signed_in, "user_data", lambda _request, _site: {"em": ["5" * 64]})
    assert post(session, cookie=f"{GRANTED}; {visitor.USER_COOKIE}=1").status_code == 200
    assert "em" not in told()[1]
    assert told()[1]["fbp"] == FBP


def test_a_refusal_at_the_checkout_holds_whatever_the_webhook_says(shop, session):
    remember(browse(session), order())
    assert track("Purchase", browse(session, "denied"), key=order(), **PAID).reason == Reason.DENIED
    track("Purchase", key=order(), **PAID)
    assert waits(post(session))
    assert not OutboxEvent.objects.exists()


def test_a_refusal_on_the_page_holds_against_a_later_yes(shop, session):
    buy(session)
    said = Client().post(
        "/metapixel/consent/",
        json.dumps({"choice": "denied"}),
        content_type="text/plain;charset=UTF-8",
        headers={"Origin": "http://testserver", "Cookie": f"sessionid={session}"},
    )
    assert said.status_code == 204
    assert waits(post(session))


def test_only_a_purchase_is_kept_for_later(shop, session):
    track("InitiateCheckout", browse(session), key=order(), **PAID)
    assert not WithheldOrder.objects.exists()


def test_a_pixel_that_browsers_alone_tell_is_told_by_the_browser_alone(session):
    PixelFactory._meta.model.objects.update(mode="browser")
    site_settings.refresh()
    buy(session)
    assert post(session).json()["event"]["x"] == [PIXEL_ID]
    assert OutboxEvent.objects.get().state == State.BROWSER


@pytest.mark.parametrize("store", [db, cached_db, cache, file], ids=lambda store: store.__name__)
def test_the_kind_of_session_does_not_matter(shop, settings, tmp_path, store):
    settings.SESSION_ENGINE = store.__name__
    settings.SESSION_FILE_PATH = str(tmp_path)
    kept = store.SessionStore()
    kept["cart"] = 7
    kept.save()
    remember(browse(kept.session_key, store=store.SessionStore), order())
    track("Purchase", key=order(), **PAID)
    assert post(kept.session_key).json()["event"]["n"] == "Purchase"


# Not completed


@pytest.mark.parametrize("answer", ["denied", "granted.0123abcd"])
def test_nothing_is_noted_once_there_is_an_answer(shop, session, answer):
    remember(browse(session, answer), order(1))
    track("Purchase", browse(session, answer), key=order(2), **PAID)
    assert not WithheldOrder.objects.exists()
    assert unanswered.SESSION_NAME not in db.SessionStore(session)


def test_an_order_placed_after_a_refusal_is_not_completed_by_a_webhooks_note(shop, session):
    remember(browse(session, "denied"), order())
    track("Purchase", key=order(), **PAID)
    assert waits(post(session))


def test_a_signal_of_the_browsers_is_a_refusal(shop, session):
    track("Purchase", browse(session, Sec_GPC="1"), key=order(), **PAID)
    assert not WithheldOrder.objects.exists()
    buy(session)
    assert post(session, **{"Sec-GPC": "1"}).status_code == 204
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("elsewhere", ["another session", "no session"])
def test_another_browser_completes_nothing(shop, session, elsewhere):
    buy(session)
    other = db.SessionStore()
    other["cart"] = 8
    other.save()
    assert waits(post(other.session_key if elsewhere == "another session" else ""))
    assert post(session).status_code == 200


def test_staff_note_nothing_and_complete_nothing(shop, session):
    staff = ask("/orders/17/paid/", {"sessionid": session, "metapixel_off": ""})
    staff.session = db.SessionStore(session)
    remember(staff, order())
    track("Purchase", staff, key=order(), **PAID)
    assert unanswered.SESSION_NAME not in db.SessionStore(session)
    assert waits(post(session))


def test_what_was_not_withheld_yet_is_waited_for(shop, session):
    remember(browse(session), order())
    assert waits(post(session))


def test_another_orders_ticket_is_waited_for(shop, session):
    buy(session)
    assert waits(post(session, ticket(order(18))))


def test_a_ticket_without_parameters_is_waited_for(shop, session):
    buy(session)
    markup = declarations.ticket(ask("/thanks/"), "Purchase", order())
    assert waits(post(session, json.loads(markup.partition(">")[2].partition("<")[0])))


@pytest.mark.parametrize("field", ["happened_at", "withheld_at"])
def test_a_day_later_it_is_too_late(shop, session, field):
    buy(session)
    WithheldOrder.objects.update(**{field: timezone.now() - timedelta(hours=24, minutes=1)})
    assert waits(post(session))
    WithheldOrder.objects.update(**{field: timezone.now() - timedelta(hours=23)})
    assert post(session).status_code == 200


def test_the_next_site_completes_nothing(shop, session):
    buy(session)
    WithheldOrder.objects.update(site_pk=shop.site_pk + 1)
    assert waits(post(session))


def test_a_pixel_that_no_longer_wants_the_event_does_not_get_it(shop, session):
    buy(session)
    PixelFactory._meta.model.objects.update(events=["Lead"])
    site_settings.refresh()
    text = ticket()
    assert waits(post(session, text))


def test_without_anything_to_recognise_the_person_by_nothing_is_recorded(
    shop, session, monkeypatch
):
    buy(session)
    monkeypatch.setattr("wagtail_metapixel.completing.matching.enough", lambda _found: False)
    assert waits(post(session))
    assert counted()[counters.WITHHELD, Reason.NO_IDENTIFIER] == 1


@pytest.mark.parametrize(
    "choices",
    [{"enabled": False}, {"consent_provider": ""}],
    ids=lambda choices: next(iter(choices)),
)
def test_a_site_that_may_not_send_notes_nothing(shop, session, choices):
    change(shop, **choices)
    remember(browse(session), order())
    track("Purchase", browse(session), key=order(), **PAID)
    assert not WithheldOrder.objects.exists()
    assert unanswered.SESSION_NAME not in db.SessionStore(session)


@pytest.mark.parametrize(
    "limit",
    [
        {"opt_out": True},
        {"data_processing_options": ["LDU"]},
        {"action_source": "physical_store"},
        {"event_time": 5},
    ],
    ids=lambda limit: next(iter(limit)),
)
def test_what_the_page_could_not_tell_as_it_was_said_is_not_completed(shop, session, limit):
    track("Purchase", browse(session), key=order(), **PAID, **limit)
    track("Purchase", key=order(), **PAID, **limit)
    assert not WithheldOrder.objects.exists()


def test_an_event_without_a_key_is_never_completed(shop, session):
    track("AddToCart", browse(session), **PAID)
    assert not WithheldOrder.objects.exists()
    assert unanswered.SESSION_NAME not in db.SessionStore(session)


# What is kept


def test_the_note_of_a_withheld_order_says_nothing_of_the_person(shop, session):
    person = {"email": "jane.canary@example.com", "phone": "+48601234567"}
    track("Purchase", browse(session), key=order(), user_data=person, event_time=PLACED, **PAID)
    row = WithheldOrder.objects.values().get()
    assert set(row) == {"id", "event_id", "site_pk", "happened_at", "withheld_at"}
    assert (row["site_pk"], row["happened_at"]) == (shop.site_pk, PLACED)
    assert len(row["event_id"]) == 32


def test_a_time_that_is_not_given_is_now(shop, session, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    track("Purchase", browse(session), key=order(), **PAID)
    assert WithheldOrder.objects.get().happened_at == datetime.fromtimestamp(int(now), tz=UTC)


def test_an_order_that_was_rolled_back_leaves_no_note(shop, session):
    with transaction.atomic():
        buy(session)
        assert WithheldOrder.objects.exists()
        transaction.set_rollback(True)
    assert not WithheldOrder.objects.exists()


def test_the_session_holds_a_digest_of_the_newest_five_orders(shop, session):
    for number in (1, 2, 3, 3, 4, 5, 6):
        remember(browse(session), order(number))
    held = db.SessionStore(session)
    noted = held[unanswered.SESSION_NAME]
    assert noted == [unanswered.order_digest(order(number)) for number in (2, 3, 4, 5, 6)]
    assert all(len(digest) == 24 for digest in noted)
    assert held["cart"] == 7


def test_what_another_request_wrote_meanwhile_stays(shop, session):
    request = browse(session)
    assert request.session["cart"] == 7
    other = db.SessionStore(session)
    other["cart"] = 8
    other.save()
    remember(request, order())
    assert db.SessionStore(session)["cart"] == 8
    assert not request.session.modified


def test_what_the_shop_itself_writes_afterwards_keeps_the_note(shop, session):
    request = browse(session)
    remember(request, order())
    request.session["cart"] = 9
    request.session.save()
    assert unanswered.SESSION_NAME in db.SessionStore(session)


def test_a_session_in_cookies_is_left_to_the_response(shop):
    store = signed_cookies.SessionStore()
    store["cart"] = 7
    store.save()
    request = browse(store.session_key, store=signed_cookies.SessionStore)
    remember(request, order())
    assert request.session.modified
    assert request.session[unanswered.SESSION_NAME] == [unanswered.order_digest(order())]


def test_the_session_is_written_after_the_commit(shop, session, monkeypatch):
    waiting = []
    monkeypatch.setattr(transaction, "on_commit", lambda work, **_options: waiting.append(work))
    remember(browse(session), order())
    assert unanswered.SESSION_NAME not in db.SessionStore(session)
    for work in waiting:
        work()
    assert unanswered.SESSION_NAME in db.SessionStore(session)


# Nothing of it may cost the shop anything


@pytest.mark.parametrize(
    "key", [None, "1nv3nt3dbyth3browser1nv3nt3dbyth"], ids=["none", "invented"]
)
def test_no_session_is_ever_begun(shop, key):
    request = browse(key)
    request.session = db.SessionStore(key)
    remember(request, order())
    track("Purchase", request, key=order(), **PAID)
    assert not request.session.modified
    assert not Session.objects.exists()


def test_a_request_without_sessions_is_served(shop, session):
    request = browse(session)
    del request.session
    assert not remember(request, order())
    assert track("Purchase", request, key=order(), **PAID).reason == Reason.UNKNOWN


@pytest.mark.parametrize("broken", ["load", "save"])
def test_a_session_that_cannot_be_used_breaks_nothing(shop, session, monkeypatch, broken, caplog):
    def fail(*_args, **_options):
        raise DatabaseError("jane@example.com")

    request = browse(session)
    monkeypatch.setattr(db.SessionStore, broken, fail)
    assert not remember(request, order())
    assert track("Purchase", request, key=order(), **PAID).reason == Reason.UNKNOWN
    assert not request.session.modified
    assert "DatabaseError" in caplog.text
    assert "jane@example.com" not in caplog.text


def test_a_session_deleted_meanwhile_breaks_nothing(shop, session):
    request = browse(session)
    assert request.session["cart"] == 7
    Session.objects.all().delete()
    remember(request, order())
    assert not request.session.modified
    assert not Session.objects.exists()


def test_a_session_that_cannot_be_read_leaves_the_page_waiting(shop, session, monkeypatch):
    buy(session)
    text = ticket()

    def fail(_self):
        raise DatabaseError

    monkeypatch.setattr(db.SessionStore, "load", fail)
    assert waits(post(session, text))


def test_a_refused_insert_breaks_nothing(shop, session, monkeypatch, caplog):
    def fail(_self, **_values):
        raise DatabaseError("jane@example.com")

    monkeypatch.setattr(WithheldOrder._meta.default_manager._queryset_class, "create", fail)
    with transaction.atomic():
        assert buy(session).reason == Reason.UNKNOWN
        assert Session.objects.exists(), "the transaction is still good"
    assert "DatabaseError" in caplog.text
    assert "jane@example.com" not in caplog.text


# Purged


def test_a_note_older_than_a_day_is_purged(shop, session):
    buy(session)
    track("Purchase", browse(session), key=order(18), **PAID)
    old = WithheldOrder.objects.earliest("pk")
    WithheldOrder.objects.filter(pk=old.pk).update(
        withheld_at=timezone.now() - timedelta(hours=24, minutes=1)
    )
    assert retention.purge(using="default")["withheld_orders"] == 1
    assert not WithheldOrder.objects.filter(pk=old.pk).exists()
    assert WithheldOrder.objects.count() == 1
