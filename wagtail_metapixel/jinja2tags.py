"""The tags for Jinja2: add ``"wagtail_metapixel.jinja2tags.MetaPixelExtension"`` to ``extensions``.

Only who uses it imports this module: Jinja2 is no dependency of ours.
"""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString
from jinja2 import Environment, Undefined, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

from wagtail_metapixel import declarations


class MetaPixelExtension(Extension):
    """Gives all templates the functions below."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            metapixel=metapixel,
            metapixel_event=metapixel_event,
            metapixel_ticket=metapixel_ticket,
            metapixel_noscript=metapixel_noscript,
        )


@pass_context
def metapixel(context: Context, /, *args: Any, **params: Any) -> SafeString:
    """Print the pixel's configuration and scripts. Goes into ``<head>``, once."""
    request = context.get("request")
    return declarations.guarded(
        "metapixel", request, declarations.page_head, context.get, *args, **params
    )


@pass_context
def metapixel_event(context: Context, /, *args: Any, **params: Any) -> SafeString:
    """Declare a page event: ``{{ metapixel_event("ViewContent", value=5, currency="EUR") }}``."""
    request = context.get("request")
    return declarations.guarded(
        "metapixel_event", request, declarations.declare, *args, **_known(params)
    )


@pass_context
def metapixel_ticket(context: Context, /, *args: Any, **params: Any) -> SafeString:
    """Let a thank-you page ask for its event: ``{{ metapixel_ticket("Purchase", order) }}``.

    With the parameters of the event, a grant on that page completes what was withheld.
    """
    request = context.get("request")
    return declarations.guarded(
        "metapixel_ticket", request, declarations.ticket, *args, **_known(params)
    )


@pass_context
def metapixel_noscript(context: Context, /, *args: Any, **params: Any) -> SafeString:
    """Print the image for browsers without scripts. Goes into ``<body>``, once."""
    request = context.get("request")
    return declarations.guarded(
        "metapixel_noscript", request, declarations.noscript, *args, **params
    )


def _known(params: dict[str, Any]) -> dict[str, Any]:
    return {name: "" if isinstance(value, Undefined) else value for name, value in params.items()}
