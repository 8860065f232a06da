"""The frame: how one Raft entry lies in a segment file, travels to followers and reaches consumers.

A segment is a sequence of frames; a fetch answers a slice of one. Frames of kind RECORDS carry one
record batch. A frame of kind GAP stands for a run of entries of one term that compaction removed, and takes
up their indexes and offsets; the other kinds carry no records and use up no offsets. All integers are
little-endian.

     0  magic           4  "FMF1"
     4  header_crc      4  CRC32C of bytes 8 to 64
     8  payload_length  4
    12  payload_crc     4  CRC32C of the payload
    16  index           8  Raft index; of a gap that of the first removed entry
    24  term            8  Raft term
    32  first_offset    8  offset of the first record; of the next one where there is none
    40  append_time     8  the leader's clock, ms since the Unix epoch, signed; of a gap its last entry's
    48  offset_count    4
    52  kind            1  see ``FrameKind``
    53  payload_type    1  see ``PayloadType``; 0 as the kind implies
    54  flags           1  see ``FrameFlag``
    55  level           1  the feature level that a reader needs; 0 and 1: any build
    56  synced          8  log position that this replica knew durable when it wrote this frame
    64  payload            of a gap: how many entries it stands for (8), at least 1; where the flag says so,
                           attributes at its end (``frame_attributes.py``)

``synced`` is the only field in which replicas may differ. It tells recovery whether a bad frame had
been made durable (then it is corruption) or not (then it is a torn write); on the wire it is zero.

A header whose magic and checksum are right is a frame's header, whatever it says: if this build does not know
its kind, payload type, flags or level, the frame is ``TooNew``, never damage. At every level the other fields
mean what they mean here, so that any build can tell how long such a frame is and where it belongs.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import Final, cast

import google_crc32c
import msgspec

from floodmark.errors import InvalidBatch, TooNew
from floodmark.format import batch, kafka_header

MAGIC: Final = b"FMF1"
HEADER_BYTES: Final = 64
PAYLOAD_BYTES_MAX: Final = 64 << 20
LEVEL: Final = 6
"""The feature level of this build: it reads frames that need this one or a lower one."""
GAP_LEVEL: Final = 2
"""The feature level of gaps."""
GAP_PAYLOAD_BYTES: Final = 8
GAP_BYTES: Final = HEADER_BYTES + GAP_PAYLOAD_BYTES
"""Bytes of a whole gap. Code that looks at single headers reads this much: only a whole gap tells where
it ends."""
GAP_OFFSETS_MAX: Final = (1 << 32) - 1
"""Offsets that one gap can take up; a longer run of removed entries becomes several."""

_HEADER = struct.Struct("<4sIIIQQQqIIQ")
_PREFIX = struct.Struct("<4sI")
_AFTER_CRC = struct.Struct("<IIQQQqIBBBBQ")
_ENTRIES = struct.Struct("<Q")
_ENTRIES_MAX: Final = 1 << 62
_CRC_PIECE_BYTES: Final = 64 << 10


class FrameKind(enum.IntEnum):
    """What a frame's payload is."""

    NOOP = 0
    """Nothing: a new leader's first entry."""
    RECORDS = 1
    """One record batch."""
    MEMBERSHIP = 2
    """The group's members from here on."""
    COMMAND = 3
    """A command of the metadata state machine."""
    GAP = 4
    """Stands for a run of entries that compaction removed; these are always committed."""


class PayloadType(enum.IntEnum):
    """The format of the payload of a RECORDS frame; 0 for other kinds."""

    IMPLIED = 0
    """For RECORDS: a record batch of format 1."""
    BATCH_2 = 1
    """A record batch of format 2."""
    KAFKA_2 = 2
    """A RecordBatch of Kafka's format 2, as its producer sent it (``kafka_header.py``)."""
    CONTROL = 3
    """The end of a producer's transaction (``control.py``). It takes up one offset and holds no record."""


class FrameFlag(enum.IntFlag):
    """Properties of a frame's payload."""

    CONTROL = 1
    """It is a control frame."""
    TRANSACTIONAL = 2
    """Its records belong to a transaction."""
    COMPACTED = 4
    """Some of its records were removed, on this replica."""
    ATTRIBUTES = 8
    """The payload ends with attributes that the leader set."""


_KINDS: Final = tuple(FrameKind)
"""By number, because calling the enumeration takes as long as all the rest of decoding a header."""
_TYPES: Final = tuple(PayloadType)
_CONTROL: Final = int(PayloadType.CONTROL)
_KAFKA_2: Final = int(PayloadType.KAFKA_2)
_FLAGS: Final = int(FrameFlag.CONTROL | FrameFlag.TRANSACTIONAL | FrameFlag.COMPACTED | FrameFlag.ATTRIBUTES)
_BATCH_LEVEL: Final = 2
"""The feature level in frames whose payload is a batch of another format than 1."""


