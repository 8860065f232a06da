"""Values of a coordinator shard's state, as MessagePack arrays.

Each begins with its ``version``. Within a version fields are only ever added at the end, with a default: a
build that does not know them passes over them. A higher version is of a newer build, and ``TooNew``.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from floodmark.errors import TooNew

VERSION: Final = 1
CLASSIC: Final = "classic"
CONSUMER: Final = "consumer"
TYPES: Final = (CLASSIC, CONSUMER)
VOID_EPOCH: Final = (1 << 31) - 1
"""The epoch of a partition that a member holds, and of which it cannot commit anything: no epoch is later, as
they are Kafka's int32."""
LEFT_EPOCH: Final = -2
"""The epoch of a static member that has left for a while: its partitions are kept for it."""


class GroupValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A group. ``topics`` has the id and the number of partitions of each topic that targets were made for.

    The targets of its members were made in the step that made ``epoch``. ``empty_since_ms`` is 0 while it has
    members. Only classic groups have what comes after: their state, the kind of protocol, the chosen one, and
    who leads.
    """

    version: int = VERSION
    type: str = CONSUMER
    epoch: int = 0
    assignor: str = ""
    topics: tuple[tuple[int, int], ...] = ()
    empty_since_ms: int = 0
    state: str = ""
    protocol_type: str = ""
    protocol_name: str = ""
    leader: str = ""


class MemberValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a member said of itself. ``pattern`` is None where it subscribes to names only.

    ``protocols`` are a classic member's: names and opaque metadata, in its order.
    """

    version: int = VERSION
    instance_id: str | None = None
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    assignor: str = ""
    session_timeout_ms: int = 0
    rebalance_timeout_ms: int = 0
    client_id: str = ""
    address: str = ""
    joined_ms: int = 0
    protocols: tuple[tuple[str, bytes], ...] = ()


class TargetValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a member is to have: topics' ids with their partitions. ``assignment`` is a classic member's."""

    version: int = VERSION
    partitions: tuple[tuple[int, tuple[int, ...]], ...] = ()
    assignment: bytes = b""


class CurrentValue(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a member has: topics' ids, epochs, and the partitions that it got in that epoch.

    ``revoking`` are those that it has been told to give up and may still work on: they are nobody else's yet.
    """

    version: int = VERSION
    epoch: int = 0
    previous_epoch: int = 0
    owned: tuple[tuple[int, int, tuple[int, ...]], ...] = ()
    revoking: tuple[tuple[int, int, tuple[int, ...]], ...] = ()


class OffsetValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A committed offset: the next one to read. ``leader_epoch`` is -1 where it was not told."""

    version: int
    offset: int
    leader_epoch: int
    commit_ms: int
    metadata: str = ""


Value = GroupValue | MemberValue | TargetValue | CurrentValue | OffsetValue
V = TypeVar("V", bound=msgspec.Struct)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final[dict[type[msgspec.Struct], msgspec.msgpack.Decoder[Any]]] = {}


def encode(value: msgspec.Struct) -> bytes:
    """As stored."""
    return _ENCODER.encode(value)


def decode(cls: type[V], data: bytes) -> V:
    """A stored value. Raises ``TooNew`` for a newer build's, and ``ValueError`` for bytes that are none."""
    decoder = _DECODERS.get(cls)
    if decoder is None:
        decoder = _DECODERS[cls] = msgspec.msgpack.Decoder(cls)
    try:
        found: V = decoder.decode(data)
    except msgspec.MsgspecError as error:
        version = _version_of(data)
        if version is None or version <= VERSION:
            raise ValueError(f"not a stored {cls.__name__}: {error}") from error
    else:
        version = found.version  # type: ignore[attr-defined]
        if version == VERSION:
            return found
    raise TooNew(
        f"a stored {cls.__name__} of version {version}; this build reads {VERSION}",
        unlike=[version, VERSION],
    )


def _version_of(data: bytes) -> int | None:
    try:
        raw = msgspec.msgpack.decode(data)
    except msgspec.MsgspecError:
        return None
    version = raw[0] if isinstance(raw, list) and raw else None
    return version if isinstance(version, int) else None
