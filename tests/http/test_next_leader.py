"""What a node surely did not store, because it leads no more, goes to the next leader: at every door."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from floodmark.errors import (
    FloodmarkError,
    OffsetMismatch,
    OutcomeUnknown,
    OutOfOrderSequence,
    ProducerFenced,
    StorageFull,
    TooManyRequests,
    Unavailable,
)
from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.broker import Appended
from tests.http.conftest import MARK, Harness
from tests.http.memory_broker import MemoryPartition

RECORDS = "/v1/topics/t/partitions/0/records"
RAW = {"Content-Type": "application/octet-stream"}
KINDS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "plain": ("", RAW, b"v"),
    "a record's header": ("", {**RAW, "Record-Key": "k"}, b"v"),
    "a producer": ("", {**RAW, "Producer-Id": "p", "Producer-Seq": "0"}, b"v"),
    "a condition": ("", {**RAW, "If-Offset": "0"}, b"v"),
    "other acks": ("?acks=leader", RAW, b"v"),
    "a timeout": ("?timeout=5s", RAW, b"v"),
    "compressed": ("", {**RAW, "Content-Encoding": "deflate"}, zlib.compress(b"v")),
    "large": ("", RAW, bytes(70_000)),
    "a batch": (
        "",
        {"Content-Type": "application/vnd.floodmark.batch;v=1"},
        codec.encode([Record(0, None, b"v")]),
    ),
    "a producer's batch": (
        "",
        {"Content-Type": "application/vnd.floodmark.batch;v=1"},
        codec.encode([Record(0, None, b"v")], producer_id=codec.producer_id_of("p"), sequence=0),
    ),
}


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1."""
    return 3


@pytest.fixture
def refused(http: Harness, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was to store, in order: n1 leads no more as soon as it begins to."""
    seen: list[str] = []
    produce = MemoryPartition.produce

    async def lost(partition: MemoryPartition, *arguments: Any, **named: Any) -> Appended:
        node = partition._node_id
        seen.append(node)
        if node == "n1" and len(seen) == 1:
            http.cluster.logs["t", 0].move("n3")
            raise Unavailable("node n3 leads at the moment; nothing was stored", leader="n3")
        return await produce(partition, *arguments, **named)

    monkeypatch.setattr(MemoryPartition, "produce", lost)
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", ["n1", "n2", "n3"])
async def test_it_is_stored_once_by_the_next_leader(
    http: Harness, refused: list[str], kind: str, door: str
) -> None:
    """At the one that led, at one that passes on to it, and at the one that comes to lead."""
    query, headers, body = KINDS[kind]
    await http.make_topic()
    answer = await http.call("POST", RECORDS + query, node=door, data=body, headers=headers)
    assert answer.status == 200, answer.body
    assert refused == ["n1", "n3"]
    (frame,) = http.cluster.logs["t", 0].frames
    (record,) = codec.decode(frame.payload)
    assert record is not None
    assert record.value == (body if kind == "large" else b"v")
    assert answer.json["first_offset"] == 0
    assert answer.headers["Floodmark-Leader"] == "n3"


async def test_what_a_node_passed_on_is_not_passed_on_again(http: Harness, refused: list[str]) -> None:
    """The node that passed it on asks the next leader."""
    await http.make_topic()
    for given in (RAW, {**RAW, "Record-Key": "k"}):
        http.cluster.logs["t", 0].move("n1")
        refused.clear()
        headers = {**given, "Floodmark-Forwarded": MARK}
        answer = await http.call("POST", RECORDS, data=b"v", headers=headers)
        assert (answer.status, answer.json["leader"], refused) == (503, "n3", ["n1"])
    assert http.cluster.logs["t", 0].frames == []


async def test_a_refusal_for_another_reason_is_answered(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node leads on, so nobody else could store it, and it is asked once."""
    await http.make_topic()
    asked: list[int] = []

    async def refuses(*_: Any, **__: Any) -> Appended:
        asked.append(1)
        raise Unavailable("this replica does not serve at the moment")

    monkeypatch.setattr(MemoryPartition, "produce", refuses)
    for headers in (RAW, {**RAW, "Record-Key": "k"}):
        answer = await http.call("POST", RECORDS, data=b"v", headers=headers)
        assert (answer.status, "does not serve" in answer.json["detail"]) == (503, True)
    assert len(asked) == 2


@pytest.mark.parametrize("door", ["n1", "n2", "n3"])
@pytest.mark.parametrize("kind", ["a producer", "a producer's batch", "a batch", "plain"])
@pytest.mark.parametrize(
    "later",
    [
        None,
        Unavailable("nothing was stored"),
        TooManyRequests("not now"),
        StorageFull("no room"),
        OutOfOrderSequence("a gap", expected_sequence=0),
        OffsetMismatch("no", next_offset=3),
        ProducerFenced("another one took over", current_epoch=1),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_became_of_a_request_is_asked_and_never_taken_from_a_later_refusal(
    http: Harness, monkeypatch: pytest.MonkeyPatch, door: str, kind: str, later: FloodmarkError | None
) -> None:
    """The first leader's word is missing: for a producer the next one is asked about it.

    At the first leader itself, too, on the fast path (a batch and a plain record) and past it.
    """
    produce = MemoryPartition.produce
    seen: list[str] = []
    topic = ""

    async def lost(partition: MemoryPartition, *arguments: Any, **named: Any) -> Appended:
        seen.append(partition._node_id)
        if len(seen) == 1:
            await produce(partition, *arguments, **named)
            http.cluster.logs[topic, 0].move("n3")
            raise OutcomeUnknown("its leader is gone", leader="n1")
        if later is not None:
            raise later
        return await produce(partition, *arguments, **named)

    monkeypatch.setattr(MemoryPartition, "produce", lost)
    _, headers, body = KINDS[kind]
    is_named = kind in ("a producer", "a producer's batch")
    # A refusal is answered when the time is up; a busy machine may need more of it to ask at all.
    for timeout in ("300ms", "3s", "30s") if is_named else ("",):
        seen.clear()
        topic = f"t{timeout}"
        await http.make_topic(topic)
        http.cluster.logs[topic, 0].move("n1")
        path = RECORDS.replace("/t/", f"/{topic}/") + (f"?timeout={timeout}" if timeout else "")
        answer = await http.call("POST", path, node=door, data=body, headers=headers)
        if len(seen) > 1:
            break
    if later is None and is_named:
        assert (answer.status, answer.json["first_offset"], answer.json["duplicate"]) == (200, 0, True)
    else:
        assert (answer.status, answer.json["code"]) == (504, "outcome_unknown")
        assert answer.json["detail"].startswith("its leader is gone")
    assert len(http.cluster.logs[topic, 0].frames) == 1
    assert seen[:1] == ["n1"]
    assert (len(seen) > 1) is is_named
