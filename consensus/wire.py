"""Messages between replicas as bytes: a strict schema per kind and the pure codec. No sockets here.

A *packet* carries messages of several groups, so that the heartbeats of a thousand groups to one peer are
one write. It has two parts, which the link frames with their lengths:

    header   MessagePack: [[group id, kind, [field, ...], number of frames, bytes of state], ...]
    body     for each message in turn: its frames (64-byte header and payload each, as on disk), its state

Fields stand in the order of ``SCHEMA`` and nothing else is accepted: missing fields, wrong types, integers
outside of 0 to 2^63-1, sizes above the caps and bytes left over are a ``WireError``, after which the link is
closed. Payload bytes are never packed or copied on the way out.

A kind that is not known, a known one with more fields, or a frame that this build cannot read comes from a
newer build. Such a message is left out and told to ``too_new``; the others of its packet are taken. To its
group it is a message that was lost, which groups live with. To close the link instead would lose votes and
heartbeats of all groups with it, on each new connection again, and nodes without links elect nobody. (What
follows in the packet can be found, for the sizes stand beside the kind.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgpack
from floodmark.errors import InvalidBatch, TooNew
from floodmark.format.frame import HEADER_BYTES, Frame, decode_header, unlike_payload

from consensus.types import Message
from storage.vote import TERM_MAX

Buffer = bytes | bytearray | memoryview

PACKET_HEADER_BYTES_MAX: Final = 1 << 20
"""The MessagePack part of one packet."""
PACKET_BODY_BYTES_MAX: Final = 32 << 20
"""The raw part of one packet."""
PACKET_MESSAGES_MAX: Final = 4096
"""Messages in one packet."""
APPEND_FRAMES_MAX: Final = 8192
"""Frames in one append."""
STATE_BYTES_MAX: Final = 30 << 20
"""A machine's state in one install."""
CHUNK_BYTES_MAX: Final = 2 << 20
"""Of a state file in one message: a block has at most the half."""
MEMBERS_MAX: Final = 64
"""Voters, or learners, of one group."""
NODE_ID_CHARACTERS_MAX: Final = 249
"""A node's id."""

_INTEGER_MAX = (1 << 63) - 1


class WireError(Exception):
    """Bytes from a peer that no sound peer sends. The link is closed."""


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _INTEGER_MAX


def _term(value: object) -> bool:
    return type(value) is int and 0 <= value <= TERM_MAX


def _flag(value: object) -> bool:
    return type(value) is bool


def _names(value: object) -> bool:
    return (
        type(value) is list
        and len(value) <= MEMBERS_MAX
        and all(type(name) is str and 0 < len(name) <= NODE_ID_CHARACTERS_MAX for name in value)
    )


Check = Callable[[object], bool]

SCHEMA: Final[dict[str, dict[str, Check]]] = {
    # The leader's entries after (prev_index, prev_term), or a heartbeat when it has no frames. ``round``
    # counts the leader's broadcasts in its term; ``attempt`` how often it set this follower's position back.
    "append": {
        "term": _term,
        "prev_index": _number,
        "prev_term": _term,
        "commit": _number,
        "round": _number,
        "attempt": _number,
    },
    # The answer: with ``success``, everything below next_index is durable here and as the leader has it;
    # with ``reset``, the leader is to continue at next_index. ``trusted`` is false after a loss of data.
    "ack": {
        "term": _term,
        "next_index": _number,
        "success": _flag,
        "reset": _flag,
        "round": _number,
        "attempt": _number,
        "trusted": _flag,
    },
    # An append or install came in an older term than the receiver's: the sender is deposed.
    "stale": {"term": _term},
    "vote_request": {"term": _term, "last_index": _number, "last_term": _term},
    "vote": {"term": _term},
    # Asked before an election, with the term that it would have; changes nothing at the receiver.
    "prevote_request": {"term": _term, "last_index": _number, "last_term": _term},
    "prevote": {"term": _term, "granted": _flag, "own_term": _term},
    # A leader that hands over asks its successor to start an election at once.
    "timeout_now": {"term": _term},
    # Replaces a follower's log that ends before the leader's begins: empty after entry ``index``.
    "install": {
        "term": _term,
        "index": _number,
        "entry_term": _term,
        "offset": _number,
        "voters": _names,
        "learners": _names,
        "round": _number,
        "attempt": _number,
    },
    # A follower asks how far it must have applied to serve a read; not ``ok``: the asked does not lead.
    "read_request": {"id": _number},
    "read_index": {"id": _number, "index": _number, "ok": _flag},
    # The leader has nothing to say and stops its heartbeats; followers with this log stop their clocks. Those
    # that speak no version 5 of the protocol do so only if they know of the commit already.
    "quiesce": {"term": _term, "commit": _number, "last_index": _number, "last_term": _term},
    # The sender's replica of this group does not run (any more): its disk failed, or it was removed.
    "absent": {"term": _term},
    # A replica cannot read committed frames of its own log. The answer has the first of them, or none.
    "frames_request": {"id": _number, "first": _number, "last": _number},
    "frames": {"id": _number},
    # A follower's log ends before the leader's begins, and the state is large: the leader would send the file
    # of it, which has so many bytes and this checksum. In place of an install.
    "state_offer": {
        "term": _term,
        "index": _number,
        "entry_term": _term,
        "offset": _number,
        "voters": _names,
        "learners": _names,
        "id": _number,
        "length": _number,
        "crc": _number,
    },
    # The answer, and after it how far the file is durable there; ``again``: what follows is to be sent anew.
    "state_wanted": {"term": _term, "id": _number, "position": _number, "again": _flag},
    # Whole blocks of the file, as its state; at position 0 its header before them.
    "state_chunk": {"term": _term, "id": _number, "position": _number},
}

