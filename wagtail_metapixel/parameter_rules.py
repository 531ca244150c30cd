"""What the linter finds in ``custom_data``: money, contents and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wagtail_metapixel import catalogue, parameters, personal_data
from wagtail_metapixel.currencies import CURRENCIES
from wagtail_metapixel.redaction import shown_word
from wagtail_metapixel.subjects import (
    Subject,
    amount,
    content_ids,
    currency,
    is_id,
    is_text,
    is_whole,
    written,
)

# Money


def _gives(subject: Subject, key: str) -> bool:
    return subject.custom_data.get(key) not in (None, "")


def _needs(subject: Subject, key: str) -> bool:
    event = catalogue.STANDARD_EVENTS.get(subject.name)
    return event is not None and key in event.required


def _has_bad_value(subject: Subject) -> bool:
    given = subject.custom_data.get("value")
    if given == "" and _needs(subject, "value"):
        return False  # value_missing says it
    return given is not None and amount(given) is None


def _has_negative_value(subject: Subject, *, required: bool) -> bool:
    negative = (amount(subject.custom_data.get("value")) or 0) < 0
    return negative and _needs(subject, "value") == required


def _lacks_currency(subject: Subject, *, required: bool) -> bool:
    if _gives(subject, "currency") or _needs(subject, "currency") != required:
        return False
    return required or _gives(subject, "value")


# Contents and parameters


def _lacks_content(subject: Subject) -> bool:
    event = catalogue.STANDARD_EVENTS.get(subject.name)
    groups = event.catalogue_ads if event else ()
    return any(not any(subject.custom_data.get(key) for key in group) for group in groups)


def _lacks_content_type(subject: Subject) -> bool:
    event = catalogue.STANDARD_EVENTS.get(subject.name)
    named = any(subject.custom_data.get(key) for key in ("contents", "content_ids"))
    wanted = event is not None and bool(event.catalogue_ads)
    return wanted and named and not subject.custom_data.get("content_type")


def _has_unknown_type(subject: Subject) -> bool:
    given = subject.custom_data.get("content_type")
    return isinstance(given, str) and bool(given) and given not in parameters.CONTENT_TYPES


def _has_bad_contents(subject: Subject) -> bool:
    contents = subject.custom_data.get("contents")
    if contents is None:
        return False
    return not isinstance(contents, list) or not all(
        isinstance(item, Mapping) and is_id(item.get("id")) for item in contents
    )


def _has_bad_ids(subject: Subject) -> bool:
    ids = subject.custom_data.get("content_ids")
    return ids is not None and not (isinstance(ids, list) and all(map(is_id, ids)))


def _has_foreign_ids(subject: Subject) -> bool:
    known = subject.content_ids
    return known is not None and any(value not in known for value in content_ids(subject))


# Kinds of values. What is listed here, Meta refuses when it is of another kind.

_KINDS: Mapping[parameters.Kind, Callable[[Any], bool]] = {
    "money": lambda value: amount(value) is not None,
    "text": is_text,
    "type": is_text,
    "count": is_whole,
    "flag": lambda value: isinstance(value, bool | str),
}
_NAMED_ELSEWHERE = frozenset({"value", "id"})
"""Their findings have codes of their own."""


def _is_malformed(parameter: parameters.Parameter, value: Any) -> bool:
    if value is None or parameter.name in _NAMED_ELSEWHERE:
        return False
    if parameter.kind == "choice":
        return not (isinstance(value, str) and value in parameter.choices)
    fits = _KINDS.get(parameter.kind)
    return fits is not None and not fits(value)


def _malformed_parameters(subject: Subject) -> Iterator[str]:
    for name, parameter in parameters.PARAMETERS.items():
        if _is_malformed(parameter, subject.custom_data.get(name)):
            yield f"custom_data.{name}"
    items = _items(subject)
    for name, parameter in parameters.ITEM_PARAMETERS.items():
        if any(_is_malformed(parameter, item.get(name)) for item in items):
            yield f"custom_data.contents.{name}"


def _lacks_quantity(subject: Subject) -> bool:
    return any(item.get("quantity") is None for item in _items(subject))


def _items(subject: Subject) -> list[Mapping[str, Any]]:
    contents = subject.custom_data.get("contents")
    items = contents if isinstance(contents, list) else []
    return [item for item in items if isinstance(item, Mapping)]


# Names of parameters, and what is personal in them


_FOLDED = frozenset(map(catalogue.folded, parameters.PARAMETERS))


def _near_parameters(subject: Subject) -> Iterator[str]:
    for key in subject.custom_data:
        if key not in parameters.PARAMETERS and catalogue.folded(str(key)) in _FOLDED:
            yield _parameter(key)


def _parameter(key: object) -> str:
    return f"custom_data.{shown_word(key)}"


def _parameters_with(wrong: Callable[[str], bool]) -> Callable[[Subject], Iterator[str]]:
    def fields(subject: Subject) -> Iterator[str]:
        for key, value in subject.custom_data.items():
            if any(map(wrong, personal_data.texts([key, value]))):
                yield _parameter(key)

    return fields


def _phone_parameters(subject: Subject) -> Iterator[str]:
    for key, value in subject.custom_data.items():
        named = key not in parameters.PARAMETERS and personal_data.is_phone_name(str(key))
        if any(map(personal_data.has_phone, personal_data.texts([key, value]))) or (
            named and any(map(personal_data.may_be_phone, _texts_and_number(value)))
        ):
            yield _parameter(key)


def _personal_parameters(subject: Subject) -> Iterator[str]:
    for key, value in subject.custom_data.items():
        if isinstance(value, bool) or key in parameters.PARAMETERS:
            continue  # ``has_email`` says that there is one, and not which
        if personal_data.is_personal_name(str(key)):
            yield _parameter(key)


_NUMBERS_OF_THE_SHOP = frozenset({"order_id", "item_number", "content_ids", "contents"})
"""Every tenth long number looks like a card's."""


