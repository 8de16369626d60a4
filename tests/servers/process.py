"""What every server of the tests is: processes, a folder and a port, to be started, killed, paused and ended."""

from __future__ import annotations

import atexit
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

import psutil

from tests.servers.guard import Guard, family

HOST = "127.0.0.1"
PASSWORD = "secret-password"
"""Of every account of every server: a test can search messages, logs and pages for it."""

PORTS = range(12_000, 22_000)
"""Below those that systems give to outgoing connections, so that a server that starts again finds its port free; and
with room for the second port of a node of a Redis cluster, which is 10,000 higher."""

START_S = 60
STOP_S = 20


class ServerFailedError(Exception):
    """A server did not start; the text has the end of its log."""


def free_port(*, and_above: int = 0) -> int:
    """A port of this machine that nobody listens on, nor on the one `and_above` higher."""
    for port in random.sample(PORTS, 200):
        if all(is_free(port + step) for step in {0, and_above}):
            return port
    raise ServerFailedError(f"No free port in 200 tries from {PORTS.start} to {PORTS.stop}.")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_until(ready: Callable[[], bool], seconds: float, failure: Callable[[], str]) -> None:
    """Ask until the answer is yes. Raises ServerFailedError with the failure's text when the time is over."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ServerFailedError(failure())
        time.sleep(0.02)


class Server(ABC):
    """A server of the tests. Use it as a context manager, or `start` and `close` it; what is left ends with the run."""

    name: str
    """What it is called in folders and messages."""
    scheme: str
    user: str | None = "tester"
    password: str | None = PASSWORD
    database = "cache"
    runs_as: str | None = None
    """The user it runs as; None is oneself."""
    stop_signal = signal.SIGTERM
    second_port = 0
    """How much higher a second port is that it needs."""

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[psutil.Process] = []

    def _prepare(self) -> None:  # noqa: B027  # most need nothing
        """Make what the first start needs in the folder."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments, for `self.port` and `self.folder`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it really does what it is for now; a driver's error is a no."""

    @property
    def folder(self) -> Path:
        """Its own folder: data, log, socket."""
        assert self._folder is not None, f"{self.name} was not started"
        return self._folder

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The end of what it wrote."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def url(self, *, user: str | None = None, password: str | None = None, **options: Any) -> str:
        """The URL for `open_cache`: `url(prefix="t1", timeout=0.5)`, or with another user or password."""
        return address(
            f"{self.scheme}://",
            login(user or self.user, password or self.password),
            f"{self.host}:{self.port}/{self.database}",
            options,
        )

    def start(self) -> Self:
        """Start it, for the first time or again on the same port and data, and wait until it answers."""
        if self.is_running:
            return self
        if self._folder is None:
            self._first_start()
        else:
            self._run()
        return self

    def kill(self) -> None:
        """SIGKILL to the server and all its children at one moment, as the kernel does when memory is short."""
        if self._process is None:
            return
        members = family(self._process.pid)
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._ended(members)

    def pause(self) -> None:
        """Stop all its processes (SIGSTOP): connections stay open, nothing is answered."""
        self._paused = family(self.pid)

    def resume(self) -> None:
        """Let all its processes go on."""
        for process in reversed(self._paused):  # a parent last, so that it finds its children awake
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self._paused = []

    def stop(self) -> None:
        """End it as an operator would; its data stays for another `start`."""
        if not self.is_running:
            return
        self.resume()
        members = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        os.kill(self.pid, self.stop_signal)
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_S)
            self._ended(members)
        self.kill()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        RUN.servers.discard(self)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first_start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self.name.lower()}-"))
        if self.runs_as is not None:
            shutil.chown(self._folder, self.runs_as)
        RUN.servers.add(self)
        try:
            self._prepare()
            for attempt in range(3):
                self.port = free_port(and_above=self.second_port)
                try:
                    return self._run()
                except ServerFailedError:
                    if attempt == 2 or is_free(self.port):  # else another took the port in between
                        raise
        except BaseException:
            self.close()
            raise

    def _run(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = self._spawn(self._command(), log)
        RUN.guard.watch(self._process.pid, self.folder)
        try:
            wait_until(self._ready, START_S, lambda: f"{self.name} did not answer in {START_S} s:\n{self.log}")
        except BaseException:
            self.kill()
            raise

    def _ready(self) -> bool:
        if not self.is_running:
            raise ServerFailedError(f"{self.name} ended while it started:\n{self.log}")
        return self._answers()

    def _spawn(self, command: list[str], output: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.folder,  # another user may not be allowed to look at the present one
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the tests, and they end their servers
            user=self.runs_as,
            group=None if self.runs_as is None else pwd.getpwnam(self.runs_as).pw_gid,
            extra_groups=None if self.runs_as is None else [],
        )

    def _install(self, *command: str) -> None:
        """Run a program that makes the data folder; raises ServerFailedError with what it said."""
        with self._spawn(list(command), subprocess.PIPE) as process:
            output, _ = process.communicate(timeout=START_S)
        if process.returncode != 0:
            raise ServerFailedError(f"{command[0]} failed:\n{output.decode(errors='replace')[-4000:]}")

    def _own_file(self, name: str, text: str) -> Path:
        """Write a file that the server may read and nobody else."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        if self.runs_as is not None:
            shutil.chown(path, self.runs_as)
        return path

    def _ended(self, members: list[psutil.Process]) -> None:
        assert self._process is not None
        self._process.wait(timeout=STOP_S)
        wait_until(
            lambda: not any(map(is_alive, members)), STOP_S, lambda: f"Processes of {self.name} are still there."
        )
        RUN.guard.forget(self._process.pid, self.folder)
        self._process = None
        self._paused = []


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs: one that has ended and that nobody has asked about yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def login(user: str | None, password: str | None) -> str:
    """`user:password@` of a URL, or as much of it as there is."""
    if password is None:
        return ""
    return f"{quote(user or '', safe='')}:{quote(password, safe='')}@"


def address(scheme: str, account: str, place: str, options: Mapping[str, Any]) -> str:
    """A URL of these parts, with the options that are not None as its query."""
    query = urlencode({name: value for name, value in options.items() if value is not None})
    return f"{scheme}{account}{place}{'?' if query else ''}{query}"


class Run:
    """The servers of this process, ended with it, and the guard that ends them should it die."""

    def __init__(self) -> None:
        self.servers: set[Server] = set()
        self._guard: Guard | None = None
        self._owner = os.getpid()
        atexit.register(self.close)

    @property
    def guard(self) -> Guard:
        """The guard, started when it is first needed."""
        if self._guard is None:
            self._guard = Guard()
        return self._guard

    def close(self) -> None:
        """End everything. In a forked child nothing: its parent still needs the servers."""
        if os.getpid() != self._owner:
            return
        for server in list(self.servers):
            server.close()
        if self._guard is not None:
            self._guard.close()
            self._guard = None


RUN = Run()
