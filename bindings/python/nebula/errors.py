"""How a call ends when it does not end well."""

from __future__ import annotations

import enum
from typing import Optional

from nebula import _nebula
from nebula._nebula import EngineError
from nebula.metadata import Metadata, MetadataLike, pack, unpack

__all__ = ["Code", "EngineError", "Error", "Fate", "Fault"]


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


class _Word(enum.IntEnum):
    """A number of the engine's that prints as a word: str(Fate.UNSENT) is "unsent"."""

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Fate(_Word):
    """How far the request of a call got, for whoever wants to repeat it."""

    UNSENT = _nebula.FATE_UNSENT
    """It never left this process: repeating it is safe."""
    UNPROCESSED = _nebula.FATE_UNPROCESSED
    """The peer says that its application has not seen it: repeating it is safe."""
    UNKNOWN = _nebula.FATE_UNKNOWN
    """The connection was lost, or we gave up: it may have been executed."""
    PROCESSED = _nebula.FATE_PROCESSED
    """The peer's application has answered or refused it."""


class Fault(_Word):
    """Whose fault a failure is."""

    NONE = _nebula.FAULT_NONE
    CALLER = _nebula.FAULT_CALLER
    NETWORK = _nebula.FAULT_NETWORK
    CALLEE = _nebula.FAULT_CALLEE
    OVERLOAD = _nebula.FAULT_OVERLOAD


class Error(Exception):
    """A failed call: raised by the client, and by a handler that wants its caller to see this code and message.

    >>> raise nebula.Error(nebula.NOT_FOUND, "no order 7")

    code: a nebula.Code other than OK. message: a sentence for the caller. metadata: the trailing metadata, a dict or
    pairs; names are lower case, values of names that end in "-bin" are bytes.
    fate, fault: of a call that failed, how far it got and whose fault that is; None: not from a call of ours.
    """

    code: Code
    message: str
    metadata: Metadata
    fate: Optional[Fate] = None
    fault: Optional[Fault] = None

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

    @classmethod
    def of_call(cls, code: int, message: str, trailers: bytes, outcome: int) -> Error:
        """The error of a call of ours. outcome: fate and fault, as the engine's FINISHED event has them."""
        error = cls(code, message, unpack(trailers))
        error.fate, error.fault = Fate(outcome & 255), Fault(outcome >> 8 & 255)
        return error


def engine_error(code: int) -> EngineError:
    """What the engine refuses with that negative code."""
    error = EngineError(_nebula.strerror(code))
    error.code = code
    return error
