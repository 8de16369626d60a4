"""The playground in Chromium with a long history: how long an ask and an idle rerun take, how much memory grows."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import psutil
from playwright.sync_api import Page

from benchmarks.tables import Table
from lab.history import History
from lab.measurement import Measurement
from tests.e2e.app_page import by_key, open_page, wait_for_answer
from tests.e2e.conftest import NO_CHROMIUM, AppServer, find_chromium, launched_chromium, recorded_context

HISTORY_ROWS = 100_000
ROUNDS = 40
PROMPT = "Who was Carl Sagan?"
GOALS = {"ask a stored prompt": "≤ 300 ms", "rerun that changes no data": "≤ 150 ms"}

WATCH = """
() => {
  const watch = (window.bench = { began: null, ended: null });
  const seen = (change) => !change.target.parentElement?.closest("canvas");
  const note = (changes) => { if (watch.began !== null && changes.some(seen)) watch.ended = performance.now(); };
  const app = document.querySelector("[data-testid='stApp']");
  new MutationObserver(note).observe(app, { subtree: true, childList: true, characterData: true, attributes: true,
    attributeFilter: ["data-test-script-state", "data-stale"] });
  const begin = () => { watch.began = performance.now(); watch.ended = null; };
  window.addEventListener("keydown", (event) => { if (event.key === "Enter") begin(); }, { capture: true });
  window.addEventListener("click", begin, { capture: true });
  watch.settled = () => new Promise((resolve) => {
    const look = setInterval(() => {
      const still = watch.ended !== null && performance.now() - watch.ended > 300;
      if (still && app.getAttribute("data-test-script-state") === "notRunning") {
        clearInterval(look);
        resolve(watch.ended - watch.began);
      }
    }, 50);
  });
}
"""
"""From the key or click to the last change of the page that follows it, `notRunning` included.

The table's copy for screen readers, inside its canvas, does not count: the grid brings it up to date 100 ms later.
"""


def measure() -> list[Table]:
    """Ask and rerun in a real browser; medians."""
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit(NO_CHROMIUM)
    with tempfile.TemporaryDirectory() as folder:
        server = AppServer(Path(folder))
        server.data_dir.mkdir(parents=True)
        history = History(server.data_dir / "history.db")
        history.record_many(_measurements(HISTORY_ROWS))
        history.close()
        server.start()
        try:
            with launched_chromium(chromium) as browser:
                context = recorded_context(browser, viewport={"width": 1280, "height": 900})
                page = context.new_page()
                open_page(page, f"{server.url}/?strategy=sqlite")
                _ask(page)
                wait_for_answer(page)
                before = _resident_bytes(server)
                page.evaluate(WATCH)
                asks = _timed(page, _ask)
                reruns = _timed(page, _choose_strategy)
                grown = _resident_bytes(server) - before
        finally:
            server.stop()
    return [
        Table(
            "Playground in Chromium",
            f"{HISTORY_ROWS:,} requests in the history; {ROUNDS} rounds, from key or click to the page's last change.",
            ("what", "median ms", "slowest ms", "goal"),
            [
                (name, f"{statistics.median(times_ms):.0f}", f"{max(times_ms):.0f}", GOALS[name])
                for name, times_ms in zip(GOALS, (asks, reruns), strict=True)
            ],
        ),
        Table(
            "Memory of the server",
            f"Resident memory after the first answer, and after {2 * ROUNDS} interactions more.",
            ("before MB", "growth MB", "goal"),
            [(f"{before / 1e6:.0f}", f"{grown / 1e6:.1f}", "< 200")],
        ),
    ]


def _ask(page: Page, number: int = 0) -> None:
    box = by_key(page, "prompt").locator("textarea")
    box.fill(PROMPT)
    box.press("Enter")


def _choose_strategy(page: Page, number: int) -> None:
    by_key(page, "strategy").get_by_text(("Memory", "SQLite")[number % 2], exact=True).click()


def _timed(page: Page, act: Callable[[Page, int], None]) -> list[float]:
    times_ms = []
    for number in range(ROUNDS):
        act(page, number)
        times_ms.append(float(page.evaluate("() => window.bench.settled()")))
    return times_ms


def _resident_bytes(server: AppServer) -> int:
    assert server.process is not None
    root = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])


def _measurements(rows: int) -> Iterator[Measurement]:
    """A plausible history: four strategies, three hits in four, log-spread latencies."""
    now = time()
    for number in range(rows):
        hit = number % 4 != 0
        yield Measurement(
            asked_at=now - (rows - number),
            scope="shared",
            strategy=("memory", "sqlite", "json", "langchain-sqlite")[number % 7 % 4],
            model="simulated",
            simulated=True,
            prompt=f"Question {number % 5000}",
            temperature=0.7,
            outcome="hit" if hit else "miss",
            total_s=(0.0005 if hit else 1.5) * (1 + number % 97 / 50),
            lookup_s=0.00003 * (1 + number % 13),
            model_s=None if hit else 1.4 * (1 + number % 97 / 50),
            store_s=None if hit else 0.0001,
            saved_s=1.4 if hit else None,
            saved_usd=0.00005 if hit else None,
            cost_usd=0.0 if hit else 0.00005,
            stored=not hit,
            key=f"{number % 5000:064x}",
        )
