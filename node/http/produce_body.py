"""The body of a produce as the service sees it: decoded once the topic's limits are known."""

from __future__ import annotations

from typing import Final

from node.http.body_weight import is_heavy
from node.http.media import Media
from node.http.packers import Packers
from node.http.packing import Order
from node.http.raw_value import RecordHead
from node.http.records_in import Reading, read_records
from node.service.data_requests import Allowed
from node.service.division import Division, Incoming, Packed
from node.service.repeated_batches import TRACE


class ProduceBody:
    """Implements ``node.service.data_requests.Body``. ``raw``: the whole body, decompressed."""

    __slots__ = ("_head", "_media", "_packers", "_raw", "are_copies", "batch", "size")

    def __init__(
        self, packers: Packers, head: RecordHead, media: Media, raw: bytes, *, copies: bool = False
    ) -> None:
        self._packers = packers
        self._head = head
        self._media: Final = media
        self._raw = raw
        self.are_copies = copies
        self.batch = raw if media is Media.BATCH else None
        self.size = len(raw)

    @property
    def is_heavy(self) -> bool:
        """Whether it is decoded in a process of its own."""
        return is_heavy(self._media, self._raw)

    def read(self, allowed: Allowed) -> list[Incoming]:
        """See ``Body``."""
        return read_records(self._head, self._media, self._raw, self._reading(allowed))

    async def pack(self, allowed: Allowed, division: Division, *, timeout_s: float) -> Packed:
        """See ``Body``."""
        trace = self._head.headers.get(TRACE)
        order = Order(self._media, self._reading(allowed), trace, division)
        return await self._packers.pack(order, self._raw, timeout_s=timeout_s)

    def _reading(self, allowed: Allowed) -> Reading:
        now_ms, record_bytes_max, batch_format, as_said = allowed
        return Reading(now_ms, record_bytes_max, batch_format, self.are_copies, not as_said)
