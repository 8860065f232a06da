"""A shard of the coordinator at a simulated replica: its state machine, and who decides while it leads.

The steps, deadlines and the state are the product's; what stands between them is small: who decides when, in
the way of ``node.coordinator.lead``, on virtual time.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
from floodmark.errors import FloodmarkError
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.frame_records import IMPLIED

from consensus.core.keyed_state import KeyedLoader, command
from consensus.types import NotLeader, NotStored, Outcome, Role, Stored
from node.coordinator import keys
from node.coordinator.groups import membership
from node.coordinator.groups.decision import Decision
from node.coordinator.groups.group import Group
from node.coordinator.groups.requests import MemberAnswer
from node.coordinator.groups.sessions import Over, Sessions
from node.coordinator.keys import Kind
from node.coordinator.machine import CoordinatorMachine, group_of
from tests.simulation.broken import Rule
from tests.simulation.ledger import Asked
from tests.simulation.machine import AppliedHistory
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.members import Members
    from tests.simulation.replica import Replica

NAME: Final = "g"
"""There is one group: what is of different groups has nothing to do with each other."""
_UNIQUE: Final = b"\xff"
"""A key of no group, whose value makes each frame another one, so that every entry has one origin."""
_LATE_S: Final = 1.0
"""As in ``node.coordinator.member_clock``."""


class ShardMachine(CoordinatorMachine):
    """That of the product, held against all others after each entry."""

    def __init__(self, node: str, history: AppliedHistory, noted: Callable[[str], None]) -> None:
        super().__init__(hash_=zlib.crc32)
        self._block_bytes = 250
        self._node = node
        self._history = history
        self._noted = noted

    def apply(self, frame: Frame) -> None:
        """What a file of the state covers is never given again, nor is anything given twice."""
        require(
            frame.index > self.applied,
            "applied exactly once, in order",
            lambda: f"{self._node} was given entry {frame.index} after {self.applied}",
        )
        super().apply(frame)
        self._history.check(self._node, frame.index, self.state)

    def adopt(self, loader: KeyedLoader, index: int) -> Callable[[], None]:
        """A state of a file: that of this disk, or one that came from a leader."""
        forget = super().adopt(loader, index)
        self._history.check(self._node, index, self.state)
        self._noted(f"takes in the state after {index}")
        return forget

    @property
    def state(self) -> bytes:
        """All that is in it."""
        return hashlib.blake2b(msgpack.packb(sorted(self.items())), digest_size=16).digest()


class Ask(NamedTuple):
    """What is asked of the group. ``request`` is what it is about; ``judge`` the step."""

    kind: str
    request: Any
    judge: Callable[[Group], Decision[Any]]


REFRESH_AGAIN_S = 1.0
Told = Callable[[Any], None]
"""Gets the answer, the error that it was refused with, or None where nobody knows."""


class Lead:
    """One replica in one term."""

    def __init__(self, members: Members, replica: Replica) -> None:
        group, machine = replica.group, replica.machine
        assert group is not None
        assert isinstance(machine, ShardMachine)
        self.replica = replica
        self._members = members
        self._cluster = members.cluster
        self._broken = members.cluster.broken
        self._group = group
        self._machine = machine
        self._term = group.term
        self._judges = 0
        """Steps under way that change who is in the group: one at most."""
        self._keys: set[bytes] = set()
        """Of commits under way."""
        self._waiting: list[tuple[Ask, Told]] = []
        """In their turn, as real locks have it: else one could be passed over for as long as its session."""
        self._answered: dict[str, float] = {}
        self._began = self._now
        self.view = Group.of(NAME, machine.get, lambda: list(machine.keys_of(NAME)))
        machine.told = self._replay
        self._sessions = Sessions()
        self._sessions.restored(self.view, self._now)
        if Rule.G5 in self._broken:
            for id_ in self.view.members:
                self._sessions.postpone(Over(NAME, id_), self._now)
        members.promises.fails_over(self.view)
        self._set_timer()
        self.refresh()

    @property
    def _now(self) -> float:
        return self._members.cluster.scheduler.now

    @property
    def leads(self) -> bool:
        """Still, as far as it knows itself."""
        group = self.replica.group
        return group is self._group and group.term == self._term and may_judge(self.replica, self._broken)

    def ask(self, what: Ask, told: Told, *, is_confirmed: bool = False) -> None:
        """Judge it, and have what comes of it stored; whoever comes while another is under way waits."""
        if not self.leads:
            told(None)
            return
        if what.kind != "heartbeat" and self._has_to_wait(what):
            self._waiting.append((what, told))
            return
        try:
            decision = what.judge(self.view)
        except FloodmarkError as error:
            self._refuse(what, told, error, is_confirmed=is_confirmed)
            return
        if not decision.pairs:
            self._answer(decision.answer, told)
        elif self._has_to_wait(what, decision):
            self._waiting.append((what, told))
        else:
            self._propose(what, decision, told)

    def refresh(self) -> None:
        """Topics may have changed, just now or before it led: targets are made for them until it is done."""

        def told(done: Any) -> None:
            if done is None and self.leads:
                self.replica.later(REFRESH_AGAIN_S, self.refresh)

        self.ask(Ask("refresh", None, self._members.refresh), told)

    def read(self, look: Callable[[Group], Any], told: Told) -> None:
        """What all acknowledged commits have led to."""
        self._confirm(lambda: told(look(self.view)), told)

    def _refuse(self, what: Ask, told: Told, error: FloodmarkError, *, is_confirmed: bool) -> None:
        if is_confirmed:
            told(error)
        else:
            self._confirm(lambda: self.ask(what, told, is_confirmed=True), told)

    def _confirm(self, action: Callable[[], None], told: Told) -> None:
        def done(index: int | None) -> None:
            surely = index is not None and self.leads
            self._cluster.after_step(action if surely else lambda: told(None))

        self._group.read_index().add_done_callback(done)
        self.replica.wake()

    def _has_to_wait(self, what: Ask, decision: Decision[Any] | None = None) -> bool:
        if Rule.G1 in self._broken:
            return False
        if self._waiting:
            return True
        if what.kind != "commit":
            return self._judges > 0 or bool(self._keys)
        return self._judges > 0 or (
            decision is not None and any(key in self._keys for key, _ in decision.pairs)
        )

    def _propose(self, what: Ask, decision: Decision[Any], told: Told) -> None:
        ledger = self._cluster.ledger
        number = self._members.promises.number()
        payload = command([*decision.pairs, (_UNIQUE, b"%d" % number)])
        ledger.ask(payload, Asked(number, 0))
        self._members.promises.proposed(payload, what)
        mine = {key for key, _ in decision.pairs} if what.kind == "commit" else set()
        try:
            now_ms = int(self._now * 1000)
            proposal = self._group.propose(
                FrameKind.COMMAND, payload, append_time=now_ms, record_count=0, form=IMPLIED
            )
        except NotLeader:
            ledger.answer_not_stored(payload)
            told(None)
            return
        self._keys |= mine
        self._judges += not mine

        def ended(outcome: Outcome) -> None:
            self._keys -= mine
            self._judges -= not mine
            if isinstance(outcome, Stored):
                ledger.answer_stored(payload, outcome)
                self._answer(decision.answer, told)
            else:
                if isinstance(outcome, NotStored):
                    ledger.answer_not_stored(payload)
                told(None)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                self.ask(*each)

        proposal.add_done_callback(lambda outcome: self._cluster.after_step(lambda: ended(outcome)))
        self._cluster.note(self.replica.name, f"{what.kind} #{number}")
        self.replica.wake()

    def _answer(self, answer: Any, told: Told) -> None:
        if isinstance(answer, MemberAnswer) and self.leads:
            self._answered[answer.member_id] = self._now
            self._sessions.answered(NAME, answer, self._now)
            self._set_timer()
        told(answer)

    # Time.

    def _set_timer(self) -> None:
        at = self._sessions.next()
        if at is not None:
            self.replica.later(max(0.0, at - self._now), lambda: self._look(at))

    def _look(self, at: float) -> None:
        if not self.leads:
            return
        late = self._sessions.due(self._now)
        for over in late:
            if self._now - at > _LATE_S:  # The process stood still: heartbeats may wait to be read.
                self._sessions.postpone(over, self._now + _LATE_S)
            else:
                self._end(over)
        if late:
            self._set_timer()

    def _end(self, over: Over) -> None:
        def judge(group: Group) -> Decision[bool]:
            if not self._sessions.is_over(over, self._now):
                return Decision([], answer=False)
            since = max(self._began, self._answered.get(over.member_id, 0.0))
            member = group.members.get(over.member_id)
            if over.epoch == 0 and member is not None:
                require(
                    self._now - since >= member.session_timeout_ms / 1_000 - 1e-6,
                    "a failover starts no rebalance",
                    lambda: (
                        f"{self.replica.name} ends {over.member_id} {self._now - since:.3f} s after it "
                        "had begun to lead, or last heard of it"
                    ),
                )
            return membership.end(group, over, topics=self._members.topics, now_ms=1)

        def told(ended: Any) -> None:
            if ended is not True and self._sessions.is_over(over, self._now):
                self._sessions.postpone(over, self._now + _LATE_S)
                self._set_timer()

        self.ask(Ask("end", over, judge), told)

    def _replay(self, pairs: list[Any]) -> None:
        for place in range(0, len(pairs), 2):
            key, value = pairs[place], pairs[place + 1]
            if group_of(key) != NAME:
                continue
            self.view.replay(key, value)
            if keys.kind_of(key) == Kind.MEMBER and value is None:
                self._sessions.gone(NAME, keys.parse(key).member)


def may_judge(replica: Replica, broken: frozenset[Rule]) -> bool:
    """Who leads decides once an entry of its term is applied: then it knows all that was decided before."""
    group = replica.group
    if group is None:
        return False
    return group.is_ready_leader or (Rule.G2 in broken and group.role is Role.LEADER)
