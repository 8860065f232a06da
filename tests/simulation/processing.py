"""Programs that process a source exactly once, and are killed: as ``client.process`` does it, over one group.

Each takes the source over, learns where the one before has come to, and stores batches with positions,
several at a time; where it makes nothing of what it reads, it moves the position alone. Requests come late
and again, also those of programs that are no more. Whatever crashes meanwhile, in the committed log each
batch goes on where the one before it ended: a position and its records are there together or not at all, and
nothing is made twice or left out.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from floodmark.errors import (
    Conflict,
    FloodmarkError,
    ProducerFenced,
)
from floodmark.format.batch import decode_header, encode, producer_id_of
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.frame_records import IMPLIED, WITH_POSITION, PayloadForm, has_records, records_in
from floodmark.format.position import Position, Source, behind, position_in
from floodmark.format.record import Record

from consensus.types import NotLeader, Outcome, Proposal, Stored
from node.partition.producers import Command, Remembered, command_in, packed
from node.partition.source_positions import Begun, Moved
from tests.simulation.ledger import Asked
from tests.simulation.machine import ChainMachine
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

SOURCE: Final = Source("processing", 7, 3)
NAMES: Final = [producer_id_of("processing"), producer_id_of("processing too")]
"""Of the programs' producers: epochs are the source's, whoever they are."""
PROGRAMS: Final = 2
ATTEMPTS_PER_S: Final = 30.0
UNDER_WAY_MAX: Final = 3
NUMBERS_FROM: Final = 1 << 40
"""So that what is asked here is told from what others ask."""


@dataclass(slots=True, eq=False)
class Sending:
    """A batch made of the numbers ``first`` to ``behind``."""

    batch: bytes
    position: Position
    number: int
    count: int
    stored: bool = False

    @property
    def payload(self) -> bytes:
        """Of its frame."""
        return behind(self.batch, self.position)


UNIQUE: Final = Source("counted", 1, 0)
"""Moves along, so that no two commands are the same bytes."""


@dataclass(slots=True, eq=False)
class Program:
    """One instance. ``epoch``: None before it has taken over; ``taking``: its command is under way."""

    name: bytes
    epoch: int | None = None
    sequence: int = 0
    next_offset: int = 0
    taking: bool = False
    under_way: deque[Sending] = field(default_factory=deque)
    passing: Moved | None = None
    """The position that it moves to and has no answer about; until then it stores nothing."""


class Processing:
    """All of them, over one cluster."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._active = True
        self._asked = NUMBERS_FROM
        self._programs = [Program(rng.choice(NAMES)) for _ in range(PROGRAMS)]
        self._late: deque[Sending] = deque(maxlen=20)
        """Of programs that are no more; requests of theirs still come."""
        self._late_moves: deque[Moved] = deque(maxlen=10)
        """Likewise, and of those that go on."""
        self.stored = self.taken_over = self.moved = 0
        if cluster.profile.processes:
            self._again()

    def stop(self) -> None:
        """Send nothing more."""
        self._active = False

    def check(self) -> None:
        """Each committed batch was made of what follows what the one before it was made of."""
        done = 0
        for index in sorted(self._cluster.ledger.committed):
            frame = self._cluster.ledger.committed[index]
            if not has_records(frame):
                done = max(done, self._passed(frame, done))
                continue
            position = position_in(frame, frame.payload)
            records = records_in(frame, frame.payload)
            is_ours = records[0] is not None and records[0].key == b"processing"
            require(
                is_ours == (position is not None),
                "a position and its records are stored together",
                f"entry {index} has position {position}",
            )
            if position is None or records[0] is None:
                continue
            first, last = map(int, (records[0].value or b"").split())
            require(
                first == done and last == position.next_offset,
                "what is processed is stored once and in order",
                f"entry {index} is made of {first} to {last} with {position}; {done} was next",
            )
            done = last
        for replica in self._cluster.in_order():
            machine = replica.machine
            if isinstance(machine, ChainMachine) and machine.applied >= self._cluster.ledger.highest:
                kept = machine.kept(SOURCE)
                newest = 0 if kept is None else kept.next_offset or 0
                require(newest == done, "the newest position is kept", f"{replica.name}: {kept}, not {done}")
        self.stored = done

    def _passed(self, frame: Frame, done: int) -> int:
        """Where a command moves the position to; never back."""
        if frame.kind is not FrameKind.COMMAND:
            return 0
        try:
            command = command_in(frame)
        except ValueError:  # What others ask here is of no build.
            return 0
        for moved in command.move:
            if moved.source == SOURCE:
                self.moved += moved.next_offset > done
                require(
                    moved.next_offset >= done,
                    "what is processed is stored once and in order",
                    f"entry {frame.index} moves to {moved}; {done} was next",
                )
                return moved.next_offset
        return 0

    def _again(self) -> None:
        def attempt() -> None:
            if self._active:
                self._attempt()
                self._again()

        self._cluster.scheduler.after(self._rng.expovariate(ATTEMPTS_PER_S), attempt)

    def _attempt(self) -> None:
        rng, leaders = self._rng, self._cluster.leaders()
        if not leaders:
            return
        replica = rng.choice(leaders)
        group, machine = replica.group, replica.machine
        if group is None or not isinstance(machine, ChainMachine) or not group.is_ready_leader:
            return
        machine.sequences.begin(group.term)
        machine.order.begin(group.term)
        self._comes_late(replica, machine)
        place = rng.randrange(len(self._programs))
        program = self._programs[place]
        if rng.random() < 0.01:
            self._kill(place)
        elif program.epoch is None:
            self._take_over(place, program, replica, machine)
        elif program.passing is not None or (not program.under_way and rng.random() < 0.3):
            self._move(program, self._passing(program), replica, machine)
        else:
            if len(program.under_way) < UNDER_WAY_MAX and rng.random() < 0.6:
                program.under_way.append(self._made(program))
            if program.under_way:
                self._send(place, rng.choice(program.under_way), replica, machine)

    def _comes_late(self, replica: Replica, machine: ChainMachine) -> None:
        rng = self._rng
        if self._late and rng.random() < 0.2:
            self._send(None, rng.choice(self._late), replica, machine)
        if self._late_moves and rng.random() < 0.1:
            self._move(None, rng.choice(self._late_moves), replica, machine)

    def _kill(self, place: int) -> None:
        """Another one takes its place; what it has sent may still arrive."""
        self._late.extend(self._programs[place].under_way)
        self._programs[place] = Program(self._rng.choice(NAMES))

    def _take_over(self, place: int, program: Program, replica: Replica, machine: ChainMachine) -> None:
        if program.taking:
            if self._rng.random() < 0.1:  # The answer is lost.
                self._kill(place)
            return
        try:
            begun = machine.order.next_epoch(SOURCE, program.name, machine.sequences.next_epoch(program.name))
        except FloodmarkError:
            return
        self._asked += 1
        payload = packed(Command([b"%d" % self._asked], begin=[begun]))
        self._cluster.ledger.ask(payload, Asked(self._asked, 0))

        def ended(outcome: Outcome | None) -> None:
            program.taking = False
            if isinstance(outcome, Stored):
                self._learn(program, begun, outcome.index, machine)

        program.taking = True
        proposal = self._propose(replica, FrameKind.COMMAND, payload, 0, IMPLIED, self._asked, ended)
        if proposal is not None:
            machine.order.add_begun(begun, proposal)

    def _learn(self, program: Program, begun: Begun, index: int, machine: ChainMachine) -> None:
        """Once the leader has applied the command, it tells where to go on; if it lives that long."""
        if machine.applied < index:
            self._cluster.scheduler.after(0.01, lambda: self._learn(program, begun, index, machine))
            return
        kept = machine.kept(SOURCE)
        program.epoch, program.sequence = begun.epoch, 0
        program.next_offset = 0 if kept is None or kept.next_offset is None else kept.next_offset
        self.taken_over += 1

    def _passing(self, program: Program) -> Moved:
        """Where it moves to, the same until it has an answer."""
        if program.passing is None:
            assert program.epoch is not None, "it has taken over"
            to = program.next_offset + self._rng.randint(1, 9)
            program.passing = Moved(*SOURCE, to, program.epoch, program.name)
            self._late_moves.append(program.passing)
        return program.passing

    def _move(self, program: Program | None, moved: Moved, replica: Replica, machine: ChainMachine) -> None:
        try:
            machine.order.check_moved(moved)
        except (Conflict, ProducerFenced):
            if program is not None and self._rng.random() < 0.05:
                self._kill(self._programs.index(program))
            return
        self._asked += 1
        payload = packed(Command([], move=[moved, Moved(*UNIQUE, self._asked, 0, b"")]))
        self._cluster.ledger.ask(payload, Asked(self._asked, 0))

        def ended(outcome: Outcome | None) -> None:
            answered = isinstance(outcome, Stored) and self._rng.random() < 0.7
            if answered and program is not None and program.passing is moved:
                program.passing, program.next_offset = None, moved.next_offset

        proposal = self._propose(replica, FrameKind.COMMAND, payload, 0, IMPLIED, self._asked, ended)
        if proposal is not None:
            machine.order.add_moved(moved, proposal)

    def _made(self, program: Program) -> Sending:
        self._asked += 1
        count = self._rng.randint(1, 4)
        last = program.next_offset + self._rng.randint(1, 9)
        text = b"%d %d" % (program.next_offset, last)
        assert program.epoch is not None, "it has taken over"
        made = encode(
            [Record(self._asked, b"processing", text)] * count,
            producer_id=program.name,
            producer_epoch=program.epoch,
            sequence=program.sequence,
            format=2,
        )
        program.sequence += 1
        program.next_offset = last
        sending = Sending(made, Position(*SOURCE, last), self._asked, count)
        self._cluster.ledger.ask(sending.payload, Asked(self._asked, count))
        return sending

    def _send(self, place: int | None, sending: Sending, replica: Replica, machine: ChainMachine) -> None:
        header = decode_header(sending.batch)
        try:
            found = machine.sequences.find(header)
            if found is None:
                machine.order.check(sending.position, header)
        except (Conflict, ProducerFenced):
            # One before it is not there, another program took over, or this leader is deposed.
            if place is not None and self._rng.random() < 0.05:
                self._kill(place)
            return
        program = None if place is None else self._programs[place]
        if isinstance(found, Remembered):
            self._settled(program, sending)
        if found is not None:
            return

        def ended(outcome: Outcome | None) -> None:
            if isinstance(outcome, Stored) and self._rng.random() < 0.7:  # Else the answer is lost.
                self._settled(program, sending)

        proposal = self._propose(
            replica,
            FrameKind.RECORDS,
            sending.payload,
            sending.count,
            WITH_POSITION,
            sending.number,
            ended,
        )
        if proposal is not None:
            machine.sequences.add(header, proposal)
            machine.order.add(sending.position, header, proposal)

    def _settled(self, program: Program | None, sending: Sending) -> None:
        sending.stored = True
        while program is not None and program.under_way and program.under_way[0].stored:
            program.under_way.popleft()

    def _propose(
        self,
        replica: Replica,
        kind: FrameKind,
        payload: bytes,
        count: int,
        form: PayloadForm,
        number: int,
        ended: Callable[[Outcome | None], None],
    ) -> Proposal | None:
        """``ended`` is told of the outcome; of None where there was nobody to take it in."""
        cluster, group = self._cluster, replica.group
        assert group is not None, "leaders run"
        now_ms = int(cluster.scheduler.now * 1000)
        try:
            proposal = group.propose(kind, payload, append_time=now_ms, record_count=count, form=form)
        except NotLeader:
            ended(None)
            return None

        def told(outcome: Outcome) -> None:
            if replica.outside:
                return
            if isinstance(outcome, Stored):
                cluster.ledger.answer_stored(payload, outcome)
            ended(outcome)

        proposal.add_done_callback(lambda outcome: cluster.after_step(lambda: told(outcome)))
        cluster.note(replica.name, f"takes #{number} of a program that processes")
        replica.wake()
        return proposal