KINDS: Final = tuple(SCHEMA)
COMMIT_WITH_QUIESCE: Final = 5
"""The version of the peer protocol from which on a follower learns of a commit by ``quiesce`` too."""
NEWEST_VERSION: Final = COMMIT_WITH_QUIESCE
"""The version of the peer protocol that has all that is here."""
SINCE: Final = dict.fromkeys(("state_offer", "state_wanted", "state_chunk"), 4)
"""Kinds that the first version has not, and the one that has them: no older build is sent them."""


class _Shape(NamedTuple):
    """A kind as the codec wants it. Field by field, the checks had taken a node a twentieth of its time."""

    code: int
    kind: str
    names: tuple[str, ...]
    types: list[type] | None
    """Of the values, where numbers and flags are all there is: their types and range say it all."""
    terms: tuple[int, ...]
    """Which of the fields are terms."""
    frames_max: int
    state_max: int


def _shape(code: int, kind: str) -> _Shape:
    types: dict[Check, type] = {_number: int, _term: int, _flag: bool}
    checks = list(SCHEMA[kind].values())
    return _Shape(
        code,
        kind,
        tuple(SCHEMA[kind]),
        [types[check] for check in checks] if types.keys() >= set(checks) else None,
        tuple(place for place, check in enumerate(checks) if check is _term),
        APPEND_FRAMES_MAX if kind in ("append", "frames") else 0,
        {"install": STATE_BYTES_MAX, "state_chunk": CHUNK_BYTES_MAX}.get(kind, 0),
    )


_SHAPES = [_shape(code, kind) for code, kind in enumerate(KINDS)]
_SHAPE_OF = {shape.kind: shape for shape in _SHAPES}
_ITEM_TYPES = [int, int, list, int, int]
_pack = msgpack.Packer().pack
"""``msgpack.packb`` makes a packer, with a quarter of a megabyte, for every call."""


def size_of(message: Message) -> int:
    """About how many bytes the message takes on the wire, for bounds on queues."""
    size = 64 + len(message.state)
    for frame in message.frames:
        size += HEADER_BYTES + len(frame.payload)
    return size


def encode_packet(messages: Sequence[tuple[int, Message]]) -> list[Buffer]:
    """The header, then the buffers that make up the body. Payloads are passed on, not copied."""
    head = []
    body: list[Buffer] = []
    for raft_group, message in messages:
        shape = _SHAPE_OF[message.kind]
        frames, state = message.frames, message.state
        values = list(map(message.fields.__getitem__, shape.names))
        head.append((raft_group, shape.code, values, len(frames), len(state)))
        for frame in frames:
            body.append(frame.pack_header())
            if frame.payload:
                body.append(frame.payload)
        if state:
            body.append(state)
    packed: bytes = _pack(head)
    return [packed, *body]


def _refuse(reason: str) -> None:
    raise WireError(reason)


def decode_packet(
    header: Buffer, body: Buffer, too_new: Callable[[str], None] = _refuse
) -> list[tuple[int, Message]]:
    """What ``encode_packet`` was given: (group id, message) in order. Raises ``WireError``.

    ``too_new`` is told of each message that is left out because only a newer build knows its kind, its fields
    or one of its frames.
    """
    if len(header) > PACKET_HEADER_BYTES_MAX or len(body) > PACKET_BODY_BYTES_MAX:
        raise WireError("a packet above its size cap")
    found = []
    position = 0
    view = memoryview(body)
    for item in _unpack(header):
        raft_group, message, frames, state = _message(item, too_new)
        sent, position, strange = _frames(view, position, frames)
        if strange is not None and message is not None:
            too_new(f"{message.kind} of group {raft_group}: {strange}")
            message = None
        if message is not None:
            message.frames = sent
        if state:
            if position + state > len(view):
                raise WireError("a state that ends before its length")
            if message is not None:
                message.state = bytes(view[position : position + state])
            position += state
        if message is not None:
            found.append((raft_group, message))
    if position != len(view):
        raise WireError("bytes after the last message of a packet")
    return found


