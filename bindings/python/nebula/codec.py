"""Messages as bytes: JSON for code-first methods, protobuf where the user's classes are protobuf's.

protobuf is not imported unless the user has handed in one of its classes; those are known by what they can do.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from typing import Any, Callable, NamedTuple, Optional

from nebula import _nebula


class Malformed(Exception):
    """Bytes that are not what their codec says. The text says why."""


def _reject(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def loads(data: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises Malformed."""
    try:
        return _decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except ValueError as error:
        raise Malformed(str(error)) from None


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8; dataclasses become objects and bytes base64. Raises TypeError or ValueError."""
    try:
        return _encode(value).encode("utf-8")
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


# Made once: json.loads and json.dumps with options make theirs anew for each message.
_decode = json.JSONDecoder(parse_constant=_reject).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


_COMPRESSIONS = {None: 0, "identity": 0, "gzip": _nebula.GZIP, "zstd": _nebula.ZSTD}


def compression_flag(name: Optional[str]) -> int:
    """What the engine calls it; 0 is none. Raises ValueError for one that it does not know."""
    if name not in _COMPRESSIONS:
        raise ValueError(f'compression is "gzip", "zstd", "identity" or None, not {name!r}')
    return _COMPRESSIONS[name]


def codec_name(flags: int, metadata: bytes) -> Optional[str]:
    """The codec that a message was sent with: "json", "proto", another one's name, None for the method's own."""
    if flags & _nebula.JSON:
        return "json"
    if flags & _nebula.PROTO:
        return "proto"
    if b"content-type" in metadata:  # an unusual codec travels as this field
        from nebula.metadata import unpack

        value = unpack(metadata).get("content-type", "")
        if isinstance(value, str) and value.startswith("application/grpc+"):
            return value[len("application/grpc+") :].split(";")[0]
    return None


def is_message_class(hint: Any) -> bool:
    """Whether a class is a protobuf message's."""
    return isinstance(hint, type) and _is_message_class(hint)


# Those of a program are few, and each call asks about its own.
@functools.lru_cache(maxsize=1024)
def _is_message_class(cls: type) -> bool:
    return all(hasattr(cls, name) for name in ("FromString", "SerializeToString", "DESCRIPTOR"))


def message_from_bytes(cls: Any, data: bytes) -> Any:
    """A protobuf message of that class. Raises Malformed."""
    try:
        return cls.FromString(data)
    except Exception as error:  # protobuf's DecodeError, whose class is not ours to import
        raise Malformed(str(error)) from None


def message_from_json(cls: Any, data: bytes) -> Any:
    """A protobuf message of that class from proto3's JSON mapping. Raises Malformed."""
    from google.protobuf import json_format

    try:
        return json_format.Parse(data.decode("utf-8"), cls())
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None


def message_to_json(message: Any) -> bytes:
    """proto3's JSON mapping, compact."""
    from google.protobuf import json_format

    # MessageToJson takes no separators, so by way of the dict.
    return dumps(json_format.MessageToDict(message))


class Codec(NamedTuple):
    """How the messages of a call are written and read, and the engine's flag for that."""

    flag: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _dumps_json(value: Any) -> bytes:
    if is_message_class(type(value)):
        raise TypeError("to send protobuf messages say response=<the message class of the answers>")
    return dumps(value)


def _serialized(message: Any) -> bytes:
    if not is_message_class(type(message)):
        raise TypeError(f"a protobuf message is needed, not a {type(message).__name__}")
    return bytes(message.SerializeToString())


JSON = Codec(_nebula.JSON, _dumps_json, loads)
_RAW = Codec(0, bytes, bytes)


def codec_of(response: Any) -> Codec:
    """By what the answers are to be: None (JSON), bytes, or a protobuf message class; the requests are alike."""
    if response is None:
        return JSON
    if response is bytes:
        return _RAW
    if not is_message_class(response):
        raise TypeError(f"response must be bytes or a protobuf message class, not {response!r}")
    return _proto_codec_of(response)


@functools.lru_cache(maxsize=1024)
def _proto_codec_of(cls: type) -> Codec:
    return Codec(_nebula.PROTO, _serialized, functools.partial(message_from_bytes, cls))


def json_codec_of(response: Any) -> Codec:
    """JSON on the wire, which is read as messages of a class."""
    return Codec(_nebula.JSON, _dumps_json, lambda data: message_from_json(response, data))


def reply_class(message: Any, path: str) -> Any:
    """The message class that the method at `path` answers with, from the descriptors of the request's file.

    Raises TypeError if they do not know the method.
    """
    service, _, method = path.lstrip("/").partition("/")
    try:
        found = message.DESCRIPTOR.file.pool.FindServiceByName(service).methods_by_name[method].output_type
    except KeyError:
        raise TypeError(
            f"{service}.{method} is in no .proto file that is loaded: say response=<its message class>"
        ) from None
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(found)
