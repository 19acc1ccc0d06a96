"""The messages of one streaming call, both ways, as bytes.

Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some.
"""

from __future__ import annotations

import asyncio
import collections
import threading
from typing import Callable, Optional, Protocol

from nebula import _nebula, engine
from nebula.errors import engine_error

# Messages taken are reported to the engine in portions of so many bytes or messages. It stops the sender at four times
# as many.
PORTION_BYTES = 64 << 10
PORTION_MESSAGES = 512

# Messages sent in a row before others on the loop get their turn, and what was submitted leaves.
SENDS_IN_A_ROW_MAX = 64


class Flow:
    """Both directions of one call. Its port fills it; subclasses know how to wait."""

    def __init__(self, call: int = 0) -> None:
        self.call = call
        self.inbox: collections.deque[bytes] = collections.deque()
        self.at_end = False  # the peer sends no more
        self.is_over = False  # nothing can be sent any more
        self.writables = 0  # how often there was room again
        self._last = 0  # the number of the event of the last message
        self._bytes, self._messages = 0, 0  # taken, not reported yet

    # ---- what the port tells ----------------------------------------------------------------------------------------

    def on_event(self, number: int, kind: int, flags: int, data: Optional[bytes]) -> None:
        """One event of the port, numbered upwards. After Ctrl-C the same one may come again."""
        if kind == _nebula.EV_WRITABLE:
            self.writables += 1
        else:
            if data is not None and number > self._last:
                self._last = number
                self.inbox.append(data)
            self.at_end = kind == _nebula.EV_END or flags & _nebula.END != 0
        self.ring()

    def on_over(self) -> None:
        """The call is over, however it ended. What has come is still there."""
        self.is_over = self.at_end = True
        self.ring()

    def ring(self) -> None:
        """Something has changed: whoever waits looks again."""
        raise NotImplementedError

    # ---- for the side that uses it ----------------------------------------------------------------------------------

    def has_news(self) -> bool:
        return bool(self.inbox) or self.at_end

    def take(self) -> Optional[bytes]:
        """The next message if there is one. A message may be larger than all that the engine hands out at once."""
        if not self.inbox:
            return None
        data = self.inbox.popleft()
        self._bytes += len(data)
        self._messages += 1
        if self._bytes >= PORTION_BYTES or self._messages >= PORTION_MESSAGES:
            _nebula.call_consume(self.call, self._bytes)
            self._bytes, self._messages = 0, 0
        return data

    def submit(self, data: Optional[bytes], flags: int = 0) -> int:
        """OK, FULL, or E_STALE if the call is over. Raises RuntimeError if this side's stream has ended before."""
        result = _nebula.call_send(self.call, data, flags)
        if result == _nebula.E_STATE:
            raise RuntimeError("the stream of messages to send has ended")
        if result < 0 and result != _nebula.E_STALE:
            raise engine_error(result)
        return result

    def cancel(self) -> None:
        _nebula.call_cancel(self.call, _nebula.CANCELLED)

    def room(self) -> Callable[[], bool]:
        """Asked before a message is sent: whether there is room again if it was the one too many."""
        before = self.writables
        return lambda: self.writables != before or self.is_over


class LoopFlow(Flow):
    """Used on an event loop, by any number of its tasks."""

    def __init__(self, call: int = 0) -> None:
        super().__init__(call)
        self._waiting: list[asyncio.Future[None]] = []
        self._sent_in_a_row = 0

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            engine.settle(future)

    async def wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            finally:
                if future in self._waiting:
                    self._waiting.remove(future)  # this task was cancelled

    async def receive(self) -> Optional[bytes]:
        """The next message; None: there are no more."""
        await self.wait(self.has_news)
        return self.take()

    async def send(self, data: bytes, compress: bool = True) -> bool:
        """Sends a message, then waits for room. False: the call is over. compress: if the call has a compression."""
        has_room = self.room()
        result = self.submit(data, _nebula.COMPRESS if compress else 0)
        self._sent_in_a_row += 1
        if result == _nebula.FULL:
            await self.wait(has_room)
            self._sent_in_a_row = 0
        elif self._sent_in_a_row >= SENDS_IN_A_ROW_MAX:
            await asyncio.sleep(0)
            self._sent_in_a_row = 0
        return result != _nebula.E_STALE


class Place(Protocol):
    """Where threads wait for what the port brings: a ThreadPort, or a Gate where a loop does the polling."""

    def wait(self, condition: Callable[[], bool]) -> None: ...
    def ring(self) -> None: ...
    def flush(self) -> None: ...


class Gate:
    """The place of handlers in threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(condition)

    def ring(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def flush(self) -> None:
        """Needs nothing: the engine wakes the loop."""


class ThreadFlow(Flow):
    """Used by threads: one at a time receives, one at a time sends."""

    def __init__(self, place: Place, call: int = 0) -> None:
        super().__init__(call)
        self._place = place

    def ring(self) -> None:
        self._place.ring()

    def wait(self, condition: Callable[[], bool]) -> None:
        self._place.wait(condition)

    def flush(self) -> None:
        """What was submitted leaves now."""
        self._place.flush()

    def receive(self) -> Optional[bytes]:
        """The next message; None: there are no more."""
        self.wait(self.has_news)
        return self.take()

    def send(self, data: bytes, compress: bool = True) -> bool:
        """Sends a message, then waits for room. False: the call is over. compress: if the call has a compression."""
        has_room = self.room()
        result = self.submit(data, _nebula.COMPRESS if compress else 0)
        self.flush()
        if result == _nebula.FULL:
            self.wait(has_room)
        return result != _nebula.E_STALE
