"""How a call ends when it does not end well."""

from __future__ import annotations

import enum
from typing import Optional

from nebula._nebula import EngineError
from nebula.metadata import Metadata, MetadataLike, pack

__all__ = ["Code", "EngineError", "Error"]


class Code(enum.IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Error(Exception):
    """A failed call: raised by the client, and by a handler that wants its caller to see this code and message.

    >>> raise nebula.Error(nebula.NOT_FOUND, "no order 7")

    code: a nebula.Code other than OK. message: a sentence for the caller. metadata: the trailing metadata, a dict or
    pairs; names are lower case, values of names that end in "-bin" are bytes.
    """

    code: Code
    message: str
    metadata: Metadata

    def __init__(self, code: int, message: str = "", metadata: Optional[MetadataLike] = None) -> None:
        self.code = Code(code)
        if self.code is Code.OK:
            raise ValueError("an error has a code other than OK")
        self.message = message
        if not isinstance(metadata, Metadata):
            metadata = Metadata.of(metadata)
            pack(metadata)  # what cannot be sent is refused where it was written
        self.metadata = metadata
        super().__init__(self.code, message)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name
