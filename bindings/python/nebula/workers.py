"""The threads that run `def` handlers."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import Callable, Optional

log = logging.getLogger("nebula")

# Jobs that wait for a thread; a service that is so far behind does better to say so.
WAITING_MAX = 100_000


class Workers:
    """Up to `size` threads, each begun when all others are busy.

    They are daemons: a handler that hangs must not keep a process alive that was told to stop. That is why this is not
    a ThreadPoolExecutor, whose threads are joined at exit.
    """

    def __init__(self, size: Optional[int] = None) -> None:
        self._size = size or min(32, (os.cpu_count() or 1) + 4)
        self._jobs: queue.SimpleQueue[Optional[Callable[[], None]]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, job: Callable[[], None]) -> bool:
        """Runs a job soon. False: too many wait already. Called by one thread."""
        if self._jobs.qsize() >= WAITING_MAX:
            return False
        self._jobs.put(job)
        # A thread that is idle has counted itself; this takes one of them, or begins another.
        if not self._idle.acquire(blocking=False) and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._work, name=f"nebula-{self._threads}", daemon=True).start()
        return True

    def close(self) -> None:
        """Lets the threads end after what they do now."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                self._idle.release()
                job = self._jobs.get()
            if job is None:
                return
            try:
                job()
            except BaseException:
                log.exception("a worker thread goes on")
            del job  # an idle thread must not keep the last request alive
