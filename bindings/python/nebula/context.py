"""What a handler may know and do about its call besides its arguments."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Optional

from nebula import _nebula
from nebula.errors import Error
from nebula.metadata import Metadata, MetadataLike, pack, unpack

if TYPE_CHECKING:
    from nebula.flow import Flow
    from nebula.server import Server


class Context:
    """One call, seen from its handler. A handler gets it by a parameter annotated `nebula.Context`."""

    __slots__ = (
        "_server",
        "_call",
        "_block",
        "_metadata",
        "_deadline",
        "_cancelled",
        "_task",
        "_flow",
        "_trailers",
        "_has_headers",
        "_peer",
        "_path",
        "compress",
        "__weakref__",
    )

    def __init__(self, server: Server, call: int, path: str, block: bytes, left_us: int) -> None:
        self._server = server
        self._call = call
        self._path = path
        self._block = block
        self._metadata: Optional[Metadata] = None  # what filters have made of it
        self._deadline = time.monotonic() + left_us / 1e6 if left_us else None
        self._cancelled = False
        self._task: Optional[asyncio.Task[None]] = None
        self._flow: Optional[Flow] = None  # of a stream
        self._trailers: Optional[bytes] = None
        self._has_headers = False
        self._peer: Optional[str] = None
        self.compress = True
        """Whether the answers from here on are compressed, where the server has a compression. A handler sets it."""

    @property
    def method(self) -> str:
        """The path of the method: "/hello/greet"."""
        return self._path

    @property
    def metadata(self) -> Metadata:
        """What the caller sent beside the request."""
        return unpack(self._block) if self._metadata is None else self._metadata

    @property
    def peer(self) -> str:
        """Who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" once the call is over."""
        if self._peer is None:
            described = _nebula.call_describe(self._call)
            if described is None:
                return ""
            self._peer = described[1]
        return self._peer

    @property
    def deadline(self) -> Optional[float]:
        """When the caller stops waiting, on the clock of time.monotonic() in seconds; None: it waits for ever."""
        return self._deadline

    def time_remaining(self) -> Optional[float]:
        """Seconds until the deadline, never negative; None: there is none."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more: the caller gave up or left, or the deadline has passed.

        An `async def` handler is cancelled then; a `def` handler that takes long looks here from time to time.
        """
        return self._cancelled

    def send_initial_metadata(self, metadata: MetadataLike) -> None:
        """Sends metadata ahead of the answer. At most once, and before the handler returns or yields.

        Raises ValueError or TypeError for metadata that cannot be sent, RuntimeError the second time. Does nothing if
        the call is over.
        """
        block = pack(metadata)
        if self._has_headers:
            raise RuntimeError("the initial metadata was sent already")
        self._has_headers = True
        _nebula.call_headers(self._call, block)
        self._server._submitted()

    def set_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Metadata to go after the answer, or the last of them, or with the error. The last one set counts.

        Raises ValueError or TypeError for metadata that cannot be sent.
        """
        self._trailers = pack(metadata)

    def _trailing_metadata(self) -> Metadata:
        return unpack(self._trailers or b"")

    def _error_trailers(self, error: Error) -> Optional[bytes]:
        """The trailers of an error: its own, else those of the handler."""
        return pack(error.metadata) or self._trailers

    def __repr__(self) -> str:
        return f"<nebula.Context of {self._path}>"
