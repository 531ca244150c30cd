"""What the linter says: every finding with its level, its words and its remedy.

The same table speaks in the linter, in ``manage.py metapixel_lint`` and on the page
``docs/linter.md``. No text holds anything of an event, so that none can hold anything of a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Level = Literal["error", "warning", "advice"]
LEVELS: Mapping[Level, str] = MappingProxyType(
    {
        "error": "Meta refuses the event, or it tells of a person what Meta's terms forbid.",
        "warning": "Meta takes the event and complains: it counts, matches or reports wrongly.",
        "advice": "Nothing is wrong for certain; events could be better.",
    }
)


class Text(NamedTuple):
    """One kind of finding. ``field`` is ``""`` or ends in ``*`` when the finding names its own."""

    code: str
    level: Level
    field: str
    message: str
    remedy: str


_REJECTED = "Mend it where the event is made: one such event makes Meta refuse the whole request."
_HASH_IT = "Give the value to user_data as it is; it is normalised and hashed before it is stored."
_LEAVE_OUT = "Leave a key out when there is nothing to say."
_MILLISECONDS = "Use milliseconds since 1970, 13 digits, of a clock that is right."
_PERSONAL = "Take it out: Meta's terms forbid personal data outside hashed match keys."

SECTIONS: tuple[tuple[str, tuple[Text, ...]], ...] = (
    ("The event", (
        Text("event_malformed", "error", "", "The event is no JSON object.", _REJECTED),
        Text("event_key_unknown", "error", "*", "Meta refuses a key it does not know here.",
             "Put parameters into custom_data, and match keys into user_data."),
        Text("event_key_malformed", "error", "*",
             "A key of the event holds another kind of value than Meta takes.",
             'Write it as Meta documents it: "17" is a text, 17 a number, true neither.'),
        Text("event_name_missing", "error", "event_name", "The event has no name.",
             "Name a standard event, such as Purchase, or your own."),
        Text("event_name_near_miss", "warning", "event_name",
             "The name is nearly a standard event's: Meta takes it for a custom event.",
             "Write it as Meta does, such as AddToCart; capitals count."),
        Text("event_name_too_long", "error", "event_name",
             "The name has more than 50 characters.", "Choose a short name."),
        Text("event_name_reserved", "warning", "event_name",
             "Meta's own script and features use this name.", "Choose another name."),
        Text("event_name_invalid", "warning", "event_name",
             "A custom event's name is of A-Z a-z 0-9 _ - and inner spaces.",
             "Choose a short name of letters and digits."),
        Text("event_id_missing", "warning", "event_id",
             "Without an id, Meta cannot see that two copies are one event.",
             "Send the same event_id with the browser's and with the server's copy."),
        Text("event_id_malformed", "warning", "event_id",
             "The id has space around it, or is longer than 64 characters.",
             "Use the same short text on both sides."),
        Text("event_id_in_custom_data", "warning", "custom_data.event_id",
             "Inside custom_data, Meta does not see the id.", "Put event_id beside event_name."),
        Text("event_id_repeated", "warning", "event_id",
             "One name and id stand for events with different content: Meta counts only one.",
             "Make an id for each event. In a cached page, the browser has to make it."),
        Text("event_id_constant", "warning", "event_id", "Many events share one id.",
             "An id belongs to one event: no session's, visitor's or page's id."),
        Text("action_source_missing", "error", "action_source",
             "The event does not say where it happened.",
             "Say website, or where else it happened; Meta asks for it with every event."),
        Text("action_source_unknown", "error", "action_source",
             "Meta does not know this action source.", "Use one of Meta's: website, email, ..."),
        Text("action_source_incomplete", "error", "*",
             "An app's or a messenger's event lacks what Meta wants with it.",
             "Let the app or the messenger send it, or name the source that it came from."),
    )),
    ("Time", (
        Text("event_time_invalid", "error", "event_time",
             "The time is missing, or is no number of seconds since 1970.",
             "Give whole Unix seconds, as an integer."),
        Text("event_time_milliseconds", "error", "event_time",
             "The time is in milliseconds: Meta reads it as a far future.", "Divide it by 1000."),
        Text("event_time_future", "error", "event_time", "The event lies in the future.",
             "Check the server's clock and time zone."),
        Text("sent_too_late", "error", "event_time",
             "The event is older than Meta takes: 7 days, in shops 62.",
             "See why it waited. event_time is when it happened, and it has to leave in time."),
        Text("sent_very_late", "warning", "event_time",
             "The event arrives more than a day after it happened.",
             "See that delivery runs all the time: manage.py metapixel_doctor."),
        Text("sent_late", "advice", "event_time",
             "The event arrives more than an hour after it happened.",
             "Events help most within the hour; deliver them at once, not in a nightly batch."),
    )),
    ("Address", (
        Text("event_source_url_missing", "warning", "event_source_url",
             "A website event does not name its page.", "Send the address the visitor saw."),
        Text("event_source_url_invalid", "error", "event_source_url",
             "The address is not absolute, or not of http or https.",
             "Send the whole address, such as https://shop.example/mug/."),
        Text("event_source_url_host", "warning", "event_source_url",
             "The address belongs to a host that is none of the site's.",
             "Take the visitor's page, not an endpoint's; list the host if it is yours."),
        Text("event_source_url_technical", "advice", "event_source_url",
             "The address looks like a payment, admin or technical one.",
             "Take the page the visitor acted on."),
        Text("url_email", "error", "*", "An address holds an e-mail address.", _PERSONAL),
        Text("url_phone", "warning", "*", "An address holds what looks like a phone number.",
             _PERSONAL),
        Text("url_account_number", "warning", "*",
             "An address holds what looks like the number of a card or a bank account.", _PERSONAL),
        Text("url_secret", "warning", "*",
             "An address holds what looks like a password, a token or a key.",
             "Take it out: whoever reads the address could use it."),
    )),
    ("Money", (
        Text("value_missing", "error", "custom_data.value",
             "Meta refuses a Purchase without a value.",
             "Give the order's total in major units; 0 is a value."),
        Text("value_recommended", "advice", "custom_data.value",
             "No event of this name has a value.",
             "With value and currency, campaigns can be optimised for what an event is worth."),
        Text("value_invalid", "error", "custom_data.value", "The value is no number.",
             "Give a number such as 12.50: no currency sign, no comma."),
        Text("value_negative", "warning", "custom_data.value", "The value is negative.",
             "Values are 0 or more; a refund is a custom event and changes no number at Meta."),
        Text("purchase_value_negative", "error", "custom_data.value",
             "Meta refuses a Purchase with a negative value.",
             "Values are 0 or more; a refund is a custom event and changes no number at Meta."),
        Text("value_constant", "warning", "custom_data.value",
             "Every Purchase has one and the same value.",
             "Give each order's own total, unless all you sell has one price."),
        Text("value_without_currency", "error", "custom_data.currency",
             "Meta refuses a value without its currency.", "Give the currency of the amount."),
        Text("currency_missing", "error", "custom_data.currency",
             "Meta refuses a Purchase without a currency.", "Give the order's own currency."),
        Text("currency_invalid", "error", "custom_data.currency",
             "The currency is no active code of ISO 4217.",
             "Give three letters such as EUR, no sign and no name."),
        Text("currency_without_value", "warning", "custom_data.value",
             "A currency stands without a value.", "Give both, or neither."),
        Text("currency_constant", "advice", "custom_data.currency",
             "Every Purchase is in one currency.",
             "Right for a shop with one currency. In another one, a default was left in the code."),
    )),
    ("Contents and parameters", (
        Text("custom_data_malformed", "error", "custom_data", "custom_data is no JSON object.",
             _REJECTED),
        Text("content_missing", "warning", "custom_data.content_ids",
             "Catalogue ads cannot tell which product this was about.",
             "Give contents or content_ids with the ids of your catalogue."),
        Text("content_type_missing", "advice", "custom_data.content_type",
             "Products are named without saying whether they are products or groups of variants.",
             "Give content_type: product or product_group."),
        Text("content_type_unknown", "warning", "custom_data.content_type",
             "Meta does not know this content_type.", "Shops use product or product_group."),
        Text("contents_malformed", "error", "custom_data.contents",
             "contents has to be a list of objects, each with an id.",
             'Write [{"id": "MUG-1", "quantity": 1, "item_price": 12.5}].'),
        Text("contents_quantity_missing", "error", "custom_data.contents.quantity",
             "An item of contents does not say how many pieces.",
             'Write [{"id": "MUG-1", "quantity": 1}].'),
        Text("content_ids_malformed", "error", "custom_data.content_ids",
             "content_ids has to be a list of texts or whole numbers.", 'Write ["MUG-1"].'),
        Text("content_id_unknown", "warning", "custom_data.content_ids",
             "A content id is not in the given list.",
             "Use the ids of the catalogue; they often differ by a prefix, or are a variant's."),
        Text("parameter_malformed", "error", "*",
             "A parameter of Meta's holds another kind of value than Meta takes.",
             'Write it as Meta documents it: num_items is 2 and not "2", a choice one of its own.'),
        Text("parameter_near_miss", "warning", "*",
             "The name is a parameter of Meta's in another spelling.",
             "Write it as Meta does, such as content_ids; capitals count."),
        Text("parameter_email", "error", "*", "A parameter holds an e-mail address.", _PERSONAL),
        Text("parameter_phone", "warning", "*",
             "A parameter holds what looks like a phone number.", _PERSONAL),
        Text("parameter_account_number", "warning", "*",
             "A parameter holds what looks like the number of a card or a bank account.",
             _PERSONAL),
        Text("parameter_personal_name", "warning", "*",
             "A parameter is named like something personal.", _PERSONAL),
    )),
    ("Match keys", (
        Text("user_data_malformed", "error", "user_data", "user_data is no JSON object.",
             _REJECTED),
        Text("user_data_insufficient", "error", "user_data",
             "Too little is known about the person, or in a form that Meta cannot match by.",
             "Send an e-mail address, a phone number, fbp or an external_id along."),
        Text("match_key_unknown", "warning", "*", "Meta documents no such match key.",
             "Use Meta's names: em for e-mail, ph for phone."),
        Text("match_key_unreadable", "error", "*",
             "A match key holds another kind of value than Meta takes.",
             "Give texts; a list only where Meta takes several. A lead_id has 15 to 17 digits."),
        Text("match_key_personal", "error", "*",
             "A match key that Meta reads as it is holds an e-mail address or a phone number.",
             "Give an id of your own there, and the address or number as em or ph."),
        Text("match_key_blank", "warning", "*", "A match key is empty.", _LEAVE_OUT),
        Text("match_key_unhashed", "error", "*", "A match key arrived in plain text.", _HASH_IT),
        Text("match_key_foreign_digest", "warning", "*",
             "A match key is an MD5, SHA-1 or SHA-512 digest, which Meta cannot match.", _HASH_IT),
        Text("match_key_malformed", "warning", "*",
             "A match key is no SHA-256 digest of 64 lower-case hex digits.", _HASH_IT),
        Text("match_key_empty_hash", "warning", "*", "A match key is the hash of an empty text.",
             _LEAVE_OUT),
        Text("user_agent_missing", "warning", "user_data.client_user_agent",
             "A website event does not name the visitor's user agent.",
             "Send the User-Agent header of the visitor's request."),
        Text("user_agent_invalid", "warning", "user_data.client_user_agent",
             "The user agent is empty or hashed.", "Send it as the browser did."),
        Text("user_agent_server", "warning", "user_data.client_user_agent",
             "The user agent is a server's or a program's, not a visitor's.",
             "Send the User-Agent of the visitor's request, not of a webhook's or your own."),
        Text("fbp_invalid", "warning", "user_data.fbp",
             "fbp is not fb.<index>.<milliseconds>.<digits>.",
             "Send the cookie _fbp as it is, or nothing."),
        Text("fbc_invalid", "warning", "user_data.fbc",
             "fbc is not fb.<index>.<milliseconds>.<fbclid>.",
             "Send the cookie _fbc as it is. The click id never changes, not even its capitals."),
        Text("fbp_seconds", "warning", "user_data.fbp",
             "fbp holds its creation time in seconds.", _MILLISECONDS),
        Text("fbc_seconds", "warning", "user_data.fbc",
             "fbc holds its creation time in seconds.", _MILLISECONDS),
        Text("fbp_future", "warning", "user_data.fbp", "fbp was made in the future.",
             _MILLISECONDS),
        Text("fbc_future", "warning", "user_data.fbc", "fbc was made in the future.",
             _MILLISECONDS),
        Text("ip_invalid", "warning", "user_data.client_ip_address",
             "The client address is not one IPv4 or IPv6 address.",
             "Send the visitor's address alone: no list, no port, no hash."),
        Text("ip_private", "warning", "user_data.client_ip_address",
             "The client address is a proxy's or one of your own network.",
             "Set TRUSTED_PROXIES, so that the visitor's address is found."),
        Text("ip_shared", "warning", "user_data.client_ip_address",
             "Very many different people come from one address: is it your own server's?",
             "Send the visitor's address; set TRUSTED_PROXIES. Work without a visitor has none."),
        Text("ipv4_only", "advice", "user_data.client_ip_address",
             "All client addresses are IPv4.", "Meta prefers IPv6: serve the site over it, too."),
    )),
    ("Browser and server", (
        Text("halves_differ", "warning", "*",
             "The browser's and the server's copy differ; Meta keeps only one of them.",
             "Make both copies from the same data."),
        Text("halves_names_differ", "warning", "event_name",
             "The two copies of one id have different names: Meta counts two events.",
             "Use one name for both."),
        Text("halves_server_missing", "warning", "event_id",
             "Of less than three in four browser events the server sends its copy.",
             "Send every event from both sides under one id."),
        Text("halves_browser_missing", "advice", "event_id",
             "Of less than three in four server events the browser sends its copy.",
             "Expected for orders paid later, ad blockers and webhooks; otherwise ids differ."),
    )),
)  # fmt: skip
"""In the order of the page; a code is never given another meaning."""

TEXTS: Mapping[str, Text] = MappingProxyType(
    {text.code: text for _title, texts in SECTIONS for text in texts}
)


def markdown() -> str:
    """Return all tables of ``docs/linter.md``."""
    return "\n\n".join(_section(title, texts) for title, texts in SECTIONS)


def _section(title: str, texts: tuple[Text, ...]) -> str:
    rows = (
        f"| `{text.code}` | {text.level} | {_field(text)} | {text.message} | {text.remedy} |"
        for text in texts
    )
    head = f"## {title}\n\n| code | level | field | what is wrong | what to do |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def _field(text: Text) -> str:
    names = {"*": "named in the finding", "": "-"}
    return names.get(text.field) or f"`{text.field}`"
