"""The native module: the C ABI (capi/nebula.h) as it is. Everything else is decided in Python."""

from typing import Optional

ABI_MAJOR: int
ABI_MINOR: int
OK: int
CANCELLED: int
UNKNOWN: int
INVALID_ARGUMENT: int
DEADLINE_EXCEEDED: int
NOT_FOUND: int
ALREADY_EXISTS: int
PERMISSION_DENIED: int
RESOURCE_EXHAUSTED: int
FAILED_PRECONDITION: int
ABORTED: int
OUT_OF_RANGE: int
UNIMPLEMENTED: int
INTERNAL: int
UNAVAILABLE: int
DATA_LOSS: int
UNAUTHENTICATED: int
FULL: int
E_ARGUMENT: int
E_STALE: int
E_STATE: int
E_CLOSED: int
E_BUSY: int
E_NO_MEMORY: int
E_ADDRESS: int
E_TLS: int
E_VERSION: int
E_SYSTEM: int
E_FORKED: int
UNARY: int
CLIENT_STREAM: int
SERVER_STREAM: int
BIDI: int
HOLD: int
RUNS: int
FATE_UNSENT: int
FATE_UNPROCESSED: int
FATE_UNKNOWN: int
FATE_PROCESSED: int
FAULT_NONE: int
FAULT_CALLER: int
FAULT_NETWORK: int
FAULT_CALLEE: int
FAULT_OVERLOAD: int
EV_CALL: int
EV_HEADERS: int
EV_MESSAGE: int
EV_END: int
EV_FINISHED: int
EV_CANCELLED: int
EV_WRITABLE: int
EV_DRAINED: int
EV_WAKE: int
EV_METRICS: int
END: int
COMPRESS: int
WANT_HEADERS: int
WAIT_FOR_READY: int
IDEMPOTENT: int
JSON: int
PROTO: int
GZIP: int
ZSTD: int
CHECK: int
RUN: int
QUEUE_INLINE: int
QUEUE_THREADED: int
SPREAD_CALL: int
SPREAD_CONNECTION: int

# certificate, key, authorities, server_name
Tls = tuple[Optional[str], ...]

class EngineError(RuntimeError):
    code: int

class Engine:
    def __init__(self, registry: Optional[str] = None) -> None: ...
    def metrics(self, queue: Queue, tag: int) -> None: ...
    def close(self) -> None: ...

class Queue:
    def __init__(self, engine: Engine, mode: int = 0) -> None: ...
    def fd(self) -> int: ...
    def wake(self, tag: int) -> None: ...
    def close(self) -> None: ...

class Server:
    def __init__(
        self,
        engine: Engine,
        max_message: int = 0,
        *,
        max_streams: int = 0,
        max_connections: int = 0,
        keepalive_ms: int = 0,
        keepalive_timeout_ms: int = 0,
        min_ping_ms: int = 0,
        max_idle_ms: int = 0,
        max_age_ms: int = 0,
        max_age_grace_ms: int = 0,
        compression: int = 0,
    ) -> None: ...
    def method(self, path: str, shape: int, tag: int) -> None: ...
    def listen(self, address: Optional[str], announce: Optional[str], tls: Optional[Tls] = None) -> None: ...
    def start(self, queue: Queue) -> None: ...
    def urls(self) -> str: ...
    def describe(self, descriptor_set: bytes) -> None: ...
    def schema(self, service: str, document: bytes) -> None: ...
    def health(self, service: str, status: int) -> None: ...
    def drain(self, timeout_ms: int, tag: int) -> None: ...
    def close(self) -> None: ...

class Channel:
    def __init__(
        self,
        engine: Engine,
        target: str,
        max_message: int = 0,
        tls: Optional[Tls] = None,
        *,
        keepalive_ms: int = 0,
        keepalive_timeout_ms: int = 0,
        keepalive_always: int = 0,
        max_idle_ms: int = 0,
        policy: Optional[str] = None,
    ) -> None: ...
    def method(self, path: str, shape: int) -> int: ...
    def close(self) -> None: ...

# One event: kind, call, tag, flags, status, data, metadata, value.
Event = tuple[int, int, int, int, int, Optional[bytes], bytes, int]

def poll(queue: Queue, timeout_ms: int, events: list[Event], /) -> None: ...
def call_start(
    queue: Queue,
    method: int,
    tag: int,
    timeout_us: int,
    metadata: Optional[bytes],
    data: Optional[bytes],
    flags: int,
    parent: int,
    /,
) -> int: ...
def call_headers(call: int, metadata: Optional[bytes], /) -> int: ...
def call_send(call: int, data: Optional[bytes], flags: int, /) -> int: ...
def call_finish(call: int, status: int, message: Optional[bytes], metadata: Optional[bytes], /) -> int: ...
def call_cancel(call: int, status: int, /) -> int: ...
def call_consume(call: int, size: int, /) -> int: ...
def call_describe(call: int) -> Optional[tuple[str, str]]: ...
def version() -> str: ...
def abi() -> int: ...
def strerror(code: int) -> str: ...
