"""The cart of a session."""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction
from django.db.models import F

from shop.models import FREE_SHIPPING_FROM, SHIPPING, Cart, CartLine

SESSION_KEY = "cart"
MOST_OF_ONE = 20


def session_cart(request):
    """Return the cart this session used last, even one that has become an order, or None."""
    pk = request.session.get(SESSION_KEY)
    return Cart.objects.select_related("order").filter(pk=pk).first() if pk else None


def open_cart(request):
    """Return the cart that is still being filled, or None."""
    cart = session_cart(request)
    return None if cart is None or hasattr(cart, "order") else cart


def add(request, product, quantity):
    """Put ``quantity`` of ``product`` into the session's cart, and return the cart."""
    with transaction.atomic():
        cart = open_cart(request) or Cart.objects.create()
        line, created = CartLine.objects.get_or_create(
            cart=cart, product=product, defaults={"quantity": quantity}
        )
        if not created:
            CartLine.objects.filter(pk=line.pk).update(quantity=F("quantity") + quantity)
    request.session[SESSION_KEY] = str(cart.pk)
    return cart


def set_quantity(cart, line_pk, quantity):
    """Change a line of ``cart``; 0 removes it. A line that is gone already is left alone."""
    lines = CartLine.objects.filter(cart=cart, pk=line_pk)
    if quantity < 1:
        lines.delete()
    else:
        lines.update(quantity=min(quantity, MOST_OF_ONE))


class Summary:
    """What stands in a cart, and what it costs."""

    def __init__(self, cart):
        self.cart = cart
        self.lines = list(cart.lines.select_related("product")) if cart else []
        self.count = sum(line.quantity for line in self.lines)
        self.goods = sum((line.total for line in self.lines), Decimal(0))
        self.shipping = Decimal(0) if self.goods >= FREE_SHIPPING_FROM else SHIPPING
        self.total = self.goods + self.shipping
        self.until_free_shipping = max(FREE_SHIPPING_FROM - self.goods, Decimal(0))

    def contents(self):
        """The lines the way Meta's ``contents`` wants them."""
        return [content for line in self.lines for content in line.product.contents(line.quantity)]
