"""Handlers as methods: from a function's signature to the bytes that come in and go out.

Code-first: the parameters are the fields of a JSON object. Proto-first: one protobuf message in, one out. Streams, of
which signature.py says where they are, have JSON values or protobuf messages as their elements.
"""

from __future__ import annotations

import inspect
import json
from typing import Any, Callable, Optional

from nebula import codec, hints
from nebula.context import Context
from nebula.errors import Code, Error
from nebula.signature import Signature

# What a handler is called with.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class BadReply(Exception):
    """A handler returned what its method does not promise. The text says what."""


class Method:
    """One method of a service. Subclasses know how its messages are encoded."""

    codecs: tuple[str, ...] = ()

    def __init__(self, service: str, name: str, signature: Signature) -> None:
        self.service = service
        self.name = name
        self.label = signature.label
        self.path = f"/{service}/{name}"
        self.function = signature.function
        self.is_async = signature.is_async
        self.source = signature.source
        self.streams = signature.streams
        self.shape = signature.shape

    def check_codec(self, codec_name: Optional[str]) -> None:
        """Raises Error, UNIMPLEMENTED, for a codec that is not this method's."""
        if codec_name is not None and codec_name not in self.codecs:
            accepted = " and ".join(f"application/grpc+{name}" for name in self.codecs)
            raise Error(Code.UNIMPLEMENTED, f"{self.label} accepts {accepted}, not application/grpc+{codec_name}")

    def read_request(self, codec_name: Optional[str], data: Optional[bytes]) -> Any:
        """The single request. Raises Error for the caller: INVALID_ARGUMENT."""
        raise NotImplementedError

    def with_request(self, request: Any, context: Context) -> Arguments:
        """What to call the handler with. request: the single one, or an iterator of many."""
        raise NotImplementedError

    def decode(self, codec_name: Optional[str], data: bytes) -> Any:
        """One of a stream of requests. Raises Error for the caller: INVALID_ARGUMENT."""
        raise NotImplementedError

    def reply(self, codec_name: Optional[str], value: Any) -> bytes:
        """The bytes of the answer, or of one of a stream of them. Raises BadReply."""
        raise NotImplementedError

    def schemas(self, definitions: hints.Definitions) -> tuple[Any, Any]:
        """A request and an answer as JSON Schema."""
        raise NotImplementedError

    def example(self) -> Optional[str]:
        """How to call it from Python, if that can be said in one line."""
        return None


class JsonMethod(Method):
    """Code-first: fields in, any JSON value out."""

    codecs = ("json",)

    def __init__(self, service: str, name: str, signature: Signature) -> None:
        super().__init__(service, name, signature)
        self.context_name: Optional[str] = None
        self.fields = hints.Fields()
        self.message = hints.Shape()  # of a stream of requests
        self.parameters = signature.parameters
        required = []
        for parameter in self.parameters.values():
            hint = signature.hints.get(parameter.name, Any)
            if hint is Context:
                self.context_name = parameter.name
                continue
            self._check(parameter)
            where = f'{self.label}: parameter "{parameter.name}"'
            shape = hints.shape_of(hint, where)
            if parameter.name == self.source:
                self.message = shape
            elif self.source is not None:
                raise TypeError(f'{where} cannot stand beside the stream "{self.source}", which is the whole request')
            else:
                self.fields.shapes[parameter.name] = shape
                if parameter.default is parameter.empty:
                    required.append(parameter.name)
        self.fields.required = tuple(required)
        self.result = hints.shape_of(signature.hints.get("return", Any), f"{self.label}: the return type")

    def _check(self, parameter: inspect.Parameter) -> None:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{self.label}: parameter {str(parameter)!r} has no field; use named parameters")
        if parameter.annotation is parameter.empty and parameter.name in ("ctx", "context"):
            raise TypeError(f'{self.label}: parameter "{parameter.name}" needs its type: nebula.Context')

    def read_request(self, codec_name: Optional[str], data: Optional[bytes]) -> Any:
        return self._checked(self.fields, data or b"{}")

    def with_request(self, request: Any, context: Context) -> Arguments:
        fields = request if self.source is None else {self.source: request}
        if self.context_name is not None:
            fields = {**fields, self.context_name: context}
        return (), fields

    def decode(self, codec_name: Optional[str], data: bytes) -> Any:
        return self._checked(self.message, data)

    def schemas(self, definitions: hints.Definitions) -> tuple[Any, Any]:
        request = self.fields if self.source is None else self.message
        return request.schema(definitions), self.result.schema(definitions)

    def _checked(self, shape: hints.Shape, data: bytes) -> Any:
        try:
            return shape.decode(codec.loads(data))
        except codec.Malformed as error:
            raise Error(Code.INVALID_ARGUMENT, f"{self.label}: malformed JSON: {error}") from None
        except hints.Mismatch as mismatch:
            whole = f"{self.label}: the message {mismatch.text}"
            raise Error(Code.INVALID_ARGUMENT, whole if mismatch.is_kind else mismatch.sentence(self.label)) from None
        except RecursionError:
            raise Error(Code.INVALID_ARGUMENT, f"{self.label}: malformed JSON: nested too deeply") from None

    def reply(self, codec_name: Optional[str], value: Any) -> bytes:
        try:
            return codec.dumps(self.result.encode(value))
        except hints.Mismatch as mismatch:
            raise BadReply(mismatch.sentence("the result")) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise BadReply(f"the result cannot be encoded: {error}") from None

    def example(self) -> Optional[str]:
        if self.source is not None:
            return None
        fields = []
        for field, shape in self.fields.shapes.items():
            default = self.parameters[field].default
            if default is inspect.Parameter.empty:
                if shape.example is None:
                    return None
                fields.append(f"{field}={shape.example}")
            elif isinstance(default, str):
                fields.append(
                    f"{field}={json.dumps(default, ensure_ascii=False)}"
                )  # the quotes of the rest of the line
            elif default is None or isinstance(default, (bool, int, float)):
                fields.append(f"{field}={default!r}")
        attribute = f".{self.name}" if self.name.isidentifier() and self.name[0] != "_" else f'["{self.name}"]'
        stream = ".stream" if self.streams else ""
        return f'nebula.service("{self.service}"){attribute}{stream}({", ".join(fields)})'


