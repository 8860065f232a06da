"""What was asked for and told about a queue's dead letters: replays, purges and lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from chaos.checker.violation import Evidence
from chaos.history import (
    Counted,
    End,
    Fail,
    Invoke,
    Letters,
    ListDead,
    LookAtQueue,
    Ok,
    PurgeDead,
    QueueAction,
    Replay,
)
from chaos.record_value import key_of

LetterPlace = tuple[int, int]
"""Partition and offset in the topic of dead letters."""
_NEVER_NS: Final = 1 << 62


@dataclass(slots=True)
class _Asked:
    """One replay. ``listed``: what had been listed when it was asked for."""

    action: Replay
    asked_ns: int
    listed: frozenset[LetterPlace]
    answered_ns: int = _NEVER_NS

    def may_cover(self, place: LetterPlace, value: int) -> bool:
        """Whether the letter is among those that were asked for, if it was there."""
        action, (partition, offset) = self.action, place
        if action.letters is not None:
            return any((at.partition, at.offset) == (partition, offset) for at in action.letters)
        if action.died_in is not None:
            return partition == action.died_in
        return action.key_prefix is None or key_of(value).startswith(action.key_prefix.encode())

    def surely_covers(self, place: LetterPlace, value: int) -> bool:
        """Whether it was on its way, or over, when this was answered."""
        return self.answered_ns < _NEVER_NS and place in self.listed and self.may_cover(place, value)


@dataclass(slots=True)
class QueueReplays:
    """Of one queue. ``last``: the letters listed at the end, and whether each was on its way; None where that
    is not known. ``purged``: what may be off the list, and the evidence where it certainly is."""

    last: dict[LetterPlace, bool] | None = None
    purged: dict[LetterPlace, Evidence | None] = field(default_factory=dict)
    were_listed: bool = False
    """Whether anybody has ever asked for the list."""
    asked: dict[int, _Asked] = field(default_factory=dict)
    _listed: set[LetterPlace] = field(default_factory=set)
    _purges: defaultdict[LetterPlace, int] = field(default_factory=lambda: defaultdict(int))
    _open: set[int] = field(default_factory=set)
    _lists: set[int] = field(default_factory=set)
    """Lists that were asked for while nothing else was under way, and nothing else has begun since."""

    def begins(self, call: Invoke, action: QueueAction) -> None:
        """Somebody asks."""
        if isinstance(action, ListDead):
            self.were_listed = True
            if not self._open:
                self._lists.add(call.op)
            return
        if isinstance(action, LookAtQueue):
            return
        self._open.add(call.op)
        self._lists.clear()
        self.last = None
        if isinstance(action, Replay):
            self.asked[call.op] = _Asked(action, call.time_ns, frozenset(self._listed))
        elif isinstance(action, PurgeDead):
            for at in action.letters:
                self.purged.setdefault((at.partition, at.offset), None)
                self._purges[at.partition, at.offset] += 1

    def ends(self, end: End, call: Invoke, action: QueueAction) -> None:
        """It is answered, or not."""
        self._open.discard(call.op)
        result = end.result if isinstance(end, Ok) else None
        if isinstance(action, Replay):
            if isinstance(end, Fail):
                del self.asked[call.op]
            elif isinstance(result, Counted):
                self.asked[call.op].answered_ns = end.time_ns
        elif isinstance(action, PurgeDead):
            self._purge_ends(end, call, action)
        elif isinstance(result, Letters):
            self._listed.update((each.partition, each.offset) for each in result.letters)
            if call.op in self._lists:
                self.last = {(each.partition, each.offset): each.replaying for each in result.letters}

    def _purge_ends(self, end: End, call: Invoke, action: PurgeDead) -> None:
        result = end.result if isinstance(end, Ok) else None
        for at in action.letters:
            place = (at.partition, at.offset)
            if isinstance(end, Fail):
                self._purges[place] -= 1
                if not self._purges[place]:
                    self.purged.pop(place, None)
            elif isinstance(result, Counted) and result.letters == len(action.letters):
                what = "it was purged"
                told = Evidence(what, end.time_ns, at.offset, None, call.node, call.process, call.op)
                self.purged[place] = told

    def asked_ns(self, place: LetterPlace, value: int) -> int:
        """When the first replay was asked for that may have been of this letter."""
        return min((each.asked_ns for each in self._of(place, value)), default=_NEVER_NS)

    def is_sure(self, place: LetterPlace, value: int) -> bool:
        """Whether one was certainly of it."""
        return any(each.surely_covers(place, value) for each in self._of(place, value))

    def is_before(self, first: tuple[LetterPlace, int], second: tuple[LetterPlace, int]) -> bool:
        """Whether the first letter, which is stored before the second one, certainly was in the queue again
        before that was, or with it."""
        for sure in self._of(*first):
            if not sure.surely_covers(*first):
                continue
            earlier = [each for each in self._of(*first) if each.asked_ns <= sure.answered_ns]
            of_second = list(self._of(*second))
            # One after the other, by a limit: in order among themselves, and with others by their times.
            if any(each.action.per_second for each in earlier):
                if earlier == of_second == [sure]:
                    return True
            elif all(each is sure or each.asked_ns > sure.answered_ns for each in of_second):
                return True
        return False

    def _of(self, place: LetterPlace, value: int) -> Iterator[_Asked]:
        return (each for each in self.asked.values() if each.may_cover(place, value))
