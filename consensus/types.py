"""The words that groups, their host and their users share. No I/O, no clock, no pysyncobj."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from floodmark.format.frame import Frame

from consensus.callbacks import tell_all
from storage.errors import LogFailed


class Role(enum.StrEnum):
    """What a replica is at the moment."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"


@dataclass(frozen=True, slots=True)
class Membership:
    """Who belongs to a group. Voters count for elections and commits; learners only receive."""

    voters: frozenset[str]
    learners: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.voters:
            raise ValueError("a group needs at least one voter")
        if self.voters & self.learners:
            raise ValueError("a member is a voter or a learner, not both")

    @property
    def members(self) -> frozenset[str]:
        """Voters and learners."""
        return self.voters | self.learners

    @property
    def quorum(self) -> int:
        """How many voters make a majority."""
        return len(self.voters) // 2 + 1


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """Timing in seconds, sizes in bytes. The relations are what the engine needs to be live."""

    heartbeat_s: float = 0.1
    """How often a leader with something to confirm sends to every follower."""
    election_timeout_min_s: float = 0.5
    """A follower that hears of no leader for this long may ask for votes; above 3 heartbeats."""
    election_timeout_max_s: float = 1.0
    """Timeouts are drawn evenly between the two."""
    takeover_s: float = 0.1
    """Where the leader's process is gone no timeout is waited for: the first to take over asks within this
    time, the second within another one, and so on. With the groups that elect at once it is to be longer."""
    leader_fallback_s: float = 0.45
    """A leader that hears of no majority for this long steps down; below election_timeout_min_s."""
    append_bytes_max: int = 9 << 20
    """Entries in one append message; above the largest record batch."""
    unacknowledged_bytes_max: int = 32 << 20
    """Entries sent to one follower and not acknowledged; beyond it the leader waits."""
    state_chunk_bytes: int = 256 << 10
    """Of a large state: made and written, or read and sent, at a time; one block at least."""
    state_window_bytes: int = 1 << 20
    """Of a large state: sent to one follower and not acknowledged."""
    quiesce_after_s: float = 0.0
    """A leader with nothing to do for this long stops its heartbeats until something happens; inf: never. Not
    before it has told of the last commit, with which it does so at the earliest."""

    def __post_init__(self) -> None:
        if not self.heartbeat_s * 3 < self.election_timeout_min_s < self.election_timeout_max_s:
            raise ValueError("3 heartbeats < shortest election timeout < longest must hold")
        if not self.heartbeat_s < self.leader_fallback_s < self.election_timeout_min_s:
            raise ValueError("heartbeat < leader fallback < shortest election timeout must hold")
        if self.takeover_s <= 0:
            raise ValueError("takeover must be above 0")


@dataclass(frozen=True, slots=True)
class Stored:
    """The entry is committed: durable on a majority, for good."""

    index: int
    term: int
    first_offset: int


@dataclass(frozen=True, slots=True)
class NotStored:
    """Another entry was committed in its place, or it was never appended: a retry stores it once."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Leadership or the process ended first: it may or may not become committed."""

    reason: str


Outcome = Stored | NotStored | Unknown


@dataclass(slots=True, eq=False)
class Proposal:
    """One entry on its way. ``index``, ``term`` and ``first_offset`` are set once it is appended."""

    index: int = 0
    term: int = 0
    first_offset: int = -1
    outcome: Outcome | None = None
    _callbacks: list[Callable[[Outcome], None]] = field(default_factory=list)

    def add_done_callback(self, callback: Callable[[Outcome], None]) -> None:
        """Call back once with the outcome; at once when it is known already."""
        if self.outcome is not None:
            callback(self.outcome)
        else:
            self._callbacks.append(callback)

    def resolve(self, outcome: Outcome) -> None:
        """Set the outcome. A proposal is resolved exactly once."""
        assert self.outcome is None, "a proposal is resolved once"
        self.outcome = outcome
        callbacks, self._callbacks = self._callbacks, []
        tell_all(callbacks, outcome)


class NotLeader(Exception):
    """This replica does not lead. ``leader`` is the node that does, as far as is known."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not the leader; the leader is {leader or 'not known'}")
        self.leader = leader


class GroupStopped(Exception):
    """This replica was stopped, or its disk failed."""


class LogDiverged(LogFailed):
    """A leader sends another entry than the one that is committed here: one of the two has lost data."""

    def __init__(self, index: int, term: int, leaders_term: int) -> None:
        super().__init__(
            f"entry {index} is committed here with term {term}, and its leader has it with {leaders_term}: "
            "a replica came back without what it had acknowledged. Compare this partition on all nodes, and "
            "give the node that was set back an empty data folder"
        )
        self.index = index
        self.term = term
        self.leaders_term = leaders_term


class ChangeRefused(ValueError):
    """The membership may not change like this, or not now."""


@dataclass(slots=True, eq=False)
class ReadIndex:
    """A question for the index up to which a read must have applied, answered once that is applied here.

    ``index`` is None until then, and stays so when the replica stopped or failed first.
    """

    index: int | None = None
    done: bool = False
    _callbacks: list[Callable[[int | None], None]] = field(default_factory=list)

    def add_done_callback(self, callback: Callable[[int | None], None]) -> None:
        """Call back once with the index or None; at once when it is known already."""
        if self.done:
            callback(self.index)
        else:
            self._callbacks.append(callback)

    def cancel(self) -> None:
        """Forget the question: no callback will come."""
        self.done = True
        self._callbacks.clear()

    def resolve(self, index: int | None) -> None:
        """Answer, unless it was cancelled."""
        if self.done:
            return
        self.done = True
        self.index = index
        callbacks, self._callbacks = self._callbacks, []
        tell_all(callbacks, index)


@dataclass(slots=True, eq=False)
class Fetch:
    """Frames asked for at the peers: the first ones of those, or None where no peer has them any more."""

    frames: list[Frame] | None = None
    done: bool = False
    _callbacks: list[Callable[[list[Frame] | None], None]] = field(default_factory=list)

    def add_done_callback(self, callback: Callable[[list[Frame] | None], None]) -> None:
        """Call back once with them; at once when they are there already."""
        if self.done:
            callback(self.frames)
        else:
            self._callbacks.append(callback)

    def resolve(self, frames: list[Frame] | None) -> None:
        """They came, or will not."""
        self.done, self.frames = True, frames
        callbacks, self._callbacks = self._callbacks, []
        tell_all(callbacks, frames)


class StateMachine(Protocol):
    """What committed entries do. A pure function of their sequence: no clock, no randomness, no I/O.

    One that may meet what it does not know has the attribute ``halted``: None, or why it takes nothing in any
    more, not even the frame that it was just given. Its replica goes on as one that stores, acknowledges and
    votes, and leads no more.

    One with ``install_at_applied = True`` has a follower that is too far behind started over with the state
    at the applied index; without it the follower gets the log's retained frames, from its base on.
    """

    def apply(self, frame: Frame) -> None:
        """Take in one committed RECORDS or COMMAND frame. Called once per frame, in order; never raises.

        After a restart or an install, frames that are part of the restored state may come again and
        must change nothing.
        """

    def snapshot(self) -> bytes:
        """The whole state, as ``restore`` takes it."""

    def restore(self, state: bytes) -> None:
        """Replace the state. ``b""`` is the empty state."""
