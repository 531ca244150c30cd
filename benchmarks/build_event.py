"""From a raw Purchase to the bytes of a request: ours, Meta's SDK, and the floor below both.

Eleven match fields, eight of them hashed, and three lines. Ours applies every rule on the way: event
name, money, contents, time, address, match keys, what Meta calls too broad. The SDK normalises and
hashes. The floor knows the answer already: it hashes eight prepared texts and writes the finished
event. All take the same purchases in one run, in shuffled rounds.
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
import requests
from facebook_business import api
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event as SdkEvent
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData

from wagtail_metapixel import addresses, catalogue, events, matching, payloads
from wagtail_metapixel.custom_data import build_custom_data
from wagtail_metapixel.events import Event

ROUNDS = 60
EVENTS = 200
HASHED = "email phone first_name last_name city zip country external_id".split()

AGENT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/19.1 Mobile/15E148 Safari/604.1"
)
PLACES = [
    ("Łódź", "90-001", "pl", "+48 601 {:03} {:03}"),
    ("Portland", "97201-1234", "us", "+1 (503) {:03}-5{:03}"),
    ("New York", "10001", "us", "+1 (212) {:03}-5{:03}"),
    ("London", "SW1A 1AA", "gb", "+44 7700 {:03}{:03}"),
    ("São Paulo", "01310-100", "br", "+55 11 9{:03}-0{:03}"),
]
FIRST_NAMES = "Anna John Zoë María Li-Wei Fatima Jürgen Olivia".split()
LAST_NAMES = "Kowalska Smith O'Connor García Wang Al-Sayed Müller Jones".split()


class Purchase(NamedTuple):
    """What a shop knows when an order is placed, as it knows it."""

    event_id: str
    event_time: int
    url: str
    user_data: dict[str, Any]
    params: dict[str, Any]


def purchases(count: int, *, seed: int = 1) -> list[Purchase]:
    """Return ``count`` different purchases, the same ones each time."""
    chance = random.Random(seed)
    return [_purchase(chance) for _ in range(count)]


def _purchase(chance: random.Random) -> Purchase:
    city, postcode, country, phone = chance.choice(PLACES)
    first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    number = chance.randrange(10**6)
    seen = 1_735_000_000_000 + number
    contents = [
        {
            "id": f"SKU-{chance.randrange(5000)}",
            "quantity": chance.randrange(1, 4),
            "item_price": Decimal(chance.randrange(100, 20000)) / 100,
        }
        for _ in range(3)
    ]
    return Purchase(
        event_id=f"{chance.getrandbits(128):032x}",
        event_time=int(time.time()) - chance.randrange(3600),
        url="https://shop.example/en/checkout/payment/",
        user_data={
            "email": f" {first}.{last}{number}@Example.com",
            "phone": phone.format(number % 1000, number // 1000),
            "first_name": first,
            "last_name": f" {last}",
            "city": city,
            "zip": postcode,
            "country": country.upper(),
            "external_id": f"user-{number}",
            "client_ip_address": f"203.0.113.{number % 250}",
            "client_user_agent": AGENT,
            "fbp": f"fb.1.{seen}.{chance.getrandbits(31)}",
        },
        params={
            "value": sum(line["quantity"] * line["item_price"] for line in contents),
            "currency": "EUR",
            "contents": contents,
            "order_id": f"2026-{number}",
        },
    )


def ours(bought: Iterable[Purchase]) -> bytes:
    """Return the body of one request, through the functions that ``track()`` calls."""
    rows = []
    for purchase in bought:
        name = catalogue.check_event_name("Purchase")
        custom_data, problems = build_custom_data(name, purchase.params)
        event_time, late = events.check_event_time(purchase.event_time, now=time.time())
        user_data, unmatched = matching.match(purchase.user_data)
        if problems or late or unmatched or not matching.enough(user_data):
            raise AssertionError([*problems, *late, *unmatched])
        event = Event(
            event_name=name,
            event_id=purchase.event_id,
            event_time=event_time,
            custom_data=custom_data,
            event_source_url=addresses.clean_url(purchase.url, keep_query=None) or "",
        )
        rows.append((payloads.server_event(event), payloads.dump_texts(user_data)))
    return payloads.request_body(rows)


def ours_without_orjson(bought: Iterable[Purchase]) -> bytes:
    """Do what ``ours`` does, as on a site without the extra."""
    payloads.HAS_ORJSON = False
    try:
        return ours(bought)
    finally:
        payloads.HAS_ORJSON = True


def sdk_request(bought: Iterable[Purchase]) -> EventRequest:
    """Return the SDK's request with these events in it."""
    return EventRequest(
        pixel_id="1", events=[_sdk_event(one) for one in bought], partner_agent="wagtail-metapixel"
    )


