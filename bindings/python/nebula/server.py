"""Serving: servers that answer for services on an asyncio loop."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import inspect
import logging
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Optional, Union

from nebula import _nebula, codec, deadline, engine
from nebula.context import Context
from nebula.describe import descriptor_set, document
from nebula.errors import Code, Error
from nebula.filtered import FilteredCall
from nebula.filters import Filter, checked
from nebula.flow import Flow, Gate, LoopFlow, ThreadFlow
from nebula.method import Arguments, BadReply, Method
from nebula.options import count, flag, milliseconds
from nebula.services import Service
from nebula.tls import TLS
from nebula.workers import Workers

log = logging.getLogger("nebula")

# A message of an error travels in the trailers, which have little room.
ERROR_BYTES_MAX = 2000


class Server:
    """Services being served on the running event loop. Made by nebula.serve."""

    def __init__(
        self,
        services: list[Service],
        addresses: list[Optional[str]],
        announce: Optional[str],
        workers: Optional[int],
        options: dict[str, int],
        drain_timeout: float,
        tls: Optional[TLS],
        mode: int,
        filters: tuple[Filter, ...] = (),
    ) -> None:
        self._services = services
        self._addresses = addresses
        self._announce = announce
        self._workers = Workers(workers)
        self._options = options  # of _nebula.Server
        self._drain_timeout = drain_timeout
        self._tls = tls
        self._mode = mode  # of the queue
        self._filters = filters
        self._methods: dict[int, Method] = {}  # by tag
        self._filters_of: dict[str, tuple[Filter, ...]] = {}  # by the path of a method
        self._running: dict[int, Context] = {}  # by call
        self._native: Optional[_nebula.Server] = None
        self._port: Optional[engine.LoopPort] = None
        self._context = contextvars.copy_context()

    @property
    def services(self) -> tuple[Service, ...]:
        """What is served."""
        return tuple(self._services)

    @property
    def urls(self) -> list[str]:
        """The addresses in use, with the ports that were chosen: ["tcp://127.0.0.1:20417", "unix:/run/..."]."""
        return self._native.urls().split() if self._native is not None else []

    async def start(self) -> None:
        """Listens and announces; every watcher on this host can see it then.

        Raises OSError or nebula.EngineError if an address, a file of `tls` or the registry cannot be used, RuntimeError
        the second time.
        """
        if self._port is not None:
            raise RuntimeError("a server is started once")
        port = self._port = engine.loop_port(asyncio.get_running_loop(), self._mode)
        native = self._native = _nebula.Server(port.engine, **self._options)
        _servers.add(self)
        try:
            for service in self._services:
                for method in service.methods.values():
                    tag = next(port.tags)
                    hold = _nebula.HOLD if method.source is not None else 0
                    native.method(method.path, method.shape | hold, tag)
                    self._methods[tag] = method
                    if self._filters or service.filters:
                        self._filters_of[method.path] = self._filters + service.filters
                    port.servers[tag] = self
                native.schema(service.name, document(service.name, service.methods.values()))
            descriptors = descriptor_set(self._methods.values())
            if descriptors:
                native.describe(descriptors)
            for address in self._addresses:
                is_tls = address is not None and address.startswith("tls:")
                native.listen(address, self._announce, self._tls._texts() if self._tls and is_tls else None)
            native.start(port.queue)
        except BaseException:
            self.close()
            raise

    def set_health(self, serving: bool, service: str = "") -> None:
        """What grpc.health.v1 says of a service; "" is the server as a whole."""
        if self._native is None:
            raise RuntimeError("the server does not run")
        self._native.health(service, 1 if serving else 2)

    async def drain(self, timeout: Optional[float] = None) -> None:
        """Withdraws from the registry, sends clients elsewhere and waits for running calls.

        timeout: seconds until those that still run are ended; None: as given to nebula.serve.
        """
        port, native = self._port, self._native
        if port is None or native is None:
            return
        drained: asyncio.Future[None] = port.loop.create_future()
        tag = next(port.tags)
        port.drains[tag] = functools.partial(engine.settle, drained)
        seconds = self._drain_timeout if timeout is None else timeout
        native.drain(int(max(0.0, seconds) * 1000), tag)
        port.flush_soon()
        try:
            await drained
        finally:
            port.drains.pop(tag, None)

    def close(self) -> None:
        """Stops at once: calls that run are cut off. Harmless when repeated."""
        native, self._native = self._native, None
        if native is None or self._port is None:
            return
        native.close()
        for tag in self._methods:
            self._port.servers.pop(tag, None)
        for call in list(self._running):
            self.on_cancelled(call, _nebula.CANCELLED)
        self._workers.close()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            await self.drain()
        finally:
            self.close()

    # ---- what the port tells us -------------------------------------------------------------------------------------

    def on_call(self, tag: int, call: int, flags: int, data: Optional[bytes], metadata: bytes, left_us: int) -> None:
        """A call, with its request unless that is a stream. Answered by the handler, in its own time."""
        method = self._methods[tag]
        context = Context(self, call, method.path, metadata, left_us)
        encoding = codec.codec_name(flags, metadata)
        try:
            method.check_codec(encoding)
            if method.shape != _nebula.UNARY:
                context._flow = LoopFlow(call) if method.is_async else ThreadFlow(Gate(), call)
            if self._filters_of and method.path in self._filters_of:
                method, arguments = self._filtered(method, context, encoding, data)
            elif method.source is not None:
                arguments = method.with_request(_requests(method, encoding, context._flow), context)
            else:
                arguments = method.with_request(method.read_request(encoding, data), context)
        except Error as error:
            return self._finish(context, error)
        except Exception as error:
            return self._fail(context, method, error)
        self._running[call] = context
        fresh = self._context.copy()  # what one handler sets in a context variable is not the next one's
        fresh.run(deadline.inherit, context.deadline, call)
        if method.is_async:
            context._task = fresh.run(_begin, self._run_async(method, context, encoding, arguments))
            return
        job = functools.partial(fresh.run, self._run_sync, method, context, encoding, arguments)
        if not self._workers.submit(job):
            self._finish(context, Error(Code.RESOURCE_EXHAUSTED, f"{method.label}: too many calls wait for a thread"))

    def on_stream(self, call: int, number: int, kind: int, flags: int, data: Optional[bytes]) -> None:
        """One of a stream of requests, their end, or room for more answers."""
        context = self._running.get(call)
        if context is not None and context._flow is not None:
            context._flow.on_event(number, kind, flags, data)

    def on_cancelled(self, call: int, status: int) -> None:
        """Nobody waits for the answer any more."""
        context = self._running.pop(call, None)
        if context is not None:
            context._cancelled = True
            if context._flow is not None:
                context._flow.on_over()
            if context._task is not None:
                context._task.cancel()

    def _filtered(
        self, method: Method, context: Context, encoding: Optional[str], data: Optional[bytes]
    ) -> tuple[Method, Arguments]:
        call = FilteredCall(self, method, self._filters_of[method.path], context, encoding)
        messages = _requests(call, encoding, context._flow) if method.source is not None else None
        return call, call.handling(data, messages)

    # ---- handlers ---------------------------------------------------------------------------------------------------

    async def _run_async(self, method: Method, context: Context, encoding: Optional[str], arguments: Arguments) -> None:
        try:
            value = method.function(*arguments[0], **arguments[1])
            if inspect.isawaitable(value):
                value = await value
            if method.streams:
                await self._stream_async(method, context, encoding, value)
        except asyncio.CancelledError:
            self._finish(context, Error(Code.CANCELLED, f"{method.label}: the handler was cancelled"))
            raise
        except Error as error:
            self._finish(context, error)
        except BaseException as error:
            self._fail(context, method, error)
            if isinstance(error, KeyboardInterrupt):
                raise  # it is meant for the program
        else:
            self._answer(context, method, encoding, value)

    async def _stream_async(self, method: Method, context: Context, encoding: Optional[str], answers: Any) -> None:
        flow = context._flow
        assert isinstance(flow, LoopFlow)
        try:
            async for value in answers:
                if not await flow.send(method.reply(encoding, value), context.compress):
                    return
        finally:
            if hasattr(answers, "aclose"):
                await answers.aclose()  # its finally blocks run now

    def _run_sync(self, method: Method, context: Context, encoding: Optional[str], arguments: Arguments) -> None:
        if context._cancelled:
            return  # it died while it waited for a thread
        try:
            value = method.function(*arguments[0], **arguments[1])
            if method.streams:
                self._stream_sync(method, context, encoding, value)
        except Error as error:
            self._finish(context, error)
        except BaseException as error:
            self._fail(context, method, error)
        else:
            self._answer(context, method, encoding, value)

    def _stream_sync(self, method: Method, context: Context, encoding: Optional[str], answers: Any) -> None:
        flow = context._flow
        assert isinstance(flow, ThreadFlow)
        try:
            for value in answers:
                if not flow.send(method.reply(encoding, value), context.compress):
                    return
        finally:
            if hasattr(answers, "close"):
                answers.close()  # its finally blocks run now

    # ---- answers: from any thread; one that comes too late is of no interest ----------------------------------------

    def _answer(self, context: Context, method: Method, encoding: Optional[str], value: Any) -> None:
        try:
            data = None if method.streams else method.reply(encoding, value)
        except Exception as error:
            return self._fail(context, method, error)
        self._running.pop(context._call, None)
        has_trailers = context._trailers is not None
        result = _nebula.OK
        if data is not None or not has_trailers:
            flags = (0 if has_trailers else _nebula.END) | (_nebula.COMPRESS if context.compress else 0)
            result = _nebula.call_send(context._call, data, flags)
        if has_trailers and result == _nebula.OK:
            result = _nebula.call_finish(context._call, _nebula.OK, None, context._trailers)
        if result not in (_nebula.OK, _nebula.E_STALE):
            log.error("%s: the answer was not sent: %s", method.label, _nebula.strerror(result))
        self._submitted()

    def _fail(self, context: Context, method: Method, error: BaseException) -> None:
        if isinstance(error, BadReply):
            log.error("%s: %s", method.label, error)
            return self._finish(context, Error(Code.INTERNAL, f"{method.label}: {error}"))
        log.error("%s failed", method.label, exc_info=error)
        name = type(error).__name__
        try:
            text = str(error)
        except Exception:  # the caller is answered all the same
            text = ""
        self._finish(context, Error(Code.UNKNOWN, f"{name}: {text}" if text else name))

    def _finish(self, context: Context, error: Error) -> None:
        self._running.pop(context._call, None)
        text = error.message.encode("utf-8", "replace").replace(b"\0", b" ")[:ERROR_BYTES_MAX]
        try:
            trailers = context._error_trailers(error)
        except (TypeError, ValueError):
            trailers = None  # those of another server, handed on, which may not be ours to send
        _nebula.call_finish(context._call, error.code, text, trailers)
        self._submitted()

    def _submitted(self) -> None:
        # From another thread the engine itself wakes the loop.
        if self._port is not None and threading.get_ident() == self._port.thread:
            self._port.flush_soon()


def serve(
    *services: Union[Service, str],
    address: Union[str, Iterable[str], None] = None,
    announce: Union[str, Iterable[str], None] = None,
    workers: Optional[int] = None,
    max_message: int = 0,
    max_streams: int = 0,
    max_connections: int = 0,
    keepalive: float = 0,
    keepalive_timeout: float = 0,
    min_ping: float = 0,
    max_idle: float = 0,
    max_age: float = 0,
    max_age_grace: float = 0,
    drain_timeout: float = 10.0,
    tls: Optional[TLS] = None,
    compression: Optional[str] = None,
    threaded: bool = False,
    filters: Iterable[Filter] = (),
) -> Server:
    """Services on the running event loop, for `async with`; leaving the block drains.

    >>> async with nebula.serve(app) as server:
    ...     print(server.urls)

    services: one or more; a string among them is an address. address: tcp://host:port (0: any port), tls://host:port,
    unix:/path, mem:name, or several; None: a Unix socket and a port of 127.0.0.1 that are found through the registry.
    announce: names to register; None: those of the services if no address is given, else none. workers: threads for
    `def` handlers, None is 4 more than there are processors, at most 32. max_message: bytes of a request at most, 0 is
    4 MiB. max_streams: calls of one connection at a time, 0 is 1,000; clients keep more waiting. max_connections:
    beyond, the oldest idle one is closed; 0 is by the process's limit of descriptors. drain_timeout: seconds that
    running calls get at the end. tls: certificate and key of the tls:// addresses.
    compression: of answers, "gzip" or "zstd", as far as the caller accepts one and the handler does not say otherwise
    (Context.compress); None: none. Compressed requests need nothing said.
    threaded: threads of the engine read, write and encrypt, and the event loop only runs handlers. It pays with TLS or
    large messages on a busy loop, where a processor is free; it does not help handlers that compute: they hold the GIL.
    filters: around all calls, the first is the outermost; those of a service are inside of them. See nebula.Call.

    The life of a connection, in seconds. keepalive: after so long a silence a client is pinged, 0 is two hours;
    keepalive_timeout: and left if nothing comes within so long after, 0 is 20 s. min_ping: clients' own pings must be
    so far apart, 0 is five minutes, and two hours without calls. max_idle, max_age: a connection without calls for so
    long, or of that age, give or take a tenth, is drained; max_age_grace: and cut off so long after; 0 is never.

    Raises TypeError or ValueError for what cannot be served.
    """
    served = [service for service in services if isinstance(service, Service)]
    addresses: list[Optional[str]] = [text for text in services if isinstance(text, str)]
    addresses += [address] if isinstance(address, str) else list(address or [])
    if not any(service.methods for service in served):
        raise ValueError("there is no method to serve: decorate one with @app.rpc")
    if len({service.name for service in served}) < len(served):
        raise ValueError("two of the services have the same name")
    if tls is not None and not any(text.startswith("tls:") for text in addresses if text is not None):
        raise ValueError('tls is for addresses that begin with tls://, as address="tls://0.0.0.0:7443"')
    names = announce if announce is None or isinstance(announce, str) else ",".join(announce)
    options = {
        "max_message": count("max_message", max_message),
        "max_streams": count("max_streams", max_streams),
        "max_connections": count("max_connections", max_connections),
        "keepalive_ms": milliseconds("keepalive", keepalive),
        "keepalive_timeout_ms": milliseconds("keepalive_timeout", keepalive_timeout),
        "min_ping_ms": milliseconds("min_ping", min_ping),
        "max_idle_ms": milliseconds("max_idle", max_idle),
        "max_age_ms": milliseconds("max_age", max_age),
        "max_age_grace_ms": milliseconds("max_age_grace", max_age_grace),
        "compression": codec.compression_flag(compression),
    }
    mode = _nebula.QUEUE_THREADED if flag("threaded", threaded) else _nebula.QUEUE_INLINE
    return Server(served, addresses or [None], names, workers, options, drain_timeout, tls, mode, checked(filters))


def _requests(method: Method, encoding: Optional[str], flow: Optional[Flow]) -> Any:
    """The iterator from which a handler takes its stream of requests."""
    if isinstance(flow, LoopFlow):
        return _requests_async(method, encoding, flow)
    assert isinstance(flow, ThreadFlow)
    return _requests_sync(method, encoding, flow)


async def _requests_async(method: Method, encoding: Optional[str], flow: LoopFlow) -> AsyncIterator[Any]:
    while (data := await flow.receive()) is not None:
        yield method.decode(encoding, data)


def _requests_sync(method: Method, encoding: Optional[str], flow: ThreadFlow) -> Iterator[Any]:
    while (data := flow.receive()) is not None:
        yield method.decode(encoding, data)
    if flow.is_over:  # a thread cannot be cancelled, and must not take half of the requests for all of them
        raise Error(Code.CANCELLED, f"{method.label}: the caller has gone")


def _begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task, whose first step is made at once where Python can do that; most handlers never suspend."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.get_running_loop().create_task(coroutine)


# Servers that were not closed when the process ends withdraw from the registry then.
_servers: weakref.WeakSet[Server] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for server in list(_servers):
        if server._native is not None:
            server._native.close()
