"""Read indexes: up to where must a read have applied to see all that was acknowledged before it began (H3)?

A leader may have been deposed without knowing, so it asks: it broadcasts with a new round number and answers
with the commit index that it had then, once a majority has echoed that round, but only after an entry of its
own term has been committed. Other replicas ask the leader (Raft dissertation, section 6.4). A read index ends
when all up to that index is applied here.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

from consensus.core.safeguards import Safeguard
from consensus.messages import ReadIndexRequest, ReadIndexResponse
from consensus.types import ReadIndex

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.replication import Replication

Read = ReadIndex | tuple[str, int]
"""A read index of this replica, or (node, id) of one that asked."""


class Reads:
    """All open read indexes of one replica."""

    def __init__(self, core: Core, replication: Replication) -> None:
        self._core = core
        self._replication = replication
        # Answers to questions of an earlier life of this replica must not fit the questions of this one.
        self._count = itertools.count(core.random.getrandbits(60))
        self._waiting: list[Read] = []
        self._rounds: deque[tuple[int, int, Read]] = deque()
        self._asked: dict[int, tuple[ReadIndex, str]] = {}
        self._refused: list[ReadIndex] = []
        self._retry_at = math.inf
        self._known: list[tuple[int, int, ReadIndex]] = []

    @property
    def is_idle(self) -> bool:
        """Whether none is open."""
        return not (self._waiting or self._rounds or self._asked or self._refused or self._known)

    @property
    def deadline(self) -> float:
        """When ``look`` should come again though nothing happens."""
        if not (self._asked or self._waiting or self._refused) or self._core.engine.is_leader:
            return math.inf
        return self._retry_at

    def ask(self) -> ReadIndex:
        """A new read index of this replica."""
        read_index = ReadIndex()
        self._waiting.append(read_index)
        return read_index

    def on_request(self, source: str, message: ReadIndexRequest) -> None:
        """Another replica asks."""
        if self._core.engine.is_leader:
            self._waiting.append((source, message.id))
        else:
            self._refuse(source, message.id)

    def on_answer(self, message: ReadIndexResponse) -> None:
        """The leader's answer."""
        asked = self._asked.pop(message.id, None)
        if asked is None:
            return
        if message.ok:
            self._keep(message.index, asked[0])
        else:
            self._refused.append(asked[0])

    def look(self) -> None:
        """At the end of every step."""
        if self.is_idle:
            return
        if self._core.engine.is_leader:
            self._confirm()
        else:
            self._ask_leader()
        while self._known and self._known[0][0] <= self._core.applied_index:
            index, _, read_index = heapq.heappop(self._known)
            read_index.resolve(index)

    def leadership_lost(self) -> None:
        """What was not confirmed never will be here: those who asked are told, own read indexes ask again."""
        reads = [*self._waiting, *(item[2] for item in self._rounds)]
        self._rounds.clear()
        self._waiting = [read for read in reads if isinstance(read, ReadIndex)]
        for read in reads:
            if not isinstance(read, ReadIndex):
                self._refuse(*read)

    def abandon(self) -> None:
        """The replica stops."""
        self.leadership_lost()
        own = [item[0] for item in self._asked.values()] + [item[2] for item in self._known] + self._refused
        for read in [*own, *self._waiting]:
            assert isinstance(read, ReadIndex), "others were refused above"
            read.resolve(None)
        self._waiting.clear()
        self._asked.clear()
        self._refused.clear()
        self._known.clear()

    def _confirm(self) -> None:
        core = self._core
        commit = core.engine.commit_index
        self._waiting += [*(read_index for read_index, _ in self._asked.values()), *self._refused]
        self._asked.clear()
        self._refused.clear()
        if self._waiting and commit >= core.engine.noop_index:
            if core.has(Safeguard.H3):
                self._replication.broadcast()
            for read in self._waiting:
                self._rounds.append((self._replication.round, commit, read))
            self._waiting.clear()
        while self._rounds:
            round_, index, read = self._rounds[0]
            if core.has(Safeguard.H3) and not self._replication.confirmed_by_majority(round_):
                break
            self._rounds.popleft()
            if isinstance(read, ReadIndex):
                self._keep(index, read)
            else:
                core.emit(read[0], ReadIndexResponse(read[1], index, ok=True))

    def _ask_leader(self) -> None:
        core = self._core
        leader = core.engine.leader
        is_late = core.now >= self._retry_at
        for number, (read_index, asked) in list(self._asked.items()):
            if is_late or asked != leader:
                del self._asked[number]
                self._waiting.append(read_index)
        if is_late:
            self._waiting += self._refused
            self._refused.clear()
        if is_late or self._retry_at == math.inf:
            self._retry_at = core.now + core.options.election_timeout_min_s
        if leader is None or leader == core.node_id:
            return
        for read in self._waiting:
            assert isinstance(read, ReadIndex), "others are only taken in by a leader"
            if not read.done:
                number = next(self._count)
                self._asked[number] = (read, leader)
                core.emit(leader, ReadIndexRequest(number))
        self._waiting.clear()

    def _keep(self, index: int, read_index: ReadIndex) -> None:
        heapq.heappush(self._known, (index, next(self._count), read_index))

    def _refuse(self, node: str, number: int) -> None:
        self._core.emit(node, ReadIndexResponse(number, 0, ok=False))
