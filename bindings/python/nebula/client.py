"""Calling: channels, and services by name.

In plain code a call returns its result; where an asyncio loop runs in this thread it returns a coroutine to await.
`mode="sync"` or `mode="aio"` says it outright.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import re
from types import TracebackType
from typing import Any, Callable, NamedTuple, Optional

from nebula import _nebula, codec, engine
from nebula.errors import Code, Error
from nebula.metadata import Metadata, MetadataLike, pack, unpack
from nebula.tls import TLS

# A service's name: what the engine's registries accept.
NAME = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,200}")

_serials = itertools.count(1)


class Reply(NamedTuple):
    """All of a good answer: the message, the metadata that came before it and the metadata that came after."""

    value: Any
    headers: Metadata
    trailers: Metadata


class _Request(NamedTuple):
    """A call, ready to be sent."""

    path: str
    data: bytes
    flags: int
    decode: Callable[[bytes], Any]  # the answer's bytes
    timeout_us: int
    metadata: Optional[bytes]


# What a call that has ended comes to: its value, or all of it.
Outcome = Callable[[_Request, engine.Pending], Any]


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
        max_idle: float = 0,
        mode: Optional[str] = None,
        tls: Optional[TLS] = None,
    ) -> None:
        """See nebula.connect, which is the way to make one."""
        self._serial = next(_serials)
        self._target = target
        self._options = {
            "max_message": max_message,
            "keepalive_ms": engine.milliseconds("keepalive", keepalive),
            "max_idle_ms": engine.milliseconds("max_idle", max_idle),
        }
        self._tls = tls
        self._mode = _checked_mode(mode)
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
    ) -> ServiceClient:
        """A service reached through this channel. Arguments as for nebula.service."""
        return ServiceClient(self, name, timeout, metadata, mode or self._mode)

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
    ) -> Any:
        """Calls "/service/method" and returns the answer; where an event loop runs, a coroutine of it.

        message: a dict (or None, for no fields) travels as JSON and so does the answer; a protobuf message is answered
        by one; bytes are sent as they are and answered by bytes. Any other value travels as JSON.
        response: the message class of the answer, if the .proto file of a protobuf request does not tell.
        timeout: seconds until DEADLINE_EXCEEDED; None waits for ever.
        metadata: a dict or pairs.
        wait_for_ready: wait for an instance, rather than fail with UNAVAILABLE when there is none.
        idempotent: being executed twice does no harm.

        Raises nebula.Error when the call fails, INTERNAL when its answer is malformed.
        """
        request = self._request(path, message, response, timeout, metadata, wait_for_ready, idempotent)
        return self._run_aio(request, _value) if self._is_aio(mode) else self._run_sync(request, _value)

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
    ) -> Any:
        """The same as `call`, but returns a nebula.Reply: the answer with its metadata."""
        request = self._request(path, message, response, timeout, metadata, wait_for_ready, idempotent)
        request = request._replace(flags=request.flags | _nebula.WANT_HEADERS)
        return self._run_aio(request, _reply) if self._is_aio(mode) else self._run_sync(request, _reply)

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
        mode = _checked_mode(mode) or self._mode
        if mode is not None:
            return mode == "aio"
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def _link(self, port: engine.Port) -> engine.Link:
        if self._closed:
            raise RuntimeError("the channel is closed")
        return port.link(self._serial, self._target, self._options, self._tls)

    def _request(
        self,
        path: str,
        message: Any,
        response: Any,
        timeout: Optional[float],
        metadata: Optional[MetadataLike],
        wait_for_ready: bool,
        idempotent: bool,
    ) -> _Request:
        data, flags, decode = _encoded(path, message, response)
        if wait_for_ready:
            flags |= _nebula.WAIT_FOR_READY
        if idempotent:
            flags |= _nebula.IDEMPOTENT
        return _Request(path, data, flags, decode, _microseconds(timeout), pack(metadata))

    def _start(self, port: engine.Port, request: _Request, pending: engine.Pending) -> None:
        method = self._link(port).method(request.path)
        port.start(method, request.timeout_us, request.metadata, request.data, request.flags, pending)

    def _run_sync(self, request: _Request, outcome: Outcome) -> Any:
        port = engine.thread_port()
        pending = engine.Pending()
        self._start(port, request, pending)
        try:
            port.wait(pending)
        finally:
            if not pending.ended:  # Ctrl-C
                port.abandon(pending)
                port.flush()
        return outcome(request, pending)

    async def _run_aio(self, request: _Request, outcome: Outcome) -> Any:
        loop = asyncio.get_running_loop()
        port = engine.loop_port(loop)
        ended: asyncio.Future[None] = loop.create_future()
        pending = engine.Pending(functools.partial(engine.settle, ended))
        self._start(port, request, pending)
        port.flush_soon()
        try:
            await ended
        finally:
            if not pending.ended:  # the task was cancelled
                port.abandon(pending)
                port.flush_soon()
        return outcome(request, pending)


class ServiceClient:
    """A service to call: each attribute is a method of it.

    >>> nebula.service("hello", timeout=0.5).greet(name="Ada")

    Methods whose names are no Python names, or begin with an underscore: nebula.service("hello")["greet-all"](...).
    """

    __slots__ = ("_channel", "_name", "_timeout", "_metadata", "_mode", "_methods")

    def __init__(
        self,
        channel: Channel,
        name: str,
        timeout: Optional[float],
        metadata: Optional[MetadataLike],
        mode: Optional[str],
    ) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a service's name: 1 to 200 of [A-Za-z0-9_.-], not beginning with a dot")
        self._channel = channel
        self._name = name
        self._timeout = timeout
        self._metadata = Metadata.of(metadata)
        self._mode = _checked_mode(mode)
        self._methods: dict[str, MethodClient] = {}

    def __getattr__(self, method: str) -> MethodClient:
        if method.startswith("_"):
            raise AttributeError(method)  # copy, pickle and inspect ask for such names
        return self[method]

    def __getitem__(self, method: str) -> MethodClient:
        known = self._methods.get(method)
        if known is None:
            known = self._methods[method] = MethodClient(self, method)
        return known

    def __repr__(self) -> str:
        return f"<nebula.service {self._name} at {self._channel.target}>"


class MethodClient:
    """One method of a service. Calling it calls the service."""

    __slots__ = ("_service", "_path")

    def __init__(self, service: ServiceClient, method: str) -> None:
        self._service = service
        self._path = f"/{service._name}/{method}"

    def __call__(self, *message: Any, **fields: Any) -> Any:
        """Either named arguments, which are the fields of the request (JSON):

        >>> hello.greet(name="Ada")

        or one request (a dict, a protobuf message or bytes) and then the options of Channel.call:

        >>> clock.Now(NowRequest(), timeout=0.5, metadata={"tenant": "a"})

        Returns and raises as Channel.call does.
        """
        service = self._service
        options: dict[str, Any] = {"timeout": service._timeout, "mode": service._mode}
        if not message:
            return service._channel.call(self._path, fields, metadata=service._metadata, **options)
        if len(message) > 1:
            raise TypeError(f"{self._path[1:].replace('/', '.')} takes one request, or its fields by name")
        options.update(fields)
        metadata = Metadata((*service._metadata, *Metadata.of(options.pop("metadata", None))))
        return service._channel.call(self._path, message[0], metadata=metadata, **options)

    def __repr__(self) -> str:
        return f"<nebula method {self._path}>"


def connect(
    target: str,
    *,
    max_message: int = 0,
    keepalive: float = 0,
    max_idle: float = 0,
    mode: Optional[str] = None,
    tls: Optional[TLS] = None,
) -> Channel:
    """A channel to an address or a name: tcp://host:port, tls://host:port, unix:/path, nebula://name, or nebula: for
    all names.

    No connection is made before the first call. max_message: bytes of an answer at most, 0 is 4 MiB. keepalive: seconds
    of silence after which a server is pinged while calls run, at least 10, 0 is never; it is given up if nothing comes
    within 20 s. max_idle: seconds without a call after which connections are closed until the next, 0 is 30 minutes.
    mode: "sync" or "aio", None finds out. tls: for tls:// addresses, which are verified without it too, by the system's
    authorities; given with a name, the instances are called at their tls:// addresses alone. Raises ValueError or
    nebula.EngineError if an argument is malformed or a file of `tls` cannot be used.
    """
    channel = Channel(target, max_message=max_message, keepalive=keepalive, max_idle=max_idle, mode=mode, tls=tls)
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
) -> ServiceClient:
    """A service, found by its name.

    timeout: seconds for each call, None waits for ever. metadata: goes with each call. channel: another way than the
    registry. mode: "sync" returns results, "aio" coroutines, None decides at each call: a coroutine where an asyncio
    loop runs in this thread.
    """
    return ServiceClient(channel or _by_name, name, timeout, metadata, mode)


def _checked_mode(mode: Optional[str]) -> Optional[str]:
    if mode not in (None, "sync", "aio"):
        raise ValueError(f'mode is "sync", "aio" or None, not {mode!r}')
    return mode


def _microseconds(timeout: Optional[float]) -> int:
    """The engine's timeout. 0 is none there, so a timeout that has passed already is the shortest one."""
    if timeout is None:
        return 0
    if math.isnan(timeout):
        raise ValueError("timeout is not a number")
    # A century is long enough, and infinity has no number of microseconds.
    return max(1, int(min(timeout, 3.2e9) * 1e6))


