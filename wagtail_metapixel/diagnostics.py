"""Facts for people: what stands in the way, in sentences with a next step. Floor for the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from wagtail_metapixel import browser, conf, counters, graph_api, outbox, site_settings, visitor
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.graph_api import Kind
from wagtail_metapixel.models import (
    ConsentProvider,
    Counter,
    Dataset,
    MetaPixel,
    OutboxEvent,
    State,
)
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig

MIDDLEWARE = "wagtail_metapixel.middleware.MetaPixelMiddleware"
LATE = timedelta(minutes=10)


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: It works, and here is something to know.
    NOTE = "note"
    #: It does not work until somebody does something.
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One line of the doctor: what is so, and what to do when that is not good."""

    level: Level
    subject: str
    fact: str
    advice: str = ""


def tables() -> Finding:
    """Do our tables exist yet?"""
    using = outbox.alias()
    present = set(connections[using].introspection.table_names())
    missing = [
        model._meta.db_table
        for model in apps.get_app_config("wagtail_metapixel").get_models()
        if model._meta.db_table not in present
    ]
    if missing:
        return _problem("tables", "They are not all there yet.", "Run: python manage.py migrate")
    return _ok("tables", "They are all there.")


def examine(*, network: bool = True) -> Iterator[Finding]:
    """Return all findings, the deployment first, then each site, then what waits.

    ``network=False`` leaves out the question to Meta.
    """
    there = tables()
    yield there
    if there.level is Level.PROBLEM:
        return
    yield from deployment()
    snapshot = site_settings.refresh()
    if not snapshot.sites:
        yield _problem("sites", "There is no Wagtail site.", "Make one under Settings > Sites.")
    for site in snapshot.sites:
        yield from _site(site, network=network)
    yield from waiting()
    yield from held_back()


# The deployment


def deployment() -> Iterator[Finding]:
    """Examine settings, middleware, addresses, database and proxies."""
    yield _graph()
    yield middleware()
    yield addresses()
    yield _database()
    yield _proxies()


def _graph() -> Finding:
    address = f"{conf.graph_url()}/{conf.graph_version()}"
    if conf.sandbox_url():
        return Finding(
            Level.NOTE, "sandbox", f"Events go to the sandbox at {address}, not to Meta."
        )
    return _ok("graph", f"Events go to {address}.")


def middleware() -> Finding:
    """Is our middleware there, above sessions and caches?"""
    present = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in present:
        return _problem(
            "middleware",
            "MetaPixelMiddleware is missing: action events get no browser copy.",
            f'Add "{MIDDLEWARE}" to MIDDLEWARE, above sessions and any cache.',
        )
    above = present[: present.index(MIDDLEWARE)]
    wrong = [name for name in above if "cache" in name.lower() or "SessionMiddleware" in name]
    if wrong:
        return _problem(
            "middleware",
            f"MetaPixelMiddleware stands below {wrong[0]}.",
            "Move it above: caches strip cookies and the click id, and may store an echo.",
        )
    return _ok("middleware", "MetaPixelMiddleware stands above sessions and caches.")


def addresses() -> Finding:
    """Are our addresses in the URL configuration?"""
    if browser.endpoint("collect"):
        return _ok("addresses", f"The browser posts to {browser.endpoint('collect')}.")
    return _problem(
        "addresses",
        "Our addresses are not in the URL configuration: page events get no server copy.",
        'Add path("metapixel/", include("wagtail_metapixel.urls")) to urlpatterns, '
        "above Wagtail's own line.",
    )


def _database() -> Finding:
    using = outbox.alias()
    vendor = connections[using].vendor
    driver = conf.driver()
    if driver == "thread" and not outbox.bears_second_writer(using):
        return _problem(
            "delivery",
            "The delivery thread does not run: this SQLite database is not in IMMEDIATE mode.",
            'Add "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}, to '
            f'DATABASES["{using}"], or send with manage.py metapixel_deliver.',
        )
    how = "a thread in each web process" if driver == "thread" else "manage.py metapixel_deliver"
    return _ok("delivery", f"Events are sent by {how}, from the {vendor} database {using!r}.")


