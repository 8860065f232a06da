"""One Raft group's replica: takes in messages, proposals and time, and gives out messages and outcomes.

No I/O but its log, no clock but the one it is given, no thread: everything here belongs to one thread, only
``log.write()`` and ``log.sync()`` run elsewhere, between ``needs_flush`` and ``flushed``. After any input the
host calls ``step()``, then ``take_outbox()``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from floodmark.frame import FrameKind

from consensus import membership as members
from consensus.checkpoint import State
from consensus.journal import Pending
from consensus.parts import Parts
from consensus.probation import Stage
from consensus.safeguards import ALL
from consensus.safeguards import Safeguard as Safeguard  # noqa: PLC0414 # tests take it from here
from consensus.types import (
    Barrier,
    ChangeRefused,
    GroupOptions,
    GroupStopped,
    Membership,
    Message,
    NotLeader,
    Proposal,
    Role,
    StateMachine,
)
from storage.errors import LogFailed, StorageError
from storage.log import Log
from storage.vote import VoteFile

COMMIT_NOTICE_HEARTBEATS = 0.2
"""Followers hear of a commit after this part of a heartbeat when no append carries it to them before."""


class Group:
    """See docs/ARCHITECTURE.md for the contract.

    ``voting=False`` says that this replica's data, votes included, is gone. ``safeguards`` is for tests,
    which take single ones away; see safeguards.py.
    """

    def __init__(
        self,
        *,
        group_id: int,
        node_id: str,
        log: Log,
        vote: VoteFile,
        machine: StateMachine,
        membership: Membership,
        clock: Callable[[], float],
        random: Random,
        options: GroupOptions,
        voting: bool = True,
        safeguards: frozenset[Safeguard] = ALL,
    ) -> None:
        self.group_id = group_id
        self.node_id = node_id
        self.log = log
        self.failed: Exception | None = None
        """Why this replica is of no more use; after this it takes part in nothing."""
        self._stopped = False
        self._clock = clock
        self._machine = machine
        self._inbox: list[tuple[str, Message]] = []
        self._was_leader = False
        self._was_flushed = False
        self._parts = Parts(
            node_id=node_id,
            log=log,
            vote=vote,
            machine=machine,
            membership=membership,
            now=clock(),
            random=random,
            options=options,
            voting=voting,
            safeguards=safeguards,
        )
        self._core = self._parts.core
        self._stored_stage = Stage.SOUND
        self._store_stage()

    # Inputs.

    def propose(
        self, kind: FrameKind, payload: bytes, *, append_time: int, record_count: int = 0
    ) -> Proposal:
        """Have an entry appended in the next step. Raises ``NotLeader``, ``GroupStopped``."""
        core = self._core
        self._check_runs()
        if not core.engine.is_leader or core.transfer_target is not None:
            raise NotLeader(core.transfer_target or core.engine.leader)
        self._begin()
        proposal = Proposal()
        self._parts.proposals.add(Pending(kind, payload, append_time, record_count, proposal))
        return proposal

    def propose_membership(self, membership: Membership) -> Proposal:
        """Change the members. Raises ``NotLeader``, ``GroupStopped``, ``ChangeRefused`` with the reason."""
        self._begin()
        if self._parts.proposals.membership_is_queued:
            raise ChangeRefused("another membership change is not committed yet")
        if self._core.engine.is_leader and Safeguard.C7 in self._core.safeguards:
            if not self.is_ready_leader:
                raise ChangeRefused("this leader has not committed an entry of its own yet")
            self._core.members.check_change(
                membership, commit_index=self.commit_index, match=self._parts.replication.match_of
            )
        return self.propose(FrameKind.MEMBERSHIP, members.encode(membership), append_time=0)

    def receive(self, source: str, message: Message) -> None:
        """Queue a message of another replica for the next step."""
        self._inbox.append((source, message))

    def peer_up(self, node: str) -> None:
        """A new connection to ``node`` stands; nothing that was sent before will arrive any more."""
        self._begin()
        self._core.up.add(node)
        if self._core.engine.is_leader:
            self._parts.replication.link_up(node)
            if node in self._core.members.others:
                self._core.engine.heartbeat_at(0.0)

    def peer_down(self, node: str) -> None:
        """The connection to ``node`` is lost."""
        self._begin()
        self._core.up.discard(node)

    def peer_silent(self, node: str) -> None:
        """Nothing at all has come from ``node`` for a while: groups that rely on it wake up."""
        engine = self._core.engine
        if self._core.asleep and (engine.is_leader or engine.leader == node):
            self._begin()

    def barrier(self) -> Barrier:
        """Ask up to where a read must have applied; see ``Barrier``. Raises ``GroupStopped``."""
        self._check_runs()
        self._begin()
        return self._parts.reads.ask()

    def campaign(self) -> None:
        """Ask for votes now and not after a timeout, where no leader is known; the others may refuse."""
        if self.failed is None and not self._stopped and self._core.engine.leader is None:
            self._begin()
            self._parts.prevote.cancel()
            self._core.engine.end_election_clock()

    def transfer(self, to: str | None = None) -> bool:
        """Begin to hand over the leadership; False when this replica does not lead or nobody can."""
        if self.failed is not None or self._stopped or not self._core.engine.is_leader:
            return False
        self._begin()
        return self._parts.transfer.start(to)

    def flushed(self, durable_index: int) -> None:
        """``log.sync()`` has returned this; what waited for it goes on in the next step."""
        assert durable_index >= 0, "an index"
        self._was_flushed = True

    def flush_failed(self, error: StorageError) -> None:
        """``log.write()`` or ``log.sync()`` failed: this replica is of no more use."""
        self._fail(error)

    def step(self) -> None:
        """Take in what is queued, look at the deadlines, resolve what is decided, fill the outbox."""
        inbox, self._inbox = self._inbox, []
        if self.failed is not None or self._stopped or (self._core.asleep and not inbox):
            return
        parts = self._parts
        try:
            parts.begin(self._clock())
            for source, message in inbox:
                parts.dispatcher.take(source, message)
            if not self._core.asleep:
                self._turn()
        except StorageError as error:
            self._fail(error)
        except BaseException:
            # A defect. Whoever runs this replica learns of it, and nobody hears of the replica again.
            self._fail(LogFailed("an unexpected error in a step"))
            raise

    def stop(self) -> None:
        """Open proposals and barriers end as unknown. The log stays open: it is the host's."""
        if not self._stopped:
            self._stopped = True
            self._parts.proposals.abandon("this replica was stopped")
            self._parts.reads.abandon()

    # Durable state.

    def checkpoint(self) -> None:
        """Store where to go on after a restart, durably. Blocks on the disk."""
        self.log.checkpoint(self.checkpoint_state(), index=self._core.applied_index)

    def checkpoint_state(self) -> bytes:
        """What ``checkpoint`` stores; for a host that calls ``log.checkpoint`` in a thread."""
        core = self._core
        commit = core.applied_index if Safeguard.C3 in core.safeguards else core.engine.commit_index
        state = State(
            commit,
            core.applied_index,
            core.applied_offset,
            core.members.history,
            self._parts.probation.stage,
            self._machine.snapshot(),
        )
        return state.encode()

    def compact(self, before_index: int | None = None) -> int:
        """Checkpoint, then drop whole segments of applied entries below ``before_index`` (None: all of them).

        Returns the log's new base index.
        """
        limit = self._core.applied_index + 1
        self.checkpoint()
        return self.log.trim(before_index=limit if before_index is None else min(limit, before_index))

    # Outputs.

    def take_outbox(self) -> list[tuple[str, Message]]:
        """Messages that may leave now, in order, as (node, message)."""
        outbox, self._core.outbox = self._core.outbox, []
        return outbox

    @property
    def needs_flush(self) -> bool:
        """Whether the log holds entries that are not durable yet."""
        return self.failed is None and self.log.durable_index < self.log.last_index

    @property
    def next_deadline(self) -> float:
        """When a step is due though nothing arrives; inf while asleep."""
        core, parts = self._core, self._parts
        if self.failed is not None or self._stopped or core.asleep:
            return math.inf
        if parts.applier.is_behind:
            return core.now
        engine = core.engine
        deadline = min(parts.reads.deadline, parts.transfer.deadline)
        if engine.is_leader:
            deadline = min(deadline, engine.heartbeat_due)
        elif parts.prevote.may_campaign:
            expired = engine.election_deadline < core.now
            deadline = min(deadline, parts.prevote.retry_at if expired else engine.election_deadline)
        # The engine acts strictly after its deadlines.
        return math.nextafter(deadline, math.inf)

    # State.

    @property
    def role(self) -> Role:
        """What this replica is now."""
        return self._core.engine.role if self._core.members.is_voter else Role.LEARNER

    @property
    def term(self) -> int:
        """The highest term that this replica knows of."""
        return self._core.engine.term

    @property
    def leader(self) -> str | None:
        """Who leads that term, as far as is known here."""
        return self._core.engine.leader

    @property
    def membership(self) -> Membership:
        """The members in force."""
        return self._core.members.current

    @property
    def commit_index(self) -> int:
        """The last entry that is known committed."""
        return self._core.engine.commit_index

    @property
    def applied_index(self) -> int:
        """The last entry that the machine has seen: committed, and durable here."""
        return self._core.applied_index

    @property
    def high_watermark(self) -> int:
        """Records below this offset are committed, and durable here."""
        return self._core.applied_offset

    @property
    def is_ready_leader(self) -> bool:
        """Whether this replica leads and has applied all that was committed before it did."""
        engine = self._core.engine
        return engine.is_leader and self._core.applied_index >= engine.noop_index

    @property
    def asleep(self) -> bool:
        """Quiescent: nothing to do, and no heartbeats."""
        return self._core.asleep

    @property
    def may_vote(self) -> bool:
        """False while this replica has lost data and not regained it."""
        return self._parts.probation.may_vote

    def match_of(self, node: str) -> int:
        """On a leader: up to where a member is known to have its log."""
        return self.log.durable_index if node == self.node_id else self._parts.replication.match_of(node)

    def is_trusted(self, node: str) -> bool:
        """On a leader: False for a member that has said that its data, votes included, is gone."""
        return self._parts.replication.is_trusted(node)

    # Inside.

    def _begin(self) -> None:
        self._parts.begin(self._clock())
        self._parts.quiescence.wake()

    def _check_runs(self) -> None:
        if self.failed is not None or self._stopped:
            raise GroupStopped(f"this replica does not run: {self.failed or 'it was stopped'}")

    def _turn(self) -> None:
        core, parts = self._core, self._parts
        engine = core.engine
        if self._was_flushed:
            self._was_flushed = False
            parts.acks.flushed()
        commit = engine.commit_index
        engine.tick()
        if parts.proposals.drain():
            parts.quiescence.busy()
        if engine.is_leader:
            parts.replication.push()
            if engine.commit_index != commit:
                notice = core.now + core.options.heartbeat_s * COMMIT_NOTICE_HEARTBEATS
                engine.heartbeat_at(min(engine.heartbeat_due, notice))
                parts.quiescence.busy()
        elif self._was_leader:
            parts.reads.leadership_lost()
        self._was_leader = engine.is_leader
        parts.applier.advance()
        parts.probation.look()
        self._store_stage()
        parts.transfer.look()
        parts.reads.look()
        parts.quiescence.look()

    def _store_stage(self) -> None:
        """That data was lost, and how far it is regained, must survive the next restart."""
        stage = self._parts.probation.stage
        if stage is not self._stored_stage:
            self.checkpoint()
            self._stored_stage = stage

    def _fail(self, error: Exception) -> None:
        if self.failed is None:
            self.failed = error
            self._core.outbox.clear()
            self._core.engine.step_down()
            self._parts.proposals.abandon(f"this replica failed: {error}")
            self._parts.reads.abandon()
