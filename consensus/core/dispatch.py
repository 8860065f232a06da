"""Messages of other replicas: each kind is checked, and handed to the part that it concerns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from consensus.core.admission import Admission
from consensus.core.checkpoint_format import State
from consensus.core.install import is_needed
from consensus.core.safeguards import Safeguard
from consensus.messages import (
    AppendEntries,
    AppendEntriesResponse,
    FramesRequest,
    FramesResponse,
    InstallSnapshot,
    Message,
    Quiesce,
    ReadIndexRequest,
    ReadIndexResponse,
    ReplicaGone,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotPosition,
    StaleTerm,
    TimeoutNow,
)
from consensus.types import Membership, StateMachine

if TYPE_CHECKING:
    from consensus.core.acknowledge import Acknowledger
    from consensus.core.core import Core
    from consensus.core.disk_loss_recovery import DiskLossRecovery
    from consensus.core.fetching import Fetching
    from consensus.core.prevote import Prevote
    from consensus.core.quiescence import Quiescence
    from consensus.core.read_index import Reads
    from consensus.core.replication import Replication
    from consensus.core.state_receiving import StateReceiver
    from consensus.core.state_sending import StateSender
    from consensus.core.transfer import Transfer


class Dispatcher:
    """Takes messages in, after the checks of admission.py."""

    def __init__(
        self,
        core: Core,
        *,
        machine: StateMachine | None,
        sender: StateSender | None,
        receiver: StateReceiver | None,
        acks: Acknowledger,
        fetching: Fetching,
        prevote: Prevote,
        disk_loss_recovery: DiskLossRecovery,
        quiescence: Quiescence,
        reads: Reads,
        replication: Replication,
        transfer: Transfer,
    ) -> None:
        self._core = core
        self._machine = machine
        self._acks = acks
        self._fetching = fetching
        self._prevote = prevote
        self._disk_loss_recovery = disk_loss_recovery
        self._quiescence = quiescence
        self._reads = reads
        self._replication = replication
        self._transfer = transfer
        self._admission = Admission(core)
        self._handlers: dict[type[Message], Callable[[str, Any], None]] = {
            AppendEntries: self._append,
            AppendEntriesResponse: self._append_response,
            StaleTerm: self._stale_term,
            RequestVote: self._vote_request,
            RequestVoteResponse: self._vote,
            RequestPreVote: prevote.on_request,
            RequestPreVoteResponse: self._prevote_answer,
            TimeoutNow: self._timeout_now,
            InstallSnapshot: self._install,
            ReadIndexRequest: reads.on_request,
            ReadIndexResponse: self._read_index,
            Quiesce: quiescence.on_quiesce,
            ReplicaGone: self._replica_gone,
            FramesRequest: self._frames_request,
            FramesResponse: fetching.on_answer,
            # Only a machine with a large state has these two.
            SnapshotOffer: _ignore if receiver is None else receiver.on_offer,
            SnapshotPosition: _ignore if sender is None else sender.on_position,
            SnapshotChunk: _ignore if receiver is None else receiver.on_chunk,
        }

    def take(self, source: str, message: Message) -> None:
        """Take in one message. Whatever it says, only this replica's own disk can make it raise
        (``StorageError``)."""
        kind = type(message)
        if self._admission.term(source, message):
            self._quiescence.wake(says_something=kind is ReadIndexRequest, for_votes=kind is RequestPreVote)
            self._handlers[kind](source, message)

    def _append(self, source: str, message: AppendEntries) -> None:
        core = self._core
        admitted = self._admission.append(source, message)
        if admitted is None:
            return
        self._acks.begin(source, message, is_heartbeat=not message.frames)
        core.engine.on_append(
            source,
            term=message.term,
            prev_index=message.prev_index,
            prev_term=message.prev_term,
            commit=admitted.commit,
            entries=admitted.entries,
        )
        core.leader_heard_at = core.now
        self._prevote.cancel()

    def _append_response(self, source: str, message: AppendEntriesResponse) -> None:
        self._core.engine.observe_term(message.term)
        if self._admission.ack(source, message):
            self._replication.on_ack(source, message)

    def _stale_term(self, _source: str, message: StaleTerm) -> None:
        self._core.engine.observe_term(message.term)

    def _vote_request(self, source: str, message: RequestVote) -> None:
        if self._prevote.may_vote:
            self._core.engine.on_vote_request(
                source, term=message.term, last_index=message.last_index, last_term=message.last_term
            )

    def _vote(self, source: str, message: RequestVoteResponse) -> None:
        if self._admission.vote(source, message):
            self._core.engine.on_vote(source, message.term)

    def _prevote_answer(self, source: str, message: RequestPreVoteResponse) -> None:
        if source in self._core.members.other_voters:
            self._prevote.on_answer(source, message)

    def _timeout_now(self, source: str, message: TimeoutNow) -> None:
        if self._prevote.may_campaign:
            self._core.engine.on_timeout_now(source, message.term)
        elif self._prevote.leaving and not self._core.engine.is_leader:
            # The leader asks somebody else, and takes writes in again, at once.
            self._core.emit(source, ReplicaGone(self._core.engine.term))

    def _read_index(self, _source: str, message: ReadIndexResponse) -> None:
        self._reads.on_answer(message)

    def _replica_gone(self, source: str, _message: ReplicaGone) -> None:
        """Its node lives, so no link tells it: this message alone makes those who sleep on it look."""
        core = self._core
        if core.engine.is_leader:
            # What it had acknowledged may be damaged: it counts again once the replica confirms it.
            self._replication.link_up(source)
            self._transfer.on_refusal(source)
        elif core.engine.leader == source:
            self._prevote.leader_is_gone()

    def _frames_request(self, source: str, message: FramesRequest) -> None:
        damage = self._fetching.on_request(source, message)
        if damage is not None:
            self._core.damage = damage

    def _install(self, source: str, message: InstallSnapshot) -> None:
        core = self._core
        if self._machine is None:
            return  # Its state does not come like this.
        if not self._admission.install(source, message):
            return
        core.engine.on_leader(source, message.term)
        core.leader_heard_at = core.now
        self._prevote.cancel()
        self._acks.begin(source, message, is_heartbeat=True)
        if not is_needed(core, message):
            self._acks.installed(max(message.index, core.engine.commit_index))
            return
        try:
            self._start_over(message, self._machine)
        except Exception:
            if Safeguard.C6 in core.safeguards:
                raise
        self._acks.installed(message.index)

    def _start_over(self, install: InstallSnapshot, machine: StateMachine) -> None:
        core, index = self._core, install.index
        membership = Membership(frozenset(install.voters), frozenset(install.learners))
        state = State(
            index, index, install.offset, [(index, membership)], self._disk_loss_recovery.stage, install.state
        )
        machine.restore(install.state)
        core.log.reset(index=index, term=install.entry_term, offset=install.offset, state=state.encode())
        core.applied_index = index
        core.applied_offset = install.offset
        core.members.reset(index, membership)
        core.engine.rebase(index)


def _ignore(_source: str, _message: Message) -> None:
    """Messages may always get lost."""
