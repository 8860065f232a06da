"""Checking batches on their way in: the light way and the whole one agree, and headers are counted first."""

from __future__ import annotations

import pytest
from floodmark.errors import FloodmarkError, TooLarge
from floodmark.format import batch
from floodmark.format.batch_check import LIGHT_BYTES_MAX, LIGHT_RECORDS_MAX, check, check_if_light
from floodmark.format.limits import BATCH_HEADERS_MAX
from floodmark.format.record import Record
from hypothesis import given
from hypothesis import strategies as st

headers = st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=66)
records = st.builds(
    Record,
    st.integers(0, 9),
    st.none() | st.binary(max_size=3),
    st.sampled_from([b"1", b"[", b"{}", b"x" * 60]),
    st.booleans(),
    headers,
)


def outcome(ask: object, data: bytes) -> object:
    """What is answered, or what is raised."""
    try:
        return ask(data, record_bytes_max=70)  # type: ignore[operator]
    except FloodmarkError as error:
        return type(error), error.detail


@given(
    batch_records=st.lists(records, min_size=1, max_size=6),
    codec=st.sampled_from([batch.CODEC_NONE, batch.CODEC_ZSTD]),
    flipped=st.none() | st.integers(12, 400),
)
def test_both_ways_say_the_same(batch_records: list[Record], codec: int, flipped: int | None) -> None:
    """Of good batches, of bad ones, and of those that were damaged on their way.

    A damaged header may say that there is more than the light way looks at.
    """
    data = batch.encode(batch_records, codec=codec)
    if flipped is not None and flipped < len(data):
        data = data[:flipped] + bytes([data[flipped] ^ 1]) + data[flipped + 1 :]
    light = outcome(check_if_light, data)
    assert light == outcome(check, data) or (light is None and flipped is not None and flipped < len(data))


@given(batch_records=st.lists(records, min_size=1, max_size=6), most=st.integers(0, 120))
def test_as_each_record_by_itself(batch_records: list[Record], most: int) -> None:
    """Headers and sizes: what every record of the batch is asked, without asking each."""

    reasons = set()
    for record in batch_records:
        try:
            record.check(most)
        except FloodmarkError as error:
            reasons.add(error.code)
    if not reasons and not all(is_sound(record) for record in batch_records):
        reasons = {"invalid_batch"}
    try:
        check(batch.encode(batch_records), record_bytes_max=most)
    except FloodmarkError as error:
        assert error.code in reasons  # noqa: PT017  -- there may be none
    else:
        assert not reasons


def is_sound(record: Record) -> bool:
    """Whether what says that it is JSON is."""
    return not record.is_json or record.value in (b"1", b"{}")


PLAIN = Record(1, None, b"x" * 1000)
JSON = Record(1, None, b'"' + b"x" * 1000 + b'"', is_json=True)
RICH = Record(1, None, b"x", pairs={f"h{number}": "v" for number in range(40)})


@pytest.mark.parametrize(
    ("repeated", "count", "codec", "light"),
    [
        (PLAIN, 8000, batch.CODEC_NONE, True),
        (PLAIN, 1000, batch.CODEC_ZSTD, True),
        (PLAIN, LIGHT_BYTES_MAX // 1000, batch.CODEC_ZSTD, False),
        (Record(1, None, b""), LIGHT_RECORDS_MAX, batch.CODEC_NONE, True),
        (Record(1, None, b""), LIGHT_RECORDS_MAX + 1, batch.CODEC_NONE, False),
        (JSON, 2000, batch.CODEC_NONE, True),
        (JSON, 3000, batch.CODEC_NONE, False),
        (RICH, 200, batch.CODEC_NONE, True),
        (RICH, 300, batch.CODEC_NONE, False),
        (RICH, 300, batch.CODEC_ZSTD, False),
    ],
)
def test_what_is_light(repeated: Record, count: int, codec: int, *, light: bool) -> None:
    """By what it costs to look at, not by its size; what is heavy is no worse for it."""
    data = batch.encode([repeated] * count, codec=codec)
    assert (check_if_light(data) is not None) is light
    assert check(data).count == count


def test_a_batch_with_too_many_headers_is_not_packed() -> None:
    """A client is told before it sends."""
    most = BATCH_HEADERS_MAX // 40
    batch.encode([RICH] * most)
    with pytest.raises(TooLarge, match="headers together"):
        batch.encode([RICH] * (most + 1))
