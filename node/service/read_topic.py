"""Reading all partitions of a topic: where to begin in each, and waiting for new records in any."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from floodmark.errors import InvalidRequest

from node.broker import Partition
from node.service import cursor, policy, positions
from node.service.answer_budget import Hold
from node.service.cursor import Cursor
from node.service.data_requests import ReadTopicRequest, TopicNews, WaitRequest
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.router import not_here
from node.service.topic_reader import TopicReader

if TYPE_CHECKING:
    from node.service.service import Service


async def read_topic(
    service: Service, context: RequestContext, request: ReadTopicRequest, hold: Hold
) -> TopicReader:
    """A reader of all partitions' records, each partition's in order; what it reads ahead is in ``hold``.

    Raises ``InvalidRequest``, ``UnknownTopic``, ``TopicDeleted``.
    """
    resource = policy.topic(request.topic)
    service.authorize(context, Operation.READ, resource)
    service.admit(context, Operation.READ, 0)
    begin = request.begin
    if not isinstance(begin, Cursor) and positions.is_offset(begin):
        raise InvalidRequest("an offset belongs to one partition: read .../partitions/N/records?from=...")
    limits = await service.topics.limits(request.topic, request.topic_id)
    if isinstance(begin, Cursor):
        offsets = begin.offsets_in(limits.partitions)
        specs = [str(offset) if offset >= 0 else "earliest" for offset in offsets]
    else:
        specs = [begin] * limits.partitions
    partitions = await _partitions(service, request.topic, range(limits.partitions), limits.topic_id)
    permit = service.open_reads.permit(context, Operation.READ, resource)
    return TopicReader(service, hold, limits.topic_id, partitions, specs, permit=permit, by_cursor=True)


async def wait_topic(service: Service, context: RequestContext, request: WaitRequest) -> TopicNews:
    """The partitions that have records behind a cursor, as soon as one has; empty when the time is up.

    Nothing is read. Raises ``InvalidRequest``, ``UnknownTopic``, ``TopicDeleted``, and ``Unavailable`` where
    another node asks for partitions that are not led here.
    """
    resource = policy.topic(request.topic)
    service.authorize(context, Operation.READ, resource)
    service.admit(context, Operation.READ, 0)
    limits = await service.topics.limits(request.topic, request.topic_id)
    offsets = request.behind.offsets_in(limits.partitions)
    # Another node asks about what is led here; its cursor has no offset for other partitions.
    numbers = [
        number for number, offset in enumerate(offsets) if offset > cursor.EARLIEST or not request.here_only
    ]
    partitions = await _partitions(service, request.topic, numbers, limits.topic_id)
    for partition in partitions if request.here_only else ():
        if not partition.leads_here:
            raise not_here(partition.leader, f"{partition.topic}/{partition.number}")
    ready: Collection[int] | None = ()
    if partitions:
        waited = [offsets[number] for number in numbers]
        permit = service.open_reads.permit(context, Operation.READ, resource)
        async with permit.while_allowed(), service.topics.while_exists(partitions[0]):
            waiting = service.watches.wait(partitions, waited, wait_s=request.wait_s)
            ready = await service.unless_draining(waiting)
    return TopicNews(limits.topic_id, sorted(ready or ()))


async def _partitions(
    service: Service, topic: str, numbers: Collection[int], topic_id: int
) -> list[Partition]:
    return [await service.topics.partition(topic, number, topic_id) for number in numbers]
