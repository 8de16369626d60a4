"""Work that outlives a click: runs in a thread, can be watched and stopped, keeps its result."""

from __future__ import annotations

import atexit
import contextvars
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from cache_backends import CacheError
from cache_backends.readable import redact

logger = logging.getLogger("lab.jobs")

T = TypeVar("T")
P = TypeVar("P")

MAX_RUNNING = 64
"""Jobs that may run at once; one more is refused rather than piled up."""
MAX_KEPT = 500
"""Finished jobs whose results are kept."""
FAREWELL_S = 5.0
"""How long the process waits at its end for answers that are being paid for."""


class RefusedError(Exception):
    """What a visitor asked for can't be done, through no mistake of the program. Its text says all there is to say."""


class TooManyJobsError(Exception):
    """So many jobs are running that no more is begun. Trying again later helps."""


class Job(Generic[P, T]):
    """One piece of work. `progress` is what it has shown so far, `began_at` when it was made (`time.monotonic`)."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(12)
        self.began_at = time.monotonic()
        self.result: T | None = None
        self.error: Exception | None = None
        self._progress: list[P] = []
        self._stop = threading.Event()
        self._finished = threading.Event()

    @property
    def progress(self) -> list[P]:
        """A copy of what has been shown so far."""
        return self._progress.copy()

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self._finished.is_set()

    @property
    def stopping(self) -> bool:
        """Whether somebody asked it to stop; the work looks at it between its steps."""
        return self._stop.is_set()

    def show(self, step: P) -> None:
        """Add a step to the progress."""
        self._progress.append(step)

    def stop(self) -> None:
        """Ask it to stop at its next step."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end, at most so many seconds; whether it has come."""
        return self._finished.wait(timeout_s)

    def run(self, work: Callable[[Job[P, T]], T]) -> None:
        """Do the work in the calling thread and keep what comes of it."""
        try:
            self.result = work(self)
        except RefusedError as error:  # a job's error is its result, shown where it was begun
            logger.info("a job was refused: %s", error)  # visitors can bring this about as often as they like
            self.error = error
        except CacheError as error:
            logger.warning("a job failed: %s", redact(str(error)))  # a store that is down needs no traceback
            self.error = error
        except Exception as error:
            logger.exception("a job failed")
            self.error = error
        except BaseException as error:  # noqa: BLE001  # such as SystemExit: the thread ends here either way
            self.error = RuntimeError(f"The work was ended by {type(error).__name__}.")
        finally:
            self._finished.set()


class Jobs:
    """All jobs of the process, by id."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job[object, object]] = OrderedDict()
        self._lock = threading.Lock()
        atexit.register(self.wait_for_all, FAREWELL_S)

    def start(self, work: Callable[[Job[P, T]], T]) -> Job[P, T]:
        """Begin a piece of work. Raises `TooManyJobsError`."""
        job: Job[P, T] = Job()
        with self._lock:
            if sum(not kept.finished for kept in self._jobs.values()) >= MAX_RUNNING:
                raise TooManyJobsError(f"{MAX_RUNNING} requests are running already. Try again in a moment.")
            self._jobs[job.id] = job  # type: ignore[assignment]
            self._forget_old()
        context = contextvars.Context()  # not the caller's: a job belongs to no page
        thread = threading.Thread(target=context.run, args=(job.run, work), name=f"job-{job.id}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            with self._lock:
                self._jobs.pop(job.id, None)
            raise TooManyJobsError(f"Nothing more can be begun now: {error}. Try again in a moment.") from error
        return job

    def get(self, job_id: str) -> Job[object, object] | None:
        """The job with this id, as long as it is kept."""
        return self._jobs.get(job_id)

    def forget(self, job_id: str) -> None:
        """Keep a job no longer whose result is kept elsewhere."""
        with self._lock:
            self._jobs.pop(job_id, None)

    def wait_for_all(self, timeout_s: float) -> None:
        """Wait for what is running, at most so many seconds."""
        deadline = time.monotonic() + timeout_s
        for job in list(self._jobs.values()):
            job.wait(max(0.0, deadline - time.monotonic()))

    def _forget_old(self) -> None:
        finished = [job_id for job_id, job in self._jobs.items() if job.finished]
        for job_id in finished[: max(0, len(finished) - MAX_KEPT)]:
            del self._jobs[job_id]
