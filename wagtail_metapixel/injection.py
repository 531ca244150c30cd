"""Markup put into a finished page before ``</head>``, for sites that cannot edit their templates.

Works on the bytes of a response and never reads them as HTML: the first ``</head>`` counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response

from wagtail_metapixel import conf, counters
from wagtail_metapixel.exceptions import ConfigurationError

COMPRESSED = "injection: the page was compressed below MetaPixelMiddleware"

_HEAD_ENDS = re.compile(rb"</head\s*>", re.IGNORECASE)
# A page out of a cache holds what its template printed for somebody else's request.
_OURS = b'<script type="application/json" id="metapixel-config">'


def is_on() -> bool:
    """Tell whether the deployment wants it. A setting that cannot be used means no."""
    try:
        return conf.flag("INJECT")
    except ConfigurationError:
        return False


def inject(response: HttpResponseBase, markup: Callable[[], str]) -> bool:
    """Insert what ``markup()`` returns where the head of a page ends; tell whether that was done.

    ``markup`` is called only for a whole HTML page that may be changed. What it raises is raised.
    """
    if not isinstance(response, HttpResponse) or not _is_page(response):
        return False
    if response.get("Content-Encoding", "identity").lower() != "identity":
        counters.add(counters.Item(counters.DIAGNOSTIC, COMPRESSED))
        return False
    content = response.content
    head_ends = _HEAD_ENDS.search(content)
    text = markup() if head_ends else ""
    if not head_ends or not text:
        return False
    _insert(response, content, head_ends.start(), _encoded(text, response))
    return True


def holds_head(response: HttpResponseBase) -> bool:
    """Tell whether ``{% metapixel %}`` stands in the bytes of ``response``."""
    return isinstance(response, HttpResponse) and _OURS in response.content


def not_modified(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return ``response``, or 304 where the browser holds these very bytes.

    Below us the question was answered with the name of other bytes.
    """
    if not isinstance(response, HttpResponse) or not request.META.get("HTTP_IF_NONE_MATCH"):
        return response
    etag = response.get("ETag")
    if not etag:
        return response
    return get_conditional_response(request, etag=etag, response=response) or response


def _is_page(response: HttpResponse) -> bool:
    kind = response.get("Content-Type", "").partition(";")[0].strip().lower()
    return (
        response.status_code == 200
        and kind == "text/html"
        and not response.get("Content-Disposition", "").lower().startswith("attachment")
    )


def _insert(response: HttpResponse, content: bytes, place: int, markup: bytes) -> None:
    response.content = b"".join((content[:place], markup, b"\n", content[place:]))
    if "Content-Length" in response:
        response["Content-Length"] = str(len(response.content))
    if etag := response.get("ETag"):
        weak = "W/" if etag.startswith("W/") else ""
        digest = hashlib.sha256(etag.encode() + b"\n" + markup).hexdigest()[:32]
        response["ETag"] = f'{weak}"{digest}"'


def _encoded(text: str, response: HttpResponse) -> bytes:
    # ASCII is the same bytes in every charset in which the end of the head was found.
    return text.encode("ascii" if text.isascii() else response.charset)
