"""The keys of ``custom_data`` as data: what each means, and the rule that decides about it.

Source: Meta's reference of standard parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from wagtail_metapixel.catalogue import TEXT_MAX

Kind = Literal["money", "currency", "ids", "contents", "type", "choice", "text", "count", "flag"]


class Parameter(NamedTuple):
    """A key of ``custom_data``, or of an item of ``contents``, that Meta gives a meaning."""

    name: str
    kind: Kind
    meaning: str
    rule: str
    choices: frozenset[str] = frozenset()
    server_only: bool = False
    """No browser gets to see it."""


CONTENT_TYPES = frozenset(
    "product product_group hotel flight destination vehicle home_listing media_title"
    " local_service_business".split()
)
DELIVERY_CATEGORIES = frozenset({"in_store", "curbside", "home_delivery"})
_SEGMENTS = ("business", "business_line", "product_area", "medium")
CUSTOMER_SEGMENTS = frozenset(
    {"customer_in_loyalty_program"}
    | {f"{known}_customer_to_{part}" for known in ("new", "existing") for part in _SEGMENTS}
)
_AMOUNT = "has to be an amount of 0 or more: a Decimal, an int, a float, or a text such as '12.30'"
_TEXT = f"has to be a text; {TEXT_MAX} characters are kept"
_CHOICE = "has to be one of the choices"
_ITEM = "has to be a list of {'id': id or product, 'quantity': 1, 'item_price': 9.99}"

_PARAMETERS = (
    Parameter("value", "money", "what the event is worth, in major units", _AMOUNT),
    Parameter(
        "currency", "currency", "the currency of all amounts; never guessed",
        "has to be an ISO 4217 code of three letters, such as EUR",
    ),
    Parameter(
        "content_ids", "ids", "ids of the products, as in the catalogue; follow from contents",
        "has to be a list of product ids or products",
    ),
    Parameter("contents", "contents", "the products, one by one; follow from content_ids", _ITEM),
    Parameter(
        "content_type", "type", "whether the ids are those of variants or of their parents",
        "has to be product or product_group", CONTENT_TYPES,
    ),
    Parameter("content_name", "text", "name of the page or product", _TEXT),
    Parameter("content_category", "text", "category of the page or product", _TEXT),
    Parameter(
        "num_items", "count", "how many pieces; follows from contents",
        "has to be a whole number of 0 or more",
    ),
    Parameter("order_id", "text", "number of the order", _TEXT),
    Parameter("predicted_ltv", "money", "what the customer is expected to spend in all", _AMOUNT),
    Parameter("search_string", "text", "what was searched for", _TEXT),
    Parameter(
        "status", "flag", "state of the registration", "has to be True, False or a text",
    ),
    Parameter(
        "delivery_category", "choice", "how the goods reach the customer", _CHOICE,
        DELIVERY_CATEGORIES,
    ),
    Parameter(
        "net_revenue", "money", "what the shop earned",
        "has to be an amount; it may be negative", server_only=True,
    ),
    Parameter("item_number", "text", "number of the item, in offline events", _TEXT),
    Parameter("lead_event_source", "text", "name of the CRM", _TEXT),
    Parameter("event_source", "choice", "for stages of a lead", _CHOICE, frozenset({"crm"})),
    Parameter(
        "customer_segmentation", "choice", "a new customer, or a known one", _CHOICE,
        CUSTOMER_SEGMENTS,
    ),
)  # fmt: skip
PARAMETERS: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in _PARAMETERS})

SERVER_ONLY = frozenset(name for name, parameter in PARAMETERS.items() if parameter.server_only)
"""Parameters that no browser gets to see."""

REQUIRED_OF_ITEM = ("id", "quantity")
_ITEM_PARAMETERS = (
    Parameter("id", "text", "id of the product, as in the catalogue", "has to be an id"),
    Parameter("quantity", "count", "how many pieces", "has to be a whole number of 1 or more"),
    Parameter("item_price", "money", "price of one piece", _AMOUNT),
    PARAMETERS["delivery_category"],
    Parameter("title", "text", "name of the product", _TEXT),
    Parameter("description", "text", "what the product is", _TEXT),
    Parameter("brand", "text", "its brand", _TEXT),
    Parameter("category", "text", "its category", _TEXT),
)
ITEM_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in _ITEM_PARAMETERS})
"""Keys of one item of ``contents``."""

SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "amount": "value", "price": "value", "revenue": "value", "total": "value",
        "items": "contents", "products": "contents", "item_price": "contents",
        "product_id": "content_ids", "sku": "content_ids", "quantity": "num_items",
        "transaction_id": "order_id", "search_term": "search_string", "query": "search_string",
    }
)  # fmt: skip
"""Words of other tools, and Meta's for the same. Kept, and reported."""
ITEM_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "price": "item_price", "value": "item_price", "content_id": "id", "item_id": "id",
        "product_id": "id", "sku": "id", "name": "title", "qty": "quantity",
    }
)  # fmt: skip
