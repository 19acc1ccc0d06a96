"""Metadata: the ordered names and values that travel beside a message.

The engine takes and gives it as one flat block of { u32 name size, u32 value size, name, value }.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from typing import Optional, Union, overload

Value = Union[str, bytes]
# What may be given where metadata is asked for.
MetadataLike = Union[Mapping[str, Value], Iterable[tuple[str, Value]]]

_SIZES = struct.Struct("=II")
# All that begins with grpc- is gRPC's own, but for what a handler says of another try (gRFC A6).
_NAME = re.compile(r"(?!grpc-(?!retry-pushback-ms$)|nebula-retries-left$)[0-9a-z_.-]+")
_TEXT = re.compile(r"[ -~]*")


class Metadata(tuple[tuple[str, Value], ...]):
    """Pairs of name and value, in order; a name may come more than once.

    Values of names that end in "-bin" are bytes, all others str.
    """

    @classmethod
    def of(cls, given: Optional[MetadataLike]) -> Metadata:
        """From a dict or pairs; None is empty."""
        if given is None:
            return cls()
        return cls(given.items() if isinstance(given, Mapping) else given)

    @overload
    def get(self, name: str) -> Optional[Value]: ...
    @overload
    def get(self, name: str, default: Value) -> Value: ...
    def get(self, name: str, default: Optional[Value] = None) -> Optional[Value]:
        """The first value of that name, else default."""
        return next((value for key, value in self if key == name), default)

    def get_all(self, name: str) -> list[Value]:
        """All values of that name, in order."""
        return [value for key, value in self if key == name]


def pack(metadata: Optional[MetadataLike]) -> Optional[bytes]:
    """The engine's block, None if there is nothing. Raises ValueError or TypeError naming the field at fault."""
    if not metadata:
        return None
    block = bytearray()
    for name, value in Metadata.of(metadata):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"metadata name {name!r}: only [0-9a-z_.-], and none of gRPC's or the engine's own")
        if name.endswith("-bin"):
            if not isinstance(value, (bytes, bytearray)):
                raise TypeError(f"metadata {name!r}: the value must be bytes, not {type(value).__name__}")
            raw = bytes(value)
        else:
            if not isinstance(value, str):
                raise TypeError(f"metadata {name!r}: the value must be a str, not {type(value).__name__}")
            if not _TEXT.fullmatch(value):
                raise ValueError(f"metadata {name!r}: only printable ASCII; use a name that ends in -bin for the rest")
            raw = value.encode("ascii")
        key = name.encode("ascii")
        block += _SIZES.pack(len(key), len(raw)) + key + raw
    return bytes(block)


def unpack(block: bytes) -> Metadata:
    """Metadata from the engine's block."""
    pairs: list[tuple[str, Value]] = []
    at = 0
    while at < len(block):
        name_size, value_size = _SIZES.unpack_from(block, at)
        at += _SIZES.size
        name = block[at : at + name_size].decode("ascii")
        at += name_size
        raw = block[at : at + value_size]
        at += value_size
        pairs.append((name, raw if name.endswith("-bin") else raw.decode("latin-1")))
    return Metadata(pairs)
