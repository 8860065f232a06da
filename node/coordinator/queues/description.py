"""What a queue is at, for people and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import QueueInfo, QueueListed, QueuePartition
from node.coordinator.queues.values import State


def info(
    queue: Queue, *, ends: Mapping[int, int], oldest_ms: int | None, health: Sequence[str] = ()
) -> QueueInfo:
    """All of it. ``ends``: the high watermarks of the topic's partitions, as far as they are known."""
    state, counts = queue.state, queue.counts
    partitions = _partitions(queue, ends)
    sources = [share.source for share in queue.shares.values()]
    pending = sum(share.unsettled for share in queue.shares.values())
    lost = sum(source.lost for source in sources)
    return QueueInfo(
        queue=queue.name,
        config=state.config,
        created_ms=state.created_ms,
        depth=depth(queue, ends),
        in_flight=counts[State.LEASED],
        waiting=counts[State.WAITING],
        held=counts[State.HELD],
        delayed=queue.delayed,
        dying=counts[State.DYING],
        dead=len(queue.dead),
        oldest_ms=oldest_ms,
        redelivered=sum(source.redelivered for source in sources),
        settled=max(0, sum(source.taken for source in sources) - pending - lost),
        lost=lost,
        breaker=state.breaker,
        breaker_until_ms=state.breaker_until_ms,
        health=health,
        partitions=partitions,
    )


def row(queue: Queue, *, ends: Mapping[int, int]) -> QueueListed:
    """Of a list."""
    state = queue.state
    return QueueListed(
        queue=queue.name,
        topic=state.config.topic,
        depth=depth(queue, ends),
        dead=len(queue.dead),
        breaker=state.breaker,
    )


def depth(queue: Queue, ends: Mapping[int, int]) -> int:
    """Records that are not settled, wherever they are."""
    unseen = sum(max(0, end - queue.next_of(partition)) for partition, end in ends.items())
    return unseen + sum(share.unsettled for share in queue.shares.values())


def oldest(queue: Queue, partition: int, end: int) -> int | None:
    """The offset of the oldest record of a partition of its topic that is not settled and was not delayed;
    None where there is none."""
    share = queue.shares.get((queue.state.config.topic_id, partition))
    next_ = queue.next_of(partition)
    first = min(share.at, default=None) if share is not None else None
    return first if first is not None else next_ if next_ < end else None


def _partitions(queue: Queue, ends: Mapping[int, int]) -> list[QueuePartition]:
    found = []
    topic_id = queue.state.config.topic_id
    for partition, end in sorted(ends.items()):
        share = queue.shares.get((topic_id, partition))
        found.append(
            QueuePartition(
                partition=partition,
                next=queue.next_of(partition),
                end=end,
                unsettled=share.unsettled if share is not None else 0,
                lost=share.source.lost if share is not None else 0,
            )
        )
    return found
