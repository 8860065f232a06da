"""What a partition remembers of its idempotent producers: the state machine of a partition's group.

The table is a pure function of the committed batches, so every replica has the same one and a new leader that
has applied its log knows every batch that any leader acknowledged. For each producer it keeps the epoch, the
last sequence, and the places and checksums of the last few batches, so that a retry is answered with its
original offsets and other records under the same sequence are refused. A producer is forgotten when an entry
of the log says so: ``newcomers.py`` decides about that.

Named producers' sequences count batches, numbered ones' records (``floodmark.format.sequence``). An entry
tells its kind by the length of its key: 16 bytes that stand for a name, or a number's 8.

The machine's other part is what batches say they were made from (``source_positions.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import structlog
from floodmark.errors import FloodmarkError
from floodmark.format.batch import BatchHeader, ProducerKind
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.frame_records import has_records, header_in, may_have_producer
from floodmark.format.sequence import covers, following

from node.partition.source_positions import Begun, KeptRow, Moved, SourcePositions
from storage.errors import LogTooNew

BATCHES_REMEMBERED: Final = 5

_log = structlog.get_logger(__name__)


class Remembered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where one batch of a producer is stored.

    ``crc`` is the checksum of its records (of all of a batch of format 1). A table that was stored before
    checksums were remembered has None.
    """

    sequence: int
    first_offset: int
    count: int
    crc: int | None = None

    def is_of(self, header: BatchHeader) -> bool:
        """Whether it is the batch with this header, of the same epoch, as far as is remembered."""
        mine = (self.sequence, self.count)
        return mine == (header.sequence, header.count) and self.crc in (None, header.records_crc)


class Producer(msgspec.Struct, array_like=True):
    """One producer. ``recent`` is in order of sequence; its last element is the last batch.

    ``time`` is when that was appended, in milliseconds since the Unix epoch; 0 where that was not kept. Only
    leaders look at it, to choose whom to forget.
    """

    epoch: int
    recent: list[Remembered]
    time: int = 0

    def next_sequence(self, kind: ProducerKind) -> int:
        """The sequence of the batch after the last committed one."""
        return following(kind, self.recent[-1].sequence, self.recent[-1].count)

    def find(self, kind: ProducerKind, sequence: int) -> Remembered | None:
        """The batch that has this sequence, while it is remembered."""
        for batch in reversed(self.recent):
            if covers(kind, batch.sequence, batch.count, sequence):
                return batch
        return None


class _Snapshot(msgspec.Struct, frozen=True):
    version: int
    last_index: int
    forgotten: int
    producers: dict[bytes, Producer]
    time: int = 0


class _WithPositions(_Snapshot, frozen=True):
    positions: list[KeptRow] = []


class _Version(msgspec.Struct, frozen=True):
    version: int


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of an entry of kind COMMAND in a partition's log: producers to forget, epochs that begin,
    groups whose positions are removed, and positions that move without records. Only clusters that know
    positions have the last three.
    """

    forget: list[bytes]
    begin: list[Begun] = []
    remove: list[str] = []
    move: list[Moved] = []


NUMBER_BYTES: Final = 8
"""The length of a numbered producer's key; a named one's is twice as long."""
_VERSION: Final = 4
_VERSION_NUMBERED: Final = 3
"""Written while no positions are kept: builds that do not know them read it."""
_VERSION_NAMED: Final = 2
"""Written while no producer has a number either: earlier builds read it.

Version 1 has neither checksums nor times, and is otherwise the same."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_WithPositions)
_ONLY_VERSION = msgspec.msgpack.Decoder(_Version)
_COMMAND = msgspec.msgpack.Decoder(Command)


def key_of(header: BatchHeader) -> bytes:
    """The key of the batch's producer in the table; names and numbers never share one."""
    if header.producer_kind is ProducerKind.NUMBERED:
        return header.producer_id[:NUMBER_BYTES]
    return header.producer_id


def forgetting(names: list[bytes]) -> bytes:
    """The payload of an entry that forgets these producers; with none, the entry only tells the time."""
    return packed(Command(names))


def packed(command: Command) -> bytes:
    """The payload of its entry."""
    return _ENCODER.encode(command)


def command_in(frame: Frame) -> Command:
    """What an entry of kind COMMAND does. Raises ``ValueError`` for other payloads."""
    return _COMMAND.decode(frame.payload)


def last_index_in(state: bytes) -> int:
    """The last entry that is part of a stored table. Raises as ``ProducerTable.restore``."""
    table = ProducerTable()
    table.restore(state)
    return table.last_index


