"""All that a page can reach: the shop, the bank, and the sandbox under Meta's real host names.

The browser asks ``https://connect.facebook.net`` and ``https://www.facebook.com``, so that the
Content Security Policy is tested as in life, and the sandbox on this machine answers.
"""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

META_HOSTS = ("connect.facebook.net", "www.facebook.com")
_OF_THE_CONNECTION = {"connection", "content-length", "transfer-encoding", "date", "server"}


class Internet:
    """What one browser context is connected to.

    ``origins`` are let through. Meta's hosts are answered by the sandbox, save those ``blocked``,
    as an ad blocker would. All else is refused and noted in ``unexpected``.
    """

    def __init__(self, context, sandbox, origins, *, blocked=()):
        self.asked = []
        """Every address of Meta's that a page asked for, in order."""
        self.unexpected = []
        self._sandbox = urlsplit(sandbox.url).netloc
        self._origins = {urlsplit(origin)[:2] for origin in origins}
        self._blocked = blocked
        context.route(self._is_beyond, self._answer)

    def _is_beyond(self, url):
        return urlsplit(url)[:2] not in self._origins

    def _answer(self, route):
        url = urlsplit(route.request.url)
        if url.scheme != "https" or url.netloc not in META_HOSTS:
            self.unexpected.append(f"{route.request.method} {url.scheme}://{url.netloc}{url.path}")
            route.abort()
            return
        self.asked.append(route.request.url)
        if url.netloc in self._blocked:
            route.abort("blockedbyclient")
        else:
            status, headers, body = self._ask_sandbox(route.request, url)
            route.fulfill(status=status, headers=headers, body=body)

    def _ask_sandbox(self, request, url):
        connection = http.client.HTTPConnection(self._sandbox, timeout=10)
        target = f"{url.path}?{url.query}" if url.query else url.path
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in _OF_THE_CONNECTION and not name.startswith(":")
        }
        try:
            connection.request(request.method, target, request.post_data_buffer, headers)
            answer = connection.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in _OF_THE_CONNECTION}
            return answer.status, kept, answer.read()
        finally:
            connection.close()
