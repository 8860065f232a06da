"""What the parts of one group share: its log and engine, its members, the time of the step and the outbox."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from consensus.core.jobs import Job
from consensus.core.safeguards import ALL, Safeguard
from consensus.messages import Message
from consensus.types import GroupOptions
from storage.errors import LogCorrupt
from storage.log import Log
from storage.vote import VoteFile

if TYPE_CHECKING:
    from consensus.core.engine import Engine
    from consensus.core.membership import Members


class Core:
    """Plain shared state; every rule lives in one of the parts."""

    engine: Engine
    members: Members

    def __init__(
        self,
        *,
        raft_group: int,
        node_id: str,
        log: Log,
        vote: VoteFile,
        options: GroupOptions,
        random: Random,
        safeguards: frozenset[Safeguard],
    ) -> None:
        self.raft_group = raft_group
        self.node_id = node_id
        self.log = log
        self.vote = vote
        self.options = options
        self.random = random
        self.safeguards = safeguards
        self._missing = ALL - safeguards
        self.now = 0.0
        self.outbox: list[tuple[str, Message]] = []
        self.released: list[tuple[str, Message]] = []
        """What may leave though the vote is being saved: it was said before, or by a replica that failed."""
        self.jobs: list[Job] = []
        """What is to be done in a thread and was not handed out yet."""
        self.up: set[str] = set()
        """Nodes that a link to stands."""
        self.older: set[str] = set()
        """Those of them that have to know of the last commit before they are put to sleep."""
        self.applied_index = log.base_index - 1
        self.applied_offset = log.start_offset
        self.leader_heard_at = -math.inf
        """When a leader of the current term was last heard; the base of pre-votes."""
        self.transfer_target: str | None = None
        self.terms_refused = 0
        """Messages that were not taken in, because they would have moved the term too far."""
        self.failed: Exception | None = None
        """Why this replica is of no more use; after this it takes part in nothing."""
        self.runs = True
        """Whether this replica has neither failed nor been stopped."""
        self.installing = False
        """The log is being replaced by a large state that came: nothing may be taken in, said or written."""
        self.asleep = False
        """Quiescent: no clock runs."""
        self.member_news = False
        """On a leader: a member was found sound, lost or caught up, and whoever runs it has not been told."""
        self.damage: LogCorrupt | None = None
        """A frame that this replica could not read for a peer, and whoever runs it has not been told of."""

    def emit(self, node: str, message: Message) -> None:
        """Put one message into the outbox."""
        self.outbox.append((node, message))

    def work(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None],
        *,
        exclusive: bool = False,
        leisurely: bool = False,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Have something done in a thread; see ``Job``."""
        self.jobs.append(Job(work, done, exclusive, leisurely, failed))

    @property
    def is_ready_leader(self) -> bool:
        """Whether this replica leads and has applied all that was committed before it did."""
        return self.engine.is_leader and self.applied_index >= self.engine.noop_index

    def has(self, safeguard: Safeguard) -> bool:
        """Whether a safeguard is in place: always, but for tests."""
        return not self._missing or safeguard not in self._missing
