"""Handlers as methods: from a function's signature to the bytes that come in and go out.

Code-first: the parameters are the fields of a JSON object. Proto-first: one protobuf message in, one out.
"""

from __future__ import annotations

import inspect
import json
import typing
from typing import Any, Callable, Optional

from nebula import codec, hints
from nebula.context import Context
from nebula.errors import Code, Error

# What a handler is called with.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class BadReply(Exception):
    """A handler returned what its method does not promise. The text says what."""


class Method:
    """One method of a service. Subclasses know how its messages are encoded."""

    def __init__(self, service: str, name: str, function: Callable[..., Any]) -> None:
        self.service = service
        self.name = name
        self.label = f"{service}.{name}"  # for people
        self.path = f"/{service}/{name}"
        self.function = function
        self.is_async = _is_async(function)

    def arguments(self, codec_name: Optional[str], data: Optional[bytes], context: Context) -> Arguments:
        """What to call the handler with. Raises Error for the caller: INVALID_ARGUMENT, UNIMPLEMENTED."""
        raise NotImplementedError

    def reply(self, codec_name: Optional[str], value: Any) -> bytes:
        """The answer's bytes. Raises BadReply."""
        raise NotImplementedError

    def example(self) -> Optional[str]:
        """How to call it from Python, if that can be said in one line."""
        return None

    def _unknown_codec(self, codec_name: str, accepted: str) -> Error:
        return Error(Code.UNIMPLEMENTED, f"{self.label} accepts {accepted}, not application/grpc+{codec_name}")


class JsonMethod(Method):
    """Code-first: fields in, any JSON value out."""

    def __init__(self, service: str, name: str, function: Callable[..., Any]) -> None:
        super().__init__(service, name, function)
        self.context_name: Optional[str] = None
        self.fields = hints.Fields()
        hinted = _hints(function, self.label)
        required = []
        for parameter in inspect.signature(function).parameters.values():
            hint = hinted.get(parameter.name, Any)
            if hint is Context:
                self.context_name = parameter.name
                continue
            self._check(parameter)
            where = f'{self.label}: parameter "{parameter.name}"'
            self.fields.shapes[parameter.name] = hints.shape_of(hint, where)
            if parameter.default is parameter.empty:
                required.append(parameter.name)
        self.fields.required = tuple(required)
        self.result = hints.shape_of(hinted.get("return", Any), f"{self.label}: the return type")
        self.parameters = inspect.signature(function).parameters

    def _check(self, parameter: inspect.Parameter) -> None:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{self.label}: parameter {str(parameter)!r} has no field; use named parameters")
        if parameter.annotation is parameter.empty and parameter.name in ("ctx", "context"):
            raise TypeError(f'{self.label}: parameter "{parameter.name}" needs its type: nebula.Context')

    def arguments(self, codec_name: Optional[str], data: Optional[bytes], context: Context) -> Arguments:
        if codec_name not in (None, "json"):
            assert codec_name is not None
            raise self._unknown_codec(codec_name, "application/grpc+json")
        try:
            fields = self.fields.decode(codec.loads(data) if data else {})
        except codec.Malformed as error:
            raise Error(Code.INVALID_ARGUMENT, f"{self.label}: malformed JSON: {error}") from None
        except hints.Mismatch as mismatch:
            raise Error(Code.INVALID_ARGUMENT, self._sentence(mismatch)) from None
        except RecursionError:
            raise Error(Code.INVALID_ARGUMENT, f"{self.label}: malformed JSON: nested too deeply") from None
        if self.context_name is not None:
            fields[self.context_name] = context
        return (), fields

    def _sentence(self, mismatch: hints.Mismatch) -> str:
        if mismatch.is_kind:
            return f"{self.label}: the request {mismatch.text}"
        return mismatch.sentence(self.label)

    def reply(self, codec_name: Optional[str], value: Any) -> bytes:
        try:
            return codec.dumps(self.result.encode(value))
        except hints.Mismatch as mismatch:
            raise BadReply(mismatch.sentence("the result")) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise BadReply(f"the result cannot be encoded: {error}") from None

    def example(self) -> Optional[str]:
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
        return f'nebula.service("{self.service}"){attribute}({", ".join(fields)})'


class ProtoMethod(Method):
    """Proto-first: a message in, a message out, as protobuf or in proto3's JSON mapping."""

    def __init__(self, service: str, name: str, function: Callable[..., Any], request: Any, response: Any) -> None:
        super().__init__(service, name, function)
        self.request = request
        self.response = response
        self.wants_context = len(inspect.signature(function).parameters) > 1

    def arguments(self, codec_name: Optional[str], data: Optional[bytes], context: Context) -> Arguments:
        try:
            if data is None:
                raise codec.Malformed("there is no message")
            message = self._decode(codec_name, data)
        except codec.Malformed as error:
            name = self.request.DESCRIPTOR.full_name
            raise Error(Code.INVALID_ARGUMENT, f"{self.label}: malformed {name}: {error}") from None
        return ((message, context) if self.wants_context else (message,)), {}

    def _decode(self, codec_name: Optional[str], data: bytes) -> Any:
        if codec_name in (None, "proto"):
            return codec.message_from_bytes(self.request, data)
        if codec_name == "json":
            return codec.message_from_json(self.request, data)
        assert codec_name is not None
        raise self._unknown_codec(codec_name, "application/grpc+proto and application/grpc+json")

    def reply(self, codec_name: Optional[str], value: Any) -> bytes:
        if not isinstance(value, self.response):
            raise BadReply(f"the result must be a {self.response.__name__}, not {hints.shown(value)}")
        try:
            return codec.message_to_json(value) if codec_name == "json" else bytes(value.SerializeToString())
        except Exception as error:  # protobuf's EncodeError, whose class is not ours to import
            raise BadReply(f"the result cannot be encoded: {error}") from None


def make_method(service: str, name: str, function: Callable[..., Any]) -> Method:
    """The method that a handler's signature describes. Raises TypeError naming the parameter at fault."""
    label = f"{service}.{name}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{label}: streams are not served yet, only functions that return one answer")
    hinted = _hints(function, label)
    parameters = list(inspect.signature(function).parameters.values())
    if not any(codec.is_message_class(hint) for hint in hinted.values()):
        return JsonMethod(service, name, function)
    request = hinted.get(parameters[0].name) if parameters else None
    response = hinted.get("return")
    rest = [hinted.get(parameter.name, Context) for parameter in parameters[1:]]
    if not codec.is_message_class(request) or not codec.is_message_class(response) or rest not in ([], [Context]):
        raise TypeError(f"{label}: a method with messages is (request: Message) or (request: Message, ctx) -> Message")
    return ProtoMethod(service, name, function, request, response)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))


def _hints(function: Callable[..., Any], label: str) -> dict[str, Any]:
    # A partial or a callable object keeps its hints elsewhere.
    target = getattr(function, "func", function)
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target)
    except NameError as error:
        raise TypeError(f"{label}: a type hint does not resolve: {error}") from None
