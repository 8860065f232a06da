"""The parts of one replica, put together: what each does in a step, and what the engine asks of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import cast

from consensus.core.acknowledge import Acknowledger
from consensus.core.apply import Applier
from consensus.core.catch_up import CatchUp, Turns
from consensus.core.checkpoints import Checkpoints
from consensus.core.core import Core
from consensus.core.disk_loss_recovery import DiskLossRecovery
from consensus.core.dispatch import Dispatcher
from consensus.core.engine import Engine
from consensus.core.engine_setup import STOCK_LEADER_FALLBACK_S
from consensus.core.fetching import Fetching
from consensus.core.install import Installer
from consensus.core.journal import Journal
from consensus.core.large_checkpoints import LargeCheckpoints
from consensus.core.large_state import LargeMachine, is_large
from consensus.core.prevote import Prevote
from consensus.core.proposals import Proposals
from consensus.core.quiescence import Quiescence
from consensus.core.read_index import Reads
from consensus.core.replication import Replication
from consensus.core.restart import restored
from consensus.core.safeguards import Safeguard
from consensus.core.state_files import StateFiles
from consensus.core.state_receiving import StateReceiver
from consensus.core.state_sending import StateSender
from consensus.core.transfer import Transfer
from consensus.messages import AppendEntriesResponse, Message, RequestVote, RequestVoteResponse
from consensus.types import GroupOptions, Membership, StateMachine
from storage.log import Log
from storage.vote import VoteFile


class GroupParts:
    """One replica's parts, each a rule of Raft, and their turn within a step. Also the engine's driver."""

    def __init__(
        self,
        *,
        raft_group: int,
        node_id: str,
        log: Log,
        vote: VoteFile,
        machine: StateMachine | LargeMachine,
        membership: Membership,
        clock: Callable[[], float],
        random: Random,
        options: GroupOptions,
        voting: bool,
        safeguards: frozenset[Safeguard],
        files: StateFiles | None,
        catch_up: CatchUp | None,
    ) -> None:
        core = self.core = Core(
            raft_group=raft_group,
            node_id=node_id,
            log=log,
            vote=vote,
            options=options,
            random=random,
            safeguards=safeguards,
        )
        self._clock = clock
        self.begin()
        small = None if is_large(machine) else cast(StateMachine, machine)
        start = restored(core, membership, small, voting=voting, on_change=self.members_changed, files=files)
        journal = self.journal = Journal(
            log,
            vote,
            safeguards,
            commit_index=start.commit,
            on_append=core.members.appended,
            on_truncate=core.members.truncated,
        )
        fallback = options.leader_fallback_s if Safeguard.H3 in safeguards else STOCK_LEADER_FALLBACK_S
        core.engine = Engine(
            node_id=node_id,
            journal=journal,
            driver=self,
            options=options,
            random=random,
            leader_fallback_s=fallback,
        )
        turns = Turns(core, catch_up or CatchUp())
        sender: StateSender | None = None
        if small is None:
            assert files is not None, "a machine that keeps its state in files was loaded from them"
            sender = StateSender(core, files, turns)
        self.replication = Replication(core, sender or Installer(core, cast(StateMachine, machine)), turns)
        self.acks = Acknowledger(core)
        self.reads = Reads(core, self.replication)
        self.fetching = Fetching(core)
        self.disk_loss_recovery = DiskLossRecovery(core, start.stage, self.acks, self.reads)
        self.prevote = Prevote(core, self.disk_loss_recovery)
        self.proposals = Proposals(core, journal)
        self.transfer = Transfer(core, self.replication)
        self.large: LargeCheckpoints | None = None
        """Where the machine keeps its state in files."""
        self.receiver: StateReceiver | None = None
        self.checkpoints: Checkpoints | LargeCheckpoints
        if small is None:
            assert is_large(machine)
            assert sender is not None
            assert files is not None
            self.large = self.checkpoints = LargeCheckpoints(
                core, machine, files, self.disk_loss_recovery, start
            )
            sender.attach(self.large)
            self.receiver = StateReceiver(
                core, machine, files, self.large, self.disk_loss_recovery, self.acks
            )
        else:
            self.checkpoints = Checkpoints(core, small, self.disk_loss_recovery)
        self.applier = Applier(core, machine, self.proposals, self.disk_loss_recovery)
        self.quiescence = Quiescence(
            core,
            acks=self.acks,
            applier=self.applier,
            fetching=self.fetching,
            prevote=self.prevote,
            proposals=self.proposals,
            reads=self.reads,
            replication=self.replication,
        )
        self.dispatcher = Dispatcher(
            core,
            machine=small,
            sender=sender,
            receiver=self.receiver,
            acks=self.acks,
            fetching=self.fetching,
            prevote=self.prevote,
            disk_loss_recovery=self.disk_loss_recovery,
            quiescence=self.quiescence,
            reads=self.reads,
            replication=self.replication,
            transfer=self.transfer,
        )
        self.was_flushed = False
        self._was_leader = False
        self.members_changed(core.members.current)

    def begin(self) -> None:
        """Every call from outside starts with the time."""
        now = self.core.now = self._clock()
        Engine.at(now)

    def begin_awake(self, *, says_something: bool = False) -> None:
        """So do those for which a group that sleeps is woken."""
        self.begin()
        self.quiescence.wake(says_something=says_something)

    def can_wait(self, source: str, message: Message) -> bool:
        """Whether a message may stay queued until the next step, because it cannot advance the commit index.

        On a leader, an acknowledgement decides nothing before this replica's own fsync, nor once the entry is
        committed: of three replicas the second follower's always comes too late to matter.
        """
        core = self.core
        if not isinstance(message, AppendEntriesResponse) or not core.engine.is_leader or core.asleep:
            return False
        if not self.reads.is_idle or core.transfer_target is not None or core.now >= self.quiescence.rest_at:
            return False
        commit = core.engine.commit_index
        decides = message.next_index - 1 > commit and self.journal.countable_index > commit
        return not decides and self.replication.expects(source, message)

    @property
    def needs_flush(self) -> bool:
        """Whether the log holds entries that are not durable yet, and may be written."""
        core = self.core
        log = core.log
        unsaved = self.journal.vote_is_unsaved
        return log.durable_index < log.last_index and not unsaved and not core.installing

    @property
    def deadline(self) -> float:
        """When a step is due though nothing arrives; inf while asleep."""
        core = self.core
        if core.asleep or self.journal.vote_is_unsaved or core.installing:
            return math.inf
        if self.applier.is_behind:
            return core.now
        engine = core.engine
        own = math.inf
        if engine.is_leader:
            own = min(engine.heartbeat_due, self.replication.deadline)
        elif self.prevote.may_campaign:
            own = engine.election_deadline
            if own < core.now:
                own = self.prevote.retry_at
        # The engine acts strictly after its deadlines.
        return math.nextafter(
            min(own, self.reads.deadline, self.fetching.deadline, self.transfer.deadline), math.inf
        )

    @property
    def flush_decides(self) -> bool:
        """Whether there is something to do, now that more is durable here."""
        core = self.core
        return not core.engine.is_leader or self.replication.commit_may_rise or self.applier.is_behind

    def turn(self) -> None:
        """The part of a step after its messages: time passes, and what is decided is done."""
        core = self.core
        engine = core.engine
        if self.was_flushed:
            self.was_flushed = False
            self.acks.flushed()
        commit = engine.commit_index
        engine.tick()
        if self.proposals.drain():
            self.quiescence.busy()
        leads = engine.is_leader
        if leads:
            self.replication.push()
            if engine.commit_index != commit:
                engine.heartbeat_at(min(engine.heartbeat_due, core.now + self.quiescence.notice_s))
                self.quiescence.busy()
        elif self._was_leader:
            self.reads.leadership_lost()
        self._was_leader = leads
        self.applier.advance()
        if self.receiver is not None:
            self.receiver.look()
        if self.applier.may_halt and self.applier.halted:
            self._lead_no_more()
        self.transfer.look()
        self.reads.look()
        self.fetching.look()
        self.disk_loss_recovery.look()
        self.checkpoints.store_stage()
        if core.now >= self.quiescence.rest_at if leads else self.quiescence.is_told:
            self.quiescence.look()

    def _lead_no_more(self) -> None:
        """Whoever cannot apply what is committed would never be ready to lead, and keep others from it."""
        self.prevote.leaving = True
        if self.core.engine.is_leader:
            self.core.engine.step_down()

    def members_changed(self, membership: Membership) -> None:
        """A membership came into force, or was rolled back to."""
        core = self.core
        core.engine.set_members(core.members.other_voters, membership.learners - {core.node_id})
        self.replication.members_changed()

    # The engine's driver.

    def append_answered(self, *, next_index: int, success: bool, reset: bool) -> None:
        """The engine answers an append or install: that may have to wait for the disk."""
        self.acks.engine_answers(next_index=next_index, success=success, reset=reset)

    def ask_for_vote(self, node: str, term: int, last_index: int, last_term: int) -> None:
        """The engine campaigns."""
        self.core.emit(node, RequestVote(term, last_index, last_term))

    def grant_vote(self, node: str, term: int) -> None:
        """The engine votes for another replica."""
        self.core.emit(node, RequestVoteResponse(term))

    def may_start_election(self) -> bool:
        """Only after a majority has said that it would vote for this replica."""
        return self.prevote.gate()

    def replicate(self) -> None:
        """A heartbeat is due, or a leadership begins."""
        if not self.quiescence.look():
            self.replication.broadcast()
