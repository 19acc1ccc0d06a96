"""What a handler's signature says: its hints, where it has streams, and whether it runs on the event loop."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from typing import Any, Callable, Optional

from nebula import _nebula

_ASYNC_STREAMS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)
_STREAMS = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)


class Signature:
    """One handler's. In `hints` a stream is replaced by its element.

    A parameter annotated AsyncIterator[T], or Iterator[T] of a plain function, takes a stream of requests; so annotated
    results, and all that generators yield, are streams of answers. Raises TypeError for what contradicts itself.
    """

    def __init__(self, function: Callable[..., Any], label: str) -> None:
        self.function = function
        self.label = label  # "hello.greet", for people
        self.hints = _hints(function, label)
        self.parameters = inspect.signature(function).parameters
        self.is_async = self._is(inspect.iscoroutinefunction) or self._is(inspect.isasyncgenfunction)
        self.streams = self._find_answers()
        self.source = self._find_requests()
        self.shape = (_nebula.SERVER_STREAM if self.streams else 0) | (_nebula.CLIENT_STREAM if self.source else 0)

    def _is(self, predicate: Callable[[Any], bool]) -> bool:
        return predicate(self.function) or predicate(getattr(self.function, "__call__", None))

    def _find_answers(self) -> bool:
        """Whether there are many answers."""
        hint = self.hints.get("return")
        is_generator = self._is(inspect.isgeneratorfunction) or self._is(inspect.isasyncgenfunction)
        stream = _stream_of(hint)
        if stream is None:
            if is_generator and "return" in self.hints:
                wanted = f"what yields is {self._wanted()}[...]"
                raise TypeError(f"{self.label}: the return type: {wanted}, not {_name(hint)}")
            return is_generator
        # A plain function may return what an async generator gave it: that runs on the loop, too.
        self.is_async = self.is_async or stream.is_async and not is_generator
        if stream.is_async != self.is_async:
            raise TypeError(f"{self.label}: the return type: it must be {self._wanted()}[...], not {_name(hint)}")
        self.hints["return"] = stream.element
        return True

    def _find_requests(self) -> Optional[str]:
        """The parameter that takes many requests."""
        source: Optional[str] = None
        for name in self.parameters:
            stream = _stream_of(self.hints.get(name))
            if stream is None:
                continue
            where = f'{self.label}: parameter "{name}"'
            if stream.is_async != self.is_async:
                raise TypeError(f"{where}: it must be {self._wanted()}[...], not {_name(self.hints[name])}")
            if source is not None:
                raise TypeError(f'{where}: there is one stream of requests, and "{source}" is it')
            self.hints[name] = stream.element
            source = name
        return source

    def _wanted(self) -> str:
        return "AsyncIterator" if self.is_async else "Iterator"


class _Stream(typing.NamedTuple):
    is_async: bool
    element: Any


def _stream_of(hint: Any) -> Optional[_Stream]:
    origin = typing.get_origin(hint) or hint
    if origin not in _ASYNC_STREAMS and origin not in _STREAMS:
        return None
    return _Stream(origin in _ASYNC_STREAMS, (typing.get_args(hint) or (Any,))[0])


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _hints(function: Callable[..., Any], label: str) -> dict[str, Any]:
    # A partial or a callable object keeps its hints elsewhere.
    target = getattr(function, "func", function)
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target)
    except NameError as error:
        raise TypeError(f"{label}: a type hint does not resolve: {error}") from None
