"""What a queue's leader does where one of its rules (Q) does not hold: its steps, and the pairs that they
lead to, as they are then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec

from node.coordinator import keys, values
from node.coordinator.groups.decision import Decision, Pair
from node.coordinator.keys import Kind
from node.coordinator.queues import breaker
from node.coordinator.queues.leasing import Leased
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import Settlement
from node.coordinator.queues.values import CLOSED, HALF_OPEN, RunValue, SourceValue
from tests.simulation.broken import Rule

Step = Callable[[Queue], Decision[Any]]
_UNSETTLED: Final = frozenset({Kind.RUN, Kind.TIMES, Kind.LEFT})


def pairs_without(broken: Collection[Rule], kind: str, pairs: Sequence[Pair], view: Queue) -> list[Pair]:
    """What a step led to, but for the rules in ``broken``."""
    found = list(pairs)
    if Rule.Q8 in broken:
        found = _but(found, Kind.TIMES)
    if Rule.Q11 in broken and kind == "replay":
        found = _but(found, Kind.DEAD)
    if Rule.Q13 in broken and view and view.state.breaker != CLOSED:
        found = [_changed(pair, Kind.RUN, RunValue, excused=0) for pair in found]
    if Rule.Q16 in broken and kind == "passed":
        found = [_changed(pair, Kind.SOURCE, SourceValue, lost=0) for pair in found]
    if Rule.Q17 in broken and kind == "passed":
        found = _but(found, *_UNSETTLED)
    return found


def stored_without(broken: Collection[Rule], kind: str, pairs: Sequence[Pair]) -> Sequence[Pair]:
    """What is stored of what the leader goes on from."""
    return _but(pairs, Kind.QUEUE) if Rule.Q15 in broken and kind != "put" else pairs


def receive_without(broken: Collection[Rule], step: Step) -> Step:
    """A step that leases, but for the rules in ``broken``."""

    def judged(view: Queue) -> Decision[Any]:
        if Rule.Q18 in broken and view.state.breaker == HALF_OPEN:
            return Decision([], Leased((), 0))
        if Rule.Q14 not in broken or view.header is None:
            return step(view)
        header = view.header
        view.header = breaker.closed(header)
        try:
            return step(view)
        finally:
            view.header = header

    return judged


def by_whoever_has_it(view: Queue, settlement: Settlement) -> Settlement:
    """About the delivery that there is, whichever was meant (Q5)."""
    share = view.share_of(settlement.place)
    run = share.at.get(settlement.place.offset) if share is not None else None
    lease = run.value.lease if run is not None else settlement.lease
    return msgspec.structs.replace(settlement, lease=lease)


def _but(pairs: Sequence[Pair], *kinds: Kind) -> list[Pair]:
    return [pair for pair in pairs if keys.kind_of(pair[0]) not in kinds]


def _changed(pair: Pair, kind: Kind, type_: type[Any], **fields: Any) -> Pair:
    key, value = pair
    if value is None or keys.kind_of(key) != kind:
        return pair
    return key, values.encode(msgspec.structs.replace(values.decode(type_, value), **fields))
