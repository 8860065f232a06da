"""The HTTP status of every error: the one table of this door."""

from __future__ import annotations

from typing import Final

from floodmark import errors
from floodmark.errors import FloodmarkError

from node.http import head_errors

_STATUS: Final[dict[type[FloodmarkError], int]] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.RequestTimeout: 408,
    errors.Conflict: 409,
    errors.OffsetBelowStart: 410,
    errors.OffsetMismatch: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.OffsetOutOfRange: 416,
    errors.Misdirected: 421,
    head_errors.TooManyHeaders: 431,
    errors.TooManyRequests: 429,
    errors.FloodmarkError: 500,
    head_errors.UnknownTransferCoding: 501,
    errors.Unavailable: 503,
    errors.OutcomeUnknown: 504,
    errors.StorageFull: 507,
}
NOT_FOUND: Final = _STATUS[errors.NotFound]
UNAVAILABLE: Final = _STATUS[errors.Unavailable]


def status_of(cls: type[FloodmarkError]) -> int:
    """The status of the class, or of its nearest base class in the table."""
    return next(_STATUS[each] for each in cls.__mro__ if each in _STATUS)
