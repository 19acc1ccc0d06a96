"""A call with filters around it, at its server: they run on the event loop, wherever the handler does."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from typing import TYPE_CHECKING, Any, Optional

from nebula.context import Context
from nebula.errors import Code, Error
from nebula.filters import Call, Change, Filter, chain, through
from nebula.method import Arguments, Method

if TYPE_CHECKING:
    from nebula.server import Server

# What a stream of answers comes to for its server: they have been sent.
_SENT = object()


class FilteredCall(Method):
    """One call of a method, which stands in that method's place: its `function` is the filters with the handler in
    their midst."""

    def __init__(
        self, server: Server, method: Method, filters: tuple[Filter, ...], context: Context, encoding: Optional[str]
    ) -> None:
        self.label = method.label
        self.is_async = True
        self.streams = False  # they have been sent when the filters end
        self._server = server
        self._method = method
        self._filters = filters
        self._context = context
        self._encoding = encoding
        self._requests: list[Change] = []
        self._answers: list[Change] = []

    def handling(self, data: Optional[bytes], messages: Any) -> Arguments:
        """What `function` is called with."""
        return (data, messages), {}

    async def function(self, data: Optional[bytes], messages: Any) -> Any:
        method, context = self._method, self._context
        is_stream = method.streams or messages is not None

        def read() -> Any:
            return None if messages is not None else method.read_request(self._encoding, data)

        given = context.metadata
        call = Call(method.path, given, context.time_remaining(), is_stream, read, context)

        async def last(inner: Call) -> Any:
            if inner.metadata is not given:
                context._metadata = inner.metadata
            if is_stream:
                self._requests, self._answers = inner._all_requests(), inner._all_answers()
            arguments = method.with_request(messages if messages is not None else inner.request, context)
            return await (self._on_loop(arguments) if method.is_async else self._in_thread(arguments))

        answer = await chain(self._filters, call, last, not method.streams, True)
        return _SENT if method.streams else answer

    def decode(self, codec_name: Optional[str], data: bytes) -> Any:
        return through(self._requests, self._method.decode(codec_name, data))

    def reply(self, codec_name: Optional[str], value: Any) -> Any:
        if value is _SENT:
            return None
        # A single answer has been through them.
        return self._method.reply(codec_name, through(self._answers, value) if self._method.streams else value)

    async def _on_loop(self, arguments: Arguments) -> Any:
        value = self._method.function(*arguments[0], **arguments[1])
        if inspect.isawaitable(value):
            value = await value
        if self._method.streams:
            return await self._server._stream_async(self, self._context, self._encoding, value)
        return value

    async def _in_thread(self, arguments: Arguments) -> Any:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[Any, Optional[BaseException]]] = loop.create_future()

        def work() -> None:
            if self._context.cancelled:
                return  # it died while it waited for a thread
            value, failure = None, None
            try:
                value = self._method.function(*arguments[0], **arguments[1])
                if self._method.streams:
                    self._server._stream_sync(self, self._context, self._encoding, value)
            except BaseException as error:
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, ended, (value, failure))

        job = functools.partial(contextvars.copy_context().run, work)
        if not self._server._workers.submit(job):
            raise Error(Code.RESOURCE_EXHAUSTED, f"{self.label}: too many calls wait for a thread")
        value, failure = await ended
        if failure is not None:
            raise failure
        return value


def _settle(ended: asyncio.Future[Any], outcome: Any) -> None:
    if not ended.done():
        ended.set_result(outcome)
