"""What a test does with a page of the app: wait, find, ask, and look at what the page requested and logged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from playwright.sync_api import ConsoleMessage, Locator, Page, WebSocket, expect

QUIET_MS = 150
"""How long the app must have been still. Between two runs that follow each other it is still for a moment."""

TRACK_RUNS = """
(() => {
  // Streamlit's page says "running" only when the server has answered. On a busy machine a click would look
  // finished before it began, so note when a run was asked for and not yet answered.
  const RERUN_SCRIPT = (11 << 3) | 2;  // first byte of that message: protobuf field 11, of BackMsg
  window.llmLabRunsUnanswered = 0;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (data instanceof Uint8Array && data[0] === RERUN_SCRIPT) {
      window.llmLabRunsUnanswered += 1;
      let open = true;
      const answered = () => { if (open) { open = false; window.llmLabRunsUnanswered -= 1; } };
      this.addEventListener("message", answered, { once: true });
      this.addEventListener("close", answered, { once: true });
    }
    return send.call(this, data);
  };
})();
"""
"""Script for every new page of a browser context; `wait_for_idle` reads what it writes."""

_IDLE_FOR = """
([call, quietMs]) => {
  const app = document.querySelector(
    "[data-testid='stApp'][data-test-connection-state='CONNECTED'][data-test-script-state='notRunning']");
  const watch = window.llmLabWatch?.call === call ? window.llmLabWatch : (window.llmLabWatch = { call, since: null });
  if (!app || window.llmLabRunsUnanswered > 0) { watch.since = null; return false; }
  watch.since ??= performance.now();
  return performance.now() - watch.since >= quietMs;
}
"""

_DRAWN = """
() => {
  const visible = (id) => [...document.querySelectorAll(`[data-testid='${id}']`)].filter((e) => e.checkVisibility());
  return visible("stSkeleton").length === 0 && document.fonts.status === "loaded" &&
    [...visible("stVegaLiteChart"), ...visible("stDataFrame")].every((e) => e.querySelector("canvas, svg"));
}
"""

_calls = count()


@dataclass
class PageRecord:
    """What one page did since it was opened."""

    requests: list[str] = field(default_factory=list)
    """Every URL it asked for, web sockets too."""
    console_errors: list[str] = field(default_factory=list)
    """Text and place of each error in the browser's console."""
    page_errors: list[str] = field(default_factory=list)
    """Exceptions that no script caught."""


_records: WeakKeyDictionary[Page, PageRecord] = WeakKeyDictionary()


def start_record(page: Page) -> None:
    """Begin to record what `page` requests and logs. Call it before the page goes anywhere."""
    record = _records[page] = PageRecord()

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            record.console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    def on_websocket(socket: WebSocket) -> None:
        record.requests.append(socket.url)

    page.on("request", lambda request: record.requests.append(request.url))
    page.on("websocket", on_websocket)
    page.on("console", on_console)
    page.on("pageerror", lambda error: record.page_errors.append(str(error)))


def record_of(page: Page) -> PageRecord:
    """Return what was recorded of `page` so far."""
    return _records[page]


def requests_outside(page: Page, base_url: str) -> list[str]:
    """Return the URLs that `page` asked for on another host or port than `base_url`."""
    home = urlsplit(base_url).netloc
    urls = (urlsplit(url) for url in record_of(page).requests)
    return [url.geturl() for url in urls if url.scheme in {"http", "https", "ws", "wss"} and url.netloc != home]


def errors_of(page: Page) -> list[str]:
    """Return the console's errors and the uncaught exceptions, without Streamlit's own probes.

    On a path below the root (`/guide`) Streamlit looks for its server there first and logs two 404s.
    """
    record = record_of(page)
    probes = ("/_stcore/health)", "/_stcore/host-config)")
    logged = [text for text in record.console_errors if not ("404" in text and text.endswith(probes))]
    return logged + record.page_errors


def wait_for_idle(page: Page, timeout_s: float = 30) -> None:
    """Wait until the app is connected, runs nothing, and owes no answer to anything the page sent.

    Works right after a click, before the run has begun. A job in a thread of its own is not a run: for its result,
    wait for what it puts on the page.
    """
    page.wait_for_function(_IDLE_FOR, arg=[next(_calls), QUIET_MS], timeout=timeout_s * 1000)


def wait_until_drawn(page: Page, timeout_s: float = 30) -> None:
    """Wait until the app is idle and all that it sent is on the page: the code of a kind of element loads late."""
    wait_for_idle(page, timeout_s)
    page.wait_for_function(_DRAWN, timeout=timeout_s * 1000)


def open_page(page: Page, url: str, timeout_s: float = 30) -> None:
    """Go to `url` and wait until it is drawn."""
    page.goto(url, wait_until="domcontentloaded", timeout=timeout_s * 1000)
    wait_until_drawn(page, timeout_s)


def by_key(page: Page, key: str) -> Locator:
    """Find the element or container with this Streamlit `key`."""
    return page.locator(".st-key-" + re.sub(r"[^a-zA-Z0-9_-]", "-", key))


def ask(page: Page, prompt: str, timeout_s: float = 30) -> None:
    """Type `prompt` and press Enter; return when the page has taken it (the answer may still be on its way)."""
    box = by_key(page, "prompt").locator("textarea")
    box.fill(prompt, timeout=timeout_s * 1000)
    box.press("Enter")
    expect(box).to_have_value("", timeout=timeout_s * 1000)


def wait_for_answer(page: Page, timeout_s: float = 30) -> None:
    """Wait until the answer that was asked for last is complete, or has failed, and the page shows so."""
    wait_for_idle(page, timeout_s)
    expect(by_key(page, "outcome_running")).to_have_count(0, timeout=timeout_s * 1000)
    wait_for_idle(page, timeout_s)


def expect_no_exception(page: Page) -> None:
    """Fail, with its text, when the page shows an exception."""
    shown = page.get_by_test_id("stException")
    assert shown.count() == 0, f"{page.url} shows an exception: {shown.all_inner_texts()}"
