"""What the shop's templates need."""

from __future__ import annotations

from django import template

from shop.models import CategoryPage, TextPage

register = template.Library()


@register.filter
def euros(amount):
    """Return an amount the way the shop writes it: €1,234.50."""
    return f"€{amount:,.2f}"


@register.simple_tag
def shelves():
    """Return the categories, for the navigation."""
    return CategoryPage.objects.live().in_menu()


@register.simple_tag
def notices():
    """Return the text pages, for the footer."""
    return TextPage.objects.live().in_menu()
