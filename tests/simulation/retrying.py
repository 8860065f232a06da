"""Idempotent producers that send until they know: admitted by leaders as a partition admits them.

Each has a few batches under way. One whose fate is not known goes again as it was, wherever a replica takes
itself for a leader; now and then a producer gives up all that it has under way and begins its next epoch.
Whatever crashes meanwhile, the log must have each batch at most once, in order, and nothing of an epoch
behind the beginning of the next one. Numbered producers have written almost as many records as there are
sequences when a run begins, so these wrap around.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from floodmark.errors import OutOfOrderSequence, ProducerFenced
from floodmark.format.batch import ProducerKind, decode_header, encode, numbered_id_of, producer_id_of
from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import form_of, has_records, header_in
from floodmark.format.record import Record
from floodmark.format.sequence import following

from consensus.types import NotLeader, Outcome, Proposal, Stored
from node.partition.producers import Remembered, key_of
from tests.simulation.ledger import Asked
from tests.simulation.machine import ChainMachine
from tests.simulation.violation import Violation, require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

ATTEMPTS_PER_S: Final = 25.0
UNDER_WAY_MAX: Final = 3
BEGIN: Final = (1 << 31) - 40
"""The sequence with which a numbered producer's first epoch goes on here."""


@dataclass(slots=True, eq=False)
class Sending:
    """One batch until its fate is known."""

    payload: bytes
    epoch: int
    number: int
    count: int
    was_sent: bool = False
    stored: bool = False


@dataclass(slots=True, eq=False)
class Sender:
    """One producer. ``began``: its first batch is stored, so leaders know where it stands."""

    kind: ProducerKind
    producer_id: bytes
    epoch: int = 0
    sequence: int = 0
    began: bool = False
    under_way: deque[Sending] = field(default_factory=deque)
    late: deque[Sending] = field(default_factory=lambda: deque(maxlen=8))
    """Given up, and requests of theirs still come."""

    @property
    def name(self) -> bytes:
        """As tables and logs tell it."""
        return self.producer_id[:8] if self.kind is ProducerKind.NUMBERED else self.producer_id


