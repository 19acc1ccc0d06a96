"""Channels: the way to services, and the calls that take it.

All four shapes of a call: `call` has one answer and `stream` many; the request is one message or, as an iterator, many.
`open` is a stream of both, to be written to as one goes.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Callable, Optional, Union

from nebula import _nebula, codec, deadline, engine
from nebula.around import AsyncAround, Start, ThreadAround
from nebula.client import ServiceClient
from nebula.filters import Call, Filter, chain, checked, through
from nebula.metadata import MetadataLike, unpack
from nebula.options import count, flag, milliseconds, mode_of, policy_text
from nebula.request import Outcome, Reply, Request, reply_of, request_of, value_of
from nebula.streams import AsyncStream, Stream, is_iterator
from nebula.tls import TLS

_serials = itertools.count(1)

# Of the message or messages, and of the call as its innermost filter has left it.
Make = Callable[[Any, Call], Request]


class Channel:
    """A way to reach services: by name through the registry, or one address.

    One channel may be used by all threads and event loops of a program; each has connections of its own. It is closed
    by `close()`, at the end of a `with` or `async with` block, or when it is no longer referenced.
    """

    def __init__(
        self,
        target: str = "nebula:",
        *,
        max_message: int = 0,
        keepalive: float = 0,
        keepalive_timeout: float = 0,
        keepalive_always: bool = False,
        max_idle: float = 0,
        mode: Optional[str] = None,
        tls: Optional[TLS] = None,
        compression: Optional[str] = None,
        filters: Iterable[Filter] = (),
        policy: Optional[str] = None,
    ) -> None:
        """See nebula.connect, which is the way to make one."""
        self._serial = next(_serials)
        self._target = target
        self._options: dict[str, Any] = {
            "max_message": count("max_message", max_message),
            "keepalive_ms": milliseconds("keepalive", keepalive),
            "keepalive_timeout_ms": milliseconds("keepalive_timeout", keepalive_timeout),
            "keepalive_always": flag("keepalive_always", keepalive_always),
            "max_idle_ms": milliseconds("max_idle", max_idle),
            "policy": policy_text(policy),
        }
        self._tls = tls
        self._mode = mode_of(mode)
        self._compression = codec.compression_flag(compression)
        self._filters = checked(filters)
        self._closed = False

    @property
    def target(self) -> str:
        """The URL that was connected to."""
        return self._target

    def service(
        self,
        name: str,
        *,
        timeout: Optional[float] = None,
        metadata: Optional[MetadataLike] = None,
        mode: Optional[str] = None,
        filters: Iterable[Filter] = (),
    ) -> ServiceClient:
        """A service reached through this channel. Arguments as for nebula.service."""
        return ServiceClient(self, name, timeout, metadata, mode or self._mode, checked(filters))

    def call(
        self,
        path: str,
        message: Any = None,
        *,
        response: Any = None,
        timeout: Optional[float] = None,
        metadata: Optional[MetadataLike] = None,
        wait_for_ready: bool = False,
        idempotent: bool = False,
        mode: Optional[str] = None,
        compression: Optional[str] = None,
        filters: Iterable[Filter] = (),
    ) -> Any:
        """Calls "/service/method" and returns the answer; where an event loop runs, a coroutine of it.

        message: a dict (or None, for no fields) travels as JSON and so does the answer; a protobuf message is answered
        by one; bytes are sent as they are and answered by bytes. Any other value travels as JSON. An iterator, async or
        not (a list is none, `iter(list)` is one), is a stream of requests: of JSON values, of protobuf messages if
        response is a class of them, of bytes if response is bytes. A thread or a task of its own draws from it.
        response: the message class of the answer, if the .proto file of a protobuf request does not tell.
        timeout: seconds until DEADLINE_EXCEEDED; None waits for ever. A call made by a handler has at most what its own
        call has left; see nebula.detached.
        metadata: a dict or pairs.
        wait_for_ready: wait for an instance, rather than fail with UNAVAILABLE when there is none.
        idempotent: being executed twice does no harm.
        compression: of the requests: "gzip", which every gRPC server knows, "zstd", which Nebula's do, "identity" for
        none; None is the channel's. A request that would not get smaller goes as it is. Do not compress what has a
        secret beside words that a stranger may choose: its size would tell.
        filters: around this call, inside of those of the channel; see nebula.Call.

        Raises nebula.Error when the call fails, INTERNAL when its answer is malformed.
        """
        if self._filters or filters:
            make = self._make(path, response, wait_for_ready, idempotent, compression)
            return self._call_filtered(make, path, message, timeout, metadata, mode, filters, _value_alone)
        request = request_of(
            path, message, response, timeout, metadata, wait_for_ready, idempotent, self._flag(compression)
        )
        return self._run_aio(request, value_of) if self._is_aio(mode) else self._run_sync(request, value_of)

    def stream(
        self,
        path: str,
        message: Any = None,
        *,
        response: Any = None,
        timeout: Optional[float] = None,
        metadata: Optional[MetadataLike] = None,
        wait_for_ready: bool = False,
        idempotent: bool = False,
        mode: Optional[str] = None,
        compression: Optional[str] = None,
        filters: Iterable[Filter] = (),
    ) -> Any:
        """Calls a method that answers with many messages: returns a nebula.Stream to iterate over, and where an event
        loop runs a nebula.AsyncStream. Arguments as for `call`; timeout is for the whole of it.

        >>> async for price in channel.stream("/shop/prices", {"item": "tea"}):
        """
        if self._filters or filters:
            make = self._make(path, response, wait_for_ready, idempotent, compression)
            return self._open_filtered(make, path, message, timeout, metadata, mode, filters, response)
        request = request_of(
            path, message, response, timeout, metadata, wait_for_ready, idempotent, self._flag(compression)
        )
        shape = _nebula.BIDI if request.data is None else _nebula.SERVER_STREAM
        return self._open(request._replace(shape=shape), mode)

    def open(
        self,
        path: str,
        *,
        response: Any = None,
        timeout: Optional[float] = None,
        metadata: Optional[MetadataLike] = None,
        wait_for_ready: bool = False,
        mode: Optional[str] = None,
        compression: Optional[str] = None,
        filters: Iterable[Filter] = (),
    ) -> Any:
        """The same with nothing sent yet: messages are sent and received in any order, until both sides have ended.

        >>> async with channel.open("/shop/chat") as chat:
        ...     await chat.send("hello")
        ...     print(await chat.receive())
        """
        if self._filters or filters:
            make = self._make(path, response, wait_for_ready, False, compression)
            return self._open_filtered(make, path, None, timeout, metadata, mode, filters, response, is_open=True)
        request = request_of(
            path, iter(()), response, timeout, metadata, wait_for_ready, False, self._flag(compression)
        )
        return self._open(request._replace(shape=_nebula.BIDI, messages=None), mode)

    def exchange(
        self,
        path: str,
        message: Any = None,
        *,
        response: Any = None,
        timeout: Optional[float] = None,
        metadata: Optional[MetadataLike] = None,
        wait_for_ready: bool = False,
        idempotent: bool = False,
        mode: Optional[str] = None,
        compression: Optional[str] = None,
        filters: Iterable[Filter] = (),
    ) -> Any:
        """The same as `call`, but returns a nebula.Reply: the answer with its metadata."""
        if self._filters or filters:
            make = self._make(path, response, wait_for_ready, idempotent, compression)
            return self._call_filtered(make, path, message, timeout, metadata, mode, filters, Reply)
        request = request_of(
            path, message, response, timeout, metadata, wait_for_ready, idempotent, self._flag(compression)
        )
        request = request._replace(flags=request.flags | _nebula.WANT_HEADERS)
        return self._run_aio(request, reply_of) if self._is_aio(mode) else self._run_sync(request, reply_of)

    def close(self) -> None:
        """Drops the connections; calls that run end with CANCELLED. Harmless when repeated."""
        self._closed = True
        engine.close_links(self._serial)

    def __enter__(self) -> Channel:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed") and not self._closed:
            self.close()

    def __repr__(self) -> str:
        return f"<nebula.Channel {self._target}>"

    def _is_aio(self, mode: Optional[str]) -> bool:
        mode = mode_of(mode) or self._mode
        if mode is not None:
            return mode == "aio"
        return asyncio._get_running_loop() is not None  # the other one raises where there is none

    def _link(self, port: engine.Port) -> engine.Link:
        if self._closed:
            raise RuntimeError("the channel is closed")
        return port.link(self._serial, self._target, self._options, self._tls)

    def _flag(self, compression: Optional[str]) -> int:
        return self._compression if compression is None else codec.compression_flag(compression)

    def _start(self, request: Request, port: engine.Port, pending: engine.Pending) -> None:
        method = self._link(port).method(request.path, request.shape)
        port.start(
            method, request.timeout_us, request.metadata, request.data, request.flags, request.parent, pending
        )

    def _open(self, request: Request, mode: Optional[str]) -> Union[AsyncStream, Stream]:
        request = request._replace(shape=request.shape | _nebula.HOLD, flags=request.flags | _nebula.WANT_HEADERS)
        start = functools.partial(self._start, request)
        cls = AsyncStream if self._is_aio(mode) else Stream
        return cls(request.path, request.codec, start, request.messages)

    def _run_sync(self, request: Request, outcome: Outcome) -> Any:
        if request.data is None:
            stream = self._open(request, "sync")
            assert isinstance(stream, Stream)
            with stream:
                return outcome(request, stream._end())
        port = engine.thread_port()
        pending = engine.Pending()
        self._start(request, port, pending)
        try:
            port.wait(lambda: pending.ended)
        finally:
            if not pending.ended:  # Ctrl-C
                port.abandon(pending)
                port.flush()
        return outcome(request, pending)

    async def _run_aio(self, request: Request, outcome: Outcome) -> Any:
        if request.data is None:
            stream = self._open(request, "aio")
            assert isinstance(stream, AsyncStream)
            async with stream:
                return outcome(request, await stream._end())
        loop = asyncio.get_running_loop()
        port = engine.loop_port(loop)
        ended: asyncio.Future[None] = loop.create_future()
        pending = engine.Pending(functools.partial(engine.settle, ended))
        self._start(request, port, pending)
        port.flush_soon()
        try:
            await ended
        finally:
            if not pending.ended:  # the task was cancelled
                port.abandon(pending)
                port.flush_soon()
        return outcome(request, pending)


    # ---- with filters -----------------------------------------------------------------------------------------------

    def _make(
        self, path: str, response: Any, wait_for_ready: bool, idempotent: bool, compression: Optional[str]
    ) -> Make:
        """Makes the request when the filters have let the call through: of its messages and what they made of it."""
        flag = self._flag(compression)

        def make(message: Any, call: Call) -> Request:
            return request_of(path, message, response, call.timeout, call.metadata, wait_for_ready, idempotent, flag)

        return make

    def _call_filtered(
        self,
        make: Make,
        path: str,
        message: Any,
        timeout: Optional[float],
        metadata: Optional[MetadataLike],
        mode: Optional[str],
        filters: Iterable[Filter],
        result: Callable[[Any, Any, Any], Any],
    ) -> Any:
        """One answer. result: of the answer, headers and trailers."""
        is_aio, is_many = self._is_aio(mode), is_iterator(message)
        call = Call(path, metadata, timeout, is_many, lambda: None if is_many else {} if message is None else message)

        def last(inner: Call) -> Any:
            request = make(message if is_many else inner.request, inner)
            if is_many:
                changes, own = inner._all_requests(), request.codec
                request = request._replace(
                    codec=own._replace(encode=lambda each: own.encode(through(changes, each)))
                )
            else:
                request = request._replace(flags=request.flags | _nebula.WANT_HEADERS)

            def outcome(request: Request, ended: engine.Pending) -> Any:
                inner._end.headers, inner._end.trailers = unpack(ended.headers), unpack(ended.trailers)
                return value_of(request, ended)

            return self._run_aio(request, outcome) if is_aio else self._run_sync(request, outcome)

        around = (*self._filters, *filters)

        async def run_aio() -> Any:
            with deadline.within(timeout):
                answer = await chain(around, call, last, True, True)
            return result(answer, call.headers, call.trailers)

        if is_aio:
            return run_aio()
        with deadline.within(timeout):
            answer = chain(around, call, last, True, False)
        return result(answer, call.headers, call.trailers)

    def _open_filtered(
        self,
        make: Make,
        path: str,
        message: Any,
        timeout: Optional[float],
        metadata: Optional[MetadataLike],
        mode: Optional[str],
        filters: Iterable[Filter],
        response: Any,
        is_open: bool = False,
    ) -> Union[AsyncStream, Stream]:
        """Many answers."""
        is_many = is_open or is_iterator(message)
        call = Call(path, metadata, timeout, True, lambda: None if is_many else {} if message is None else message)
        shape = _nebula.HOLD | (_nebula.BIDI if is_many else _nebula.SERVER_STREAM)
        around = (*self._filters, *filters)

        def prepare(inner: Call) -> Start:
            request = make(iter(()) if is_many else inner.request, inner)
            request = request._replace(shape=shape, flags=request.flags | _nebula.WANT_HEADERS)
            return functools.partial(self._start, request)

        # The codec is that of the request as it was given: a filter changes messages, not their kind.
        given = make(iter(()) if is_many else message, call).codec
        messages = message if is_many and not is_open else None
        if self._is_aio(mode):
            return AsyncStream(path, given, None, messages, AsyncAround(around, call, prepare))
        return Stream(path, given, None, messages, ThreadAround(around, call, prepare))


def _value_alone(value: Any, headers: Any, trailers: Any) -> Any:
    return value


def connect(
    target: str,
    *,
    max_message: int = 0,
    keepalive: float = 0,
    keepalive_timeout: float = 0,
    keepalive_always: bool = False,
    max_idle: float = 0,
    mode: Optional[str] = None,
    tls: Optional[TLS] = None,
    compression: Optional[str] = None,
    filters: Iterable[Filter] = (),
    policy: Optional[str] = None,
) -> Channel:
    """A channel to an address or a name: tcp://host:port, tls://host:port, unix:/path, nebula://name, or nebula: for
    all names.

    No connection is made before the first call. max_message: bytes of an answer at most, 0 is 4 MiB. keepalive: seconds
    of silence after which a server is pinged while calls run, at least 10, 0 is never. keepalive_timeout: its
    connection is lost if nothing comes within so many seconds after, 0 is 20 s. keepalive_always: pings without calls,
    too. max_idle: seconds without a call after which connections are closed until the next, 0 is 30 minutes.
    mode: "sync" or "aio", None finds out. tls: for tls:// addresses, which are verified without it too, by the system's
    authorities; given with a name, the instances are called at their tls:// addresses alone. compression: of requests,
    "gzip" or "zstd", unless a call says otherwise; answers need nothing said. filters: around all calls of the channel,
    the first is the outermost; see nebula.Call. policy: what is done between a name and its instances, as text,
    "balancer=round_robin: retry:?tries=5", or as gRPC's service config, or "file:/path" of one; what it does not say is
    as NEBULA_POLICY says. Raises TypeError, ValueError or nebula.EngineError if an argument is malformed or a file cannot
    be used.
    """
    channel = Channel(
        target,
        max_message=max_message,
        keepalive=keepalive,
        keepalive_timeout=keepalive_timeout,
        keepalive_always=keepalive_always,
        max_idle=max_idle,
        mode=mode,
        tls=tls,
        compression=compression,
        filters=filters,
        policy=policy,
    )
    # The engine is the judge of targets; asking it needs a port, and this thread's will be needed anyway.
    try:
        port: engine.Port = engine.loop_port(asyncio.get_running_loop())
    except RuntimeError:
        port = engine.thread_port()
    channel._link(port)
    return channel


def service(
    name: str,
    *,
    timeout: Optional[float] = None,
    metadata: Optional[MetadataLike] = None,
    channel: Optional[Channel] = None,
    mode: Optional[str] = None,
    filters: Iterable[Filter] = (),
) -> ServiceClient:
    """A service, found by its name.

    timeout: seconds for each call, None waits for ever. metadata: goes with each call. channel: another way than the
    registry. mode: "sync" returns results, "aio" coroutines, None decides at each call: a coroutine where an asyncio
    loop runs in this thread. filters: around each call, inside of those of the channel; see nebula.Call.
    """
    return ServiceClient(channel or _by_name, name, timeout, metadata, mode, checked(filters))


def use(*filters: Filter) -> None:
    """Filters around all calls of this program that name no channel, inside of those that it had. Before those calls.

    Raises TypeError for what is no filter.
    """
    _by_name._filters += checked(filters)


# The channel of all services that are called by name. It connects when it is first used.
_by_name = Channel()
