"""The engine of this process and its ports: one queue per event loop, one per thread without a loop. A loop has another
one if it has a threaded server.

All that the engine has to say is an event of a queue. A Port owns one queue, takes its events and hands each to who
waits for it. Nothing is shared between ports, so no lock is held while a call runs.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol

from nebula import _nebula

if TYPE_CHECKING:
    from nebula._nebula import Event  # only in the stub
    from nebula.flow import Flow
    from nebula.tls import TLS

log = logging.getLogger("nebula")

# While the main thread waits it looks up so often (milliseconds): the time that Ctrl-C takes at most.
SLICE_MS = 50

# A thread that waits for another's turn to end looks up so often (seconds): Ctrl-C may come before the other says so.
LOOK_UP_S = 1.0

# Polls in a row of one turn of an event loop, before others on the loop get theirs.
TURNS_MAX = 4


class Calls(Protocol):
    """Who answers the calls of a method: a server."""

    def on_call(
        self, tag: int, call: int, flags: int, data: Optional[bytes], metadata: bytes, left_us: int
    ) -> None: ...
    def on_stream(self, call: int, number: int, kind: int, flags: int, data: Optional[bytes]) -> None: ...
    def on_cancelled(self, call: int, status: int) -> None: ...


class Pending:
    """One call of ours that is under way. `done` runs when it has ended; `flow` has the messages of a stream."""

    __slots__ = ("call", "status", "data", "trailers", "outcome", "headers", "has_headers", "ended", "done", "flow")

    def __init__(self, done: Optional[Callable[[], None]] = None, flow: Optional[Flow] = None) -> None:
        self.call = 0
        self.status = 0
        self.data: Optional[bytes] = None
        self.trailers = b""
        self.outcome = 0  # fate and fault
        self.headers = b""
        self.has_headers = False
        self.ended = False
        self.done = done
        self.flow = flow


class Link:
    """A channel as seen from one port: the engine's handle, and the numbers of the methods used so far."""

    __slots__ = ("native", "methods")

    def __init__(self, native: _nebula.Channel) -> None:
        self.native = native
        self.methods: dict[tuple[str, int], int] = {}

    def method(self, path: str, shape: int) -> int:
        number = self.methods.get((path, shape))
        if number is None:
            number = self.methods[path, shape] = self.native.method(path, shape)
        return number


