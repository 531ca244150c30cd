"""``{% load metapixel %}``: four tags that never raise in production."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import template
from django.conf import settings
from django.template.base import Parser, Token
from django.utils.safestring import SafeString

from wagtail_metapixel import declarations

register = template.Library()


class TagNode(template.Node):
    """A tag of ours. What fails in its arguments prints nothing in production."""

    def __init__(self, tag: str, inner: template.Node) -> None:
        self.tag = tag
        self.inner = inner

    def render(self, context: template.Context) -> str:
        """Print what the tag says."""
        try:
            return self.inner.render(context)
        except Exception as error:
            if settings.DEBUG:
                raise
            reason = f"{self.tag}: its arguments raised {type(error).__name__}"
            declarations.misused(self.tag, reason)
        return ""


class MisusedNode(template.Node):
    """A tag that Django could not read: prints nothing, and says why each time."""

    def __init__(self, tag: str, reason: str) -> None:
        self.tag = tag
        self.reason = reason

    def render(self, context: template.Context) -> str:  # noqa: ARG002 - Django's signature
        """Print nothing."""
        declarations.misused(self.tag, self.reason)
        return ""


def _tag(function: Callable[..., SafeString]) -> Callable[..., SafeString]:
    """Register ``function`` as a ``simple_tag`` whose misuse costs no page in production."""
    name = function.__name__
    register.simple_tag(function, takes_context=True)
    read = register.tags[name]

    def compiled(parser: Parser, token: Token) -> template.Node:
        try:
            return TagNode(name, read(parser, token))
        except template.TemplateSyntaxError as error:
            if settings.DEBUG:
                raise
            return MisusedNode(name, str(error))

    register.tag(name, compiled)
    return function


@_tag
def metapixel(context: template.Context, /) -> SafeString:
    """Print the pixel's configuration and scripts. Goes into ``<head>``, once."""
    request = context.get("request")
    return declarations.guarded("metapixel", request, declarations.page_head, context.get)


@_tag
def metapixel_event(context: template.Context, /, event_name: str, **params: Any) -> SafeString:
    """Declare a page event: ``{% metapixel_event "ViewContent" value=price currency="EUR" %}``."""
    request = context.get("request")
    return declarations.guarded(
        "metapixel_event", request, declarations.declare, event_name, **params
    )


@_tag
def metapixel_ticket(
    context: template.Context, /, event_name: str, key: Any, **params: Any
) -> SafeString:
    """Let a thank-you page ask for its event: ``{% metapixel_ticket "Purchase" order %}``.

    With the parameters of the event, a grant on that page completes what was withheld.
    """
    request = context.get("request")
    return declarations.guarded(
        "metapixel_ticket", request, declarations.ticket, event_name, key, **params
    )


@_tag
def metapixel_noscript(context: template.Context, /) -> SafeString:
    """Print the image for browsers without scripts. Goes into ``<body>``, once."""
    request = context.get("request")
    return declarations.guarded("metapixel_noscript", request, declarations.noscript)
