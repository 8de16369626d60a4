"""The real app as a subprocess, and a real Chromium to look at it with: fixtures for every browser test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from lab.server_urls import SERVER_KINDS
from tests.e2e.app_page import TRACK_RUNS, start_record

ROOT = Path(__file__).parents[2]

CHROMIUM_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
NO_CHROMIUM = (
    "Browser tests need Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to the path of one."
)
CHROMIUM_ARGS = (
    "--no-sandbox",  # with its sandbox, Chromium refuses to start as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A request for any other host is recorded and fails, so that tests do not depend on a network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)

FAST_MODEL = "simulated: {first_token_s: 0.02, tokens_per_second: 2000}\n"
"""A simulated model that answers at once: what most browser tests want in `config.yaml`."""

CONNECTION_LOG = """
import os, sys

def _note(event, args, log=open(os.environ["CONNECTION_LOG"], "a", buffering=1)):
    if event == "socket.connect" and isinstance(args[1], tuple):
        log.write(f"{args[1][0]}\\n")
    elif event == "socket.getaddrinfo" and args[0]:
        log.write(f"{args[0] if isinstance(args[0], str) else args[0].decode()}\\n")

sys.addaudithook(_note)
"""
"""`sitecustomize.py` of the server under test: notes every host that Python code looks up or connects to."""


def wait_until(condition: Callable[[], bool], timeout_s: float, failure: Callable[[], str]) -> None:
    """Ask `condition` again and again until it holds; raise `TimeoutError` with `failure()` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(failure())
        time.sleep(0.02)


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome: `CHROMIUM` if it is set, else one of the usual places."""
    names = (os.environ["CHROMIUM"],) if os.environ.get("CHROMIUM") else CHROMIUM_NAMES
    return next((path for path in map(shutil.which, names) if path), None)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address, is this machine talking to itself."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


@dataclass
class AppServer:
    """`streamlit run app.py` with a configuration, a data folder and a home of its own.

    The data folder and the port stay the same over `stop`, `kill` and `restart`.
    """

    folder: Path
    """For everything of this server: config.yaml, data, home, log."""
    config: str = FAST_MODEL
    """Text of `config.yaml`; `data_dir` is put before it unless it names one itself."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables on top of the inherited ones."""
    port: int = field(default_factory=free_port)
    root: Path = ROOT
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the app is, without a slash at the end."""
        return f"http://localhost:{self.port}"

    @property
    def data_dir(self) -> Path:
        """Where the app stores answers and history, unless `config` says otherwise."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """All that the server printed, over all its starts."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, timeout_s: float = 60) -> AppServer:
        """Start the server and wait until it is healthy; raise `TimeoutError` or `RuntimeError` with its log."""
        assert self.process is None, "the server is running already"
        home, audit = self.folder / "home", self.folder / "audit"
        for path in (home, audit):
            path.mkdir(parents=True, exist_ok=True)
        (audit / "sitecustomize.py").write_text(CONNECTION_LOG)
        own_data = any(line.startswith("data_dir:") for line in self.config.splitlines())
        config_file = self.folder / "config.yaml"
        config_file.write_text(self.config if own_data else f"data_dir: {self.data_dir}\n{self.config}")
        others = ("OPENAI_", "STREAMLIT_", *(kind.variable for kind in SERVER_KINDS))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(others)}
        env = inherited | {
            "HOME": str(home),  # neither a person's Streamlit settings nor their keys
            "LLM_CACHE_LAB_CONFIG": str(config_file),
            "CONNECTION_LOG": str(self.folder / "connections.log"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(audit), os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "streamlit", "run", "app.py"]
        flags = ["--server.headless=true", f"--server.port={self.port}", "--server.fileWatcherType=none"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command + flags,
                cwd=self.root,
                env=env | dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._healthy, timeout_s, lambda: f"no healthy server after {timeout_s} s:\n{self.log[-4000:]}")
        return self

    def stop(self) -> None:
        """Ask the server and its children to end (SIGTERM), by force where that takes over 10 s."""
        if self.process is None:
            return
        family = self._family()
        for process in family:
            process.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        self._end(alive)

    def kill(self) -> None:
        """End the server and its children at once, as a crash would."""
        if self.process is not None:
            self._end(self._family())

    def restart(self) -> None:
        """Stop the server and start it again: same port, same data folder."""
        self.stop()
        self.start()

    def outside_connections(self) -> list[str]:
        """Return the hosts beyond this machine that the server talks to now, or ever looked up or connected to."""
        noted = self.folder / "connections.log"
        hosts = noted.read_text().split() if noted.exists() else []
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # a child that has just ended talks to nobody
                hosts += [connection.raddr.ip for connection in process.net_connections("inet") if connection.raddr]
        return sorted({host for host in hosts if not is_loopback(host)})

    def _healthy(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            code, self.process = self.process.returncode, None
            raise RuntimeError(f"the server ended with code {code}:\n{self.log[-4000:]}")
        # Any unknown path answers 200 with the app's page, so the body decides. No proxy is asked.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/_stcore/health", timeout=5) as reply:
                return bool(reply.read().strip() == b"ok")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _family(self) -> list[psutil.Process]:
        if self.process is None or self.process.poll() is not None:
            return []
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def _end(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)
        if self.process is not None:
            self.process.wait(timeout=10)
            self.process = None


@contextmanager
def launched_chromium(path: str) -> Iterator[Browser]:
    """Start the Chromium at `path`, closed again at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGS))
        try:
            yield browser
        finally:
            browser.close()


def recorded_context(browser: Browser, **options: Any) -> BrowserContext:
    """Open a browser session of its own (options: `Browser.new_context`) whose pages are all recorded."""
    context = browser.new_context(**options)
    context.add_init_script(TRACK_RUNS)
    context.on("page", start_record)
    return context


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `e2e`."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium. Without one the test is skipped with a sentence; under `CI=true` it fails."""
    path = find_chromium()
    if path is None and os.environ.get("CI") == "true":
        pytest.fail(NO_CHROMIUM)
    if path is None:
        pytest.skip(NO_CHROMIUM)
    return path


@pytest.fixture
def app_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., AppServer]]:
    """Start servers: `app_server()`, or `app_server(config="sharing: private", env={...})`. All end with the test."""
    servers: list[AppServer] = []

    def start(**options: Any) -> AppServer:
        servers.append(AppServer(tmp_path_factory.mktemp("app"), **options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()
        sys.stdout.write(f"--- log of the server at {server.url}\n{server.log[-8000:]}\n")  # shown when the test fails


# Not for the whole session: while Playwright runs, no test of the same thread can run an event loop of its own.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for all tests of this folder."""
    with launched_chromium(chromium) as launched:
        yield launched


@pytest.fixture
def locale() -> str:
    """The browser's language; `@pytest.mark.parametrize("locale", ["pt-BR"])` changes it for a test."""
    return "en-US"


@pytest.fixture
def color_scheme() -> str:
    """The browser's preference: `light` or `dark`; to be parametrized like `locale`."""
    return "light"


@pytest.fixture
def viewport() -> ViewportSize:
    """Size of the page in CSS pixels; to be parametrized like `locale`."""
    return {"width": 1280, "height": 800}


@pytest.fixture
def new_context(
    browser: Browser, locale: str, color_scheme: str, viewport: ViewportSize
) -> Iterator[Callable[..., BrowserContext]]:
    """Open further browser sessions: `new_context()`, or `new_context(locale="pt-BR")`. All end with the test."""
    contexts: list[BrowserContext] = []

    def open_context(**options: Any) -> BrowserContext:
        settings: dict[str, Any] = {"locale": locale, "color_scheme": color_scheme, "viewport": viewport}
        contexts.append(recorded_context(browser, **(settings | options)))
        return contexts[-1]

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    """The browser session of the test."""
    return new_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A blank page, recorded from the start (see `app_page.record_of`)."""
    return context.new_page()
