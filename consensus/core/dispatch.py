"""Messages of other replicas, one method for each kind; and the engine's own, on their way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus.core.admission import Admission
from consensus.core.checkpoint import State
from consensus.core.install import is_needed
from consensus.core.safeguards import Safeguard
from consensus.types import Membership, Message, StateMachine

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
    ) -> None:
        self._core = core
        self._machine = machine
        self._sender = sender
        self._receiver = receiver
        self._acks = acks
        self._fetching = fetching
        self._prevote = prevote
        self._disk_loss_recovery = disk_loss_recovery
        self._quiescence = quiescence
        self._reads = reads
        self._replication = replication
        self._admission = Admission(core)
        self._by_kind = {
            "append": self._append,
            "ack": self._ack,
            "stale": self._stale,
            "vote_request": self._vote_request,
            "vote": self._vote,
            "prevote_request": self._prevote_request,
            "prevote": self._prevote_answer,
            "timeout_now": self._timeout_now,
            "install": self._install,
            "read_request": self._read_request,
            "read_index": self._read_index,
            "quiesce": self._quiesce,
            "absent": self._absent,
            "frames_request": self._frames_request,
            "frames": self._frames,
            "state_offer": self._state_offer,
            "state_wanted": self._state_wanted,
            "state_chunk": self._state_chunk,
        }

    def take(self, source: str, message: Message) -> None:
        """Take in one message. Never raises on what a peer sent, only on what the own disk does."""
        handler = self._by_kind.get(message.kind)
        if handler is not None and self._admission.term(source, message.fields):
            kind = message.kind
            self._quiescence.wake(says_something=kind == "read_request", for_votes=kind == "prevote_request")
            handler(source, message)

    def _append(self, source: str, message: Message) -> None:
        core = self._core
        checked = self._admission.append(source, message)
        if checked is None:
            return
        self._acks.begin(source, message.fields, is_heartbeat=not message.frames)
        core.engine.deliver(source, checked)
        core.leader_heard_at = core.now
        self._prevote.cancel()

    def _ack(self, source: str, message: Message) -> None:
        self._core.engine.observe_term(message.fields["term"])
        if self._admission.ack(source, message.fields):
            self._replication.on_ack(source, message.fields)

    def _stale(self, _source: str, message: Message) -> None:
        self._core.engine.observe_term(message.fields["term"])

    def _vote_request(self, source: str, message: Message) -> None:
        if self._prevote.may_vote:
            self._core.engine.deliver(source, {"type": "request_vote", **_without_round(message.fields)})

    def _vote(self, source: str, message: Message) -> None:
        if self._admission.vote(source, message.fields):
            self._core.engine.deliver(source, {"type": "response_vote", "term": message.fields["term"]})

    def _prevote_request(self, source: str, message: Message) -> None:
        self._prevote.on_request(source, message.fields)

    def _prevote_answer(self, source: str, message: Message) -> None:
        if source in self._core.members.other_voters:
            self._prevote.on_answer(source, message.fields)

    def _timeout_now(self, source: str, message: Message) -> None:
        if self._prevote.may_campaign:
            self._core.engine.deliver(source, {"type": "timeout_now", "term": message.fields["term"]})

    def _read_request(self, source: str, message: Message) -> None:
        self._reads.on_request(source, message.fields)

    def _read_index(self, _source: str, message: Message) -> None:
        self._reads.on_answer(message.fields)

    def _quiesce(self, source: str, message: Message) -> None:
        self._quiescence.on_quiesce(source, message.fields)

    def _absent(self, source: str, _message: Message) -> None:
        """Its node lives, so no link tells it: this message alone makes those who sleep on it look."""
        core = self._core
        if core.engine.is_leader:
            # What it had acknowledged may be damaged: it counts again when the replica says so anew.
            self._replication.link_up(source)
        elif core.engine.leader == source:
            self._prevote.leader_is_gone()

    def _frames_request(self, source: str, message: Message) -> None:
        damage = self._fetching.on_request(source, message.fields)
        if damage is not None:
            self._core.damage = damage

    def _frames(self, source: str, message: Message) -> None:
        self._fetching.on_answer(source, message.fields, message.frames)

    def _state_offer(self, source: str, message: Message) -> None:
        if self._receiver is not None:
            self._receiver.on_offer(source, message.fields)

    def _state_wanted(self, source: str, message: Message) -> None:
        if self._sender is not None:
            self._sender.on_wanted(source, message.fields)

    def _state_chunk(self, source: str, message: Message) -> None:
        if self._receiver is not None:
            self._receiver.on_chunk(source, message.fields, message.state)

    def _install(self, source: str, message: Message) -> None:
        core = self._core
        if self._machine is None:
            return  # Its state does not come like this.
        contact = self._admission.install(source, message)
        if contact is None:
            return
        fields = message.fields
        core.engine.deliver(source, contact)
        core.leader_heard_at = core.now
        self._prevote.cancel()
        self._acks.begin(source, fields, is_heartbeat=True)
        if not is_needed(core, fields):
            self._acks.installed(max(fields["index"], core.engine.commit_index))
            return
        try:
            self._start_over(fields, message.state)
        except Exception:
            if Safeguard.C6 in core.safeguards:
                raise
        self._acks.installed(fields["index"])

    def _start_over(self, fields: dict[str, Any], machine_state: bytes) -> None:
        core = self._core
        index, offset = fields["index"], fields["offset"]
        membership = Membership(frozenset(fields["voters"]), frozenset(fields["learners"]))
        state = State(
            index, index, offset, [(index, membership)], self._disk_loss_recovery.stage, machine_state
        )
        assert self._machine is not None
        self._machine.restore(machine_state)
        core.log.reset(index=index, term=fields["entry_term"], offset=offset, state=state.encode())
        core.applied_index = index
        core.applied_offset = offset
        core.members.reset(index, membership)
        core.engine.rebase(index)


def _without_round(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "term": fields["term"],
        "last_log_index": fields["last_index"],
        "last_log_term": fields["last_term"],
    }
