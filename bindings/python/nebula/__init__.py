"""Services that call each other by name, with nothing configured.

>>> import nebula
>>> app = nebula.Service("hello")
>>> @app.rpc
... def greet(name: str = "world") -> str:
...     return f"Hello {name}!"
>>> app.run()

and from another program

>>> nebula.service("hello", timeout=0.5).greet(name="Ada")
'Hello Ada!'

which inside a running asyncio loop is awaited. NEBULA_REGISTRY chooses another registry than this user's on this host;
NEBULA_LOG=debug|info|warn says what goes on.
"""

from nebula._nebula import version as _version
from nebula.channel import Channel, connect, service, use
from nebula.client import MethodClient, ServiceClient
from nebula.context import Context
from nebula.counters import metrics
from nebula.deadline import detached
from nebula.errors import Code, EngineError, Error, Fate, Fault
from nebula.filters import Call, Filter
from nebula.metadata import Metadata
from nebula.request import Reply
from nebula.running import run
from nebula.server import Server, serve
from nebula.services import Service
from nebula.streams import AsyncStream, Stream
from nebula.tls import TLS

CANCELLED = Code.CANCELLED
UNKNOWN = Code.UNKNOWN
INVALID_ARGUMENT = Code.INVALID_ARGUMENT
DEADLINE_EXCEEDED = Code.DEADLINE_EXCEEDED
NOT_FOUND = Code.NOT_FOUND
ALREADY_EXISTS = Code.ALREADY_EXISTS
PERMISSION_DENIED = Code.PERMISSION_DENIED
RESOURCE_EXHAUSTED = Code.RESOURCE_EXHAUSTED
FAILED_PRECONDITION = Code.FAILED_PRECONDITION
ABORTED = Code.ABORTED
OUT_OF_RANGE = Code.OUT_OF_RANGE
UNIMPLEMENTED = Code.UNIMPLEMENTED
INTERNAL = Code.INTERNAL
UNAVAILABLE = Code.UNAVAILABLE
DATA_LOSS = Code.DATA_LOSS
UNAUTHENTICATED = Code.UNAUTHENTICATED

__version__: str = _version()

__all__ = [
    "AsyncStream",
    "Call",
    "Channel",
    "Code",
    "Context",
    "EngineError",
    "Error",
    "Fate",
    "Fault",
    "Filter",
    "Metadata",
    "MethodClient",
    "Reply",
    "Server",
    "Service",
    "ServiceClient",
    "Stream",
    "TLS",
    "connect",
    "detached",
    "metrics",
    "run",
    "serve",
    "service",
    "use",
    *(code.name for code in Code if code is not Code.OK),
]
