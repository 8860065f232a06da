"""Groups for programs without an event loop: see ``floodmark.sync``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, Unpack

from floodmark.groups.consumer import GroupConsumer
from floodmark.groups.groups import Groups as AsyncGroups
from floodmark.groups.shapes import (
    CommittedOffset,
    Group,
    GroupLag,
    GroupListing,
    GroupRecord,
    Reset,
    TopicPartition,
)
from floodmark.keywords import OfReset, Within
from floodmark.loop_thread import LoopThread


class Consuming(Iterator[GroupRecord]):
    """The result of ``consume``: an iterator, and a context manager that closes it. See ``GroupConsumer``.

    Callbacks are called in the client's own thread.
    """

    def __init__(self, thread: LoopThread, consumer: GroupConsumer) -> None:
        self._thread = thread
        # It must not refer to this object: a loop that is left has to close the consumer at once.
        self._records = _read(thread, consumer)
        self.consumer = consumer

    def __next__(self) -> GroupRecord:
        return next(self._records)

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions that it reads now."""
        return self.consumer.assignment

    def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit positions."""
        self._thread.wait(self.consumer.commit(offsets))

    def stop(self) -> None:
        """End the loop before its next record, from any thread."""

        async def stop() -> None:
            self.consumer.stop()

        if self._thread.is_running:
            self._thread.wait(stop())

    def close(self) -> None:
        """Commit what is done with, and leave the group."""
        if self._thread.is_running:
            self._thread.wait(self.consumer.aclose())

    def __enter__(self) -> Self:
        self.consumer.is_in_block = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(thread: LoopThread, consumer: GroupConsumer) -> Iterator[GroupRecord]:
    try:
        thread.wait(consumer.begin())
        while (chunk := thread.wait(consumer.take())) is not None:
            owned = chunk.owned
            for record in chunk.records:
                owned.at = record.offset
                yield record
                if consumer.needs_pause and thread.wait(consumer.pause()):
                    break
            else:
                thread.wait(consumer.finished(chunk))
    finally:
        if thread.is_running and not consumer.is_in_block:
            thread.wait(consumer.aclose())


class Groups:
    """See ``floodmark.groups.groups.Groups``."""

    def __init__(self, thread: LoopThread, groups: AsyncGroups) -> None:
        self._thread = thread
        self._groups = groups

    def list(self, prefix: str = "", **options: Unpack[Within]) -> Sequence[GroupListing]:
        """All groups whose names begin with ``prefix``."""

        async def collect() -> Sequence[GroupListing]:
            return [group async for group in self._groups.list(prefix, **options)]

        return self._thread.wait(collect())

    def describe(self, group: str, **options: Unpack[Within]) -> Group:
        """A group with its members."""
        return self._thread.wait(self._groups.describe(group, **options))

    def delete(self, group: str, **options: Unpack[Within]) -> None:
        """Delete a group and its offsets."""
        self._thread.wait(self._groups.delete(group, **options))

    def offsets(
        self, group: str, topic: str | None = None, **options: Unpack[Within]
    ) -> Sequence[CommittedOffset]:
        """What is committed."""
        return self._thread.wait(self._groups.offsets(group, topic, **options))

    def commit(self, group: str, offsets: Mapping[TopicPartition, int], **options: Unpack[Within]) -> None:
        """Commit for a group without members."""
        self._thread.wait(self._groups.commit(group, offsets, **options))

    def delete_offsets(
        self, group: str, topic: str, partition: int | None = None, **options: Unpack[Within]
    ) -> None:
        """Forget what is committed in a topic."""
        self._thread.wait(self._groups.delete_offsets(group, topic, partition, **options))

    def reset(
        self, group: str, to: str | int | Mapping[TopicPartition, int], **options: Unpack[OfReset]
    ) -> Sequence[Reset]:
        """Have a group go on elsewhere."""
        return self._thread.wait(self._groups.reset(group, to, **options))

    def lag(self, group: str, **options: Unpack[Within]) -> GroupLag:
        """How far a group is behind."""
        return self._thread.wait(self._groups.lag(group, **options))
