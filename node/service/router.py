"""Reading from and appending to a partition wherever its leader is: on this node or on another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from floodmark.errors import LeaderNotAvailable, OutcomeUnknown, Unavailable, UnknownTopic
from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.broker import Acks, Appended, Partition
from node.service import positions
from node.service.answer_budget import Hold
from node.service.inside_line import AppendRequest, Found

if TYPE_CHECKING:
    from node.service.service import Service

T = TypeVar("T")
_RETRY_S: Final = 0.05
_LEADER_S: Final = 1.0
"""How long one view of a partition is waited with for its leader. A read passes the partition over then."""


class Small(msgspec.Struct, frozen=True):
    """Some records in nobody's name, with acks=quorum, which may share a batch at the leader."""

    records: Sequence[Record]
    timeout_s: float

    def packed(self, batch_format: int) -> AppendRequest:
        """To travel to the leader."""
        batch = codec.encode(self.records, format=batch_format)
        return AppendRequest(batch, codec.decode_header(batch), Acks.QUORUM, self.timeout_s)


async def append(
    service: Service, partition: Partition, sending: AppendRequest | Small
) -> tuple[Appended, str]:
    """Append where the partition's leader is, waiting for one to be elected. Raises as ``produce`` does.

    Returns who that was, too. Raises ``TopicDeleted`` as soon as this node knows, as all here do.
    """
    return await _while_exists(service, partition, lambda: _append(service, partition, sending))


async def _while_exists(
    service: Service, partition: Partition, ask: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    try:
        async with service.while_exists(partition):
            return await ask()
    except (Unavailable, OutcomeUnknown) as error:
        raise service.reason(error, partition) from error
    except UnknownTopic as error:
        if service.gone(partition) is not None:
            raise
        raise await service.not_found_there(partition) or error from error


async def _append(
    service: Service, partition: Partition, sending: AppendRequest | Small
) -> tuple[Appended, str]:
    deadline = time.monotonic() + sending.timeout_s
    while (left := deadline - time.monotonic()) > 0:
        partition = service.current(partition)
        try:
            if partition.leads_here:
                return await _store(partition, sending, left), service.broker.node_id
            leader = await partition.wait_leader(deadline_s=min(left, _LEADER_S))
            if leader != service.broker.node_id:
                request = sending
                if isinstance(request, Small):
                    request = request.packed(service.broker.batch_format)
                return await service.inside.append(leader, partition, request, timeout_s=left), leader
        except Unavailable:  # Nothing was stored: the next leader may do it.
            if time.monotonic() + _RETRY_S >= deadline:
                raise
        await asyncio.sleep(_RETRY_S)
    raise LeaderNotAvailable(f"no leader of {partition.topic}/{partition.number} took the batch in time")


def _store(partition: Partition, sending: AppendRequest | Small, timeout_s: float) -> Awaitable[Appended]:
    if isinstance(sending, Small):
        size = sum(record.size for record in sending.records)
        return partition.produce_records(sending.records, size=size, timeout_s=timeout_s)
    return partition.produce(sending.batch, sending.header, acks=sending.acks, timeout_s=timeout_s)


async def read(service: Service, partition: Partition, position: str, *, max_bytes: int, hold: Hold) -> Found:
    """Read what is there from the position ``position`` on, at the partition's leader. Nothing that fails
    its checksum is read. Raises as ``fetch`` does.

    The frames are in ``hold`` then, or ``TooManyRequests`` is raised.
    """
    return await _while_exists(
        service, partition, lambda: _read(service, partition, position, max_bytes=max_bytes, hold=hold)
    )


async def _read(
    service: Service, partition: Partition, position: str, *, max_bytes: int, hold: Hold
) -> Found:
    partition = service.current(partition)
    if not partition.leads_here:
        leader = await _leader(service, partition, _LEADER_S)
        return await service.inside.fetch(leader, partition, position, max_bytes=max_bytes, hold=hold)
    start = await positions.resolve(position, partition)
    found = Found(start, await partition.fetch(start, max_bytes=max_bytes, verify=True))
    hold.more(len(found.fetched.frames))
    return found


async def resolve(service: Service, partition: Partition, position: str) -> int:
    """The offset that ``position`` means at the partition's leader now. Raises as ``fetch`` does."""
    return await _while_exists(service, partition, lambda: _resolve(service, partition, position))


async def _resolve(service: Service, partition: Partition, position: str) -> int:
    partition = service.current(partition)
    if partition.leads_here:
        return await positions.resolve(position, partition)
    leader = await _leader(service, partition, _LEADER_S)
    return await service.inside.resolve(leader, partition, position)


async def _leader(service: Service, partition: Partition, deadline_s: float) -> str:
    """The other node that leads."""
    leader = await partition.wait_leader(deadline_s=deadline_s)
    if leader == service.broker.node_id:
        raise LeaderNotAvailable(f"the leader of {partition.topic}/{partition.number} is not ready yet")
    return leader
