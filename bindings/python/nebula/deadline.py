"""The deadline of the call that is being handled, which the calls made for it inherit."""

from __future__ import annotations

import contextlib
import contextvars
import math
import time
from collections.abc import Iterator
from typing import Optional

# On the clock of time.monotonic(). Set for each handler; tasks and worker threads of it have it, too.
_deadline: contextvars.ContextVar[Optional[float]] = contextvars.ContextVar("nebula_deadline", default=None)


def inherit(deadline: Optional[float]) -> None:
    """Calls made in this context end by then."""
    _deadline.set(deadline)


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """Calls begun in this block do not inherit the deadline of the call that is being handled.

    For what is to outlive it: `with nebula.detached(): asyncio.create_task(...)`.
    """
    token = _deadline.set(None)
    try:
        yield
    finally:
        _deadline.reset(token)


@contextlib.contextmanager
def within(timeout: Optional[float]) -> Iterator[None]:
    """Calls begun in this block end by that many seconds from now, and by the deadline that they inherit anyway."""
    if timeout is None:
        yield
        return
    own, inherited = time.monotonic() + timeout, _deadline.get()
    token = _deadline.set(own if inherited is None else min(own, inherited))
    try:
        yield
    finally:
        _deadline.reset(token)


def microseconds(timeout: Optional[float]) -> int:
    """The engine's timeout, in which 0 is none: the given seconds, but no more than the call being handled has left."""
    if timeout is not None and math.isnan(timeout):
        raise ValueError("timeout is not a number")
    deadline = _deadline.get()
    if deadline is not None:
        left = deadline - time.monotonic()
        timeout = left if timeout is None else min(timeout, left)
    if timeout is None:
        return 0
    # A century is long enough, and infinity has no number of microseconds. One that has passed already is the shortest.
    return max(1, int(min(timeout, 3.2e9) * 1e6))
