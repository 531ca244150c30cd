from __future__ import annotations

import pytest
from config.settings import with_full_page_cache
from django.contrib.auth import get_user_model
from django.core.cache import cache

from tests.example import flow
from tests.example.conftest import visitor

pytestmark = pytest.mark.django_db

CACHEABLE = [
    "/",
    "/crockery/",
    "/crockery/mueritz-breakfast-bowl/",
    "/pantry/tea-and-biscuits/",
    "/search/?q=honey",
    "/privacy/",
]


@pytest.fixture
def regular():
    """A customer who is signed in, agreed, and has something in the cart."""
    client = visitor()
    client.force_login(get_user_model().objects.create_user("jana@example.com", first_name="Jana"))
    flow.grant(client)
    flow.add(client)
    return client


@pytest.mark.parametrize("address", CACHEABLE)
def test_every_visitor_gets_the_same_bytes(shopper, regular, address):
    assert regular.get(address).content == shopper.get(address).content


@pytest.mark.parametrize("address", CACHEABLE)
def test_page_leaves_no_trace_of_a_visitor(regular, shopper, address):
    for client in (regular, shopper):
        response = client.get(address)

        assert not response.cookies
        assert "Cookie" not in response.get("Vary", "")
        assert "Set-Cookie" not in response
        assert b"csrfmiddlewaretoken" not in response.content


@pytest.mark.parametrize("address", ["/cart/", "/cart/badge/", "/account/register/"])
def test_page_of_a_visitor_is_kept_by_no_cache(regular, address):
    regular.logout()

    assert "no-store" in regular.get(address)["Cache-Control"]


def test_full_page_cache_serves_the_second_visitor(settings, django_assert_num_queries, regular):
    settings.MIDDLEWARE = with_full_page_cache(settings.MIDDLEWARE)
    cache.clear()
    first = visitor().get("/crockery/mueritz-breakfast-bowl/")

    client = visitor()
    client.cookies = regular.cookies
    client.get("/cart/badge/")
    with django_assert_num_queries(0):
        second = client.get("/crockery/mueritz-breakfast-bowl/")

    assert second.content == first.content


def test_cart_is_not_cached(settings, shopper):
    settings.MIDDLEWARE = with_full_page_cache(settings.MIDDLEWARE)
    cache.clear()
    assert b"Nothing in it yet" in shopper.get("/cart/").content

    flow.add(shopper)

    assert b"Breakfast Bowl" in shopper.get("/cart/").content
    assert b'data-count="1"' in shopper.get("/cart/badge/").content
