from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagtail_metapixel.exceptions import EventError
from wagtail_metapixel.order_totals import OrderTotal, ValuePolicy

# 100.00 of goods, 10.00 off; 19 % on goods and shipping; 5.95 of shipping with its tax.
ORDER = OrderTotal(
    total="113.05",
    tax="18.05",
    shipping="5.95",
    shipping_tax="0.95",
    discount="11.90",
    discount_tax="1.90",
)


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        (ValuePolicy(), "113.05"),
        (ValuePolicy(tax=False), "95.00"),
        (ValuePolicy(shipping=False), "107.10"),
        (ValuePolicy(tax=False, shipping=False), "90.00"),
        (ValuePolicy(after_discounts=False), "124.95"),
        (ValuePolicy(tax=False, after_discounts=False), "105.00"),
        (ValuePolicy(tax=False, shipping=False, after_discounts=False), "100.00"),
    ],
)
def test_the_site_decides_what_belongs_to_the_value(policy, value):
    assert policy.value(ORDER) == Decimal(value)


def test_an_order_of_which_only_the_total_is_known_is_worth_its_total_by_any_policy():
    policy = ValuePolicy(tax=False, shipping=False, after_discounts=False)
    assert policy.value(OrderTotal(total=20)) == 20


def test_a_value_is_never_below_zero():
    covered_by_a_voucher = OrderTotal(total=2, shipping=5)
    assert ValuePolicy(shipping=False).value(covered_by_a_voucher) == 0


def test_a_plain_value_is_left_alone():
    params = {"value": 5, "currency": "EUR"}
    assert ValuePolicy(tax=False).applied(params, []) is params


@pytest.mark.parametrize("wrong", [None, True, "12,50", "", Decimal("NaN"), float("inf"), -1, "-1"])
@pytest.mark.parametrize(
    "name", ["total", "tax", "shipping", "shipping_tax", "discount", "discount_tax"]
)
def test_an_amount_that_is_none_is_told_by_its_name(name, wrong):
    order = OrderTotal(**{"total": 5, "tax": 1, "shipping": 1, "discount": 1, name: wrong})
    with pytest.raises(EventError, match=rf"^value: {name} "):
        ValuePolicy().value(order)


@pytest.mark.parametrize(
    "policy", [ValuePolicy(), ValuePolicy(tax=False), ValuePolicy(shipping=False)]
)
@pytest.mark.parametrize("parts", [{"tax": 2}, {"shipping": 2}, {}])
def test_the_tax_on_shipping_is_part_of_both(policy, parts):
    with pytest.raises(EventError, match="shipping_tax has to be part of"):
        policy.value(OrderTotal(total=10, shipping_tax=1, **parts))


def test_a_total_that_cannot_be_used_is_a_mistake_and_no_value_is_made_up():
    problems = []
    params = ValuePolicy().applied({"value": OrderTotal(total=None), "currency": "EUR"}, problems)
    assert params["value"] is None
    assert [(problem.field, problem.mistake) for problem in problems] == [("value", True)]


@given(
    parts=st.lists(st.decimals(0, 1000, places=2), min_size=5, max_size=5),
    policy=st.builds(
        ValuePolicy, tax=st.booleans(), shipping=st.booleans(), after_discounts=st.booleans()
    ),
)
def test_the_value_is_made_of_whole_parts_of_the_order(parts, policy):
    goods, tax, shipping, shipping_tax, discount = parts
    gross_shipping = shipping + shipping_tax
    order = OrderTotal(
        total=goods + tax + gross_shipping,
        tax=tax + shipping_tax,
        shipping=gross_shipping,
        shipping_tax=shipping_tax,
        discount=discount,
    )
    expected = goods
    expected += tax if policy.tax else 0
    expected += shipping if policy.shipping else 0
    expected += shipping_tax if policy.shipping and policy.tax else 0
    expected += 0 if policy.after_discounts else discount
    assert policy.value(order) == expected
