"""The currencies of ISO 4217."""

from __future__ import annotations

from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.sandbox import rules


def test_currencies_have_the_decimal_places_of_iso_4217():
    expected = {"EUR": 2, "USD": 2, "PLN": 2, "JPY": 0, "ISK": 0, "KWD": 3, "TND": 3, "CLF": 4}
    assert {code: CURRENCIES[code] for code in expected} == expected
    assert not CURRENCIES.keys() & {"XXX", "XTS", "XAU", "XDR", "DEM"}
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)


def test_each_stands_on_the_list_the_sandbox_has_of_its_own():
    assert set(CURRENCIES) <= set(rules.CURRENCIES)
