from __future__ import annotations

import gzip

import pytest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import RequestFactory

from wagtail_metapixel import counters, injection

PAGE = b"<!doctype html><html><head><title>Tea</title></head><body></body></html>"
MARKUP = "<script></script>"


def unasked():
    pytest.fail("The markup was asked for.")


def injected(content=PAGE, markup=MARKUP, **headers):
    response = HttpResponse(content, headers=headers)
    assert injection.inject(response, lambda: markup)
    return response


# Where


def test_the_markup_stands_where_the_head_ends():
    assert injected().content == (
        b"<!doctype html><html><head><title>Tea</title><script></script>\n</head><body></body></html>"
    )


@pytest.mark.parametrize("end", [b"</HEAD>", b"</Head >", b"</head\n>"])
def test_the_end_of_the_head_may_be_written_in_any_way(end):
    assert injected(b"<head>" + end).content == b"<head><script></script>\n" + end


def test_the_first_end_of_a_head_counts():
    content = b"<head></head><template><head></head></template>"
    assert injected(content).content.startswith(b"<head><script></script>\n</head>")


@pytest.mark.parametrize("content", [b"\xff\xfe</head>\x00\xe4", "käse</head>ß".encode("latin-1")])
def test_other_bytes_stay_as_they_are_whatever_their_charset(content):
    response = injected(content, **{"Content-Type": "text/html; charset=x-unheard-of"})
    assert response.content.replace(b"<script></script>\n", b"") == content


def test_a_text_that_is_not_ascii_goes_in_the_charset_of_the_page():
    response = injected(markup="Käse", **{"Content-Type": "text/html; charset=latin-1"})
    assert "Käse\n</head>".encode("latin-1") in response.content


# Where not


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(PAGE, status=404),
        HttpResponse(PAGE, status=500),
        HttpResponse(PAGE, status=206),
        HttpResponse(PAGE, content_type="application/xhtml+xml"),
        HttpResponse(PAGE, content_type="text/plain"),
        HttpResponse(PAGE, content_type=""),
        HttpResponse(PAGE, headers={"Content-Disposition": "attachment; filename=a.html"}),
        HttpResponse(b"<div>a fragment</div>"),
        HttpResponse(b""),
        HttpResponse("<html><head></head></html>".encode("utf-16")),
        JsonResponse({"html": "</head>"}),
        StreamingHttpResponse(iter([PAGE])),
    ],
    ids=lambda response: f"{response.status_code} {response.get('Content-Type')}",
)
def test_anything_but_a_whole_html_page_stays_as_it_is(response):
    stream = iter(response.streaming_content) if response.streaming else None
    before = None if stream else response.content
    assert not injection.inject(response, unasked)
    assert b"".join(stream) == PAGE if stream else response.content == before
    assert not counters.waiting()


def test_a_compressed_page_stays_as_it_is_and_the_doctor_hears_of_it():
    response = HttpResponse(gzip.compress(PAGE), headers={"Content-Encoding": "gzip"})
    assert not injection.inject(response, unasked)
    assert gzip.decompress(response.content) == PAGE
    assert [item.reason for item in counters.waiting()] == [injection.COMPRESSED]


def test_nothing_to_say_changes_nothing():
    response = HttpResponse(PAGE, headers={"ETag": '"a"', "Content-Length": "1"})
    assert not injection.inject(response, str)
    assert (response.content, response["ETag"], response["Content-Length"]) == (PAGE, '"a"', "1")


# What the headers say of the bytes


def test_a_length_is_corrected_and_none_is_added():
    response = injected(**{"Content-Length": str(len(PAGE))})
    assert response["Content-Length"] == str(len(response.content))
    assert "Content-Length" not in injected()


def test_the_name_of_the_bytes_changes_with_both_of_their_parts():
    names = [
        injected(ETag='"a"')["ETag"],
        injected(ETag='"b"')["ETag"],
        injected(ETag='"a"', markup="<b>")["ETag"],
        injected(ETag='W/"a"')["ETag"],
        '"a"',
    ]
    assert len(set(names)) == len(names)
    assert injected(ETag='"a"')["ETag"] == names[0]
    assert names[3].startswith('W/"')
    assert "ETag" not in injected()


@pytest.mark.parametrize(
    ("asked", "status"), [("", 200), ('"a"', 304), ('W/"a"', 304), ('"b"', 200), ("*", 304)]
)
def test_a_browser_that_holds_these_bytes_is_told_so(asked, status):
    request = RequestFactory().get("/", headers={"If-None-Match": asked} if asked else {})
    response = HttpResponse(PAGE, headers={"ETag": '"a"'})
    assert injection.not_modified(request, response).status_code == status


def test_bytes_without_a_name_are_sent():
    request = RequestFactory().get("/", headers={"If-None-Match": "*"})
    response = HttpResponse(PAGE)
    assert injection.not_modified(request, response) is response


# The setting


@pytest.mark.parametrize(
    ("value", "expected"),
    [({}, False), ({"INJECT": True}, True), ({"INJECT": "yes"}, False), ("yes", False)],
    ids=str,
)
def test_it_is_on_where_the_deployment_says_so_in_so_many_words(settings, value, expected):
    settings.WAGTAIL_METAPIXEL = value
    assert injection.is_on() is expected


@pytest.mark.parametrize(
    "hides_it",
    [
        b'<meta content="you searched </head><img src=x onerror=alert(1)>">',
        b"<meta content='a > b </head>'>",
        b'<META CONTENT="</HEAD>">',
        b"<!-- </head> -->",
        b'<script>var text = "</head>"; // <!-- </script>',
        b"<style>a::after { content: '</head>' }</style>",
        b"<title>How to write </head></title>",
        b'<a\ntitle="\n</head>\n">',
    ],
)
def test_an_end_of_the_head_that_is_only_written_about_is_passed_over(hides_it):
    page = b"<html><head>" + hides_it + b"</head><body></body></html>"
    response = HttpResponse(page)
    assert injection.inject(response, lambda: "<b>ours</b>")
    assert (
        response.content
        == page[: len(b"<html><head>" + hides_it)]
        + b"<b>ours</b>\n"
        + page[len(b"<html><head>" + hides_it) :]
    )


@pytest.mark.parametrize("open_end", [b'<meta content="', b"<!--", b"<script>", b"<title>"])
def test_a_page_whose_head_never_ends_stays_as_it_is(open_end):
    response = HttpResponse(b"<html><head>" + open_end + b"</head><body></body></html>")
    assert not injection.inject(response, unasked)
