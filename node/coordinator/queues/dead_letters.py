"""Dead letters that are listed: deliver them again, or take them off the list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import NamedTuple

import msgspec
from floodmark.errors import UnknownDeadLetter

from node.coordinator import values
from node.coordinator.groups.decision import Decision
from node.coordinator.queues.administration import exists
from node.coordinator.queues.changes import Changes, dead_key
from node.coordinator.queues.limits import PAIRS_PER_STEP
from node.coordinator.queues.queue import Queue, dead_at
from node.coordinator.queues.requests import BY_KEY, DeadLetter, DeadName, Place
from node.coordinator.queues.run import NO_KEY
from node.coordinator.queues.share_partition import SharePartition
from node.coordinator.queues.times import Delayed


class Letter(NamedTuple):
    """One that is to be delivered again. ``key``: the hash of its record's key, as when it was read;
    ``due_ms``: not before, 0 for now."""

    name: DeadName
    key: int
    due_ms: int = 0


def listed(queue: Queue, *, after: DeadName | None, limit: int) -> list[DeadLetter]:
    """Some of them, in order of partition and number. Raises ``UnknownQueue``."""
    exists(queue)
    names = queue.dead if after is None else [name for name in queue.dead if name > after]
    return [letter(queue, name) for name in nsmallest(limit, names)]


def letter(queue: Queue, name: DeadName) -> DeadLetter:
    """One of them. Raises ``UnknownDeadLetter``."""
    dead = queue.dead.get(name)
    if dead is None:
        raise UnknownDeadLetter(
            f"queue {queue.name} lists no dead letter {name.number} of partition {name.partition}"
        )
    return DeadLetter(
        source=Place(name.topic_id, name.partition, dead.offset),
        number=name.number,
        at=dead_at(dead),
        reason=dead.reason,
        deliveries=dead.deliveries,
        worker=dead.worker,
        first_delivered_ms=dead.first_delivered_ms,
        died_ms=dead.died_ms,
        replaying=dead.replaying,
    )


def replay(queue: Queue, letters: Sequence[Letter]) -> Decision[int]:
    """Deliver these again, from where they are, in their order for each key; up to ``PAIRS_PER_STEP`` at
    once. How many that are: neither those that are not listed, nor those that are on their way.

    Raises ``UnknownQueue``.
    """
    exists(queue)
    by_key = queue.state.config.ordering == BY_KEY
    changes = Changes(queue)
    shares: dict[SharePartition, dict[int, Delayed]] = {}
    for name, key, due_ms in letters[:PAIRS_PER_STEP]:
        dead = queue.dead.get(name)
        if dead is None or dead.replaying:
            continue
        at = dead_at(dead)
        share = queue.share(at.topic_id, at.partition)
        of_share = shares.setdefault(share, {})
        if at.offset in of_share:
            continue
        of_share[at.offset] = (at.offset, key if by_key else NO_KEY, due_ms)
        again = msgspec.structs.replace(dead, replaying=True)
        changes.other((dead_key(queue, name), values.encode(again)))
    for share, found in shares.items():
        source = share.source
        changes.scatter(share, sorted(found.values()))
        next_ = max(source.next, max(found) + 1)
        changes.source(share, msgspec.structs.replace(source, next=next_, taken=source.taken + len(found)))
    return Decision(changes.pairs(), sum(map(len, shares.values())))


def purge_dead(queue: Queue, names: Iterable[DeadName] | None) -> Decision[int]:
    """Take these (None: all) off the list, but for those that are on their way through the queue; up to
    ``PAIRS_PER_STEP`` at once, so do it again until there are none. How many that are.

    Raises ``UnknownQueue``.
    """
    exists(queue)
    gone: list[DeadName] = []
    for name in dict.fromkeys(names) if names is not None else queue.dead:
        if len(gone) == PAIRS_PER_STEP:
            break
        dead = queue.dead.get(name)
        if dead is not None and not dead.replaying:
            gone.append(name)
    return Decision([(dead_key(queue, name), None) for name in gone], len(gone))
