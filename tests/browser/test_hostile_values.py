"""Names of products, cookies and addresses written by somebody who wants the page to break."""

from __future__ import annotations

import http.client
import json
import sys

import pytest

from tests.browser.conftest import PATIENCE, until
from wagtail_metapixel.custom_data import build_custom_data

pytestmark = pytest.mark.browser

PRODUCT = "/crockery/mueritz-breakfast-bowl/"
RUN = "window.ran=(window.ran||0)+1"
FRAGMENTS = (
    # The end of the element, in all spellings
    "</script>",
    "</SCRIPT >",
    "</script\t>",
    "</script/x>",
    "< /script>",
    f"</script><script>{RUN}</script>",
    f"</script><img src=x onerror={RUN}>",
    f'</script><svg onload="{RUN}">',
    f"</head><body onload={RUN}>",
    # A script that hides its end from the parser
    "<!--",
    "-->",
    "--!>",
    "<!--<script>",
    "<!-- <script> </script>",
    "<![CDATA[ ]]>",
    "]]>",
    # The end of the string, of the attribute, of the JSON
    '"',
    "'",
    "`${" + RUN + "}`",
    '\\"',
    "\\",
    '"}</script>',
    f'"}};{RUN};//',
    f"' onmouseover='{RUN}",
    '{"event_name": "Purchase", "custom_data": {"value": 1}}',
    # Ends of lines, nothing, and what is not seen
    "\u2028",
    "\u2029",
    "\r\n\t\v\f",
    "\x00",
    "\x1b[31m\x7f\x9b",
    "\ud800",
    "\ufeff\u200b\u2060",
    "\u202eevissergga\u202c \u2066\u200f",
    "Z\u0341\u0327\u0489\u0300\u0316",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U000e0041\ufffe\uffff\U0010ffff",
    # Other languages
    f"javascript:{RUN}",
    "{{ request }}{% debug %}{# #}",
    "&lt;/script&gt;&#60;&quot;&amp;",
    "%3C/script%3E+%00\\u003c/script\\u003e\\x3c",
)
WRAPPINGS = ("{}", "Tea {} and biscuits", '"{}"', "<b title='{}'>{}</b>", "{}" * 60)
NAMES = [wrapping.replace("{}", each) for wrapping in WRAPPINGS for each in FRAGMENTS]
PAGES = len(WRAPPINGS)

RENDER = """
import json
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory

with open({given!r}) as file:
    pages = json.load(file)
template = engines["django"].from_string(
    "<!doctype html><html lang=en><head><title>Names</title>{{% load metapixel %}}{{% metapixel %}}"
    "</head><body><main>{{% for number, name in names %}}<section><h2>A product</h2>"
    "{{% metapixel_event 'ViewContent' content_name=name content_category=number"
    " value=1 currency='EUR' %}}<p>Its price</p></section>{{% endfor %}}</main></body></html>"
)
for number, names in enumerate(pages):
    request = RequestFactory().get("/", headers=dict(host={host!r}))
    body = HttpResponse(template.render({{"names": names}}, request)).content
    with open(f"{{{written!r}}}-{{number}}", "wb") as file:
        file.write(body)
"""
TREE = """
(root) => [...root.querySelectorAll('*')].map((each) => [each.tagName, ...each.getAttributeNames()])
"""
TREE_OF_TEXT = f"(text) => ({TREE})(new DOMParser().parseFromString(text, 'text/html'))"


@pytest.fixture(scope="module")
def rendered(shop, tmp_path_factory):
    """The bytes of the pages that declare ``NAMES``, and of one that declares harmless names."""
    folder = tmp_path_factory.mktemp("hostile")
    size = len(FRAGMENTS)
    numbered = [(f"case {number}", name) for number, name in enumerate(NAMES)]
    pages = [numbered[at : at + size] for at in range(0, len(numbered), size)]
    harmless = [(f"case {number}", f"Tea {number}") for number in range(size)]
    (folder / "names").write_text(json.dumps([*pages, harmless]))
    script = RENDER.format(
        given=str(folder / "names"),
        written=str(folder / "page"),
        host=shop.url.removeprefix("http://"),
    )
    # As in production: what DEBUG raises as a developer's mistake is left out there.
    shop.options["DEBUG"] = "0"
    try:
        shop.run([sys.executable, "manage.py", "shell", "-c", script])
    finally:
        del shop.options["DEBUG"]
    *made, plain = [(folder / f"page-{number}").read_bytes() for number in range(len(pages) + 1)]
    return made, plain


