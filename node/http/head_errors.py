"""What can be wrong with a request's head that has a status of its own."""

from __future__ import annotations

from floodmark.errors import InvalidRequest


class TooManyHeaders(InvalidRequest):
    """More than a request may have."""


class UnknownTransferCoding(InvalidRequest):
    """The body is coded for the transfer in a way that nobody here can undo."""
