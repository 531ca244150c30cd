"""How long our scripts keep a page's main thread at a time, in Chromium's own trace.

The example shop as a process of its own, the sandbox in Meta's place, and visitors whose browsers
hold nothing yet: each load has a context of its own, so that every script is fetched,
compiled and run for the first time.

A task counts with what our files did in it: their evaluation, and each call from outside into one
of their functions, with all that it called. What goes on after a promise bears no file's name in a
trace: where no other file ran in the task, it counts as ours too. So the figures are upper bounds.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks import devtools

EXAMPLE_SITE = Path(__file__).resolve().parents[1] / "example_site"

LOADS = 10
THROTTLES = (1, 4)
"""A machine as it is, and one with a quarter of its speed: a middling telephone."""
SETTLED = 0.3
"""Seconds after the post of the page events until a page is taken to be done."""
PATIENCE = 15
COLLECTED = """location.href !== 'about:blank' && performance.getEntriesByType('resource')
    .some(({ name, responseEnd }) => name.endsWith('/collect/') && responseEnd)"""
CATEGORIES = ["toplevel", "v8.execute", "devtools.timeline"]
TASKS = "ThreadControllerImpl::RunTask"
SCRIPTS = frozenset({"EvaluateScript", "FunctionCall"})
MICROTASKS = "RunMicrotasks"
OURS = "/wagtail_metapixel/"

Page = Callable[..., dict[str, Any]]
"""Sends a command to one page."""


class Slice(NamedTuple):
    """One stretch of the trace, in microseconds."""

    name: str
    begin: float
    end: float
    cpu: float
    url: str


class Task(NamedTuple):
    """What our scripts did in one task, in milliseconds."""

    wall: float
    cpu: float
    longest: str
    """The file that took most of it."""


def report() -> Iterator[str]:
    """Measure, and return the lines to print."""
    if not os.environ.get("METAPIXEL_CHROMIUM"):
        yield "Main thread: left out, METAPIXEL_CHROMIUM does not name a browser"
        return
    yield f"Main thread: the longest task of our scripts, {LOADS} loads each, milliseconds"
    yield f"  {'':<42}    CPU: median   worst   in           clock: median   worst"
    for scene, throttle, loads in measure():
        busiest = [max(tasks, key=lambda task: task.cpu) for tasks in loads]
        worst = max(busiest, key=lambda task: task.cpu)
        clock = [max(task.wall for task in tasks) for tasks in loads]
        yield (
            f"  {scene:<33} CPU / {throttle}       "
            f"{statistics.median(task.cpu for task in busiest):6.2f}  {worst.cpu:6.2f}   "
            f"{worst.longest:<20}  {statistics.median(clock):6.2f}  {max(clock):6.2f}"
        )


def measure() -> Iterator[tuple[str, int, list[list[Task]]]]:
    """Return the tasks of our scripts in each load, by scene and throttle."""
    sys.path.insert(0, str(EXAMPLE_SITE))
    from walking import chromium, processes

    with ExitStack() as stack:
        folder = stack.enter_context(processes.temporary_folder())
        sandbox = stack.enter_context(processes.sandbox_server())
        shop = processes.Shop(
            port=processes.free_port(),
            database=str(folder / "shop.sqlite3"),
            sandbox=sandbox.url,
            log=folder / "shop.log",
            options={"EXAMPLE_WEBHOOK_DELAY": "0"},
        )
        shop.prepare()
        stack.enter_context(shop)
        bought = buy(shop, sandbox)
        arguments = [*chromium.ARGUMENTS, "--no-sandbox"]
        browser = devtools.launched(chromium.find(), arguments, str(folder / "profile"))
        visits = Visits(stack.enter_context(browser), bought, shop.database)
        for throttle in THROTTLES:
            for scene, once in visits.scenes().items():
                yield scene, throttle, [once(throttle) for _ in range(LOADS)]


class Bought(NamedTuple):
    """What a shopper leaves behind."""

    product: str
    thanks: str
    cookies: list[dict[str, Any]]


def buy(shop: Any, sandbox: Any) -> Bought:
    """Walk to the thank-you page, with a grant on the way."""
    from walking import chromium
    from walking.internet import Internet
    from walking.shopper import Shopper

    with chromium.launched() as browser:
        context = browser.new_context()
        internet = Internet(context, sandbox, (shop.url, shop.bank, sandbox.url))
        shopper = Shopper(context, shop, sandbox, internet)
        shopper.arrive()
        shopper.open_product()
        product = shopper.page.url
        shopper.accept()
        shopper.go_to_the_bank()
        shopper.pay()
        shopper.return_to_shop()
        kept = ("name", "value", "domain", "path", "httpOnly", "secure", "sameSite")
        cookies = [{name: each[name] for name in kept} for each in context.cookies()]
        return Bought(product, shopper.page.url, cookies)


class Visits:
    """Loads of pages in browsers that hold nothing but cookies."""

    def __init__(self, browser: devtools.Browser, bought: Bought, database: str) -> None:
        self._browser, self._bought, self._database = browser, bought, database

    def scenes(self) -> dict[str, Callable[[int], list[Task]]]:
        """Return what is measured, by its name. Each is called with a throttle."""
        return {
            "product page, consent given": self._product,
            "a click on Accept": self._accept,
            "thank-you page with its Purchase": self._thanks,
        }

    def _product(self, throttle: int) -> list[Task]:
        with self._page(throttle, self._bought.cookies) as page, self._traced(page) as tasks:
            page("Page.navigate", url=self._bought.product)
        return tasks

    def _thanks(self, throttle: int) -> list[Task]:
        # The server tells it once: as if nobody had asked yet.
        with closing(sqlite3.connect(self._database)) as connection, connection:
            connection.execute("DELETE FROM wagtail_metapixel_answeredticket")
        with self._page(throttle, self._bought.cookies) as page, self._traced(page) as tasks:
            page("Page.navigate", url=self._bought.thanks)
        return tasks

    def _accept(self, throttle: int) -> list[Task]:
        with self._page(throttle, []) as page:
            page("Page.navigate", url=self._bought.product)
            _until(page, "document.readyState === 'complete'")
            time.sleep(SETTLED)
            with self._traced(page) as tasks:
                click = "document.querySelector('[data-walk=consent-accept]').click()"
                page("Runtime.evaluate", expression=click)
        return tasks

    @contextmanager
    def _page(self, throttle: int, cookies: list[dict[str, Any]]) -> Iterator[Page]:
        send = self._browser.send
        context = send("Target.createBrowserContext")["browserContextId"]
        send("Storage.setCookies", cookies=cookies, browserContextId=context)
        target = send("Target.createTarget", url="about:blank", browserContextId=context)
        attached = send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = partial(send, session=attached["sessionId"])
        page("Emulation.setCPUThrottlingRate", rate=throttle)
        yield page
        send("Target.disposeBrowserContext", browserContextId=context)

    @contextmanager
    def _traced(self, page: Page) -> Iterator[list[Task]]:
        self._browser.events.clear()
        self._browser.send(
            "Tracing.start",
            transferMode="ReportEvents",
            traceConfig={"includedCategories": CATEGORIES},
        )
        tasks: list[Task] = []
        yield tasks
        _until(page, COLLECTED)
        time.sleep(SETTLED)
        self._browser.send("Tracing.end")
        trace: list[dict[str, Any]] = []
        for event in self._browser.wait_for("Tracing.tracingComplete"):
            if event["method"] == "Tracing.dataCollected":
                trace += event["params"]["value"]
        tasks += our_tasks(trace)


def _until(page: Page, true: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while page("Runtime.evaluate", expression=true)["result"].get("value") is not True:
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {true}")
        time.sleep(0.05)


# What a trace says


def our_tasks(trace: Iterable[dict[str, Any]]) -> list[Task]:
    """Return the tasks of the page's main thread in which our scripts ran."""
    threads = main_threads(trace := list(trace))
    found = []
    for thread in threads:
        slices = [_slice(event) for event in trace if _is_slice(event, thread)]
        tasks = [each for each in slices if each.name == TASKS]
        parts = sorted((each for each in slices if each.name != TASKS), key=lambda each: each.begin)
        for task in tasks:
            inside = [part for part in parts if task.begin <= part.begin < task.end]
            ours = list(_ours(inside))
            if ours:
                longest = max(ours, key=lambda each: each.end - each.begin)
                wall = sum(each.end - each.begin for each in ours) / 1000
                name = longest.url.rsplit("/", 1)[-1] or "after a promise"
                found.append(Task(wall, sum(each.cpu for each in ours) / 1000, name))
    return found


def main_threads(trace: Iterable[dict[str, Any]]) -> set[tuple[int, int]]:
    """Return process and thread of each page's main thread."""
    return {
        (event["pid"], event["tid"])
        for event in trace
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }


def _is_slice(event: dict[str, Any], thread: tuple[int, int]) -> bool:
    wanted = event["name"] in SCRIPTS or event["name"] in {TASKS, MICROTASKS}
    return wanted and event.get("ph") == "X" and (event["pid"], event["tid"]) == thread


def _slice(event: dict[str, Any]) -> Slice:
    data = event.get("args", {}).get("data", {})
    begin, lasted = event["ts"], event.get("dur", 0)
    url = urlsplit(data.get("url", "")).path
    return Slice(event["name"], begin, begin + lasted, event.get("tdur", 0), url)


def _ours(parts: list[Slice]) -> Iterator[Slice]:
    others = any(part.url and OURS not in part.url for part in parts)
    end = 0.0
    for part in parts:
        mine = OURS in part.url or (part.name == MICROTASKS and not others)
        if mine and part.begin >= end:
            end = part.end
            yield part