class ProtoMethod(Method):
    """Proto-first: a message in, a message out, as protobuf or in proto3's JSON mapping."""

    codecs = ("proto", "json")

    def __init__(self, service: str, name: str, signature: Signature, request: Any, response: Any) -> None:
        super().__init__(service, name, signature)
        self.request = request
        self.response = response
        self.wants_context = len(signature.parameters) > 1

    def read_request(self, codec_name: Optional[str], data: Optional[bytes]) -> Any:
        if data is None:
            raise self._malformed("there is no message")
        return self.decode(codec_name, data)

    def with_request(self, request: Any, context: Context) -> Arguments:
        return ((request, context) if self.wants_context else (request,)), {}

    def decode(self, codec_name: Optional[str], data: bytes) -> Any:
        try:
            if codec_name == "json":
                return codec.message_from_json(self.request, data)
            return codec.message_from_bytes(self.request, data)
        except codec.Malformed as error:
            raise self._malformed(str(error)) from None

    def schemas(self, definitions: hints.Definitions) -> tuple[Any, Any]:
        # What is in them the engine takes from the descriptors.
        names = (message.DESCRIPTOR.full_name for message in (self.request, self.response))
        request, response = ({"$ref": f"#/$defs/{name}"} for name in names)
        return request, response

    def _malformed(self, why: str) -> Error:
        name = self.request.DESCRIPTOR.full_name
        return Error(Code.INVALID_ARGUMENT, f"{self.label}: malformed {name}: {why}")

    def reply(self, codec_name: Optional[str], value: Any) -> bytes:
        if not isinstance(value, self.response):
            raise BadReply(f"the result must be a {self.response.__name__}, not {hints.shown(value)}")
        try:
            return codec.message_to_json(value) if codec_name == "json" else bytes(value.SerializeToString())
        except Exception as error:  # protobuf's EncodeError, whose class is not ours to import
            raise BadReply(f"the result cannot be encoded: {error}") from None


def make_method(service: str, name: str, function: Callable[..., Any]) -> Method:
    """The method that a handler's signature describes. Raises TypeError naming the parameter at fault."""
    signature = Signature(function, f"{service}.{name}")
    if not any(codec.is_message_class(hint) for hint in signature.hints.values()):
        return JsonMethod(service, name, signature)
    first, *rest = signature.parameters or [""]
    request, response = signature.hints.get(first), signature.hints.get("return")
    others = [signature.hints.get(parameter, Context) for parameter in rest]
    if not codec.is_message_class(request) or not codec.is_message_class(response) or others not in ([], [Context]):
        raise TypeError(
            f"{signature.label}: a method with messages is (request: Message) or (request: Message, ctx) -> Message"
        )
    return ProtoMethod(service, name, signature, request, response)
