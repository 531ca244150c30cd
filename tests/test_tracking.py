from __future__ import annotations

import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory
from django.urls import path
from django.utils import timezone
from wagtail.models import Site

from tests.factories import PIXEL_ID, PixelFactory, SiteFactory
from tests.visits import (
    AGENT,
    CART,
    COOKIES,
    FBP,
    GRANTED,
    PAID,
    PERSON,
    ask,
    change,
    counted,
    echo,
    order,
    told,
    webhook,
)
from wagtail_metapixel import (
    counters,
    keys,
    matching,
    outbox,
    recording,
    signals,
    site_settings,
    tracking,
    visitor,
)
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.models import OutboxEvent, State, Twin, VisitorRecord
from wagtail_metapixel.order_totals import OrderTotal
from wagtail_metapixel.tracking import aremember, atrack, remember, track
from wagtail_metapixel.visitor import Visitor


@pytest.fixture
def debug(settings):
    settings.DEBUG = True


# Once to a browser, too


def test_event_with_a_key_is_handed_to_a_browser_only_once(
    shop, django_capture_on_commit_callbacks
):
    first, reload, other = ask("/checkout/"), ask("/checkout/"), ask("/checkout/", COOKIES)
    for request in (first, reload, other):
        with django_capture_on_commit_callbacks(execute=True):
            assert track("InitiateCheckout", request, key="cart-1", **PAID)
    assert [len(echo(request)) for request in (first, reload, other)] == [1, 0, 0]
    assert OutboxEvent.objects.count() == 3


def test_events_without_a_key_are_each_handed_over(shop, django_capture_on_commit_callbacks):
    requests = [ask(), ask()]
    for request in requests:
        with django_capture_on_commit_callbacks(execute=True):
            track("AddToCart", request, **CART)
    assert [len(echo(request)) for request in requests] == [1, 1]


# Another browser than the buyer's

STRANGER = GRANTED | {"_fbp": f"fb.1.{int(time.time() * 1000)}.999", "sessionid": "0th3r"}


def test_another_browser_lends_nothing_to_the_buyers_event_and_gets_no_copy(
    shop, django_capture_on_commit_callbacks
):
    remember(ask(), order())
    stranger = ask("/orders/17/paid/", STRANGER)
    with django_capture_on_commit_callbacks(execute=True):
        track("Purchase", stranger, key=order(), **PAID)
    _event, user_data = told()
    assert user_data["fbp"] == FBP
    assert echo(stranger) == []


def test_return_that_carries_the_session_alone_is_decided_by_the_visitor_kept(shop):
    remember(ask(), order())
    returned = ask("/return/", {"sessionid": COOKIES["sessionid"]})
    assert track("Purchase", returned, key=order(), **PAID)
    assert told()[1]["fbp"] == FBP


def test_machine_that_posts_without_a_page_behind_it_is_nobody(shop):
    change(shop, consent_provider="not_required", consent_statement="Members only.")
    tracked = track("Purchase", webhook(), **PAID)
    assert (bool(tracked), tracked.reason) == (False, Reason.NO_COOKIES)


def test_first_visit_without_cookies_is_somebody_where_nobody_is_asked(shop):
    change(shop, consent_provider="not_required", consent_statement="Members only.")
    assert track("AddToCart", ask(cookies={}), **CART)


def test_stated_consent_does_not_overrule_what_the_visitor_says_now(shop):
    request = ask(cookies=COOKIES | {"metapixel_consent": "denied"})
    tracked = track("AddToCart", request, consent="granted", **CART)
    assert (bool(tracked), tracked.reason) == (False, Reason.DENIED)


# Recording


def test_event_is_recorded_for_the_visitor_who_asked(shop):
    tracked = track("AddToCart", ask(), **CART)
    row = OutboxEvent.objects.get()
    event, user_data = told(row)
    assert tracked
    assert (row.site_pk, row.pixel_id, row.state) == (shop.site_pk, PIXEL_ID, State.PENDING)
    assert (row.keyed, row.twin, row.consent_proof) == (False, Twin.MAYBE, "0123abcd")
    assert event.pop("event_time") == pytest.approx(time.time(), abs=5)
    assert event == {
        "event_name": "AddToCart",
        "event_id": tracked.event_id,
        "action_source": "website",
        "event_source_url": "http://testserver/shoes/",
        "custom_data": {
            "value": 12.5,
            "currency": "EUR",
            "contents": [{"id": "sku-1", "quantity": 2}],
            "content_ids": ["sku-1"],
            "content_type": "product",
            "num_items": 2,
        },
    }
    assert user_data == {
        "client_ip_address": "203.0.113.7",
        "client_user_agent": AGENT,
        "fbp": FBP,
    }


@pytest.mark.parametrize("pixels", [1, 2])
def test_recording_is_one_insert_in_a_savepoint(shop, pixels, django_assert_num_queries):
    if pixels == 2:
        PixelFactory(pixel_id="9999999999")
        site_settings.current()
    request = ask()
    with django_assert_num_queries(3) as queries:
        track("AddToCart", request, **CART)
    assert [query["sql"].split()[0] for query in queries] == ["SAVEPOINT", "INSERT", "RELEASE"]
    assert OutboxEvent.objects.count() == pixels


