"""Calls with streams of messages, seen from the caller: AsyncStream for asyncio, Stream for plain code."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import threading
from types import TracebackType
from typing import Any, Optional

from nebula import _nebula, engine
from nebula.around import Around, AsyncAround, Start, ThreadAround
from nebula.codec import Codec, Malformed
from nebula.errors import Code, Error, engine_error
from nebula.flow import Flow, LoopFlow, ThreadFlow
from nebula.metadata import Metadata, unpack


def is_iterator(messages: Any) -> bool:
    """Whether these are many messages. A list is one: it has a form in JSON."""
    return hasattr(messages, "__aiter__") or hasattr(messages, "__next__")


def failure_of(ended: engine.Pending) -> Exception:
    """The error of a call that has failed; EngineError where it was the engine that ended it."""
    if ended.status < 0:
        return engine_error(ended.status)
    text = (ended.data or b"").decode("utf-8", "replace")
    return Error.of_call(ended.status, text, ended.trailers, ended.outcome)


def malformed(name: str, why: Malformed, trailers: bytes = b"") -> Error:
    """The error of a call whose answer cannot be read."""
    outcome = _nebula.FATE_PROCESSED | _nebula.FAULT_CALLEE << 8
    return Error.of_call(Code.INTERNAL, f"{name}: malformed answer: {why}", trailers, outcome)


class _Caller:
    """What both kinds of stream share. Nothing but its user refers to a stream, so that it can be cancelled when it is
    no longer used; the call itself is `_flow` and `_pending`.
    """

    _flow: Flow
    _pending: engine.Pending

    def __init__(self, path: str, codec: Codec, around: Optional[Around]) -> None:
        self._path = path
        self._codec = codec if around is None else around.codec(codec)
        self._failure: list[BaseException] = []  # of the iterator of requests

    @property
    def trailers(self) -> Metadata:
        """The metadata that came after the last message; empty until the stream has ended."""
        return unpack(self._pending.trailers)

    def cancel(self) -> None:
        """Ends the call, at the server too. Harmless when it has ended."""
        if not self._pending.ended:
            self._flow.cancel()

    def _begin(self, port: engine.Port, start: Start) -> None:
        self._start = start  # it keeps the channel open
        start(port, self._pending)
        self._flow.call = self._pending.call

    def _decoded(self, data: Optional[bytes]) -> Any:
        """A message that came, or the end of all: raises EOFError, or what the call has failed with."""
        if data is None:
            self._raise_failure()
            raise EOFError(f"{self._label}: the stream has ended")
        try:
            return self._codec.decode(data)
        except Malformed as error:
            self._flow.cancel()
            raise malformed(self._label, error) from None

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure[0]
        if self._pending.status != _nebula.OK:
            raise failure_of(self._pending)

    @property
    def _label(self) -> str:
        return self._path[1:].replace("/", ".")

    def __repr__(self) -> str:
        return f"<nebula.{type(self).__name__} {self._path}{' (ended)' if self._pending.ended else ''}>"


class AsyncStream(_Caller):
    """A stream on an event loop. Iterate over the answers: the loop ends with the call, by nebula.Error if it failed.

    >>> async for price in shop.prices.stream(item="tea"):

    Leaving the loop, the last reference gone, cancels the call; so does the end of an `async with` block.
    """

    def __init__(
        self, path: str, codec: Codec, start: Optional[Start], messages: Any, around: Optional[AsyncAround] = None
    ) -> None:
        """Begins the call. Made by Channel.stream and Channel.open; of start and around there is one."""
        super().__init__(path, codec, around)
        self._around = around
        self._flow: LoopFlow = LoopFlow()
        self._pending = engine.Pending(self._flow.on_over, self._flow)
        if around is not None:
            around.begin(self._pending, self._flow, self._failure)
        if start is not None:
            self._begin(engine.loop_port(asyncio.get_running_loop()), start)
        if messages is not None:
            feeding = asyncio.ensure_future(_feed_async(self._flow, self._codec, messages, self._failure, around))
            self._pending.done = functools.partial(_end_feeding, self._flow, feeding)

    async def send(self, message: Any, *, compress: bool = True) -> None:
        """Sends a message; waits while the server does not read. Raises nebula.Error if the call failed, EOFError if
        the server has ended it, RuntimeError after done_sending. compress: False leaves this message as it is where
        the call compresses.
        """
        if self._around is not None:
            await self._around.opened()
        if not await self._flow.send(self._codec.encode(message), compress):
            await self._flow.wait(lambda: self._pending.ended)
            await self._end_of_all()

    async def done_sending(self) -> None:
        """Tells the server that no more messages come. Answers still may."""
        if self._around is not None:
            await self._around.opened()
        self._flow.submit(None, _nebula.END)

    async def receive(self) -> Any:
        """The next answer. Raises EOFError when there are no more, nebula.Error if the call failed."""
        data = await self._flow.receive()
        if data is None:
            await self._end_of_all()
        return self._decoded(data)

    async def _end_of_all(self) -> None:
        """Raises what the call has failed with, or what its filters have made of that."""
        if self._around is not None:
            await self._around.end()
            raise EOFError(f"{self._label}: the stream has ended")
        self._decoded(None)

    def cancel(self) -> None:
        super().cancel()
        if self._around is not None:
            self._around.cancel()

    async def headers(self) -> Metadata:
        """The metadata that comes before the first answer, when it is here. Raises nebula.Error if it never is."""
        await self._flow.wait(lambda: self._pending.has_headers or self._pending.ended)
        if not self._pending.has_headers:
            if self._around is not None:
                await self._around.end()
            self._raise_failure()
        return unpack(self._pending.headers)

    async def _end(self) -> engine.Pending:
        """The call, when it has ended."""
        await self._flow.wait(lambda: self._pending.ended)
        if self._failure:
            raise self._failure[0]
        return self._pending

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except EOFError:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        if hasattr(self, "_pending"):  # else it could not begin
            self.cancel()  # from any thread: the engine wakes the loop


class Stream(_Caller):
    """A stream in plain code. Iterate over the answers: the loop ends with the call, by nebula.Error if it failed.

    >>> for price in shop.prices.stream(item="tea"):

    One thread may send while another receives. Leaving the loop, the last reference gone, cancels the call; so does the
    end of a `with` block.
    """

    def __init__(
        self, path: str, codec: Codec, start: Optional[Start], messages: Any, around: Optional[ThreadAround] = None
    ) -> None:
        """Begins the call. Made by Channel.stream and Channel.open; of start and around there is one."""
        super().__init__(path, codec, around)
        self._around = around
        port = engine.thread_port()
        self._flow: ThreadFlow = ThreadFlow(port)
        self._pending = engine.Pending(self._flow.on_over, self._flow)
        if around is not None:
            start = around.begin(self._pending, self._failure)
        if start is None:  # a filter has ended it
            self._pending.ended = True
            self._flow.on_over()
            return
        self._begin(port, start)
        self._flow.flush()
        if messages is not None:
            run = contextvars.copy_context().run
            arguments = (_feed, self._flow, self._codec, messages, self._failure)
            threading.Thread(target=run, args=arguments, name=f"nebula {self._label}", daemon=True).start()

    def send(self, message: Any, *, compress: bool = True) -> None:
        """Sends a message; waits while the server does not read. Raises nebula.Error if the call failed, EOFError if
        the server has ended it, RuntimeError after done_sending. compress: False leaves this message as it is where
        the call compresses.
        """
        if not self._flow.send(self._codec.encode(message), compress):
            self._flow.wait(lambda: self._pending.ended)
            self._end_of_all()

    def done_sending(self) -> None:
        """Tells the server that no more messages come. Answers still may."""
        self._flow.submit(None, _nebula.END)
        self._flow.flush()

    def receive(self) -> Any:
        """The next answer. Raises EOFError when there are no more, nebula.Error if the call failed."""
        data = self._flow.receive()
        if data is None:
            self._end_of_all()
        return self._decoded(data)

    def _end_of_all(self) -> None:
        """Raises what the call has failed with, or what its filters have made of that."""
        if self._around is not None:
            self._around.end()
            raise EOFError(f"{self._label}: the stream has ended")
        self._decoded(None)

    def headers(self) -> Metadata:
        """The metadata that comes before the first answer, when it is here. Raises nebula.Error if it never is."""
        self._flow.wait(lambda: self._pending.has_headers or self._pending.ended)
        if not self._pending.has_headers:
            if self._around is not None:
                self._around.end()
            self._raise_failure()
        return unpack(self._pending.headers)

    def cancel(self) -> None:
        super().cancel()
        if self._around is not None:
            self._around.cancel()
        self._flow.flush()

    def _end(self) -> engine.Pending:
        """The call, when it has ended."""
        self._flow.wait(lambda: self._pending.ended)
        if self._failure:
            raise self._failure[0]
        return self._pending

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except EOFError:
            raise StopIteration from None

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        around: Optional[ThreadAround] = getattr(self, "_around", None)
        if around is not None:
            around.cancel()  # it waits for what its user has not taken
        # At the end of the process a thread that holds a lock may be gone, and the engine is closed.
        if hasattr(self, "_pending") and not self._pending.ended and not sys.is_finalizing():
            try:
                self.cancel()
            except _nebula.EngineError:
                pass  # the port was closed before
            self._flow.on_over()  # whoever feeds it may wait for room


# ---- iterators of requests: they know the call, not the stream, which may go before them ----------------------------


async def _feed_async(
    flow: LoopFlow, codec: Codec, messages: Any, failure: list[BaseException], around: Optional[AsyncAround]
) -> None:
    try:
        if around is not None:
            await around.opened()
        async for message in messages if hasattr(messages, "__aiter__") else _in_turns(messages):
            if not await flow.send(codec.encode(message)):
                return
        flow.submit(None, _nebula.END)
    except Exception as error:
        failure.append(error)
        flow.cancel()
    finally:
        if hasattr(messages, "aclose"):
            await messages.aclose()


async def _in_turns(messages: Any) -> Any:
    for message in messages:
        yield message


def _end_feeding(flow: LoopFlow, feeding: asyncio.Future[None]) -> None:
    feeding.cancel()
    flow.on_over()


def _feed(flow: ThreadFlow, codec: Codec, messages: Any, failure: list[BaseException]) -> None:
    try:
        for message in messages:
            if not flow.send(codec.encode(message)):
                return
        flow.submit(None, _nebula.END)
    except BaseException as error:
        failure.append(error)
        flow.cancel()
    finally:
        if hasattr(messages, "close"):
            messages.close()
