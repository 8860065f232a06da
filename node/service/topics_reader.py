"""Reading several topics, each by a reader of its own, in rounds over all of them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from floodmark.errors import OffsetBelowStart, OffsetPastEnd

from node.service.topic_reader import TopicReader
from node.service.unpacking import Slice


class Lost(NamedTuple):
    """Records that retention removed before they were read: told once."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int


class TopicsReader:
    """What is read is let go of as ``TopicReader`` does it, and positions are nothing but what is moved."""

    def __init__(self) -> None:
        self.first = 0
        """With which topic a round begins, of as many as there are."""
        self._readers: dict[str, TopicReader] = {}
        self._turns: list[str] = []
        self._round_bytes = 0
        self.lost: list[Lost] = []

    @property
    def is_empty(self) -> bool:
        """Whether no topic is read."""
        return not self._readers

    def add(self, name: str, reader: TopicReader) -> None:
        """One more."""
        self._readers[name] = reader

    def clear(self) -> None:
        """Read none of them any more."""
        self.let_go()
        self._readers = {}

    def positions(self) -> dict[tuple[int, int], int]:
        """Where reading goes on, by topic id and partition, as far as that is known."""
        return {
            (reader.topic_id, partition.number): offset
            for reader in self._readers.values()
            for partition, offset in zip(reader.partitions, reader.offsets, strict=True)
        }

    def begin(self, *, max_bytes: int) -> None:
        """Begin to read what there is in all partitions."""
        self._round_bytes = max_bytes
        names = list(self._readers)
        begin = self.first % len(names) if names else 0
        self._turns = names[begin:] + names[:begin]
        for reader in self._readers.values():
            reader.begin(max_bytes=max(1, max_bytes // len(names)))

    async def next(self) -> tuple[str, Slice] | None:
        """The next records of this round with their topic; None at its end. Raises as ``TopicReader.next``,
        but notes what retention has removed, and goes on behind it."""
        while self._turns:
            name = self._turns[0]
            reader = self._readers[name]
            try:
                part = await reader.next()
            except OffsetBelowStart as error:
                number, start = error.fields.get("partition"), error.fields.get("log_start_offset")
                if not isinstance(number, int) or not isinstance(start, int):
                    raise
                was = self.positions()[reader.topic_id, number]
                self.lost.append(Lost(name, number, was, start))
                reader.move(number, start)
                reader.begin(max_bytes=self._round_bytes)
                continue
            except OffsetPastEnd as error:
                error.fields["topic"] = name
                raise
            if part is not None:
                return name, part
            self._turns.pop(0)
        return None

    def move(self, name: str, partition: int, offset: int) -> None:
        """All records of a partition below ``offset`` were taken."""
        self._readers[name].move(partition, offset)

    def let_go(self) -> None:
        """Hold nothing that was read ahead."""
        for reader in self._readers.values():
            reader.let_go()

    async def wait(self, wait_s: float) -> None:
        """Until there may be something new in any of them; meanwhile nothing is held."""
        waiting = [asyncio.ensure_future(reader.wait(wait_s)) for reader in self._readers.values()]
        try:
            if waiting:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
            else:
                await asyncio.sleep(wait_s)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
