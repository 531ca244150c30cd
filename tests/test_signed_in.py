from __future__ import annotations

import hashlib
import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.http import HttpRequest

from wagtail_metapixel import counters, keys, signed_in, site_settings
from wagtail_metapixel.choices import MatchingField

ALL = tuple(MatchingField.values)
JANE = {"email": "Jane.Canary@Example.com", "first_name": "Jane", "last_name": "Canary"}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def about(user):
    """Stand in for the function of a shop that knows more than Django's user."""
    return {
        "email": f"account.{user.username}@example.com",
        "phone": "+49 151 23456789",
        "gender": "female",
        "date_of_birth": "1990-05-06",
        "city": "Stralsund",
        "state": "Ontario",
        "zip": "18439",
        "country": "CA",
        "external_id": "17",
        "client_ip_address": "198.51.100.1",
    }


def from_germany(user):
    return {"phone": "0151 23456789"}


def nothing(user):
    return None


def raises(user):
    raise RuntimeError(user.email)


def queries_a_table_that_is_not_there(user):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")


def misspells(user):
    return {"emial": user.email, "first_name": user.first_name}


def puts_an_object(user):
    return object()


@pytest.fixture
def jane(shop):
    return get_user_model().objects.create_user("jane", password="x", **JANE)


@pytest.fixture
def uses(settings):
    """Name one of the functions above in the settings."""

    def use(function):
        settings.WAGTAIL_METAPIXEL = {"USER_DATA_FUNCTION": f"{__name__}.{function.__name__}"}

    return use


def marked():
    """Return a request of a browser in which somebody has signed in."""
    request = HttpRequest()
    request.META["HTTP_COOKIE"] = "metapixel_user="
    return request


def told(shop, user, fields=ALL, **choices):
    request = marked()
    request.user = user
    return signed_in.user_data(request, shop._replace(browser_matching=fields, **choices))


def external_id(user):
    return keys.external_id(site_settings.current().installation_key, user)


def test_djangos_own_user_is_known_by_mail_name_and_number(shop, jane):
    assert told(shop, jane) == {
        "em": [digest("jane.canary@example.com")],
        "fn": [digest("jane")],
        "ln": [digest("canary")],
        "external_id": [external_id(jane)],
    }


@pytest.mark.parametrize("field", ["em", "fn", "ln", "external_id"])
def test_only_what_the_owner_chose_is_told(shop, jane, field):
    assert told(shop, jane, (field,)).keys() == {field}


def test_where_the_owner_chose_nothing_nobody_is_asked_who_it_is(shop, django_assert_num_queries):
    class Request:
        @property
        def user(self):
            pytest.fail("asked who it is")

    with django_assert_num_queries(0):
        assert signed_in.user_data(Request(), shop) == {}


def test_strangers_are_nobody(shop):
    assert told(shop, AnonymousUser()) == {}
    assert signed_in.user_data(marked(), shop._replace(browser_matching=ALL)) == {}
    assert not counters.waiting()


def test_without_the_mark_of_a_login_nobody_is_known_as_in_the_browser(shop, jane):
    request = HttpRequest()
    request.user = jane
    assert signed_in.user_data(request, shop._replace(browser_matching=ALL)) == {}


def test_the_account_is_read_once_a_request(shop, jane, uses, monkeypatch):
    uses(about)
    request = marked()
    request.user = jane
    chosen = shop._replace(browser_matching=ALL)
    first = signed_in.user_data(request, chosen)
    monkeypatch.delattr(signed_in, "_matched")
    assert signed_in.user_data(request, chosen) == first


def test_an_account_without_a_name_has_none(shop):
    user = get_user_model().objects.create_user("nameless")
    assert told(shop, user) == {"external_id": [external_id(user)]}


def test_a_function_of_the_shop_knows_more(shop, jane, uses):
    uses(about)
    found = told(shop, jane)
    assert found.keys() == {"em", "ph", "ge", "db", "ct", "st", "zp", "country", "external_id"}
    assert found["em"] == [digest("account.jane@example.com")]
    assert found["st"] == [digest("on")]


def test_phone_numbers_belong_to_the_country_of_the_site(shop, jane, uses):
    uses(from_germany)
    assert told(shop, jane, ("ph",), phone_region="DE") == {"ph": [digest("4915123456789")]}


def test_a_country_that_is_not_told_still_says_what_a_state_is(shop, jane, uses):
    uses(about)
    assert told(shop, jane, ("st",)) == {"st": [digest("on")]}


def test_an_account_is_called_what_we_call_it_whatever_a_function_says(shop, jane, uses):
    uses(about)
    assert told(shop, jane)["external_id"] == [external_id(jane)]


def test_an_account_has_one_name_on_both_channels_and_another_in_other_installations(shop, jane):
    name = external_id(jane)
    again = get_user_model().objects.get(pk=jane.pk)
    assert told(shop, again)["external_id"] == [name]
    assert len(name) == 64
    assert int(name, 16)
    assert keys.external_id(b"another", jane) != name
    other = get_user_model().objects.create_user("other")
    assert external_id(other) != name


def test_a_function_that_knows_nothing_leaves_the_number(shop, jane, uses):
    uses(nothing)
    assert told(shop, jane) == {"external_id": [external_id(jane)]}
    assert not counters.waiting()


@pytest.mark.parametrize("function", [misspells, puts_an_object])
def test_what_a_function_says_wrongly_is_left_out_and_counted(shop, jane, uses, function):
    uses(function)
    assert "em" not in told(shop, jane)
    [item] = counters.waiting()
    assert (item.kind, item.reason.partition(":")[0]) == ("diagnostic", "USER_DATA_FUNCTION")
    assert JANE["email"] not in item.reason


@pytest.mark.parametrize("function", [raises, queries_a_table_that_is_not_there])
def test_a_function_that_fails_costs_the_matching_and_nothing_else(
    shop, jane, uses, caplog, function
):
    uses(function)
    with transaction.atomic():
        assert told(shop, jane) == {}
        assert get_user_model().objects.count() == 1, "the transaction of the shop goes on"
    assert {item.kind for item in counters.waiting()} == {"failed"}
    assert JANE["email"].lower() not in (caplog.text + json.dumps(str(counters.waiting()))).lower()


def test_a_function_that_is_not_there_costs_the_matching_only(shop, jane, settings):
    settings.WAGTAIL_METAPIXEL = {"USER_DATA_FUNCTION": "tests.nowhere.about"}
    assert told(shop, jane) == {}


def test_a_user_that_is_no_row_costs_the_matching_only(shop):
    class Ghost:
        is_authenticated = True

    assert told(shop, Ghost()) == {}
