"""pysyncobj 0.3.17 as the Raft engine: the one module that imports it.

It decides elections, terms, votes, what matches and what is committed. What it sends, stores, counts as time
or draws at random passes through here: no socket, file, clock or thread of its own is ever used. It works on
dictionaries, which nothing outside of this module sees.

Its private names are touched here and in engine_state.py; engine_library.py checks that they are there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from random import Random
from typing import Any

import pysyncobj
import pysyncobj.syncobj as library
from floodmark.format.frame import Frame
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from consensus.core.engine_library import check_engine, check_library
from consensus.core.engine_setup import Driver, settings
from consensus.core.engine_state import FOLLOWER, EngineState, Time
from consensus.core.journal import Journal
from consensus.types import GroupOptions


class _NoPoller:
    """Instead of a poller over sockets: there are none."""

    def poll(self, _timeout: float) -> None:
        """Return at once."""


check_library(library)
library.monotonicTime = lambda: Time.now
library.createPoller = lambda _kind: _NoPoller()
library.createJournal = lambda journal: journal
# Its warnings are about files and sockets that it does not have here.
logging.getLogger("pysyncobj").setLevel(logging.CRITICAL + 1)


class _Member(Node):  # type: ignore[misc] # the library is untyped
    """A replica by its name. The library looks it up often; its own class computes the hash each time."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._hash = hash(name)

    def __hash__(self) -> int:
        return self._hash


