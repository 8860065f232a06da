"""Who refused: what a leader decides is told in its name, whichever node was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from floodmark.errors import (
    FloodmarkError,
    OffsetMismatch,
    OffsetOutOfRange,
    OutcomeUnknown,
    OutOfOrderSequence,
    ProducerFenced,
    SequenceReused,
    ServerError,
    TooManyProducers,
    TooManyRequests,
    Unavailable,
)

_OF_PARTITIONS: Final = (
    OffsetMismatch,
    OffsetOutOfRange,
    OutOfOrderSequence,
    ProducerFenced,
    SequenceReused,
    TooManyProducers,
)
"""What only the leader of a partition can know. All else may have been refused before it was asked."""
_NOT_DECIDED: Final = (OutcomeUnknown, ServerError, TooManyRequests, Unavailable)
"""Whoever raised it, it is not what the metadata's leader has decided."""


@contextmanager
def metadata_leader(node: str) -> Iterator[None]:
    """Around what ``node`` is asked as the metadata's leader."""
    try:
        yield
    except FloodmarkError as error:
        if not isinstance(error, _NOT_DECIDED):
            error.refused_by = node
        raise


def by_partition_leader(error: FloodmarkError, node: str) -> FloodmarkError:
    """``error``, which came of asking ``node`` as a partition's leader."""
    if isinstance(error, _OF_PARTITIONS):
        error.refused_by = node
    return error


def refused_by(error: Exception, own: str) -> str | None:
    """The leader that refused; None where it was no leader's to decide. ``own``: the id of this node."""
    if not isinstance(error, FloodmarkError):
        return None
    if error.refused_by is None and isinstance(error, _OF_PARTITIONS):
        return own  # Nobody else was asked.
    return error.refused_by