class Port:
    """A queue and all that waits for its events. Used by one thread."""

    def __init__(self, mode: int = _nebula.QUEUE_INLINE) -> None:
        self.engine = default_engine()
        self.queue = _nebula.Queue(self.engine, mode)
        self.pending: dict[int, Pending] = {}
        self.servers: dict[int, Calls] = {}  # by the tag of each of their methods
        self.drains: dict[int, Callable[[], None]] = {}
        self.links: dict[int, Link] = {}  # by the channel's serial
        self.tags = itertools.count(1)
        self.is_orphan = False  # of a forked child, whose parent it belongs to
        self._events: list[Event] = []  # polled and not delivered yet, the next one last
        self._number = 1  # of the next one
        self._polls = 0  # so many there were
        with _lock:
            _ports.add(self)

    def link(self, serial: int, target: str, options: dict[str, Any], tls: Optional[TLS] = None) -> Link:
        """The link of a channel, made when it is first used here."""
        link = self.links.get(serial)
        if link is None:
            texts = tls._texts() if tls else None
            link = self.links[serial] = Link(_nebula.Channel(self.engine, target, tls=texts, **options))
        return link

    def start(
        self,
        method: int,
        timeout_us: int,
        metadata: Optional[bytes],
        data: Optional[bytes],
        flags: int,
        parent: int,
        pending: Pending,
    ) -> None:
        """Begins a call; `pending` hears of its end. Its last request is in it if flags have END.

        parent: the server's call for which it is made; 0: none.
        """
        tag = next(self.tags)
        pending.call = _nebula.call_start(self.queue, method, tag, timeout_us, metadata, data, flags, parent)
        if pending.call == 0:
            raise RuntimeError("the engine did not take the call: its channel is closed, or this is a forked child")
        self.pending[tag] = pending

    def ask_for_metrics(self, pending: Pending) -> None:
        """What the engine has counted; it comes as the data of `pending`."""
        tag = next(self.tags)
        self.pending[tag] = pending
        self.engine.metrics(self.queue, tag)

    def abandon(self, pending: Pending) -> None:
        """Cancels a call in whose end nobody is interested any more."""
        pending.done = None
        _nebula.call_cancel(pending.call, _nebula.CANCELLED)

    def turn(self, timeout_ms: int, polls: int = -1) -> None:
        """Polls, and hands each event to who waits for it. What one of them raises must not cost the others theirs.

        polls: how many there were when the caller found nothing of its own. If there were more since, of a finalizer or
        of another thread, what it waits for may have come with those, and this one waits for nothing.

        A finalizer or a signal handler may call in the middle of this: its turn goes on where this one was. What Ctrl-C
        leaves undelivered is delivered in the next one; the event that it cut in two is delivered again.
        """
        if self._events:
            self._deliver_all()
            timeout_ms = 0
        # From the comparison to the poll nothing is made that could bring the collector, and with it a finalizer.
        if self._polls != polls:
            timeout_ms = 0
        _nebula.poll(self.queue, timeout_ms, self._events)
        self._polls += 1
        self._deliver_all()

    def _deliver_all(self) -> None:
        while self._events:
            event, number = self._events[-1], self._number
            if event[0] == _nebula.EV_CALL:
                self._end_of(event)  # no handler runs twice
            try:
                self._deliver(number, *event)
            except Exception:
                log.exception("an event could not be delivered")
            self._end_of(event)

    def _end_of(self, event: Event) -> None:
        if self._events and self._events[-1] is event:  # else a turn within this one has done it
            del self._events[-1]
            self._number += 1

    def _deliver(
        self,
        number: int,
        kind: int,
        call: int,
        tag: int,
        flags: int,
        status: int,
        data: Optional[bytes],
        metadata: bytes,
        value: int,
    ) -> None:
        if kind == _nebula.EV_FINISHED:
            pending = self.pending.get(tag)
            if pending is not None:
                pending.status, pending.data, pending.trailers, pending.outcome = status, data, metadata, value
                pending.ended = True
                if pending.done is not None:
                    pending.done()
                self.pending.pop(tag, None)
        elif kind == _nebula.EV_CALL:
            server = self.servers.get(tag)
            if server is not None:
                server.on_call(tag, call, flags, data, metadata, value)
        elif kind in (_nebula.EV_MESSAGE, _nebula.EV_WRITABLE, _nebula.EV_END):
            pending = self.pending.get(tag)
            server = self.servers.get(tag)
            if pending is not None and pending.flow is not None:
                pending.flow.on_event(number, kind, flags, data)
            elif server is not None:
                server.on_stream(call, number, kind, flags, data)
        elif kind == _nebula.EV_CANCELLED:
            server = self.servers.get(tag)
            if server is not None:
                server.on_cancelled(call, status)
        elif kind == _nebula.EV_HEADERS:
            pending = self.pending.get(tag)
            if pending is not None:
                pending.headers, pending.has_headers = metadata, True
                if pending.flow is not None:
                    pending.flow.ring()
        elif kind == _nebula.EV_DRAINED:
            drained = self.drains.pop(tag, None)
            if drained is not None:
                drained()
        elif kind == _nebula.EV_METRICS:
            pending = self.pending.pop(tag, None)
            if pending is not None:
                pending.data, pending.ended = data, True
                if pending.done is not None:
                    pending.done()

    def orphan(self) -> None:
        """In a forked child: nothing of this is ours any more. Calls that were open fail with NEBULA_E_FORKED."""
        self.is_orphan = True
        for pending in self.pending.values():
            pending.status, pending.ended = _nebula.E_FORKED, True
            if pending.flow is not None:
                pending.flow.inbox.clear()
                pending.flow.at_end = pending.flow.is_over = True

    def close(self) -> None:
        """Frees the queue. Open calls end without a word. Harmless when repeated, or in a forked child."""
        if self.is_orphan:
            return
        for link in self.links.values():
            link.native.close()
        self.links.clear()
        self.queue.close()

    def __del__(self) -> None:
        if hasattr(self, "queue"):  # else the queue could not be made
            self.close()


