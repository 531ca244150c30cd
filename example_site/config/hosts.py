"""One process, two hosts: the shop, and the payment page of a bank that is not the shop."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings


class TwoHostsMiddleware:
    """Give requests for the payment host the payment pages, and every other host the shop.

    What the other one serves is not found, so neither can be reached by way of the other.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.get_host() == urlsplit(settings.EXAMPLE_PAYMENT).netloc:
            request.urlconf = "config.payment_urls"
        return self.get_response(request)
