"""What lies in files: frames of segments, segment headers, vote files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import google_crc32c
from floodmark.errors import InvalidBatch, TooLarge, TooNew
from floodmark.format import batch, frame_attributes, position
from floodmark.format import frame as frames
from floodmark.format.frame import HEADER_BYTES, Frame, FrameFlag, FrameKind, PayloadType
from floodmark.format.frame_records import has_records, header_in, max_time_in, records_in, slices_in
from floodmark.format.record import Record

from storage import segment_header, vote
from tests.fuzz.target import Target
from tests.support import kafka_batches


def resealed(data: bytes) -> bytes:
    """The same frames with the lengths and checksums that they should have; a payload is what is left."""
    if len(data) < HEADER_BYTES:
        return data
    payload = data[HEADER_BYTES:]
    said = int.from_bytes(data[8:12], "little")
    more = b""
    if said and said < len(payload):
        payload, more = payload[:said], resealed(payload[said:])
    head = bytearray(data[8:HEADER_BYTES])
    head[0:4] = len(payload).to_bytes(4, "little")
    head[4:8] = google_crc32c.value(payload).to_bytes(4, "little")
    crc = google_crc32c.value(bytes(head))
    return frames.MAGIC + crc.to_bytes(4, "little") + bytes(head) + payload + more


def stored(data: bytes) -> None:
    """Reading a slice of a segment fails as InvalidBatch or TooNew only (a batch in it also as TooLarge). A
    frame that can be read is written again as the same bytes, and its records are the same whole and in
    slices.
    """
    for given in (data, resealed(data)):
        try:
            frames.first_damaged(given)
            found = list(frames.iterate(given))
        except (InvalidBatch, TooNew):
            continue
        at = 0
        for frame in found:
            header = frames.decode_header(given, at)
            assert header is not None
            assert frame.pack_header(header.synced) + frame.payload == given[at : at + frame.size]
            assert header.last_index == frame.last_index >= frame.index
            at += frame.size
            _read(frame)


def _read(frame: Frame) -> None:
    with contextlib.suppress(InvalidBatch):
        frame_attributes.attributes(frame, frame.payload)
        if (place := position.position_in(frame, frame.payload)) is not None:
            assert position.of_header(place.as_header()) == place
    if has_records(frame):
        max_time_in(frame, frame.payload, 0)
    try:
        frames.unlike(frame)
        records = records_in(frame, frame.payload)
    except (InvalidBatch, TooLarge, TooNew):
        return
    if not records or not has_records(frame):
        return
    header = header_in(frame, frame.payload)
    assert len(records) == header.count
    slices, taken = slices_in(frame, frame.payload, header), list[Record | None]()
    while some := slices.take(len(taken), header.count):
        taken += some
    # A control batch of Kafka takes up offsets and has no records, so that its slices are empty.
    assert taken == records or not any(records), "slices have other records"


def segment(data: bytes) -> None:
    """A segment's first bytes and its name are read, or are none; what is read is written the same."""
    for given in (data, _sealed(data, segment_header.MAGIC, segment_header.HEADER_BYTES)):
        segment_header.unlike(given)
        header = segment_header.decode(given)
        if header is not None:
            read = given[: segment_header.HEADER_BYTES]
            again = header.encode()
            assert again == read or segment_header.decode(again) == header
    index = segment_header.base_index_of(data.decode("utf-8", "replace"))
    assert index is None or segment_header.file_name(index).encode() == data


def votes(data: bytes) -> None:
    """A vote file is read, or none of it is valid; a copy that is read is written as the same bytes."""
    for given in (data, _sealed(data, vote.MAGIC, vote.COPY_BYTES)):
        vote.unlike(given)
        vote.newest(given)
        found = vote.decode(given)
        if found is not None:
            assert vote.decode(found.encode()) == found


def _sealed(data: bytes, magic: bytes, size: int) -> bytes:
    rest = data[8:size]
    return magic + google_crc32c.value(rest).to_bytes(4, "little") + rest + data[size:]


def _framed(
    payload: bytes, *, kind: FrameKind = FrameKind.RECORDS, count: int = 2, form: int = 0, flags: int = 0
) -> bytes:
    level = 2 if form or flags else 0
    frame = Frame(5, 2, 10, 1000, count, kind, payload, frames.crc_of(payload), form, flags, level)
    return frame.pack_header() + payload


def _seeds() -> Iterator[bytes]:
    records = [Record(1, b"k", b"v"), Record(2, None, b"{}", True, {"a": "b"})]
    kafka = kafka_batches.encode(records)
    named = frame_attributes.pack({2: "ann", 3: 7})
    yield _framed(batch.encode(records)) + _framed(b"", kind=FrameKind.NOOP, count=0)
    yield _framed(batch.encode(records, format=2, codec=batch.CODEC_ZSTD), form=PayloadType.BATCH_2)
    yield _framed(kafka, form=PayloadType.KAFKA_2)
    yield _framed(kafka + named, form=PayloadType.KAFKA_2, flags=FrameFlag.ATTRIBUTES)
    yield _framed(batch.encode(records) + named, flags=FrameFlag.ATTRIBUTES)
    place = position.Position("g", 7, 3, 1042)
    positioned = position.behind(batch.encode(records, format=2), place)
    yield _framed(positioned, form=PayloadType.BATCH_2, flags=FrameFlag.ATTRIBUTES)
    yield _framed(b"control", form=PayloadType.CONTROL, flags=FrameFlag.CONTROL, count=1)
    gap = frames.gap(7, 2, 12, 1000, entries=3, offset_count=4)
    yield gap.pack_header() + gap.payload


def _segment_seeds() -> Iterator[bytes]:
    yield segment_header.SegmentHeader(1, 0, 0, 0).encode()
    yield segment_header.SegmentHeader(9, 2, 30, 900, 500, 300, 1, 1).encode()
    yield segment_header.file_name(17).encode()


def _vote_seeds() -> Iterator[bytes]:
    yield vote.Vote(3, 7, "n1", 0).encode()
    yield vote.Vote(4, 8, None, 90).encode()


TARGETS = (
    Target("frames", stored, _seeds),
    Target("segment_header", segment, _segment_seeds),
    Target("vote_file", votes, _vote_seeds),
)