def test_event_with_a_key_reads_whose_it_is_before_its_one_insert(shop, django_assert_num_queries):
    request = ask()
    with django_assert_num_queries(4) as queries:
        track("Purchase", request, key=order(), **PAID)
    verbs = [query["sql"].split()[0] for query in queries]
    assert verbs == ["SAVEPOINT", "SELECT", "INSERT", "RELEASE"]


def test_each_pixel_has_a_row_of_its_own_with_the_same_id(shop):
    PixelFactory(pixel_id="9999999999")
    track("Lead", ask())
    rows = OutboxEvent.objects.values_list("pixel_id", "event_id")
    assert len(rows) == 2
    assert len({event_id for _pixel, event_id in rows}) == 1


def test_pixel_that_did_not_choose_the_event_gets_none(shop):
    PixelFactory(pixel_id="9999999999", events=["Lead"])
    track("AddToCart", ask())
    assert OutboxEvent.objects.get().pixel_id == PIXEL_ID


@pytest.mark.parametrize(
    ("name", "rank"), [("Purchase", 0), ("AddToCart", 20), ("ViewContent", 30), ("Own Event", 25)]
)
def test_event_has_the_rank_of_its_name(shop, name, rank):
    track(name, ask(), **PAID)
    assert OutboxEvent.objects.get().rank == rank


def test_time_is_when_it_happened(shop):
    placed_at = timezone.now() - timedelta(days=2)
    track("Purchase", ask(), key=order(), event_time=placed_at, **PAID)
    row = OutboxEvent.objects.get()
    assert told(row)[0]["event_time"] == int(placed_at.timestamp())
    assert abs(row.expires_at - placed_at - timedelta(days=7)) <= timedelta(minutes=31)
    assert row.twin_expires_at > timezone.now() + timedelta(hours=47)


def test_event_of_a_shop_counter_may_be_62_days_old_and_has_no_twin(shop):
    sold_at = timezone.now() - timedelta(days=60)
    sale = {"action_source": "physical_store", "consent": "granted", "user_data": PERSON}
    track("Purchase", ask(), event_time=sold_at, **sale, **PAID)
    row = OutboxEvent.objects.get()
    assert (row.state, row.twin, row.twin_expires_at) == (State.PENDING, Twin.NO, None)
    assert row.expires_at > timezone.now() + timedelta(days=1)
    assert "event_source_url" not in told(row)[0]


def test_those_who_listen_hear_of_it_and_cannot_disturb_it(shop):
    heard = []

    def listen(sender, **arguments):
        heard.append(arguments)
        raise RuntimeError

    signals.event_tracked.connect(listen)
    try:
        tracked = track("Lead", ask())
    finally:
        signals.event_tracked.disconnect(listen)
    [arguments] = heard
    assert arguments.pop("signal") is signals.event_tracked
    assert arguments == {
        "event_name": "Lead",
        "event_id": tracked.event_id,
        "site_pk": shop.site_pk,
    }


# The gate


CLOSED = {
    Reason.UNKNOWN: lambda: ask(cookies={"_fbp": FBP}),
    Reason.DENIED: lambda: ask(cookies={"metapixel_consent": "denied"}),
    Reason.GPC: lambda: ask(Sec_GPC="1"),
    Reason.STAFF: lambda: ask(cookies=COOKIES | {"metapixel_off": ""}),
    Reason.HOST: lambda: ask(Host="staging.example"),
}


@pytest.mark.parametrize("reason", CLOSED)
def test_closed_gate_withholds_counts_and_says_why(shop, reason):
    request = CLOSED[reason]()
    change(shop)
    default_site(shop)
    tracked = track("AddToCart", request, **CART)
    assert (bool(tracked), tracked.reason) == (False, reason)
    assert counted() == {(counters.WITHHELD, str(reason)): 1}
    assert not OutboxEvent.objects.exists()
    assert echo(request) == []


def default_site(site):
    """Let a site answer for hosts that nobody listed."""
    SiteFactory._meta.model.objects.update(is_default_site=False)
    SiteFactory._meta.model.objects.filter(pk=site.site_pk).update(is_default_site=True)
    site_settings.clear()


@pytest.mark.parametrize(
    ("choices", "reason"),
    [({"enabled": False}, Reason.DISABLED), ({"consent_provider": ""}, Reason.NO_PROVIDER)],
)
def test_owner_closes_the_gate(shop, choices, reason):
    change(shop, **choices)
    assert track("Lead", ask()).reason == reason


