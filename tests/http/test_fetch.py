"""Reading one partition as pages."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from floodmark.format import batch, frame
from floodmark.format.record import Record

from tests.http.conftest import Answer, Harness

RECORDS = "/v1/topics/t/partitions/0/records"
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}


async def fill(http: Harness, batches: int = 5, each: int = 4) -> None:
    """Batches of numbered records, one second apart from each other."""
    await http.make_topic()
    for number in range(batches):
        records = [
            Record(1_000 * (number * each + index), None, b"%d" % (number * each + index), is_json=True)
            for index in range(each)
        ]
        answer = await http.call("POST", RECORDS, data=batch.encode(records), headers=BATCH)
        assert answer.status == 200


async def get(http: Harness, query: str = "", **arguments: Any) -> Answer:
    """A read."""
    return await http.call("GET", RECORDS + query, **arguments)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("0", list(range(20))),
        ("7", list(range(7, 20))),
        ("earliest", list(range(20))),
        ("latest", []),
        ("20", []),
        ("-3", [17, 18, 19]),
        ("-99", list(range(20))),
        ("@1970-01-01T00:00:18Z", [18, 19]),
        ("@18000", [18, 19]),
        ("@16001", [17, 18, 19]),
        ("@1970-01-01T01:00:18%2B01:00", [18, 19]),
        ("@2100-01-01T00:00Z", []),
    ],
)
async def test_every_form_of_position(http: Harness, start: str, expected: list[int]) -> None:
    """Offsets, both ends, from the end, and times (to the record)."""
    await fill(http)
    answer = await get(http, f"?from={start}")
    assert answer.status == 200
    assert [item["value"] for item in answer.json["records"]] == expected
    assert [item["offset"] for item in answer.json["records"]] == expected
    assert answer.json["next_offset"] == 20
    assert answer.headers["Log-Next-Offset"] == "20"
    assert answer.headers["Log-Start-Offset"] == "0"
    assert answer.headers["Log-High-Watermark"] == "20"


async def test_pages_follow_each_other_without_a_gap(http: Harness) -> None:
    """By number of records and by bytes, ``next_offset`` goes on exactly."""
    await fill(http)
    for bound in ("max_records=3", "max_bytes=1", "max_bytes=400"):
        seen: list[int] = []
        position = 0
        while position < 20:
            page = (await get(http, f"?from={position}&{bound}")).json
            assert page["next_offset"] > position
            position = page["next_offset"]
            seen += [item["value"] for item in page["records"]]
        assert seen == list(range(20))


async def test_batches_come_as_they_lie_on_disk(http: Harness) -> None:
    """The frames begin at or before the offset, and say where to go on."""
    await fill(http)
    answer = await get(http, "?from=6", headers={"Accept": "application/vnd.floodmark.batch;v=1"})
    frames = list(frame.iterate(answer.body))
    assert [item.first_offset for item in frames] == [4, 8, 12, 16]
    assert (answer.headers["Log-From-Offset"], answer.headers["Log-Next-Offset"]) == ("6", "20")


async def test_messagepack_has_native_values(http: Harness) -> None:
    """JSON values are native, bytes are binary, and numbers too large for it come as their text."""
    await http.make_topic()
    for body in (b'{"value": {"a": [1]}}', b'{"value_b64": "AAE="}', b'{"value": 123456789012345678901234}'):
        await http.call("POST", RECORDS, data=body, headers={"Content-Type": "application/json"})
    page = msgspec.msgpack.decode((await get(http, headers={"Accept": "application/vnd.msgpack"})).body)
    assert page["next_offset"] == 3
    first, second, third = page["records"]
    assert (first["value"], second["value"]) == ({"a": [1]}, b"\x00\x01")
    assert third["value_json"] == "123456789012345678901234"


async def test_a_long_poll_wakes_with_the_first_record(http: Harness) -> None:
    """The answer comes with the record, long before the wait is over."""
    await http.make_topic()
    waiting = asyncio.create_task(get(http, "?from=latest&wait=60s"))
    await http.cluster.logs["t", 0].awaited()
    await http.call("POST", RECORDS, json={"value": "hello"})
    assert [item["value"] for item in (await waiting).json["records"]] == ["hello"]


async def test_an_empty_wait_is_200_with_an_empty_list(http: Harness) -> None:
    """No error for nothing yet."""
    await http.make_topic()
    answer = await get(http, "?wait=20ms")
    assert (answer.status, answer.json["records"], answer.json["next_offset"]) == (200, [], 0)


async def test_what_is_gone_is_410_and_what_is_not_yet_is_416(http: Harness) -> None:
    """Both tell the bounds."""
    await fill(http)
    http.cluster.logs["t", 0].truncate_head(8)
    gone = await get(http, "?from=3")
    assert (gone.status, gone.json["code"], gone.json["log_start_offset"]) == (410, "offset_below_start", 8)
    ahead = await get(http, "?from=21")
    assert (ahead.status, ahead.json["code"], ahead.json["high_watermark"]) == (416, "offset_past_end", 20)


async def test_the_tail_is_told(http: Harness) -> None:
    """Bounds, in the body and the headers."""
    await fill(http)
    answer = await http.call("GET", "/v1/topics/t/partitions/0/tail")
    shown = {"partition": 0, "log_start_offset": 0, "high_watermark": 20, "next_offset": 20}
    assert answer.json == shown
    assert answer.headers["Log-Next-Offset"] == "20"


async def test_a_false_json_claim_in_an_old_batch_is_shown_as_bytes(http: Harness) -> None:
    """One bad value does not spoil the page."""
    await http.make_topic()
    made = batch.encode([Record(0, None, b"{nope", is_json=True), Record(1 << 62, None, b"1", is_json=True)])
    log = http.cluster.logs["t", 0]
    log.frames.append(frame.Frame(2, 1, 0, 0, 2, frame.FrameKind.RECORDS, made, frame.crc_of(made)))
    log.next = 2
    first, second = (await get(http)).json["records"]
    assert first["value_b64"] == "e25vcGU="
    assert (second["value"], second["timestamp"]) == (1, 1 << 62)
