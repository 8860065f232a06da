"""A message on its way: through the real wire codec, or copied so that nothing is shared by reference."""

from __future__ import annotations

from msgspec.structs import astuple

from consensus.messages import Message
from consensus.wire import decode_packet, encode_packet
from tests.simulation.violation import require

RAFT_GROUP = 7


def through_wire(message: Message) -> Message:
    """What the receiver's link makes of the bytes that the sender's link makes."""
    header, *body = encode_packet([(RAFT_GROUP, message)])
    [(raft_group, decoded)] = decode_packet(header, b"".join(body))
    require(
        (raft_group, decoded) == (RAFT_GROUP, message),
        "the wire changes nothing",
        lambda: f"{message} came out as {decoded}",
    )
    return decoded


def copied(message: Message) -> Message:
    """The same message with containers of its own; frames and bytes are immutable."""
    fields = astuple(message)
    return type(message)(*(list(value) if isinstance(value, list) else value for value in fields))
