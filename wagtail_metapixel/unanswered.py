"""An order that was placed before anybody answered the question of consent.

Two notes are kept, so that a grant on the thank-you page can complete it: when the order was
withheld, in a table that names nobody, and which order it was, in the session the shop keeps for
the buyer anyway. Only both together say whose order may be told. None is worth a failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from django.contrib.sessions.backends import signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.db import router, transaction
from django.http import HttpRequest

from wagtail_metapixel import consent, event_options, events, keys, outbox
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.models import OutboxEvent
from wagtail_metapixel.site_settings import SiteConfig, current

logger = logging.getLogger("wagtail_metapixel")

SESSION_NAME = "metapixel_orders"
ORDERS_MAX = 5

Change = Callable[[list[Any]], list[Any]]


def order_digest(key: keys.Key) -> str:
    """Return what stands for ``key`` in a session and a ticket: 24 hex characters."""
    return keys.digest(current().installation_key, "order", keys.key_text(key))


class Fact(NamedTuple):
    """What a caller of ``track()`` said of an event that was withheld."""

    event_name: str
    key: keys.Key
    event_time: datetime | float | None
    params: Mapping[str, Any]

    def __repr__(self) -> str:
        # For error reports: nothing of the person.
        return f"Fact(event_name={self.event_name!r})"


def keep(fact: Fact, site: SiteConfig | None, *, using: str) -> bool:
    """Note in the caller's transaction when ``fact`` happened; returns whether that was possible.

    Without a ``site`` it belongs to the only one that could have told it. Not noted is what the
    pair of copies made on the page could not tell as it was said: what limits the use of this one
    event, and a time that Meta refuses.
    """
    try:
        site = _only_site(fact.event_name) if site is None else site
        if site is None:
            return False
        limits = event_options.read(fact.params, limited=site.limited_data_use)[0].wire
        happened, problems = events.check_event_time(fact.event_time, now=time.time())
        usual = event_options.OF_A_LIMITED_SITE if site.limited_data_use else {}
        if limits != usual or any(problem.fatal for problem in problems):
            return False
        moment = datetime.fromtimestamp(happened, tz=UTC)
        installation_key = current().installation_key
        event_id = keys.event_id(installation_key, site.site_pk, fact.key, fact.event_name)
        outbox.insert_withheld(event_id, site.site_pk, moment, using=using)
    except Exception as error:  # noqa: BLE001 - a checkout must not fail because of us
        _failed(error)
        return False
    return True


def _only_site(event_name: str) -> SiteConfig | None:
    # Nobody known is the last thing the gate finds: the site is on, and sends this event.
    sites = [
        site
        for site in current().sites
        if consent.decide(site, event_name).reason is Reason.NO_VISITOR
    ]
    return sites[0] if len(sites) == 1 else None


def note(request: HttpRequest, key: keys.Key, *, using: str) -> None:
    """Note ``key`` in the buyer's session, if there is one, after the commit: no lock is held."""
    try:
        session = getattr(request, "session", None)
        if session is not None and session.session_key:
            digest = order_digest(key)
            _after_commit(session, partial(_with, digest), using)
    except Exception as error:  # noqa: BLE001 - as above
        _failed(error)


def strike(request: HttpRequest, digest: str | None = None) -> None:
    """Take an order out of the session of ``request``; all of them after a no."""
    try:
        session = getattr(request, "session", None)
        if session is None or not _exists(session) or not _noted(session):
            return
        left = partial(_without, digest)
        _after_commit(session, left, router.db_for_write(OutboxEvent) or "default")
    except Exception as error:  # noqa: BLE001 - as above
        _failed(error)


def _with(digest: str, noted: list[Any]) -> list[Any]:
    return [*(one for one in noted if one != digest), digest][-ORDERS_MAX:]


def _without(digest: str | None, noted: list[Any]) -> list[Any]:
    return [one for one in noted if digest is not None and one != digest]


def _after_commit(session: SessionBase, change: Change, using: str) -> None:
    # Sessions in a database have one of their own, perhaps, and its transaction is the shop's.
    model = getattr(session, "model", None)
    database = router.db_for_write(model) or using if model else using
    transaction.on_commit(partial(_write, session, change), using=database, robust=True)


def is_noted(request: HttpRequest, digest: object) -> bool:
    """Tell whether the session of ``request`` holds the ``digest`` of an order."""
    try:
        session = getattr(request, "session", None)
        return session is not None and _exists(session) and digest in _noted(session)
    except Exception as error:  # noqa: BLE001 - as above
        _failed(error)
    return False


def _exists(session: SessionBase) -> bool:
    # The key may be a cookie's invention: reading the session tells, and takes it away then.
    return bool(session.session_key and session.keys() and session.session_key)


def _noted(session: SessionBase) -> list[Any]:
    found = session.get(SESSION_NAME)
    return found if isinstance(found, list) else []


def _write(session: SessionBase, change: Change) -> None:
    """Write beside the request's own copy of the session, and into it for whoever saves it later.

    Django answers with an error when a session that was changed cannot be saved, or was deleted
    meanwhile; so it is not marked as changed because of us.
    """
    try:
        if not _exists(session) or change(_noted(session)) == _noted(session):
            return
        modified = session.modified
        session[SESSION_NAME] = change(_noted(session))
        if isinstance(session, signed_cookies.SessionStore):
            return  # nothing but the response can write it, and that cannot fail
        session.modified = modified
        fresh = type(session)(session.session_key)
        if _exists(fresh):
            fresh[SESSION_NAME] = change(_noted(fresh))
            fresh.save()
    except Exception as error:  # noqa: BLE001 - as above
        _failed(error)


def _failed(error: Exception) -> None:
    logger.error("Keeping an unanswered order failed: %s", type(error).__name__)
