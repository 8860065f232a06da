"""Which errors say that an operation had and will have no effect. The checker's conclusions rest on this."""

from __future__ import annotations

from typing import Final

from floodmark.errors import (
    Conflict,
    FloodmarkError,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    Misdirected,
    NotAcceptable,
    NotFound,
    OffsetMismatch,
    OffsetOutOfRange,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    TransportError,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)

_REFUSALS: Final = (
    InvalidRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Misdirected,
    NotAcceptable,
    RequestTimeout,
    Conflict,
    OffsetOutOfRange,
    OffsetMismatch,
    TooLarge,
    UnsupportedMedia,
    TooManyRequests,
    Unavailable,
)
"""Errors after which nothing was stored, according to ``floodmark.errors``. A full or failed disk is not
among them: part of the data may still be found."""


def had_no_effect(error: FloodmarkError) -> bool:
    """Whether the error, of a single attempt or of the client's Producer, means certainly no effect."""
    if error.fields.get("sent") or error.fields.get("repeated"):
        return False  # A proxy's answer, or the second try of a request.
    if isinstance(error, TransportError):
        return error.fields.get("sent") is False
    return isinstance(error, _REFUSALS)