def _usual() -> dict[int, tuple[FrameKind, int, int, int]]:
    plain = [(kind, 0, 0, 0) for kind in _KINDS if kind is not FrameKind.GAP]
    batches = [
        (FrameKind.RECORDS, int(payload_type), flags, _BATCH_LEVEL)
        for payload_type in (PayloadType.BATCH_2, PayloadType.KAFKA_2)
        for flags in (0, int(FrameFlag.TRANSACTIONAL))
    ]
    positioned = (FrameKind.RECORDS, int(PayloadType.BATCH_2), int(FrameFlag.ATTRIBUTES), _BATCH_LEVEL)
    usual = [*plain, *batches, positioned]
    return {said[0] | said[1] << 8 | said[2] << 16 | said[3] << 24: said for said in usual}


USUAL: Final = _usual()
"""Bytes 52 to 56 as one number -> kind, payload type, flags and level, for frames that stand for one entry
and in which this build knows everything. Nearly all frames are like that, and one look-up decodes them."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame. ``payload_crc`` is carried along so that it is computed once, not per replica."""

    index: int
    term: int
    first_offset: int
    append_time: int
    offset_count: int
    kind: FrameKind
    payload: bytes
    payload_crc: int
    payload_type: int = 0
    flags: int = 0
    level: int = 0

    @property
    def next_offset(self) -> int:
        """The offset that the first record after this frame gets."""
        return self.first_offset + self.offset_count

    @property
    def last_index(self) -> int:
        """Index of the last entry that it stands for: its own, unless it is a gap."""
        if self.kind is not FrameKind.GAP:
            return self.index
        return self.index + max(1, _entries_in(self.payload)) - 1

    @property
    def size(self) -> int:
        """Bytes on disk and on the wire."""
        return HEADER_BYTES + len(self.payload)

    def pack_header(self, synced: int = 0) -> bytes:
        """The 64 bytes before the payload."""
        rest = _AFTER_CRC.pack(
            len(self.payload),
            self.payload_crc,
            self.index,
            self.term,
            self.first_offset,
            self.append_time,
            self.offset_count,
            self.kind,
            self.payload_type,
            self.flags,
            self.level,
            synced,
        )
        return _PREFIX.pack(MAGIC, google_crc32c.value(rest)) + rest


class FrameHeader(msgspec.Struct, frozen=True, gc=False):
    """The fields before the payload. ``kind`` is a plain number if this build does not know it."""

    payload_length: int
    payload_crc: int
    index: int
    term: int
    first_offset: int
    append_time: int
    offset_count: int
    kind: FrameKind
    synced: int
    payload_type: int = 0
    flags: int = 0
    level: int = 0
    entries: int = 1
    """How many entries it stands for; 0 for a gap whose payload was missing or damaged."""

    @property
    def last_index(self) -> int:
        """Index of the last entry that it stands for."""
        return self.index + self.entries - 1

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEADER_BYTES + self.payload_length

    @property
    def next_offset(self) -> int:
        """The offset that the first record after this frame gets."""
        return self.first_offset + self.offset_count

    def with_payload(self, payload: bytes) -> Frame:
        """The whole frame. Raises ``InvalidBatch`` if the payload fails its checksum or length."""
        if len(payload) != self.payload_length or google_crc32c.value(payload) != self.payload_crc:
            raise InvalidBatch(f"the payload of frame {self.index} fails its CRC32C")
        if self.kind is FrameKind.GAP and len(payload) == GAP_PAYLOAD_BYTES and not _entries_in(payload):
            raise InvalidBatch(f"frame {self.index} is a gap that stands for no entries")
        return Frame(
            self.index,
            self.term,
            self.first_offset,
            self.append_time,
            self.offset_count,
            self.kind,
            payload,
            self.payload_crc,
            self.payload_type,
            self.flags,
            self.level,
        )


def gap(
    index: int, term: int, first_offset: int, append_time: int, *, entries: int, offset_count: int
) -> Frame:
    """The gap that stands for ``entries`` entries of one term from ``index`` on, and ``offset_count``
    offsets."""
    assert 0 < entries <= _ENTRIES_MAX, "a gap must stand for at least one entry"
    payload = _ENTRIES.pack(entries)
    return Frame(
        index,
        term,
        first_offset,
        append_time,
        offset_count,
        FrameKind.GAP,
        payload,
        crc_of(payload),
        level=GAP_LEVEL,
    )


def part_of_gap(whole: Frame, index: int, last_index: int, first_offset: int, next_offset: int) -> Frame:
    """The part of a gap that stands for entries ``index`` to ``last_index``, which have these offsets."""
    return gap(
        index,
        whole.term,
        first_offset,
        whole.append_time,
        entries=last_index - index + 1,
        offset_count=next_offset - first_offset,
    )


def _entries_in(payload: bytes | bytearray | memoryview) -> int:
    """The number of entries in the payload of a gap; 0 if that is impossible."""
    if len(payload) != GAP_PAYLOAD_BYTES:
        return 0
    entries = int(_ENTRIES.unpack(payload)[0])
    return entries if entries <= _ENTRIES_MAX else 0


def unlike(frame: Frame | FrameHeader) -> str | None:
    """What this build does not know in a frame, and what it knows; None if it knows all.

    For a whole frame that includes the batch in it: the payload must have passed its checksum.
    """
    strange = _unlike_header(frame)
    return unlike_payload(frame) if strange is None and isinstance(frame, Frame) else strange


