"""Tell the merchant that a payment arrived: a signed POST, tried again until it is answered.

The signature is an HMAC-SHA-256, in hex, over the bytes of the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.error
import urllib.request

from django.conf import settings

log = logging.getLogger(__name__)

SIGNATURE_HEADER = "Payment-Signature"
ATTEMPTS = 5


def sign(body):
    """Return the signature of the bytes of ``body``."""
    key = settings.EXAMPLE_WEBHOOK_SECRET.encode()
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def body_of(payment):
    """Return the message that says ``payment`` was paid, as bytes."""
    message = {
        "type": "payment.paid",
        "payment": str(payment.token),
        "reference": payment.reference,
        "amount": str(payment.amount),
        "currency": payment.currency,
    }
    return json.dumps(message).encode()


def notify_later(payment):
    """Tell the merchant in a thread of its own, so that the shopper does not wait for it."""
    work = (payment.webhook_url, body_of(payment), settings.EXAMPLE_WEBHOOK_DELAY)
    thread = threading.Thread(target=_notify, args=work, name="payment-webhook", daemon=True)
    thread.start()
    return thread


def _notify(url, body, delay):
    time.sleep(delay)
    for attempt in range(ATTEMPTS):
        if post(url, body):
            return
        time.sleep(2**attempt)
    log.error("The merchant did not answer the webhook in %d attempts.", ATTEMPTS)


def post(url, body):
    """Send ``body`` once and return whether the merchant took it."""
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sign(body)}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return 200 <= answer.status < 300
    except (urllib.error.URLError, OSError) as error:
        log.warning("The merchant's webhook did not answer: %s", error)
        return False
