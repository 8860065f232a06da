"""Values of a queue's keys, as MessagePack arrays; how they change from build to build is said in
``node/coordinator/values.py``, with what encodes and decodes them.

Times are milliseconds since the Unix epoch, by the wall clock of whoever led the shard then.
"""

from __future__ import annotations

import enum

import msgspec

from node.coordinator.queues.requests import QueueConfig
from node.coordinator.values import VERSION

CLOSED = "closed"
OPEN = "open"
HALF_OPEN = "half_open"


class State(enum.IntEnum):
    """What holds of all records of a run. The numbers are stored."""

    LEASED = 1
    """Delivered, and not settled."""
    WAITING = 2
    """For the next delivery."""
    HELD = 3
    """Seen, and not delivered: an earlier record of its key was not settled."""
    DYING = 4
    """On its way to the dead letters. ``RunValue.number`` is that of the first record, and so on."""


class Ended(enum.StrEnum):
    """How the last delivery of a run ended. Stored."""

    TIMEOUT = "timeout"
    NACK = "nack"
    REJECT = "reject"
    RELEASE = "release"


class QueueValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A queue. ``number``: random, so that a queue that was deleted and made again is another one.

    ``breaker`` is one of closed, open, half_open; ``probe`` the lease that is tried while it is half open.
    """

    version: int = VERSION
    number: int
    config: QueueConfig
    created_ms: int
    breaker: str = CLOSED
    breaker_until_ms: int = 0
    probe: int = 0
    deleting: bool = False


class SourceValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """How far a queue is in a partition: below ``next`` all is settled that is in no run and in no times.

    ``taken``: records that were passed since the queue was made, those that were lost included, and dead
    letters that were delivered again. ``lost``: removed by retention before they were settled. ``died``: the
    number of the next record that dies. So what is neither unsettled nor lost was settled, by death too.
    """

    version: int = VERSION
    next: int = 0
    taken: int = 0
    lost: int = 0
    died: int = 0
    redelivered: int = 0


class RunValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """Up to ``count`` neighbouring records in one state. The key has the offset of the first one.

    ``open``: which of the offsets are in it, the first one in the lowest bit of the first byte; b"" for all.
    ``keys``: 8 bytes for each offset, big-endian, 0 for no key; b"" where the order of keys is nothing to the
    queue. ``excused``: deliveries that do not count against ``max_deliveries``. ``due_ms``: when the lease
    ends, when it is delivered again, or when it died. ``visible_ms``: how long a lease is, or that wait.
    """

    version: int = VERSION
    state: int
    count: int = 1
    open: bytes = b""
    keys: bytes = b""
    deliveries: int = 0
    excused: int = 0
    lease: int = 0
    due_ms: int = 0
    visible_ms: int = 0
    worker: str = ""
    first_delivered_ms: int = 0
    ended: str = ""
    reason: str = ""
    number: int = 0


class TimesValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """Records that are not to be delivered before their time. The key has the first offset.

    ``offsets``: 4 bytes for each record, what is to be added to the first one; b"" for neighbours. ``due``:
    8 bytes for each. ``keys`` as in a run. All big-endian. A pair of kind LEFT says which of them are left,
    as bits; without it all are.
    """

    version: int = VERSION
    count: int
    offsets: bytes = b""
    due: bytes
    keys: bytes = b""


class LeftValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """See ``TimesValue``: bits, the first record in the lowest one of the first byte."""

    version: int = VERSION
    open: bytes


class DeadValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """A dead letter: where its record was first (its partition is in the key), and where it is now."""

    version: int = VERSION
    offset: int
    at_topic_id: int
    at_partition: int
    at_offset: int
    reason: str
    deliveries: int
    worker: str
    first_delivered_ms: int
    died_ms: int
    replaying: bool = False
