"""Receiving from a queue, at any node: one call, its memory, its permissions, its receipts.

The first question to the queue's leader waits for nothing, and may bring a page. Where there is nothing the
second one waits, and holds room for a short page only, as many may wait at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from floodmark.errors import FloodmarkError, InvalidRequest
from floodmark.format.names import check_name

from node.broker.queues import Place
from node.metadata.levels import QUEUES
from node.service import queue_receipt
from node.service.answer_budget import SMALL_BYTES, Hold
from node.service.at_coordinator import at_coordinator
from node.service.policy import Operation, Resource, queue, topic
from node.service.queue_delivery import STEP_S, Ending, HandedOut, HandedOver, TakeRecords
from node.service.queue_receipt import Delivery
from node.service.queue_settling import End, EndedDelivery, check_ends, ended, endings_of
from node.service.request_context import RequestContext
from node.service.requests import Served

if TYPE_CHECKING:
    from node.service.service import Service

RECORDS_MAX: Final = 1_000
WORKER_BYTES_MAX: Final = 255
_RECORD_BYTES: Final = 512
"""Of an answer, for each record besides its key, value and headers."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One call. ``ends``: done before, in the same step."""

    queue: str
    worker: str
    max_records: int
    max_bytes: int
    wait_s: float
    ends: Sequence[End] = ()

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        check_name(self.queue)
        if not 1 <= self.max_records <= RECORDS_MAX:
            raise InvalidRequest(f"max is 1 to {RECORDS_MAX} records, not {self.max_records}")
        if len(self.worker.encode()) > WORKER_BYTES_MAX:
            raise InvalidRequest(f"a worker's name has at most {WORKER_BYTES_MAX} bytes")
        check_ends(self.ends)


class Job(NamedTuple):
    """A delivered record, with its topic's name and its receipt."""

    receipt: str
    topic: str
    record: HandedOut


class Jobs(NamedTuple):
    """What a call brings. ``paused``: why there is nothing, where there is a reason. ``leader``: who leads
    the queue's shard."""

    jobs: list[Job]
    settled: list[EndedDelivery]
    paused: str
    leader: str


async def receive(at: Service, context: RequestContext, wanted: Wanted, hold: Hold) -> Jobs:
    """Records for a worker; they are in ``hold`` then. Raises ``UnknownQueue``, ``InvalidRequest``,
    ``TooManyRequests``."""
    of_queue = queue(wanted.queue)
    at.authorize(context, Operation.READ, of_queue)
    at.admit(context, Operation.READ, 0)
    wanted.check()
    await at.check_level("a queue", QUEUES)
    known = await at.queue_topics.check(at, context.within(STEP_S), wanted.queue)
    endings = endings_of(at, context, wanted.queue, wanted.ends)
    found, leader, _ = await _take(at, context, wanted, hold, endings, wait_s=0.0)
    settled = found.settled
    try:
        if not found.records and wanted.wait_s > 0:
            brought = await _wait(at, context, wanted, hold, (of_queue, topic(known.topic)))
            if brought is not None:
                found, leader, _ = brought
        await at.queue_topics.check_records(
            at, context.within(STEP_S), wanted.queue, {each.topic_id for each in found.records}
        )
    except FloodmarkError:
        # What was settled is told: an error may say that nothing was done. The next receive meets it again.
        if not settled:
            raise
        found = HandedOver([])
    hold.more(sum(each.size + _RECORD_BYTES for each in found.records))
    hold.page_is_made()
    jobs = _jobs(at, context, wanted.queue, found.records)
    return Jobs(jobs, ended(wanted.ends, settled).settled, found.paused, leader)


async def _wait(
    at: Service, context: RequestContext, wanted: Wanted, hold: Hold, resources: Sequence[Resource]
) -> Served[HandedOver] | None:
    """The second question, for as long as whoever asks may read these; None where the node stops."""
    permits = [at.open_reads.permit(context, Operation.READ, each) for each in resources]
    async with AsyncExitStack() as allowed:
        for permit in permits:
            await allowed.enter_async_context(permit.while_allowed())
        waiting = _take(at, context, wanted, hold, (), wait_s=wanted.wait_s)
        brought = await at.unless_draining(waiting)
    for permit in permits:
        permit.check()
    return brought


async def _take(
    at: Service,
    context: RequestContext,
    wanted: Wanted,
    hold: Hold,
    endings: Sequence[Ending],
    *,
    wait_s: float,
) -> Served[HandedOver]:
    hold.nothing()
    request = TakeRecords(
        queue=wanted.queue,
        worker=wanted.worker,
        max_records=wanted.max_records,
        max_bytes=hold.set_page_aside(min(wanted.max_bytes, SMALL_BYTES) if wait_s else wanted.max_bytes),
        wait_s=wait_s,
        endings=endings,
    )
    return await at_coordinator(at, context.within(wait_s + STEP_S), request)


def _jobs(at: Service, context: RequestContext, name: str, records: Sequence[HandedOut]) -> list[Job]:
    deliveries = [Delivery(Place(each.topic_id, each.partition, each.offset), each.lease) for each in records]
    receipts = queue_receipt.encode(deliveries, name, context.principal, at.token_keys)
    names = {
        topic_id: at.broker.groups.topic_name(topic_id) or at.queue_topics.name_of(name, topic_id) or ""
        for topic_id in {each.topic_id for each in records}
    }
    return [Job(receipt, names[each.topic_id], each) for receipt, each in zip(receipts, records, strict=True)]
