"""Reading topics as a member of a group. Made by ``client.consume``."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from floodmark.admin.topics import Topics
from floodmark.consumer.consumed import ReadBatch
from floodmark.consumer.fetcher import FetchOptions
from floodmark.errors import FloodmarkError, InvalidRequest, NoCommittedOffset, NotUsable
from floodmark.groups.member import FENCED, Member, ToCommit
from floodmark.groups.options import ConsumeOptions
from floodmark.groups.owned import Arrival, Chunk, Owned
from floodmark.groups.shapes import Assigned, GroupRecord, TopicPartition
from floodmark.producer.memory import MemoryBudget
from floodmark.transport.http import Transport
from floodmark.transport.pacing import Backoff

_LOG: Final = logging.getLogger("floodmark")
_FETCH_BYTES_MIN: Final = 64 << 10
_FETCH_BYTES_MAX: Final = 4 << 20
_WAIT_S: Final = 10.0
_PAUSE_S: Final = 0.05
"""Between two commits while records are done with: the newest positions go with the next one."""


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
        self._budget = MemoryBudget(options.prefetch_bytes)
        self._arrived: asyncio.Queue[Arrival | None] = asyncio.Queue()
        """None: something else needs attention."""
        self._chunks: deque[tuple[Owned, ReadBatch, int]] = deque()
        self._owned: dict[tuple[int, int], Owned] = {}
        self._wanted: list[Assigned] = []
        self._held = 0
        """Bytes of the budget that the chunk in hand takes up."""
        self._current: Owned | None = None
        """Of the record that the program has in hand."""
        self._tasks: list[asyncio.Task[None]] = []
        self._beat = asyncio.Event()
        self._may_commit = asyncio.Event()
        self._committing = asyncio.Lock()
        self._failure: FloodmarkError | None = None
        self._is_fenced = self._is_changed = self._is_iterated = False
        self._is_stopped = self._closed = False
        self.is_in_block = False
        """Whether the end of a ``with`` block closes it, and not that of the loop: so that it can commit."""
        self.needs_pause = False
        """Whether ``pause`` has something to do before the next record."""

    # -- for the program -------------------------------------------------------------------------------

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions that it reads now."""
        return sorted(owned.place for owned in self._owned.values())

    @property
    def member_id(self) -> str:
        """Under which the group knows it; empty before it has joined, and after it has left."""
        return self._member.id

    async def __aiter__(self) -> AsyncGenerator[GroupRecord, None]:
        self._begin()
        try:
            await self.open()
            while (chunk := await self.take()) is not None:
                owned = chunk.owned
                for record in chunk.records:
                    owned.at = record.offset
                    yield record
                    if self.needs_pause and await self.pause():
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
        if offsets is None:
            await self._commit(lambda: {owned: self._behind(owned) for owned in self._owned.values()})
            return
        by_place = {owned.place: owned for owned in self._owned.values()}
        for place in offsets:
            if place not in by_place:
                raise InvalidRequest(f"this member does not read partition {place[1]} of {place[0]}")
        await self._commit(lambda: {by_place[place]: offset for place, offset in offsets.items()})

    def _behind(self, owned: Owned) -> int | None:
        if owned is self._current and owned.at is not None:
            return owned.at + 1
        return owned.at

    def stop(self) -> None:
        """Have the loop end by itself before the next record; for another task of the same event loop."""
        self._is_stopped = True
        self._call_attention()

    async def open(self) -> None:
        """Join the group; ``async with`` and the loop call this.

        Raises ``UnknownTopic`` for a topic that does not exist, and what the group refuses a member for.
        """
        self._transport.home.check()
        if self._closed:
            raise NotUsable("this consumer is closed", sent=False)
        if self._tasks:
            return
        for topic in self._options.topics:
            await self._topics.describe(topic, timeout_s=self._options.timeout_s)
        self._take_assignment((await self._member.join()).assignment)
        self._tasks.append(asyncio.create_task(self._keep()))
        if self._options.commit != "manual":
            self._tasks.append(asyncio.create_task(self._commit_now_and_then()))

    async def aclose(self) -> None:
        """Stop, commit what is done with, and leave: others get the partitions at once."""
        if self._closed or not self._transport.home.is_here:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        owned, self._owned = list(self._owned.values()), {}
        await _ended(owned)
        try:
            if self._member.has_joined and not self._is_fenced:
                await self._tell(self._options.on_revoked, owned)
                if self._options.commits_by_itself:
                    await self._commit_done(owned)
        except FloodmarkError as error:
            if not error.retriable:
                raise
            _LOG.warning("group %s: the last positions were not committed: %s", self._options.group, error)
        finally:
            self._current = None
            await self._member.leave()
            self._arrived.put_nowait(None)

    async def __aenter__(self) -> Self:
        self.is_in_block = True
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- for loops over chunks, as that of ``floodmark.sync`` --------------------------------------------

    async def take(self) -> Chunk | None:
        """The next records of one partition; None at the end. ``finish`` it before the next one is taken."""
        while True:
            if self._is_changed:
                await self._attend()
            if self._closed:
                raise NotUsable("the consumer was closed", sent=False)
            if self._is_stopped or self._is_at_end():
                return None
            if self._chunks:
                owned, batch, size = self._chunks.popleft()
                if owned.is_gone:
                    self._budget.give(size)
                    continue
                chunk = Chunk(owned, batch)
                self._held = size
                if chunk.records:
                    self._current, owned.at = owned, chunk.records[0].offset
                return chunk
            arrival = await self._arrived.get()
            if arrival is not None:
                await self._take_in(arrival)

    async def pause(self) -> bool:
        """Between two records: the last one is done with. Gives up what the group takes away.

        Returns whether nothing more of the current chunk is to be handed out; then it is not to be finished.
        """
        self.needs_pause = False
        self._may_commit.set()
        if not self._is_changed:
            return False
        current, self._current = self._current, None
        if current is not None and current.at is not None:
            current.at += 1
        await self._attend()
        if current is None or current.is_gone or self._is_stopped:
            self._give_back()
            return True
        self._current = current
        return False

    def finish(self, chunk: Chunk) -> None:
        """All records of a chunk are done with."""
        self._current = None
        self._give_back()
        chunk.owned.at = chunk.next_offset
        self._may_commit.set()

    def _give_back(self) -> None:
        size, self._held = self._held, 0
        self._budget.give(size)

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

    # -- what arrives ----------------------------------------------------------------------------------

    async def _take_in(self, arrival: Arrival) -> None:
        owned = arrival.owned
        if owned.is_gone:
            self._budget.give(arrival.size)
            return
        if arrival.error is not None:
            raise arrival.error
        if arrival.gap is not None:
            await self._tell_gap(owned, *arrival.gap)
        owned.has_ended = arrival.is_end
        last = len(arrival.batches) - 1
        for number, batch in enumerate(arrival.batches):
            self._chunks.append((owned, batch, arrival.size if number == last else 0))

    async def _tell_gap(self, owned: Owned, first: int, following: int) -> None:
        owned.at = following
        place = owned.place
        if self._options.on_gap is None:
            _LOG.warning(
                "group %s: %d records of partition %d of topic %s, offsets %d to %d, were removed by "
                "retention before they were read",
                self._options.group,
                following - first,
                place.partition,
                place.topic,
                first,
                following - 1,
            )
            return
        told = self._options.on_gap(place, first, following)
        if inspect.isawaitable(told):
            await told

    def _is_at_end(self) -> bool:
        if self._options.follow or self._chunks or not self._arrived.empty():
            return False
        return all(owned.has_ended for owned in self._owned.values())

    # -- membership ------------------------------------------------------------------------------------

    def _call_attention(self) -> None:
        self._is_changed = self.needs_pause = True
        self._arrived.put_nowait(None)

    def _take_assignment(self, wanted: list[Assigned]) -> None:
        self._wanted = wanted
        if {(*_key(one), one.epoch) for one in wanted} != {
            (*key, owned.epoch) for key, owned in self._owned.items()
        }:
            self._call_attention()
        elif not self._is_changed:
            self._member.epoch_read = self._member.epoch

    async def _keep(self) -> None:
        """Say that this member lives, for as long as it is open."""
        backoff = Backoff()
        while self._failure is None:
            try:
                async with asyncio.timeout(self._member.heartbeat_s):
                    await self._beat.wait()
            except TimeoutError:
                pass
            self._beat.clear()
            if self._is_fenced:
                continue
            try:
                self._take_assignment((await self._member.heartbeat(self._owned)).assignment)
                backoff.reset()
            except FENCED:
                self._is_fenced = True
                self._call_attention()
            except FloodmarkError as error:
                if error.retriable:
                    await asyncio.sleep(backoff.next_delay_s(error.retry_after_s))
                    continue
                self._failure = error
                self._call_attention()

    async def _attend(self) -> None:
        """Take in what the group has said since the last record."""
        self._is_changed = False
        if self._failure is not None:
            raise self._failure
        if self._is_fenced:
            await self._join_again()
        epoch, wanted = self._member.epoch, {_key(one): one for one in self._wanted}
        revoked = [owned for key, owned in self._owned.items() if key not in wanted]
        if revoked:
            await self._give_up(revoked)
        # What was reset begins anew; the program has done with what came before.
        again = [owned for key, owned in self._owned.items() if owned.epoch != wanted[key].epoch]
        for owned in again:
            del self._owned[owned.key]
        await _ended(again)
        added = [one for key, one in wanted.items() if key not in self._owned]
        if added and not self._is_fenced:
            await self._add(added)
        if not self._is_fenced:
            self._member.epoch_read = epoch
        if revoked or added:
            self._beat.set()

    async def _join_again(self) -> None:
        """The group went on without this member: others may have its partitions, at what was committed."""
        lost, self._owned = list(self._owned.values()), {}
        await _ended(lost)
        await self._tell(self._options.on_lost or self._options.on_revoked, lost)
        self._wanted = (await self._member.join()).assignment
        self._is_fenced = False

    async def _give_up(self, revoked: Sequence[Owned]) -> None:
        await self._tell(self._options.on_revoked, revoked)
        if self._options.commits_by_itself:
            await self._commit_done(revoked)
        for owned in revoked:
            self._owned.pop(owned.key, None)
        await _ended(revoked)

    async def _add(self, added: Sequence[Assigned]) -> None:
        committed = await self._member.offsets({one.topic for one in added})
        options = self._options
        share = self._budget.limit // (2 * (len(self._owned) + len(added)))
        new: list[Owned] = []
        for one in added:
            start = committed.get(_key(one), options.start)
            if start == "none":
                raise NoCommittedOffset(
                    f"group {options.group} has no offset in partition {one.partition} of topic "
                    f"{one.topic}: say where to begin, with start='earliest' or 'latest', or with "
                    "`floodmark group seek`",
                    topic=one.topic,
                    partition=one.partition,
                )
            fetching = FetchOptions(
                start=start,
                end=None,
                follow=options.follow,
                max_bytes=max(_FETCH_BYTES_MIN, min(_FETCH_BYTES_MAX, share)),
                wait_s=_WAIT_S,
                timeout_s=options.timeout_s,
            )
            new.append(Owned(one, fetching))
        for owned in new:
            self._owned[owned.key] = owned
        await self._tell(options.on_assigned, new)
        for owned in new:
            owned.start(self._transport, self._budget, self._arrived.put_nowait)

    async def _tell(self, callback: Any, owned: Sequence[Owned]) -> None:
        if callback is not None and owned:
            told = callback(sorted(one.place for one in owned))
            if inspect.isawaitable(told):
                await told

    # -- commits ---------------------------------------------------------------------------------------

    async def _commit_now_and_then(self) -> None:
        """Whatever is done with: soon after it is, or every so often."""
        every = self._options.commit
        while True:
            if not isinstance(every, str):
                await asyncio.sleep(every)
            elif not self._is_behind():
                self._may_commit.clear()
                self.needs_pause = True
                await self._may_commit.wait()
            try:
                await self._commit_done(list(self._owned.values()))
            except FloodmarkError as error:
                if not error.retriable:
                    self._failure = self._failure or error
                    self._call_attention()
                    return
            await asyncio.sleep(_PAUSE_S)

    def _is_behind(self) -> bool:
        return any(owned.at != owned.committed for owned in self._owned.values())

    async def _commit_done(self, which: Iterable[Owned]) -> None:
        """All before the records in hand. Of a member that is fenced nothing is committed."""
        try:
            await self._commit(lambda: {owned: owned.at for owned in which})
        except FENCED:
            if not self._closed:
                self._is_fenced = True
                self._call_attention()

    async def _commit(self, positions: Callable[[], Mapping[Owned, int | None]]) -> None:
        """Positions are looked at when it is their turn, so that none overtakes a later one."""
        async with self._committing:
            todo = {
                owned: offset
                for owned, offset in positions().items()
                if offset is not None and offset != owned.committed
            }
            if not todo:
                return
            refused = await self._member.commit(
                [
                    ToCommit(owned.place.topic, owned.topic_id, owned.place.partition, offset)
                    for owned, offset in todo.items()
                ]
            )
            for owned, offset in todo.items():
                if owned.key not in refused:
                    owned.committed = offset
            if refused:
                self._beat.set()  # The group says what became of them.


def _key(one: Assigned) -> tuple[int, int]:
    return one.topic_id, one.partition


async def _ended(owned: Iterable[Owned]) -> None:
    tasks = [task for one in owned if (task := one.stop()) is not None]
    await asyncio.gather(*tasks, return_exceptions=True)
