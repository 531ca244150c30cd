"""What a person may ask for. Here: taking consent back, and proof of the choices made."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from django.db import transaction

from wagtail_metapixel import outbox
from wagtail_metapixel.models import ConsentProof, VisitorRecord, Withdrawal
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Visitor


def prove(choice: str, site: SiteConfig, *, tool: str, using: str | None = None) -> str:
    """Write down that ``choice`` was made, and return the proof's id: 32 hex characters."""
    proof = ConsentProof.objects.using(outbox.alias(using)).create(
        proof_id=secrets.token_hex(16), site_pk=site.site_pk, choice=choice, tool=tool
    )
    return proof.proof_id


def withdraw(visitor: Visitor, *, using: str | None = None) -> None:
    """Stop everything of ``visitor`` that waits, and forget what was kept with carts and orders.

    The deliverer asks for withdrawals once a batch; a request that is on its way arrives.
    """
    digests = visitor.digests(current())
    database = outbox.alias(using)
    with transaction.atomic(using=database):
        Withdrawal.objects.using(database).bulk_create(
            [Withdrawal(digest=digest) for digest in digests]
        )
        _forget_records(digests, database)


def _forget_records(digests: Iterable[str], using: str) -> None:
    for digest in digests:
        VisitorRecord.objects.using(using).filter(digests__contains=digest).delete()
