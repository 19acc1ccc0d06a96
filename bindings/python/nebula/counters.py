"""What this process counts of its calls, and its channels and nodes as they are. docs/metrics.md has the names."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from nebula import engine
from nebula.options import mode_of


@dataclass(frozen=True)
class Histogram:
    """How long things took, in seconds."""

    count: int
    sum: float
    buckets: tuple[int, ...]  # one more than bounds, each alone; empty where only count and sum are kept
    bounds: tuple[float, ...] = field(repr=False)

    def quantile(self, share: float) -> float:
        """The time that a share of them did not exceed (0.5: the median), by the bound of its bucket; inf beyond the last."""
        left = share * sum(self.buckets)
        for bound, count in zip(self.bounds, self.buckets):
            left -= count
            if left <= 0:
                return bound
        return float("inf")


@dataclass(frozen=True)
class Point:
    """One value of a metric. What makes no difference for the metric is empty."""

    target: str = ""
    method: str = ""
    status: str = ""
    node: str = ""
    value: int = 0
    histogram: Optional[Histogram] = None


@dataclass(frozen=True)
class NodeState:
    """One instance, as a channel sees it."""

    id: str
    address: str
    state: str  # "usable", or what is in the way
    weight: int
    in_flight: int
    latency: float  # seconds, as the balancer sees it; 0: not known
    picks: int
    attempts: int
    failures: int
    isolations: int
    ejections: int
    connect_time: float  # seconds, of the last connection
    zone: str = ""
    trouble: str = ""  # why it could not be reached the last time
    description: str = ""  # digest of its methods and their messages


@dataclass(frozen=True)
class ChannelState:
    """A channel of one loop, with its instances."""

    target: str
    loop: int
    waiting: int  # calls that no instance has at the moment
    nodes: tuple[NodeState, ...]
    trouble: str = ""  # of the registry


class Metrics(Mapping[str, tuple[Point, ...]]):
    """The points of each metric by its name, and .channels."""

    def __init__(self, report: dict[str, Any]) -> None:
        bounds = tuple(report["metrics"]["bounds"])
        self._points = {
            metric["name"]: tuple(_point(point, bounds) for point in metric["points"])
            for metric in report["metrics"]["metrics"]
        }
        self.channels = tuple(_channel(channel) for channel in report["channels"]["channels"])

    def total(self, name: str, **labels: str) -> int:
        """The sum of the values, or of the counts of histograms, of those points that have these labels.

        >>> nebula.metrics().total("grpc.client.call.duration", target="hello", status="OK")
        """
        points = (point for point in self[name] if all(getattr(point, key) == labels[key] for key in labels))
        return sum(point.value if point.histogram is None else point.histogram.count for point in points)

    def __getitem__(self, name: str) -> tuple[Point, ...]:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def __repr__(self) -> str:
        return f"<nebula.metrics of {len(self.channels)} channels>"


def metrics(*, mode: Optional[str] = None) -> Any:
    """What this process has counted since its first call: nebula.counters.Metrics, and where an event loop runs a coroutine
    of it. mode says it outright: "sync" or "aio".

    >>> nebula.metrics()["grpc.client.attempt.started"]
    (Point(target='hello', method='hello/greet', ..., value=3, ...),)
    """
    mode = mode_of(mode)
    is_aio = mode == "aio" if mode is not None else asyncio._get_running_loop() is not None
    return _ask_aio() if is_aio else _ask_sync()


def _ask_sync() -> Metrics:
    port = engine.thread_port()
    pending = engine.Pending()
    port.ask_for_metrics(pending)
    port.wait(lambda: pending.ended)
    return _report(pending)


async def _ask_aio() -> Metrics:
    loop = asyncio.get_running_loop()
    port = engine.loop_port(loop)
    ended: asyncio.Future[None] = loop.create_future()
    pending = engine.Pending(functools.partial(engine.settle, ended))
    port.ask_for_metrics(pending)
    port.flush_soon()
    await ended
    return _report(pending)


def _report(pending: engine.Pending) -> Metrics:
    if pending.data is None:
        raise RuntimeError("this is a forked child: what its parent counts is not here")
    return Metrics(json.loads(pending.data))


def _point(point: dict[str, Any], bounds: tuple[float, ...]) -> Point:
    of = point.pop("histogram", None)
    histogram = Histogram(of["count"], of["sum"], tuple(of["buckets"]), bounds) if of is not None else None
    return Point(**point, histogram=histogram)


def _channel(channel: dict[str, Any]) -> ChannelState:
    nodes = tuple(NodeState(**node) for node in channel.pop("nodes"))
    return ChannelState(**channel, nodes=nodes)
