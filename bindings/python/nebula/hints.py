"""Type hints as shapes of JSON: what comes in is checked against them, and what goes out.

One small class per kind of hint. `decode` turns a parsed JSON value into the Python value that the hint promises,
`encode` does the reverse; both raise Mismatch, which knows where in the message it is. `schema` says the shape as JSON
Schema, for callers, whose engine says the same of a message in the same words.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterable
from typing import Any, Callable, Literal, Optional, Union

_UNIONS = (Union, getattr(types, "UnionType", Union))  # `int | None` is its own type from Python 3.10 on


class Mismatch(Exception):
    """A value that is not of its shape. path: names and indexes that lead to it; text: what is wrong there.

    is_kind: the value is of another kind altogether, rather than wrong inside.
    """

    def __init__(self, text: str, path: tuple[Union[str, int], ...] = (), is_kind: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.path = path
        self.is_kind = is_kind

    def inside(self, step: Union[str, int]) -> Mismatch:
        """The same, seen from the object or list around it."""
        return Mismatch(self.text, (step, *self.path))

    def sentence(self, subject: str) -> str:
        """For people: `hello.greet: field "items[2].price" must be a number, not "x"`."""
        if not self.path:
            return f"{subject} {self.text}"
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")
        return f'{subject}: field "{where}" {self.text}'


def shown(value: Any) -> str:
    """A value for a message: as JSON where it is, and short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(value: Any) -> str:
    """What a value is, without a word of what it says: "a string"."""
    if value is None:
        return "null"
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return f"a {type(value).__name__}"


