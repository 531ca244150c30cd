"""Requests as a shop gets them, and what became of them: for the tests of all verbs."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import requests
from django.contrib.auth.models import Group
from django.test import RequestFactory

from tests.factories import SettingsFactory
from wagtail_metapixel import counters, visitor
from wagtail_metapixel.models import OutboxEvent

FBP = f"fb.1.{int(time.time() * 1000)}.1234567890"
GRANTED = {"metapixel_consent": "granted.0123abcd"}
COOKIES = GRANTED | {"_fbp": FBP, "sessionid": "s3ss10n"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
CART = {"value": Decimal("12.50"), "currency": "EUR", "contents": [{"id": "sku-1", "quantity": 2}]}
PAID = {"value": 50, "currency": "EUR"}
PERSON = {"email": "jane.canary@example.com", "phone": "+48 601 234 567", "last_name": "Canary"}


def order(number=17):
    """Stand in for an order of the shop: a saved object with a primary key."""
    return Group(pk=number)


def ask(address="/cart/add/", cookies=COOKIES, method="post", **headers):
    """Return a buyer's request, as it comes out of our middleware."""
    headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())} | headers
    request = RequestFactory().generic(
        method.upper(),
        address,
        headers={"User-Agent": AGENT, "Referer": "http://testserver/shoes/"} | headers,
        REMOTE_ADDR="203.0.113.7",
    )
    visitor.capture(request, by_middleware=True)
    return request


def webhook():
    """Return the request of a payment provider's machine."""
    request = RequestFactory().post(
        "/webhook/", headers={"User-Agent": "Stripe/1.0"}, REMOTE_ADDR="198.51.100.99"
    )
    visitor.capture(request, by_middleware=True)
    return request


def echo(request):
    return visitor.capture(request).echo


def told(row=None):
    """Return the event of a row and its user_data, as Meta will read them."""
    row = row or OutboxEvent.objects.get()
    return json.loads(bytes(row.event)), json.loads(bytes(row.user_data))


def counted():
    return {(item.kind, item.reason): count for item, count in counters.waiting().items()}


def change(site, **choices):
    """Save other choices of a site's owner."""
    row = SettingsFactory._meta.model.objects.get(site_id=site.site_pk)
    for name, value in choices.items():
        setattr(row, name, value)
    row.save()


def bearer(token):
    """Return what an access token says to Meta."""
    header = token(requests.Request("GET", "http://127.0.0.1/").prepare()).headers["Authorization"]
    return header.removeprefix("Bearer ")
