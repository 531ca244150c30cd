"""Markup put into a finished page before ``</head>``, for sites that cannot edit their templates.

Works on the bytes of a response: the first ``</head>`` counts that no attribute, comment or script
holds. Markup put into an attribute would end it, and make tags of what a visitor typed.
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

# Whatever stands before the end of the head, a piece at a time; text between tags is passed over.
# Compiled at its first use: most sites print the tag in their templates.
_PIECE = (
    rb"(?is)(?P<end></head\s*>)"
    rb"|<!--.*?(?:-->|\Z)"
    rb"|<(?P<raw>script|style|title|textarea|noscript|template)\b.*?(?:</(?P=raw)\s*>|\Z)"
    rb"|<[a-z!/?](?:[^>\"']|\"[^\"]*(?:\"|\Z)|'[^']*(?:'|\Z))*"
)
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
    place = _end_of_head(content)
    text = markup() if place >= 0 else ""
    if not text:
        return False
    _insert(response, content, place, _encoded(text, response))
    return True


def _end_of_head(content: bytes) -> int:
    ends = (piece.start() for piece in re.finditer(_PIECE, content) if piece["end"])
    return next(ends, -1) if b"</head" in content.lower() else -1


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
