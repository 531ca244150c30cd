"""From a cart to a paid order."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from payment.models import Payment

from shop.carts import Summary
from shop.models import CURRENCY, Cart, Order, OrderLine
from wagtail_metapixel.tracking import remember, track


def place(request, cart, form):
    """Turn ``cart`` into an order. A second click on the button gets the order of the first."""
    with transaction.atomic():
        cart = Cart.objects.select_for_update().get(pk=cart.pk)
        if hasattr(cart, "order"):
            return cart.order
        order = form.save(commit=False)
        _fill(order, Summary(cart))
        order.user = request.user if request.user.is_authenticated else None
        order.save()
        OrderLine.objects.bulk_create(_lines(order))
        # Later, the bank's webhook speaks for the order, and knows nothing of the shopper.
        remember(request, order)
    return order


def _fill(order, summary):
    order.cart = summary.cart
    order.shipping = summary.shipping
    order.total = summary.total


def _lines(order):
    for line in order.cart.lines.select_related("product"):
        product = line.product
        yield OrderLine(
            order=order,
            sku=product.sku,
            title=product.title,
            price=product.price,
            quantity=line.quantity,
        )


def begin_payment(order):
    """Ask the bank for a payment of ``order`` and return the address of its page."""
    payment = Payment.objects.create(
        merchant=settings.WAGTAIL_SITE_NAME,
        reference=order.number,
        method=order.payment_method,
        amount=order.total,
        currency=CURRENCY,
        webhook_url=settings.EXAMPLE_SHOP + reverse("payment_webhook"),
        return_url=settings.EXAMPLE_SHOP + reverse("checkout_return", args=[order.token]),
        cancel_url=settings.EXAMPLE_SHOP + reverse("choose_payment", args=[order.token]),
    )
    return f"{settings.EXAMPLE_PAYMENT}/pay/{payment.token}/"


def mark_paid(number):
    """Mark the order paid and tell Meta, both or neither, as often as the bank says so."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(number=number)
        if not order.is_paid:
            order.paid_at = timezone.now()
            order.save(update_fields=["paid_at"])
        # Told again with each redelivery, on purpose: the key makes it one purchase. One row of
        # the outbox becomes ``sent``, the others ``duplicate``.
        track(
            "Purchase",
            key=order,
            event_time=order.placed_at,
            value=order.total,
            currency=CURRENCY,
            contents=order.contents(),
            content_type="product",
            num_items=sum(line.quantity for line in order.lines.all()),
            order_id=order.number,
            user_data=order.person(),
        )
