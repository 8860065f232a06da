"""What retention removes before it was settled is lost: it is counted, and not waited for. Nor is what
compaction removed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from node.coordinator.groups.decision import Decision
from node.coordinator.queues.administration import Removed
from node.coordinator.queues.changes import Changes
from node.coordinator.queues.limits import PAIRS_PER_STEP
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import Place
from node.coordinator.queues.values import State


def passed(queue: Queue, topic_id: int, partition: int, start: int) -> Decision[Removed]:
    """The log of a partition begins here now. Again while there is more. Dying records are left to who sends
    them, and finds that they cannot be read."""
    share = queue.shares.get((topic_id, partition))
    if not queue or share is None or share.stored is None:
        return Decision([], Removed(0, more=False))
    changes = Changes(queue)
    left = PAIRS_PER_STEP
    lost = 0
    runs = [run for run in share.runs.values() if run.first < start and run.value.state != State.DYING]
    for run in runs[:left]:
        gone = run.open & ((1 << (start - run.base)) - 1)
        changes.settle(run, gone)
        lost += gone.bit_count()
    left -= min(left, len(runs))
    all_times = [times for times in share.times.values() if times.below(start)]
    for times in all_times[:left]:
        gone = times.below(start)
        changes.settle_times(times, gone)
        lost += gone.bit_count()
    left -= min(left, len(all_times))
    source = share.source
    unseen = start - source.next
    if unseen > 0 and topic_id == queue.state.config.topic_id:
        lost += unseen
        source = msgspec.structs.replace(source, next=start, taken=source.taken + unseen)
    if lost:
        changes.source(share, msgspec.structs.replace(source, lost=source.lost + lost))
    return Decision(changes.pairs(), Removed(lost, left == 0))


def missing(queue: Queue, places: Iterable[Place]) -> Decision[int]:
    """These records are not in their topic any more, though it begins before them: compaction removed them,
    and nobody is to have them. How many were waited for."""
    changes = Changes(queue)
    found = 0
    for place in dict.fromkeys(places):
        share = queue.share_of(place)
        if share is None:
            continue
        run = share.at.get(place.offset)
        if run is not None and run.value.state in (State.WAITING, State.HELD):
            changes.settle(run, 1 << (place.offset - run.base))
            found += 1
        elif place.offset in share.ripe:
            times, index = share.ripe[place.offset]
            changes.settle_times(times, 1 << index)
            found += 1
    return Decision(changes.pairs(), found)