@pytest.mark.parametrize("reason", CLOSED)
def test_closed_gate_parses_nothing_of_a_person(shop, reason, monkeypatch):
    request, parsed = CLOSED[reason](), []
    default_site(shop)
    site_settings.current()
    for module, name in [(matching, "match"), (visitor, "read"), (visitor, "client_ip_address")]:
        monkeypatch.setattr(module, name, lambda *args, **kwargs: parsed.append(args))
    track("Lead", request, user_data=PERSON)
    remember(request, order())
    assert parsed == []


def test_withheld_event_touches_no_database(shop, django_assert_num_queries):
    request = ask(cookies={})
    with django_assert_num_queries(0):
        track("Lead", request)


def test_those_who_listen_hear_what_was_withheld(shop):
    heard = []

    def listen(event_name, reason, site_pk, **_kwargs):
        heard.append((event_name, reason, site_pk))

    signals.event_withheld.connect(listen)
    try:
        track("Lead", ask(cookies={}))
    finally:
        signals.event_withheld.disconnect(listen)
    assert heard == [("Lead", str(Reason.UNKNOWN), shop.site_pk)]


def test_event_by_which_meta_could_recognise_nobody_is_withheld(shop):
    request = RequestFactory().post("/", headers={"Cookie": "metapixel_consent=granted"})
    request.META["REMOTE_ADDR"] = "10.0.0.1"
    assert track("Lead", request).reason == Reason.NO_IDENTIFIER


@pytest.mark.parametrize(
    ("stated", "reason"), [("granted", ""), ("denied", Reason.DENIED), ("unknown", Reason.UNKNOWN)]
)
def test_decision_kept_from_earlier_opens_or_closes_the_gate(shop, stated, reason):
    site = SiteFactory._meta.model.objects.get(pk=shop.site_pk)
    tracked = track("Lead", site=site, consent=stated, user_data=PERSON)
    assert tracked.reason == reason


# Transactions


@pytest.mark.django_db(transaction=True)
def test_rolled_back_order_is_neither_recorded_nor_echoed(shop):
    request = ask()
    with pytest.raises(ZeroDivisionError):
        place_order_that_fails(request)
    assert not OutboxEvent.objects.exists()
    assert echo(request) == []


def place_order_that_fails(request):
    with transaction.atomic():
        assert track("Purchase", request, key=order(), **PAID)
        raise ZeroDivisionError


@pytest.mark.django_db(transaction=True)
def test_savepoint_that_is_rolled_back_takes_its_event_along(shop):
    request = ask()
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            place_order_that_fails(request)
        track("Lead", request)
    assert OutboxEvent.objects.get().event_name == "Lead"
    assert [copy["n"] for copy in echo(request)] == ["Lead"]


@pytest.mark.django_db(transaction=True)
def test_event_is_echoed_once_its_order_is_committed(shop):
    request = ask()
    with transaction.atomic():
        tracked = track("Purchase", request, key=order(), net_revenue=9, **PAID)
        assert echo(request) == []
    [copy] = echo(request)
    assert (copy["i"], copy["n"], copy["x"]) == (tracked.event_id, "Purchase", [PIXEL_ID])
    assert copy["p"] == {"value": 50, "currency": "EUR"}


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_the_echo_is_there_at_once(shop):
    request = ask()
    track("Lead", request)
    assert len(echo(request)) == 1


def test_event_that_happened_elsewhere_is_not_echoed(shop, django_capture_on_commit_callbacks):
    request = ask()
    with django_capture_on_commit_callbacks(execute=True):
        assert track("Lead", request, action_source="chat")
    assert echo(request) == []


@pytest.mark.parametrize("action_source", ["physical_store", "phone_call"])
def test_whoever_types_in_an_order_from_the_till_or_the_phone_lends_nothing(shop, action_source):
    told_by_staff = {"action_source": action_source, "key": order(), **PAID}
    assert track("Purchase", ask(), **told_by_staff).reason == Reason.NO_VISITOR
    assert track("Purchase", ask(), consent="granted", user_data=PERSON, **told_by_staff)
    event, user_data = told()
    assert event["action_source"] == action_source
    assert user_data.keys() == {"em", "ph", "ln"}


def test_without_our_middleware_nobody_would_take_the_echo(
    shop, django_capture_on_commit_callbacks
):
    request = RequestFactory().post(
        "/", headers={"Cookie": f"metapixel_consent=granted; _fbp={FBP}"}
    )
    with django_capture_on_commit_callbacks(execute=True):
        assert track("Lead", request)
    assert echo(request) == []


@pytest.fixture
def broken_insert(monkeypatch):
    """Let the database refuse our INSERTs: a column that may not be empty is."""

    def row_without_site(*args, make=recording.rows, **kwargs):
        rows = make(*args, **kwargs)
        for row in rows:
            row.site_pk = None
        return rows

    monkeypatch.setattr(recording, "rows", row_without_site)
    monkeypatch.setattr(visitor, "_record_digest", lambda key, snapshot: None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["track", "remember"])
