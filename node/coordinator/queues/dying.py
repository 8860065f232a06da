"""Records that are not delivered any more: on their way to the dead letters, in order of their numbers.

A number is given in the step in which a record dies, so it is stored before anything is sent. Whoever leads
sends records of one partition in the order of their numbers, and each once: the partition that takes them
keeps the number of the last one with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from node.coordinator import values
from node.coordinator.groups.decision import Decision
from node.coordinator.queues.changes import Changes, dead_key
from node.coordinator.queues.limits import DEAD_MAX, REASON_CHARACTERS_MAX
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import DeadName, Place
from node.coordinator.queues.run import Run
from node.coordinator.queues.share_partition import SharePartition
from node.coordinator.queues.values import DeadValue, Ended, RunValue, State


class Sent(NamedTuple):
    """A dying record that is in the dead letter topic now; None: it cannot be read any more, and is lost."""

    number: int
    at: Place | None


class Dying:
    """Of one step: gives numbers."""

    def __init__(self, queue: Queue, changes: Changes, now_ms: int) -> None:
        self._queue = queue
        self._changes = changes
        self._now_ms = now_ms
        self._numbers: dict[SharePartition, int] = {}

    def die(self, run: Run, bits: int, ended: Ended, reason: str) -> None:
        """These records are not delivered any more. Where a queue has no dead letters that is the end."""
        share = run.share
        number = self._numbers.get(share, share.source.died)
        self._numbers[share] = number + bits.bit_count()
        if not self._queue.state.config.dead_letter_topic_id:
            self._changes.settle(run, bits)
            return
        dying = msgspec.structs.replace(
            run.value,
            state=State.DYING,
            due_ms=self._now_ms,
            visible_ms=0,
            ended=ended,
            reason=reason[:REASON_CHARACTERS_MAX],
            number=number,
        )
        self._changes.move(run, bits, dying)

    def close(self) -> None:
        """All are known."""
        for share, number in self._numbers.items():
            self._changes.source(share, msgspec.structs.replace(share.source, died=number))


def reason_of(value: RunValue) -> str:
    """Why a record died, for people."""
    if value.ended == Ended.REJECT:
        return value.reason or "rejected"
    last = "its time was up" if value.ended == Ended.TIMEOUT else f"it failed: {value.reason}".rstrip(": ")
    return f"{value.deliveries} deliveries; at the last one {last}"


def sent(queue: Queue, topic_id: int, partition: int, letters: Sequence[Sent]) -> Decision[int]:
    """Dying records of a partition are in the dead letter topic, the ones with the lowest numbers; how many
    are listed now."""
    share = queue.shares.get((topic_id, partition))
    changes = Changes(queue)
    listed = lost = 0
    if share is None:
        return Decision([], 0)
    for expected, (number, at) in zip(sorted(share.dying), sorted(letters), strict=False):
        if number != expected:
            break
        offset = share.dying[number]
        run = share.at[offset]
        bit = 1 << (offset - run.base)
        changes.settle(run, bit)
        if at is None:
            lost += 1
            continue
        listed += 1
        name = DeadName(topic_id, partition, number)
        changes.other((dead_key(queue, name), values.encode(_dead(run.value, offset, at))))
    if lost:
        changes.source(share, msgspec.structs.replace(share.source, lost=share.source.lost + lost))
    for name in _oldest(queue, len(queue.dead) + listed - DEAD_MAX):
        changes.other((dead_key(queue, name), None))
    return Decision(changes.pairs(), listed)


def _oldest(queue: Queue, count: int) -> list[DeadName]:
    names: list[DeadName] = []
    for name, dead in queue.dead.items() if count > 0 else ():
        if not dead.replaying:
            names.append(name)
            if len(names) == count:
                break
    return names


def _dead(value: RunValue, offset: int, at: Place) -> DeadValue:
    return DeadValue(
        offset=offset,
        at_topic_id=at.topic_id,
        at_partition=at.partition,
        at_offset=at.offset,
        reason=reason_of(value),
        deliveries=value.deliveries,
        worker=value.worker,
        first_delivered_ms=value.first_delivered_ms,
        died_ms=value.due_ms,
    )