class Retrying:
    """All of them, over one cluster."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._active = True
        self._numbers = 100
        self._asked = 0
        self._ids: set[bytes] = set()
        """All producers that there were: those that could not begin were replaced."""
        self.stored = self.repeated = self.wrapped = 0
        self._senders = [self._named(1), self._named(2), self._numbered(), self._numbered()]
        # A machine with a large state knows no producers.
        if not cluster.profile.large:
            self._again()

    def stop(self) -> None:
        """Send nothing more."""
        self._active = False

    def check(self) -> None:
        """The committed log has each producer's batches once, in order, epoch by epoch.

        Nothing is known any more of a producer all of whose batches a recovery lost: if it goes on with
        sequence 0 then, behind a wrap, it is taken for one that begins.
        """
        at: dict[bytes, tuple[int, int]] = {}
        lost = {
            key_of(header_in(frame, frame.payload))
            for frame in self._cluster.ledger.lost
            if has_records(frame)
        }
        for index in sorted(self._cluster.ledger.committed):
            frame = self._cluster.ledger.committed[index]
            if not has_records(frame):
                continue
            header = header_in(frame, frame.payload)
            key = key_of(header)
            if not header.is_idempotent or key not in self._ids:
                continue
            first = BEGIN if header.producer_kind is ProducerKind.NUMBERED else 0
            if key in lost and header.sequence == 0:
                first = 0
            epoch, expected = at.get(key, (0, first))
            if header.producer_epoch > epoch:
                epoch, expected = header.producer_epoch, 0
            require(
                (header.producer_epoch, header.sequence) == (epoch, expected),
                "a producer's batches are there once and in order",
                f"entry {index} is {header.producer_epoch}/{header.sequence}, next was {epoch}/{expected}",
            )
            behind = following(header.producer_kind, expected, header.count)
            self.wrapped += behind < expected
            at[key] = epoch, behind

    # One attempt after the other.

    def _again(self) -> None:
        def attempt() -> None:
            if self._active:
                self._attempt()
                self._again()

        self._cluster.scheduler.after(self._rng.expovariate(ATTEMPTS_PER_S), attempt)

    def _named(self, number: int) -> Sender:
        return self._known(Sender(ProducerKind.NAMED, producer_id_of(f"retrying {number}")))

    def _numbered(self) -> Sender:
        self._numbers += 1
        sender = Sender(ProducerKind.NUMBERED, numbered_id_of(self._numbers), sequence=BEGIN)
        return self._known(sender)

    def _known(self, sender: Sender) -> Sender:
        sender.began = sender.kind is ProducerKind.NAMED
        self._ids.add(sender.name)
        return sender

    def _attempt(self) -> None:
        rng = self._rng
        place = rng.randrange(len(self._senders))
        sender = self._senders[place]
        leaders = self._cluster.leaders()
        if not leaders:
            return
        replica = rng.choice(leaders)
        if not sender.began:
            self._begin(place, replica)
            return
        if sender.under_way and rng.random() < 0.02:
            sender.epoch, sender.sequence = sender.epoch + 1, 0
            sender.late.extend(sender.under_way)
            sender.under_way.clear()
        if sender.late and rng.random() < 0.2:
            self._send(sender, rng.choice(sender.late), replica)
        if len(sender.under_way) < UNDER_WAY_MAX and rng.random() < 0.6:
            sender.under_way.append(self._made(sender))
        if sender.under_way:
            self._send(sender, rng.choice(sender.under_way), replica)

    def _made(self, sender: Sender) -> Sending:
        self._asked += 1
        count = self._rng.randint(1, 5)
        text = b"retrying %d" % self._asked
        payload = encode(
            [Record(int(self._cluster.scheduler.now * 1000), None, text)] * count,
            producer_id=sender.producer_id,
            producer_epoch=sender.epoch,
            sequence=sender.sequence,
            format=2 if sender.kind is ProducerKind.NUMBERED else 1,
            producer_kind=sender.kind,
        )
        sender.sequence = following(sender.kind, sender.sequence, count)
        self._cluster.ledger.ask(payload, Asked(-self._asked, count))
        return Sending(payload, sender.epoch, self._asked, count)

    def _begin(self, place: int, replica: Replica) -> None:
        """As if all before had been written long ago: past the leader's admission, and so once only."""
        sender = self._senders[place]
        if sender.under_way:
            if self._rng.random() < 0.1:  # Who was to answer may have crashed.
                self._senders[place] = self._numbered()
            return
        sending = self._made(sender)
        sender.under_way.append(sending)

        def ended(outcome: Outcome | None) -> None:
            if isinstance(outcome, Stored):
                sender.began = True
                sender.under_way.clear()
            elif self._senders[place] is sender:
                self._senders[place] = self._numbered()

        self._propose(sending, replica, ended)

    def _send(self, sender: Sender, sending: Sending, replica: Replica) -> None:
        group, machine = replica.group, replica.machine
        if group is None or not isinstance(machine, ChainMachine) or not group.is_ready_leader:
            return
        header = decode_header(sending.payload)
        machine.sequences.begin(group.term)
        self.repeated += sending.was_sent
        sending.was_sent = True
        try:
            found = machine.sequences.find(header)
        except OutOfOrderSequence:
            return  # One before it is not there, or this leader is deposed and does not know.
        except ProducerFenced as error:
            if sending.epoch < sender.epoch:
                return
            raise Violation(
                "only a later epoch shuts a batch out",
                f"{replica.name} refuses #{sending.number}: {error.detail}",
            ) from error
        if found is None:
            proposal = self._propose(sending, replica, lambda outcome: self._ended(sender, sending, outcome))
            if proposal is not None:
                machine.sequences.add(header, proposal)
        elif isinstance(found, Remembered):
            there = self._cluster.ledger.where(sending.payload)
            require(
                there == found.first_offset,
                "a duplicate is answered with where it is",
                lambda: f"{replica.name} says {found.first_offset} of #{sending.number}, which is at {there}",
            )
            self._settled(sender, sending)

    def _propose(
        self, sending: Sending, replica: Replica, ended: Callable[[Outcome | None], None]
    ) -> Proposal | None:
        """``ended`` is told of the outcome; of None where there was nobody to take it in."""
        cluster, group = self._cluster, replica.group
        assert group is not None, "leaders run"
        payload = sending.payload
        try:
            proposal = group.propose(
                FrameKind.RECORDS,
                payload,
                append_time=int(cluster.scheduler.now * 1000),
                record_count=sending.count,
                form=form_of(decode_header(payload)),
            )
        except NotLeader:
            ended(None)
            return None

        def told(outcome: Outcome) -> None:
            if replica.outside:
                return
            if isinstance(outcome, Stored):
                cluster.ledger.answer_stored(payload, outcome)
                cluster.note(replica.name, f"stored retried #{sending.number} at {outcome.index}")
            # That this attempt is not stored says nothing of those before it.
            ended(outcome)

        proposal.add_done_callback(lambda outcome: cluster.after_step(lambda: told(outcome)))
        cluster.note(replica.name, f"takes #{sending.number} of a producer that retries")
        replica.wake()
        return proposal

    def _ended(self, sender: Sender, sending: Sending, outcome: Outcome | None) -> None:
        if isinstance(outcome, Stored) and self._rng.random() < 0.7:  # Else the answer is lost.
            self._settled(sender, sending)

    def _settled(self, sender: Sender, sending: Sending) -> None:
        if not sending.stored:
            self.stored += 1
        sending.stored = True
        while sender.under_way and sender.under_way[0].stored:
            sender.under_way.popleft()
