"""A function's parameters as a msgspec Struct: binds calls, checks types, and turns arguments into bytes and back.

The Struct does in C what `inspect.signature(...).bind` does in Python, and its decoder is the type check: what
does not survive the way to the worker is refused where the call is made. Arguments are stored by name, so a
deployed task may gain parameters with defaults while older jobs are queued.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .codec import encode_value, from_plain, to_plain
from .errors import ArgumentError, ConfigError, did_you_mean

_KINDS = inspect.Parameter
_VARIADIC = (_KINDS.VAR_POSITIONAL, _KINDS.VAR_KEYWORD)


class Signature:
    """The typed parameters of one task function, but for the first ones that are to be skipped."""

    def __init__(self, task: str, function: Callable[..., Any], skip: int = 0) -> None:
        self.task = task
        self._function = function
        whole = inspect.signature(function)
        self._signature = whole.replace(parameters=[*whole.parameters.values()][skip:])
        self._parameters = self._signature.parameters
        self.names = tuple(self._parameters)
        self._variadic = any(p.kind in _VARIADIC for p in self._parameters.values())
        self._keyword_only = [p.name for p in self._parameters.values() if p.kind is _KINDS.KEYWORD_ONLY]
        types = _resolve(function, self._signature)
        self.returns = types.pop("return", Any)
        self._types = {name: annotation for name, annotation in types.items() if name in self._parameters}
        try:
            self._struct = self._build()
            self._decode = msgspec.msgpack.Decoder(self._struct, dec_hook=from_plain).decode
        except (TypeError, ValueError) as error:
            raise ConfigError(f"task {task!r}: its annotations cannot be checked: {error}") from None
        self._encode = msgspec.msgpack.Encoder(enc_hook=to_plain).encode
        self._untyped = all(annotation is Any for annotation in self._types.values())

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the arguments of a call as bytes. Raises ArgumentError where they do not fit."""
        bound = self._bind(args, kwargs)
        try:
            data = self._encode(bound)
        except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError) as error:
            raise ArgumentError(self._unstorable(bound, error)) from None
        if not self._untyped:
            self._check(data)
        return data

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, defaults included, however they were passed."""
        return self._named(self._bind(args, kwargs))

    def accepts(self, function: Callable[..., Any]) -> bool:
        """Return whether `function` can be called with the arguments by name."""
        names = {name for name, p in self._parameters.items() if p.kind is not _KINDS.VAR_KEYWORD}
        try:
            inspect.signature(function).bind(**dict.fromkeys(names))
        except TypeError:
            return False
        except ValueError:  # some builtins do not tell what they take
            return True
        return True

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return self._struct(**self._spread(args, kwargs)) if self._variadic else self._struct(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(self._misfit(error, args, kwargs)) from None

    def _named(self, bound: Any) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for parameter in self._parameters.values():
            value = getattr(bound, parameter.name)
            named.update(value if parameter.kind is _KINDS.VAR_KEYWORD else {parameter.name: value})
        return named

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and keyword arguments for the function. Raises ArgumentError where they do not fit."""
        bound = self._check(data)
        if not (self._keyword_only or self._variadic):
            return msgspec.structs.astuple(bound), _NO_KEYWORDS
        return self._unspread(bound)

    def _check(self, data: bytes) -> Any:
        try:
            return self._decode(data)
        except Exception as error:  # whatever the argument's own type raises when it is made
            raise ArgumentError(f"{self.task}(): {_plainly(error)}") from None

    @functools.cached_property
    def rest(self) -> "Signature":
        """The parameters after the first one, which a result is given to. Raises ArgumentError where there is none."""
        first = next(iter(self._parameters.values()), None)
        if first is None or first.kind in (*_VARIADIC, _KINDS.KEYWORD_ONLY):
            raise ArgumentError(
                f"{self.task}{self._signature} has no first argument that could be given the result of what it waits "
                f"for; use {self.task.rpartition('.')[2]}.si(...) to have it called without"
            )
        return Signature(self.task, self._function, skip=1)

    def decode_given(self, data: bytes, given: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Do what `decode` does, for arguments encoded by `rest`, with the encoded value `given` as the first."""
        named = _decode_named(data)
        return self.decode(_encode_named({self.names[0]: msgspec.Raw(given), **named}))

    def _build(self) -> type[msgspec.Struct]:
        ordinary = [self._field(p) for p in self._parameters.values() if p.kind is not _KINDS.KEYWORD_ONLY]
        keyword = [self._field(p) for p in self._parameters.values() if p.kind is _KINDS.KEYWORD_ONLY]
        make = functools.partial(msgspec.defstruct, omit_defaults=True, forbid_unknown_fields=True)
        base = make(self.task, ordinary, kw_only=self._variadic)
        return make(self.task, keyword, bases=(base,), kw_only=True) if keyword else base

    def _field(self, parameter: inspect.Parameter) -> tuple[str, Any, Any]:
        annotation = self._types.setdefault(parameter.name, Any)
        if parameter.kind is _KINDS.VAR_POSITIONAL:
            return parameter.name, list[annotation], msgspec.field(default_factory=list)  # type: ignore[valid-type]
        if parameter.kind is _KINDS.VAR_KEYWORD:
            return parameter.name, dict[str, annotation], msgspec.field(default_factory=dict)  # type: ignore[valid-type]
        default = parameter.default
        if default is _KINDS.empty:
            return parameter.name, annotation, msgspec.NODEFAULT
        if type(default).__hash__ is None:  # a mutable default is shared by calls in Python, and here too
            return parameter.name, annotation, msgspec.field(default_factory=lambda: default)
        return parameter.name, annotation, msgspec.field(default=default)

    def _spread(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        bound = self._signature.bind(*args, **kwargs).arguments
        return {name: list(value) if isinstance(value, tuple) else value for name, value in bound.items()}

    def _unspread(self, bound: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter in self._parameters.values():
            value = getattr(bound, parameter.name)
            if parameter.kind is _KINDS.VAR_POSITIONAL:
                positional.extend(value)
            elif parameter.kind is _KINDS.VAR_KEYWORD:
                keywords.update(value)
            elif parameter.kind is _KINDS.KEYWORD_ONLY:
                keywords[parameter.name] = value
            else:
                positional.append(value)
        return tuple(positional), keywords

    def _misfit(self, error: TypeError, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        unknown = [name for name in kwargs if name not in self._parameters]
        if unknown and not self._variadic:
            return (
                f"{self.task}() has no argument {unknown[0]!r}"
                f"{did_you_mean(unknown[0], self._parameters)}; it takes {self._signature}"
            )
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as plain:
            return f"{self.task}(): {plain}; it takes {self._signature}"
        return f"{self.task}(): {error}; it takes {self._signature}"

    def _unstorable(self, bound: Any, error: Exception) -> str:
        for name in bound.__struct_fields__:
            value = getattr(bound, name)
            try:
                encode_value(value)
            except Exception as reason:
                return (
                    f"{self.task}(): argument {name!r} cannot be stored: {reason}; "
                    "pass plain data, a dataclass, or the path or id of the thing"
                )
        return f"{self.task}(): the arguments cannot be stored: {error}"


_decode_named = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_encode_named = msgspec.msgpack.Encoder().encode
_NO_KEYWORDS: dict[str, Any] = {}


def _resolve(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Return annotations by name. One that cannot be resolved here counts as Any."""
    try:
        return dict(typing.get_type_hints(function, include_extras=True))
    except Exception:
        names = {p.name: p.annotation for p in signature.parameters.values()}
        return {name: a for name, a in names.items() if a is not _KINDS.empty and not isinstance(a, str)}


def _plainly(error: Exception) -> str:
    """Turn msgspec's ``Expected `str`, got `int` - at `$.to` `` into ``argument 'to': expected `str`, got `int` ``."""
    text = str(error)
    what, separator, path = text.rpartition(" - at `$")
    if not separator:
        return text[:1].lower() + text[1:]
    path = path.rstrip("`").lstrip(".")
    return f"argument {path!r}: {what[:1].lower()}{what[1:]}"
