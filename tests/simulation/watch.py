"""What must hold of terms, votes, leaders and commit indexes, checked after every step of every replica."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.messages import (
    Message,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from tests.simulation.violation import require


@dataclass(slots=True)
class View:
    """What a replica shows of itself after a step."""

    term: int
    is_leader: bool
    commit_index: int
    high_watermark: int
    vote_term: int
    voted_for: str | None
    voters: frozenset[str]


@dataclass(slots=True)
class _Seen:
    term: int = 0
    commit_index: int = 0
    high_watermark: int = 0


class Watch:
    """Remembers what each replica showed, while it runs and across its crashes, and who led which term."""

    def __init__(self) -> None:
        self.leader_of: dict[int, str] = {}
        self._running: dict[str, _Seen] = {}
        self._vote: dict[str, tuple[int, str | None]] = {}
        self._told: dict[tuple[str, int], str] = {}
        """For whom each said that it votes, by (voter, term), whatever was lost or deleted since."""
        self._votes: dict[tuple[int, str], set[str]] = {}
        """Who ever voted, durably, by (term, for whom)."""

    def started(self, node: str) -> None:
        """A process starts: what it knew in memory is gone, its vote file is not."""
        self._running[node] = _Seen()

    def wiped(self, node: str) -> None:
        """The disk is new: it remembers no vote, and must not cast one as if it did."""
        self._vote.pop(node, None)

    def look(self, node: str, view: View) -> None:
        """Check one replica against everything before."""
        seen = self._running[node]
        if view.term != seen.term:
            require(view.term > seen.term, "terms never fall", lambda: f"{node}: {seen.term} to {view.term}")
            seen.term = view.term
        if view.commit_index != seen.commit_index:
            require(
                view.commit_index > seen.commit_index,
                "commit indexes never fall",
                lambda: f"{node}: {seen.commit_index} to {view.commit_index}",
            )
            seen.commit_index = view.commit_index
        if view.high_watermark != seen.high_watermark:
            require(
                view.high_watermark > seen.high_watermark,
                "high watermarks never fall",
                lambda: f"{node}: {seen.high_watermark} to {view.high_watermark}",
            )
            seen.high_watermark = view.high_watermark
        self._look_at_vote(node, view.vote_term, view.voted_for)
        if view.is_leader:
            self._look_at_leader(node, view)
        require(
            view.vote_term >= view.term,
            "terms are durable",
            lambda: f"{node} works in term {view.term}, its disk has {view.vote_term}",
        )

    def said(self, node: str, target: str, message: Message, vote_term: int, voted_for: str | None) -> None:
        """A message leaves: the term and the vote that it speaks of must be on the sender's disk."""
        kind = type(message).__name__
        match message:
            case RequestPreVote():
                term = 0  # It asks about a term that nobody has entered.
            case RequestPreVoteResponse():
                term = message.own_term
            case _:
                term = message.claimed_term
        require(
            term <= vote_term,
            "terms are durable before they are told",
            lambda: f"{node} says {kind} of term {term} to {target}, its disk has {vote_term}",
        )
        promised: str | None = {RequestVoteResponse: target, RequestVote: node}.get(type(message))
        require(
            promised is None or (term, promised) == (vote_term, voted_for),
            "votes are durable before they are told",
            lambda: f"{node} says {kind} of term {term} to {target}, its disk has {voted_for} in {vote_term}",
        )
        if promised is not None:
            told = self._told.setdefault((node, term), promised)
            require(
                told == promised,
                "nobody is told of a second vote in a term",
                lambda: f"{node} votes for {promised} in term {term}, and had for {told}",
            )

    def _look_at_leader(self, node: str, view: View) -> None:
        if view.term not in self.leader_of:
            votes = self._votes.get((view.term, node), set()) & view.voters
            require(
                2 * len(votes) > len(view.voters),
                "leaders are elected by a majority",
                lambda: f"{node} leads term {view.term} by {sorted(votes)} of {sorted(view.voters)}",
            )
        leader = self.leader_of.setdefault(view.term, node)
        require(
            leader == node,
            "one leader per term",
            lambda: f"term {view.term} has the leaders {leader} and {node}",
        )

    def _look_at_vote(self, node: str, term: int, voted_for: str | None) -> None:
        known = self._vote.get(node)
        now = (term, voted_for)
        if known == now:
            return
        if known is not None:
            require(
                term > known[0] or (term == known[0] and known[1] is None),
                "one vote per term",
                lambda: f"{node} had durably voted for {known[1]} in term {known[0]}, now {now}",
            )
        self._vote[node] = now
        if voted_for is not None:
            self._votes.setdefault((term, voted_for), set()).add(node)
