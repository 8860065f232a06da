"""Reading topics as a member of a group. Made by ``client.consume``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

from floodmark.admin.topics import Topics
from floodmark.errors import FloodmarkError, InvalidRequest, NotUsable
from floodmark.groups.arrivals import Arrivals
from floodmark.groups.assignment import Assignment
from floodmark.groups.callbacks import tell_of
from floodmark.groups.commits import Commits
from floodmark.groups.member import Member
from floodmark.groups.options import ConsumeOptions
from floodmark.groups.owned import Chunk, Owned, stop_all
from floodmark.groups.shapes import GroupRecord, TopicPartition
from floodmark.groups.standing import Standing
from floodmark.transport.http import Transport
from floodmark.transport.pacing import may_pass

_LOG: Final = logging.getLogger("floodmark")


class GroupConsumer:
    """Records of the partitions that the group gives to this member; each partition's in order.

    Iterate it once: ``async for record in consumer``. Heartbeats go on in the background for as long as it is
    open, however long the program takes for a record. What the group takes away is given up between two
    records, after its position is committed. ``aclose``, the end of ``async with`` and leaving the loop
    commit what is done with, and leave the group at once.
    """

    def __init__(self, transport: Transport, topics: Topics, options: ConsumeOptions) -> None:
        self._transport = transport
        self._topics = topics
        self._options = options
        self._member = Member(transport, options)
        self._arrivals = Arrivals(options)
        self._standing = Standing(self._arrivals.wake)
        self._commits = Commits(options, self._member, self._standing)
        self._assignment = Assignment(
            transport, options, self._member, self._standing, self._arrivals, self._commits
        )
        self._current: Owned | None = None
        """Of the record that the program has in hand."""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_iterated = self._is_stopped = False
        self.is_in_block = False
        """Whether the end of a ``with`` block closes it, and not that of the loop: so that it can commit."""

    # -- for the program -------------------------------------------------------------------------------

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions that it reads now."""
        return sorted(owned.place for owned in self._standing.owned.values())

    @property
    def member_id(self) -> str:
        """Under which the group knows it; empty before it has joined, and after it has left."""
        return self._member.id

    async def __aiter__(self) -> AsyncGenerator[GroupRecord, None]:
        self._begin()
        standing = self._standing
        try:
            await self.open()
            while (chunk := await self.take()) is not None:
                owned = chunk.owned
                for record in chunk.records:
                    owned.at = record.offset
                    yield record
                    if standing.needs_pause and await self.pause():
                        break
                else:
                    self.finish(chunk)
        finally:
            if not self.is_in_block:
                await self.aclose()

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit positions: those given, or, of all partitions, behind the last record that was handed out,
        the one in hand included.

        Raises ``UnknownMember`` or ``FencedMemberEpoch`` where the group has gone on without this member,
        ``InvalidRequest`` for a partition that it does not read.
        """
        standing = self._standing
        if offsets is None:
            await self._commits.commit(
                lambda: {owned: self._behind(owned) for owned in standing.owned.values()}
            )
            return
        by_place = {owned.place: owned for owned in standing.owned.values()}
        for place in offsets:
            if place not in by_place:
                raise InvalidRequest(f"this member does not read partition {place[1]} of {place[0]}")
        await self._commits.commit(lambda: {by_place[place]: offset for place, offset in offsets.items()})

    def _behind(self, owned: Owned) -> int | None:
        if owned is self._current and owned.at is not None:
            return owned.at + 1
        return owned.at

    def stop(self) -> None:
        """Have the loop end by itself before the next record; for another task of the same event loop."""
        self._is_stopped = True
        self._standing.call_attention()

    async def open(self) -> None:
        """Join the group; ``async with`` and the loop call this.

        Raises ``UnknownTopic`` for a topic that does not exist, and what the group refuses a member for.
        """
        self._transport.home.check()
        if self._standing.is_closed:
            raise NotUsable("this consumer is closed", sent=False)
        if self._tasks:
            return
        for topic in self._options.topics:
            await self._topics.describe(topic, timeout_s=self._options.timeout_s)
        await self._assignment.join()
        self._tasks.append(asyncio.create_task(self._hold(self._assignment.keep)))
        if self._options.commits_by_itself:
            self._tasks.append(asyncio.create_task(self._hold(self._commits.commit_now_and_then)))

    async def _hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Work in the background keeps this consumer: a client that is closed is to find it, and close it."""
        await work()

    async def aclose(self) -> None:
        """Stop, commit what is done with, and leave: others get the partitions at once."""
        standing = self._standing
        if standing.is_closed or not self._transport.home.is_here:
            return
        standing.is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        owned = standing.drop()
        await stop_all(owned)
        try:
            if self._member.has_joined and not standing.is_fenced:
                await tell_of(self._options.on_revoked, owned)
                if self._options.commits_by_itself:
                    await self._commits.commit_done(owned)
        except FloodmarkError as error:
            if not may_pass(error):
                raise
            _LOG.warning("group %s: the last positions were not committed: %s", self._options.group, error)
        finally:
            self._current = None
            await self._member.leave()
            self._arrivals.wake()

    async def __aenter__(self) -> Self:
        self.is_in_block = True
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- for loops over chunks, as that of ``floodmark.sync`` --------------------------------------------

    @property
    def needs_pause(self) -> bool:
        """Whether ``pause`` has something to do before the next record."""
        return self._standing.needs_pause

    async def take(self) -> Chunk | None:
        """The next records of one partition; None at the end. ``finish`` it before the next one is taken."""
        standing = self._standing
        while True:
            if standing.is_changed:
                await self._assignment.attend()
            if standing.is_closed:
                raise NotUsable("the consumer was closed", sent=False)
            if self._is_stopped:
                return None
            if (chunk := self._arrivals.pop()) is not None:
                if chunk.records:
                    self._current, chunk.owned.at = chunk.owned, chunk.records[0].offset
                return chunk
            if self._is_at_end():
                return None
            await self._arrivals.wait()

    def _is_at_end(self) -> bool:
        if self._options.follow or not self._arrivals.is_empty:
            return False
        return all(owned.has_ended for owned in self._standing.owned.values())

    async def pause(self) -> bool:
        """Between two records: the last one is done with. Gives up what the group takes away.

        Returns whether nothing more of the current chunk is to be handed out; then it is not to be finished.
        """
        self._standing.needs_pause = False
        self._commits.look()
        if not self._standing.is_changed:
            return False
        current, self._current = self._current, None
        if current is not None and current.at is not None:
            current.at += 1
        await self._assignment.attend()
        if current is None or current.is_gone or self._is_stopped:
            self._arrivals.give_back()
            return True
        self._current = current
        return False

    def finish(self, chunk: Chunk) -> None:
        """All records of a chunk are done with."""
        self._current = None
        self._arrivals.give_back()
        chunk.owned.at = chunk.next_offset
        self._commits.look()

    async def finished(self, chunk: Chunk) -> None:
        """``finish``, for a loop in another thread."""
        self.finish(chunk)

    async def begin(self) -> None:
        """What such a loop calls first."""
        self._begin()
        await self.open()

    def _begin(self) -> None:
        self._transport.home.check()
        if self._is_iterated:
            raise NotUsable("a consumer is iterated once; open another one", sent=False)
        self._is_iterated = True