def _proxies() -> Finding:
    trusted = conf.trusted_proxies()
    if trusted:
        return _ok("proxies", f"Trusted proxies: {conf.get('TRUSTED_PROXIES')}.")
    seen = Counter.objects.using(outbox.alias()).filter(
        kind=counters.DIAGNOSTIC,
        reason=visitor.UNDECLARED_PROXY,
        day__gte=timezone.now().date() - timedelta(7),
    )
    if seen.exists():
        return _problem(
            "proxies",
            "Requests come through a proxy that nobody declared: Meta gets no visitor's address.",
            f'Set {conf.SETTING}["TRUSTED_PROXIES"] = 1, or the number of proxies before the shop.',
        )
    return _ok("proxies", "No proxy is declared, and none was seen.")


# A site


def _site(site: SiteConfig, *, network: bool) -> Iterator[Finding]:
    name = f"{site.hostname}:{site.port}"
    if not site.enabled:
        yield Finding(Level.NOTE, name, "Switched off in the settings.")
        return
    if not site.pixels:
        yield _problem(name, "No pixel is set.", "Add one: Wagtail admin > Settings > Meta Pixel.")
        return
    if site.consent_provider == ConsentProvider.NOT_CHOSEN:
        yield _problem(
            name,
            "No consent choice is made: nothing is loaded, stored or sent.",
            "Choose where consent comes from: Wagtail admin > Settings > Meta Pixel.",
        )
    elif site.consent_provider == ConsentProvider.FUNCTION and not conf.get("CONSENT_PROVIDER"):
        yield _problem(
            name,
            "Consent comes from a function of this site, but none is named: nothing is sent.",
            f'Set {conf.SETTING}["CONSENT_PROVIDER"] to the dotted path of the function.',
        )
    else:
        yield _ok(name, f"Consent: {ConsentProvider(site.consent_provider).label}")
    if not site.advanced_matching:
        yield Finding(
            Level.NOTE, name, "Advanced matching is off: e-mail, phone and name are not used."
        )
    for pixel in site.pixels:
        yield from _pixel(name, site, pixel, network=network)


def _pixel(name: str, site: SiteConfig, pixel: PixelConfig, *, network: bool) -> Iterator[Finding]:
    subject = f"{name} pixel {pixel.pixel_id}"
    if site.hostname not in pixel.hosts:
        yield _problem(
            subject,
            f"It sends for {', '.join(sorted(pixel.hosts))}, but the site is {site.hostname}.",
            "List the site's host name in the pixel's hosts.",
        )
    else:
        yield _ok(subject, f"It sends for {', '.join(sorted(pixel.hosts))}.")
    token = site_settings.access_token(pixel.pixel_id)
    if not token:
        yield _token_missing(subject, pixel.pixel_id)
    elif network:
        yield _meta_answers(subject, pixel.pixel_id, token)
    paused = Dataset.objects.using(outbox.alias()).filter(
        pixel_id=pixel.pixel_id, paused_until__gt=timezone.now()
    )
    for row in paused:
        yield _problem(
            subject,
            f"Sending is paused: {row.pause_reason}",
            "Mend that; saving the settings ends the pause at once.",
        )


def _token_missing(subject: str, pixel_id: str) -> Finding:
    stored = MetaPixel.objects.filter(pixel_id=pixel_id).exclude(access_token_encrypted=None)
    if stored.exists():
        return _problem(
            subject,
            "The stored access token cannot be opened with the present encryption keys.",
            "Paste it again in the settings, or put the old key back into ENCRYPTION_KEYS.",
        )
    return _problem(
        subject,
        "No access token: events wait and nothing reaches Meta from the server.",
        "Paste one in Wagtail admin > Settings > Meta Pixel, or set "
        f"{conf.TOKEN_ENVIRONMENT_PREFIX}{pixel_id}.",
    )


