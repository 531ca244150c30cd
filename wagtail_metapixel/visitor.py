"""What a request says about the person who made it.

:class:`Capture` is the raw copy the middleware takes before any cache can touch the request.
:class:`Visitor` is the immutable snapshot made from it, once the gate has said yes.
:func:`store` and :func:`recall` keep a visitor with a cart or an order.
"""

from __future__ import annotations

import functools
import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import connections
from django.http import HttpRequest
from django.http.cookie import parse_cookie
from django.http.request import split_domain_port
from django.utils import timezone
from django.utils.encoding import escape_uri_path

from wagtail_metapixel import addresses, conf, counters, keys
from wagtail_metapixel.identifiers import Fbc, Fbp, public_ip
from wagtail_metapixel.models import VisitorRecord
from wagtail_metapixel.site_settings import SiteConfig, Snapshot, current

OFF_COOKIE = "metapixel_off"
CONSENT_COOKIE = "metapixel_consent"
USER_COOKIE = "metapixel_user"
"""Says, without a value, that somebody has signed in with this browser."""
UNDECLARED_PROXY = "a proxy that nobody declared"
RECORD_LIFETIME = timedelta(days=7)

COOKIE_READINGS_MAX = 8
"""Of one name: a browser has one for the host and one for each of its parent domains."""

_CAPTURE = "_metapixel"
_USER_AGENT_MAX = 1024


class _Address(NamedTuple):
    """Where a request was sent to; all empty when Django does not allow the host."""

    host: str = ""
    port: int = 0
    netloc: str = ""


@dataclass(kw_only=True, slots=True, eq=False)
class Capture:
    """A raw copy of a request, and the one mutable holder that travels with it.

    Like that of a visitor, its ``repr`` shows nothing about the person: error reports print it.
    """

    meta: Mapping[str, Any] = field(repr=False)
    scheme: str
    path: str = field(repr=False)
    method: str
    has_middleware: bool = False
    """Whether somebody will hand the echo to the response."""
    echo: list[dict[str, Any]] = field(default_factory=list, repr=False)
    take_back: dict[str, Callable[[], object]] = field(default_factory=dict, repr=False)
    """By event id: what undoes that the echo of an event counts as told."""
    """Browser copies of committed action events, waiting for the response."""
    is_staff: bool = False
    """Whether somebody who may enter the admin has just logged in."""
    signed_in: bool | None = None
    """Whether somebody has just signed in, or out, with this browser; ``None``: neither."""
    head_is_printed: bool = False
    """Whether ``{% metapixel %}`` stands on the page already."""
    noscript_is_printed: bool = False
    """Whether ``{% metapixel_noscript %}`` stands on the page already."""
    no_store: bool = False
    """Whether the page holds something that is this visitor's alone."""
    _cookies: Mapping[str, str] | None = field(default=None, repr=False)
    _address: _Address | None = field(default=None, repr=False)
    _site: SiteConfig | None = field(default=None, repr=False)

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies as they arrived."""
        if self._cookies is None:
            self._cookies = parse_cookie(self.meta.get("HTTP_COOKIE", ""))
        return self._cookies

    def cookie_readings(self) -> list[Mapping[str, str]]:
        """Return the cookies, once more for each further value of a name that came twice.

        A browser sends a host's own cookie and that of its parent domain under one name. Which of
        them is meant cannot be told. Of more values than any browser has, none is.
        """
        values: dict[str, list[str]] = {}
        for pair in str(self.meta.get("HTTP_COOKIE", "")).split(";"):
            for name, value in parse_cookie(pair).items():
                values.setdefault(name, []).append(value)
        most = max(map(len, values.values()), default=0)
        if most < 2:
            return [self.cookies]
        if most > COOKIE_READINGS_MAX:
            return [{}]
        return [
            {name: told[min(at, len(told) - 1)] for name, told in values.items()}
            for at in range(most)
        ]

    @property
    def asked_by_script(self) -> bool:
        """Whether code on a page made this request, and not the browser on its way to a page."""
        if self.header("HX-Request") or self.header("Turbo-Frame"):
            return True
        if mode := self.header("Sec-Fetch-Mode"):
            return mode != "navigate" or bool(self.header("X-Requested-With"))
        # Not sent on plain http, nor by older browsers; on its way to a page each asks for HTML.
        accepted = self.header("Accept")
        return bool(self.header("X-Requested-With") or (accepted and "text/html" not in accepted))

    @property
    def host(self) -> str:
        """The host name, lower case, without port; ``""`` when Django does not allow it."""
        return self._addressed().host

    @property
    def netloc(self) -> str:
        """The host as the browser wrote it, lower case, with its port."""
        return self._addressed().netloc

    def site(self) -> SiteConfig | None:
        """Return the site this request is for."""
        if self._site is None and self.host:
            address = self._addressed()
            self._site = current().site_for_host(address.host, address.port)
        return self._site

    def header(self, name: str) -> str:
        """Return a request header, ``""`` when absent."""
        return str(self.meta.get("HTTP_" + name.upper().replace("-", "_"), ""))

    def _addressed(self) -> _Address:
        if self._address is None:
            self._address = _address(self)
        return self._address


class Visitor(NamedTuple):
    """An immutable snapshot of a person's request. Empty texts mean: not known."""

    site_pk: int
    host: str
    url: str = ""
    referrer: str = ""
    client_ip_address: str = ""
    client_user_agent: str = ""
    fbp: str = ""
    fbc: str = ""
    session: str = ""
    """Digest of the session cookie."""
    consent: str = "unknown"
    consent_proof: str = ""
    signed_in: tuple[tuple[str, str], ...] = ()
    """What may be told of who has signed in: Meta's keys, each with its digest."""

    def __repr__(self) -> str:
        # For logs and error reports: nothing of the person.
        about = f"site_pk={self.site_pk}, host={self.host!r}, consent={self.consent!r}"
        return f"Visitor({about})"

    def user_data(self) -> dict[str, Any]:
        """Return what Meta calls customer information, as far as the browser told it."""
        names = ("client_ip_address", "client_user_agent", "fbp", "fbc")
        told = {name: value for name in names if (value := getattr(self, name))}
        return {**{key: [digest] for key, digest in self.signed_in}, **told}

    def digests(self, snapshot: Snapshot) -> list[str]:
        """Return the keyed digests by which this visitor's rows can be found again."""
        found = [self.session] if self.session else []
        if self.fbp:
            found.append(keys.digest(snapshot.installation_key, "fbp", self.fbp))
        return found


