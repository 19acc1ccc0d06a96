"""Services: named sets of methods."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, overload

from nebula import client
from nebula.channel import Channel, service
from nebula.filters import Filter, checked
from nebula.method import Method, make_method
from nebula.options import ServeOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

Handler = TypeVar("Handler", bound=Callable[..., Any])

_METHOD_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class Service:
    """A named set of methods.

    >>> app = nebula.Service("hello")
    >>> @app.rpc
    ... def greet(name: str = "world") -> str:
    ...     return f"Hello {name}!"
    >>> app.run()

    name: what callers ask for: 1 to 200 of [A-Za-z0-9_.-], not beginning with a dot. filters: around its calls, the
    first is the outermost; they are `async def`, whatever the handlers are. See nebula.Call.
    """

    def __init__(self, name: str, *, filters: Iterable[Filter] = ()) -> None:
        if not client.NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a service's name: 1 to 200 of [A-Za-z0-9_.-], not beginning with a dot")
        self.name = name
        self.filters = checked(filters)
        self.methods: dict[str, Method] = {}

    @overload
    def rpc(self, function: Handler) -> Handler: ...
    @overload
    def rpc(self, *, name: Optional[str] = None) -> Callable[[Handler], Handler]: ...
    def rpc(self, function: Optional[Handler] = None, *, name: Optional[str] = None) -> Any:
        """Makes a function a method of this service; the function itself stays as it is.

        Code-first: the parameters, checked against their type hints, are the fields of a JSON object, and the result is
        JSON. Proto-first: one parameter that is a protobuf message, a protobuf message as the result. Either may have a
        parameter annotated nebula.Context.

        Streams: what a generator yields is a stream of answers; a parameter annotated AsyncIterator[T], or Iterator[T]
        in a `def`, is the stream of requests, each T a whole message. `yield` waits while the caller does not read.

        `async def` handlers run on the event loop, `def` handlers in a pool of threads. A handler that raises
        nebula.Error answers with it; any other exception is UNKNOWN to the caller and is logged here.

        name: the method's, if not the function's. Raises TypeError for a signature that cannot be served, naming the
        parameter, and ValueError for a name that is malformed or taken.
        """
        if function is None:
            return functools.partial(self.rpc, name=name)
        method = name if name is not None else function.__name__
        if not _METHOD_NAME.fullmatch(method):
            raise ValueError(f"{self.name}: {method!r} is not a method's name: [A-Za-z0-9_.-]")
        if method in self.methods:
            raise ValueError(f"{self.name}: there is a method {method!r} already")
        self.methods[method] = make_method(self.name, method, function)
        return function

    unary = rpc

    def client(
        self, channel: Optional[Channel] = None, *, timeout: Optional[float] = None, mode: Optional[str] = None
    ) -> client.ServiceClient:
        """A client of this service: nebula.service with its name."""
        return service(self.name, timeout=timeout, channel=channel, mode=mode)

    async def serve(
        self,
        address: Union[str, Iterable[str], None] = None,
        **options: Unpack[ServeOptions],
    ) -> None:
        """Serves until it is cancelled, then drains. Arguments as for nebula.serve."""
        from nebula.server import serve

        async with serve(self, address=address, **options):
            await asyncio.Event().wait()

    def run(self, address: Union[str, Iterable[str], None] = None, **options: Unpack[ServeOptions]) -> None:
        """Serves until SIGINT or SIGTERM, as nebula.run does. Arguments as for nebula.serve."""
        from nebula.running import run

        run(self, address=address, **options)

    def __repr__(self) -> str:
        return f"<nebula.Service {self.name}: {', '.join(self.methods) or 'no methods'}>"
