"""The engine's state and its clocks under names of our own, over the library's private attributes."""

from __future__ import annotations

from random import Random
from typing import Final, Protocol

from consensus.types import GroupOptions, Role

FOLLOWER: Final = 0
_CANDIDATE, _LEADER = 1, 2
_ROLES = {FOLLOWER: Role.FOLLOWER, _CANDIDATE: Role.CANDIDATE, _LEADER: Role.LEADER}


class Time:
    """The time of the engine that is being called. Groups of one process run on one thread."""

    now = 0.0


class _Node(Protocol):
    """The library's name of a replica."""

    id: str


class EngineState:
    """What the library keeps for one replica, and when it acts by itself."""

    _options: GroupOptions
    _random: Random
    _SyncObj__raftState: int
    _SyncObj__raftCurrentTerm: int
    _SyncObj__raftLeader: _Node | None
    _SyncObj__raftCommitIndex: int
    _SyncObj__noopIDx: int
    _SyncObj__raftElectionDeadline: float
    _SyncObj__newAppendEntriesTime: float
    _SyncObj__transferInProgress: bool
    _SyncObj__lastResponseTime: dict[_Node, float]

    @staticmethod
    def at(now: float) -> None:
        """Set the time for the calls that follow."""
        Time.now = now

    @property
    def role(self) -> Role:
        return _ROLES[self._SyncObj__raftState]

    @property
    def is_leader(self) -> bool:
        return self._SyncObj__raftState == _LEADER

    @property
    def term(self) -> int:
        return self._SyncObj__raftCurrentTerm

    @property
    def leader(self) -> str | None:
        node = self._SyncObj__raftLeader
        return None if node is None else node.id

    @property
    def commit_index(self) -> int:
        return self._SyncObj__raftCommitIndex

    @property
    def noop_index(self) -> int:
        """The first entry of this replica's latest leadership."""
        return self._SyncObj__noopIDx

    @property
    def election_deadline(self) -> float:
        return self._SyncObj__raftElectionDeadline

    @property
    def heartbeat_due(self) -> float:
        return self._SyncObj__newAppendEntriesTime

    @property
    def election_is_forced(self) -> bool:
        """The leader has asked this replica to take over."""
        return self._SyncObj__transferInProgress and self._SyncObj__raftElectionDeadline == 0

    # Clocks.

    def start_election_clock(self) -> None:
        """Give a leader a whole timeout from now on to be heard."""
        self._SyncObj__raftElectionDeadline = Time.now + self._SyncObj__generateRaftTimeout()

    def end_election_clock(self, after_s: float = 0.0) -> None:
        """The time to campaign has come, or comes then; the engine acts strictly after its deadlines."""
        self._SyncObj__raftElectionDeadline = Time.now + after_s

    def stop_election_clock(self) -> None:
        """Wait without a limit."""
        self._SyncObj__raftElectionDeadline = float("inf")

    def heartbeat_at(self, when: float) -> None:
        """When a leader's next heartbeat is due."""
        self._SyncObj__newAppendEntriesTime = when

    def heard_all(self) -> None:
        """Give every member its whole time to answer again, after a pause that was agreed on."""
        for node in self._SyncObj__lastResponseTime:
            self._SyncObj__lastResponseTime[node] = Time.now

    def allow(self, seconds: float) -> None:
        """Do not count a time in which no member could be heard."""
        heard = self._SyncObj__lastResponseTime
        for node in heard:
            heard[node] = min(Time.now, heard[node] + seconds)
        if not self.is_leader and not self.election_is_forced and self.election_deadline < Time.now:
            self.start_election_clock()

    def _SyncObj__generateRaftTimeout(self) -> float:
        # Replaces the library's, which draws from the process's random numbers.
        shortest = self._options.election_timeout_min_s
        return shortest + (self._options.election_timeout_max_s - shortest) * self._random.random()
