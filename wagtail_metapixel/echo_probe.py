"""Whether the site's own server leaves the echo's cookies to the browser's script.

A proxy that makes every cookie ``HttpOnly`` is well meant and takes the browser's copy of each
action event that causes a navigation. Nothing in Django can see it, so the doctor asks the site as
a browser would.
"""

from __future__ import annotations

import requests

from wagtail_metapixel import browser, conf
from wagtail_metapixel.diagnosis import Finding, Level, ok, problem
from wagtail_metapixel.site_settings import SiteConfig

TIMEOUT_SECONDS = 5


def examine(name: str, site: SiteConfig) -> Finding:
    """Ask the site over HTTP for a cookie of the echo, and look at what arrives."""
    root = _root(site)
    path = browser.endpoint("echo")
    if not path:
        return Finding(Level.NOTE, name, "Our addresses are not included, so nobody was asked.")
    try:
        answer = _ask(root, path)
    except requests.RequestException as error:
        return Finding(
            Level.NOTE, name, f"{root} could not be asked from here: {type(error).__name__}."
        )
    if answer.status_code != 200:
        return Finding(
            Level.NOTE, name, f"{root}{path} answers {answer.status_code} to the doctor."
        )
    return _judge(name, answer)


def _root(site: SiteConfig) -> str:
    if site.port == 443:
        return f"https://{site.hostname}"
    return f"http://{site.hostname}" + (f":{site.port}" if site.port != 80 else "")


def _ask(root: str, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = not conf.is_loopback(root)
        return session.post(
            root + path,
            json={"probe": True},
            headers={"Origin": root, "User-Agent": "wagtail-metapixel"},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )


def _judge(name: str, answer: requests.Response) -> Finding:
    lines = [line.lower() for line in answer.raw.headers.getlist("Set-Cookie")]
    sent = [line.split(";") for line in lines if line.startswith(f"{browser.PROBE_COOKIE}=")]
    if not sent:
        return problem(
            name,
            "The echo's cookies do not arrive: the browser's copies of action events are lost.",
            "Let the proxy before the shop pass the header Set-Cookie.",
        )
    if any(part.strip() == "httponly" for parts in sent for part in parts):
        return problem(
            name,
            "Something before the shop makes its cookies HttpOnly: the browser's copies of action "
            "events are lost.",
            f"Leave cookies that begin with {browser.ECHO_COOKIE_PREFIX} as they are; in nginx, see"
            " proxy_cookie_flags.",
        )
    return ok(name, "The echo's cookies arrive as they are sent.")
