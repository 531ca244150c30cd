"""What an order is worth, in the way the owner of the site wants it told.

Whether tax, shipping and discounts belong to ``value`` is no fact about an order but a choice of
the site. A shop passes an :class:`OrderTotal` for ``value`` and leaves the choice to the settings;
a plain amount is sent as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from wagtail_metapixel import amounts
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.exceptions import EventError, RefusedError

Amount = Decimal | int | float | str


class OrderTotal(NamedTuple):
    """What the customer pays, and what is in it; in major units of one currency.

    Give the parts by name. Nothing is checked here, in the shop's own code: :meth:`ValuePolicy.value` does that.
    """

    total: Amount
    """All of it: with tax and shipping, after discounts."""
    tax: Amount = 0
    """All tax in ``total``, that on shipping too."""
    shipping: Amount = 0
    """Shipping in ``total``, with the tax on it."""
    shipping_tax: Amount = 0
    """How much of ``tax`` is tax on shipping."""
    discount: Amount = 0
    """What was taken off before ``total`` came out, as the customer saw it: with its tax."""
    discount_tax: Amount = 0
    """How much of ``discount`` is tax."""


class ValuePolicy(NamedTuple):
    """What a site counts as the value of an order. By default: what the customer pays."""

    tax: bool = True
    shipping: bool = True
    after_discounts: bool = True

    def applied(self, params: Mapping[str, Any], problems: list[Problem]) -> Mapping[str, Any]:
        """Return ``params`` with an amount in the place of an :class:`OrderTotal`."""
        order = params.get("value")
        if not isinstance(order, OrderTotal):
            return params
        try:
            return {**params, "value": self.value(order)}
        except EventError as error:
            problems.append(Problem(error.field, error.rule, mistake=True))
            return {**params, "value": None}

    def value(self, order: OrderTotal) -> Decimal:
        """Return the value to report, never below 0. Raises :class:`EventError`."""
        # All of them, whatever is needed: the owner may choose otherwise tomorrow.
        parts = {name: _exact(order, name) for name in OrderTotal._fields}
        for name, whole in _WITHIN:
            if parts[name] > parts[whole]:
                raise EventError("value", f"{name} has to be part of {whole}")
        value = parts["total"]
        if not self.after_discounts:
            value += parts["discount"] - (0 if self.tax else parts["discount_tax"])
        if not self.shipping:
            value -= parts["shipping"]
        if not self.tax:
            # The tax on shipping has gone with the shipping.
            value -= parts["tax"] - (0 if self.shipping else parts["shipping_tax"])
        return max(value, Decimal(0))


_WITHIN = (("shipping_tax", "tax"), ("shipping_tax", "shipping"), ("discount_tax", "discount"))


def _exact(order: OrderTotal, name: str) -> Decimal:
    try:
        exact = amounts.exact(getattr(order, name))
    except RefusedError as refused:
        raise EventError("value", f"{name} {refused.rule}") from None
    if exact < 0:
        raise EventError("value", f"{name} has to be 0 or more")
    return exact
