"""Options of servers and channels: keyword arguments in seconds and counts, and what the engine takes for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Optional, TypedDict, Union

from nebula.filters import Filter
from nebula.tls import TLS

_NUMBER_MAX = 2**32 - 1


class ServeOptions(TypedDict, total=False):
    """What nebula.serve takes besides services and addresses; nebula.run and a Service hand it on."""

    announce: Union[str, Iterable[str], None]
    workers: Optional[int]
    max_message: int
    max_streams: int
    max_connections: int
    keepalive: float
    keepalive_timeout: float
    min_ping: float
    max_idle: float
    max_age: float
    max_age_grace: float
    drain_timeout: float
    tls: Optional[TLS]
    compression: Optional[str]
    threaded: bool
    filters: Iterable[Filter]


def milliseconds(name: str, seconds: Any) -> int:
    """An option in seconds as the engine takes it, rounded up; 0 is its default.

    Raises TypeError or ValueError, naming the option, if it cannot be one.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
    if not 0 <= seconds <= _NUMBER_MAX // 1000:
        raise ValueError(f"{name} must be from 0 to {_NUMBER_MAX // 1000:,} seconds, not {seconds!r}")
    return math.ceil(seconds * 1000)


def count(name: str, number: Any) -> int:
    """The same for an option that counts bytes, calls or connections."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} is a whole number, not {number!r}")
    if not 0 <= number <= _NUMBER_MAX:
        raise ValueError(f"{name} must be from 0 to {_NUMBER_MAX:,}, not {number!r}")
    return number


def flag(name: str, value: Any) -> int:
    """The same for an option that is on or off."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return int(value)


def policy_text(policy: Any) -> Optional[str]:
    """The same for a policy, which the engine reads."""
    if policy is not None and (not isinstance(policy, str) or "\0" in policy):
        raise TypeError(f"policy is a text as docs/policies.md has it, not {policy!r}")
    return policy


def mode_of(mode: Optional[str]) -> Optional[str]:
    if mode not in (None, "sync", "aio"):
        raise ValueError(f'mode is "sync", "aio" or None, not {mode!r}')
    return mode
