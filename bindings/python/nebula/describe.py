"""What a server's services look like: descriptors of protobuf for grpc.reflection, JSON Schema for dynamic callers."""

from __future__ import annotations

import json
from typing import Any, Iterable

from nebula import _nebula, hints
from nebula.method import Method, ProtoMethod

_SHAPES = {
    _nebula.UNARY: "unary",
    _nebula.CLIENT_STREAM: "client_stream",
    _nebula.SERVER_STREAM: "server_stream",
    _nebula.BIDI: "bidi",
}


def document(service: str, methods: Iterable[Method]) -> bytes:
    """The description of a service, as _nebula.Server.schema takes it."""
    definitions = hints.Definitions()
    described = []
    for method in methods:
        request, response = method.schemas(definitions)
        described.append(
            {"name": method.name, "shape": _SHAPES[method.shape], "request": request, "response": response}
        )
    return json.dumps({"service": service, "methods": described, "$defs": definitions.schemas}).encode()


def descriptor_set(methods: Iterable[Method]) -> bytes:
    """The files that define these methods' services and messages, with all that they import.

    A serialized google.protobuf.FileDescriptorSet; empty if none of the methods is of protobuf. A service that is in no
    .proto file that was loaded is left out, its messages are not.
    """
    files: dict[str, bytes] = {}
    for method in methods:
        if isinstance(method, ProtoMethod):
            for message in (method.request, method.response):
                _add(files, message.DESCRIPTOR.file)
            try:
                _add(files, method.request.DESCRIPTOR.file.pool.FindServiceByName(method.service).file)
            except KeyError:
                pass
    return b"".join(b"\x0a" + _varint(len(file)) + file for file in files.values())


def _add(files: dict[str, bytes], file: Any) -> None:
    if file.name in files:
        return
    files[file.name] = file.serialized_pb
    for imported in file.dependencies:
        _add(files, imported)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