def _unlike_header(frame: Frame | FrameHeader) -> str | None:
    if frame.level > LEVEL:
        return f"needs feature level {frame.level}, this build knows {LEVEL}"
    if frame.kind >= len(_KINDS):
        return f"is of kind {int(frame.kind)}, this build knows 0 to {len(_KINDS) - 1}"
    if frame.payload_type and (frame.kind is not FrameKind.RECORDS or frame.payload_type not in _TYPES):
        return f"has payload type {frame.payload_type}, this build knows 0, and of records 1 to 3"
    if frame.flags & ~_FLAGS:
        return f"has flags {frame.flags:#04x}, this build knows {_FLAGS:#04x}"
    if frame.kind == FrameKind.GAP and frame.size != GAP_BYTES:
        return f"is a gap of {frame.size} bytes, this build knows those of {GAP_BYTES}"
    return None


def unlike_payload(frame: Frame) -> str | None:
    """Like ``unlike``, for the batch in a frame whose header this build knows (``decode_header`` returned
    it)."""
    if frame.kind is not FrameKind.RECORDS or frame.payload_type == _CONTROL:
        return None
    is_kafka = frame.payload_type == _KAFKA_2
    strange = kafka_header.unlike(frame.payload) if is_kafka else batch.unlike(frame.payload)
    return None if strange is None else f"holds a record batch that {strange}"


def crc_of(payload: bytes) -> int:
    """The checksum that a frame carries for its payload."""
    return int(google_crc32c.value(payload))


def decode_header(
    data: bytes | bytearray | memoryview, position: int = 0, *, too_new_as_well: bool = False
) -> FrameHeader | None:
    """The frame header at ``position``, or None if there is no valid one (or too few bytes). How many
    entries a gap stands for is only known if all of the gap is there.

    Raises ``TooNew``, unless such headers are asked for as well: then call ``unlike`` on the result.
    """
    if len(data) - position < HEADER_BYTES:
        return None
    (magic, crc, length, payload_crc, index, term, offset, time, count, what, synced) = _HEADER.unpack_from(
        data, position
    )
    usual = USUAL.get(what)
    if magic != MAGIC or (length > PAYLOAD_BYTES_MAX and usual is not None):
        return None
    if google_crc32c.value(bytes(data[position + 8 : position + HEADER_BYTES])) != crc:
        return None
    if usual is not None:
        kind, payload_type, flags, level = usual
        return FrameHeader(
            length, payload_crc, index, term, offset, time, count, kind, synced, payload_type, flags, level
        )
    number, payload_type, flags, level = what & 0xFF, what >> 8 & 0xFF, what >> 16 & 0xFF, what >> 24
    kind = _KINDS[number] if number < len(_KINDS) else cast(FrameKind, number)
    entries = 1
    if kind is FrameKind.GAP:
        payload = bytes(data[position + HEADER_BYTES : position + GAP_BYTES])
        entries = _entries_in(payload) if google_crc32c.value(payload) == payload_crc else 0
    header = FrameHeader(
        length,
        payload_crc,
        index,
        term,
        offset,
        time,
        count,
        kind,
        synced,
        payload_type,
        flags,
        level,
        entries,
    )
    strange = unlike(header)
    if strange is None and length > PAYLOAD_BYTES_MAX:
        return None
    if strange is None or too_new_as_well:
        return header
    raise TooNew(f"frame {index} {strange}: start a newer Floodmark", index=index, unlike=strange)


def iterate(data: bytes | bytearray) -> Iterator[Frame]:
    """The whole frames in ``data``; a partial one at the end is left out.

    Raises ``InvalidBatch`` on a header or payload that fails its checksum, ``TooNew``.
    """
    for header, payload in walk(data):
        yield header.with_payload(bytes(payload))


def walk(data: bytes | bytearray) -> Iterator[tuple[FrameHeader, memoryview]]:
    """Like ``iterate``, without a copy: headers, and views of the payloads, whose checksum is *not* verified.

    For callers that decode the record batches in them: ``batch.decode`` verifies it together with the
    batch's own. Raises ``InvalidBatch`` on a header that fails its checksum, ``TooNew``.
    """
    view, position = memoryview(data), 0
    while len(data) - position >= HEADER_BYTES:
        header = decode_header(data, position)
        if header is None:
            raise InvalidBatch(f"no valid frame at byte {position}")
        end = position + header.size
        if end > len(data):
            return
        yield header, view[position + HEADER_BYTES : end]
        position = end


def first_damaged(data: bytes | bytearray) -> FrameHeader | None:
    """The first of the whole frames in ``data`` whose payload fails its checksum.

    Raises ``InvalidBatch`` on a header that fails its own, ``TooNew``.
    """
    for header, payload in walk(data):
        crc = 0
        # Small copies stay in the processor's cache, as in ``batch.decode``.
        for at in range(0, len(payload), _CRC_PIECE_BYTES):
            crc = google_crc32c.extend(crc, bytes(payload[at : at + _CRC_PIECE_BYTES]))
        if crc != header.payload_crc:
            return header
    return None
