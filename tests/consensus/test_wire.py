"""The codec of peer messages: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from floodmark.format.frame import LEVEL, Frame
from msgspec.structs import astuple, replace

from consensus import wire
from consensus.messages import (
    KINDS,
    MEMBERS_MAX,
    NODE_ID_CHARACTERS_MAX,
    AppendEntries,
    AppendEntriesResponse,
    FramesRequest,
    FramesResponse,
    InstallSnapshot,
    Message,
    Quiesce,
    ReadIndexRequest,
    ReadIndexResponse,
    ReplicaGone,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotPosition,
    StaleTerm,
    TimeoutNow,
)
from consensus.wire import WireError, decode_packet, encode_packet
from storage.vote import TERM_MAX
from tests.support.raft import example_of, frame, hints_of

TAKES: dict[str, Callable[[Any], bool]] = {
    "Term": lambda value: type(value) is int and 0 <= value <= TERM_MAX,
    "Number": lambda value: type(value) is int and 0 <= value < 1 << 63,
    "bool": lambda value: type(value) is bool,
    "NodeIds": lambda value: (
        type(value) is list
        and len(value) <= MEMBERS_MAX
        and all(type(name) is str and 0 < len(name) <= NODE_ID_CHARACTERS_MAX for name in value)
    ),
}
"""What a field of each type takes, said once more."""


def _append(*frames: Frame) -> AppendEntries:
    return AppendEntries(7, 7, 7, commit=7, round=7, attempt=7, frames=list(frames))


def _packet(messages: list[tuple[int, Message]]) -> tuple[bytes, bytes]:
    header, *body = encode_packet(messages)
    return bytes(header), b"".join(body)


def test_every_kind_survives_the_journey() -> None:
    """Several groups in one packet, with frames and a state among them."""
    messages = [(number, example_of(kind)) for number, kind in enumerate(KINDS)]
    messages += [
        (1, _append(frame(2, 1, b"payload", records=3), frame(3, 1, b"", offset=3))),
        (2, FramesResponse(7, [frame(2, 1, b"payload")])),
        (3, replace(example_of(InstallSnapshot), state=b"state")),
        (4, SnapshotChunk(7, 7, 7, b"state")),
    ]
    assert decode_packet(*_packet(messages)) == messages


MEMBERS = ["n1", "n2"], ["n3"]
BYTES: list[tuple[Message, int, list[Any]]] = [
    (AppendEntries(term=1, prev_index=2, prev_term=3, commit=4, round=5, attempt=6), 0, [1, 2, 3, 4, 5, 6]),
    (
        AppendEntriesResponse(
            term=1, next_index=2, success=True, reset=False, round=5, attempt=6, trusted=True
        ),
        1,
        [1, 2, True, False, 5, 6, True],
    ),
    (StaleTerm(term=1), 2, [1]),
    (RequestVote(term=1, last_index=2, last_term=3), 3, [1, 2, 3]),
    (RequestVoteResponse(term=1), 4, [1]),
    (RequestPreVote(term=1, last_index=2, last_term=3), 5, [1, 2, 3]),
    (RequestPreVoteResponse(term=1, granted=True, own_term=3), 6, [1, True, 3]),
    (TimeoutNow(term=1), 7, [1]),
    (InstallSnapshot(1, 2, 3, 4, *MEMBERS, round=7, attempt=8), 8, [1, 2, 3, 4, *MEMBERS, 7, 8]),
    (ReadIndexRequest(id=1), 9, [1]),
    (ReadIndexResponse(id=1, index=2, ok=True), 10, [1, 2, True]),
    (Quiesce(term=1, commit=2, last_index=3, last_term=4), 11, [1, 2, 3, 4]),
    (ReplicaGone(term=1), 12, [1]),
    (FramesRequest(id=1, first=2, last=3), 13, [1, 2, 3]),
    (FramesResponse(id=1), 14, [1]),
    (SnapshotOffer(1, 2, 3, 4, *MEMBERS, id=7, length=8, crc=9), 15, [1, 2, 3, 4, *MEMBERS, 7, 8, 9]),
    (SnapshotPosition(term=1, id=2, position=3, again=True), 16, [1, 2, 3, True]),
    (SnapshotChunk(term=1, id=2, position=3), 17, [1, 2, 3]),
]


@pytest.mark.parametrize(("message", "code", "fields"), BYTES, ids=lambda value: type(value).__name__)
def test_builds_understand_each_other(message: Message, code: int, fields: list[Any]) -> None:
    """The number of a kind and the order of its fields never change."""
    assert len(BYTES) == len(KINDS)
    assert encode_packet([(5, message)]) == [msgpack.packb([[5, code, fields, 0, 0]])]


def test_payloads_are_not_copied() -> None:
    """The buffers that go out are the frames' own."""
    message = _append(frame(2, 1, b"p" * 1000))
    assert any(buffer is message.frames[0].payload for buffer in encode_packet([(1, message)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "value", [-1, 1 << 31, 1 << 63, 1.5, None, "x", b"x", [], [1], [""], ["x" * 250], {}, True, 1]
)
def test_a_field_of_another_type_or_range_is_refused(kind: type[Message], value: object) -> None:
    """Each field takes one type of value, and a refusal says which field it is about."""
    hints = hints_of(kind)
    for position, (name, hint) in enumerate(hints.items()):
        if TAKES[hint](value):
            continue
        fields = list(astuple(example_of(kind)))[: len(hints)]
        fields[position] = value
        with pytest.raises(WireError, match=f"^{kind.__name__}: .* at `{name}|not MessagePack"):
            decode_packet(msgpack.packb([[1, KINDS.index(kind), fields, 0, 0]]), b"")


def test_a_frame_of_a_term_above_the_range_is_refused() -> None:
    """It would be on disk for good."""
    message = _append(frame(2, TERM_MAX, b"payload"))
    assert decode_packet(*_packet([(1, message)])) == [(1, message)]
    message = _append(frame(2, TERM_MAX + 1, b"payload"))
    with pytest.raises(WireError, match="above 2147483647"):
        decode_packet(*_packet([(1, message)]))


@pytest.mark.parametrize("strange", [{"level": LEVEL + 1}, {"kind": 9}, {"payload_type": 9}, {"flags": 0x40}])
def test_a_message_with_a_frame_of_a_newer_build_is_left_out_by_name(strange: dict[str, Any]) -> None:
    """What it is, and what this build knows; the others of the packet are taken."""
    message = _append(frame(2, 1, b"payload"), replace(frame(3, 1, b"new"), **strange))
    sound = _append(frame(2, 1, b"payload"))
    told: list[str] = []
    packet = _packet([(1, sound), (7, message), (2, sound)])
    assert decode_packet(*packet, told.append) == [(1, sound), (2, sound)]
    (reason,) = told
    assert re.match("AppendEntries of group 7: frame 3 .*, this build knows ", reason)
    with pytest.raises(WireError, match="frame 3 "):
        decode_packet(*packet)


@pytest.mark.parametrize(
    "items",
    [
        None,
        {},
        7,
        [7],
        [[1, 2]],
        [[1, 99, [], 0, 0]],
        [[1, -1, [], 0, 0]],
        [["1", 4, [7], 0, 0]],
        [[1, 4, [7], 1, 0]],
        [[1, 4, [7], 0, 5]],
        [[1, 4, [7, 7], 0, 0]],
        [[1, 4, [], 0, 0]],
        [[1, 4, 7, 0, 0]],
        [[1, 0, [1] * 6, wire.APPEND_FRAMES_MAX + 1, 0]],
        [[1, 4, [7], 0, 0]] * (wire.PACKET_MESSAGES_MAX + 1),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_header_of_another_shape_is_refused(items: object) -> None:
    """The message of kind 4 is a vote: one number."""
    assert KINDS[4] is RequestVoteResponse
    with pytest.raises(WireError):
        decode_packet(msgpack.packb(items), b"")


_NEXT_KIND = f"kind {len(KINDS)}: this build knows kinds 0 to {len(KINDS) - 1}"


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ([5, len(KINDS), [], 0, 0], _NEXT_KIND),
        ([5, 99, ["x", [1], None], 0, 0], "kind 99"),
        ([5, 4, [7, "newer"], 0, 0], r"RequestVoteResponse \(kind 4\) with 2 fields: this build knows 1"),
    ],
    ids=["the next kind", "any kind and fields", "a field more"],
)
@pytest.mark.parametrize("bulk", [False, True], ids=["bare", "with frames and state"])
def test_a_message_of_a_newer_build_is_left_out_and_told(item: list[Any], told: str, bulk: bool) -> None:
    """Those before and behind it in the packet arrive whole, whatever it carries."""
    before, behind = _append(frame(2, 1, b"payload")), _append(frame(3, 1, b"more", offset=3))
    header, body = _packet([(1, before)])
    header_behind, body_behind = _packet([(2, behind)])
    if bulk:
        item = [*item[:3], 1, 5]
    newer = frame(9, 1, b"of a newer build")
    between = newer.pack_header() + newer.payload + b"state" if bulk else b""
    items = [*msgpack.unpackb(header), item, *msgpack.unpackb(header_behind)]
    said: list[str] = []
    packed = msgpack.packb(items)
    assert decode_packet(packed, body + between + body_behind, said.append) == [(1, before), (2, behind)]
    assert len(said) == 1
    assert re.search(told, said[0])
    with pytest.raises(WireError, match=told):
        decode_packet(packed, body + between + body_behind)


@pytest.mark.parametrize(
    "sizes", [(wire.APPEND_FRAMES_MAX + 1, 0), (0, wire.STATE_BYTES_MAX + 1), (-1, 0), (0, -1)]
)
def test_a_message_of_a_newer_build_has_the_caps_of_all(sizes: tuple[int, int]) -> None:
    """What is not known may not be larger than what is."""
    with pytest.raises(WireError, match="cap"):
        decode_packet(msgpack.packb([[1, 99, [], *sizes]]), b"", lambda _reason: None)


@pytest.mark.parametrize(
    "header",
    [b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x80\x04\x95.", b"\xc7\x01\x01x"],
    ids=["nothing", "reserved", "deep", "four billion items", "a pickle", "an extension"],
)
def test_foreign_bytes_are_refused(header: bytes) -> None:
    """C5: nothing is allocated, unpickled or executed for them."""
    with pytest.raises(WireError):
        decode_packet(header, b"")


def test_a_body_that_does_not_fit_its_header_is_refused() -> None:
    """Too short, too long, a flipped bit in a frame, above the cap."""
    message = _append(frame(2, 1, b"payload"))
    header, body = _packet([(1, message)])
    flipped = bytearray(body)
    flipped[-1] ^= 1
    for wrong in (body[:-1], body + b"x", b"", bytes(flipped), bytes(len(body))):
        with pytest.raises(WireError):
            decode_packet(header, wrong)
    with pytest.raises(WireError, match="cap"):
        decode_packet(bytes(wire.PACKET_HEADER_BYTES_MAX + 1), b"")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_packets_raise_nothing_else(seed: int) -> None:
    """Whatever bits flip, the answer is messages or WireError."""
    rng = random.Random(seed)
    message = _append(frame(2, 1, b"payload"))
    header, body = _packet(
        [(1, message), (2, example_of(InstallSnapshot)), (3, example_of(AppendEntriesResponse))]
    )
    for _ in range(200):
        damaged = bytearray(header)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        with contextlib.suppress(WireError):
            decode_packet(bytes(damaged), body)
