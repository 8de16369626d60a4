"""What locks between processes promise: nobody holds one that its owner has given back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cache_backends.file_lock import file_lock, lock_if_free, locked


@pytest.mark.parametrize("lock", [file_lock, locked])
def test_a_child_forked_while_a_thread_holds_a_lock_does_not_keep_it(
    tmp_path: Path, lock: Callable[[str], AbstractContextManager[Any]]
) -> None:
    file = tmp_path / "lock"
    file.touch()
    is_held, is_forked = threading.Event(), threading.Event()

    def hold() -> None:
        with lock(str(file)):
            is_held.set()
            is_forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        is_forked.set()
        thread.join()
        descriptor = os.open(file, os.O_RDWR)
        try:
            assert lock_if_free(descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
