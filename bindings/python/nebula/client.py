"""Calling a service: each of its methods is an attribute.

In plain code a call returns its result; where an asyncio loop runs in this thread it returns a coroutine to await.
`mode="sync"` or `mode="aio"` says it outright.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, Optional

from nebula.metadata import Metadata, MetadataLike
from nebula.options import mode_of

if TYPE_CHECKING:
    from nebula.channel import Channel
    from nebula.filters import Filter

# A service's name: what the engine's registries accept.
NAME = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,200}")


class ServiceClient:
    """A service to call: each attribute is a method of it.

    >>> nebula.service("hello", timeout=0.5).greet(name="Ada")

    Methods whose names are no Python names, or begin with an underscore: nebula.service("hello")["greet-all"](...).
    """

    __slots__ = ("_channel", "_name", "_timeout", "_metadata", "_mode", "_filters", "_methods")

    def __init__(
        self,
        channel: Channel,
        name: str,
        timeout: Optional[float],
        metadata: Optional[MetadataLike],
        mode: Optional[str],
        filters: tuple[Filter, ...] = (),
    ) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a service's name: 1 to 200 of [A-Za-z0-9_.-], not beginning with a dot")
        self._channel = channel
        self._name = name
        self._timeout = timeout
        self._metadata = Metadata.of(metadata)
        self._mode = mode_of(mode)
        self._filters = filters
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

        and for a method that takes a stream of requests, an iterator of them:

        >>> shop.total(order.price for order in orders)

        Returns and raises as Channel.call does.
        """
        return self._run(self._service._channel.call, message, fields)

    def stream(self, *message: Any, **fields: Any) -> Any:
        """The same for a method that answers with many messages:

        >>> async for price in shop.prices.stream(item="tea"):

        Returns and raises as Channel.stream does.
        """
        return self._run(self._service._channel.stream, message, fields)

    def open(self, **options: Any) -> Any:
        """A stream both ways with nothing sent yet. Options, returns and raises as Channel.open does."""
        return self._service._channel.open(self._path, **self._options(options))

    def _run(self, verb: Callable[..., Any], message: tuple[Any, ...], fields: dict[str, Any]) -> Any:
        if not message:
            return verb(self._path, fields, **self._options({}))
        if len(message) > 1:
            raise TypeError(f"{self._path[1:].replace('/', '.')} takes one request, or its fields by name")
        return verb(self._path, message[0], **self._options(fields))

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        service = self._service
        metadata = Metadata((*service._metadata, *Metadata.of(given.pop("metadata", None))))
        if service._filters:
            given["filters"] = (*service._filters, *given.get("filters", ()))
        return {"timeout": service._timeout, "mode": service._mode, "metadata": metadata, **given}

    def __repr__(self) -> str:
        return f"<nebula method {self._path}>"
