"""The bank's page: pay, and go back to the merchant."""

from __future__ import annotations

from csp.constants import SELF
from csp.decorators import csp_replace
from django.conf import settings
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from payment.models import Payment
from payment.webhooks import notify_later

# Nothing of Meta here: a bank does not report what its customers do.
bank_policy = csp_replace(
    {
        "script-src": [SELF],
        "img-src": [SELF],
        "connect-src": None,
        "frame-src": None,
        "form-action": [SELF, settings.EXAMPLE_SHOP],
    }
)


@never_cache
@bank_policy
@require_http_methods(["GET", "HEAD", "POST"])
def page(request, token):
    """Show what has to be paid; after that, the way back to the merchant."""
    payment = get_object_or_404(Payment, token=token)
    if request.method == "POST":
        pay(payment)
        return redirect("pay", token=token)
    template = "payment/paid.html" if payment.paid_at else "payment/open.html"
    return render(request, template, {"payment": payment})


def pay(payment):
    """Take the money, once, and let the merchant know."""
    open_payments = Payment.objects.filter(token=payment.token, paid_at=None)
    if open_payments.update(paid_at=timezone.now()):
        notify_later(payment)


@bank_policy
def not_found(request, **_exception):
    return render(request, "payment/not_found.html", status=404)
