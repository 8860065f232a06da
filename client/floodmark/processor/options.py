"""What a processor is given: the step, and how it batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import msgspec

from floodmark.consumer.consumed import ConsumedRecord
from floodmark.errors import InvalidRequest
from floodmark.format.headers import HeadersLike
from floodmark.format.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from floodmark.format.record import Record
from floodmark.format.values import Key, Timestamp, record_of
from floodmark.producer.options import CODECS, Compression


@dataclass(frozen=True, slots=True)
class Output:
    """One record that a step makes; the members are those of ``Producer.send``.

    Without a ``timestamp`` it has that of the record that it was made from, if that has one.
    """

    value: Any
    key: Key = None
    headers: HeadersLike | None = None
    timestamp: Timestamp = None

    def record(self, source: ConsumedRecord) -> Record:
        """As it is stored. Raises ``InvalidRequest`` for what cannot be."""
        if self.timestamp is not None:
            return record_of(self.value, self.key, self.headers, self.timestamp)
        made = record_of(self.value, self.key, self.headers, 0)
        return msgspec.structs.replace(made, timestamp=source.timestamp)


Made = Output | Iterable[Output] | None
"""What a step returns: one record, several in their order, or none."""
Step = Callable[[ConsumedRecord], Made | Awaitable[Made]]
BlockingStep = Callable[[ConsumedRecord], Made]
Steps = Callable[[Sequence[ConsumedRecord]], Awaitable[list[Made]]]
"""A step, for many records at once and in their order."""


class ProcessOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a processor reads, batches and waits.

    partitions    the partitions to process; None for all that the source has when it begins
    follow        go on with what is stored from now on; else stop at what is stored when it begins
    batch_bytes   what is stored at once, about; all that one record is made into is always stored at once
    compression   "zstd" or "none"
    timeout_s     how long one request may go on failing before ``run`` fails; None for the client's
    position_every_s  how often at most the position is stored by itself, while nothing is made of records
    """

    partitions: Sequence[int] | None = None
    follow: bool = True
    batch_bytes: int = 1 << 20
    compression: Compression = "none"
    timeout_s: float | None = None
    position_every_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the option."""
        if self.compression not in CODECS:
            raise InvalidRequest(f"compression must be none or zstd, not {self.compression!r}")
        if not 1 <= self.batch_bytes <= BATCH_BYTES_MAX:
            raise InvalidRequest(f"batch_bytes must be 1 to {BATCH_BYTES_MAX}, not {self.batch_bytes}")
        if not 0 < self.position_every_s < inf:
            raise InvalidRequest(f"position_every_s must be above 0, not {self.position_every_s}")


RECORDS_AT_ONCE: Final = min(10_000, BATCH_RECORDS_MAX)
"""Records of one batch, unless one record is made into more."""


def records_of(made: Made, source: ConsumedRecord) -> list[Record]:
    """The records that a step made of one. Raises ``InvalidRequest``."""
    if made is None:
        return []
    if isinstance(made, Output):
        return [made.record(source)]
    if isinstance(made, str | bytes | dict) or not isinstance(made, Iterable):
        raise _unfit(made)
    found = []
    for each in made:
        if not isinstance(each, Output):
            raise _unfit(each)
        found.append(each.record(source))
    return found


def _unfit(made: object) -> InvalidRequest:
    return InvalidRequest(
        f"a step returns an Output, several of them, or None, not {type(made).__name__}: "
        "floodmark.Output(value, key=...)"
    )
