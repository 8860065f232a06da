"""What the engine is started with, and what it asks of the group around it."""

from __future__ import annotations

from typing import Any, Final, Protocol

from consensus.types import GroupOptions

HUGE: Final = 10**15
STOCK_LEADER_FALLBACK_S: Final = 30.0


class Driver(Protocol):
    """What the engine asks of the group around it."""

    def append_answered(self, *, next_index: int, success: bool, reset: bool) -> None:
        """The engine's answer to the ``on_append`` that runs: see ``AppendEntriesResponse``."""

    def ask_for_vote(self, node: str, term: int, last_index: int, last_term: int) -> None:
        """The engine campaigns, and asks ``node``."""

    def grant_vote(self, node: str, term: int) -> None:
        """The engine votes for ``node``, in this term."""

    def may_start_election(self) -> bool:
        """The election deadline has passed: may the engine raise its term and ask for votes?"""

    def replicate(self) -> None:
        """The engine leads and wants every follower to get what it lacks, and a heartbeat."""


def settings(options: GroupOptions, leader_fallback_s: float) -> dict[str, Any]:
    """What the library is told. It never compacts, forks, forwards or splits: its sizes are out of reach."""
    return {
        "autoTick": False,
        "commandsQueueSize": 0,
        "commandsWaitLeader": False,
        "dynamicMembershipChange": False,
        "appendEntriesUseBatch": True,
        "appendEntriesBatchSizeBytes": HUGE,
        "appendEntriesPeriod": options.heartbeat_s,
        "raftMinTimeout": options.election_timeout_min_s,
        "raftMaxTimeout": options.election_timeout_max_s,
        "connectionTimeout": options.election_timeout_max_s * 10,
        "leaderFallbackTimeout": leader_fallback_s,
        "useFork": False,
        "logCompactionMinEntries": HUGE,
        "logCompactionMinTime": HUGE,
    }
