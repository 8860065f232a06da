"""When queues may deliver the records of a batch: an attribute of its frame, and what asks for it.

The records themselves are as any others: whoever reads the topic gets them at once.
"""

from __future__ import annotations

from typing import Any, Final

from floodmark.errors import InvalidBatch
from floodmark.format.batch_header import BatchHeader
from floodmark.format.frame import Frame, FrameFlag, FrameHeader
from floodmark.format.frame_attributes import Attribute, attributes, pack
from floodmark.format.frame_records import PayloadForm, form_of
from floodmark.format.position import Position

DELIVER_AT_MAX: Final = 253_402_300_799_999
"""The end of the year 9999."""
_ATTRIBUTES: Final = int(FrameFlag.ATTRIBUTES)


def with_attributes(
    batch: bytes, header: BatchHeader, position: Position | None, deliver_at_ms: int | None
) -> tuple[bytes, PayloadForm]:
    """The payload of the frame that stores a batch and these, and its form. Not for batches of format 1."""
    said: dict[int, Any] = {}
    if deliver_at_ms is not None:
        said[int(Attribute.DELIVER_AT)] = deliver_at_ms
    if position is not None:
        said[int(Attribute.POSITION)] = position
    form = form_of(header)
    return batch + pack(said), form._replace(flags=form.flags | _ATTRIBUTES)


def deliver_at_in(frame: Frame | FrameHeader, payload: bytes | memoryview) -> int | None:
    """Milliseconds since the Unix epoch in a frame whose payload was verified; None for at once.

    Raises ``InvalidBatch`` for what is no time.
    """
    if not frame.flags & _ATTRIBUTES:
        return None
    said: Any = attributes(frame, payload).get(int(Attribute.DELIVER_AT))
    if said is not None and (type(said) is not int or not 0 <= said <= DELIVER_AT_MAX):
        raise InvalidBatch(f"the time of delivery in frame {frame.index} cannot be: {said!r:.100}")
    return said
