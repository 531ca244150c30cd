from __future__ import annotations

import pytest
from django.test import Client
from shop.models import Cart, CartLine

from tests.example import flow
from tests.example.conftest import SHOP

pytestmark = pytest.mark.django_db

HTMX = {"HTTP_HX_REQUEST": "true"}


def test_adding_by_htmx_answers_with_the_new_number(shopper):
    flow.add(shopper, quantity=2, **HTMX)
    response = flow.add(shopper, **HTMX)

    assert response.status_code == 200
    assert b'data-count="3"' in response.content
    assert b"<html" not in response.content


def test_adding_without_javascript_leads_to_the_cart(shopper):
    response = flow.add(shopper)

    assert response.status_code == 302
    assert response.url == "/cart/"
    assert b"Breakfast Bowl" in shopper.get("/cart/").content


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_SEC_FETCH_SITE": "same-origin"}, 302),
        ({"HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "same-site", "HTTP_ORIGIN": f"http://{SHOP}"}, 403),
        ({"HTTP_ORIGIN": f"http://{SHOP}"}, 302),
        ({"HTTP_ORIGIN": "http://evil.example"}, 403),
        ({"HTTP_ORIGIN": "null"}, 403),
        ({}, 403),
    ],
)
def test_only_a_page_of_the_shop_may_fill_the_cart(headers, status):
    client = Client(HTTP_HOST=SHOP, enforce_csrf_checks=True)

    assert flow.add(client, **headers).status_code == status
    assert Cart.objects.exists() is (status == 302)


@pytest.mark.parametrize("quantity", ["0", "21", "-1", "many", ""])
def test_a_quantity_nobody_offered_is_refused(shopper, quantity):
    assert flow.add(shopper, quantity=quantity).status_code == 400


@pytest.mark.parametrize(("quantity", "left"), [("3", [3]), ("0", [])])
def test_line_changes(shopper, quantity, left):
    flow.add(shopper)
    line = CartLine.objects.get()

    response = shopper.post(f"/cart/line/{line.pk}/", {"quantity": quantity}, **HTMX)

    assert f'data-count="{sum(left)}"'.encode() in response.content
    assert list(CartLine.objects.values_list("quantity", flat=True)) == left


def test_line_of_somebody_elses_cart_does_not_change(shopper):
    other = Client(HTTP_HOST=SHOP, HTTP_SEC_FETCH_SITE="same-origin")
    flow.add(other)

    shopper.post(f"/cart/line/{CartLine.objects.get().pk}/", {"quantity": "0"})

    assert CartLine.objects.get().quantity == 1


def test_empty_cart_leads_back_to_the_shelves(shopper):
    response = shopper.get("/cart/")

    assert b"Nothing in it yet" in response.content
    assert b"checkout-link" not in response.content
