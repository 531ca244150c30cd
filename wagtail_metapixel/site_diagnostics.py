"""What the doctor says of each site: its consent, its choices, its pixels and their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from django.utils import timezone

from wagtail_metapixel import conf, content_ids, graph_api, outbox, site_settings
from wagtail_metapixel.access_tokens import AccessToken
from wagtail_metapixel.choices import ConsentProvider, PixelMode
from wagtail_metapixel.diagnosis import Finding, Level, ok, problem, tried
from wagtail_metapixel.graph_api import Kind
from wagtail_metapixel.models import Dataset, MetaPixel
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig


def examine(*, network: bool) -> Iterator[Finding]:
    """Examine all sites; with ``network``, Meta is asked about each pixel."""
    conf.given()  # raises what the snapshot only logs
    snapshot = site_settings.refresh()
    if not snapshot.sites:
        yield problem("sites", "There is no Wagtail site.", "Make one under Settings > Sites.")
    for site in snapshot.sites:
        name = f"{site.hostname}:{site.port}"
        yield from tried(name, partial(_site, name, site, network=network))


def _site(name: str, site: SiteConfig, *, network: bool) -> Iterator[Finding]:
    if not site.enabled:
        yield Finding(Level.NOTE, name, "Switched off in the settings.")
        return
    if not site.pixels:
        yield _no_pixel(name, site)
        return
    yield from tried(name, partial(_consent, name, site))
    if not site.advanced_matching:
        yield Finding(
            Level.NOTE,
            name,
            "Advanced matching is off: e-mail, phone and name of orders and forms are not used.",
        )
    if site.browser_matching:
        keys = ", ".join(site.browser_matching)
        fact = f"Of visitors who have signed in, browser and server tell: {keys}."
        yield Finding(Level.NOTE, name, fact)
    yield from tried(name, partial(_choices, name, site))
    yield from _of_all_events(name, site)
    for pixel in site.pixels:
        subject = f"{name} pixel {pixel.pixel_id}"
        yield from tried(subject, partial(_mode, subject, pixel))
        yield from tried(subject, partial(_hosts, subject, site, pixel))
        if pixel.on_server:
            yield from tried(subject, partial(_token, subject, pixel, network=network))
            yield from tried(subject, partial(_pauses, subject, pixel))


def _no_pixel(name: str, site: SiteConfig) -> Finding:
    if MetaPixel.objects.filter(settings__site_id=site.site_pk).exists():
        return problem(
            name,
            "No pixel is active.",
            "Tick Active at one of them: Wagtail admin > Settings > Meta Pixel.",
        )
    return problem(name, "No pixel is set.", "Add one: Wagtail admin > Settings > Meta Pixel.")


def _consent(name: str, site: SiteConfig) -> Finding:
    if site.consent_provider == ConsentProvider.NOT_CHOSEN:
        return problem(
            name,
            "No consent choice is made: nothing is loaded, stored or sent.",
            "Choose where consent comes from: Wagtail admin > Settings > Meta Pixel.",
        )
    is_function = site.consent_provider == ConsentProvider.FUNCTION
    if is_function and conf.function("CONSENT_PROVIDER") is None:
        return Finding(
            Level.NOTE,
            name,
            "Consent comes from a function in the browser, window.metapixelConsent.",
            f'If it is one of the server\'s, name it: {conf.SETTING}["CONSENT_PROVIDER"].',
        )
    if site.consent_provider == ConsentProvider.NOT_REQUIRED:
        return ok(name, "Consent: not required here, as its owner states.")
    return ok(name, f"Consent: {ConsentProvider(site.consent_provider).label}")


def _choices(name: str, site: SiteConfig) -> Finding:
    ids, policy = site.content_ids, site.value_policy
    if ids.scheme == content_ids.FUNCTION and conf.function("CONTENT_ID_FUNCTION") is None:
        return problem(
            name,
            "Product ids come from a function of this site, but none is named: primary keys "
            "are sent.",
            f'Set {conf.SETTING}["CONTENT_ID_FUNCTION"] to the dotted path of the function.',
        )
    by = {
        content_ids.PK: "their primary key",
        content_ids.ATTRIBUTE: f"their {ids.attribute}",
        content_ids.FUNCTION: "a function of this site",
    }[ids.scheme]
    prefix = f' with "{ids.prefix}" before it' if ids.prefix else ""
    parts = (
        f"{'with' if policy.tax else 'without'} tax",
        f"{'with' if policy.shipping else 'without'} shipping",
        f"{'after' if policy.after_discounts else 'before'} discounts",
    )
    return ok(name, f"Products go by {by}{prefix}; the value of an order is {', '.join(parts)}.")


def _of_all_events(name: str, site: SiteConfig) -> Iterator[Finding]:
    if site.limited_data_use:
        yield ok(name, "Limited Data Use: said of every event, in the browser and by the server.")
    if site.data_layer:
        yield ok(name, "In the browser, events go to the tag manager, by window.dataLayer.")


def _mode(subject: str, pixel: PixelConfig) -> Finding:
    return ok(subject, f"Mode: {PixelMode(pixel.mode).label}.")


def _hosts(subject: str, site: SiteConfig, pixel: PixelConfig) -> Finding:
    hosts = ", ".join(sorted(pixel.hosts))
    if site.hostname in pixel.hosts:
        return ok(subject, f"It sends for {hosts}.")
    return problem(
        subject,
        f"It sends for {hosts}, but the site is {site.hostname}.",
        "List the site's host name in the pixel's hosts.",
    )


def _token(subject: str, pixel: PixelConfig, *, network: bool) -> Iterator[Finding]:
    token = site_settings.access_token(pixel.pixel_id)
    if not token:
        yield _token_missing(subject, pixel.pixel_id)
    elif network:
        yield _meta_answers(subject, pixel.pixel_id, token)


def _pauses(subject: str, pixel: PixelConfig) -> Iterator[Finding]:
    paused = Dataset.objects.using(outbox.alias()).filter(
        pixel_id=pixel.pixel_id, paused_until__gt=timezone.now()
    )
    for row in paused:
        yield problem(
            subject,
            f"Sending is paused: {row.pause_reason}",
            "Mend that; saving the settings ends the pause at once.",
        )


def _token_missing(subject: str, pixel_id: str) -> Finding:
    stored = MetaPixel.objects.filter(pixel_id=pixel_id).exclude(access_token_encrypted=None)
    if stored.exists():
        return problem(
            subject,
            "The stored access token cannot be opened with the present encryption keys.",
            "Paste it again in the settings, or put the old key back into ENCRYPTION_KEYS.",
        )
    return problem(
        subject,
        "No access token: events wait and nothing reaches Meta from the server.",
        "Paste one in Wagtail admin > Settings > Meta Pixel, or set "
        f"{conf.TOKEN_ENVIRONMENT_PREFIX}{pixel_id}.",
    )


def _meta_answers(subject: str, pixel_id: str, token: AccessToken) -> Finding:
    answer = graph_api.get_pixel(pixel_id, token)
    where = "The sandbox" if conf.sandbox_url() else "Meta"
    if answer.kind is Kind.ACCEPTED:
        return ok(subject, f"{where} answers for this pixel and token.")
    if answer.code == 190:
        return problem(
            subject, f"{where} refuses the token ({answer.message}).", "Paste a new one."
        )
    if answer.code is not None:
        return Finding(
            Level.NOTE,
            subject,
            f"{where} answered {answer.message}. That proves nothing: tokens that may only send "
            "cannot read. Wait for the first event.",
        )
    advice = f"Start it: {_sandbox_command()}" if conf.sandbox_url() else "Check the network."
    return problem(subject, f"{where} does not answer.", advice)


def _sandbox_command() -> str:
    port = urlsplit(conf.sandbox_url()).port
    return f"manage.py metapixel_sandbox --port {port}" if port else "manage.py metapixel_sandbox"
