"""The codec of peer messages: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import contextlib
import random
import re
from typing import Any

import msgpack
import pytest
from floodmark.format.frame import LEVEL
from msgspec.structs import replace

from consensus import wire
from consensus.types import Message
from consensus.wire import WireError, decode_packet, encode_packet
from storage.vote import TERM_MAX
from tests.support.raft import frame

EXAMPLES: dict[Any, Any] = {wire._number: 7, wire._term: 7, wire._flag: True, wire._names: ["n1", "n2"]}


def _example(kind: str) -> Message:
    return Message(kind, {name: EXAMPLES[check] for name, check in wire.SCHEMA[kind].items()})


def _packet(messages: list[tuple[int, Message]]) -> tuple[bytes, bytes]:
    header, *body = encode_packet(messages)
    return bytes(header), b"".join(body)


def test_every_kind_survives_the_journey() -> None:
    """Several groups in one packet, with frames and a state among them."""
    messages = [(number, _example(kind)) for number, kind in enumerate(wire.KINDS)]
    for _, message in messages:
        if message.kind == "append":
            message.frames = [frame(2, 1, b"payload", records=3), frame(3, 1, b"", offset=3)]
        if message.kind == "install":
            message.state = b"state"
    assert decode_packet(*_packet(messages)) == messages


def test_payloads_are_not_copied() -> None:
    """The buffers that go out are the frames' own."""
    message = _example("append")
    message.frames = [frame(2, 1, b"p" * 1000)]
    assert any(buffer is message.frames[0].payload for buffer in encode_packet([(1, message)]))


@pytest.mark.parametrize("kind", wire.KINDS)
@pytest.mark.parametrize(
    "value", [-1, 1 << 31, 1 << 63, 1.5, None, "x", b"x", [], [1], [""], ["x" * 250], {}, True, 1]
)
def test_a_field_of_another_type_or_range_is_refused(kind: str, value: object) -> None:
    """Each field takes one kind of value, and each check knows what it does not take."""
    schema = wire.SCHEMA[kind]
    for position, check in enumerate(schema.values()):
        if check(value):
            continue
        fields = [EXAMPLES[each] for each in schema.values()]
        fields[position] = value
        with pytest.raises(WireError):
            decode_packet(msgpack.packb([[1, wire.KINDS.index(kind), fields, 0, 0]]), b"")


def test_a_frame_of_a_term_above_the_range_is_refused() -> None:
    """It would be on disk for good."""
    message = _example("append")
    message.frames = [frame(2, TERM_MAX, b"payload")]
    assert decode_packet(*_packet([(1, message)])) == [(1, message)]
    message.frames = [frame(2, TERM_MAX + 1, b"payload")]
    with pytest.raises(WireError, match="above 2147483647"):
        decode_packet(*_packet([(1, message)]))


@pytest.mark.parametrize("strange", [{"level": LEVEL + 1}, {"kind": 9}, {"payload_type": 9}, {"flags": 0x40}])
def test_a_message_with_a_frame_of_a_newer_build_is_left_out_by_name(strange: dict[str, Any]) -> None:
    """What it is, and what this build knows; the others of the packet are taken."""
    message = _example("append")
    message.frames = [frame(2, 1, b"payload"), replace(frame(3, 1, b"new"), **strange)]
    sound = _example("append")
    sound.frames = [frame(2, 1, b"payload")]
    told: list[str] = []
    packet = _packet([(1, sound), (7, message), (2, sound)])
    assert decode_packet(*packet, told.append) == [(1, sound), (2, sound)]
    (reason,) = told
    assert re.match("append of group 7: frame 3 .*, this build knows ", reason)
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
    assert wire.KINDS[4] == "vote"
    with pytest.raises(WireError):
        decode_packet(msgpack.packb(items), b"")


_NEXT_KIND = f"kind {len(wire.KINDS)}: this build knows kinds 0 to {len(wire.KINDS) - 1}"


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ([5, len(wire.KINDS), [], 0, 0], _NEXT_KIND),
        ([5, 99, ["x", [1], None], 0, 0], "kind 99"),
        ([5, 4, [7, "newer"], 0, 0], r"vote \(kind 4\) with 2 fields: this build knows 1"),
    ],
    ids=["the next kind", "any kind and fields", "a field more"],
)
@pytest.mark.parametrize("bulk", [False, True], ids=["bare", "with frames and state"])
def test_a_message_of_a_newer_build_is_left_out_and_told(item: list[Any], told: str, bulk: bool) -> None:
    """Those before and behind it in the packet arrive whole, whatever it carries."""
    before, behind = _example("append"), _example("append")
    before.frames, behind.frames = [frame(2, 1, b"payload")], [frame(3, 1, b"more", offset=3)]
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
    message = _example("append")
    message.frames = [frame(2, 1, b"payload")]
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
    message = _example("append")
    message.frames = [frame(2, 1, b"payload")]
    header, body = _packet([(1, message), (2, _example("install")), (3, _example("ack"))])
    for _ in range(200):
        damaged = bytearray(header)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        with contextlib.suppress(WireError):
            decode_packet(bytes(damaged), body)
