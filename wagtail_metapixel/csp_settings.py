"""The Content Security Policy that Django's settings hold, against what a page of ours needs.

Reads Django's ``SECURE_CSP`` and django-csp's settings, both its dict and the older ``CSP_*`` ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from django.conf import settings

from wagtail_metapixel import conf
from wagtail_metapixel.csp import (
    DIRECTIVES,
    SELF,
    TRUSTED_TYPES_POLICY,
    Need,
    Policy,
    blocks_trusted_types,
    is_strict_dynamic,
    lacks,
    speaking,
)

META_SCRIPTS = "https://connect.facebook.net"
META_HITS = "https://www.facebook.com"

DJANGO_MIDDLEWARE = "django.middleware.csp.ContentSecurityPolicyMiddleware"
DJANGO_CSP_MIDDLEWARE = re.compile(r"csp\.(middleware|contrib)\.")


# What a page needs


def needs(*, meta_script: bool = True) -> list[Need]:
    """Return what pages with the package need, by the settings. Raises ``ConfigurationError``.

    Without ``meta_script`` only what our own files do. Where Meta's script is the sandbox's
    stand-in, everything goes to the sandbox; where it is Meta's, wherever it is served from, it
    goes on to load from Meta's host and reports to Meta.
    """
    if not meta_script:
        return [_static_files(), Need("connect-src", SELF, "")]
    script = conf.script_url()
    stand_in = conf.is_loopback(script)
    scripts = _origin(script) if stand_in else META_SCRIPTS
    hits = _origin(script) if stand_in else META_HITS
    pixel = f"{scripts}/signals/config/1"
    return [
        _static_files(),
        Need("script-src", _origin(script), script),
        Need("script-src", scripts, pixel),
        Need("img-src", hits, f"{hits}/tr/"),
        Need("connect-src", SELF, ""),
        Need("connect-src", hits, f"{hits}/tr/"),
        Need("connect-src", scripts, pixel),
        Need("frame-src", hits, f"{hits}/tr/"),
        Need("form-action", hits, f"{hits}/tr/"),
    ]


def as_text(*, meta_script: bool = True) -> str:
    """Return the sources of :func:`needs` as they stand in a header."""
    wanted: dict[str, dict[str, None]] = {}
    for need in needs(meta_script=meta_script):
        wanted.setdefault(need.directive, {})[need.source] = None
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in wanted.items())


def _static_files() -> Need:
    url = urljoin("/", f"{settings.STATIC_URL or ''}wagtail_metapixel/metapixel.js")
    parts = urlsplit(url)
    if not parts.netloc:
        return Need("script-src", SELF, "")
    url = url if parts.scheme else f"https:{url}"
    return Need("script-src", _origin(url), url)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


# The policies that the settings hold


class SetPolicy(NamedTuple):
    """A policy with where it stands."""

    setting: str
    directives: Policy
    line: Callable[[str, Sequence[str]], str]
    """Writes a directive in the setting's own syntax."""
    is_enforced: bool = True


CHECK_IDS: Mapping[str, str] = {
    "source": "metapixel.W006",
    "strict-dynamic": "metapixel.W007",
    "trusted-types": "metapixel.W008",
}
"""The system check that tells a kind of complaint."""


class Complaint(NamedTuple):
    """What is wrong with a policy, and the line that mends it."""

    kind: str
    """A key of :data:`CHECK_IDS`."""
    fact: str
    advice: str
    is_for_meta: bool = False
    """Whether it falls away where no page loads Meta's script."""


def complaints(policy: SetPolicy, *, meta_script: bool = True) -> Iterator[Complaint]:
    """Say what is wrong with ``policy``. Raises ``ConfigurationError``."""
    given, wanted = policy.directives, needs(meta_script=meta_script)
    own = {need.source for need in needs(meta_script=False)}
    if is_strict_dynamic(given):
        yield _strict_dynamic(policy, wanted)
    for lack in lacks(given, wanted, own_hosts()):
        yield Complaint(
            "source",
            f"{policy.setting} lacks {' and '.join(lack.sources)} in {lack.directive}.",
            f"Write: {policy.line(lack.directive, lack.wanted)}",
            is_for_meta=own.isdisjoint(lack.sources),
        )
    if meta_script and blocks_trusted_types(given):
        kept = [name for name in given["trusted-types"] if name != "'none'"]
        line = policy.line("trusted-types", [*kept, TRUSTED_TYPES_POLICY])
        yield Complaint(
            "trusted-types",
            f"{policy.setting} enforces Trusted Types without the policy "
            f'"{TRUSTED_TYPES_POLICY}": Meta\'s script is not loaded.',
            f"Write: {line}",
            is_for_meta=True,
        )


