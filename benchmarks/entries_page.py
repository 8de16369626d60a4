"""The entries page in Chromium with very many entries: how long each step takes, and what it costs others."""

from __future__ import annotations

import http.client
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Page

from benchmarks import payload
from benchmarks.many_entries import FREQUENT, RARE
from benchmarks.million import DESCRIPTION, NAMESPACE, make_json, make_sqlite
from benchmarks.page import WATCH
from benchmarks.tables import Goal, Table, goals_table
from cache_backends import CacheBackend, JSONFileCache, SQLiteCache
from tests.e2e.app_page import by_key, open_page, wait_until_drawn
from tests.e2e.conftest import NO_CHROMIUM, AppServer, find_chromium, launched_chromium, recorded_context

SQLITE_ENTRIES, JSON_ENTRIES = 1_000_000, 100_000
ROUNDS, PAGES, WINDOWS, WINDOW_S = 7, 300, 6, 4.0
MODEL = "gpt-4o-mini-2"
PACE_S = 0.002
NOBODY, THIS_STORE, ANOTHER_STORE, BETWEEN, ENDED = range(5)
"""What happens meanwhile, as the process that stores is told."""
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Built:
    """How an index was made."""

    seconds: float
    index_bytes: int
    store_bytes: int
    again_s: float
    """Bringing it up to date once more after one store."""


def measure() -> list[Table]:
    """SQLite with a million entries, JSON files with a hundred thousand."""
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit(NO_CHROMIUM)
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        server = AppServer(Path(folder))
        server.data_dir.mkdir(parents=True)
        sqlite, json_folder = server.data_dir / "cache.db", server.data_dir / "answers"
        make_sqlite(sqlite, SQLITE_ENTRIES)
        make_json(json_folder, JSON_ENTRIES)
        built = {
            "SQLite": _build(SQLiteCache(sqlite, namespace=NAMESPACE), [sqlite], "cache.db.browse"),
            "JSON files": _build(JSONFileCache(json_folder, namespace=NAMESPACE), [json_folder], "browse-index.db"),
        }
        server.start()
        try:
            with launched_chromium(chromium) as browser:
                context = recorded_context(browser, viewport={"width": 1280, "height": 900})
                page = context.new_page()
                for strategy, title, entries in (
                    ("sqlite", "SQLite", SQLITE_ENTRIES),
                    ("json", "JSON files", JSON_ENTRIES),
                ):
                    tables.append(_steps(page, server, strategy, title, entries))
                tables.append(_others(page, server, sqlite))
                tables.append(_memory(page, server))
        finally:
            server.stop()
    return [_index_table(built), *tables]


def _build(cache: CacheBackend, store: list[Path], index_name: str) -> Built:
    with cache:
        began = time.perf_counter()
        cache.bring_up_to_date()
        seconds = time.perf_counter() - began
        cache.update("one more", payload.LLM_STRING, payload.answer(0))
        began = time.perf_counter()
        cache.bring_up_to_date()
        again_s = time.perf_counter() - began
        cache.delete(cache.entries(search="one more", up_to_date=False, limit=1).entries[0].key)
        cache.bring_up_to_date()
    files = [file for path in store for file in ([path] if path.is_file() else path.rglob("*.json"))]
    folder = store[0] if store[0].is_dir() else store[0].parent
    return Built(seconds, (folder / index_name).stat().st_size, sum(file.stat().st_size for file in files), again_s)


def _index_table(built: dict[str, Built]) -> Table:
    entries = {"SQLite": SQLITE_ENTRIES, "JSON files": JSON_ENTRIES}
    return Table(
        "The index for browsing",
        f"Made anew, by one process; {DESCRIPTION}. Nothing of it is on the way of a lookup or a store.",
        ("store", "entries", "store MB", "index MB", "made in s", "µs an entry", "up to date after one store, ms"),
        [
            (
                name,
                f"{entries[name]:,}",
                f"{one.store_bytes / 1e6:,.0f}",
                f"{one.index_bytes / 1e6:,.0f}",
                f"{one.seconds:.0f}",
                f"{one.seconds / entries[name] * 1e6:.0f}",
                f"{one.again_s * 1e3:.0f}",
            )
            for name, one in built.items()
        ],
    )


def _steps(page: Page, server: AppServer, strategy: str, title: str, entries: int) -> Table:
    """Each step from the key or click to the last change of the page that follows it."""
    address = f"{server.url}/entries?entries_strategy={strategy}&lang=en"
    steps: list[tuple[str, float, str, Callable[[Page], None]]] = [
        ("first page", 300, "&entries_order=hits", lambda page: _choose(page, "entries_order", "Stored")),
        ("next page", 300, "", lambda page: _click(page, "entries_next")),
        ("search, 10 match", 300, "", lambda page: _search(page, RARE)),
        (f"search, {entries // 10:,} match", 300, "", lambda page: _search(page, FREQUENT)),
        ("a filter", 300, "", lambda page: _choose(page, "entries_model", MODEL)),
        ("another order", 300, "", lambda page: _choose(page, "entries_order", "Hits")),
        (
            f"{entries // 10:,} matches in another order", 600, f"&entries_search={FREQUENT}",
            lambda page: _choose(page, "entries_order", "Size"),
        ),
    ]  # fmt: skip
    goals = []
    for name, goal, query, act in steps:
        times_ms = []
        for _ in range(ROUNDS):
            open_page(page, address + query)
            wait_until_drawn(page)
            page.wait_for_timeout(1_500)  # what is looked at and counted in the background
            page.evaluate(WATCH)
            act(page)
            times_ms.append(float(page.evaluate("() => window.bench.settled()")))
        goals.append(Goal.at_most(f"{name}, ms", goal, statistics.median(times_ms)))
    return goals_table(
        f"Entries in Chromium: {title}, {entries:,} entries",
        f"From the last key or click to the page's last change; medians of {ROUNDS}, each on a page opened anew.",
        goals,
    )