class _Collector(Transport):  # type: ignore[misc] # the library is untyped
    """Carries nothing: hands over what the engine wants to send."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(None, None, None)
        self._driver = driver

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        """The library forwards commands to the leader as well: never, here."""
        kind = message["type"]
        if kind == "next_node_idx":
            self._driver.append_answered(
                next_index=message["next_node_idx"], success=message["success"], reset=message["reset"]
            )
        elif kind == "request_vote":
            self._driver.ask_for_vote(
                node.id, message["term"], message["last_log_index"], message["last_log_term"]
            )
        elif kind == "response_vote":
            self._driver.grant_vote(node.id, message["term"])
        return True


class Engine(EngineState, pysyncobj.SyncObj):  # type: ignore[misc] # the library is untyped
    """One replica's engine. ``at`` must have set the time before any other call."""

    def __init__(
        self,
        *,
        node_id: str,
        journal: Journal,
        driver: Driver,
        options: GroupOptions,
        random: Random,
        leader_fallback_s: float,
    ) -> None:
        self._journal = journal
        self._log = journal.log
        self._driver = driver
        self._options = options
        self._random = random
        self._counting = False
        self._has_news = True
        self._durable_at_tick = -1
        self._nodes: dict[str, Node] = {}
        conf = pysyncobj.SyncObjConf(journalFile=journal, **settings(options, leader_fallback_s))
        super().__init__(self._node(node_id), [], conf, transport=_Collector(driver))
        check_engine(self)
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex
        if self.term > journal.getCurrentTerm():
            # The vote was lost and the log was not: its last term is where this replica had been.
            self._SyncObj__setCurrentTerm(self.term, None)

    def __dir__(self) -> Iterable[str]:
        """The library looks through all attributes for replicated methods: there are none."""
        return ()

    def _node(self, node_id: str) -> Node:
        node = self._nodes.get(node_id)
        if node is None:
            node = self._nodes[node_id] = _Member(node_id)
        return node

    # Calls.

    def tick(self) -> None:
        """Look at the deadlines; on a leader, count acknowledgements and commit."""
        # The library's tick costs more than all else in a step: only where it would find something to do.
        if not self.is_leader:
            if self._SyncObj__raftElectionDeadline < Time.now:
                # Whoever wins the election by it begins with counting.
                self._has_news = True
                self.doTick(0.0)
            return
        countable = self._journal.countable_index
        # Whether enough have answered lately is looked at with every heartbeat.
        heartbeat_is_due = self._SyncObj__newAppendEntriesTime < Time.now
        if not (self._has_news or heartbeat_is_due or countable != self._durable_at_tick):
            return
        self._has_news = False
        self._durable_at_tick = countable
        self._counting = True
        try:
            self.doTick(0.0)
        finally:
            self._counting = False

    # Messages that have passed all checks.

    def on_append(
        self,
        source: str,
        *,
        term: int,
        prev_index: int,
        prev_term: int,
        commit: int,
        entries: list[tuple[Frame, int, int]],
    ) -> None:
        """The leader's entries, each as (frame, last index, term), behind the one before them."""
        message = {
            "type": "append_entries",
            "term": term,
            "prevLogIdx": prev_index,
            "prevLogTerm": prev_term,
            "commit_index": commit,
            "entries": entries,
        }
        self._take(source, message)

    def on_leader(self, source: str, term: int) -> None:
        """Who leads; nothing is said of its log."""
        self._take(source, {"type": "append_entries", "term": term, "commit_index": 0, "entries": []})

    def on_append_response(self, source: str, next_index: int, *, success: bool) -> None:
        """A follower's answer to this leader; ``success``: it has everything below ``next_index``."""
        message = {"type": "next_node_idx", "reset": False, "next_node_idx": next_index, "success": success}
        # What one more follower has of what is committed lets nothing be committed.
        self._take(source, message, is_news=next_index > self._SyncObj__raftCommitIndex + 1)

    def on_vote_request(self, source: str, *, term: int, last_index: int, last_term: int) -> None:
        """A candidate asks."""
        message = {
            "type": "request_vote",
            "term": term,
            "last_log_index": last_index,
            "last_log_term": last_term,
        }
        self._take(source, message)

    def on_vote(self, source: str, term: int) -> None:
        """A voter has voted for this replica."""
        self._take(source, {"type": "response_vote", "term": term})

    def on_timeout_now(self, source: str, term: int) -> None:
        """The leader asks this replica to take over."""
        self._take(source, {"type": "timeout_now", "term": term})

    def _take(self, source: str, message: dict[str, Any], *, is_news: bool = True) -> None:
        self._has_news = self._has_news or is_news
        self._SyncObj__onMessageReceived(self._node(source), message)

    # Calls.

    def observe_term(self, term: int) -> None:
        """Follow into a higher term; a leader steps down. Raft's rule for every message."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self.step_down()

    def pin_vote(self) -> None:
        """Persist this replica's vote for the leader of this term, so that it cannot vote again in it."""
        self._SyncObj__setCurrentTerm(self.term, self.leader or self._SyncObj__selfNode.id)
        # What follows is stored as well, and must not be on disk before the vote is.
        self._journal.save_vote()
        self._journal.vote_is_unsaved = False

    def step_down(self) -> None:
        """Lead or campaign no more."""
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None
        self.start_election_clock()

    def rebase(self, index: int) -> None:
        """The log now begins after ``index``, which is committed."""
        self._SyncObj__raftCommitIndex = index
        self._SyncObj__raftLastApplied = index
        self._journal.setRaftCommitIndex(index)

    def learn_commit(self, index: int) -> None:
        """The leader of this term has committed up to here, and the log is as its own up to here."""
        if index > self._SyncObj__raftCommitIndex:
            self._SyncObj__raftCommitIndex = index
            self._journal.setRaftCommitIndex(index)

    def lower_match(self, node_id: str, index: int) -> None:
        """A follower holds less than it had acknowledged."""
        matches = self._SyncObj__raftMatchIndex
        node = self._node(node_id)
        if matches.get(node, 0) > index:
            matches[node] = index

    def set_members(self, voters: Iterable[str], learners: Iterable[str]) -> None:
        """Who counts (without this replica itself), and who only receives."""
        self._has_news = True
        counting = {self._node(name) for name in voters}
        receiving = {self._node(name) for name in learners}
        before: set[Node] = self._SyncObj__otherNodes | self._SyncObj__readonlyNodes
        self._SyncObj__otherNodes: set[Node] = counting
        self._SyncObj__readonlyNodes: set[Node] = receiving
        for node in (counting | receiving) - before:
            self._SyncObj__raftNextIndex[node] = self._log.last_index + 1
            self._SyncObj__raftMatchIndex[node] = 0
            self._SyncObj__lastResponseTime[node] = Time.now
        for node in before - counting - receiving:
            self._SyncObj__raftNextIndex.pop(node, None)
            self._SyncObj__raftMatchIndex.pop(node, None)
            self._SyncObj__lastResponseTime.pop(node, None)

    # Replaced parts of the library.

    def _checkCommandsToApply(self) -> None:
        """Nothing is ever put into the library's queue: ``append`` goes past it."""

    def _SyncObj__connectedToAnyone(self) -> bool:
        return self._driver.may_start_election()

    def _SyncObj__getCurrentLogIndex(self) -> int:
        # While a leader counts, its log ends for it where its own disk has confirmed it.
        return self._durable_at_tick if self._counting else self._log.last_index

    def _SyncObj__getCurrentLogTerm(self) -> int:
        return self._log.last_term

    def _SyncObj__getEntries(
        self, first: int | None, count: int | None = None, _bytes_max: int | None = None
    ) -> list[tuple[None, int, int]]:
        # What is left of the callers asks for terms: the commit loop (count 1) and the check of the entry
        # before an append (no count).
        return self._journal.terms_from(first, counting=count is not None)

    def _SyncObj__applyLogEntries(self) -> bool:
        # The group applies. This comes right behind the counting in a tick, which ends here.
        self._counting = False
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex
        return False

    def _SyncObj__sendAppendEntries(self) -> None:
        self._SyncObj__newAppendEntriesTime = Time.now + self._options.heartbeat_s
        self._driver.replicate()

    def _SyncObj__setCurrentTerm(self, term: int, voted_for: str | None) -> None:
        self._journal.setCurrentTerm(term, voted_for)
        self._SyncObj__raftCurrentTerm = term
        self._SyncObj__votedForNodeId = voted_for

    def _SyncObj__tryLogCompaction(self) -> None:
        """The log is the data: it is trimmed by retention, never compacted."""

    def _SyncObj__onSetCodeVersion(self, _version: int) -> None:
        """There are no replicated methods whose versions could change."""
