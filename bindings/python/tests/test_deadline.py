"""Deadlines travel: calls of a handler have the time that its own call has left. And what errors tell of calls."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE, aio

import nebula
from nebula import deadline


@pytest.fixture
def url(serving):
    """`left` says how much time its call has; the others call it."""
    app = nebula.Service("d")
    own = {}

    def service(mode):
        return nebula.connect(own["url"], mode=mode).service("d")

    @app.rpc
    async def left(ctx: nebula.Context) -> float:
        return ctx.time_remaining() or -1

    @app.rpc
    async def hang() -> None:
        await asyncio.sleep(PATIENCE)

    @app.rpc
    async def by_task(timeout: float = -1) -> float:
        options = {} if timeout < 0 else {"timeout": timeout}
        return await asyncio.create_task(service("aio").left({}, **options))

    @app.rpc
    def by_thread(timeout: float = -1) -> float:
        options = {} if timeout < 0 else {"timeout": timeout}
        return service("sync").left({}, **options)

    @app.rpc
    async def by_stream() -> AsyncIterator[float]:
        yield await service("aio").left()

    @app.rpc
    def by_thread_stream(numbers: Iterator[int]) -> Iterator[float]:
        for _ in numbers:
            yield service("sync").left()

    @app.rpc
    async def twice_removed() -> float:
        return await service("aio").by_task()

    @app.rpc
    async def detached() -> float:
        with nebula.detached():
            return await service("aio").left()

    @app.rpc
    async def hang_below() -> None:
        await service("aio").hang()

    own["url"] = serving(app, address="tcp://127.0.0.1:0").urls[0]
    return own["url"]


@pytest.mark.parametrize("method", ["by_task", "by_thread", "twice_removed"])
def test_calls_of_a_handler_have_what_its_own_call_has_left(url, method):
    service = nebula.connect(url).service("d")
    assert 4 < service[method]({}, timeout=5) < 5
    assert service[method]() == -1


@pytest.mark.parametrize("method", ["by_task", "by_thread"])
def test_it_is_shortened_and_never_lengthened(url, method):
    service = nebula.connect(url).service("d")
    assert 4 < service[method]({"timeout": 60}, timeout=5) < 5
    assert 1 < service[method]({"timeout": 2}, timeout=5) < 2


def test_streams_hand_it_on_too(url):
    service = nebula.connect(url).service("d")
    (left,) = service.by_stream.stream({}, timeout=5)
    assert 4 < left < 5
    assert all(4 < left < 5 for left in service.by_thread_stream.stream(iter([1, 2]), timeout=5))


def test_detached_calls_do_not_inherit(url):
    assert nebula.connect(url).service("d").detached({}, timeout=5) == -1


def test_the_deadline_ends_the_nested_call_with_the_outer(url):
    began = time.monotonic()
    with pytest.raises(nebula.Error) as caught:
        nebula.connect(url).service("d").hang_below({}, timeout=0.1)
    assert caught.value.code == nebula.DEADLINE_EXCEEDED and time.monotonic() - began < PATIENCE / 2


def test_cancelling_a_handler_cancels_the_calls_below_it(url, serving):
    began, ended = threading.Event(), threading.Event()
    upper, lower = nebula.Service("upper"), nebula.Service("lower")

    @lower.rpc
    async def hang() -> None:
        began.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.set()

    @upper.rpc
    async def ask() -> None:
        await nebula.connect(below).service("lower").hang()

    below = serving(lower, address="tcp://127.0.0.1:0").urls[0]
    above = serving(upper, address="tcp://127.0.0.1:0").urls[0]

    async def main():
        call = asyncio.ensure_future(nebula.connect(above).service("upper").ask())
        while not began.is_set():
            await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while not ended.is_set():
            await asyncio.sleep(0.001)

    aio(main)


def test_the_arithmetic():
    assert deadline.microseconds(None) == 0 and deadline.microseconds(0.5) == 500_000
    assert deadline.microseconds(-1) == deadline.microseconds(0) == 1
    assert deadline.microseconds(float("inf")) == 3_200_000_000_000_000
    with pytest.raises(ValueError, match="not a number"):
        deadline.microseconds(float("nan"))


@pytest.mark.parametrize(
    "target, path, options, code, fate, fault",
    [
        ("tcp://127.0.0.1:1", "/d/left", {}, nebula.UNAVAILABLE, "unsent", "network"),
        (None, "/d/nope", {}, nebula.UNIMPLEMENTED, "unsent", "caller"),
        (None, "/d/hang_below", {"timeout": 1e-6}, nebula.DEADLINE_EXCEEDED, "unsent", "network"),
    ],
)
@pytest.mark.parametrize("mode", ["aio", "sync"])
def test_an_error_tells_how_far_the_call_got_and_whose_fault_it_is(url, target, path, options, code, fate, fault, mode):
    channel = nebula.connect(target or url, mode=mode)

    async def main():
        return await channel.call(path, {}, **options)

    with pytest.raises(nebula.Error) as caught:
        aio(main) if mode == "aio" else channel.call(path, {}, **options)
    error = caught.value
    assert (error.code, str(error.fate), str(error.fault)) == (code, fate, fault)
    assert f"{error.fate}" == fate and isinstance(error.fate, nebula.Fate) and isinstance(error.fault, nebula.Fault)


def test_an_error_of_ones_own_has_no_fate():
    error = nebula.Error(nebula.NOT_FOUND, "no order 7")
    assert error.fate is None and error.fault is None
    assert str(pickle.loads(pickle.dumps(error))) == "NOT_FOUND: no order 7"
