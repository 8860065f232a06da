"""How far a group has processed a partition of its source: what a batch made from that carries.

A position is stored in one frame with the records that were made from everything before its next offset, as
an attribute, MessagePack ``[group, source topic id, source partition, next offset]``. So a partition has a
position and its records together or not at all.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from floodmark.errors import InvalidBatch, InvalidRequest
from floodmark.format.frame import Frame, FrameHeader
from floodmark.format.frame_attributes import Attribute, attributes, pack
from floodmark.format.names import check_name

HEADER: Final = "Floodmark-Position"
"""Of a produce request: the four members, with semicolons between them."""
_NUMBER_MAX: Final = (1 << 62) - 1
_PARTITION_MAX: Final = (1 << 31) - 1
_DIGITS_MAX: Final = 19
_FORM: Final = "group;topic-id;partition;next-offset"


class Source(NamedTuple):
    """A partition as one group processes it: what positions are kept for. ``topic_id``: never that of a topic
    created later under the same name."""

    group: str
    topic_id: int
    partition: int

    def check(self) -> Source:
        """Itself. Raises ``InvalidName``, ``InvalidRequest`` for what no partition can keep."""
        check_name(self.group)
        if not 1 <= self.topic_id <= _NUMBER_MAX:
            raise InvalidRequest(f"a position's topic id is 1 to {_NUMBER_MAX}, not {self.topic_id}")
        if not 0 <= self.partition <= _PARTITION_MAX:
            raise InvalidRequest(f"a position's partition is 0 to {_PARTITION_MAX}, not {self.partition}")
        return self


class Position(NamedTuple):
    """All records of the source before ``next_offset`` are processed."""

    group: str
    topic_id: int
    partition: int
    next_offset: int

    @property
    def source(self) -> Source:
        """What it is a position in."""
        return Source(self.group, self.topic_id, self.partition)

    def check(self) -> Position:
        """Itself. Raises ``InvalidName``, ``InvalidRequest`` for what no partition can keep."""
        self.source.check()
        if not 0 <= self.next_offset <= _NUMBER_MAX:
            raise InvalidRequest(f"a position's next offset is 0 to {_NUMBER_MAX}, not {self.next_offset}")
        return self

    def as_header(self) -> str:
        """As ``of_header`` reads it."""
        return ";".join(str(member) for member in self)


def of_header(text: str) -> Position:
    """The position in a request's header. Raises ``InvalidRequest``, ``InvalidName``."""
    members = [member.strip() for member in text.split(";", 4)]
    numbers = members[1:]
    if len(members) != 4 or not all(
        number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX for number in numbers
    ):
        raise InvalidRequest(f"{HEADER} is {_FORM}, as in billing;17;0;1042")
    topic_id, partition, next_offset = map(int, numbers)
    return Position(members[0], topic_id, partition, next_offset).check()


def behind(batch: bytes, position: Position) -> bytes:
    """The payload of the frame that stores a batch and its position."""
    return batch + pack({int(Attribute.POSITION): position})


def position_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> Position | None:
    """The position in a frame whose payload was verified; None where it has none.

    Raises ``InvalidBatch`` for what is none.
    """
    said: Any = attributes(frame, payload).get(int(Attribute.POSITION))
    if said is None:
        return None
    if not isinstance(said, list) or [type(member) for member in said] != [str, int, int, int]:
        raise InvalidBatch(f"the position in frame {frame.index} is not [group, topic id, partition, offset]")
    try:
        return Position(*said).check()
    except InvalidRequest as error:
        raise InvalidBatch(f"the position in frame {frame.index} cannot be: {error.detail}") from error
