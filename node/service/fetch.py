"""Reading one partition: its frames as they are on disk, and what positions denote in it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from node.broker import Bounds, Partition
from node.service import policy
from node.service.answer_budget import Hold
from node.service.data_requests import FetchRequest, FetchResult, ListOffsetsRequest, Offsets
from node.service.inside_line import Found
from node.service.leaders import Leader
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.router import at_leader

if TYPE_CHECKING:
    from node.service.service import Service

_LEADER_WAIT_S: Final = 4.0
"""How long a read waits for a leader, besides its own wait: clients wait five seconds for an answer, and an
error is better than none."""
PASSED_OVER_S: Final = 1.0
"""A read of many partitions skips one that has had no leader for this long."""


class Fetching:
    """One per service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def leader_s(self, wait_s: float = 0.0) -> float:
        """How long a read that may wait for ``wait_s`` waits for a leader."""
        return wait_s + min(self._service.limits.produce_timeout_s, _LEADER_WAIT_S)

    async def fetch(self, context: RequestContext, request: FetchRequest, hold: Hold) -> FetchResult:
        """Frames; they are in ``hold`` then. Raises as ``Partition.fetch`` does.

        While it waits nothing is held, and the end of the wait comes early when this node stops.
        """
        service = self._service
        resource = policy.topic(request.topic)
        service.authorize(context, Operation.READ, resource)
        service.admit(context, Operation.READ, request.max_bytes)
        partition = await service.topics.partition(request.topic, request.partition, request.topic_id)
        found, leader = await self._read(partition, request.position, request, hold)
        if not found.fetched.frames and request.wait_s > 0:
            hold.nothing()
            permit = service.open_reads.permit(context, Operation.READ, resource)
            async with permit.while_allowed():
                is_there = await self._wait(partition, found.start, request)
            if is_there:
                permit.check()
                partition = service.topics.current(partition)
                found, leader = await self._read(partition, str(found.start), request, hold)
        hold.page_is_made()
        fetched = found.fetched
        if service.quotas.are_set:
            service.quotas.sent(context, len(fetched.frames))
        return FetchResult(
            partition.topic_id,
            found.start,
            fetched.frames,
            max(fetched.next_offset, found.start),
            fetched.bounds,
            leader,
        )

    async def _read(
        self, partition: Partition, position: str, request: FetchRequest, hold: Hold
    ) -> tuple[Found, str]:
        def read(leader: Leader, _left: float) -> Awaitable[Found]:
            granted = hold.set_page_aside(request.max_bytes)
            return leader.fetch(position, max_bytes=granted, verify=request.verify, hold=hold)

        return await at_leader(
            self._service,
            partition,
            read,
            timeout_s=self.leader_s(request.wait_s),
            here_only=request.here_only,
        )

    async def _wait(self, partition: Partition, offset: int, request: FetchRequest) -> bool:
        """Whether there may be a record at ``offset``, or another leader to ask."""
        service = self._service
        async with service.topics.while_exists(partition):
            waiting = service.watches.wait_one(partition, offset, wait_s=request.wait_s)
            return bool(await service.unless_draining(waiting))

    async def list_offsets(self, context: RequestContext, request: ListOffsetsRequest) -> Offsets:
        """The offset that a position denotes at the partition's leader now. Raises as ``Partition.fetch``
        does.
        """
        service = self._service
        service.authorize(context, Operation.DESCRIBE, policy.topic(request.topic))
        service.admit(context, Operation.DESCRIBE, 0)
        partition = await service.topics.partition(request.topic, request.partition, request.topic_id)
        return await self.offsets_of(partition, request)

    async def offsets_of(self, partition: Partition, request: ListOffsetsRequest) -> Offsets:
        """Likewise, as a part of a request that is judged for what else it asks for."""
        service = self._service

        async def look(leader: Leader, left: float) -> Found | Bounds:
            if request.position is None:
                async with service.topics.while_exists(partition):
                    return await leader.tail(timeout_s=left)
            return await leader.list_offsets(request.position)

        found, leader = await at_leader(
            service, partition, look, timeout_s=request.timeout_s, here_only=request.here_only
        )
        if isinstance(found, Bounds):
            return Offsets(partition.topic_id, found.high_watermark, found, leader)
        return Offsets(partition.topic_id, found.start, found.fetched.bounds, leader)


async def read_once(
    service: Service,
    partition: Partition,
    position: str,
    *,
    max_bytes: int,
    hold: Hold,
    leader_s: float,
    here_only: bool,
) -> tuple[Found, str]:
    """What is there from ``position`` on, and who leads there. Nothing that fails its checksum is read.

    Whoever leads within a second is asked, and with ``leader_s`` above that the next ones too, for so long.
    The frames are in ``hold`` then. Raises as ``Partition.fetch`` does.
    """

    def read(leader: Leader, _left: float) -> Awaitable[Found]:
        return leader.fetch(position, max_bytes=max_bytes, verify=True, hold=hold)

    return await at_leader(
        service,
        service.topics.current(partition),
        read,
        timeout_s=max(leader_s, PASSED_OVER_S),
        once=leader_s <= PASSED_OVER_S,
        here_only=here_only,
    )


async def resolve_once(service: Service, partition: Partition, position: str) -> int:
    """The offset that ``position`` denotes at whichever node leads within a second. Raises as
    ``Partition.fetch``.
    """

    def look(leader: Leader, _left: float) -> Awaitable[Found]:
        return leader.list_offsets(position)

    partition = service.topics.current(partition)
    return (await at_leader(service, partition, look, timeout_s=PASSED_OVER_S, once=True))[0].start
