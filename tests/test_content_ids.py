from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from wagtail_metapixel.content_ids import ContentIds


class Sku:
    def __init__(self, text):
        self.partner_sku = text


def product(pk=17, *, is_parent=False, **attributes):
    """Stand in for a product of the shop: a saved object with a primary key."""
    made = Group(pk=pk)
    made.is_parent = is_parent
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def of(scheme, made):
    problems = []
    return scheme.of(made, problems), [problem.rule for problem in problems]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (ContentIds(), "17"),
        (ContentIds(prefix="shop_"), "shop_17"),
        (ContentIds(scheme="attribute"), "TEA-1"),
        (ContentIds(scheme="attribute", prefix="de:"), "de:TEA-1"),
        (ContentIds(scheme="attribute", attribute="stockrecord.partner_sku"), "P-9"),
        (ContentIds(scheme="attribute", attribute="number"), "N-3"),
    ],
)
def test_a_product_is_called_as_the_site_calls_it(scheme, expected):
    made = product(sku="TEA-1", stockrecord=Sku("P-9"), number=lambda: "N-3")
    assert of(scheme, made) == (expected, [])


def own_id(made):
    return f"feed-{made.pk}"


def test_a_function_of_the_site_names_its_products(settings):
    settings.WAGTAIL_METAPIXEL = {"CONTENT_ID_FUNCTION": "tests.test_content_ids.own_id"}
    assert of(ContentIds(scheme="function", prefix="x"), product()) == ("xfeed-17", [])


@pytest.mark.parametrize("sku", [None, ""])
def test_a_product_without_an_id_of_the_scheme_goes_by_its_primary_key(sku):
    found, rules = of(ContentIds(scheme="attribute", prefix="s"), product(sku=sku))
    assert found == "s17"
    assert "primary key was sent" in rules[0]


@pytest.mark.parametrize(
    "scheme",
    [
        ContentIds(scheme="attribute", attribute="nothing.there"),
        ContentIds(scheme="attribute", attribute="delete"),
        ContentIds(scheme="function"),
    ],
)
def test_what_names_nothing_costs_no_event_and_no_product(scheme, settings):
    settings.WAGTAIL_METAPIXEL = {"CONTENT_ID_FUNCTION": "nowhere.at_all"}
    made = product()
    made.delete.__func__.alters_data = True
    found, rules = of(scheme, made)
    assert (found, len(rules)) == ("17", 1)


def test_an_unsaved_product_is_a_mistake():
    problems = []
    assert ContentIds().of(product(pk=None), problems) is None
    assert [problem.mistake for problem in problems] == [True]


def applied(scheme=None, **params):
    problems = []
    return dict((scheme or ContentIds()).applied(params, problems)), problems


def test_products_stand_in_contents_and_content_ids_alike():
    scheme = ContentIds(prefix="p")
    item = {"id": product(1), "quantity": 2}
    assert applied(scheme, contents=[item], content_ids=[product(1), "p2"])[0] == {
        "contents": [{"id": "p1", "quantity": 2}],
        "content_ids": ["p1", "p2"],
        "content_type": "product",
    }
    assert item["id"].pk == 1, "what the caller passed is the caller's"


def test_a_product_alone_in_contents_is_one_piece_of_it():
    found, _problems = applied(ContentIds(prefix="p"), contents=[product(1)])
    assert found["contents"] == [{"id": "p1", "quantity": 1}]


def test_one_product_needs_no_list():
    assert applied(content_ids=product(3))[0]["content_ids"] == ["3"]


@pytest.mark.parametrize(
    ("parents", "expected"),
    [([True], "product_group"), ([False], "product"), ([True, False], "product")],
)
def test_a_parent_is_a_product_group_and_a_variant_a_product(parents, expected):
    products = [product(pk, is_parent=parent) for pk, parent in enumerate(parents, 1)]
    assert applied(content_ids=products)[0]["content_type"] == expected


def test_the_callers_own_content_type_stands():
    found, _problems = applied(content_ids=[product(is_parent=True)], content_type="product")
    assert found["content_type"] == "product"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"value": 5},
        {"content_ids": ["a", 1]},
        {"contents": [{"id": "a"}, "no item", {"quantity": 1}]},
        {"contents": "no list"},
        {"content_ids": None, "contents": None},
    ],
)
def test_without_a_product_object_nothing_is_touched(params):
    assert ContentIds(prefix="p").applied(params, []) is params


def test_a_queryset_is_not_read():
    asked = Group.objects.all()
    assert ContentIds().applied({"content_ids": asked}, [])["content_ids"] is asked
    assert asked._result_cache is None


@pytest.mark.parametrize(
    ("is_parent", "expected"),
    [(lambda: False, "product"), (lambda: True, "product_group"), (lambda: 1 / 0, "product")],
)
def test_a_method_that_says_what_a_product_is_is_called(is_parent, expected):
    assert applied(content_ids=[product(is_parent=is_parent)])[0]["content_type"] == expected


def asks_too_much(made):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")


@pytest.mark.django_db
def test_a_query_that_fails_costs_neither_the_names_nor_the_callers_transaction(settings):
    settings.WAGTAIL_METAPIXEL = {"CONTENT_ID_FUNCTION": "tests.test_content_ids.asks_too_much"}
    scheme = ContentIds(scheme="function", prefix="p")
    with transaction.atomic():
        found, problems = applied(scheme, content_ids=[product(1), product(2)])
        Group.objects.create(name="an order")
    assert found["content_ids"] == ["p1", "p2"]
    assert [problem.field for problem in problems] == ["content_ids"]


@pytest.mark.django_db
def test_primary_keys_cost_no_query(django_assert_num_queries):
    with transaction.atomic(), django_assert_num_queries(0):
        applied(content_ids=[product(1), product(2)])
