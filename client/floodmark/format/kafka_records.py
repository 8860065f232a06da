"""The records in a Kafka record batch, before compression. Each is

    length          varint   bytes after this field
    attributes           1   unused so far
    timestampDelta  varlong  to baseTimestamp
    offsetDelta     varint   its place in the batch
    key             varint   its length, -1 for none; and the bytes
    value           varint   its length, -1 for none: a tombstone; and the bytes
    headers         varint   their number; of each the length of its name, the name in UTF-8, the length of
                             its value, -1 for none, and the value

varints are zigzag, seven bits a byte, the lowest first. Offset deltas rise, and leave out what compaction
removed.
"""

from __future__ import annotations

from typing import Final

from floodmark.errors import InvalidBatch, TooLarge
from floodmark.format.kafka_header import NONE, KafkaHeader
from floodmark.format.limits import BATCH_HEADERS_MAX
from floodmark.format.record import Record

VARINT_BYTES: Final = 5
VARLONG_BYTES: Final = 10
_TIME_MAX: Final = (1 << 63) - 1
_HEADER_BYTES_MIN: Final = 2
_ZIGZAG: Final = tuple([number >> 1 ^ -(number & 1) for number in range(128)])

Pairs = list[tuple[str, bytes | None]]


def decode_records(
    raw: bytes,
    header: KafkaHeader,
    count: int,
    first: int,
    behind: int,
    headers_max: int = BATCH_HEADERS_MAX,
) -> list[Record | None]:
    """The ``count`` records in ``raw``, which take up offsets ``first <= o < behind``.

    Raises ``InvalidBatch``, ``TooLarge``.
    """
    try:
        return _decoded(raw, header, count, first, behind, headers_max)
    except (IndexError, UnicodeDecodeError) as error:
        raise InvalidBatch(f"the records of the batch cannot be decoded: {error}") from error


def _decoded(  # noqa: C901, PLR0912, PLR0915 - a call for each number would dominate the time
    raw: bytes, header: KafkaHeader, count: int, place: int, behind: int, headers_max: int
) -> list[Record | None]:
    """Inlined for speed: most numbers have a byte or two."""
    base, append_time, size = header.base_timestamp, header.append_time, len(raw)
    is_dense, make, zigzag, time_max = count == behind - place, Record, _ZIGZAG, _TIME_MAX
    found: list[Record | None] = []
    append = found.append
    at = headers = 0
    for _ in range(count):
        length = raw[at]
        if length < 128:
            at += 1
        elif (high := raw[at + 1]) < 128:
            length += (high << 7) - 128
            at += 2
        else:
            length, at = number_at(raw, at, VARINT_BYTES)
        end = at + (length >> 1)
        at += 1  # Its attributes.

        number = raw[at]
        if number < 128:
            at += 1
            time = base + zigzag[number]
        else:
            number, at = number_at(raw, at, VARLONG_BYTES)
            time = base + (number >> 1 ^ -(number & 1))
        if append_time is not None:
            time = append_time
        timestamp: int | None = time
        if time < 0 or time > time_max:
            if time == NONE:
                timestamp = None
            elif not -time_max <= time <= time_max:
                raise InvalidBatch("a timestamp is out of range")

        number = raw[at]
        if number < 128:
            at += 1
        elif (high := raw[at + 1]) < 128:
            number += (high << 7) - 128
            at += 2
        else:
            number, at = number_at(raw, at, VARINT_BYTES)
        if number != place << 1:
            delta = number >> 1 ^ -(number & 1)
            if is_dense or not place < delta < behind:
                raise InvalidBatch(f"a record stands at offset {delta} of its batch, {place} would be next")
            found.extend([None] * (delta - place))
            place = delta
        place += 1

        number = raw[at]
        if number < 128:
            at += 1
        else:
            number, at = number_at(raw, at, VARINT_BYTES)
        key = value = None
        if not number & 1:
            key = raw[at : (at := at + (number >> 1))]
        elif number != 1:
            raise InvalidBatch("a record has a key of negative length")

        number = raw[at]
        if number < 128:
            at += 1
        elif (high := raw[at + 1]) < 128:
            number += (high << 7) - 128
            at += 2
        else:
            number, at = number_at(raw, at, VARINT_BYTES)
        if not number & 1:
            value = raw[at : (at := at + (number >> 1))]
        elif number != 1:
            raise InvalidBatch("a record has a value of negative length")

        pairs: Pairs | None = None
        if raw[at]:
            number, at = number_at(raw, at, VARINT_BYTES)
            if number & 1 or number >> 1 > (end - at) // _HEADER_BYTES_MIN:
                raise InvalidBatch("the number of a record's headers is negative, or more than its bytes")
            headers += number >> 1
            if headers > headers_max:
                raise _too_many_headers(headers, headers_max)
            pairs, at = _pairs(raw, at, end, number >> 1)
        else:
            at += 1
        if at != end or length & 1 or end > size:
            raise InvalidBatch("a record does not end where its length says")
        append(make(timestamp, key, value, False, pairs))  # noqa: FBT003 - as it lies in a batch
    if at != size:
        raise InvalidBatch(f"{size - at} bytes are left after the last record")
    if place < behind:
        found.extend([None] * (behind - place))
    return found


def _too_many_headers(count: int, limit: int) -> TooLarge:
    return TooLarge(
        f"the records of one batch have {count} headers or more together; at most {limit} are allowed",
        limit=limit,
    )


def _pairs(raw: bytes, at: int, end: int, count: int) -> tuple[Pairs, int]:
    """``count`` headers, and where they end. Raises ``InvalidBatch``."""
    pairs: Pairs = []
    for _ in range(count):
        number, at = number_at(raw, at, VARINT_BYTES)
        if number & 1:
            raise InvalidBatch("a header has no name")
        name = raw[at : at + (number >> 1)].decode()
        at += number >> 1
        number, at = number_at(raw, at, VARINT_BYTES)
        if number & 1:
            if number != 1:
                raise InvalidBatch("a header has a value of negative length")
            pairs.append((name, None))
        else:
            pairs.append((name, raw[at : at + (number >> 1)]))
            at += number >> 1
        if at > end:
            raise InvalidBatch("the headers of a record reach beyond its end")
    return pairs, at


def number_at(raw: bytes | memoryview, at: int, bytes_max: int) -> tuple[int, int]:
    """The varint at ``raw[at]``, still zigzag, and where it ends. Raises ``InvalidBatch``, ``IndexError``."""
    number = shift = 0
    for end in range(at + 1, at + 1 + bytes_max):
        byte = raw[end - 1]
        number |= (byte & 127) << shift
        if byte < 128:
            return number, end
        shift += 7
    raise InvalidBatch(f"a number takes up more than {bytes_max} bytes")
