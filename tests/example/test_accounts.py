from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from tests.example import flow
from wagtail_metapixel.models import OutboxEvent

pytestmark = pytest.mark.django_db

JANA = {"first_name": "Jana", "email": "Jana@Example.com", "password": "lake-and-linden-7"}


def test_registration_signs_in_and_is_reported(shopper):
    flow.grant(shopper)

    response = shopper.post("/account/register/", JANA)

    assert response.url == "/account/"
    assert b"Hello, Jana" in shopper.get("/account/").content
    assert get_user_model().objects.filter(username="jana@example.com").exists()
    assert OutboxEvent.objects.get().event_name == "CompleteRegistration"


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "nobody"), ("email", ""), ("first_name", ""), ("password", "short")],
)
def test_registration_says_which_field_is_wrong(shopper, field, value):
    page = shopper.post("/account/register/", {**JANA, field: value})

    assert page.status_code == 200
    assert list(page.context["form"].errors) == [field]


def test_one_address_has_one_account(shopper):
    get_user_model().objects.create_user("jana@example.com", email="jana@example.com")

    page = shopper.post("/account/register/", JANA)

    assert "email" in page.context["form"].errors


def test_sign_in_takes_the_address_in_any_case(shopper):
    get_user_model().objects.create_user("jana@example.com", password=JANA["password"])

    response = shopper.post(
        "/account/sign-in/", {"username": JANA["email"], "password": JANA["password"]}
    )

    assert response.url == "/account/"


def test_account_is_for_those_who_are_signed_in(shopper):
    assert shopper.get("/account/").url == "/account/sign-in/?next=/account/"


def test_sign_out(shopper):
    shopper.post("/account/register/", JANA)

    assert shopper.post("/account/sign-out/").url == "/"
    assert shopper.get("/account/").status_code == 302


def test_signed_in_shopper_need_not_type_the_address_twice(shopper):
    shopper.post("/account/register/", JANA)
    flow.add(shopper)
    flow.place_order(shopper)

    flow.add(shopper)
    page = shopper.get("/checkout/")

    assert b'value="Lindenweg 3"' in page.content
    assert flow.the_order().user.email == "jana@example.com"
    assert flow.the_order().number.encode() in shopper.get("/account/").content