def _unpack(header: Buffer) -> list[Any]:
    try:
        items = msgpack.unpackb(
            header,
            max_str_len=4 * NODE_ID_CHARACTERS_MAX,
            max_bin_len=0,
            max_ext_len=0,
            max_map_len=0,
            max_array_len=PACKET_MESSAGES_MAX,
        )
    # Whatever msgpack raises on foreign bytes (it has no common base class) means the same to us.
    except Exception as error:  # noqa: BLE001
        raise WireError(f"a packet header that is not MessagePack: {type(error).__name__}") from None
    if type(items) is not list:
        raise WireError("a packet header that is not a list")
    return items


def _message(item: object, too_new: Callable[[str], None]) -> tuple[int, Message | None, int, int]:
    """Group, message, number of frames and bytes of state; no message where it is too new for this build."""
    if type(item) is not list or list(map(type, item)) != _ITEM_TYPES:
        raise WireError("a message that is not a list of group, kind, fields and two sizes")
    raft_group, code, values, frames, state = item
    if not (0 <= raft_group <= _INTEGER_MAX and code >= 0):
        raise WireError("a message without a group and kind")
    if code >= len(_SHAPES) or len(values) > len(_SHAPES[code].names):
        _check_sizes("a message of a newer build", frames, APPEND_FRAMES_MAX, state, STATE_BYTES_MAX)
        if code >= len(_SHAPES):
            too_new(f"a message of kind {code}: this build knows kinds 0 to {len(_SHAPES) - 1}")
        else:
            shape = _SHAPES[code]
            too_new(
                f"{shape.kind} (kind {code}) with {len(values)} fields: this build knows {len(shape.names)}"
            )
        return raft_group, None, frames, state
    shape = _SHAPES[code]
    if list(map(type, values)) != shape.types or min(values) < 0 or max(values) > _INTEGER_MAX:
        _check_each(shape.kind, values)
    for place in shape.terms:
        if values[place] > TERM_MAX:
            raise WireError(f"a term of {shape.kind} is {values[place]}, above {TERM_MAX}")
    _check_sizes(shape.kind, frames, shape.frames_max, state, shape.state_max)
    return raft_group, Message(shape.kind, dict(zip(shape.names, values, strict=True))), frames, state


def _check_sizes(kind: str, frames: int, frames_max: int, state: int, state_max: int) -> None:
    if not 0 <= frames <= frames_max:
        raise WireError(f"{kind} with a number of frames above its cap")
    if not 0 <= state <= state_max:
        raise WireError(f"{kind} with a state above its cap")


def _check_each(kind: str, values: list[Any]) -> None:
    """Whether each field is what it must be; raises ``WireError`` with the name of one that is not."""
    schema = SCHEMA[kind]
    if len(values) != len(schema):
        raise WireError(f"{kind} has {len(schema)} fields, not {len(values)}")
    for (name, check), value in zip(schema.items(), values, strict=True):
        if not check(value):
            raise WireError(f"field {name} of {kind} is not what it must be")


def _frames(view: memoryview, position: int, count: int) -> tuple[list[Frame], int, str | None]:
    """So many frames, the position behind them, and what of them is too new for this build."""
    found, strange = [], None
    for _ in range(count):
        try:
            frame = _frame(view, position)
        except TooNew as error:
            frame = _frame(view, position, too_new_as_well=True)
            strange = strange or f"frame {error.fields['index']} {error.fields['unlike']}"
        found.append(frame)
        position += frame.size
    return found, position, strange


def _frame(view: memoryview, position: int, *, too_new_as_well: bool = False) -> Frame:
    header = decode_header(view, position, too_new_as_well=too_new_as_well)
    if header is None:
        raise WireError("no valid frame where one was announced")
    if header.term > TERM_MAX:
        raise WireError(f"a frame of term {header.term}, above {TERM_MAX}")
    try:
        frame = header.with_payload(bytes(view[position + HEADER_BYTES : position + header.size]))
    except InvalidBatch as error:
        raise WireError(str(error)) from None
    if not too_new_as_well and (strange := unlike_payload(frame)) is not None:
        raise TooNew(f"frame {frame.index} {strange}", index=frame.index, unlike=strange)
    return frame
