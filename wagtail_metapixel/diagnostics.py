"""Facts for people: what stands in the way, in sentences with a next step. Floor for the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from wagtail_metapixel import (
    browser,
    conf,
    counters,
    csp_settings,
    deployment,
    driver_choice,
    echo_probe,
    outbox,
    site_diagnostics,
    site_settings,
    visitor,
)
from wagtail_metapixel.consent import Reason
from wagtail_metapixel.diagnosis import Finding, Level, ok, problem, tried
from wagtail_metapixel.models import Counter, OutboxEvent, State

MIDDLEWARE = "wagtail_metapixel.middleware.MetaPixelMiddleware"
SETTINGS_APP = "wagtail.contrib.settings"
LATE = timedelta(minutes=10)


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
        return problem("tables", "They are not all there yet.", "Run: python manage.py migrate")
    return ok("tables", "They are all there.")


def examine(*, network: bool = True) -> Iterator[Finding]:
    """Return all findings, the deployment first, then each site, then what waits.

    ``network=False`` leaves out the questions to Meta and to the site itself. Never raises: a part that cannot be examined
    is a finding of its own.
    """
    there = list(tried("tables", tables))
    yield from there
    if any(finding.level is Level.PROBLEM for finding in there):
        return
    yield from installation()
    yield from tried("sites", partial(site_diagnostics.examine, network=network))
    if network:
        yield from tried("cookies", cookies)
    yield from tried("outbox", waiting)
    yield from tried("posts", refused)
    yield from tried("last 7 days", held_back)


def cookies() -> Iterator[Finding]:
    """Ask each site that sends events what becomes of its cookies on their way."""
    # A shop beside a sandbox is one that nobody else reaches.
    for site in () if conf.get("SANDBOX") else site_settings.current().sites:
        if site.enabled and site.pixels:
            yield echo_probe.examine(f"{site.hostname}:{site.port}", site)


# The deployment


def installation() -> Iterator[Finding]:
    """Examine settings, middleware, addresses, policy, database and proxies."""
    yield from tried("settings", _settings)
    yield from tried("graph", _graph)
    yield from tried("apps", installed_apps)
    yield from tried("middleware", middleware)
    yield from tried("addresses", addresses)
    yield from tried("csp", _policies)
    yield from tried("delivery", _delivery)
    yield from tried("proxies", _proxies)


def _settings() -> Iterator[Finding]:
    mistakes = [problem("settings", each.fact, each.advice) for each in deployment.mistakes()]
    yield from mistakes or [ok("settings", f"{conf.SETTING} can be used.")]


def _graph() -> Finding:
    address = f"{conf.graph_url()}/{conf.graph_version()}"
    if conf.sandbox_url():
        fact = f"Events go to the sandbox at {address}, not to Meta."
        if not settings.DEBUG:
            advice = f'Remove "SANDBOX" from {conf.SETTING} in production.'
            return problem("sandbox", f"{fact[:-1]}, although DEBUG is off.", advice)
        return Finding(Level.NOTE, "sandbox", fact)
    return ok("graph", f"Events go to {address}.")


def installed_apps() -> Finding:
    """Is what the page with our settings needs installed?"""
    if apps.is_installed(SETTINGS_APP):
        return ok("apps", f"{SETTINGS_APP} is installed.")
    return problem(
        "apps",
        f"{SETTINGS_APP} is not installed: our settings have no page, and with it the whole "
        "Wagtail admin fails.",
        f'INSTALLED_APPS += ["{SETTINGS_APP}"]',
    )


def middleware() -> Finding:
    """Is our middleware there, above sessions and caches?"""
    present = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in present:
        return problem(
            "middleware",
            "MetaPixelMiddleware is missing: action events get no browser copy.",
            f'Add "{MIDDLEWARE}" to MIDDLEWARE, above sessions and any cache.',
        )
    above = present[: present.index(MIDDLEWARE)]
    wrong = [name for name in above if "cache" in name.lower() or "SessionMiddleware" in name]
    if wrong:
        return problem(
            "middleware",
            f"MetaPixelMiddleware stands below {wrong[0]}.",
            "Move it above: caches strip cookies and the click id, and may store an echo.",
        )
    return ok("middleware", "MetaPixelMiddleware stands above sessions and caches.")


def addresses() -> Finding:
    """Are our addresses in the URL configuration?"""
    if browser.endpoint("collect"):
        return ok("addresses", f"The browser posts to {browser.endpoint('collect')}.")
    return problem(
        "addresses",
        "Our addresses are not in the URL configuration: page events get no server copy.",
        'Add path("metapixel/", include("wagtail_metapixel.urls")) to urlpatterns, '
        "above Wagtail's own line.",
    )


def _policies() -> Iterator[Finding]:
    policies, meta_script = csp_settings.set_policies(), _pages_load_meta_script()
    if not policies:
        yield ok(
            "csp",
            "No CSP found in the settings; if a proxy sends one, it needs: "
            f"{csp_settings.as_text(meta_script=meta_script)}",
        )
    for policy in policies:
        yield from _policy(policy, meta_script=meta_script)


def _pages_load_meta_script() -> bool:
    # One policy stands for all sites. While no pixel is set, it is mended for the first one.
    sites = [site for site in site_settings.current().sites if site.enabled and site.pixels]
    return not sites or any(site.loads_meta_script for site in sites)


def _policy(policy: csp_settings.SetPolicy, *, meta_script: bool) -> Iterator[Finding]:
    complaints = list(csp_settings.complaints(policy, meta_script=meta_script))
    if not complaints:
        yield ok("csp", f"{policy.setting} lets through all that pages need.")
    for complaint in complaints:
        if not policy.is_enforced:
            fact = f"Only reported, nothing is blocked: {complaint.fact}"
            yield Finding(Level.NOTE, "csp", fact, complaint.advice)
        elif csp_settings.CHECK_IDS[complaint.kind] in settings.SILENCED_SYSTEM_CHECKS:
            yield Finding(Level.NOTE, "csp", f"Silenced: {complaint.fact}", complaint.advice)
        else:
            yield problem("csp", complaint.fact, complaint.advice)


def _delivery() -> Iterator[Finding]:
    using = outbox.alias()
    driver = conf.driver()
    # A deliverer that cannot read them does not start.
    conf.seconds("POLL_INTERVAL")
    conf.seconds("REQUEST_TIMEOUT")
    obstacles = list(driver_choice.obstacles(driver, using=using))
    for each in obstacles:
        yield problem("delivery", each.fact, each.advice)
    if not obstacles:
        where = f"from the {connections[using].vendor} database {using!r}"
        yield ok("delivery", f"Events are sent by {SENDERS[driver]}, {where}.")


SENDERS: Mapping[str, str] = {
    "thread": "a thread in each web process",
    "worker": "manage.py metapixel_deliver",
    "tasks": "the worker of the tasks backend",
    "celery": "Celery's workers",
}


def _proxies() -> Finding:
    trusted = conf.trusted_proxies()
    if trusted:
        return ok("proxies", f"Trusted proxies: {conf.get('TRUSTED_PROXIES')}.")
    seen = Counter.objects.using(outbox.alias()).filter(
        kind=counters.DIAGNOSTIC,
        reason=visitor.UNDECLARED_PROXY,
        day__gte=timezone.now().date() - timedelta(7),
    )
    if seen.exists():
        return problem(
            "proxies",
            "Requests come through a proxy that nobody declared: Meta gets no visitor's address.",
            f'Set {conf.SETTING}["TRUSTED_PROXIES"] = 1, or the number of proxies before the shop.',
        )
    return ok("proxies", "No proxy is declared, and none was seen.")


# What waits, and what was held back


def waiting() -> Iterator[Finding]:
    """Examine the outbox: how much waits, since when, and what ended badly."""
    rows = OutboxEvent.objects.using(outbox.alias())
    pending = rows.filter(state=State.PENDING).aggregate(
        count=Count("pk"), oldest=Min("recorded_at")
    )
    if not pending["count"]:
        yield ok("outbox", "Nothing waits.")
    elif timezone.now() - pending["oldest"] > LATE:
        yield problem(
            "outbox",
            f"{pending['count']} events wait, the oldest since {pending['oldest']:%Y-%m-%d %H:%M}.",
            "Look at the lines above for the reason; with the driver 'worker', is "
            "manage.py metapixel_deliver running?",
        )
    else:
        yield ok("outbox", f"{pending['count']} events wait, none for long.")
    told = Q(state__in=[State.REJECTED, State.EXPIRED, State.DEAD]) | Q(state=State.PENDING)
    explained = rows.filter(told).exclude(reason="")
    for found in (
        explained.values("state", "reason").annotate(count=Count("pk")).order_by("-count")[:10]
    ):
        label = State(found["state"]).label.lower()
        yield Finding(Level.NOTE, "outbox", f"{found['count']} {label}: {found['reason']}")


def refused() -> Iterator[Finding]:
    """Examine what our addresses turned away lately."""
    # Since yesterday: shortly after midnight, today says nothing.
    since = timezone.now().date() - timedelta(days=1)
    rows = (
        Counter.objects.using(outbox.alias())
        .filter(kind=counters.REFUSED, day__gte=since)
        .exclude(reason="staff")
        .values("reason")
        .annotate(total=Sum("count"))
        .order_by("-total", "reason")
    )
    if totals := {row["reason"]: row["total"] for row in rows}:
        told = [f"{total} x {reason}" for reason, total in totals.items()]
        yield Finding(
            Level.NOTE,
            "requests",
            f"{sum(totals.values())} from browsers were refused since yesterday: "
            f"{', '.join(told[:REFUSALS])}.",
            " ".join(
                advice
                for word, advice in REFUSAL_ADVICE.items()
                if any(reason.startswith(word) for reason in totals)
            ),
        )


REFUSALS = 5
"""How many reasons are listed."""

REFUSAL_ADVICE: Mapping[str, str] = {
    "another origin": "Another origin: if there are many, does a proxy change the Host header?",
    "no site": "No site: is there a Wagtail site for each host, under Settings > Sites?",
    "too many requests": "Too many requests: if these were visitors, raise "
    f'{conf.SETTING}["REQUESTS_PER_ADDRESS"] or "REQUESTS_PER_SITE".',
}
"""What to do about a reason that begins so."""


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
    Reason.NO_COOKIES: "A machine's request, or that of a browser without a session, our consent "
    "cookie and _fbp: call remember(request, order) where the order is placed, and pass the same "
    "key= to track(); or state the consent you have: consent='granted'.",
    Reason.NO_IDENTIFIER: "Pass user_data to track().",
    Reason.NO_MATCHING: "Switch on advanced matching, so that user_data is used: Wagtail admin > "
    "Settings > Meta Pixel > Data.",
}
"""What to do about a reason that an owner or a developer can change."""