def capture(request: HttpRequest, *, by_middleware: bool = False) -> Capture:
    """Return the request's raw copy, taking it now when there is none yet.

    Framework wrappers such as Django REST framework's ``Request`` share the copy of the
    ``HttpRequest`` they wrap.
    """
    held: Capture | None = getattr(request, _CAPTURE, None)
    if held is None:
        held = Capture(
            meta=dict(request.META),
            scheme=request.scheme or "http",
            path=request.path,
            method=request.method or "GET",
        )
        setattr(getattr(request, "_request", request), _CAPTURE, held)
    held.has_middleware = held.has_middleware or by_middleware
    return held


def read(held: Capture, site: SiteConfig, *, consent: str, consent_proof: str) -> Visitor:
    """Return the visitor behind ``held``. Call it only after the gate said yes."""
    snapshot = current()
    return Visitor(
        site_pk=site.site_pk,
        host=held.host,
        url=page_url(held, site),
        referrer=addresses.clean_url(held.header("Referer"), keep_query=None) or "",
        client_ip_address=client_ip_address(held.meta),
        client_user_agent=_printable(held.header("User-Agent"))[:_USER_AGENT_MAX],
        fbp=_first_valid(Fbp.parse, held, "_fbp"),
        fbc=_first_valid(Fbc.parse, held, "_fbc"),
        session=session_digest(held, snapshot),
        consent=consent,
        consent_proof=consent_proof,
    )


def page_url(held: Capture, site: SiteConfig) -> str:
    """Return the page on which something happened, ``""`` when the request does not tell.

    An htmx request names it, a form's request has it as referrer. The requested address itself
    counts only when it was a page: never the address of an endpoint or a webhook.
    """
    for told in (held.header("HX-Current-URL"), held.header("Referer")):
        if told and host_of(told) in site.own_hosts:
            return addresses.clean_url(told, keep_query=None) or ""
    if held.method != "GET" or held.asked_by_script:
        return ""
    query = str(held.meta.get("QUERY_STRING", ""))
    address = f"{held.scheme}://{held.netloc}{escape_uri_path(held.path)}"
    return addresses.clean_url(f"{address}?{query}" if query else address, keep_query=None) or ""


def client_ip_address(meta: Mapping[str, Any]) -> str:
    """Return the visitor's public address, ``""`` when it cannot be told.

    ``X-Forwarded-For`` is believed only as far as the deployment's ``TRUSTED_PROXIES`` reach; what
    stands further left was written by the visitor.
    """
    trusted = conf.trusted_proxies()
    if not trusted and "HTTP_X_FORWARDED_FOR" in meta and not public_ip(_remote(meta)):
        counters.add(counters.Item(counters.DIAGNOSTIC, UNDECLARED_PROXY))
    chain = [part.strip() for part in str(meta.get("HTTP_X_FORWARDED_FOR", "")).split(",")]
    chain = [*(part for part in chain if part), _remote(meta)]
    if isinstance(trusted, int):
        position = -1 - trusted
        address = chain[position] if len(chain) > trusted else chain[0]
    else:
        # Without REMOTE_ADDR the proxy speaks through a socket of this machine.
        hops = [hop for hop in chain if hop]
        address = next((hop for hop in reversed(hops) if not _inside(hop, trusted)), chain[0])
    return public_ip(address) or ""