def _search(page: Page, word: str) -> None:
    box = by_key(page, "entries_search").locator("input")
    box.fill(word)
    box.press("Enter")


def _click(page: Page, key: str) -> None:
    by_key(page, key).locator("button").click()


def _choose(page: Page, key: str, option: str) -> None:
    by_key(page, key).locator("[data-baseweb='select'], input").first.click()
    page.get_by_role("option", name=option).first.click()


def _others(page: Page, server: AppServer, path: Path) -> Table:
    """What stores of another process take while nobody browses, and while somebody does, in turn."""
    situation: Any = SPAWN.Value("i", NOBODY)
    queue: Any = SPAWN.Queue()
    writer = SPAWN.Process(target=_store_until, args=(path, situation, queue), daemon=True)
    writer.start()
    for _ in range(WINDOWS):
        for now, strategy in ((NOBODY, None), (THIS_STORE, "sqlite"), (ANOTHER_STORE, "json")):
            if strategy is not None:
                open_page(page, f"{server.url}/entries?entries_strategy={strategy}&lang=en")
                wait_until_drawn(page)
            time.sleep(1.0)  # what the page does before and afterwards belongs to neither
            situation.value = now
            until = time.monotonic() + WINDOW_S
            while time.monotonic() < until:
                if strategy is None:
                    time.sleep(0.1)
                else:
                    _click(page, "entries_next")
                    wait_until_drawn(page)
            situation.value = BETWEEN
    situation.value = ENDED
    times = queue.get(timeout=60)
    writer.join(60)
    medians = {now: statistics.median(some) for now, some in times.items()}
    ratio = medians[THIS_STORE] / medians[NOBODY]
    return goals_table(
        "Stores of another process while somebody browses",
        f"Median time of a store into the million entries, every {PACE_S * 1e3:g} ms: {len(times[NOBODY]):,} while "
        f"nobody browses ({medians[NOBODY] * 1e6:.0f} µs), {len(times[THIS_STORE]):,} while pages of it are turned "
        f"without a pause, and {len(times[ANOTHER_STORE]):,} while pages of JSON files are, in turn. The last shows "
        "what is the machine's part: browser, app and the process that stores share its cores.",
        [
            Goal.at_most("time of a store / time while nobody browses", 1.1, ratio),
            Goal.none("the same while another store is browsed", medians[ANOTHER_STORE] / medians[NOBODY]),
        ],
    )


def _store_until(path: Path, situation: Any, queue: Any) -> None:
    times: dict[int, list[float]] = {NOBODY: [], THIS_STORE: [], ANOTHER_STORE: [], BETWEEN: []}
    number = 0
    with SQLiteCache(path, namespace="another") as cache:
        while (now := situation.value) != ENDED:
            number += 1
            began = time.perf_counter()
            cache.update(f"question {number}", payload.LLM_STRING, payload.answer(number))
            times[now].append(time.perf_counter() - began)
            time.sleep(PACE_S)
    del times[BETWEEN]
    queue.put(times)


def _memory(page: Page, server: AppServer) -> Table:
    """Resident memory of the server after many pages, and after an export of everything."""
    open_page(page, f"{server.url}/entries?entries_strategy=sqlite&lang=en")
    for _ in range(20):
        _click(page, "entries_next")
        wait_until_drawn(page)
    before = _resident_bytes(server)
    for _ in range(PAGES):
        _click(page, "entries_next")
        wait_until_drawn(page)
    paged = _resident_bytes(server)
    page.get_by_text("Export and import", exact=True).click()
    wait_until_drawn(page)
    link = by_key(page, "entries_export").locator("a[href*='entries-export']").get_attribute("href")
    assert link is not None
    lines, most, seconds = _export(server, link)
    return Table(
        "Memory of the server on the entries page",
        f"Resident memory; an export of {lines:,} lines took {seconds:.0f} s.",
        ("what", "growth MB", "goal"),
        [
            (f"{PAGES:,} pages", f"{(paged - before) / 1e6:.1f}", "± 50"),
            ("the export, at most", f"{(most - paged) / 1e6:.1f}", "± 50"),
        ],
    )


def _export(server: AppServer, link: str) -> tuple[int, int, float]:
    """Lines of an export, the most memory of the server meanwhile, and seconds."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.netloc)
    began = time.perf_counter()
    connection.request("GET", "/" + link.lstrip("./"))
    response = connection.getresponse()
    lines, most, looked_at = 0, 0, 0.0
    while chunk := response.read(1 << 20):
        lines += chunk.count(b"\n")
        if time.monotonic() - looked_at > 0.5:
            looked_at, most = time.monotonic(), max(most, _resident_bytes(server))
    connection.close()
    return lines, most, time.perf_counter() - began


def _resident_bytes(server: AppServer) -> int:
    assert server.process is not None
    root = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])
