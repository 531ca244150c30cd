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


def exceeded(held: Capture, site: SiteConfig) -> str:
    """Count a request, and return whose limit it is beyond: ``address``, ``site`` or ``""``.

    A private address stands for nobody: behind a proxy that nobody declared, all have it. A cache
    that cannot be asked limits nothing.
    """
    minute = int(time.time()) // MINUTE
    try:
        for whose, identifier in _counted(held, site):
            allowed = conf.count(f"REQUESTS_PER_{whose.upper()}")
            if allowed and _count(f"{_PREFIX}:{whose}:{identifier}:{minute}") > allowed:
                return whose
    except Exception as error:  # noqa: BLE001 - whatever a cache of the site's raises
        counters.add(counters.Item(counters.FAILED, f"limits: {type(error).__name__}"))
    return ""


def _counted(held: Capture, site: SiteConfig) -> Iterator[tuple[str, str]]:
    if address := visitor.client_ip_address(held.meta):
        # Of IPv6, everybody has a whole network.
        whose = ip_network((address, 64), strict=False) if ":" in address else address
        yield "address", keys.digest(current().installation_key, "address", str(whose))
    yield "site", str(site.site_pk)


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
    most = conf.count("PAGE_EVENTS_WAITING")
    key = f"{_PREFIX}:full:{using}:{most}"
    full = cache.get(key)
    if full is None:
        waiting = OutboxEvent.objects.using(using).filter(state=State.PENDING)
        full = bool(most) and waiting.order_by("rank", "id")[most : most + 1].exists()
        cache.set(key, full, MINUTE)
    return bool(full)
