"""The id of an event in the stream of one partition: the topic's id, the partition, and where to go on.

``17:0:42`` goes on at offset 42 of partition 0 of the topic with the id 17. A stream over all partitions has
a cursor instead.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from floodmark.errors import InvalidRequest

from node.http.query import OFFSET_MAX

_FORM = re.compile(r"([0-9]{1,19}):([0-9]{1,10}):([0-9]{1,19})", re.ASCII)


class EventId(NamedTuple):
    """See above."""

    topic_id: int
    partition: int
    next_offset: int

    def __str__(self) -> str:
        return f"{self.topic_id}:{self.partition}:{self.next_offset}"


def decode(text: str, partition: int) -> EventId | None:
    """The decoded id of an event of ``partition``; None for text of another form.

    Raises ``InvalidRequest`` for an id that was not given out for this partition.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    found = EventId(int(match[1]), int(match[2]), int(match[3]))
    if found.partition != partition:
        raise InvalidRequest(f"the event id belongs to partition {found.partition}, not to {partition}")
    if max(found.topic_id, found.next_offset) > OFFSET_MAX:
        raise InvalidRequest("invalid event id: start again without one, or with from=...")
    return found
