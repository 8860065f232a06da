"""Messages between replicas as bytes: the pure codec, with its caps. No sockets here.

A *packet* carries messages of several groups, so that the heartbeats of a thousand groups to one peer are
one write. It has two parts, which the link frames with their lengths:

    header   MessagePack: [[raft group, kind, [field, ...], number of frames, bytes of state], ...]
    body     for each message in turn: its frames (64-byte header and payload each, as on disk), its state

Kinds and fields are those of messages.py, and nothing else is accepted: missing fields, wrong types, values
out of bounds, sizes above the caps and bytes left over are a ``WireError``, after which the link is closed.
Payload bytes are never packed or copied on the way out.

A kind that is not known, a known one with more fields, or a frame that this build cannot read comes from a
newer build. Such a message is left out and told to ``too_new``; the others of its packet are taken. To its
group it is a message that was lost, which groups live with. To close the link instead would lose votes and
heartbeats of all groups with it, on each new connection again, and nodes without links elect no leader. (What
follows in the packet can be found, for the sizes stand beside the kind.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgpack
from floodmark.errors import InvalidBatch, TooNew
from floodmark.format.frame import HEADER_BYTES, Frame, decode_header, unlike_payload
from msgspec import ValidationError, convert
from msgspec.structs import astuple, force_setattr

from consensus.messages import (
    KINDS,
    NODE_ID_CHARACTERS_MAX,
    AppendEntries,
    FramesResponse,
    InstallSnapshot,
    Message,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotPosition,
)
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


class WireError(Exception):
    """Bytes from a peer that no sound peer sends. The link is closed."""


COMMIT_WITH_QUIESCE: Final = 5
"""The version of the peer protocol from which on a follower learns of a commit by ``quiesce`` too."""
REQUESTS: Final = 6
"""... and from which on nodes ask each other over bulk connections, and tell what they lead."""
NEWEST_VERSION: Final = REQUESTS
"""The version of the peer protocol that has all that is here."""
SINCE: Final[dict[type[Message], int]] = dict.fromkeys((SnapshotOffer, SnapshotPosition, SnapshotChunk), 4)
"""Kinds that the first version has not, and the one that has them: no older build is sent them."""


class _Shape(NamedTuple):
    """A kind as the codec wants it."""

    code: int
    kind: type[Message]
    names: tuple[str, ...]
    """Of the fields that are packed."""
    frames_max: int
    state_max: int

    @property
    def name(self) -> str:
        return self.kind.__name__


def _shape(code: int, kind: type[Message]) -> _Shape:
    names = tuple(name for name in kind.__struct_fields__ if name not in _RAW)
    frames_max = APPEND_FRAMES_MAX if "frames" in kind.__struct_fields__ else 0
    return _Shape(code, kind, names, frames_max, _STATE_MAX.get(kind, 0))


_RAW: Final = ("frames", "state")
"""What travels as raw bytes, and stands behind all other fields of its class."""
_STATE_MAX: Final[dict[type[Message], int]] = {
    InstallSnapshot: STATE_BYTES_MAX,
    SnapshotChunk: CHUNK_BYTES_MAX,
}
_SHAPES: Final = [_shape(code, kind) for code, kind in enumerate(KINDS)]
_SHAPE_OF: Final = {shape.kind: shape for shape in _SHAPES}
_ITEM_TYPES = [int, int, list, int, int]
_pack = msgpack.Packer().pack
"""``msgpack.packb`` makes a packer, with a quarter of a megabyte, for every call."""


def size_of(message: Message) -> int:
    """About how many bytes the message takes on the wire, for bounds on queues."""
    size = 64
    if isinstance(message, (AppendEntries, FramesResponse)):
        for frame in message.frames:
            size += HEADER_BYTES + len(frame.payload)
    elif isinstance(message, (InstallSnapshot, SnapshotChunk)):
        size += len(message.state)
    return size


def encode_packet(messages: Sequence[tuple[int, Message]]) -> list[Buffer]:
    """The header, then the buffers that make up the body. Payloads are passed on, not copied."""
    head = []
    body: list[Buffer] = []
    for raft_group, message in messages:
        shape = _SHAPE_OF[type(message)]
        values = astuple(message)
        frames = state = 0
        if shape.frames_max:
            values, sent = values[:-1], values[-1]
            frames = len(sent)
            for frame in sent:
                body.append(frame.pack_header())
                if frame.payload:
                    body.append(frame.payload)
        elif shape.state_max:
            values, raw = values[:-1], values[-1]
            state = len(raw)
            if raw:
                body.append(raw)
        head.append((raft_group, shape.code, values, frames, state))
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
            too_new(f"{type(message).__name__} of group {raft_group}: {strange}")
            message = None
        if state and position + state > len(view):
            raise WireError("a state that ends before its length")
        if message is not None:
            # The message is not shared yet.
            if frames:
                force_setattr(message, "frames", sent)
            if state:
                force_setattr(message, "state", bytes(view[position : position + state]))
            found.append((raft_group, message))
        position += state
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
    if not (0 <= raft_group < 1 << 63 and code >= 0):
        raise WireError("a message without a group and kind")
    if code >= len(_SHAPES) or len(values) > len(_SHAPES[code].names):
        _check_sizes("a message of a newer build", frames, APPEND_FRAMES_MAX, state, STATE_BYTES_MAX)
        if code >= len(_SHAPES):
            too_new(f"a message of kind {code}: this build knows kinds 0 to {len(_SHAPES) - 1}")
        else:
            shape = _SHAPES[code]
            too_new(
                f"{shape.name} (kind {code}) with {len(values)} fields: this build knows {len(shape.names)}"
            )
        return raft_group, None, frames, state
    shape = _SHAPES[code]
    try:
        message = convert(values, shape.kind)
    except ValidationError as error:
        raise WireError(_reason(shape, error)) from None
    _check_sizes(shape.name, frames, shape.frames_max, state, shape.state_max)
    return raft_group, message, frames, state


def _reason(shape: _Shape, error: ValidationError) -> str:
    """What is wrong with the fields, which the error tells by their places."""
    told = re.sub(r"\$\[(\d+)\]", lambda match: shape.names[int(match[1])], str(error), count=1)
    return f"{shape.name}: {told}"


def _check_sizes(kind: str, frames: int, frames_max: int, state: int, state_max: int) -> None:
    if not 0 <= frames <= frames_max:
        raise WireError(f"{kind} with a number of frames above its cap")
    if not 0 <= state <= state_max:
        raise WireError(f"{kind} with a state above its cap")


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