class ThreadPort(Port):
    """The port of a thread that waits in the engine itself.

    Streams may be used by other threads, too: of all that wait, one at a time polls for all.

    Ctrl-C may raise between any two steps here. So there is no threading.Condition, which takes and gives back its lock
    in Python code that an exception can cut in two; `with` and a lock made in C cannot be cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self._claim = threading.RLock()  # a finalizer may come while it is held
        self._turner: Optional[int] = None  # the thread that polls
        self._waiters: list[threading.Lock] = []  # of threads that wait for another's turn, each locked

    def wait(self, condition: Callable[[], bool]) -> None:
        """Returns when it holds, by what events bring. Other threads run meanwhile; Ctrl-C is heard."""
        is_main = threading.get_ident() == threading.main_thread().ident
        while True:
            polls = self._polls
            if condition():
                return
            if self._turn(SLICE_MS if is_main else -1, polls):
                continue
            waiter = threading.Lock()
            waiter.acquire()
            self._waiters.append(waiter)  # before the last look, so that no ring is missed
            if self._turner is not None and not condition():
                waiter.acquire(timeout=LOOK_UP_S)
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def flush(self) -> None:
        """Sends what was submitted, unless a turn is under way, which does."""
        if self._turner is None and not self.is_orphan:
            self._turn(0)

    def ring(self) -> None:
        """Something has changed: whoever waits looks again."""
        while self._waiters:
            with contextlib.suppress(IndexError):  # another one may have rung meanwhile
                self._waiters.pop().release()

    def orphan(self) -> None:
        # Whoever held the lock, or was to wake us, is a thread of the parent.
        self._claim, self._turner, self._waiters = threading.RLock(), None, []
        super().orphan()

    def _turn(self, timeout_ms: int, polls: int = -1) -> bool:
        """Polls and delivers. False: another thread does."""
        me = threading.get_ident()
        is_nested = self._turner == me  # as in a finalizer, in the middle of a turn
        try:
            with self._claim:
                if self._turner is None:
                    self._turner = me
            is_mine = self._turner == me
            if is_mine:
                self.turn(timeout_ms, polls)
            return is_mine
        finally:
            if self._turner == me and not is_nested:
                self._turner = None
                self.ring()


class LoopPort(Port):
    """The port of an asyncio event loop, on whose thread alone it is used.

    Owned by the loop: the only lasting reference is that of the loop's reader, which the loop drops when it closes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, mode: int) -> None:
        super().__init__(mode)
        self.loop = loop
        self.is_threaded = mode == _nebula.QUEUE_THREADED
        self.thread = threading.get_ident()
        self._dirty = False  # something was submitted since the last poll
        self._due = False  # a turn will come, so none needs to be asked for
        loop.add_reader(self.queue.fd(), self._turn)

    def flush_soon(self) -> None:
        """Sends what was submitted, once for all of this turn of the loop. I/O threads do so without being asked."""
        if self.is_threaded:
            return
        self._dirty = True
        if not self._due and not self.loop.is_closed():
            self._due = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        for _ in range(TURNS_MAX):
            self._dirty, self._due = False, True
            try:
                self.turn(0)
            except _nebula.EngineError as error:
                if error.code == _nebula.E_CLOSED:
                    return  # closed while a turn was still due
                raise
            finally:
                self._due = False
            # Answers given while delivering leave with this very turn, not with the loop's next one.
            if not self._dirty:
                return
        self.flush_soon()

    def close(self) -> None:
        # A forked child shares the loop's selector with its parent, whose reader it would remove.
        if not self.is_orphan and not self.loop.is_closed():
            try:
                self.loop.remove_reader(self.queue.fd())
            except _nebula.EngineError:
                return  # closed before
        super().close()


# Those of one loop, by the mode of their queues.
LoopPorts = dict[int, "weakref.ref[LoopPort]"]


def settle(future: asyncio.Future[None]) -> None:
    """Ends a future, unless its awaiter has left."""
    if not future.done():
        future.set_result(None)


# ---- what there is one of in each process ----------------------------------------------------------------------------

_lock = threading.RLock()  # a finalizer may come while it is held
_engine: Optional[_nebula.Engine] = None
_threads = threading.local()
_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPorts] = weakref.WeakKeyDictionary()
_ports: weakref.WeakSet[Port] = weakref.WeakSet()


def default_engine() -> _nebula.Engine:
    """The engine of this process, made when it is first needed. NEBULA_REGISTRY chooses the registry."""
    global _engine
    with _lock:
        if _engine is None:
            _configure_logging()
            _engine = _nebula.Engine()
        return _engine


def thread_port() -> ThreadPort:
    """The port of this thread. It is closed when the thread ends."""
    port: Optional[ThreadPort] = getattr(_threads, "port", None)
    if port is None:
        port = _threads.port = ThreadPort()
    return port


def loop_port(loop: asyncio.AbstractEventLoop, mode: int = _nebula.QUEUE_INLINE) -> LoopPort:
    """The port of a loop whose queue is of that mode, called on the loop's thread. It is closed with the loop."""
    ports = _loops.setdefault(loop, {})
    known = ports.get(mode)
    port = known() if known is not None else None
    if port is None:
        port = LoopPort(loop, mode)
        ports[mode] = weakref.ref(port)
    return port


def close_links(serial: int) -> None:
    """Closes a channel at all ports; calls that run end with CANCELLED."""
    for port in _all_ports():
        link = port.links.pop(serial, None)
        if link is not None:
            link.native.close()


def _all_ports() -> list[Port]:
    with _lock:
        return list(_ports)


def _configure_logging() -> None:
    """NEBULA_LOG shows our own lines too, unless the program has set up logging itself."""
    level = os.environ.get("NEBULA_LOG", "").upper()
    if level in ("DEBUG", "INFO", "WARN", "ERROR") and not log.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("nebula: %(levelname)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(level)


def _forget() -> None:
    """In a forked child: engine and ports belong to the parent, so the child begins anew."""
    global _engine, _lock, _threads, _loops, _ports
    for port in list(_ports):
        port.orphan()
    _lock = threading.RLock()
    _engine = None
    _threads = threading.local()
    _loops = weakref.WeakKeyDictionary()
    _ports = weakref.WeakSet()


def _close_all() -> None:
    """At the end of the process: queues before the engine. A daemon thread may still wait at its port, which stays."""
    global _engine
    mine = getattr(_threads, "port", None)
    for port in _all_ports():
        if port is mine or isinstance(port, LoopPort):
            port.close()
    if _engine is not None:
        _engine.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(_close_all)
