"""Handing over the leadership: nothing new is taken in while the successor catches up and takes over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from consensus.messages import TimeoutNow

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.replication import Replication


class Transfer:
    """At most one at a time; it ends with the leadership, with the link to the successor, with the word of
    the successor that it takes over nothing, or by its deadline.
    """

    def __init__(self, core: Core, replication: Replication) -> None:
        self._core = core
        self._replication = replication
        self._told = False
        self._refused: dict[str, float] = {}
        """Who said so, and until when it is asked no more: as long as an unanswered attempt takes."""
        self.deadline = math.inf

    def start(self, to: str | None) -> bool:
        """Begin handing over to ``to``, or to the voter that is furthest; False when there is none."""
        core = self._core
        self._end_if_target_is_gone()
        refused = {name for name, until in self._refused.items() if core.now < until}
        candidates = sorted((core.members.other_voters & core.up) - refused)
        if to is not None:
            candidates = [name for name in candidates if name == to]
        if not candidates or core.transfer_target is not None:
            return core.transfer_target is not None and to in (None, core.transfer_target)
        core.transfer_target = max(candidates, key=self._replication.match_of)
        self._told = False
        self.deadline = core.now + core.options.election_timeout_max_s
        return True

    def look(self) -> None:
        """At the end of every step."""
        core = self._core
        self._end_if_target_is_gone()
        target = core.transfer_target
        if target is None:
            return
        if not core.engine.is_leader or core.now >= self.deadline:
            self._end()
        elif not self._told and self._replication.match_of(target) == core.log.last_index:
            core.emit(target, TimeoutNow(core.engine.term))
            self._told = True

    def on_refusal(self, source: str) -> None:
        """Its replica does not run, or is about to stop."""
        self._refused[source] = self._core.now + self._core.options.election_timeout_max_s
        if self._core.transfer_target == source:
            self._end()

    def _end_if_target_is_gone(self) -> None:
        """Nothing is held up for a successor that cannot hear; one that was told may still take over."""
        target = self._core.transfer_target
        if target is not None and target not in self._core.up:
            self._end()

    def _end(self) -> None:
        self._core.transfer_target = None
        self.deadline = math.inf
