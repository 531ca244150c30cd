from __future__ import annotations

import json
import socket
import threading
import time

import pytest
import requests

from tests.sandbox.samples import PIXEL, TOKEN, an_event
from wagtail_metapixel.sandbox import server
from wagtail_metapixel.sandbox.server import SandboxServer, is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "", "shop.example"])
def test_only_this_machine_can_reach_it(host):
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="loopback"):
        SandboxServer(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_every_address_of_this_machine_will_do(host):
    assert is_loopback(host)
    SandboxServer(host)


def test_a_taken_port_is_an_os_error(sandbox):
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=sandbox.port).start()


def test_it_can_be_stopped_and_started_again(client):
    client.server()
    client.sandbox.stop()
    client.sandbox.stop()
    with pytest.raises(requests.ConnectionError):
        client.server()
    with client.sandbox:
        client.server(event_id="id-2")
    assert len(client.sandbox.events()) == 2


def test_starting_twice_is_starting_once(sandbox):
    port = sandbox.port
    sandbox.start()
    assert sandbox.port == port


def test_one_connection_serves_many_requests(client):
    for _ in range(3):
        client.server()
        client.browser()
    client.graph()
    assert len({request.client for request in client.sandbox.requests}) == 1


def test_stopping_closes_kept_alive_connections(sandbox):
    with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
        connection.sendall(b"GET /tr/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)
        sandbox.stop()
        assert connection.recv(65536) == b""


def test_many_shops_at_once_lose_nothing(sandbox):
    def shop(number):
        with requests.Session() as session:
            for event in range(10):
                body = {
                    "data": [an_event(event_time=int(time.time()), event_id=f"{number}-{event}")]
                }
                session.post(
                    f"{sandbox.url}/v26.0/{PIXEL}/events?access_token={TOKEN}", json=body
                ).raise_for_status()

    threads = [threading.Thread(target=shop, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.totals()["events"] == 80


def test_requests_are_kept_with_what_a_test_wants_to_know(client):
    client.server()
    [request] = client.sandbox.requests
    assert (request.method, request.path) == ("POST", f"/v26.0/{PIXEL}/events")
    assert (request.query, request.status) == ("", 200)
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.params["data"][0]["event_name"] == "Contact"
    assert abs(request.received - time.time()) < 60


def test_the_calls_of_the_live_page_are_not_kept(client):
    client.session.get(client.sandbox.url + "/")
    client.session.get(client.sandbox.url + "/api/events")
    assert client.sandbox.requests == []


def test_the_log_of_requests_is_bounded(client, monkeypatch):
    monkeypatch.setattr(server, "MAX_REQUESTS", 2)
    for _ in range(3):
        client.server()
    assert len(client.sandbox.requests) == 2
    monkeypatch.setattr(server, "MAX_LOGGED", 10)
    client.server()
    assert client.sandbox.requests == []


def test_clearing_forgets_everything_but_the_fault(client):
    client.sandbox.misbehave("slow", seconds=0)
    client.server()
    client.sandbox.clear()
    assert client.sandbox.events() == client.sandbox.requests == []
    assert client.sandbox.misbehaviour is not None


def test_every_copy_and_every_refusal_is_announced():
    events, rejections = [], []
    with (
        SandboxServer(on_event=events.append, on_rejection=rejections.append) as sandbox,
        requests.Session() as session,
    ):
        graph = f"{sandbox.url}/v26.0/{PIXEL}/events?access_token=x"
        session.get(f"{sandbox.url}/tr/", params={"id": PIXEL, "ev": "Contact", "eid": "id-1"})
        session.post(graph, json={"data": [an_event(event_time=int(time.time()))]})
        session.post(graph, json={"data": [an_event(event_time=1)]})
    assert [event["status"] for event in events] == ["browser", "deduplicated"]
    assert [rejection["error"]["error_subcode"] for rejection in rejections] == [2804003]


def test_an_event_is_described_as_documented(client):
    client.browser()
    client.server()
    [event] = client.sandbox.events()
    assert event.keys() == {
        "id", "sequence", "pixel", "event_name", "event_id", "status", "matched_by", "received",
        "kept", "kept_copy", "counts", "lacking", "differences", "diagnostics", "copies",
    }  # fmt: skip
    assert event["copies"][0].keys() == {
        "channel", "pixel", "event_name", "event_id", "received", "event_time", "method",
        "action_source", "event_source_url", "referrer_url", "custom_data", "user_data",
        "match_keys", "unhashed", "data_processing_options", "test_event_code", "agent",
    }  # fmt: skip
    json.dumps(event)


# Plain HTTP


def raw(sandbox, text):
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=30) as connection:
        connection.sendall(text)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_a_body_without_a_length_is_refused(sandbox):
    text = b"POST /tr/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert raw(sandbox, text).startswith(b"HTTP/1.1 411")


def test_a_body_that_is_too_large_is_refused(sandbox):
    text = b"POST /tr/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    assert raw(sandbox, text).startswith(b"HTTP/1.1 413")


def test_a_sender_that_hangs_up_in_the_middle_is_no_event(sandbox):
    with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
        connection.sendall(b"POST /tr/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nid=1")
    sandbox.stop()
    assert sandbox.requests == []


def test_unknown_addresses_answer_in_metas_shape(client):
    answer = client.session.get(client.sandbox.url + "/what/is/this")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2500)


# Scripts and page


def test_the_script_may_be_loaded_from_any_page(client):
    answer = client.session.get(client.sandbox.url + "/en_US/fbevents.js")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "callMethod" in answer.text


def test_the_configuration_of_a_pixel_is_an_empty_script(client):
    answer = client.session.get(f"{client.sandbox.url}/signals/config/{PIXEL}?v=2.9")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.text.strip() == "/* nothing to configure */"


PAGE = ["/", "/live/page.css", "/live/page.js", "/live/records.js", "/live/icon.svg"]


@pytest.mark.parametrize("path", PAGE)
def test_the_page_allows_no_inline_script_and_nothing_foreign(client, path):
    answer = client.session.get(client.sandbox.url + path)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "https://" not in answer.text.replace("https://www.w3.org", "")


def test_the_page_reads_no_other_file(client):
    for path in ("/live/../server.py", "/live/fbevents.js", "/live/", "/server.py"):
        assert client.session.get(client.sandbox.url + path).status_code != 200


@pytest.mark.parametrize("path", ["/", "/api/events", "/api/stream"])
def test_a_page_that_took_over_a_name_reads_nothing(client, path):
    headers = {"Host": "evil.example:8001"}
    assert client.session.get(client.sandbox.url + path, headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/api/clear", "/api/misbehave"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_page_presses_no_button(client, path, origin):
    client.server()
    headers = {"Origin": origin}
    answer = client.session.post(client.sandbox.url + path, headers=headers, json={"mode": "500"})
    assert answer.status_code == 403
    assert len(client.sandbox.events()) == 1
    assert client.sandbox.misbehaviour is None


def test_the_api_tells_everything(client):
    client.server()
    client.graph()
    facts = client.session.get(client.sandbox.url + "/api/events").json()
    assert [event["event_name"] for event in facts["events"]] == ["Contact"]
    assert len(facts["rejections"]) == 1
    assert facts["totals"] == {"browser": 0, "server": 1, "events": 1, "rejected": 1}
    assert facts["misbehaviour"] is None


def test_the_api_clears(client):
    client.server()
    origin = {"Origin": client.sandbox.url}
    assert client.session.post(client.sandbox.url + "/api/clear", headers=origin).status_code == 204
    assert client.sandbox.events() == []


def messages(stream):
    """The server-sent events of a response, as (name, value)."""
    name = ""
    for line in stream.iter_lines(chunk_size=1):
        text = line.decode()
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield name, json.loads(text.removeprefix("data: "))


def test_the_stream_tells_what_is_there_then_what_comes_then_what_was_cleared(client):
    client.server(event_id="before")
    with requests.get(client.sandbox.url + "/api/stream", stream=True, timeout=30) as stream:
        told = messages(stream)
        name, value = next(told)
        assert (name, [e["event_id"] for e in value["events"]]) == ("snapshot", ["before"])
        client.server(event_id="after")
        name, value = next(told)
        assert (name, [e["event_id"] for e in value["events"]]) == ("changes", ["after"])
        client.sandbox.misbehave("500")
        assert next(told)[1]["misbehaviour"]["mode"] == "500"
        client.sandbox.clear()
        assert next(told)[0] == "snapshot"
        client.sandbox.stop()
        assert list(told) == []
