"""When queues may deliver records: as a producer says it, in its batches, and in frames."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from floodmark.errors import InvalidBatch, InvalidRequest
from floodmark.format import batch
from floodmark.format.delivery import DELIVER_AT_MAX, deliver_at_in, with_attributes
from floodmark.format.frame import Frame, FrameFlag, FrameKind, PayloadType, crc_of
from floodmark.format.frame_attributes import pack
from floodmark.format.frame_records import PayloadForm, header_in, records_in
from floodmark.format.position import Position, position_in
from floodmark.format.record import Record
from floodmark.producer.delivery import Later, later_of
from floodmark.producer.record_accumulator import RecordAccumulator

from tests.support.kafka_batches import encode as kafka_batch

RECORD = Record(7, b"k", b"v")


def framed(payload: bytes, form: PayloadForm) -> Frame:
    """A frame of one record."""
    return Frame(9, 2, 40, 7_000, 1, FrameKind.RECORDS, payload, crc_of(payload), **form._asdict())


def test_a_frame_has_the_time_the_position_and_the_batch_as_its_producer_made_it() -> None:
    """Readers find the records, and may know nothing of the rest."""
    made, header = batch.encode_with_header([RECORD], format=2)
    position = Position("g", 7, 3, 9)
    for place in (None, position):
        for deliver_at_ms in (None, 0, 1_700_000_000_000, DELIVER_AT_MAX):
            payload, form = with_attributes(made, header, place, deliver_at_ms)
            frame = framed(payload, form)
            assert payload.startswith(made)
            assert (form.payload_type, form.flags, form.level) == (
                PayloadType.BATCH_2,
                FrameFlag.ATTRIBUTES,
                2,
            )
            assert deliver_at_in(frame, payload) == deliver_at_ms
            assert position_in(frame, payload) == place
            assert records_in(frame, payload) == [RECORD]
            assert header_in(frame, payload) == header
    assert deliver_at_in(framed(made, PayloadForm(PayloadType.BATCH_2, 0, 2)), made) is None


def test_a_batch_of_kafkas_format_waits_too() -> None:
    """Its frame stays one of Kafka's."""
    made = kafka_batch([RECORD])
    plain = framed(made, PayloadForm(PayloadType.KAFKA_2, 0, 2))
    payload, form = with_attributes(made, header_in(plain, made), None, 77)
    frame = framed(payload, form)
    assert (form.payload_type, form.flags) == (PayloadType.KAFKA_2, FrameFlag.ATTRIBUTES)
    assert deliver_at_in(frame, payload) == 77
    assert [record.value for record in records_in(frame, payload) if record is not None] == [b"v"]


@pytest.mark.parametrize("said", [-1, DELIVER_AT_MAX + 1, "soon", 1.5, True, [1]])
def test_what_is_no_time_is_damage(said: Any) -> None:
    """Also where the checksums are right."""
    payload = batch.encode([RECORD], format=2) + pack({3: said})
    frame = framed(payload, PayloadForm(PayloadType.BATCH_2, int(FrameFlag.ATTRIBUTES), 2))
    with pytest.raises(InvalidBatch, match="frame 9"):
        deliver_at_in(frame, payload)


def test_a_delay_is_seconds_or_a_timedelta_and_a_time_a_timestamp() -> None:
    """A delay is never shorter than it was asked for."""
    assert later_of(None, None) is None
    assert later_of(0, None) == Later("delay", "0ms")
    assert later_of(1.5, None) == Later("delay", "1500ms")
    assert later_of(0.0001, None) == Later("delay", "1ms")
    assert later_of(dt.timedelta(hours=2), None) == Later("delay", "7200000ms")
    assert later_of(None, 1_700_000_000_000) == Later("deliver_at", "1700000000000")
    moment = dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC)
    assert later_of(None, moment) == Later("deliver_at", str(round(moment.timestamp() * 1000)))


@pytest.mark.parametrize(
    ("delay", "deliver_at"),
    [(1, 1), (-1, None), (math.nan, None), (math.inf, None), (None, -1), (None, DELIVER_AT_MAX + 1)],
)
def test_what_no_node_takes_is_refused_at_once(delay: float | None, deliver_at: int | None) -> None:
    """It is the caller's mistake, and no batch fails for it."""
    with pytest.raises(InvalidRequest):
        later_of(delay, deliver_at)


async def test_a_batch_has_records_of_one_time_in_the_order_of_the_calls() -> None:
    """Where the time changes the next batch begins."""
    gathered = RecordAccumulator(0, batch_bytes=1000, linger_s=60, delivery_timeout_s=60, ripe=lambda: None)
    soon, late = Later("delay", "1ms"), Later("delay", "2ms")
    for number, later in enumerate([None, soon, Later("delay", "1ms"), late, None]):
        gathered.add(Record(number, None, b"v"), 10, later)
    gathered.add_run([Record(5, None, b"v"), Record(6, None, b"v")], 20)
    gathered.add_run([Record(7, None, b"v")], 10, soon)
    found = [(made.later, [record.timestamp for record in made.records]) for made in gathered.drain()]
    assert found == [(None, [0]), (soon, [1, 2]), (late, [3]), (None, [4, 5, 6]), (soon, [7])]
