"""What nodes ask each other: typed requests, each with the type of its result, and their encoding.

A request is a ``msgspec`` struct that names the type of its result::

    class SizesRequest(InsideRequest[dict[int, int]], frozen=True):
        ...

    register("sizes", SizesRequest, dict[int, int])

It is encoded as an envelope, MessagePack ``[name, {field: value}]``, and next to it the one field that may be
large, if it has one (``raw``): those bytes are neither packed nor checked on the way, since they have
checksums of their own. A result is the same without a name.

Names never change their meaning. Fields are only ever added, with defaults: what an older node does not know
it leaves out, and what it does not send has its default.
"""

from __future__ import annotations

import re
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from floodmark.errors import FloodmarkError, ServerError, TooNew, error_class

R = TypeVar("R")


class InsideRequest(msgspec.Struct, Generic[R], frozen=True):
    """Base of all; ``R`` is the result."""


class RequestType(NamedTuple):
    """How a request is sent. ``stores``: without an answer it may have been done all the same."""

    name: str
    request: type[InsideRequest[Any]]
    stores: bool
    raw: str
    raw_result: str
    decode_request: msgspec.msgpack.Decoder[Any]
    decode_result: msgspec.msgpack.Decoder[Any]


class _Failure(msgspec.Struct, array_like=True):
    """An error of ``floodmark.errors``."""

    code: str
    cause: str
    detail: str
    fields: dict[str, Any] = {}


_by_name: Final[dict[str, RequestType]] = {}
_by_type: Final[dict[type, RequestType]] = {}
_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=str)
_NAMED: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_FAILURE: Final = msgspec.msgpack.Decoder(_Failure)
_DAMAGED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoders raise; text that is not UTF-8 is no error of theirs."""


def register(
    name: str,
    request: type[InsideRequest[R]],
    result: type[R] | Any,
    *,
    stores: bool = False,
    raw: str = "",
    raw_result: str = "",
) -> None:
    """Register a request type, once, where it is defined.

    ``stores``: it changes something, so that one without an answer ends as ``OutcomeUnknown``. ``raw`` and
    ``raw_result``: the field of the request and of the result (structs then) that may be large.
    """
    assert name not in _by_name, f"{name} is registered once"
    kind = RequestType(
        name,
        request,
        stores,
        raw,
        raw_result,
        msgspec.msgpack.Decoder(request),
        msgspec.msgpack.Decoder(result),
    )
    _by_name[name] = _by_type[request] = kind


def type_of(request: InsideRequest[Any]) -> RequestType:
    """The registered type of a request."""
    return _by_type[type(request)]


_WORD_BEGINS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def name_of(request: InsideRequest[Any]) -> str:
    """The name under which nodes send it; where they send none of it, its class's in the same form."""
    kind = _by_type.get(type(request))
    return _WORD_BEGINS.sub("_", type(request).__name__).lower() if kind is None else kind.name


def encode_request(request: InsideRequest[Any]) -> tuple[bytes, bytes]:
    """Envelope and raw bytes."""
    kind = type_of(request)
    body, raw = _without_raw(request, kind.raw)
    return _ENCODER.encode((kind.name, body)), raw


def decode_request(envelope: bytes, raw: bytes) -> InsideRequest[Any]:
    """Raises ``TooNew`` for requests that this build does not know, ``ServerError`` for damaged ones."""
    try:
        name, body = _NAMED.decode(envelope)
        kind = _by_name.get(name)
        if kind is None:
            raise TooNew(f"this node does not know requests of type {name}: start a newer one", unlike=name)
        request: InsideRequest[Any] = kind.decode_request.decode(body)
    except _DAMAGED as error:
        raise ServerError(f"a node's request is not understood: {error}") from error
    return msgspec.structs.replace(request, **{kind.raw: raw}) if kind.raw else request


def encode_result(kind: RequestType, result: Any) -> tuple[bytes, bytes]:
    """Envelope and raw bytes."""
    body, raw = _without_raw(result, kind.raw_result)
    return _ENCODER.encode(body), raw


def decode_result(kind: RequestType, envelope: bytes, raw: bytes) -> Any:
    """Raises ``ServerError`` for damaged ones."""
    try:
        result = kind.decode_result.decode(envelope)
    except _DAMAGED as error:
        raise ServerError(f"the result of {kind.name} is not understood: {error}") from error
    return msgspec.structs.replace(result, **{kind.raw_result: raw}) if kind.raw_result else result


def encode_error(error: FloodmarkError) -> bytes:
    """Code, cause, detail and fields."""
    return _ENCODER.encode(_Failure(error.code, getattr(error, "cause", ""), error.detail, error.fields))


def decode_error(envelope: bytes) -> FloodmarkError:
    """The same error; a ``ServerError`` where this build does not know it."""
    try:
        failure = _FAILURE.decode(envelope)
    except _DAMAGED as damage:
        return ServerError(f"a node's error is not understood: {damage}")
    cls = error_class(failure.code, failure.cause) or ServerError
    error = cls(failure.detail)
    error.fields = failure.fields  # Whatever they are called: they come from another node.
    return error


def _without_raw(value: Any, field: str) -> tuple[Any, bytes]:
    if not field:
        return value, b""
    return msgspec.structs.replace(value, **{field: b""}), getattr(value, field)