@pytest.fixture
def open_page(shop, visit):
    """Open a page of ours, at an address of the shop's, as somebody who has allowed it all."""

    def go(body):
        visitor = visit(shop, patience=0)
        consent = {"name": "metapixel_consent", "value": "granted.0123456789abcdef"}
        visitor.page.context.add_cookies([consent | {"url": shop.url}])
        visitor.dialogs = []
        visitor.page.on("dialog", lambda dialog: visitor.dialogs.append(dialog.dismiss()))
        # Without a policy: what got out of its element would run.
        visitor.page.route(
            f"{shop.url}/names/",
            lambda route: route.fulfill(body=body, content_type="text/html; charset=utf-8"),
        )
        visitor.page.goto(f"{shop.url}/names/")
        return visitor

    return go


def test_there_are_200_different_names():
    assert len(set(NAMES)) == 200


@pytest.mark.parametrize("number", range(PAGES))
def test_hostile_names_change_no_element_and_arrive_equal_from_both_sides(
    rendered, open_page, sandbox, number
):
    pages, plain = rendered
    visitor = open_page(pages[number])
    first = number * len(FRAGMENTS)
    expected = {
        f"case {case}": build_custom_data("ViewContent", {"content_name": NAMES[case]})[0]
        for case in range(first, first + len(FRAGMENTS))
    }

    def declared():
        return [each for each in sandbox.events() if each["event_name"] == "ViewContent"]

    assert visitor.wait_until(
        lambda: [each["status"] for each in declared()] == ["deduplicated"] * len(expected),
        2 * PATIENCE,
    ), len(declared())

    page = visitor.page
    assert page.evaluate(TREE_OF_TEXT, pages[number].decode()) == page.evaluate(
        TREE_OF_TEXT, plain.decode()
    )
    shown = page.locator("main").evaluate(TREE)
    assert shown == [["SECTION"], ["H2"], ["SCRIPT", "type", "data-metapixel-event"], ["P"]] * len(
        expected
    )
    assert page.evaluate("window.ran") is None
    assert visitor.dialogs == []
    assert visitor.all_troubles() == []
    for event in declared():
        browser, server = (copy["custom_data"] for copy in event["copies"])
        assert browser == server
        assert event["differences"] == []
        assert event["counts"] == {"browser": 1, "server": 1}
    arrived = {
        copy["custom_data"]["content_category"]: copy["custom_data"].get("content_name")
        for event in declared()
        for copy in event["copies"]
    }
    assert arrived == {case: data.get("content_name") for case, data in expected.items()}


# What a request says


def ask(shop, path, headers=(), *, method="GET", body=None):
    """Ask with exactly these headers; returns the status, the body and the cookies that are set."""
    connection = http.client.HTTPConnection("127.0.0.1", shop.port, timeout=PATIENCE)
    try:
        named = {name.lower() for name, _value in headers}
        connection.putrequest(method, path, skip_host="host" in named, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get_all("Set-Cookie") or []
    finally:
        connection.close()


HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "{{ 7 }}{% debug %}",
    "javascript:alert(1)",
    "\\u003c/script\\u003e",
    "%00%0d%0aSet-Cookie:%20_fbp=evil",
    "fb.1.1700000000000.123<script>",
    "fb.1.1700000000000.",
    "fb.9999999999999999999.1.1",
    "x" * 3000,
    "\xe9\xff\x80",
)
COOKIES = ("_fbp", "_fbc", "metapixel_consent", "metapixel_e_evil", "metapixel_probe")
ODD_REQUESTS = [
    *[(f"cookie {name}", "", [("Cookie", f"{name}={{}}")]) for name in COOKIES],
    ("referrer", "", [("Referer", "https://evil.example/?{}")]),
    ("forwarded host", "", [("X-Forwarded-Host", "{}"), ("X-Forwarded-Proto", "{}")]),
    ("address", "", [("X-Forwarded-For", "{}"), ("User-Agent", "{}")]),
    ("wishes", "", [("Sec-GPC", "{}"), ("Sec-Purpose", "{}"), ("Accept-Language", "{}")]),
    ("htmx", "", [("HX-Current-URL", "http://127.0.0.1/{}")]),
    ("query", "?fbclid={}&utm_source={}", []),
]


