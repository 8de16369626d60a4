"""Running `lab.timing` in a process of its own, and ending it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from cache_backends.readable import redact
from lab.timing import LINE, Line, Task

logger = logging.getLogger("lab.timing_process")

ROOT = Path(__file__).parent.parent
TRACING = ("LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGCHAIN_TRACING")
"""Each of them alone, the first above all others, would send a trace for every timed call."""
LOOK_S = 0.1
"""How often it is looked at whether somebody stopped it."""


class TimingFailedError(Exception):
    """The process that times ended before it was done."""


def timed(task: Task, stopping: Callable[[], bool]) -> Iterator[Line]:
    """What the process finds, as it finds it; ends early where somebody stops it. Raises `TimingFailedError`."""
    with tempfile.TemporaryFile() as said, _process(said.fileno()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ended = threading.Event()
        watcher = threading.Thread(target=_kill_when, args=(stopping, process, ended), daemon=True)
        watcher.start()
        try:
            process.stdin.write(orjson.dumps(task) + b"\n")
            process.stdin.flush()  # and left open: its end is how the process learns that this one has ended
            for line in process.stdout:
                if not line.endswith(b"\n"):
                    break  # it was killed while it wrote
                yield LINE.validate_json(line)
        except BrokenPipeError:
            pass  # it has ended: why is told below
        except BaseException:  # whoever reads wants no more
            process.kill()
            raise
        finally:
            ended.set()
            watcher.join()
        if process.wait() and not stopping():
            said.seek(0)
            text = redact(said.read().decode("utf-8", "replace").strip())
            logger.error("the process that times failed: %s", text)
            raise TimingFailedError(text.splitlines()[-1] if text else f"It ended with {process.returncode}.")


def _process(errors: int) -> subprocess.Popen[bytes]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = dict.fromkeys(TRACING, "false")
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "lab.timing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=os.environ | quiet | {"PYTHONPATH": os.pathsep.join(paths)},
    )


def _kill_when(stopping: Callable[[], bool], process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    while not ended.wait(LOOK_S):
        if stopping():
            process.kill()
            return