def test_database_that_refuses_our_row_leaves_the_callers_transaction_alone(
    shop, broken_insert, verb, caplog
):
    request = ask()
    with transaction.atomic():
        Group.objects.create(name="before")
        if verb == "track":
            done = track("Purchase", request, key=order(), **PAID)
        else:
            done = remember(request, order())
        Group.objects.create(name="after")
    assert not done
    assert Group.objects.filter(name__in=["before", "after"]).count() == 2
    assert echo(request) == []
    assert "IntegrityError" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_visitor_that_cannot_be_read_leaves_the_callers_transaction_alone(shop, monkeypatch):
    monkeypatch.setattr(VisitorRecord._meta, "db_table", "no_such_table")
    with transaction.atomic():
        Group.objects.create(name="before")
        assert not track("Purchase", key=order(), **PAID)
        Group.objects.create(name="after")
    assert Group.objects.filter(name__in=["before", "after"]).count() == 2
    assert sum(counted().values()) == 1


# Keys


def test_any_number_of_signals_for_one_fact_have_one_id(shop):
    request = ask()
    remember(request, order())
    signals_of_one_order = [
        track("Purchase", request, key=order(), **PAID),
        track("Purchase", request, key=order(), **PAID),
        track("Purchase", key=order(), **PAID),
        track("Purchase", webhook(), key=order(), **PAID),
    ]
    assert all(signals_of_one_order)
    assert len({tracked.event_id for tracked in signals_of_one_order}) == 1
    assert set(OutboxEvent.objects.values_list("keyed", flat=True)) == {True}


def test_another_key_name_or_site_is_another_event(shop):
    other = SiteFactory(hostname="other.example")
    PixelFactory(settings__site=other, hosts="testserver")
    ids = [
        track("Purchase", ask(), key=order(), **PAID).event_id,
        track("Purchase", ask(), key=order(18), **PAID).event_id,
        track("Purchase", ask(), key=(order(), 1), **PAID).event_id,
        track("Lead", ask(), key=order()).event_id,
        track("Purchase", ask(), key=order(), site=other, **PAID).event_id,
    ]
    assert "" not in ids
    assert len(set(ids)) == 5


def test_events_without_a_key_are_each_their_own(shop):
    assert track("AddToCart", ask()).event_id != track("AddToCart", ask()).event_id


# Mistakes of a developer, and data that cannot be sent

MISTAKES = {
    "event_name": lambda: track("purchase", ask(), **PAID),
    "key": lambda: track("Purchase", ask(), key=Group(), **PAID),
    "currency": lambda: track("Purchase", ask(), value=1),
    "value": lambda: track("Purchase", ask(), value="12,50", currency="EUR"),
    "email": lambda: track("Lead", ask(), email="jane.canary@example.com"),
    "event_time": lambda: track("Lead", ask(), event_time=datetime(2026, 1, 1)),  # noqa: DTZ001
    "action_source": lambda: track("Lead", ask(), action_source="shop"),
    "contents": lambda: track("AddToCart", ask(), contents="sku-1"),
    "request": lambda: track("Lead", "jane.canary@example.com"),
    "site": lambda: track("Lead", ask(), site=5),
    "visitor": lambda: track("Lead", visitor="jane.canary@example.com"),
    "using": lambda: track("Lead", ask(), using="nowhere"),
}


@pytest.mark.parametrize("field", MISTAKES)
def test_mistake_raises_while_debugging(shop, debug, field):
    with pytest.raises(EventError) as raised:
        MISTAKES[field]()
    assert raised.value.field == field
    assert "canary" not in str(raised.value)
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("field", MISTAKES)
def test_mistake_is_counted_in_production_and_raises_nothing(shop, field):
    MISTAKES[field]()
    assert any(
        kind == counters.DIAGNOSTIC and reason.startswith(f"{field}: ")
        for kind, reason in counted()
    )
    assert not any(kind == counters.FAILED for kind, _reason in counted())


@pytest.mark.parametrize(
    ("reason", "parameters"),
    [
        ("currency", {"value": 5}),
        ("value", {"currency": "EUR"}),
        ("value", {"value": float("nan"), "currency": "EUR"}),
        ("event_time", {**PAID, "event_time": datetime(2020, 1, 1, tzinfo=UTC)}),
        ("event_time", {**PAID, "event_time": "2999-01-01T00:00:00+00:00"}),
        ("event_time", {**PAID, "event_time": -(10**12)}),
        ("action_source", {**PAID, "action_source": "shop"}),
        ("contents.id", {**PAID, "contents": [{"quantity": 1}]}),
    ],
)
def test_what_meta_would_refuse_is_stored_as_rejected_without_the_person(
    shop, reason, parameters, django_capture_on_commit_callbacks
):
    request = ask()
    with django_capture_on_commit_callbacks(execute=True):
        tracked = track("Purchase", request, key=order(), user_data=PERSON, **parameters)
    row = OutboxEvent.objects.get()
    assert not tracked
    assert tracked.reason == row.reason
    assert row.reason.startswith(f"{reason}: ")
    assert (row.state, bytes(row.user_data)) == (State.REJECTED, b"{}")
    assert row.final_at
    assert echo(request) == []


