"""What the tag and the middleware add to a page, in CPU time and queries.

Four contenders serve the same page through Django's own handler, in shuffled rounds of one run:
the page without a pixel, the same again (the control: how much two equal things differ here), the
page with our middleware, ``{% metapixel %}`` and one declared event, and the page with
django-analytical's pixel tags, which print a snippet and do no more.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from wagtail_metapixel import diagnostics

ROUNDS = 60
REQUESTS = 50

BODY = """<!doctype html><html><head><title>Mugs</title>{head}</head><body>{top}
{{% for product in products %}}<article><h2>{{{{ product.title }}}}</h2>
<p>{{{{ product.price }}}} EUR</p><img src="{{{{ product.image }}}}" alt=""></article>
{{% endfor %}}{bottom}</body></html>"""
OURS = {
    "head": "{% load metapixel %}{% metapixel %}",
    "top": "",
    "bottom": '{% metapixel_event "ViewContent" value=12.5 currency="EUR" content_name="Mug" %}',
}
ANALYTICAL = {
    "head": "{% load facebook_pixel %}{% facebook_pixel_head %}",
    "top": "",
    "bottom": "{% facebook_pixel_body %}",
}
NOTHING = {"head": "", "top": "", "bottom": ""}
PRODUCTS = [{"title": f"Mug {n}", "price": n + 0.5, "image": f"/static/{n}.svg"} for n in range(40)]


def page(parts: dict[str, str]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view of the page with ``parts`` in its places."""
    template = engines["django"].from_string(BODY.format(**parts))

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(template.render({"products": PRODUCTS}, request))

    return view


urlpatterns = [
    path("nothing/", page(NOTHING)),
    path("ours/", page(OURS)),
    path("analytical/", page(ANALYTICAL)),
    path("metapixel/", include("wagtail_metapixel.urls")),
]


def handler(*, ours: bool) -> BaseHandler:
    """Return Django's handler, with or without our middleware."""
    middleware = [name for name in settings.MIDDLEWARE if ours or name != diagnostics.MIDDLEWARE]
    with override_settings(MIDDLEWARE=middleware):
        made = BaseHandler()
        made.load_middleware()
    return made


def contenders() -> dict[str, Callable[[], HttpResponse]]:
    """Return what is compared, each as a function that serves one request."""
    plain, ours = handler(ours=False), handler(ours=True)
    factory = RequestFactory(
        headers={"cookie": "sessionid=abc; _fbp=fb.1.1795322685020.1234567890", "user-agent": "M"}
    )
    return {
        "without a pixel": lambda: plain.get_response(factory.get("/nothing/")),
        "without a pixel, again": lambda: plain.get_response(factory.get("/nothing/")),
        "wagtail-metapixel": lambda: ours.get_response(factory.get("/ours/")),
        "django-analytical": lambda: plain.get_response(factory.get("/analytical/")),
    }


def measure() -> dict[str, list[float]]:
    """Return microseconds of CPU per request, one figure a round."""
    serving = contenders()
    for serve in serving.values():
        for _ in range(REQUESTS):
            serve()
    figures: dict[str, list[float]] = {name: [] for name in serving}
    for _ in range(ROUNDS):
        for name in random.sample(list(serving), len(serving)):
            started = time.process_time()
            for _ in range(REQUESTS):
                serving[name]()
            figures[name].append((time.process_time() - started) / REQUESTS * 1e6)
    return figures


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield f"CPU per page, median of {ROUNDS} shuffled rounds of {REQUESTS} requests"
    figures = measure()
    base = figures["without a pixel"]
    for name, values in figures.items():
        added = statistics.median(a - b for a, b in zip(values, base, strict=True))
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        median = statistics.median(values)
        yield f"  {name:<24} {median:8.1f} us   {added:+8.1f} us   {ratio:6.3f} x"
    ours, theirs = figures["wagtail-metapixel"], figures["django-analytical"]
    against = statistics.median(
        (a - c) / (b - c) for a, b, c in zip(ours, theirs, base, strict=True) if b > c
    )
    yield f"  what we add, over what django-analytical adds: {against:.2f} x"
    yield f"  queries added to a page with page events: {queries()}"


def queries() -> int:
    """Return how many queries a warm page with page events needs."""
    serve = contenders()["wagtail-metapixel"]
    serve()
    with counted() as context:
        serve()
    return len(context)


@contextmanager
def counted() -> Iterator[CaptureQueriesContext]:
    """Count the queries made inside."""
    with CaptureQueriesContext(connection) as context:
        yield context