def _strict_dynamic(policy: SetPolicy, wanted: Iterable[Need]) -> Complaint:
    name = speaking(policy.directives, "script-src") or "script-src"
    useless = {"'strict-dynamic'", "'none'"}
    kept = [each for each in policy.directives[name] if each.lower() not in useless]
    needed = [need.source for need in wanted if need.directive == "script-src"]
    name = name if name.startswith("script-src") else "script-src"
    return Complaint(
        "strict-dynamic",
        f"{policy.setting} has 'strict-dynamic' in {name}, with which browsers ignore 'self' and "
        "host names. The package's scripts carry no nonce and no hash, so none of them is loaded.",
        f"Name the hosts instead: {policy.line(name, list(dict.fromkeys([*kept, *needed])))}",
    )


def set_policies() -> list[SetPolicy]:
    """Return the policies whose middleware is installed."""
    return [*_of_django(), *_of_django_csp()]


def own_hosts() -> list[str]:
    """Return the hosts of ``ALLOWED_HOSTS``, with a host for each that stands for several."""
    return [
        f"www{host}" if host.startswith(".") else host.strip("[]")
        for host in map(str.lower, settings.ALLOWED_HOSTS)
        if host.strip(".*")
    ]


def _of_django() -> Iterator[SetPolicy]:
    if DJANGO_MIDDLEWARE not in settings.MIDDLEWARE:
        return
    for setting, is_enforced in (("SECURE_CSP", True), ("SECURE_CSP_REPORT_ONLY", False)):
        given = getattr(settings, setting, None)
        if isinstance(given, Mapping) and given:
            # Django leaves out a directive without a source.
            directives = {name: sources for name, sources in _directives(given) if sources}
            yield SetPolicy(setting, directives, _dict_line, is_enforced)


def _of_django_csp() -> Iterator[SetPolicy]:
    if not any(map(DJANGO_CSP_MIDDLEWARE.match, settings.MIDDLEWARE)):
        return
    enforced, reported = "CONTENT_SECURITY_POLICY", "CONTENT_SECURITY_POLICY_REPORT_ONLY"
    present = [name for name in (enforced, reported) if hasattr(settings, name)]
    for name in present:
        given = getattr(settings, name)
        if isinstance(given, Mapping) and given:
            directives = _with_default(given.get("DIRECTIVES"))
            setting = f'{name}["DIRECTIVES"]'
            yield SetPolicy(setting, directives, _dict_line, name == enforced)
    if not present:
        yield from _of_django_csp_3()


def _of_django_csp_3() -> Iterator[SetPolicy]:
    given = {
        directive: getattr(settings, _old_name(directive))
        for directive in DIRECTIVES
        if hasattr(settings, _old_name(directive))
    }
    if given:
        is_enforced = not getattr(settings, "CSP_REPORT_ONLY", False)
        yield SetPolicy("CSP_...", _with_default(given), _assignment, is_enforced)


def _with_default(given: Any) -> Policy:
    # django-csp's own, where the site does not say otherwise.
    own = given if isinstance(given, Mapping) else {}
    return dict(_directives({"default-src": [SELF], **own}))


def _directives(given: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, value in given.items():
        if value is None or value is False:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if isinstance(value, set | frozenset):
            values = sorted(value, key=str)
        sources = [] if value is True else [each for one in values for each in str(one).split()]
        yield str(name).lower(), tuple(sources)


# How the two packages' stand-in for a nonce reads as text, and how it is written in settings.
_NONCES = {"<CSP_NONCE_SENTINEL>": "CSP.NONCE", "csp.constants.NONCE": "NONCE"}


def _dict_line(directive: str, sources: Sequence[str]) -> str:
    return f'"{directive}": {_list(sources)},'


def _assignment(directive: str, sources: Sequence[str]) -> str:
    return f"{_old_name(directive)} = {_list(sources)}"


def _old_name(directive: str) -> str:
    return f"CSP_{directive.upper().replace('-', '_')}"


def _list(sources: Sequence[str]) -> str:
    written = (_NONCES.get(source, f'"{source}"') for source in sources)
    return f"[{', '.join(written)}]"