def test_bad_value_of_one_field_costs_that_field_alone(shop):
    assert track("AddToCart", ask(), value=-5, currency="EUR", content_name="Shoe")
    assert told()[0]["custom_data"] == {"currency": "EUR", "content_name": "Shoe"}


WEIRD = [object(), b"\xff", float("inf"), "\ud800\x00", [[[]]], {"a": {}}, 10**400, lambda: 1]


@pytest.mark.parametrize(
    "argument", ["name", "key", "value", "contents", "user_data", "event_time"]
)
def test_nothing_raises_in_production(shop, argument):
    for value in WEIRD:
        arguments = {"name": "Purchase", "key": order(), **PAID, argument: value}
        track(arguments.pop("name"), ask(), **arguments)
    assert OutboxEvent.objects.count() <= len(WEIRD)


def test_failure_is_logged_without_what_it_may_have_held(shop, monkeypatch, caplog):
    def fail(*_args, **_kwargs):
        raise RuntimeError("jane.canary@example.com")

    monkeypatch.setattr(tracking, "_user_data", fail)
    tracked = track("Lead", ask(), user_data=PERSON)
    assert (bool(tracked), tracked.reason) == (False, "RuntimeError")
    assert counted() == {(counters.FAILED, "RuntimeError"): 1}
    assert "canary" not in caplog.text


# What is known of a person


def test_nothing_about_a_person_is_stored_as_it_was_told(shop, caplog):
    caplog.set_level(logging.DEBUG)
    request = ask()
    remember(request, order())
    track("Purchase", request, key=order(), user_data=PERSON, **PAID)
    track("Purchase", key=order(), user_data=PERSON, **PAID)
    track("Purchase", request, key=order(), user_data=PERSON, value=1)
    counters.flush(using="default")
    assert OutboxEvent.objects.count() == 3
    written = caplog.text.encode() + b"".join(every_column())
    for raw in (b"jane.canary", b"601234567", b"601 234 567"):
        assert raw not in written.lower()
    assert hashlib.sha256(b"jane.canary@example.com").hexdigest().encode() in written


def every_column():
    for model in apps.get_app_config("wagtail_metapixel").get_models():
        for row in model.objects.values_list():
            for value in row:
                yield bytes(value) if isinstance(value, memoryview | bytes) else str(value).encode()


def test_user_data_is_hashed_for_advanced_matching(shop):
    track("Lead", ask(), user_data=PERSON)
    user_data = told()[1]
    assert user_data["em"] == [hashlib.sha256(b"jane.canary@example.com").hexdigest()]
    assert user_data["ph"] == [hashlib.sha256(b"48601234567").hexdigest()]
    assert user_data["client_ip_address"] == "203.0.113.7"


def test_user_data_is_not_even_looked_at_without_advanced_matching(shop, monkeypatch):
    change(shop, advanced_matching=False)
    monkeypatch.delattr(matching, "match")
    assert track("Lead", ask(), user_data=PERSON)
    assert sorted(told()[1]) == ["client_ip_address", "client_user_agent", "fbp"]


def test_phone_numbers_belong_to_the_country_of_the_site(shop):
    change(shop, phone_region="PL")
    track("Lead", ask(), user_data={"phone": "601 234 567"})
    assert told()[1]["ph"] == [hashlib.sha256(b"48601234567").hexdigest()]


def test_rows_can_be_found_again_by_session_browser_and_identifier(shop):
    track("Lead", ask(), user_data=PERSON)
    digests = OutboxEvent.objects.get().digests.split()
    assert len(digests) == len(set(digests)) == 4  # session, fbp, e-mail, phone


# Visitors who have signed in


@pytest.fixture
def jane(shop):
    """A customer of a site whose owner chose fields to be told by the browser, too."""
    change(shop, browser_matching=["em", "fn"], advanced_matching=False)
    site_settings.refresh()
    make = get_user_model().objects.create_user
    return make("jane", "account@example.com", first_name="Jane")


def signed_in(user, cookies=COOKIES, **kwargs):
    request = ask(cookies=cookies | {"metapixel_user": ""}, **kwargs)
    request.user = user
    return request


def digest(text):
    return [hashlib.sha256(text.encode()).hexdigest()]


def test_an_event_of_somebody_signed_in_says_what_the_browser_says(shop, jane):
    track("AddToCart", signed_in(jane), **CART)
    user_data = told()[1]
    assert (user_data["em"], user_data["fn"]) == (digest("account@example.com"), digest("jane"))
    assert user_data["fbp"] == FBP
    found = OutboxEvent.objects.get().digests
    assert keys.digest(site_settings.current().installation_key, "em", user_data["em"][0]) in found


def test_what_the_caller_says_goes_before_the_account(shop, jane):
    change(shop, advanced_matching=True)
    track("Lead", signed_in(jane), user_data={"email": "order@example.com"})
    user_data = told()[1]
    assert (user_data["em"], user_data["fn"]) == (digest("order@example.com"), digest("jane"))


