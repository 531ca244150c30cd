"""Content Security Policy: what a policy lets through, and which of our sources it lacks.

What a source list covers is decided as in the W3C's Content Security Policy Level 3, 6.7.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

TRUSTED_TYPES_POLICY = "metapixel"
"""The name that ``metapixel.js`` gives to its policy."""

SELF = "'self'"

# Which directive speaks when one is absent, the nearest first. form-action has no other.
_FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "script-src": ("script-src-elem", "script-src", "default-src"),
    "img-src": ("img-src", "default-src"),
    "connect-src": ("connect-src", "default-src"),
    "frame-src": ("frame-src", "child-src", "default-src"),
    "form-action": ("form-action",),
}
DIRECTIVES = (
    *sorted({name for names in _FALLBACKS.values() for name in names}),
    "require-trusted-types-for",
    "trusted-types",
)
"""All that matter to a page of ours."""

_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}
# A scheme also lets through what is the same, encrypted.
_UPGRADES: Mapping[str, frozenset[str]] = {
    "http": frozenset({"http", "https"}),
    "ws": frozenset({"ws", "wss", "http", "https"}),
    "wss": frozenset({"wss", "https"}),
}
_NETWORK = frozenset({"http", "https", "ws", "wss", "ftp"})
_SCHEME_SOURCE = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_HOST_SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?"
    r"(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]+|\*))?"
    r"(?P<path>/[^?#]*)?",
    re.IGNORECASE,
)

Policy = Mapping[str, Sequence[str]]
"""Directives in lower case, each with its sources. An empty list allows nothing."""


# What a source list covers


def covers(sources: Iterable[str], url: str) -> bool:
    """Tell whether a source list lets an absolute ``url`` through.

    ``'self'`` is not looked at: which host a page is on, settings do not know. A source without a
    scheme is taken to stand on a page of either scheme.
    """
    return any(_covers(source, url) for source in sources)


def _covers(source: str, url: str) -> bool:
    parts = urlsplit(url)
    if source == "*":
        return parts.scheme in _NETWORK
    if scheme := _SCHEME_SOURCE.fullmatch(source):
        return _scheme_covers(scheme[1], parts.scheme)
    host = _HOST_SOURCE.fullmatch(source)
    return host is not None and (
        _scheme_covers(host["scheme"] or "http", parts.scheme)
        and _host_covers(host["host"].lower(), (parts.hostname or "").lower())
        and _port_covers(host["port"] or "", _port(parts), parts.scheme)
        and _path_covers(host["path"] or "", parts.path or "/")
    )


def _scheme_covers(given: str, wanted: str) -> bool:
    return wanted in _UPGRADES.get(given.lower(), {given.lower()})


def _host_covers(given: str, wanted: str) -> bool:
    if given == "*":
        return bool(wanted)
    if given.startswith("*."):
        return wanted.endswith(given[1:]) and wanted != given[1:]
    return given.strip("[]") == wanted


def _port(parts: SplitResult) -> str:
    try:
        return str(parts.port or "")
    except ValueError:
        return "-"  # no port at all, so that no source covers it


def _port_covers(given: str, wanted: str, scheme: str) -> bool:
    usual = _PORTS.get(scheme, "")
    wanted = wanted or usual
    if not given:
        return wanted == usual
    return given in {"*", wanted} or (given == "80" and wanted == "443" == usual)


def _path_covers(given: str, wanted: str) -> bool:
    # The encoded forms are compared decoded, as browsers do.
    given, wanted = unquote(given), unquote(wanted)
    return wanted.startswith(given) if given.endswith("/") or not given else wanted == given


# What a policy lacks


class Need(NamedTuple):
    """One source that a directive has to cover."""

    directive: str
    source: str
    """As it is written in a policy: ``'self'`` or an origin."""
    url: str
    """An address of that kind; a policy may name paths. ``""`` for ``'self'``."""


class Lack(NamedTuple):
    """A directive that stands in the way."""

    directive: str
    """The one to write: the nearest that speaks for this kind of request."""
    sources: tuple[str, ...]
    """The missing ones."""
    wanted: tuple[str, ...]
    """The directive's whole list, as it should be."""


def speaking(policy: Policy, directive: str) -> str | None:
    """Return the directive of ``policy`` that decides for ``directive``; ``None`` allows all."""
    return next((name for name in _FALLBACKS[directive] if name in policy), None)


def lacks(policy: Policy, wanted: Iterable[Need], own_hosts: Sequence[str] = ()) -> list[Lack]:
    """Return the directives that miss a source, in the order of ``wanted``.

    ``own_hosts`` are the hosts that ``'self'`` may be written as. A script directive with
    ``'strict-dynamic'`` is left out: no list of hosts would help it.
    """
    missing: dict[str, dict[str, None]] = {}
    for need in wanted:
        name = speaking(policy, need.directive)
        if name is None or (need.directive == "script-src" and is_strict_dynamic(policy)):
            continue
        if not _gives(policy[name], need, own_hosts):
            missing.setdefault(need.directive, {})[need.source] = None
    return [_lack(policy, directive, sources) for directive, sources in missing.items()]


def is_strict_dynamic(policy: Policy) -> bool:
    """Tell whether hosts and ``'self'`` count for nothing in scripts."""
    name = speaking(policy, "script-src")
    return name is not None and "'strict-dynamic'" in map(str.lower, policy[name])


def blocks_trusted_types(policy: Policy) -> bool:
    """Tell whether the address of Meta's script cannot be made a trusted one."""
    required = map(str.lower, policy.get("require-trusted-types-for", ()))
    allowed = policy.get("trusted-types")
    if "'script'" not in required or allowed is None:
        return False
    return not {"*", TRUSTED_TYPES_POLICY} & set(allowed)


def _gives(sources: Sequence[str], need: Need, own_hosts: Sequence[str]) -> bool:
    if need.url:
        # An address of the site's own, written in full, is what 'self' means.
        is_own = urlsplit(need.url).hostname in own_hosts
        return covers(sources, need.url) or (is_own and SELF in map(str.lower, sources))
    return any(_is_own(source.lower(), own_hosts) for source in sources)


def _is_own(source: str, own_hosts: Sequence[str]) -> bool:
    # Any scheme, port and path will do: which ones the site has, settings do not know.
    if source in {SELF, "*", "http:", "https:"}:
        return True
    host = _HOST_SOURCE.fullmatch(source)
    return host is not None and any(_host_covers(host["host"], own) for own in own_hosts)


def _lack(policy: Policy, directive: str, missing: Iterable[str]) -> Lack:
    name = speaking(policy, directive) or directive
    kept = [source for source in policy[name] if source.lower() != "'none'"]
    written = name if name.startswith(directive) else directive
    return Lack(written, tuple(missing), tuple(dict.fromkeys([*kept, *missing])))
