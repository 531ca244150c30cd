"""How much the public addresses take: requests a minute, and page events while many wait.

Counted in Django's default cache. Where that is the memory of each process, each counts for
itself; where it is the database, even a refused request asks it once or twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_network

from django.core.cache import cache

from wagtail_metapixel import conf, counters, keys, visitor
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.site_settings import SiteConfig, current
from wagtail_metapixel.visitor import Capture

MINUTE = 60
_PREFIX = "metapixel"


def exceeded(held: Capture, site: SiteConfig, *, is_choice: bool = False) -> str:
    """Count a request, and return whose limit it is beyond: ``address``, ``site`` or ``""``.

    ``is_choice``: it brings a visitor's answer, which what others ask for must never keep out; such
    are counted apart, by their address alone. A private address stands for nobody: behind a proxy
    that nobody declared, all have it. A cache that cannot be asked limits nothing.
    """
    minute = int(time.time()) // MINUTE
    try:
        for whose, identifier in _counted(held, site):
            if is_choice and whose == "site":
                continue
            allowed = conf.count(f"REQUESTS_PER_{whose.upper()}")
            kind = "choice" if is_choice else whose
            if allowed and _count(f"{_PREFIX}:{kind}:{identifier}:{minute}") > allowed:
                return whose
    except Exception as error:  # noqa: BLE001 - whatever a cache of the site's raises
        counters.add(counters.Item(counters.FAILED, f"limits: {type(error).__name__}"))
    return ""


def _counted(held: Capture, site: SiteConfig) -> Iterator[tuple[str, str]]:
    if address := visitor.client_ip_address(held.meta):
        # Of IPv6, everybody has a whole network.
        whose = ip_network((address, 64), strict=False) if ":" in address else address
        yield "address", _digest("address", str(whose))
    yield "site", _digest("site", str(site.site_pk))


def _digest(kind: str, value: str) -> str:
    # Several installations may share one cache, and no address stands in it.
    return keys.digest(current().installation_key, kind, value)


def _count(key: str) -> int:
    # The minute is part of the key: some caches begin the time anew at each incr().
    if cache.add(key, 1, 2 * MINUTE):
        return 1
    try:
        return int(cache.incr(key))
    except ValueError:  # gone in between
        return 1


def outbox_is_full(*, using: str) -> bool:
    """Tell whether so many events wait that page events are left out; asked once a minute.

    Action events are never left out: they are the sales.
    """
    try:
        most = conf.count("PAGE_EVENTS_WAITING")
        key = f"{_PREFIX}:full:{_digest('full', using)}:{most}"
        full = cache.get(key)
        if full is None:
            full = bool(most) and _more_wait_than(most, using)
            cache.set(key, full, MINUTE)
    except Exception as error:  # noqa: BLE001 - as above
        counters.add(counters.Item(counters.FAILED, f"limits: {type(error).__name__}"))
        return False
    return bool(full)


def _more_wait_than(most: int, using: str) -> bool:
    waiting = OutboxEvent.objects.using(using).filter(state=State.PENDING, held=False)
    return waiting.order_by("rank", "id")[most : most + 1].exists()
