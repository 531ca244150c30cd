from __future__ import annotations

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.test import RequestFactory

from tests.factories import OutboxEventFactory, PixelFactory
from wagtail_metapixel import counters, limits, site_settings, visitor
from wagtail_metapixel.models import State

pytestmark = pytest.mark.django_db

IP, OTHER_IP = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def site():
    pixel = PixelFactory()
    site_settings.refresh()
    return site_settings.current().site(pixel.settings.site_id)


@pytest.fixture
def allow(settings):
    """Set how many requests a minute may come from an address, and to a site."""

    def allowed(address=0, site=0):
        settings.WAGTAIL_METAPIXEL = {
            "REQUESTS_PER_ADDRESS": address,
            "REQUESTS_PER_SITE": site,
        }

    return allowed


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A minute that ends when the test says so."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(limits.time, "time", lambda: now[0])
    return now


def ask(site, address=IP):
    request = RequestFactory().post("/metapixel/collect/", REMOTE_ADDR=address)
    return limits.exceeded(visitor.capture(request), site)


def test_an_address_may_ask_so_often_and_no_more(site, allow):
    allow(address=3)
    assert [ask(site) for _ in range(5)] == ["", "", "", "address", "address"]
    assert ask(site, OTHER_IP) == ""


def test_the_next_minute_begins_anew(site, allow, clock):
    allow(address=1)
    assert [ask(site), ask(site)] == ["", "address"]
    clock[0] += 60
    assert ask(site) == ""


def test_addresses_of_one_ipv6_network_are_one(site, allow):
    allow(address=1)
    assert ask(site, "2001:db8:1:2::1") == ""
    assert ask(site, "2001:db8:1:2:ffff::9") == "address"
    assert ask(site, "2001:db8:1:3::1") == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "fd00::1", ""])
def test_a_private_address_stands_for_nobody(site, allow, address):
    allow(address=1)
    assert [ask(site, address) for _ in range(3)] == ["", "", ""]


def test_a_site_may_be_asked_so_often_by_all_together(site, allow):
    allow(site=2)
    assert [ask(site, f"203.0.113.{number}") for number in range(3)] == ["", "", "site"]


def test_nothing_is_limited_where_the_limit_is_0(site, allow):
    allow()
    assert {ask(site) for _ in range(20)} == {""}


def test_a_cache_that_is_away_limits_nothing_and_is_counted(site, allow, monkeypatch):
    allow(address=1)

    def fail(*_args, **_kwargs):
        raise ConnectionError("redis://:secret@cache.example")

    monkeypatch.setattr(LocMemCache, "add", fail)
    assert [ask(site), ask(site)] == ["", ""]
    (item,) = counters.waiting()
    assert (item.kind, item.reason) == (counters.FAILED, "limits: ConnectionError")


def test_a_count_that_was_evicted_begins_anew(site, allow, monkeypatch):
    allow(address=1)
    monkeypatch.setattr(LocMemCache, "add", lambda *_args, **_kwargs: False)
    assert ask(site) == ""


def test_no_address_stands_in_the_cache(site, allow):
    allow(address=5)
    ask(site)
    assert cache._cache
    assert not [key for key in cache._cache if IP in key]


def test_a_choice_is_kept_out_by_nobody_else(site, allow):
    allow(address=2, site=1)
    assert [ask(site, OTHER_IP), ask(site, OTHER_IP)] == ["", "site"]
    assert [choose(site) for _ in range(3)] == ["", "", "address"]
    assert choose(site, OTHER_IP) == ""


def choose(site, address=IP):
    request = RequestFactory().post("/metapixel/consent/", REMOTE_ADDR=address)
    return limits.exceeded(visitor.capture(request), site, is_choice=True)


def test_installations_on_one_cache_count_for_themselves(site, allow, monkeypatch):
    allow(site=1)
    assert [ask(site), ask(site)] == ["", "site"]
    other = site_settings.Snapshot(installation_key=b"of another installation")
    monkeypatch.setattr(limits, "current", lambda: other)
    assert ask(site) == ""


def waiting(settings, most, rows):
    settings.WAGTAIL_METAPIXEL = {"PAGE_EVENTS_WAITING": most}
    OutboxEventFactory.create_batch(rows)
    return limits.outbox_is_full(using="default")


@pytest.mark.parametrize(("most", "rows", "full"), [(3, 3, False), (3, 4, True), (0, 4, False)])
def test_the_outbox_is_full_beyond_the_ceiling(settings, most, rows, full):
    assert waiting(settings, most, rows) is full


def test_what_is_final_does_not_wait(settings):
    OutboxEventFactory.create_batch(4, state=State.SENT)
    assert not waiting(settings, 3, 0)


def test_the_outbox_is_looked_at_once_a_minute(settings, django_assert_num_queries):
    assert waiting(settings, 3, 4)
    with django_assert_num_queries(0):
        assert limits.outbox_is_full(using="default")


def test_with_the_cache_away_the_outbox_is_not_full_and_it_is_counted(settings, monkeypatch):
    def fail(*_args, **_kwargs):
        raise ConnectionError

    monkeypatch.setattr(LocMemCache, "get", fail)
    assert not waiting(settings, 1, 2)
    (item,) = counters.waiting()
    assert item.reason == "limits: ConnectionError"


def test_a_ceiling_that_is_none_leaves_nothing_out(settings):
    assert not waiting(settings, "many", 2)
