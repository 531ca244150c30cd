"""Writes docs/events.md from the catalogue: ``python -m tests.events_page``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from wagtail_metapixel import catalogue, match_keys, parameters
from wagtail_metapixel.catalogue import DAY, HOUR, Limit, StandardEvent
from wagtail_metapixel.meta_errors import ERRORS
from wagtail_metapixel.parameters import Parameter

PAGE = Path(__file__).resolve().parents[1] / "docs" / "events.md"

INTRODUCTION = """\
# Events and what they carry

This page is written from `catalogue.py`, `parameters.py`, `match_keys.py` and `meta_errors.py` by
`python -m tests.events_page`; a test holds them equal. The same tables decide what is sent and word the
complaint about what is not.

```python
track(
    "Purchase",
    request,
    key=order.pk,
    value=order.total,
    currency="EUR",
    order_id=order.number,
    contents=[{"id": "SKU-1", "quantity": 2, "item_price": Decimal("9.99")}],
)
```

Pass amounts in major units, as `Decimal` where you have one. Pass `contents` and leave
`content_ids`, `content_type` and `num_items` out: they follow from it. Ids are those of the product
catalogue at Meta.
"""

WHAT_HAPPENS = """\
## What becomes of a wrong value

* A value that breaks its rule is left out, counted and logged; the event is sent without it.
* An event Meta would refuse is stored as rejected, with the reason, and costs no other event its
  place: a Purchase without value or currency, an item of `contents` without id, a time out of bounds.
* A mistake in the code, such as a text where a list has to be, raises `EventError` while `DEBUG` is
  on. In production nothing raises.
* No message repeats a value: it names the parameter and the rule.

## Decided

Where Meta says nothing, or several answers are possible:

| given | what happens |
|---|---|
| an amount with more decimal places than its currency | rounded half-even: 100.5 JPY is 100, 101.5 JPY is 102, 1.234 KWD stays |
| a `float` as amount | means what it prints: 2.675 is 2.675, so 2.68 |
| an amount as text: `"12,50"`, `"1,234.50"`, `"1_000"`, `"1e3"`, digits that are not ASCII | refused: write `"1234.50"` |
| `True` as amount | refused |
| an object with `.amount` and `.currency` | refused, with the hint to pass both apart |
| a value of 0 in a Purchase | sent and reported |
| an amount above 1,000,000,000,000 | sent and reported |
| an amount of more digits than a JSON number holds, such as 900,719,925,474,099.93 | refused: it would arrive as another |
| a negative amount | refused, save for `net_revenue`; of a refund the sign of every amount is dropped |
| a value or `predicted_ltv` without currency | left out; a Purchase is rejected |
| a lower-case currency, or spaces around it | brought to upper case |
| `contents` given, `content_ids` not | `content_ids` and `num_items` follow, `content_type` is `product` |
| `content_ids` given, no `contents` or none that can be used | one piece of each in `contents`, `content_type` is `product`; `num_items` stays away; hotels, flights and their like get no `contents` |
| a quantity of 0, below 0 or with a fraction | the item is left out |
| no quantity | 1, and reported |
| an id of a product of more than 100 characters | the product is left out: cut, two ids might become one |
| `price` in an item | sent as `item_price`, and reported; where `item_price` stands beside it, as it is |
| a `set` | sorted, so that both copies of the event agree |
| a generator, a QuerySet, bytes, a nested list or dict | refused, and never looked into |
| an Enum member, a lazy text, a UUID, a date | its value, its text, its ISO form |
| an object that breaks on being read | its parameter is left out, and reported as a mistake |
| an e-mail address in a text, or as the id of a product | the text, or the product, is left out |
| line breaks, control and direction marks in a text | spaces for breaks, nothing for the others; joiners of emoji stay |
| a time in milliseconds | divided by 1,000 and reported |
| a time without zone | taken as now and reported |
| a time up to a day ahead | taken as now, beyond five minutes reported; further ahead rejected |
| an event id of `0` | an id like any other |
| an event name that is a standard one in another spelling: `purchase`, `Add to cart`, `Leads` | refused, with the name that was meant |
| an event name that is like a standard one: `Purchse`, `Purchased` | sent as a custom event, and reported with the name that may be meant; `Unsubscribe` and other words with a meaning of their own without a word |
| a parameter that is nearly a documented one | sent as it is, and reported with the name that was meant |
| a parameter that is nearly an option of the event: `optout`, `dataProcessingOptions`, `ldu` | never sent as a parameter; reported as a mistake, with the name that was meant |
"""


def page() -> str:
    """Return the whole page."""
    parts = [
        INTRODUCTION, _events(), _custom_events(), _parameters(), _user_data(), _action_sources(),
        _limits(), _ldu(), WHAT_HAPPENS, _errors(),
    ]  # fmt: skip
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return text.replace("<", "&lt;") + "\n"


def _code(names: Iterable[str], *, separator: str = ", ") -> str:
    return separator.join(f"`{name}`" for name in names)


def _events() -> str:
    rows = [_event_row(event) for event in catalogue.STANDARD_EVENTS.values()]
    head = ("event", "when", "said by", "required", "recommended", "also", "catalogue ads need")
    reserved = _code(sorted(catalogue.RESERVED_NAMES))
    return f"""\
## Standard events

Meta can optimise campaigns for these. An event *of a page* is declared in a template with
`{{% metapixel_event %}}`; an *action* is something the server did, and is reported with `track()`.
Either is told to Meta by the browser and by the server.