def test_an_account_has_one_id_whatever_the_caller_calls_it(shop, jane):
    change(shop, advanced_matching=True, browser_matching=["em", "external_id"])
    track("Lead", signed_in(jane), user_data={"external_id": "17"})
    key = site_settings.current().installation_key
    assert told()[1]["external_id"] == [keys.external_id(key, jane)]


def test_a_webhook_says_of_the_account_what_the_browser_said(shop, jane):
    remember(signed_in(jane), order())
    track("Purchase", key=order(), **PAID)
    assert told()[1]["em"] == digest("account@example.com")


def test_where_the_owner_chose_no_field_no_account_is_looked_at(shop, jane):
    change(shop, browser_matching=[])
    track("Lead", signed_in(jane))
    assert not {"em", "fn"} & told()[1].keys()


def test_a_closed_gate_looks_at_no_account(shop, jane, monkeypatch):
    monkeypatch.delattr(tracking.signed_in, "user_data")
    request = signed_in(jane, cookies={"metapixel_consent": "denied"})
    assert track("Lead", request).reason == Reason.DENIED


def test_an_account_that_is_not_the_buyers_lends_nothing(shop, jane):
    remember(ask(), order())
    staff = signed_in(jane, cookies=COOKIES | {"metapixel_off": ""})
    track("Purchase", staff, key=order(), **PAID)
    stranger = signed_in(jane, cookies=GRANTED | {"sessionid": "another"})
    track("Purchase", stranger, key=order(), **PAID)
    request = webhook()
    request.user = jane
    track("Purchase", request, key=order(), **PAID)
    track("Lead", signed_in(jane), action_source="physical_store", consent="granted",
          visitor=Visitor(site_pk=shop.site_pk, host="testserver", fbp=FBP))  # fmt: skip
    rows = OutboxEvent.objects.all()
    assert len(rows) == 4
    assert not [row for row in rows if {"em", "fn"} & told(row)[1].keys()]


def test_a_login_that_cannot_be_read_costs_the_matching_and_no_event(shop, jane):
    class Broken:
        @property
        def is_authenticated(self):
            raise DatabaseError("jane@example.com")

    with transaction.atomic():
        assert track("Lead", signed_in(Broken()))
    assert not {"em", "fn"} & told()[1].keys()


# The visitor kept with an order


def test_visitor_kept_with_the_order_speaks_for_it_in_a_webhook(shop):
    assert remember(ask(), order())
    request = webhook()
    assert track("Purchase", request, key=order(), **PAID)
    event, user_data = told()
    assert user_data == {"client_ip_address": "203.0.113.7", "client_user_agent": AGENT, "fbp": FBP}
    assert event["event_source_url"] == "http://testserver/shoes/"
    assert OutboxEvent.objects.get().consent_proof == "0123abcd"
    assert echo(request) == []


def test_an_opt_out_signal_of_the_buyers_browser_counts_beside_what_was_kept(shop):
    assert remember(ask(), order())
    browser = {name: value for name, value in COOKIES.items() if name != "metapixel_consent"}
    tracked = track("Purchase", ask(cookies=browser, Sec_GPC="1"), key=order(), **PAID)
    assert tracked.reason == Reason.GPC
    assert not OutboxEvent.objects.exists()


STAFF = {"metapixel_off": "", "metapixel_consent": "granted.0123abcd"}


@pytest.mark.parametrize(
    ("request_of_work", "reason"),
    [
        (webhook, Reason.NO_COOKIES),
        (lambda: ask(cookies={}), Reason.NO_COOKIES),
        (lambda: ask(cookies=STAFF), Reason.STAFF),
        (lambda: None, Reason.NO_VISITOR),
    ],
    ids=["a webhook", "a browser without cookies", "staff", "no request"],
)
def test_without_a_visitor_kept_nobody_lends_his_own(shop, request_of_work, reason):
    site = SiteFactory._meta.model.objects.get(pk=shop.site_pk)
    told_of = {"site": site, "user_data": PERSON, **PAID}
    assert track("Purchase", request_of_work(), key=order(), **told_of).reason == reason


def test_webhook_lends_nothing_to_a_stated_consent_either(shop):
    site = SiteFactory._meta.model.objects.get(pk=shop.site_pk)
    person = {"consent": "granted", "user_data": PERSON, "site": site}
    assert track("Purchase", webhook(), key=order(), **person, **PAID)
    event, user_data = told()
    assert sorted(user_data) == ["em", "ln", "ph"]
    assert "event_source_url" not in event


def test_visitor_of_a_webhook_decides_the_site(shop):
    other = SiteFactory(hostname="other.example")
    PixelFactory(settings__site=other, pixel_id="9999999999", hosts="other.example")
    remember(ask(Host="other.example", Referer="http://other.example/"), order())
    track("Purchase", webhook(), key=order(), **PAID)
    row = OutboxEvent.objects.get()
    assert (row.site_pk, row.pixel_id) == (other.pk, "9999999999")


