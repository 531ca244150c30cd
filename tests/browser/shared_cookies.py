"""Settings of the example shop whose hosts below ``shop.example`` share their cookies.

What is ordered on ``de.`` goes on at ``www.``, as where a checkout has a host of its own.
"""

from __future__ import annotations

from config import settings as example
from config.settings import *  # noqa: F403 - settings are a module's names

DOMAIN = "shop.example"
FROM, TO = f"de.{DOMAIN}", f"www.{DOMAIN}"


class ToTheOtherHost:
    """Lets the redirects of ``de.`` lead to ``www.``."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        host = request.get_host()
        target = response.get("Location", "")
        if host.startswith(FROM) and target.startswith("/"):
            response["Location"] = f"http://{host.replace(FROM, TO)}{target}"
        return response


WAGTAIL_METAPIXEL = example.WAGTAIL_METAPIXEL | {"COOKIE_DOMAIN": DOMAIN}
MIDDLEWARE = [*example.MIDDLEWARE, f"{__name__}.ToTheOtherHost"]
# A browser asks this of the addresses, too, to which a form is redirected.
example.CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"].append(f"http://{TO}:*")
