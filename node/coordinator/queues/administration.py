"""Making a queue, giving it other settings, emptying it, and deleting it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from floodmark.errors import QueueExists, UnknownQueue

from node.coordinator import keys, values
from node.coordinator.groups.decision import Decision, Pair
from node.coordinator.queues.changes import Changes
from node.coordinator.queues.limits import PAIRS_PER_STEP, check
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import QueueConfig
from node.coordinator.queues.values import QueueValue, SourceValue, State


class Put(NamedTuple):
    """``number``: random, of up to 63 bits. ``begins``: from where on it goes, by partition; one that is not
    named begins with the first record that is read there."""

    config: QueueConfig
    number: int
    begins: Mapping[int, int]


class Removed(NamedTuple):
    """``more``: there was too much for one step, do it again."""

    records: int
    more: bool


def put(queue: Queue, request: Put, *, now_ms: int) -> Decision[bool]:
    """Make it, or give it these settings; whether it was made.

    Raises ``InvalidRequest``; ``QueueExists`` where it is of another topic or has another ordering, or an
    earlier one of this name is still being deleted.
    """
    config = request.config
    check(config)
    before = queue.header
    if before is None:
        state = QueueValue(number=request.number, config=config, created_ms=now_ms)
        pairs: list[Pair] = [(keys.queue_key(queue.name), values.encode(state))]
        for partition, begin in sorted(request.begins.items()):
            key = keys.source_key(queue.name, (config.topic_id, partition))
            pairs.append((key, values.encode(SourceValue(next=begin))))
        return Decision(pairs, answer=True)
    if before.deleting:
        raise QueueExists(f"an earlier queue {queue.name} is being deleted; try again")
    if before.config.topic_id != config.topic_id:
        raise QueueExists(
            f"queue {queue.name} is of topic {before.config.topic}, or of one of that name that was deleted; "
            "delete the queue first"
        )
    if before.config.ordering != config.ordering:
        raise QueueExists(
            f"queue {queue.name} has the ordering {before.config.ordering}, which cannot be changed"
        )
    if before.config == config:
        return Decision([], answer=False)
    state = msgspec.structs.replace(before, config=config)
    return Decision([(keys.queue_key(queue.name), values.encode(state))], answer=False)


def exists(queue: Queue) -> None:
    """Raises ``UnknownQueue`` where it does not."""
    if not queue:
        raise UnknownQueue(f"there is no queue {queue.name}", queue=queue.name)


def delete(queue: Queue, stored: Iterable[bytes]) -> Decision[Removed]:
    """Forget it: a part of what there is, its own key last. ``stored``: the keys that are stored.

    Raises ``UnknownQueue``.
    """
    if queue.header is None:
        exists(queue)
    own = keys.queue_key(queue.name)
    found = sorted({*queue.keys(), *stored} - {own})
    now = found[:PAIRS_PER_STEP]
    pairs: list[Pair] = [(key, None) for key in now]
    more = len(now) < len(found)
    if not more:
        pairs.append((own, None))
    elif not queue.state.deleting:
        pairs.append((own, values.encode(msgspec.structs.replace(queue.state, deleting=True))))
    return Decision(pairs, Removed(len(now), more))


def purge(queue: Queue, ends: Mapping[int, int]) -> Decision[Removed]:
    """Settle all that is below these ends, in parts; what is on its way to the dead letters goes on."""
    exists(queue)
    changes = Changes(queue)
    topic_id = queue.state.config.topic_id
    records = 0
    for partition, end in sorted(ends.items()):
        share = queue.share(topic_id, partition)
        source = share.source
        if end > source.next:
            records += end - source.next
            taken = source.taken + end - source.next
            changes.source(share, msgspec.structs.replace(source, next=end, taken=taken))
    left = PAIRS_PER_STEP
    for share in queue.shares.values():
        runs = [run for run in share.runs.values() if run.value.state != State.DYING]
        for run in runs[:left]:
            changes.settle(run, run.open)
            records += run.open.bit_count()
        left -= min(left, len(runs))
        for times in list(share.times.values())[:left]:
            changes.settle_times(times, times.open)
            records += times.open.bit_count()
        left -= min(left, len(share.times))
    return Decision(changes.pairs(), Removed(records, left == 0))