def _account_parameters(subject: Subject) -> Iterator[str]:
    for key, value in subject.custom_data.items():
        if key not in _NUMBERS_OF_THE_SHOP and any(
            map(personal_data.has_account_number, _texts_and_number(value))
        ):
            yield _parameter(key)


def _texts_and_number(value: Any) -> Iterable[str]:
    return [written(value)] if is_whole(value) else personal_data.texts(value)


# The tables

FLAGS: Mapping[str, Callable[[Subject], bool]] = {
    "value_missing": lambda s: _needs(s, "value") and not _gives(s, "value"),
    "value_invalid": _has_bad_value,
    "value_negative": lambda subject: _has_negative_value(subject, required=False),
    "purchase_value_negative": lambda subject: _has_negative_value(subject, required=True),
    "value_without_currency": lambda subject: _lacks_currency(subject, required=False),
    "currency_missing": lambda subject: _lacks_currency(subject, required=True),
    "currency_invalid": lambda s: _gives(s, "currency") and currency(s) not in CURRENCIES,
    "currency_without_value": lambda s: (
        _gives(s, "currency") and not _gives(s, "value") and not _needs(s, "value")
    ),
    "content_missing": _lacks_content,
    "content_type_missing": _lacks_content_type,
    "content_type_unknown": _has_unknown_type,
    "contents_malformed": _has_bad_contents,
    "contents_quantity_missing": _lacks_quantity,
    "content_ids_malformed": _has_bad_ids,
    "content_id_unknown": _has_foreign_ids,
}

FIELDS: Mapping[str, Callable[[Subject], Iterable[str]]] = {
    "parameter_malformed": _malformed_parameters,
    "parameter_near_miss": _near_parameters,
    "parameter_email": _parameters_with(personal_data.has_email),
    "parameter_phone": _phone_parameters,
    "parameter_account_number": _account_parameters,
    "parameter_personal_name": _personal_parameters,
}
