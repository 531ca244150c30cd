"""What a product is called at Meta: the same in every event, and as in the product catalogue.

A shop may write ids itself, or pass its product objects and leave the naming to the settings:
``content_ids=[product]``, or ``"id": product`` in an item of ``contents`` (a product alone is one
piece of it). What belongs together, a parent and its variants, is told apart by ``content_type``:
``product_group`` for an object whose ``is_parent`` is true, as django-oscar's are, ``product`` for
all others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django.db.models import Model

from wagtail_metapixel import conf
from wagtail_metapixel.catalogue import Problem
from wagtail_metapixel.savepoints import savepoint_if_inside

logger = logging.getLogger("wagtail_metapixel")

PK, ATTRIBUTE, FUNCTION = "pk", "attribute", "function"

_LISTS = (list, tuple, set, frozenset)


class ContentIds(NamedTuple):
    """How a site names its products."""

    scheme: str = PK
    attribute: str = "sku"
    """Dotted: ``stockrecord.partner_sku``. What can be called is called."""
    prefix: str = ""

    def applied(self, params: Mapping[str, Any], problems: list[Problem]) -> Mapping[str, Any]:
        """Return ``params`` with ids in place of product objects, and ``content_type`` set.

        The very mapping that came in when there is no object in it.
        """
        products = list(_products(params))
        if not products:
            return params
        try:
            with (
                nullcontext() if self.scheme == PK else savepoint_if_inside(_database(products[0]))
            ):
                return _named(self, params, products, problems)
        except DatabaseError as error:
            logger.error("The ids of products could not be had: %s", type(error).__name__)
            rule = "the products' ids could not be had; their primary keys were sent"
            problems.append(Problem("content_ids", rule))
            return _named(self._replace(scheme=PK), params, (), problems)

    def of(self, product: Model, problems: list[Problem]) -> str | None:
        """Return the id of one product, ``None`` for one that has not been saved.

        One that has none by the site's scheme goes by its primary key: a sale whose product Meta
        cannot find is worth more than no sale.
        """
        if product.pk is None:
            rule = "holds an object that has not been saved yet"
            problems.append(Problem("content_ids", rule, mistake=True))
            return None
        own = self._own(product)
        if own is None or own == "":
            rule = f"an object has no id by the scheme {self.scheme!r}; its primary key was sent"
            problems.append(Problem("content_ids", rule))
            own = product.pk
        return f"{self.prefix}{own}"

    def _own(self, product: Model) -> Any:
        try:
            if self.scheme == FUNCTION:
                function = conf.function("CONTENT_ID_FUNCTION")
                return function(product) if function else None
            return _attribute(product, self.attribute) if self.scheme == ATTRIBUTE else product.pk
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - a site's own code must not cost it the sale
            logger.error("The id of a product could not be had: %s", type(error).__name__)
            return None


def _named(
    ids: ContentIds, params: Mapping[str, Any], products: Collection[Model], problems: list[Problem]
) -> Mapping[str, Any]:
    def name(given: Any) -> Any:
        return ids.of(given, problems) if isinstance(given, Model) else given

    named = dict(params)
    for key, renamed in (("contents", _in_contents), ("content_ids", _in_ids)):
        if key in params:
            named[key] = renamed(params[key], name)
    if products and named.get("content_type") is None:
        named["content_type"] = content_type(products)
    return named


def content_type(products: Collection[Model]) -> str:
    """Return ``product_group`` when every one of ``products`` is a parent, else ``product``."""
    return "product_group" if all(map(_is_parent, products)) else "product"


def _is_parent(product: Model) -> bool:
    try:
        answer = getattr(product, "is_parent", False)
        return bool(answer() if callable(answer) else answer)
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - a site's own code must not cost it the sale
        logger.error("Whether a product is a parent could not be had: %s", type(error).__name__)
        return False


def _database(product: Model) -> str:
    return product._state.db or DEFAULT_DB_ALIAS  # noqa: SLF001 - where it came from


def _products(params: Mapping[str, Any]) -> Iterator[Model]:
    for key in ("contents", "content_ids"):
        given = params.get(key)
        for item in given if isinstance(given, _LISTS) else (given,):
            named = item.get("id") if isinstance(item, Mapping) else item
            if isinstance(named, Model):
                yield named


def _attribute(product: Model, path: str) -> Any:
    value: Any = product
    for name in path.split("."):
        value = getattr(value, name)
        if callable(value):
            # As in a template: what is named in the admin must not be able to delete a product.
            value = None if getattr(value, "alters_data", False) else value()
    return value


def _in_ids(given: Any, name: Callable[[Any], Any]) -> Any:
    if isinstance(given, Model):
        return [name(given)]
    # A queryset is left to the rule that refuses it: it would ask the database for all it has.
    return [name(item) for item in given] if isinstance(given, _LISTS) else given


def _in_contents(given: Any, name: Callable[[Any], Any]) -> Any:
    if not isinstance(given, _LISTS):
        return given
    return [_in_item(item, name) for item in given]


def _in_item(item: Any, name: Callable[[Any], Any]) -> Any:
    if isinstance(item, Model):
        return {"id": name(item), "quantity": 1}
    if isinstance(item, Mapping) and "id" in item:
        return {**item, "id": name(item["id"])}
    return item
