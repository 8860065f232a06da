"""Reading as a group's member without joining by hand: one call after the other, each at any node.

What a member is and where it is travels in a token (``group_token.py``), so that no node remembers anything.
A call with a token says that all records that came with it are done with: their offsets are committed, then
the next ones are read. A call without one joins as a new member. While a call waits it lives for the member,
and takes part in what the group decides; between two calls the member holds what it has.

A token that comes again brings the same records again: it is read from the positions that it carries, and a
commit moves no offset back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from floodmark.errors import FencedMemberEpoch, NoCommittedOffset, OffsetPastEnd, UnknownMember

from node.broker import Partition
from node.service import group_token
from node.service.answer_budget import Hold
from node.service.group_members import AssignedPartition, MemberState
from node.service.group_poll import PollGroup
from node.service.group_token import BEGIN_AGAIN, NO_POSITION, GroupToken, Place
from node.service.policy import Operation, Resource, ResourceKind, topic
from node.service.polled_member import PartitionKey, PolledMember
from node.service.request_context import RequestContext
from node.service.topic_reader import TopicReader
from node.service.topics_reader import Lost, TopicsReader
from node.service.unpacking import Slice

if TYPE_CHECKING:
    from node.service.service import Service


class GroupReading:
    """What one call does. Records that it reads ahead are in ``hold``."""

    def __init__(self, service: Service, context: RequestContext, request: PollGroup, hold: Hold) -> None:
        self._service = service
        self._context = context
        self._request = request
        self._hold = hold
        self._member = PolledMember(service, context, request.group, request.topics)
        self._topics = TopicsReader()
        self._ids: dict[str, int] = {}
        """Of the topics that are read."""
        self._epochs: dict[PartitionKey, int] = {}
        """Of the partitions that the member has, since when it has them."""
        self.has_left = False

    @property
    def partitions(self) -> int:
        """How many the member has."""
        return len(self._epochs)

    @property
    def lost(self) -> Sequence[Lost]:
        """What retention removed before the group read it."""
        return self._topics.lost

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
            await self._take(await self._member.join(), {})
            return
        # Where reading begins is the same for the same token, and another place with the next one.
        self._topics.first = group_token.choice(request.token)
        token = group_token.decode(request.token, request.group, context.principal, service.token_keys)
        self._member.id, self._member.epoch = token.member_id, token.member_epoch
        try:
            await self._go_on(token)
        except (UnknownMember, FencedMemberEpoch) as error:
            raise type(error)(f"{error.detail}; {BEGIN_AGAIN}", **error.fields) from error

    async def _go_on(self, token: GroupToken) -> None:
        await self._member.commit(token.places)
        if self._request.leave:
            self.has_left = True
            await self._member.leave()
            return
        self._epochs = {(place.topic_id, place.partition): place.epoch for place in token.places}
        await self._beat({(place.topic_id, place.partition): place.offset for place in token.places})

    async def _beat(self, offsets: dict[PartitionKey, int]) -> None:
        """Say that the member lives. What the group takes away is given up at once: all of it is committed
        that was handed out before this call, and of what was read in this call nothing was handed out."""
        while True:
            state = await self._member.beat(self._epochs)
            has = {(one.topic_id, one.partition) for one in state.assignment}
            had = set(self._epochs)
            await self._take(state, offsets)
            if has.issuperset(had):
                return

    async def _take(self, state: MemberState, offsets: dict[PartitionKey, int]) -> None:
        """Read what the member has now; ``offsets``: where it is in what it had before."""
        offsets = {**offsets, **self._topics.positions()}
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
        if epochs == self._epochs and not self._topics.is_empty and not fresh:
            return
        self._epochs = epochs
        if fresh:
            offsets |= await self._member.committed(fresh)
        self._topics.clear()
        for name, assigned in by_topic.items():
            if assigned:
                self._topics.add(name, await self._reader(name, assigned, offsets))

    async def _reader(
        self, name: str, assigned: Sequence[AssignedPartition], offsets: dict[PartitionKey, int]
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
            first=self._topics.first // len(self._request.topics),
        )
        await reader.pin()
        return reader

    # -- reading ---------------------------------------------------------------------------------------

    def begin_round(self, *, max_bytes: int) -> None:
        """Begin to read what there is in all partitions."""
        self._topics.begin(max_bytes=max_bytes)

    async def next(self) -> tuple[str, Slice] | None:
        """The next records of this round with their topic; None at its end. See ``TopicsReader.next``."""
        try:
            return await self._topics.next()
        except OffsetPastEnd as error:
            group, fields = self._request.group, error.fields
            raise OffsetPastEnd(
                f"group {group} cannot go on in partition {fields['partition']} of topic {fields['topic']}: "
                f"{error.detail}; send it elsewhere, with POST /v1/groups/{group}/offsets/reset",
                **fields,
            ) from error

    def move(self, name: str, partition: int, offset: int) -> None:
        """All records of a partition below ``offset`` are in the answer."""
        self._topics.move(name, partition, offset)

    def let_go(self) -> None:
        """Hold nothing that was read ahead."""
        self._topics.let_go()

    async def wait(self, wait_s: float) -> None:
        """Until there may be something new, or other partitions; meanwhile nothing is held."""
        await self._topics.wait(min(wait_s, self._member.due_s))
        if not self._member.due_s:
            await self._beat({})

    async def give_up(self) -> None:
        """The call ends without an answer, so with no token to go on with: who joined with it is no member,
        and holds nothing."""
        if self._request.token is None and self._member.id:
            await self._member.give_up()

    async def end(self) -> str | None:
        """The token to go on with. The member's session begins again."""
        if self.has_left:
            return None
        positions = self._topics.positions()
        token = GroupToken(
            group=self._request.group,
            member_id=self._member.id,
            member_epoch=self._member.epoch,
            places=tuple(
                Place(topic_id, number, epoch, positions.get((topic_id, number), NO_POSITION))
                for (topic_id, number), epoch in sorted(self._epochs.items())
            ),
        )
        await self._member.refresh()
        return group_token.encode(token, self._context.principal, self._service.token_keys)