def _meta_answers(subject: str, pixel_id: str, token: str) -> Finding:
    answer = graph_api.get_pixel(pixel_id, token)
    where = "The sandbox" if conf.sandbox_url() else "Meta"
    if answer.kind is Kind.ACCEPTED:
        return _ok(subject, f"{where} answers for this pixel and token.")
    if answer.code == 190:
        return _problem(
            subject, f"{where} refuses the token ({answer.message}).", "Paste a new one."
        )
    if answer.code is not None:
        return Finding(
            Level.NOTE,
            subject,
            f"{where} answered {answer.message}. That proves nothing: tokens that may only send "
            "cannot read. Wait for the first event.",
        )
    advice = "Start it: manage.py metapixel_sandbox" if conf.sandbox_url() else "Check the network."
    return _problem(subject, f"{where} does not answer.", advice)


# What waits, and what was held back


def waiting() -> Iterator[Finding]:
    """Examine the outbox: how much waits, since when, and what ended badly."""
    rows = OutboxEvent.objects.using(outbox.alias())
    pending = rows.filter(state=State.PENDING).aggregate(
        count=Count("pk"), oldest=Min("recorded_at")
    )
    if not pending["count"]:
        yield _ok("outbox", "Nothing waits.")
    elif timezone.now() - pending["oldest"] > LATE:
        yield _problem(
            "outbox",
            f"{pending['count']} events wait, the oldest since {pending['oldest']:%Y-%m-%d %H:%M}.",
            "Look at the lines above for the reason; with the driver 'worker', is "
            "manage.py metapixel_deliver running?",
        )
    else:
        yield _ok("outbox", f"{pending['count']} events wait, none for long.")
    told = Q(state__in=[State.REJECTED, State.EXPIRED, State.DEAD]) | Q(state=State.PENDING)
    explained = rows.filter(told).exclude(reason="")
    for found in (
        explained.values("state", "reason").annotate(count=Count("pk")).order_by("-count")[:10]
    ):
        label = State(found["state"]).label.lower()
        yield Finding(Level.NOTE, "outbox", f"{found['count']} {label}: {found['reason']}")


def held_back() -> Iterator[Finding]:
    """Examine the counters of the last seven days."""
    since = timezone.now().date() - timedelta(days=7)
    rows = (
        Counter.objects.using(outbox.alias())
        .filter(day__gte=since)
        .values("kind", "reason")
        .annotate(total=Sum("count"))
        .order_by("-total", "reason")
    )
    # A page that prints nothing and an event that is withheld may have one and the same reason.
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["reason"]] = max(row["total"], totals.get(row["reason"], 0))
    for reason, total in list(totals.items())[:REASONS]:
        yield Finding(Level.NOTE, "last 7 days", f"{total} x {reason}", ADVICE.get(reason, ""))
    if len(totals) > REASONS:
        yield Finding(Level.NOTE, "last 7 days", f"and {len(totals) - REASONS} other reasons")


REASONS = 30
"""How many are listed."""

ADVICE: Mapping[str, str] = {
    Reason.HOST: "Open the site under a host name its pixel lists (the lines above name them), or "
    "list the other one: Wagtail admin > Settings > Meta Pixel.",
    Reason.NO_SITE: "Make one for this host: Wagtail admin > Settings > Sites.",
    Reason.NO_VISITOR: "Call remember(request, order) where the order is placed, and pass the same "
    "key= to track(); or state the consent you have: consent='granted'.",
    Reason.NO_IDENTIFIER: "Pass user_data to track().",
    Reason.NO_MATCHING: "Switch on advanced matching, so that user_data is used: Wagtail admin > "
    "Settings > Meta Pixel > Data.",
}
"""What to do about a reason that an owner or a developer can change."""


def _ok(subject: str, fact: str) -> Finding:
    return Finding(Level.OK, subject, fact)


def _problem(subject: str, fact: str, advice: str) -> Finding:
    return Finding(Level.PROBLEM, subject, fact, advice)