_KINDS: tuple[tuple[Any, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    ((int, float), "a number"),
    ((list, tuple), "a list"),
    (dict, "an object"),
)


class Definitions:
    """The schemas of classes, by the names under which others refer to them."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def reference(self, cls: Any, schema: Callable[[], Any]) -> dict[str, Any]:
        """{"$ref": ...} of a class. A class may contain itself, so its name is taken before its schema is made."""
        name = self._names.get(cls)
        if name is None:
            name = cls.__name__
            while name in self.schemas:  # another class of that name
                name += "_"
            self._names[cls] = name
            self.schemas[name] = {}
            self.schemas[name] = schema()
        return {"$ref": f"#/$defs/{name}"}


class Shape:
    """Any JSON value, and the interface of the other shapes."""

    what = "anything"
    judges: tuple[str, ...] = ()  # kinds of which some values fit and others do not: a wrong one is shown
    example: Optional[str] = "None"  # as Python source, for the line that says how to call a method

    def decode(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> Any:
        return value

    def schema(self, definitions: Definitions) -> Any:
        """JSON Schema; that of classes goes to `definitions`."""
        return {}

    def mismatch(self, value: Any) -> Mismatch:
        kind = kind_of(value)
        given = shown(value) if kind in self.judges else kind
        return Mismatch(f"must be {self.what}, not {given}", is_kind=True)


class Text(Shape):
    what = "a string"
    example = '"text"'

    def decode(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise self.mismatch(value)
        return value

    encode = decode

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "string"}


class Integer(Shape):
    what = "an integer"
    judges = ("a number",)
    example = "1"

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "integer"}

    def decode(self, value: Any) -> Any:
        if type(value) is int:  # a bool is an int to isinstance
            return value
        if type(value) is float and value.is_integer():
            return int(value)  # languages with one kind of number may write 3 as 3.0
        raise self.mismatch(value)

    def encode(self, value: Any) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.mismatch(value)
        return value


class Number(Shape):
    what = "a number"
    example = "1.0"

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "number"}

    def decode(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.mismatch(value)
        try:
            return float(value)
        except OverflowError:
            raise self.mismatch(value) from None

    encode = decode


class Boolean(Shape):
    what = "a boolean"
    example = "True"

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "boolean"}

    def decode(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise self.mismatch(value)
        return value

    encode = decode


class Null(Shape):
    what = "null"

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "null"}

    def decode(self, value: Any) -> Any:
        if value is not None:
            raise self.mismatch(value)
        return None

    encode = decode


class Binary(Shape):
    """bytes travel as base64. Both alphabets are read, padded or not."""

    what = "base64"
    judges = ("a string",)
    example = '""'

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "string", "contentEncoding": "base64"}

    def decode(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise self.mismatch(value)
        text = value.replace("-", "+").replace("_", "/").rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise self.mismatch(value) from None

    def encode(self, value: Any) -> Any:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise Mismatch(f"must be bytes, not {shown(value)}")
        return base64.b64encode(value).decode("ascii")


class Choice(Shape):
    """Literal."""

    judges = ("a string", "a number")

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values
        self.what = " or ".join(shown(value) for value in values)
        self.example = repr(values[0])

    def schema(self, definitions: Definitions) -> Any:
        return {"enum": list(self.values)}

    def decode(self, value: Any) -> Any:
        for known in self.values:
            if type(known) is type(value) and known == value:  # 1 is not True
                return known
        raise self.mismatch(value)

    encode = decode


class List(Shape):
    what = "a list"
    example = "[]"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "array", "items": self.item.schema(definitions)}

    def decode(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise self.mismatch(value)
        return self._each(self.item.decode, value)

    def encode(self, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise self.mismatch(value)
        return self._each(self.item.encode, value)

    @staticmethod
    def _each(convert: Any, value: Iterable[Any]) -> list[Any]:
        out: list[Any] = []
        try:
            for item in value:
                out.append(convert(item))
        except Mismatch as mismatch:
            raise mismatch.inside(len(out)) from None
        return out


class Map(Shape):
    """dict[str, T]."""

    what = "an object"
    example = "{}"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def schema(self, definitions: Definitions) -> Any:
        return {"type": "object", "additionalProperties": self.item.schema(definitions)}

    def decode(self, value: Any) -> Any:
        return self._each(self.item.decode, value)

    def encode(self, value: Any) -> Any:
        return self._each(self.item.encode, value)

    def _each(self, convert: Any, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.mismatch(value)
        out: dict[str, Any] = {}
        key: Any
        for key, item in value.items():
            if not isinstance(key, str):
                raise Mismatch(f"must have strings as keys, not {shown(key)}")
            try:
                out[key] = convert(item)
            except Mismatch as mismatch:
                raise mismatch.inside(key) from None
        return out


class OneOf(Shape):
    """Union and Optional: the first option that fits."""

    def __init__(self, options: list[Shape]) -> None:
        self.options = options
        self.what = " or ".join(option.what for option in options)
        self.judges = tuple(kind for option in options for kind in option.judges)
        self.example = options[0].example
        others = [option for option in options if not isinstance(option, Null)]
        # Of Optional[Address] one wants to hear what is wrong inside the address.
        self.only = others[0] if len(others) == 1 else None

    def schema(self, definitions: Definitions) -> Any:
        return {"anyOf": [option.schema(definitions) for option in self.options]}

    def decode(self, value: Any) -> Any:
        return self._first("decode", value)

    def encode(self, value: Any) -> Any:
        return self._first("encode", value)

    def _first(self, convert: str, value: Any) -> Any:
        nested = None
        for option in self.options:
            try:
                return getattr(option, convert)(value)
            except Mismatch as mismatch:
                if option is self.only and not mismatch.is_kind:
                    nested = mismatch
        raise nested or self.mismatch(value)


class Fields(Shape):
    """An object with known fields. The base of signatures, dataclasses and TypedDicts."""

    what = "an object"
    example = None

    def __init__(self, cls: Any = None) -> None:
        self.cls = cls  # None: that of a signature
        self.shapes: dict[str, Shape] = {}
        self.required: tuple[str, ...] = ()

    def schema(self, definitions: Definitions) -> Any:
        if self.cls is None:
            return self._object(definitions)
        return definitions.reference(self.cls, lambda: self._object(definitions))

    def _object(self, definitions: Definitions) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: shape.schema(definitions) for name, shape in self.shapes.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def decode(self, value: Any) -> Any:
        return self._each("decode", value)

    def encode(self, value: Any) -> Any:
        return self._each("encode", value)

    def _each(self, convert: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.mismatch(value)
        out: dict[str, Any] = {}
        for name, item in value.items():
            shape = self.shapes.get(name)
            if shape is None:
                raise Mismatch(self._unknown(name))
            try:
                out[name] = getattr(shape, convert)(item)
            except Mismatch as mismatch:
                raise mismatch.inside(name) from None
        for name in self.required:
            if name not in out:
                raise Mismatch("is missing", (name,))
        return out

    def _unknown(self, name: str) -> str:
        text = f"has no field {shown(name)} (fields: {', '.join(self.shapes) or 'none'})"
        near = difflib.get_close_matches(name, self.shapes, n=1)
        return f'{text}; did you mean "{near[0]}"?' if near else text


class Record(Fields):
    """A dataclass."""

    def decode(self, value: Any) -> Any:
        fields = super().decode(value)
        try:
            return self.cls(**fields)
        except (TypeError, ValueError) as error:  # the class's own __post_init__
            raise Mismatch(f"is not valid: {error}") from None

    def encode(self, value: Any) -> Any:
        if not isinstance(value, self.cls):
            raise Mismatch(f"must be a {self.cls.__name__}, not {shown(value)}")
        return super().encode({name: getattr(value, name) for name in self.shapes})


_SCALARS: dict[Any, Shape] = {
    Any: Shape(),
    str: Text(),
    int: Integer(),
    float: Number(),
    bool: Boolean(),
    bytes: Binary(),
    None: Null(),
    type(None): Null(),
    list: List(Shape()),
    dict: Map(Shape()),
}

SUPPORTED = (
    "str, int, float, bool, bytes, None, list[T], dict[str, T], Optional, Union, Literal, dataclasses, TypedDict, Any"
)


def shape_of(hint: Any, where: str) -> Shape:
    """The shape of a type hint. Raises TypeError, beginning with `where`, for a hint that has none."""
    return _Builder(where).build(hint)


class _Builder:
    """Makes the shapes of one hint. Remembers the classes that it has met, since a class may contain itself."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.known: dict[Any, Shape] = {}

    def build(self, hint: Any) -> Shape:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is None:
            return self._plain(hint)
        if origin in _UNIONS:
            return OneOf([self.build(arg) for arg in args])
        if origin is list:
            return List(self.build(args[0]))
        if origin is dict and args[0] is str:
            return Map(self.build(args[1]))
        if origin is Literal and all(type(arg) in (str, int, bool, type(None)) for arg in args):
            return Choice(args)
        raise self._unsupported(hint)

    def _plain(self, hint: Any) -> Shape:
        try:
            if hint in _SCALARS:
                return _SCALARS[hint]
        except TypeError:  # not hashable, so no type
            raise self._unsupported(hint) from None
        if hint in self.known:
            return self.known[hint]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return self._record(hint)
        if isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__required_keys__"):
            return self._typed_dict(hint)
        raise self._unsupported(hint)

    def _record(self, cls: type[Any]) -> Shape:
        shape = self.known[cls] = Record(cls)
        hints = self._hints(cls)
        fields = [field for field in dataclasses.fields(cls) if field.init]
        shape.shapes = {field.name: self.build(hints[field.name]) for field in fields}
        shape.required = tuple(
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        return shape

    def _typed_dict(self, cls: Any) -> Shape:
        shape = self.known[cls] = Fields(cls)
        shape.shapes = {name: self.build(hint) for name, hint in self._hints(cls).items()}
        shape.required = tuple(name for name in shape.shapes if name in cls.__required_keys__)
        return shape

    def _hints(self, cls: type[Any]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(cls)
        except NameError as error:
            raise TypeError(f"{self.where}: the hints of {cls.__name__} do not resolve: {error}") from None

    def _unsupported(self, hint: Any) -> TypeError:
        name = hint.__name__ if isinstance(hint, type) else repr(hint)
        return TypeError(f"{self.where}: {name} has no form in JSON; supported are {SUPPORTED}")