def is_the_buyers(held: Capture) -> bool:
    """Tell whether a request can speak for a buyer: it carries our cookies and is not staff's.

    Webhooks, commands and a cross-site return from a payment page carry none.
    """
    cookies = held.cookies
    if OFF_COOKIE in cookies:
        return False
    return any(name in cookies for name in (CONSENT_COOKIE, "_fbp", settings.SESSION_COOKIE_NAME))


def comes_from_a_page(held: Capture) -> bool:
    """Tell whether a browser on one of the site's own pages made this request.

    A webhook posts without a page behind it; a visitor's first request asks for one.
    """
    site = held.site()
    if site is None or held.method == "GET":
        return True
    told = (held.header(name) for name in ("HX-Current-URL", "Referer", "Origin"))
    return any(host_of(url) in site.own_hosts for url in told if url)


def is_the_same(held: Capture, visitor: Visitor) -> bool:
    """Tell whether the browser behind ``held`` is the one a visitor was kept from."""
    if OFF_COOKIE in held.cookies:
        return False
    session = session_digest(held, current())
    fbp = held.cookies.get("_fbp", "")
    return bool(session and session == visitor.session) or bool(fbp and fbp == visitor.fbp)


def session_digest(held: Capture, snapshot: Snapshot) -> str:
    """Return a digest of the session cookie, ``""`` without one."""
    value = held.cookies.get(settings.SESSION_COOKIE_NAME, "")
    return keys.digest(snapshot.installation_key, "session", value) if value else ""


# The record kept with a cart or an order


def store(visitor: Visitor, key: keys.Key, *, using: str) -> None:
    """Keep ``visitor`` with ``key``. The newest record of a key is the one that counts."""
    snapshot = current()
    VisitorRecord.objects.using(using).create(
        key_digest=_record_digest(key, snapshot),
        site_pk=visitor.site_pk,
        data=keys.encrypt(json.dumps(visitor._asdict()).encode()),
        digests=" ".join(visitor.digests(snapshot)),
        expires_at=timezone.now() + RECORD_LIFETIME,
    )


def recall(key: keys.Key, *, using: str) -> Visitor | None:
    """Return the visitor kept with ``key``, ``None`` when there is none that can be read."""
    connection = connections[using]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(_recalling(using), [_record_digest(key, current()), now])
        row = cursor.fetchone()
    data = keys.decrypt(bytes(row[0])) if row else None
    if not data:
        return None
    # Another release, still or again at work during a deploy, may know other fields.
    kept = {name: value for name, value in json.loads(data).items() if name in Visitor._fields}
    return Visitor(**kept | {"signed_in": tuple(map(tuple, kept.get("signed_in", ())))})


@functools.lru_cache
def _recalling(using: str) -> str:
    # Kept, because each order waits for it, and most find nothing: see outbox.insert().
    table = connections[using].ops.quote_name(VisitorRecord._meta.db_table)
    return (
        f"SELECT data FROM {table} WHERE key_digest = %s AND expires_at > %s"  # noqa: S608 - a name
        " ORDER BY id DESC LIMIT 1"
    )


def _record_digest(key: keys.Key, snapshot: Snapshot) -> str:
    return keys.digest(snapshot.installation_key, "visitor", keys.key_text(key))


# Small readings


def _address(held: Capture) -> _Address:
    # Only Django's reading of the host is wanted, not the forms and files __init__ prepares.
    request = HttpRequest.__new__(HttpRequest)
    request.META = dict(held.meta)
    try:
        netloc = request.get_host().lower()
        return _Address(split_domain_port(netloc)[0], int(request.get_port()), netloc)
    except (DisallowedHost, KeyError, ValueError):
        return _Address()


def host_of(url: str) -> str:
    """Return the host name in ``url``, lower case, without port; ``""`` when there is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _remote(meta: Mapping[str, Any]) -> str:
    return str(meta.get("REMOTE_ADDR") or "")


def _inside(address: str, networks: conf.Networks) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)  # how a dual-stack socket writes IPv4
    return any((mapped or parsed) in network for network in networks)


def _first_valid(parse: Callable[[str], Fbp | Fbc | None], held: Capture, name: str) -> str:
    # Two cookies of one name, host-only and on the domain, are possible.
    for pair in str(held.meta.get("HTTP_COOKIE", "")).split(";"):
        key, _equals, value = pair.strip().partition("=")
        if key == name and (parsed := parse(value)):
            return str(parsed)
    return ""


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable()).strip()
