"""One call of a client: what is sent, and what its end comes to."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from nebula import _nebula, codec, deadline, engine
from nebula.errors import Code
from nebula.metadata import Metadata, MetadataLike, pack, unpack
from nebula.streams import failure_of, is_iterator, malformed


class Reply(NamedTuple):
    """All of a good answer: the message, the metadata that came before it and the metadata that came after."""

    value: Any
    headers: Metadata
    trailers: Metadata


class Request(NamedTuple):
    """A call, ready to be sent."""

    path: str
    shape: int
    codec: codec.Codec
    data: Optional[bytes]  # None: a stream of requests
    messages: Any  # an iterator of them, if there is one
    flags: int
    timeout_us: int
    metadata: Optional[bytes]
    parent: int  # the call for which it is made


# What a call that has ended comes to: its value, or all of it.
Outcome = Callable[[Request, engine.Pending], Any]


def request_of(
    path: str,
    message: Any,
    response: Any,
    timeout: Optional[float],
    metadata: Optional[MetadataLike],
    wait_for_ready: bool,
    idempotent: bool,
    compression: int,
) -> Request:
    """Of the arguments of Channel.call; compression: a flag of the engine's."""
    flags = (_nebula.WAIT_FOR_READY if wait_for_ready else 0) | (_nebula.IDEMPOTENT if idempotent else 0)
    flags |= compression | _nebula.COMPRESS
    timeout_us, block = deadline.microseconds(timeout), pack(metadata)
    if is_iterator(message):
        chosen = codec.codec_of(response)
        flags |= _codec_flags(chosen)
        return Request(path, _nebula.CLIENT_STREAM, chosen, None, message, flags, timeout_us, block, deadline.parent())
    data, chosen = _encoded(path, message, response)
    flags |= _codec_flags(chosen) | _nebula.END
    return Request(path, _nebula.UNARY, chosen, data, None, flags, timeout_us, block, deadline.parent())


def _codec_flags(chosen: codec.Codec) -> int:
    """What is sent as JSON has no class of its own: the engine checks it against the service's description."""
    return chosen.flag | (_nebula.CHECK if chosen.flag == _nebula.JSON else 0)


def _encoded(path: str, message: Any, response: Any) -> tuple[bytes, codec.Codec]:
    """The request's bytes, and how to read the answer."""
    if message is None:
        message = {}
    if isinstance(message, (bytes, bytearray, memoryview)):
        chosen = codec.codec_of(bytes if response is None else response)
        return bytes(message), chosen._replace(flag=0)
    if codec.is_message_class(type(message)):
        answer = response if response is not None else codec.reply_class(message, path)
        return message.SerializeToString(), codec.codec_of(answer)
    if response is not None:
        return codec.dumps(message), codec.json_codec_of(response)
    return codec.dumps(message), codec.JSON


# How the engine begins its word on a unary call whose peer answered otherwise.
_NOT_ONE_ANSWER = b"this method answers with one message"


def value_of(request: Request, ended: engine.Pending) -> Any:
    name = request.path[1:].replace("/", ".")
    if ended.status != 0:
        if ended.status == Code.UNIMPLEMENTED and (ended.data or b"").startswith(_NOT_ONE_ANSWER):
            ended.data = f"{name} answers with a stream: iterate over {name}.stream(...)".encode()
        raise failure_of(ended)
    try:
        if ended.data is None:
            raise codec.Malformed("there is no message")
        return request.codec.decode(ended.data)
    except codec.Malformed as error:
        raise malformed(name, error, ended.trailers) from None


def reply_of(request: Request, ended: engine.Pending) -> Reply:
    return Reply(value_of(request, ended), unpack(ended.headers), unpack(ended.trailers))
