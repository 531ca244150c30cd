"""For page types: a page says by itself which event its showing is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString

from wagtail_metapixel import declarations, injection

if TYPE_CHECKING:
    from wagtail.models import Page as _Page
else:
    _Page = object


class MetaPixelPageMixin(_Page):
    """A page type with an event; stands before ``Page`` in the list of bases.

    ``{% metapixel %}`` then declares the event when the page is served: once, and not in a
    preview. Without a model field, so it asks for no migration.
    """

    metapixel_event_name: str = ""
    """The event of each page of this type, such as ``"ViewContent"``."""
    metapixel_event_params: Mapping[str, Any] = {}
    """Its parameters."""

    def metapixel_event(
        self,
        request: HttpRequest,  # noqa: ARG002 - for those who override it
    ) -> tuple[str, Mapping[str, Any]] | None:
        """Return the event's name and its parameters, or ``None`` for no event.

        Override it where they depend on the page. They have to be the same for every visitor.
        """
        if not self.metapixel_event_name:
            return None
        return self.metapixel_event_name, self.metapixel_event_params

    def serve(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Serve the page, and let its event into it."""
        declarations.now_serving(request, self)
        response: HttpResponseBase = super().serve(request, *args, **kwargs)
        if injection.is_on() and request.method == "GET":
            # Here and not in the middleware, which stands above a cache that serves no page.
            _when_rendered(response, request)
        return response

    def serve_password_required_response(
        self, request: HttpRequest, form: Any, action_url: str
    ) -> HttpResponseBase:
        """Ask for the password of a private page, which is not to show it."""
        declarations.now_serving(request, None)
        response: HttpResponseBase = super().serve_password_required_response(
            request, form, action_url
        )
        return response


def _when_rendered(response: Any, request: HttpRequest) -> None:
    def put_in(rendered: HttpResponseBase) -> None:
        declarations.guarded("metapixel", request, _put_in, rendered)

    if hasattr(response, "add_post_render_callback"):
        response.add_post_render_callback(put_in)
    else:
        put_in(response)


def _put_in(request: HttpRequest, response: HttpResponseBase) -> SafeString:
    injection.inject(response, lambda: declarations.served_event(request))
    return SafeString("")
