"""What each site decided, kept in memory for at most ten seconds.

A page asks for its site's settings on every render. Reading them from the database each time
would cost queries; reading them once for ever would make a change in the admin invisible to other
processes. So each process holds a snapshot of all sites: no query on a warm page, and a change is
live everywhere within :data:`SNAPSHOT_SECONDS`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, connections, router, transaction
from wagtail.models import Site

from wagtail_metapixel import conf
from wagtail_metapixel.access_tokens import AccessToken
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.choices import USUAL_CATEGORIES, ConsentProvider, PageViewMirror, PixelMode
from wagtail_metapixel.content_ids import ContentIds
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.models import (
    InstallationKey,
    MetaPixel,
    MetaPixelSettings,
)
from wagtail_metapixel.order_totals import ValuePolicy
from wagtail_metapixel.savepoints import savepoint_if_inside

PAGE_VIEWS_A_SAMPLE = 10
"""Of so many page views a sample holds one."""

logger = logging.getLogger("wagtail_metapixel")

SNAPSHOT_SECONDS = 10.0
LOOPBACK = frozenset({"localhost", "127.0.0.1"})


class PixelConfig(NamedTuple):
    """One active pixel as the gate and the browser need it. Holds no token."""

    pixel_id: str
    hosts: frozenset[str]
    """Host names without port, lower case."""
    events: frozenset[str] | None
    """The event names it gets; ``None`` means all."""
    mode: str = PixelMode.BOTH

    @property
    def in_browser(self) -> bool:
        """Whether a browser tells Meta of its events."""
        return self.mode != PixelMode.SERVER

    @property
    def on_server(self) -> bool:
        """Whether the server tells Meta of its events."""
        return self.mode != PixelMode.BROWSER

    def gets(self, event_name: str) -> bool:
        """Tell whether the owner chose this event for this pixel."""
        return self.events is None or event_name in self.events


class SiteConfig(NamedTuple):
    """One site's choices."""

    site_pk: int
    hostname: str
    port: int
    is_default: bool
    enabled: bool = True
    consent_provider: str = ConsentProvider.NOT_CHOSEN
    consent_category: str = ""
    """What the consent tool calls advertising here."""
    consent_vendor_id: int | None = None
    consent_ac_provider_id: int | None = None
    respect_gpc: bool = True
    limited_data_use: bool = False
    advanced_matching: bool = False
    phone_region: str = ""
    browser_matching: tuple[str, ...] = ()
    """Meta's keys that are told of signed-in visitors, on both channels."""
    automatic_events: bool = False
    load_before_consent: bool = False
    page_view_mirror: str = PageViewMirror.ALL
    html_attributes: bool = False
    single_page: bool = False
    data_layer: bool = False
    pixels: tuple[PixelConfig, ...] = ()
    content_ids: ContentIds = ContentIds()
    value_policy: ValuePolicy = ValuePolicy()
    own_hosts: frozenset[str] = frozenset()
    """All hosts that belong to this site: its own and those its pixels list."""

    def applied(self, params: Mapping[str, Any], problems: list[Problem]) -> Mapping[str, Any]:
        """Return the parameters of an event with products and totals told as the owner chose."""
        return self.content_ids.applied(self.value_policy.applied(params, problems), problems)

    @property
    def consent_mirror(self) -> str:
        """Whose answer the mirror cookie holds: 8 hex of the tool and its names here."""
        names = (
            self.consent_provider,
            self.consent_category,
            self.consent_vendor_id,
            self.consent_ac_provider_id,
        )
        return hashlib.sha256(repr(names).encode()).hexdigest()[:8]

    @property
    def loads_meta_script(self) -> bool:
        """Whether pages load Meta's script, once the visitor allows it."""
        return not self.data_layer and any(pixel.in_browser for pixel in self.pixels)

    def mirrors_page_view(self, event_id: str) -> bool:
        """Tell whether the server reports the page view with this id, a UUIDv4."""
        if self.page_view_mirror == PageViewMirror.SAMPLED:
            return int(event_id[-8:], 16) % PAGE_VIEWS_A_SAMPLE == 0
        return self.page_view_mirror == PageViewMirror.ALL

    def pixels_for(self, host: str, event_name: str | None = None) -> tuple[PixelConfig, ...]:
        """Return the pixels that send for ``host``, and for ``event_name`` when it is given."""
        return tuple(
            pixel
            for pixel in self.pixels
            if host in pixel.hosts and (event_name is None or pixel.gets(event_name))
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Snapshot:
    """All sites at one moment. Its ``repr`` holds nothing: the key is a secret."""

    sites: tuple[SiteConfig, ...] = ()
    installation_key: bytes = b""
    taken_at: float = 0.0
    rendered: dict[Any, Any] = field(default_factory=dict)
    """Markup that follows from this snapshot alone, so that it lives exactly as long."""

    def site(self, site_pk: int) -> SiteConfig | None:
        """Return the site with that primary key."""
        return next((site for site in self.sites if site.site_pk == site_pk), None)

    def site_for_host(self, hostname: str, port: int) -> SiteConfig | None:
        """Return the site Wagtail would serve at this address, by Wagtail's own order."""
        named = [site for site in self.sites if site.hostname == hostname]
        for site in named:
            if site.port == port:
                return site
        for site in named:
            if site.is_default:
                return site
        if len(named) == 1:
            return named[0]
        return next((site for site in self.sites if site.is_default), None)


_EMPTY = Snapshot()
_latest: Snapshot = _EMPTY
_changes = 0
"""How often the snapshot was forgotten."""


def current() -> Snapshot:
    """Return the snapshot, reading it anew when it is older than ten seconds.

    Never raises: with the database away, the old one serves; with none at all, there are no sites.
    """
    if is_fresh() or (_latest is not _EMPTY and _loop_is_running()):
        return _latest
    return refresh()


def is_fresh() -> bool:
    """Tell whether the snapshot may still be used without a look at the database."""
    return _latest is not _EMPTY and time.monotonic() - _latest.taken_at < SNAPSHOT_SECONDS


def refresh() -> Snapshot:
    """Read all sites now and return them."""
    global _latest  # noqa: PLW0603 - one snapshot a process is the point of this module
    known = _changes
    try:
        read = _read()
    except (Error, SynchronousOnlyOperation, ConfigurationError) as error:
        logger.warning("The Meta Pixel settings could not be read: %s", type(error).__name__)
        return _latest
    # What another thread saved meanwhile may not be in it: it serves this once.
    if known == _changes:
        _latest = read
    return read


def clear(*, using: str | None = None, **_kwargs: Any) -> None:
    """Forget the snapshot, and once more when what was saved is committed.

    Connected to the saving and deleting of settings. Until the commit another thread reads what was
    there before.
    """
    _forget()
    if using and connections[using].in_atomic_block:
        transaction.on_commit(_forget, using=using, robust=True)


def _forget() -> None:
    global _latest, _changes  # noqa: PLW0603 - as above
    _changes += 1
    _latest = _EMPTY


def make_installation_key(*, using: str, **_kwargs: Any) -> None:
    """Make the installation key where it is missing. Receiver of ``post_migrate``."""
    if router.allow_migrate_model(using, InstallationKey):
        InstallationKey.ensure(using)
        clear()


def access_token(pixel_id: str) -> AccessToken:
    """Return the token for ``pixel_id``, or one that is false: the deployment's, then the admin's.

    Raises ``ConfigurationError`` where the deployment's cannot be one, or no key can be made.
    """
    if fixed := conf.access_token(pixel_id):
        return AccessToken(fixed)
    pixels = list(
        MetaPixel.objects.filter(pixel_id=pixel_id, active=True).exclude(
            access_token_encrypted=None
        )
    )
    tokens = (AccessToken(pixel.stored_access_token()) for pixel in pixels)
    return next(filter(None, tokens), AccessToken(""))


def _read() -> Snapshot:
    alias = router.db_for_read(MetaPixelSettings) or "default"
    with savepoint_if_inside(alias):
        settings_by_site = {
            row.site_id: row
            for row in MetaPixelSettings.objects.using(alias).prefetch_related("pixels")
        }
        sites = tuple(
            _site_config(site, settings_by_site.get(site.pk))
            for site in Site.objects.using(alias).order_by("pk")
        )
        key = InstallationKey.objects.using(alias).values_list("key", flat=True).first()
        installation_key = bytes(key) if key else InstallationKey.ensure(alias)
    return Snapshot(sites=sites, installation_key=installation_key, taken_at=time.monotonic())


def _site_config(site: Site, row: MetaPixelSettings | None) -> SiteConfig:
    base = {
        "site_pk": site.pk,
        "hostname": site.hostname.lower(),
        "port": site.port,
        "is_default": site.is_default_site,
        "own_hosts": frozenset({site.hostname.lower()}),
    }
    if row is None:
        return SiteConfig(**base)
    pixels = tuple(_pixel_configs(row.pixels.all(), site.hostname))
    base["own_hosts"] = base["own_hosts"].union(*(pixel.hosts for pixel in pixels))
    return SiteConfig(
        **base,
        enabled=row.enabled,
        consent_provider=row.consent_provider,
        consent_category=(row.consent_category or USUAL_CATEGORIES.get(row.consent_provider, "")),
        consent_vendor_id=row.consent_vendor_id,
        consent_ac_provider_id=row.consent_ac_provider_id,
        respect_gpc=row.respect_gpc,
        limited_data_use=row.limited_data_use,
        advanced_matching=row.advanced_matching,
        phone_region=row.phone_region,
        browser_matching=tuple(row.browser_matching),
        automatic_events=row.automatic_events,
        load_before_consent=row.load_before_consent and bool(row.consent_statement.strip()),
        page_view_mirror=row.page_view_mirror,
        html_attributes=row.html_attributes,
        single_page=row.single_page,
        data_layer=row.data_layer,
        pixels=pixels,
        content_ids=ContentIds(
            scheme=row.content_id_scheme,
            attribute=row.content_id_attribute,
            prefix=row.content_id_prefix,
        ),
        value_policy=ValuePolicy(
            tax=row.value_includes_tax,
            shipping=row.value_includes_shipping,
            after_discounts=row.value_is_after_discounts,
        ),
    )


def _pixel_configs(rows: Iterable[MetaPixel], hostname: str) -> Iterable[PixelConfig]:
    for row in rows:
        if row.active and row.pixel_id:
            hosts = {line.strip().lower() for line in row.hosts.splitlines() if line.strip()}
            hosts = hosts or {hostname.lower()}
            if conf.get("SANDBOX") and hosts & LOOPBACK:
                # While trying out, both names of this machine are one; nothing leaves it.
                hosts |= LOOPBACK
            yield PixelConfig(
                pixel_id=row.pixel_id,
                hosts=frozenset(hosts),
                events=frozenset(row.events) if row.events else None,
                mode=row.mode,
            )


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
