"""Filters: functions around calls. The same ones for clients and servers, for one message and for streams.

A filter gets the call and `next`, which runs what is inside of it - the other filters, then the call itself - to the
end. What a filter raises is what the call ends with; what it returns is the single answer.

>>> async def logged(call, next):
...     try:
...         return await next()
...     except nebula.Error as error:
...         log.warning("%s: %s", call.method, error)
...         raise
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Callable, Optional

from nebula.context import Context
from nebula.metadata import Metadata, MetadataLike, Value

# What a filter makes of a message: the one that goes on in its place.
Change = Callable[[Any], Any]


class End:
    """How a call ended, as far as metadata tells: all filters of a call share it."""

    __slots__ = ("headers", "trailers")

    def __init__(self) -> None:
        self.headers = Metadata()
        self.trailers = Metadata()


class Call:
    """A call, as one filter sees it. What it changes is seen by the filters inside of it, and by the call itself."""

    __slots__ = (
        "method",
        "timeout",
        "is_stream",
        "context",
        "_metadata",
        "_request",
        "_read",
        "_end",
        "_outer",
        "_requests",
        "_answers",
    )

    def __init__(
        self,
        method: str,
        metadata: Optional[MetadataLike],
        timeout: Optional[float],
        is_stream: bool,
        read: Callable[[], Any],
        context: Optional[Context] = None,
    ) -> None:
        """Made by channels and servers. read: gives the single request, when it is first asked for."""
        self.method = method
        """The path of the method: "/hello/greet"."""
        self.timeout = timeout
        """Seconds; None: for ever. Of a client's call it may be set, to no more than its caller has given; of a
        server's it is what the caller has left."""
        self.is_stream = is_stream
        """Whether there are many messages, in either direction. `next` is called once for such a call."""
        self.context = context
        """What the handler has, on a server; None on a client."""
        self._metadata = Metadata.of(metadata)
        self._read: Optional[Callable[[], Any]] = read
        self._request: Any = None
        self._end = End()
        self._outer: Optional[Call] = None
        self._requests: list[Change] = []
        self._answers: list[Change] = []

    @property
    def metadata(self) -> Metadata:
        """What goes to the server beside the request, or has come from the client. May be set: to a dict or pairs."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: MetadataLike) -> None:
        self._metadata = Metadata.of(metadata)

    def add_metadata(self, name: str, value: Value) -> None:
        """One more pair of metadata, after those that there are."""
        self._metadata = Metadata((*self._metadata, (name, value)))

    @property
    def request(self) -> Any:
        """The single request, as the caller gave it or the handler is to get it (code-first: a dict of its fields).
        May be set. None of a stream of requests. On a server it raises nebula.Error if the request is malformed.
        """
        if self._read is not None:
            self._request, self._read = self._read(), None
        return self._request

    @request.setter
    def request(self, message: Any) -> None:
        self._request, self._read = message, None

    def on_request(self, change: Change) -> None:
        """change(message) is called for each request that passes, also for a single one; what it returns goes on in
        its place. To be said before `next`."""
        self._requests.append(change)

    def on_answer(self, change: Change) -> None:
        """The same for each answer."""
        self._answers.append(change)

    @property
    def peer(self) -> str:
        """On a server who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" on a client."""
        return self.context.peer if self.context is not None else ""

    @property
    def headers(self) -> Metadata:
        """The metadata that came before the answers, on a client and after `next`."""
        return self._end.headers

    @property
    def trailers(self) -> Metadata:
        """After `next`, the metadata that came after the answers or with the error; on a server, that goes."""
        if self.context is not None:
            return self.context._trailing_metadata()
        return self._end.trailers

    # ---- from filter to filter --------------------------------------------------------------------------------------

    def _inside(self) -> Call:
        """The same for who is inside: what is changed there does not come back, so that `next` may be called again."""
        inner = Call(self.method, self._metadata, self.timeout, self.is_stream, self._changed_request, self.context)
        inner._end, inner._outer = self._end, self
        return inner

    def _changed_request(self) -> Any:
        request = self.request
        if request is not None:
            for change in self._requests:
                request = change(request)
        return request

    def _all_requests(self) -> list[Change]:
        """What each message of a stream of requests goes through: the outermost filter first."""
        outer = self._outer._all_requests() if self._outer is not None else []
        return outer + self._requests

    def _all_answers(self) -> list[Change]:
        """The same of answers: the innermost filter first."""
        outer = self._outer._all_answers() if self._outer is not None else []
        return self._answers + outer

    def __repr__(self) -> str:
        return f"<nebula.Call {self.method}>"


Next = Callable[[], Any]
Filter = Callable[[Call, Next], Any]


def checked(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    """Filters that a user gave. Raises TypeError for what is none."""
    given = tuple(filters)
    for each in given:
        if not callable(each):
            raise TypeError(f"a filter is a function of the call and next, not {each!r}")
    return given


def chain(filters: tuple[Filter, ...], call: Call, last: Callable[[Call], Any], has_answer: bool, is_aio: bool) -> Any:
    """Runs the filters around `last`; a coroutine where is_aio. Its result is the single answer if has_answer."""

    def inside(at: int, outer: Call) -> Next:
        is_called = False

        def enter() -> Any:
            nonlocal is_called
            if is_called and outer.is_stream:
                raise RuntimeError(f"{outer.method}: next() is called once for a stream")
            is_called = True
            inner = outer._inside()
            return last(inner) if at == len(filters) else filters[at](inner, inside(at + 1, inner))

        def leave(answer: Any) -> Any:
            if has_answer:
                for change in outer._answers:
                    answer = change(answer)
            return answer

        async def next_aio() -> Any:
            answer = enter()
            return leave(await answer if inspect.isawaitable(answer) else answer)

        def next_sync() -> Any:
            answer = enter()
            if inspect.iscoroutine(answer):
                answer.close()
                raise TypeError(f"{outer.method}: an async filter is for calls on an event loop, not in plain code")
            return leave(answer)

        return next_aio if is_aio else next_sync

    return inside(0, call)()


def through(changes: list[Change], message: Any) -> Any:
    for change in changes:
        message = change(message)
    return message