def cut(state: bytes, frames: Iterable[Frame], *, index: int, offset: int) -> bytes:
    """A stored table without what comes from behind entry ``index``, where the log of these ``frames`` ends,
    before ``offset``.

    What a recovery has lost must not be taken for stored, nor new entries of the same indexes for old ones.
    Of producers of which the log has nothing what they stored before it stays. Positions that are not in the
    log go: it is not kept which entry moved them. Raises as ``ProducerTable.restore``.
    """
    table = ProducerTable()
    table.restore(state)
    if table.last_index <= index:
        return state
    for key, producer in list(table.producers.items()):
        producer.recent = [each for each in producer.recent if each.first_offset + each.count <= offset]
        if not producer.recent:
            del table.producers[key]
            table.forgotten += 1
    table.positions.restore(())
    table.last_index = 0
    for frame in frames:
        table.apply(frame)
    table.last_index = index
    return table.snapshot()


class ProducerTable:
    """A ``StateMachine``. ``producers`` is ordered: the one silent for longest comes first."""

    def __init__(self) -> None:
        self.producers: dict[bytes, Producer] = {}
        self.positions = SourcePositions()
        self.last_index = 0
        self.time = 0
        """When the last frame was appended."""
        self.forgotten = 0
        """Producers that were dropped to make room; above zero, an unknown name may be one of them."""

    def apply(self, frame: Frame) -> None:
        """Apply one committed frame; those that the table already contains change nothing."""
        if frame.index <= self.last_index:
            return
        if has_records(frame):
            if may_have_producer(frame):
                self._remember(frame)
        elif frame.kind is FrameKind.COMMAND:
            self._obey(frame)
        else:
            return
        self.last_index = frame.index
        self.time = frame.append_time

    def _remember(self, frame: Frame) -> None:
        try:
            header = header_in(frame, frame.payload)
            if not header.is_idempotent:
                return
            key = key_of(header)
            self.positions.note(frame, key, header.producer_epoch)
        except FloodmarkError as error:
            # Only a bug lets such a frame in; all replicas skip it alike.
            _log.error("a committed frame holds no record batch", index=frame.index, reason=error.detail)
            return
        batch = Remembered(header.sequence, frame.first_offset, frame.offset_count, header.records_crc)
        known = self.producers.pop(key, None)
        if known is None or known.epoch != header.producer_epoch:
            known = Producer(header.producer_epoch, [batch], frame.append_time)
        else:
            known.recent.append(batch)
            del known.recent[:-BATCHES_REMEMBERED]
            known.time = frame.append_time
        self.producers[key] = known

    def _obey(self, frame: Frame) -> None:
        try:
            command = command_in(frame)
        except ValueError as error:
            _log.error("a committed command cannot be read", index=frame.index, reason=str(error))
            return
        for name in command.forget:
            if self.producers.pop(name, None) is not None:
                self.forgotten += 1
        for group in command.remove:
            self.positions.remove(group)
        for begun in command.begin:
            self.positions.begin(begun)
        for moved in command.move:
            self.positions.move(moved)

    def snapshot(self) -> bytes:
        """The whole table."""
        table = (self.last_index, self.forgotten, self.producers, self.time)
        if rows := self.positions.rows():
            return _ENCODER.encode(_WithPositions(_VERSION, *table, rows))
        numbered = any(len(key) == NUMBER_BYTES for key in self.producers)
        return _ENCODER.encode(_Snapshot(_VERSION_NUMBERED if numbered else _VERSION_NAMED, *table))

    def restore(self, state: bytes) -> None:
        """Replace the table. Raises ``ValueError`` for a damaged snapshot, ``LogTooNew``."""
        if not state:
            self.producers, self.last_index, self.forgotten, self.time = {}, 0, 0, 0
            self.positions.restore(())
            return
        try:
            # First alone: what a newer version says of the rest may be nothing that this build can read.
            version = _ONLY_VERSION.decode(state).version
            if version > _VERSION:
                unlike = f"has version {version}, this build knows {_VERSION}"
                raise LogTooNew("the producer table in a checkpoint", unlike)
            snapshot = _DECODER.decode(state)
        except msgspec.DecodeError as error:
            raise ValueError(f"the producer table cannot be read: {error}") from error
        self.producers = snapshot.producers
        self.last_index = snapshot.last_index
        self.forgotten = snapshot.forgotten
        self.time = snapshot.time
        self.positions.restore(snapshot.positions)
