"""Reading as a group's member without joining by hand: one call after the other, each at any node.

What a member is and where it is travels in a token (``group_token.py``), so that no node remembers anything.
A call with a token says that all records that came with it are done with: their offsets are committed, then
the next ones are read. A call without one joins as a new member. While a call waits it lives for the member,
and takes part in what the group decides; between two calls the member holds what it has.

A token that comes again brings the same records again: it is read from the positions that it carries, and a
commit moves no offset back.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from floodmark.errors import (
    FencedMemberEpoch,
    InvalidRequest,
    NoCommittedOffset,
    OffsetBelowStart,
    UnknownMember,
)

from node.broker import Partition
from node.service import group_token
from node.service.answer_budget import Hold
from node.service.at_coordinator import at_coordinator
from node.service.group_members import AssignedPartition, HeartbeatGroup, JoinGroup, LeaveGroup, MemberState
from node.service.group_offsets import CommitOffsets, FetchOffsets, OffsetOf, PartitionOf
from node.service.group_request import GroupRequest, check_group
from node.service.group_token import BEGIN_AGAIN, NO_POSITION, GroupToken, Place
from node.service.policy import Operation, Resource, ResourceKind, topic
from node.service.request_context import RequestContext
from node.service.requests import R
from node.service.topic_reader import TopicReader
from node.service.unpacking import Slice

if TYPE_CHECKING:
    from node.service.service import Service

SESSION_MS: Final = 30_000
REBALANCE_MS: Final = 60_000
TOPICS_MAX: Final = 100
STARTS: Final = ("earliest", "latest", "none")
_STEP_S: Final = 10.0
"""How long the coordinator may take for one thing that a call asks of it."""
_HEARTBEAT_S: Final = 3.0
"""While a call waits."""
_EAGER_S: Final = 0.5
"""While it waits for partitions that others have yet to give up."""
_FRESH_S: Final = 1.0
_Key = tuple[int, int]


class PollGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One call. ``start``: where to begin where the group has no offset. ``leave``: commit, and be no
    member."""

    group: str
    topics: Sequence[str]
    token: str | None
    start: str = "earliest"
    leave: bool = False

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        check_group(self.group)
        if not 0 < len(self.topics) <= TOPICS_MAX:
            raise InvalidRequest(
                f"say which topics to read, 1 to {TOPICS_MAX} of them: ?topics=orders,payments"
            )
        if self.start not in STARTS:
            raise InvalidRequest(f"start is one of {', '.join(STARTS)}, not {self.start[:100]!r}")
        if self.leave and self.token is None:
            raise InvalidRequest("only a member can leave: send the commit token along")