@pytest.mark.parametrize(
    ("query", "headers"),
    [each[1:] for each in ODD_REQUESTS],
    ids=[each[0] for each in ODD_REQUESTS],
)
def test_hostile_requests_leave_the_page_byte_identical_and_reach_nothing(
    shop, sandbox, query, headers
):
    sandbox.clear()
    status, plain, _cookies = ask(shop, PRODUCT)
    assert status == 200
    assert b"metapixel-config" in plain
    for value in HOSTILE:
        told = [(name, text.replace("{}", value).encode("latin-1")) for name, text in headers]
        quoted = "".join(f"%{byte:02X}" for byte in value.encode("latin-1"))
        answer = ask(shop, PRODUCT + query.replace("{}", quoted), told)
        assert answer == (200, plain, [])
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "host",
    [
        '127.0.0.1"><script>alert(1)</script>',
        "127.0.0.1:80</script>",
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
    ],
)
def test_hostile_hosts_get_nothing_of_ours(shop, sandbox, host):
    sandbox.clear()
    for path in (PRODUCT, "/metapixel/collect/"):
        status, page, cookies = ask(shop, path, [("Host", host)])
        assert (status, cookies) == (400, [])
        assert b"metapixel-config" not in page
        assert host.partition("<")[1] == "" or host.encode() not in page
    assert sandbox.requests == []


def post_view(shop, cookies, **said):
    """Post what a browser posts of a view; ``cookies`` are (name, value)."""
    event = {"event_name": "Contact", "event_id": "0b3fb2f6-7a1e-4a0c-9a52-6d3c1f0e8d11"}
    body = json.dumps({"events": [event], "url": f"{shop.url}/", "pixel": "failed"} | said)
    cookie = "; ".join(f"{name}={value}" for name, value in cookies).encode("latin-1")
    headers = [
        ("Origin", shop.url),
        ("Content-Type", "text/plain"),
        ("Cookie", cookie),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ]
    return ask(shop, "/metapixel/collect/", headers, method="POST", body=body.encode())


GRANTED = ("metapixel_consent", "granted.0123456789abcdef")
FBP = "fb.0.1700000000000.123456789"
FBC = "fb.0.1700000000000.AnotherClick_1-x"


@pytest.mark.parametrize("where", ["cookie", "body"])
@pytest.mark.parametrize(
    ("kept", "hostile"), [(("_fbp", FBP), "_fbc"), (("_fbc", FBC), "_fbp")], ids=["_fbc", "_fbp"]
)
def test_hostile_ids_reach_neither_meta_nor_a_cookie(shop, sandbox, kept, hostile, where):
    for value in HOSTILE:
        sandbox.clear()
        in_cookie = [(hostile, value)] if where == "cookie" else []
        in_body = {hostile[1:]: value} if where == "body" else {}
        status, _page, cookies = post_view(shop, [GRANTED, kept, *in_cookie], **in_body)
        assert status == 204
        assert [line.split(";")[0] for line in cookies] == ["=".join(kept)]
        until(sandbox.events)
        (event,) = sandbox.events()
        (copy,) = event["copies"]
        assert copy["user_data"][kept[0][1:]] == kept[1]
        assert hostile[1:] not in copy["user_data"]


def test_hostile_consent_is_no_consent(shop, sandbox):
    sandbox.clear()
    words = ("GRANTED", "granted x", "granted%2Ex", '"granted', "true", "1", "grantedgranted")
    for value in (*HOSTILE, *words):
        cookies = [("metapixel_consent", value), ("_fbp", FBP), ("_fbc", FBC)]
        status, page, set_cookies = post_view(shop, cookies)
        assert (status, page, set_cookies) == (204, b"", [])
    # Had one of them been recorded, it would have been sent before this one.
    status, _page, _cookies = post_view(shop, [GRANTED, ("_fbp", FBP)])
    assert status == 204
    until(sandbox.events)
    assert sandbox.totals()["server"] == 1