def test_staff_who_press_the_button_lend_nothing_and_do_not_stop_it(shop):
    remember(ask(), order())
    staff = ask(cookies=COOKIES | {"metapixel_off": "", "_fbp": "fb.1.1700000000000.1"})
    assert track("Purchase", staff, key=order(), **PAID)
    assert told()[1]["fbp"] == FBP
    assert echo(staff) == []


def test_buyers_own_request_goes_before_the_visitor_kept(shop):
    remember(ask(), order())
    track("Purchase", ask(**{"User-Agent": "Another/1.0"}), key=order(), **PAID)
    assert told()[1]["client_user_agent"] == "Another/1.0"


def test_buyer_who_refuses_meanwhile_is_not_overruled_by_the_visitor_kept(shop):
    remember(ask(), order())
    request = ask(cookies=COOKIES | {"metapixel_consent": "denied"})
    assert track("Purchase", request, key=order(), **PAID).reason == Reason.DENIED


@pytest.mark.parametrize(
    "request_of_nobody",
    [*CLOSED.values(), webhook, lambda: ask(cookies={})],
    ids=[*map(str, CLOSED), "webhook", "no cookies"],
)
def test_nobody_is_kept_without_consent(shop, request_of_nobody):
    default_site(shop)
    assert remember(request_of_nobody(), order()) is False
    assert not VisitorRecord.objects.exists()


def test_webhook_does_not_replace_the_visitor_kept(shop):
    change(shop, consent_provider="not_required")
    assert remember(ask(), order())
    assert remember(webhook(), order()) is False
    assert VisitorRecord.objects.count() == 1


def test_keeping_a_visitor_raises_for_a_mistake_only_while_debugging(shop, settings):
    assert remember(ask(), Group()) is False
    settings.DEBUG = True
    with pytest.raises(EventError, match="key"):
        remember(ask(), Group())


def test_given_visitor_speaks_for_himself(shop):
    person = Visitor(site_pk=shop.site_pk, host="testserver", fbp=FBP, consent="granted")
    request = ask()
    assert track("Lead", request, visitor=person)
    assert told()[1] == {"fbp": FBP}
    assert not track("Lead", visitor=Visitor(site_pk=shop.site_pk, host="testserver", fbp=FBP))


# Async


async def add_to_cart(request):
    """A view of an async shop."""
    tracked = await atrack("AddToCart", request, **CART)
    return HttpResponse(tracked.event_id)


async def forgot_to_await(request):
    """A view that calls the sync function in the event loop."""
    try:
        return HttpResponse(track("AddToCart", request).reason)
    except EventError as error:
        return HttpResponse(f"raised {error.field}")


urlpatterns = [path("add/", add_to_cart), path("forgot/", forgot_to_await)]


def post_async(address):
    client = AsyncClient()
    client.cookies.load({"metapixel_consent": "granted", "_fbp": FBP})
    return async_to_sync(client.post)(address, headers={"user-agent": AGENT})


@pytest.mark.urls(__name__)
def test_async_view_tracks_with_atrack(shop):
    response = post_async("/add/")
    assert response.content.decode() == OutboxEvent.objects.get().event_id


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
def test_async_view_hands_the_echo_to_its_own_response(shop):
    response = post_async("/add/")
    assert [name[:12] for name in response.cookies] == ["metapixel_e_"]
    assert "no-store" in response["Cache-Control"]


def test_async_view_remembers_with_aremember(shop):
    assert async_to_sync(aremember)(ask(), order())
    assert VisitorRecord.objects.count() == 1


def test_remember_in_an_event_loop_raises_while_debugging(shop, debug):
    async def view():
        return remember(ask(), order())

    with pytest.raises(EventError, match="await aremember"):
        async_to_sync(view)()


@pytest.mark.urls(__name__)
def test_track_in_an_event_loop_raises_while_debugging(shop, debug):
    assert post_async("/forgot/").content == b"raised track"


@pytest.mark.urls(__name__)
def test_track_in_an_event_loop_is_counted_in_production(shop):
    assert b"atrack" in post_async("/forgot/").content
    assert [kind for kind, _reason in counted()] == [counters.DIAGNOSTIC]
    assert not OutboxEvent.objects.exists()


# What a caller says beside the parameters, and what the site decides


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ({"opt_out": True}, "opt_out"),
        ({"data_processing_options": ["LDU"]}, "data_processing_options"),
        (
            {"original_event_data": {"event_name": "Purchase", "order_id": "1"}},
            "original_event_data",
        ),
    ],
)
def test_what_a_pixel_cannot_say_of_one_event_is_told_by_the_server_alone(
    shop, option, key, django_capture_on_commit_callbacks
):
    request = ask()
    with django_capture_on_commit_callbacks(execute=True):
        assert track("AddToCart", request, **CART, **option)
    row = OutboxEvent.objects.get()
    assert key in told(row)[0]
    assert key not in told(row)[0]["custom_data"]
    assert (row.twin, echo(request)) == (Twin.NO, [])


