"""What a shopper does in several tests."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from payment.models import Payment
from payment.webhooks import SIGNATURE_HEADER, body_of, sign
from shop.models import Order, ProductPage

ADDRESS = {
    "email": "jana@example.com",
    "phone": "",
    "first_name": "Jana",
    "last_name": "Müller",
    "street": "Lindenweg 3",
    "zip": "18439",
    "city": "Stralsund",
    "country": "DE",
}


def product(sku="LS-101"):
    return ProductPage.objects.get(sku=sku)


def add(client, sku="LS-101", quantity=1, **headers):
    return client.post(f"/cart/add/{product(sku).pk}/", {"quantity": quantity}, **headers)


def grant(client):
    """Accept the banner."""
    client.cookies["_fbp"] = "fb.1.1700000000000.1234567890"
    body = json.dumps({"choice": "granted"})
    answer = client.post(
        "/metapixel/consent/", body, content_type="text/plain", HTTP_ORIGIN="http://127.0.0.1:8000"
    )
    assert answer.status_code == 204


def place_order(client, **address):
    """Fill in the address; returns the answer of the checkout."""
    referrer = "http://127.0.0.1:8000/checkout/"
    return client.post("/checkout/", {**ADDRESS, **address}, HTTP_REFERER=referrer)


def order_payment(client):
    """Put something into the cart, order it, and go to the bank; returns its payment."""
    add(client)
    choice = place_order(client)
    bank_page = client.post(choice.url, {"method": "card"})
    return Payment.objects.get(token=urlsplit(bank_page.url).path.split("/")[2])


def deliver(client, payment, *, body=None, signature=None):
    """The bank's webhook."""
    body = body_of(payment) if body is None else body
    signature = sign(body) if signature is None else signature
    headers = {f"HTTP_{SIGNATURE_HEADER.upper().replace('-', '_')}": signature}
    return client.post("/payments/webhook/", body, content_type="application/json", **headers)


def the_order():
    return Order.objects.get()