def _sdk_event(purchase: Purchase) -> SdkEvent:
    told, params = purchase.user_data, purchase.params
    person = UserData(
        email=told["email"],
        phone=told["phone"],
        first_name=told["first_name"],
        last_name=told["last_name"],
        city=told["city"],
        zip_code=told["zip"],
        country_code=told["country"],
        # The SDK sends it as it is; Meta recommends the hash, and both are to say the same.
        external_id=hashlib.sha256(told["external_id"].encode()).hexdigest(),
        client_ip_address=told["client_ip_address"],
        client_user_agent=told["client_user_agent"],
        fbp=told["fbp"],
    )
    contents = [
        Content(
            product_id=line["id"], quantity=line["quantity"], item_price=float(line["item_price"])
        )
        for line in params["contents"]
    ]
    return SdkEvent(
        event_name="Purchase",
        event_time=purchase.event_time,
        event_id=purchase.event_id,
        event_source_url=purchase.url,
        action_source=ActionSource.WEBSITE,
        user_data=person,
        custom_data=CustomData(
            value=float(params["value"]),
            currency=params["currency"],
            contents=contents,
            content_ids=[line["id"] for line in params["contents"]],
            content_type="product",
            num_items=sum(line["quantity"] for line in params["contents"]),
            order_id=params["order_id"],
        ),
    )


def sdk(bought: Iterable[Purchase]) -> bytes:
    """Return the SDK's parameters as JSON bytes."""
    return json.dumps(sdk_request(bought).get_params()).encode()


def sdk_as_sent(bought: Iterable[Purchase]) -> bytes:
    """Return the body ``EventRequest.execute()`` sends: a JSON list of JSON texts, urlencoded."""
    params = api._top_level_param_json_encode(sdk_request(bought).get_params())  # noqa: SLF001
    body = requests.models.RequestEncodingMixin._encode_params(params)  # noqa: SLF001
    return str(body).encode()


def hashing_alone(bought: Sequence[Purchase]) -> Callable[[], None]:
    """Return what hashes as many texts, and nothing else."""
    texts = [[one.user_data[name].lower().encode() for name in HASHED] for one in bought]

    def build() -> None:
        for several in texts:
            for text in several:
                hashlib.sha256(text).hexdigest()

    return build


def floor(dumps: Callable[[Any], bytes], bought: Sequence[Purchase]) -> Callable[[], None]:
    """Return what hashes as many texts and writes the finished events."""
    finished = [json.loads(ours([one])) for one in bought]
    texts = [[one.user_data[name].lower().encode() for name in HASHED] for one in bought]

    def build() -> None:
        for several, event in zip(texts, finished, strict=True):
            for text in several:
                hashlib.sha256(text).hexdigest()
            dumps(event)

    return build


def compact(value: Any) -> bytes:
    """Return ``value`` as ``json`` writes it without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def contenders() -> dict[str, Callable[[], object]]:
    """Return what is compared, each as a function that builds all events once.

    One event a request, as it is when an order is placed; the SDK also with all in one.
    """
    bought = purchases(EVENTS)
    return {
        "facebook_business, JSON": lambda: [sdk([one]) for one in bought],
        "facebook_business, as sent": lambda: [sdk_as_sent([one]) for one in bought],
        "facebook_business, one batch": lambda: sdk_as_sent(bought),
        "ours, standard library": lambda: [ours_without_orjson([one]) for one in bought],
        "ours, orjson": lambda: [ours([one]) for one in bought],
        "hashing alone": hashing_alone(bought),
        "floor, standard library": floor(compact, bought),
        "floor, orjson": floor(orjson.dumps, bought),
    }


def measure() -> dict[str, list[float]]:
    """Return microseconds of CPU per event, one figure a round."""
    building = contenders()
    for build in building.values():
        build()
    figures: dict[str, list[float]] = {name: [] for name in building}
    for _ in range(ROUNDS):
        for name in random.sample(list(building), len(building)):
            started = time.process_time()
            building[name]()
            figures[name].append((time.process_time() - started) / EVENTS * 1e6)
    return figures


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    yield f"Building a Purchase, CPU per event, median of {ROUNDS} shuffled rounds of {EVENTS}"
    figures = measure()
    for name, values in figures.items():
        yield f"  {name:<28} {statistics.median(values):7.1f} us"
    for mine in ("standard library", "orjson"):
        values = figures[f"ours, {mine}"]
        for theirs in ("as sent", "one batch", "JSON"):
            times = ratio(figures[f"facebook_business, {theirs}"], values)
            yield f"  ours with {mine:<17} {times:5.2f} x less than facebook_business, {theirs}"
        yield f"  ours with {mine:<17} {ratio(values, figures[f'floor, {mine}']):5.2f} x the floor"
        alone = ratio(values, figures["hashing alone"])
        yield f"  ours with {mine:<17} {alone:5.2f} x hashing alone"
    yield from sizes()


def sizes() -> Iterator[str]:
    """Return the lines about bytes on the wire."""
    for count in (1, 1000):
        bought = purchases(count)
        mine, theirs = len(ours(bought)), len(sdk_as_sent(bought))
        yield f"  bytes of {count:>4} events: {mine:,} against {theirs:,}, {mine / theirs:.3f} x"


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the median of the ratios of rounds that ran side by side."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))
