"""What a queue's breaker promises: it opens where everything fails, then one record at a time is tried, and
what fails meanwhile costs no delivery.

That it is open is only concluded where it is certain: an answer said so, and since that answer was asked for
nobody has begun to acknowledge a record that may be the one that is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from chaos.checker.violation import Evidence, Kind
from chaos.history import (
    Breaker,
    Deliveries,
    Delivery,
    End,
    Invoke,
    Ok,
    QueueAction,
    QueueState,
    Receive,
    Settle,
    Settlements,
    Settling,
    Unknown,
)

At = tuple[bool, int, int]
"""A record of a queue: whether it is a dead letter, partition and offset in the topic where it is."""
_PAUSED: Final = "breaker_open"
_CLOSED: Final = "closed"
_IN_A_ROW: Final = 20
"""Times the deliveries that the breaker needs: leaders forget what they counted, and answers are late."""
_LATE_NS: Final = 10_000_000_000
"""What had no answer may still be done for so long."""
_PROBES_MORE: Final = 2
_NOT_CERTAIN: Final = -1


def place_of(at: Delivery | Settling) -> At:
    """Where it is."""
    return at.again, at.partition, at.offset


class QueuePauses:
    """Of one queue. ``report``: takes kind, summary and evidence."""

    def __init__(self, breaker: Breaker, report: Callable[[Kind, str, Evidence], None]) -> None:
        self._breaker = breaker
        self._report = report
        self.count = 0
        """Pauses that were told of."""
        self.excused: Counter[At] = Counter()
        """How many deliveries of a record certainly failed in one."""
        self.clocks_jump = False
        """Pauses may be shorter from then on."""
        self._now = 0
        """Which pause it certainly is; 0: perhaps none."""
        self._began_ns = 0
        self._probes = 0
        self._alone: set[tuple[At, int]] = set()
        """Deliveries that may have been tries."""
        self._tries = 0
        """Acknowledgements of these that have begun."""
        self._trying: set[int] = set()
        """And are under way."""
        self._late_ns = 0
        """Until when one without an answer may be done."""
        self._succeeding: set[int] = set()
        self._succeeded_ns = -_LATE_NS
        """When the last acknowledgement ended."""
        self._in_a_row = 0
        self._calls: dict[int, tuple[int, int]] = {}
        """Operation -> the pause when it began, and the tries by then."""

    def begins(self, call: Invoke, action: QueueAction) -> None:
        """Somebody asks."""
        settle = action.settle if isinstance(action, Receive | Settle) else []
        good = [each for each in settle if each.action in ("ack", "reject")]
        if good:
            self._succeeding.add(call.op)
            self._in_a_row = 0
        if any((place_of(each), each.deliveries) in self._alone for each in good):
            self._trying.add(call.op)
            self._tries += 1
            self._now = 0
        is_certain = not self._trying and call.time_ns > self._late_ns
        self._calls[call.op] = (self._now, self._tries if is_certain else _NOT_CERTAIN)

    def ends(self, end: End, call: Invoke, action: QueueAction) -> None:
        """It is answered, or not."""
        pause, tries = self._calls.pop(call.op, (0, _NOT_CERTAIN))
        if call.op in self._trying:
            self._trying.discard(call.op)
            if isinstance(end, Unknown):
                self._late_ns = end.time_ns + _LATE_NS
        if call.op in self._succeeding:
            self._succeeding.discard(call.op)
            self._succeeded_ns = end.time_ns
        if not isinstance(end, Ok):
            return
        result = end.result
        if isinstance(action, Receive | Settle) and isinstance(result, Deliveries | Settlements):
            self._fail(action.settle, result.settled, end, call, is_pause=pause == self._now > 0)
        if isinstance(result, Deliveries):
            self._give(result.records, end, call, is_pause=pause == self._now > 0)
        if _is_paused(result):
            self._in_a_row = 0
            if not self._now and tries == self._tries:
                self.count += 1
                self._now, self._began_ns, self._probes = self.count, end.time_ns, 0

    def _fail(
        self, settle: Sequence[Settling], told: Sequence[str], end: Ok, call: Invoke, *, is_pause: bool
    ) -> None:
        failed = [
            place_of(each)
            for each, outcome in zip(settle, told, strict=False)
            if each.action == "nack" and outcome == "done"
        ]
        if is_pause:
            self.excused.update(failed)
        since_ns = self._succeeded_ns + self._breaker.window_ms * 1_000_000
        if self._succeeding or call.time_ns < since_ns:
            return
        self._in_a_row += len(failed)
        if self._in_a_row > _IN_A_ROW * self._breaker.deliveries:
            summary = f"{self._in_a_row} deliveries in a row have failed, and it has not paused"
            told_by = Evidence("the last ones", end.time_ns, None, None, call.node, call.process, call.op)
            self._report(Kind.BREAKER_STAYED_CLOSED, summary, told_by)
            self._in_a_row = 0

    def _give(self, records: Sequence[Delivery], end: Ok, call: Invoke, *, is_pause: bool) -> None:
        if len(records) == 1:
            self._alone.add((place_of(records[0]), records[0].deliveries))
        if not is_pause or not records:
            return
        given = Evidence("what was given", end.time_ns, None, None, call.node, call.process, call.op)
        if len(records) > 1:
            self._report(Kind.PASSED_A_PAUSE, f"{len(records)} records were delivered in a pause", given)
        self._probes += 1
        paused_ms = (end.time_ns - self._began_ns) / 1e6
        if not self.clocks_jump and self._probes > _PROBES_MORE + paused_ms / self._breaker.pause_ms:
            summary = f"{self._probes} tries within {paused_ms:.0f} ms of a pause"
            self._report(Kind.PASSED_A_PAUSE, summary, given)


def _is_paused(result: object) -> bool:
    if isinstance(result, Deliveries):
        return result.paused == _PAUSED
    return isinstance(result, QueueState) and result.breaker != _CLOSED
