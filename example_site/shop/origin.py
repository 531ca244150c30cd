"""Protection against forged requests for forms on pages that everybody shares.

A page that a cache keeps cannot hold a CSRF token, and a shopper without JavaScript cannot fetch
one. Browsers say where a request comes from, though, and a page cannot make them lie:
``Sec-Fetch-Site`` in every current browser, ``Origin`` on every POST of the older ones.
"""

from __future__ import annotations

from functools import wraps
from urllib.parse import urlsplit

from django.http import HttpResponseForbidden
from django.views.decorators.csrf import csrf_exempt


def same_origin_post(view):
    """Let ``view`` do without a CSRF token, and refuse what another site's page sent."""

    @csrf_exempt
    @wraps(view)
    def checked(request, *args, **kwargs):
        if request.method == "POST" and not is_same_origin(request):
            return HttpResponseForbidden("This form has to be sent from a page of this shop.")
        return view(request, *args, **kwargs)

    return checked


def is_same_origin(request):
    """Tell whether the browser says that a page of this very host sent the request."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", ""))
    return (origin.scheme, origin.netloc) == (request.scheme, request.get_host())