def _encoded(path: str, message: Any, response: Any) -> tuple[bytes, int, Callable[[bytes], Any]]:
    """The request's bytes and flags, and how to read the answer."""
    if message is None:
        message = {}
    if isinstance(message, dict) and response is None:
        return codec.dumps(message), _nebula.JSON, codec.loads
    if isinstance(message, (bytes, bytearray, memoryview)):
        if response is not None:
            return bytes(message), 0, lambda data: codec.message_from_bytes(response, data)
        return bytes(message), 0, lambda data: data
    if codec.is_message_class(type(message)):
        answer = response if response is not None else codec.reply_class(message, path)
        return message.SerializeToString(), _nebula.PROTO, lambda data: codec.message_from_bytes(answer, data)
    if response is not None:
        return codec.dumps(message), _nebula.JSON, lambda data: codec.message_from_json(response, data)
    return codec.dumps(message), _nebula.JSON, codec.loads


def _value(request: _Request, ended: engine.Pending) -> Any:
    if ended.status != 0:
        text = (ended.data or b"").decode("utf-8", "replace")
        raise Error(Code(ended.status), text, unpack(ended.trailers))
    try:
        if ended.data is None:
            raise codec.Malformed("there is no message")
        return request.decode(ended.data)
    except codec.Malformed as error:
        name = request.path[1:].replace("/", ".")
        raise Error(Code.INTERNAL, f"{name}: malformed answer: {error}", unpack(ended.trailers)) from None


def _reply(request: _Request, ended: engine.Pending) -> Reply:
    return Reply(_value(request, ended), unpack(ended.headers), unpack(ended.trailers))


# The channel of all services that are called by name. It connects when it is first used.
_by_name = Channel()