class Lost(NamedTuple):
    """Records that retention removed before the group read them: told once."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int


class GroupReading:
    """What one call does. Records that it reads ahead are in ``hold``."""

    def __init__(self, service: Service, context: RequestContext, request: PollGroup, hold: Hold) -> None:
        self._service = service
        self._context = context
        self._request = request
        self._hold = hold
        self._member_id = ""
        self._epoch = 0
        self._beaten_at = 0.0
        self._beat_s = _HEARTBEAT_S
        self._first = 0
        """Where reading begins: the same for the same token, and another place with the next one."""
        self._ids: dict[str, int] = {}
        """Of the topics that are read."""
        self._epochs: dict[_Key, int] = {}
        """Of the partitions that the member has, since when it has them."""
        self._readers: dict[str, TopicReader] = {}
        self._turns: list[str] = []
        self._round_bytes = 0
        self.lost: list[Lost] = []
        self.has_left = False

    @property
    def partitions(self) -> int:
        """How many the member has."""
        return len(self._epochs)

    async def begin(self) -> None:
        """Commit what the token says is done with, and take part in the group. Raises what both are refused
        for, and ``UnknownMember`` where the group has gone on without this member."""
        service, context, request = self._service, self._context, self._request
        service.authorize(context, Operation.READ, Resource(ResourceKind.GROUP, request.group))
        for name in request.topics:
            service.authorize(context, Operation.READ, topic(name))
        service.admit(context, Operation.READ, 0)
        request.check()
        self._ids = {name: (await service.topics.limits(name)).topic_id for name in request.topics}
        if request.token is None:
            await self._join()
            return
        self._first = group_token.choice(request.token)
        token = group_token.decode(request.token, request.group, context.principal, service.token_keys)
        self._member_id, self._epoch = token.member_id, token.member_epoch
        try:
            await self._go_on(token)
        except (UnknownMember, FencedMemberEpoch) as error:
            raise type(error)(f"{error.detail}; {BEGIN_AGAIN}", **error.fields) from error

    async def _go_on(self, token: GroupToken) -> None:
        request = self._request
        await self._commit(token)
        if request.leave:
            self.has_left = True
            await self._ask(LeaveGroup(group=request.group, member_id=token.member_id, epoch=None))
            return
        self._epochs = {(place.topic_id, place.partition): place.epoch for place in token.places}
        await self._beat({(place.topic_id, place.partition): place.offset for place in token.places})

    async def _join(self) -> None:
        context, request = self._context, self._request
        state = await self._ask(
            JoinGroup(
                group=request.group,
                member_id=uuid.uuid4().hex,
                topics=tuple(request.topics),
                session_timeout_ms=SESSION_MS,
                rebalance_timeout_ms=REBALANCE_MS,
                client_id=context.client_id[:255],
                address=context.address,
            )
        )
        self._member_id = state.member_id
        await self._take(state, {})

    async def _commit(self, token: GroupToken) -> None:
        known = {topic_id: self._service.broker.groups.topic_name(topic_id) for topic_id, *_ in _keys(token)}
        done = [
            OffsetOf(topic=name, partition=place.partition, offset=place.offset, topic_id=place.topic_id)
            for place in token.places
            if place.offset != NO_POSITION and (name := known[place.topic_id]) is not None
        ]
        if done:
            await self._ask(
                CommitOffsets(
                    group=self._request.group,
                    member_id=token.member_id,
                    epoch=token.member_epoch,
                    offsets=done,
                    partial=True,
                )
            )

    async def _beat(self, offsets: dict[_Key, int]) -> None:
        """Say that the member lives. What the group takes away is given up at once: all of it is committed
        that was handed out before this call, and of what was read in this call nothing was handed out."""
        while True:
            state = await self._say(owned=sorted(self._epochs))
            has = {(one.topic_id, one.partition) for one in state.assignment}
            had = set(self._epochs)
            await self._take(state, offsets)
            if has.issuperset(had):
                return

    async def _say(self, *, owned: list[_Key] | None) -> MemberState:
        """A heartbeat. An older token than the last one may come again: its epoch is not the member's any
        more, but the member is the same, and what it may commit is judged by the token's epoch."""
        said = HeartbeatGroup(
            group=self._request.group,
            member_id=self._member_id,
            epoch=self._epoch,
            owned=owned,
            topics=tuple(self._request.topics),
        )
        try:
            return await self._ask(said)
        except FencedMemberEpoch as error:
            epoch = error.fields.get("epoch")
            if not isinstance(epoch, int) or epoch <= 0:
                raise
            return await self._ask(msgspec.structs.replace(said, epoch=epoch))

    async def _take(self, state: MemberState, offsets: dict[_Key, int]) -> None:
        """Read what the member has now; ``offsets``: where it is in what it had before."""
        self._epoch = state.member_epoch
        self._beaten_at = time.monotonic()
        self._beat_s = _EAGER_S if state.waiting else _HEARTBEAT_S
        offsets = {**offsets, **self._positions()}
        by_topic: dict[str, list[AssignedPartition]] = {name: [] for name in self._request.topics}
        fresh: list[AssignedPartition] = []
        for one in state.assignment:
            if self._ids.get(one.topic) != one.topic_id:
                continue  # It does not read this topic any more, or it was made again a moment ago.
            by_topic[one.topic].append(one)
            key = (one.topic_id, one.partition)
            if self._epochs.get(key) != one.epoch or offsets.get(key, NO_POSITION) == NO_POSITION:
                offsets.pop(key, None)
                fresh.append(one)
        epochs = {(one.topic_id, one.partition): one.epoch for one in state.assignment}
        if epochs == self._epochs and self._readers and not fresh:
            return
        self._epochs = epochs
        if fresh:
            offsets |= await self._committed(fresh)
        for reader in self._readers.values():
            reader.let_go()
        self._readers = {}
        for name, assigned in by_topic.items():
            if assigned:
                self._readers[name] = await self._reader(name, assigned, offsets)

    async def _committed(self, fresh: Iterable[AssignedPartition]) -> dict[_Key, int]:
        asked = [PartitionOf(one.topic, one.partition, one.topic_id) for one in fresh]
        found = await self._ask(FetchOffsets(group=self._request.group, partitions=asked))
        return {(each.topic_id, each.partition): each.offset for each in found.offsets}

    async def _reader(
        self, name: str, assigned: Sequence[AssignedPartition], offsets: dict[_Key, int]
    ) -> TopicReader:
        service = self._service
        partitions: list[Partition] = []
        specs: list[str] = []
        for one in assigned:
            offset = offsets.get((one.topic_id, one.partition))
            if offset is None and self._request.start == "none":
                raise NoCommittedOffset(
                    f"group {self._request.group} has no offset in partition {one.partition} of topic "
                    f"{name}: say "
                    "where to begin, with start=earliest or start=latest",
                    topic=name,
                    partition=one.partition,
                )
            partitions.append(await service.topics.partition(name, one.partition, one.topic_id))
            specs.append(self._request.start if offset is None else str(offset))
        permit = service.open_reads.permit(self._context, Operation.READ, topic(name))
        reader = TopicReader(
            service,
            self._hold,
            assigned[0].topic_id,
            partitions,
            specs,
            permit=permit,
            by_cursor=True,
            first=self._first // len(self._request.topics),
        )
        await reader.pin()
        return reader

    def _positions(self) -> dict[_Key, int]:
        """Where the member goes on, as far as that is known."""
        return {
            (reader.topic_id, partition.number): offset
            for reader in self._readers.values()
            for partition, offset in zip(reader.partitions, reader.offsets, strict=True)
        }

    # -- reading ---------------------------------------------------------------------------------------

    def begin_round(self, *, max_bytes: int) -> None:
        """Begin to read what there is in all partitions."""
        self._round_bytes = max_bytes
        names = list(self._readers)
        begin = self._first % len(names) if names else 0
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
                was = self._positions()[reader.topic_id, number]
                self.lost.append(Lost(name, number, was, start))
                reader.move(number, start)
                reader.begin(max_bytes=self._round_bytes)
                continue
            if part is not None:
                return name, part
            self._turns.pop(0)
        return None

    def move(self, name: str, partition: int, offset: int) -> None:
        """All records of a partition below ``offset`` are in the answer."""
        self._readers[name].move(partition, offset)

    def let_go(self) -> None:
        """Hold nothing that was read ahead."""
        for reader in self._readers.values():
            reader.let_go()

    async def wait(self, wait_s: float) -> None:
        """Until there may be something new, or other partitions; meanwhile nothing is held."""
        now = time.monotonic()
        until_s = min(wait_s, max(0.0, self._beaten_at + self._beat_s - now))
        waiting = [asyncio.ensure_future(reader.wait(until_s)) for reader in self._readers.values()]
        try:
            if waiting:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
            else:
                await asyncio.sleep(until_s)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        if time.monotonic() >= self._beaten_at + self._beat_s:
            await self._beat({})

    async def end(self) -> str | None:
        """The token to go on with. The member's session begins anew."""
        if self.has_left:
            return None
        positions = self._positions()
        token = GroupToken(
            group=self._request.group,
            member_id=self._member_id,
            member_epoch=self._epoch,
            places=tuple(
                Place(topic_id, number, epoch, positions.get((topic_id, number), NO_POSITION))
                for (topic_id, number), epoch in sorted(self._epochs.items())
            ),
        )
        if time.monotonic() > self._beaten_at + _FRESH_S:
            # What it tells is for the next call: until then the member holds what it has.
            await self._say(owned=None)
        return group_token.encode(token, self._context.principal, self._service.token_keys)

    def _ask(self, request: GroupRequest[R]) -> Awaitable[R]:
        return _result(self._service, self._context.within(_STEP_S), request)


async def _result(service: Service, context: RequestContext, request: GroupRequest[R]) -> R:
    return (await at_coordinator(service, context, request)).result


def _keys(token: GroupToken) -> Iterable[tuple[int, Any]]:
    return ((place.topic_id, place) for place in token.places)
