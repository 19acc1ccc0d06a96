"""A stream with filters around it, seen from the caller: they run in a task or a thread of their own while it lasts.

Neither refers to the stream that its user has, so that it can be cancelled when it is no longer used.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from typing import Any, Callable, Optional

from nebula import _nebula, deadline, engine
from nebula.codec import Codec
from nebula.errors import Code, Error
from nebula.filters import Call, Filter, chain, through
from nebula.flow import LoopFlow
from nebula.metadata import unpack

# Begins the call that is pending, on a port.
Start = Callable[[engine.Port, engine.Pending], None]
# What begins a call that the filters have let through.
Prepare = Callable[[Call], Start]


class Around:
    """What both kinds share: the filters, the call as they see it, and its messages on their way through them."""

    def __init__(self, filters: tuple[Filter, ...], call: Call, prepare: Prepare) -> None:
        self._filters = filters
        self._call = call
        self._prepare = prepare
        self._innermost = call  # once the filters have let it through

    def codec(self, codec: Codec) -> Codec:
        """The codec of the messages of the stream, by way of the filters."""

        def encode(message: Any) -> bytes:
            return codec.encode(through(self._innermost._all_requests(), message))

        def decode(data: bytes) -> Any:
            return through(self._innermost._all_answers(), codec.decode(data))

        return Codec(codec.flag, encode, decode)

    def _ended(self, call: Call, pending: engine.Pending, failure: list[BaseException]) -> None:
        """For the filters: the call has ended. Raises what it has failed with."""
        from nebula.streams import failure_of

        call._end.headers, call._end.trailers = unpack(pending.headers), unpack(pending.trailers)
        if failure:
            raise failure[0]
        if not pending.ended:
            raise Error(Code.CANCELLED, f"{call.method[1:].replace('/', '.')}: the stream was cancelled")
        if pending.status != _nebula.OK:
            raise failure_of(pending)


class AsyncAround(Around):
    """On an event loop. `opened` ends when there is a call, or never will be."""

    def begin(self, pending: engine.Pending, flow: LoopFlow, failure: list[BaseException]) -> None:
        """Runs the filters until the call has ended."""
        self._pending, self._flow, self._failure = pending, flow, failure
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._taken: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._on_end)

    async def _run(self) -> None:
        with deadline.within(self._call.timeout):
            await chain(self._filters, self._call, self._last, False, True)

    async def _last(self, call: Call) -> None:
        start = self._prepare(call)
        self._innermost = call
        pending, flow = self._pending, self._flow
        port = engine.loop_port(self._loop)
        start(port, pending)
        flow.call = pending.call
        port.flush_soon()
        engine.settle(self._opened)
        try:
            await flow.wait(lambda: pending.ended)
            if pending.status == _nebula.OK:
                await self._taken
        finally:
            if not pending.ended:  # a filter waits no more
                flow.cancel()
        self._ended(call, pending, self._failure)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not self._opened.done():
            self._pending.ended = True
            self._flow.on_over()
            self._opened.set_result(None)
        if not task.cancelled():
            task.exception()  # its user may not ask for it

    async def opened(self) -> None:
        await asyncio.shield(self._opened)

    async def end(self) -> None:
        """Lets the filters end, and raises what they do."""
        engine.settle(self._taken)
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise Error(Code.CANCELLED, f"{self._call.method[1:].replace('/', '.')}: the stream was cancelled")
        self._task.result()

    def cancel(self) -> None:
        """From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        engine.settle(self._taken)
        if not self._opened.done():
            self._task.cancel()


class ThreadAround(Around):
    """In plain code: a thread runs the filters, while that of the user has the call and its connection."""

    def begin(self, pending: engine.Pending, failure: list[BaseException]) -> Optional[Start]:
        """Runs the filters until they let the call through: what begins it. None: they have ended without."""
        self._pending, self._failure = pending, failure
        self._raised: Optional[BaseException] = None
        self._starts: queue.SimpleQueue[Optional[Start]] = queue.SimpleQueue()
        self._taken = threading.Event()
        run = contextvars.copy_context().run
        name = f"nebula filters of {self._call.method}"
        self._thread = threading.Thread(target=run, args=(self._run,), name=name, daemon=True)
        self._thread.start()
        return self._starts.get()

    def _run(self) -> None:
        try:
            with deadline.within(self._call.timeout):
                chain(self._filters, self._call, self._last, False, False)
        except BaseException as error:
            self._raised = error
        finally:
            self._starts.put(None)

    def _last(self, call: Call) -> None:
        start = self._prepare(call)
        self._innermost = call
        self._starts.put(start)
        self._taken.wait()
        self._ended(call, self._pending, self._failure)

    def end(self) -> None:
        """Lets the filters end, and raises what they do."""
        self._taken.set()
        self._thread.join()
        if self._raised is not None:
            raise self._raised

    def cancel(self) -> None:
        self._taken.set()
