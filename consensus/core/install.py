"""Bringing in a follower whose log ends before the leader's begins (C6).

The leader sends where its log begins and the machine's state; the follower starts its log over from there.
It acknowledges only what is durable and restored, and whatever fails on the way fails the replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consensus.messages import InstallSnapshot, SnapshotOffer
from consensus.types import StateMachine

if TYPE_CHECKING:
    from consensus.core.core import Core

RETRY_S: Final = 5.0
"""A follower that has not answered an install for this long gets another one."""


class Installer:
    """The leader's side."""

    def __init__(self, core: Core, machine: StateMachine) -> None:
        self._core = core
        self._machine = machine
        self._at_applied = bool(getattr(machine, "install_at_applied", False))
        self._sent_at: dict[str, float] = {}

    def begin(self) -> None:
        """A new leadership."""
        self._sent_at.clear()

    def link_up(self, name: str) -> None:
        """What was sent over the old connection may be lost."""
        self._sent_at.pop(name, None)

    def done(self, name: str) -> None:
        """The follower has a log that this one continues."""
        if self._sent_at:
            self._sent_at.pop(name, None)

    def send(self, name: str, round_: int, attempt: int) -> bool:
        """Send an install unless one is under way; returns whether one went."""
        core = self._core
        sent_at = self._sent_at.get(name)
        if sent_at is not None and core.now - sent_at < RETRY_S:
            return False
        self._sent_at[name] = core.now
        log = core.log
        # A log of records is given away whole, from its first entry on; one of commands is worth no more than
        # the state that they lead to.
        index = core.applied_index if self._at_applied else log.base_index - 1
        membership = core.members.history[0][1]
        install = InstallSnapshot(
            term=core.engine.term,
            index=index,
            entry_term=log.term_at(index),
            offset=core.applied_offset if self._at_applied else log.start_offset,
            voters=sorted(membership.voters),
            learners=sorted(membership.learners),
            round=round_,
            attempt=attempt,
            state=self._machine.snapshot(),
        )
        core.emit(name, install)
        return True


def is_needed(core: Core, message: InstallSnapshot | SnapshotOffer) -> bool:
    """Whether the log lacks what the install begins after, or has something else there."""
    log, index = core.log, message.index
    if index <= core.engine.commit_index:
        return False
    return index > log.last_index or log.term_at(index) != message.entry_term
