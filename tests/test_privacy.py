from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from tests.factories import OutboxEventFactory, PixelFactory
from wagtail_metapixel import claims, privacy, retention, site_settings, visitor
from wagtail_metapixel.models import ConsentProof, VisitorRecord, Withdrawal
from wagtail_metapixel.visitor import Visitor

pytestmark = pytest.mark.django_db

MS = int(time.time() * 1000)


@pytest.fixture
def site():
    pixel = PixelFactory()
    return site_settings.current().site(pixel.settings.site_id)


def person(site, number=1, **known):
    return Visitor(
        site_pk=site.site_pk,
        host="testserver",
        **{"fbp": f"fb.1.{MS}.{number}", "consent": "granted", **known},
    )


def test_a_proof_names_the_choice_the_tool_and_nobody(site):
    first = privacy.prove("granted", site, tool="cookie")
    second = privacy.prove("granted", site, tool="cookie")
    assert first != second
    assert len(first) == 32
    row = ConsentProof.objects.values().get(proof_id=first)
    assert row.pop("given_at") <= timezone.now()
    row.pop("id")
    assert row == {
        "proof_id": first,
        "site_pk": site.site_pk,
        "choice": "granted",
        "tool": "cookie",
        "text_version": "",
    }


def test_a_withdrawal_holds_digests_and_the_time_and_no_identifier(site):
    someone = person(site, session="5" * 24)
    privacy.withdraw(someone)
    rows = list(Withdrawal.objects.values())
    assert {row["digest"] for row in rows} == set(someone.digests(site_settings.current()))
    assert someone.fbp not in str(rows)


def test_what_waits_of_the_person_is_stopped_and_of_others_is_not(site):
    someone, other = person(site, 1), person(site, 2)
    digest_of = {p: " ".join(p.digests(site_settings.current())) for p in (someone, other)}
    before = OutboxEventFactory(digests=f"{'0' * 24} {digest_of[someone]}")
    others = OutboxEventFactory(digests=digest_of[other])
    unknown = OutboxEventFactory(digests="")
    privacy.withdraw(someone)
    later = timezone.now() + timedelta(minutes=1)
    after = OutboxEventFactory(digests=digest_of[someone], recorded_at=later)
    rows = [before, others, unknown, after]
    assert claims.withdrawn(rows, using="default") == [before]


def test_what_was_kept_with_carts_and_orders_is_forgotten(site):
    for number, key in ((1, "cart-1"), (1, "order-1"), (2, "cart-2")):
        visitor.store(person(site, number), key, using="default")
    privacy.withdraw(person(site, 1))
    assert visitor.recall("cart-1", using="default") is None
    assert visitor.recall("order-1", using="default") is None
    assert visitor.recall("cart-2", using="default") is not None


def test_a_person_of_whom_nothing_is_known_withdraws_nothing(site):
    visitor.store(person(site), "cart-1", using="default")
    privacy.withdraw(person(site, fbp=""))
    assert not Withdrawal.objects.exists()
    assert VisitorRecord.objects.exists()


def test_a_withdrawal_happens_whole_or_not_at_all(site, monkeypatch):
    def fail(*args):
        raise DatabaseError

    monkeypatch.setattr(privacy, "_forget_records", fail)
    with pytest.raises(DatabaseError):
        privacy.withdraw(person(site))
    assert not Withdrawal.objects.exists()


def test_records_whose_time_is_over_are_deleted(site):
    for number, key in ((1, "old"), (2, "new")):
        visitor.store(person(site, number), key, using="default")
    first = VisitorRecord.objects.order_by("pk").first()
    VisitorRecord.objects.filter(pk=first.pk).update(expires_at=timezone.now() - timedelta(1))
    assert retention.purge(using="default")["visitor_records"] == 1
    assert VisitorRecord.objects.count() == 1
    assert visitor.recall("new", using="default") is not None
