"""The threads that run `def` handlers."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import threading
from typing import Callable, Optional

log = logging.getLogger("nebula")

# Jobs that wait for a thread; a service that is so far behind does better to say so.
WAITING_MAX = 100_000


class Workers:
    """Up to `size` threads, each begun when all others are busy.

    They are daemons: a handler that hangs must not keep a process alive that was told to stop. That is why this is not
    a ThreadPoolExecutor, whose threads are joined at exit.

    To wake a thread costs more than most handlers. So only one at a time is on its way; having come, and before it
    begins with a job, it sends for the next one if there are more jobs. Short handlers are then run by one or two
    threads, and none waits behind a handler that takes its time.
    """

    def __init__(self, size: Optional[int] = None) -> None:
        self._size = size or min(32, (os.cpu_count() or 1) + 4)
        self._jobs: collections.deque[Optional[Callable[[], None]]] = collections.deque()
        self._idle: list[threading.Lock] = []  # of threads that wait, each locked
        self._is_one_coming = False  # a thread was sent for and has not looked at the jobs yet
        self._lock = threading.Lock()
        self._threads = 0

    def submit(self, job: Callable[[], None]) -> bool:
        """Runs a job soon. False: too many wait already."""
        if len(self._jobs) >= WAITING_MAX:
            return False
        self._jobs.append(job)
        if not self._is_one_coming:
            self._send_for_one()
        return True

    def close(self) -> None:
        """Lets the threads end after what they do now."""
        self._jobs.append(None)
        self._wake()

    def _wake(self) -> bool:
        """Wakes a thread that waits, if there is one."""
        with contextlib.suppress(IndexError):
            self._idle.pop().release()
            return True
        return False

    def _send_for_one(self) -> None:
        self._is_one_coming = True
        if self._wake():
            return
        with self._lock:
            is_full = self._threads == self._size
            self._threads += not is_full
        if not is_full:
            threading.Thread(target=self._work, name=f"nebula-{self._threads}", daemon=True).start()
            return
        self._is_one_coming = False  # whoever is done looks by itself
        if self._jobs and self._idle:  # since the look at them
            self._send_for_one()

    def _work(self) -> None:
        wake = threading.Lock()
        wake.acquire()
        has_come = True
        while True:
            if has_come:
                self._is_one_coming = False  # before the look: what is submitted from here on sends for another
            try:
                job = self._jobs.popleft()
            except IndexError:
                self._idle.append(wake)
                if self._jobs:  # since the look
                    self._send_for_one()
                wake.acquire()
                has_come = True
                continue
            if job is None:
                self.close()  # the next one ends, too
                return
            if has_come and self._jobs:
                self._send_for_one()
            has_come = False
            try:
                job()
            except BaseException:
                log.exception("a worker thread goes on")
            del job  # an idle thread must not keep the last request alive
