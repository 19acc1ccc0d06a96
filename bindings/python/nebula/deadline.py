"""What calls inherit from the one that is being handled: its deadline, and its number, by which they share its retries."""

from __future__ import annotations

import contextlib
import contextvars
import math
import time
from collections.abc import Iterator
from typing import Optional

# On the clock of time.monotonic(). Both are set for each handler; tasks and worker threads of it have them, too.
_deadline: contextvars.ContextVar[Optional[float]] = contextvars.ContextVar("nebula_deadline", default=None)
_parent: contextvars.ContextVar[int] = contextvars.ContextVar("nebula_parent", default=0)


def inherit(deadline: Optional[float], call: int) -> None:
    """Calls made in this context end by then, and are made for that call."""
    _deadline.set(deadline)
    _parent.set(call)


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """Calls begun in this block do not inherit the deadline of the call that is being handled, nor its retries.

    For what is to outlive it: `with nebula.detached(): asyncio.create_task(...)`.
    """
    deadline, parent = _deadline.set(None), _parent.set(0)
    try:
        yield
    finally:
        _deadline.reset(deadline)
        _parent.reset(parent)


def parent() -> int:
    """The call that is being handled, for the engine; 0: none."""
    return _parent.get()


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