def test_an_event_names_the_one_it_goes_back_to_by_its_key(shop):
    purchase = track("Purchase", ask(), key=order(), **PAID)
    refund = track(
        "Refund",
        key=(order(), "refund", 1),
        site=Site.objects.get(pk=shop.site_pk),
        consent="granted",
        user_data=PERSON,
        action_source="system_generated",
        original_event_data={"event_name": "Purchase", "key": order(), "order_id": "17"},
        **PAID,
    )
    event, _user_data = told(OutboxEvent.objects.get(event_id=refund.event_id))
    assert event["original_event_data"] == {
        "event_name": "Purchase",
        "event_id": purchase.event_id,
        "order_id": "17",
    }


@pytest.mark.parametrize("original", [{"key": "1"}, {"event_name": "Purchase", "key": Group()}])
def test_a_wrong_original_event_costs_that_alone(shop, original):
    assert track("Lead", ask(), original_event_data=original)
    assert "original_event_data" not in told()[0]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://testserver/tea/?size=1", "http://testserver/tea/"),
        ("https://other.example/tea/", "http://testserver/shoes/"),
    ],
)
def test_a_caller_may_name_the_page_when_it_is_one_of_the_sites(shop, address, expected):
    track("AddToCart", ask(), event_source_url=address, **CART)
    assert told()[0]["event_source_url"] == expected


def test_the_site_decides_what_a_product_is_called_and_an_order_is_worth(shop):
    change(shop, content_id_prefix="tea_", value_includes_shipping=False)
    product = order(5)
    track(
        "Purchase",
        ask(),
        key=order(),
        value=OrderTotal(total=25, shipping=5),
        currency="EUR",
        contents=[{"id": product, "quantity": 1, "item_price": 20}],
    )
    found = told()[0]["custom_data"]
    assert (found["value"], found["content_ids"], found["content_type"]) == (
        20,
        ["tea_5"],
        "product",
    )


def test_a_total_that_cannot_be_used_is_visible_as_a_rejected_purchase(shop):
    tracked = track("Purchase", ask(), value=OrderTotal(total="12,50"), currency="EUR")
    assert "2804009" in tracked.reason
    assert "total is a text that cannot be read safely" in tracked.reason
    assert OutboxEvent.objects.get().state == State.REJECTED


def test_a_custom_event_nearly_called_like_a_standard_one_is_sent_and_reported(shop):
    assert track("Purchased", ask())
    assert any("did you mean 'Purchase'" in reason for _kind, reason in counted())


def test_what_is_known_but_may_not_be_used_is_said_to_be_so(shop):
    change(shop, advanced_matching=False)
    told_by_staff = {"action_source": "phone_call", "consent": "granted", "user_data": PERSON}
    assert track("Purchase", ask(), **told_by_staff, **PAID).reason == Reason.NO_MATCHING


@pytest.mark.parametrize("wrong", ["yes", True, ["granted"]])
def test_a_consent_that_is_none_is_a_mistake(shop, debug, wrong):
    with pytest.raises(EventError, match="consent: has to be one of"):
        track("Lead", ask(), consent=wrong)


def test_what_was_left_out_is_logged_without_its_value(shop, caplog):
    caplog.set_level(logging.INFO, "wagtail_metapixel")
    track("AddToCart", ask(), currency="EURO", value=5)
    assert "AddToCart: currency: has to be an ISO 4217 code" in caplog.text
    assert "EURO" not in caplog.text


def test_a_state_of_limited_use_that_meta_cannot_find_out_is_told(shop):
    known = {"site": Site.objects.get(pk=shop.site_pk), "consent": "granted", "user_data": PERSON}
    assert track("Lead", data_processing_options=["LDU"], **known)
    assert any("data_processing_options_state" in reason for _kind, reason in counted())


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("how", ["model", "statement"])
def test_a_receiver_whose_query_fails_takes_nothing_along(shop, keyed, how):
    def listen(**_told):
        if how == "statement":
            with connection.cursor() as cursor:
                cursor.execute("SELECT nonsense")
        Group.objects.create(name="twice")

    Group.objects.create(name="twice")
    signals.event_tracked.connect(listen)
    try:
        with transaction.atomic():
            assert track("Purchase", ask(), **PAID, **({"key": order()} if keyed else {}))
            Group.objects.create(name="the shop goes on")
    finally:
        signals.event_tracked.disconnect(listen)
    assert OutboxEvent.objects.get().state == State.PENDING
    assert Group.objects.filter(name="the shop goes on").exists()


@pytest.mark.django_db(transaction=True)
def test_a_failing_insert_spoils_no_transaction_that_was_begun_by_hand(shop, monkeypatch):
    def broken(*_words):
        return "SELECT nonsense"

    monkeypatch.setattr(outbox, "_appending", broken)
    transaction.set_autocommit(False)
    try:
        assert not track("Purchase", ask(), key=order(), **PAID)
        Group.objects.create(name="the shop goes on")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert Group.objects.filter(name="the shop goes on").exists()
