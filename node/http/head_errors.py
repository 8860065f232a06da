"""Errors of a request's head that have a status of their own."""

from __future__ import annotations

from floodmark.errors import InvalidRequest


class TooManyHeaders(InvalidRequest):
    """The request has too many headers."""


class UnknownTransferCoding(InvalidRequest):
    """The body has a transfer coding that this server cannot decode."""
