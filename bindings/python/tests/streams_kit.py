"""A service with each shape of stream, in each way to write and to encode it, and clients of both kinds for it."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Iterator

from kit import PATIENCE

import nebula


class Json:
    """Messages are numbers."""

    request = answer = int
    response = None
    one = staticmethod(lambda number: {"to": number})  # the fields of a single request

    @staticmethod
    def ask(number):
        return number

    say = number_of = ask


class Proto:
    """Messages are protobuf's, and the numbers are inside."""

    def __init__(self, shop):
        self.request, self.answer = shop.AddRequest, shop.AddReply
        self.response = shop.AddReply
        self.ask = self.one = lambda number: shop.AddRequest(count=number)
        self.say = lambda number: shop.AddReply(total=number)

    @staticmethod
    def number_of(message):
        return message if isinstance(message, int) else getattr(message, "total", None) or getattr(message, "count", 0)


def hinted(function, source=None, answer=None, **hints):
    """The function with these hints; Proto's classes are known only when the tests run."""
    function.__annotations__ = {**hints, "return": answer}
    if source is not None:
        function.__annotations__["numbers"] = source
    return function


def loop_service(kind):
    """Handlers on the event loop: count, total, double, and hold, which reads nothing."""
    app = nebula.Service("loop")
    one = {"to": int} if kind is Json else {"to": kind.request}

    async def count(to):
        for number in range(kind.number_of(to)):
            yield kind.say(number)

    async def total(numbers):
        sum_ = 0
        async for number in numbers:
            sum_ += kind.number_of(number)
        return kind.say(sum_)

    async def double(numbers):
        async for number in numbers:
            yield kind.say(2 * kind.number_of(number))

    app.rpc(hinted(count, answer=AsyncIterator[kind.answer], **one))
    app.rpc(hinted(total, AsyncIterator[kind.request], kind.answer))
    app.rpc(hinted(double, AsyncIterator[kind.request], AsyncIterator[kind.answer]))
    return app


def thread_service(kind):
    """The same in threads."""
    app = nebula.Service("threads")
    one = {"to": int} if kind is Json else {"to": kind.request}

    def count(to):
        for number in range(kind.number_of(to)):
            yield kind.say(number)

    def total(numbers):
        return kind.say(sum(map(kind.number_of, numbers)))

    def double(numbers):
        for number in numbers:
            yield kind.say(2 * kind.number_of(number))

    app.rpc(hinted(count, answer=Iterator[kind.answer], **one))
    app.rpc(hinted(total, Iterator[kind.request], kind.answer))
    app.rpc(hinted(double, Iterator[kind.request], Iterator[kind.answer]))
    return app


class Client:
    """A service's client, asynchronous or not, for tests that are written once: its verbs are plain functions."""

    def __init__(self, url: str, name: str, mode: str) -> None:
        self.loop = asyncio.new_event_loop() if mode == "aio" else None
        self.service = nebula.connect(url, mode=mode).service(name, timeout=PATIENCE)

    def _run(self, verb, *args, **options) -> Any:
        if self.loop is None:
            return verb(*args, **options)

        async def on_loop():
            value = verb(*args, **options)
            return await value if asyncio.iscoroutine(value) else value

        return self.loop.run_until_complete(on_loop())

    def call(self, method, *args, **options):
        return self._run(self.service[method], *args, **options)

    def stream(self, method, *args, **options):
        return self._wrapped(self._run(self.service[method].stream, *args, **options))

    def open(self, method, **options):
        return self._wrapped(self._run(self.service[method].open, **options))

    def _wrapped(self, stream):
        return stream if self.loop is None else PlainStream(self, stream)

    def close(self):
        self.service._channel.close()
        if self.loop is not None:
            self.loop.close()


class PlainStream:
    """An AsyncStream that is used like a Stream. Between two calls of its verbs its loop stands still."""

    def __init__(self, client, stream):
        self._client, self._stream = client, stream
        self.cancel = stream.cancel

    def __getattr__(self, name):
        if name == "trailers":
            return self._stream.trailers
        verb = getattr(self._stream, name)
        return lambda *args: self._client._run(verb, *args)

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.receive()
        except EOFError:
            raise StopIteration from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cancel()