{_table(head, rows)}
Any other name of 1 to {catalogue.CUSTOM_NAME_MAX} letters, digits, `_`, `-` and inner spaces is a custom event, with the same
parameters. Names are compared letter by letter. Meta's own script uses {reserved}; these are refused.
"""


def _event_row(event: StandardEvent) -> tuple[str, ...]:
    return (
        f"`{event.name}`",
        event.description,
        "page" if event.born == "browser" else "action",
        _code(event.required),
        _code(event.recommended),
        _code(event.optional),
        "; ".join(_code(group, separator=" or ") for group in event.catalogue_ads),
    )


def _custom_events() -> str:
    refund = catalogue.REFUND
    rows = ((f"`{name}`", meaning) for name, meaning in refund.parameters.items())
    return f"""\
## Refunds

`{refund.name}` is a custom event with a meaning of its own. {refund.description}

{_table(("parameter", "what it says"), rows)}
A negative amount is sent as the positive one. What a campaign is credited with stays as it was.
"""


_TYPES: Mapping[catalogue.Kind, str] = {
    "money": "number",
    "currency": "text",
    "ids": "list of texts",
    "contents": "list of objects",
    "type": "text",
    "choice": "text",
    "text": "text",
    "count": "whole number",
    "flag": "truth value or text",
}


def _parameters() -> str:
    head = ("parameter", "what it says", "type", "rule")
    of_event = [_parameter_row(fact) for fact in parameters.PARAMETERS.values()]
    of_item = [
        _parameter_row(fact, required=fact.name in parameters.REQUIRED_OF_ITEM)
        for fact in parameters.ITEM_PARAMETERS.values()
    ]
    tables = (parameters.SYNONYMS, parameters.ITEM_SYNONYMS)
    words = [
        (_code([word]), *(_code(filter(None, [table.get(word)])) for table in tables))
        for word in sorted(set().union(*tables))
    ]
    return f"""\
## Parameters

{_table(head, of_event)}
An item of `contents`:

{_table(head, of_item)}
Other keys are yours: a text, a number, a truth value, or a list of these, under a key of 1 to
{catalogue.PROPERTY_NAME_MAX} of `A-Z a-z 0-9 _ -`. Words of other tools are sent as they are, and reported; of an item
`price` becomes `item_price`, unless that is there too:

{_table(("word", "Meta's word", "in an item"), words)}"""


def _parameter_row(fact: Parameter, *, required: bool = False) -> tuple[str, ...]:
    rule = f"{fact.rule}: {_code(sorted(fact.choices))}" if fact.kind == "choice" else fact.rule
    if fact.kind == "type":
        others = sorted(fact.choices - {"product", "product_group"})
        rule += f"; for catalogues of other things {_code(others)}"
    notes = ["required"] * required + ["never told to a browser"] * fact.server_only
    return (
        f"`{fact.name}`",
        fact.meaning,
        _TYPES[fact.kind],
        "; ".join([rule, *notes]),
    )


_HASHED = {"required": "digest", "recommended": "digest", "forbidden": "plain"}


def _user_data() -> str:
    rows = (
        (
            f"`{fact.name}`",
            f"`{fact.key}`",
            _HASHED[fact.hashed],
            "many" if fact.many else "one",
            fact.rule,
            "" if fact.scope == "all" else fact.scope.replace("_", " "),
        )
        for fact in match_keys.USER_DATA.values()
    )
    sets = "\n".join(f"* {_code(sorted(keys))}" for keys in match_keys.INVALID_USER_DATA_SETS)
    return f"""\
## Who it was: `user_data`

Give the readable name or Meta's key, and the value as it is: it is brought to Meta's form and hashed
before it is stored. [Matching](matching.md) has the forms.

{_table(("name", "Meta's key", "sent as", "how many", "rule", "only for"), rows)}
An event whose keys all lie within one of these sets could be anybody, and is not sent:

{sets}
"""


def _action_sources() -> str:
    rows = (
        (
            f"`{source.name}`",
            source.description,
            f"{source.max_age // DAY} days",
            _code(source.needs),
            "yes" if source.supported else f"no: {source.refusal.split(': ')[1]}",
        )
        for source in catalogue.ACTION_SOURCES.values()
    )
    head = ("`action_source`", "where it happened", "at most this old", "Meta asks for", "sent")
    return f"""\
## Where it happened

{_table(head, rows)}"""


def _limits() -> str:
    rows = (
        (limit.meaning, _amount(limit), "ours" if limit.ours else "Meta's")
        for limit in catalogue.LIMITS
    )
    return f"""\
## Limits

{_table(("limit", "at most", "whose"), rows)}"""


def _amount(limit: Limit) -> str:
    if limit.unit == "seconds":
        for size, name in ((DAY, "day"), (HOUR, "hour"), (60, "minute")):
            if limit.amount % size == 0:
                count = limit.amount // size
                return f"{count} {name}{'s' * (count != 1)}"
    return f"{limit.amount:,} {limit.unit}".rstrip()


def _ldu() -> str:
    states = ", ".join(f"{state} {number}" for state, number in catalogue.LDU_STATES.items())
    return f"""\
## Limited data use

`data_processing_options=["LDU"]` limits what Meta may do with an event in the states of the US that
ask for it: {states}. Country and state 0 leave it to Meta to find out. It is no
answer to European law: there, an event without consent is not sent at all.
"""


def _errors() -> str:
    rows = [
        (codes, error.meaning, error.remedy)
        for error, group in groupby(sorted(ERRORS, key=_place), key=ERRORS.__getitem__)
        for codes in [", ".join(map(_code_of, group))]
    ]
    return f"""\
## Meta's errors

Code and subcode, as the outbox shows them.

{_table(("error", "what it means", "what helps"), rows)}"""


def _place(key: tuple[int, int | None]) -> tuple[int, int]:
    return key[0], key[1] or 0


def _code_of(key: tuple[int, int | None]) -> str:
    code, subcode = key
    return f"{code}/{subcode}" if subcode else str(code)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
