"""``{% load metapixel %}``: three wrappers that never raise in production."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeString

from wagtail_metapixel import counters, declarations
from wagtail_metapixel.exceptions import EventError

logger = logging.getLogger("wagtail_metapixel")
register = template.Library()


@register.simple_tag(takes_context=True)
def metapixel(context: template.Context) -> SafeString:
    """Print the pixel's configuration and scripts. Goes into ``<head>``, once."""
    return _guarded(context, declarations.head, "metapixel")


@register.simple_tag(takes_context=True)
def metapixel_event(context: template.Context, event_name: str, **params: Any) -> SafeString:
    """Declare a page event: ``{% metapixel_event "ViewContent" value=price currency="EUR" %}``."""
    return _guarded(context, declarations.page_event, "metapixel_event", event_name, params)


@register.simple_tag(takes_context=True)
def metapixel_ticket(context: template.Context, event_name: str, key: Any) -> SafeString:
    """Let a thank-you page ask for its event: ``{% metapixel_ticket "Purchase" order %}``."""
    return _guarded(context, declarations.ticket, "metapixel_ticket", event_name, key)


def _guarded(
    context: template.Context, function: Callable[..., SafeString], tag: str, *args: Any
) -> SafeString:
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        counters.add(counters.Item(counters.DIAGNOSTIC, f"{tag}: no request in the context"))
        return SafeString("")
    try:
        return function(request, *args)
    except EventError as error:
        if settings.DEBUG:
            raise
        counters.add(counters.Item(counters.DIAGNOSTIC, str(error)))
        logger.error("{%% %s %%} printed nothing: %s", tag, error)
    except Exception as error:  # noqa: BLE001 - a page must not fail because of us
        counters.add(counters.Item(counters.FAILED, f"{tag}: {type(error).__name__}"))
        logger.error("{%% %s %%} printed nothing: %s", tag, type(error).__name__)
    return SafeString("")
