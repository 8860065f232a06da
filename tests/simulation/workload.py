"""What users and operators do meanwhile: proposals, read indexes, leadership transfers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from floodmark.format.batch import decode_header
from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import IMPLIED, form_of

from consensus.types import NotLeader, NotStored, Outcome, Stored
from tests.simulation.housekeeping import Housekeeping
from tests.simulation.ledger import Asked
from tests.simulation.machine import NEWER
from tests.simulation.producers import Producers

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica


class Workload:
    """Proposes unique record batches and commands wherever a replica takes itself for the leader."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._producers = Producers(cluster.rng("producers"))
        self._active = True
        self.asked = self.stored = self.not_stored = self.unknown = self.read_indexes = 0
        profile = cluster.profile
        housekeeping = Housekeeping(cluster, rng)
        self._repeat(profile.proposals_per_s, self._burst)
        actions = {
            "read_index": self._read_index,
            "transfer": self._transfer,
            **housekeeping.actions,
        }
        for name, action in actions.items():
            if name in profile.extra:
                self._repeat(profile.extra[name], action)
        if cluster.compacts:
            self._repeat(profile.compactions_per_s, housekeeping.compact, cluster.rng("compactions"))

    def stop(self) -> None:
        """Propose nothing more by itself."""
        self._active = False

    def _repeat(self, rate: float, action: object, rng: random.Random | None = None) -> None:
        assert callable(action)
        rng = rng or self._rng

        def again() -> None:
            if self._active:
                action()
                self._repeat(rate, action, rng)

        self._cluster.scheduler.after(rng.expovariate(rate), again)

    def _leader(self) -> Replica | None:
        leaders = self._cluster.leaders()
        return self._rng.choice(leaders) if leaders else None

    def _burst(self) -> None:
        """Several proposals at once now and then, so that appends carry more than one entry."""
        leader = self._leader()
        if leader is not None:
            count = self._rng.randint(1, self._cluster.profile.burst_max) if self._rng.random() < 0.3 else 1
            for _ in range(count):
                self.propose(leader)

    def propose(self, replica: Replica) -> None:
        """One batch of records, or now and then a command; its outcome goes to the ledger."""
        group = replica.group
        if group is None:
            return
        self.asked += 1
        number = self.asked
        text = b"%d:" % number + bytes(self._rng.randrange(self._cluster.profile.payload_bytes_max))
        is_command = self._rng.random() < 0.1
        count = 0 if is_command else self._rng.randint(1, 5)
        now_ms = int(self._cluster.scheduler.now * 1000)
        newer = self._cluster.profile.newer_commands
        if is_command and newer and not replica.older and self._rng.random() < newer:
            payload = NEWER + text
        else:
            payload = (
                self._producers.forget(text) if is_command else self._producers.batch(now_ms, text, count)
            )
        ledger = self._cluster.ledger
        ledger.ask(payload, Asked(number, count))

        def done(outcome: Outcome) -> None:
            self._cluster.after_step(lambda: self._answered(replica, number, payload, outcome))

        kind = FrameKind.COMMAND if is_command else FrameKind.RECORDS
        try:
            form = IMPLIED if is_command else form_of(decode_header(payload))
            proposal = group.propose(kind, payload, append_time=now_ms, record_count=count, form=form)
        except NotLeader:
            ledger.answer_not_stored(payload)
            return
        self._cluster.note(replica.name, f"proposes #{number}")
        proposal.add_done_callback(done)
        replica.wake()

    def _answered(self, replica: Replica, number: int, payload: bytes, outcome: Outcome) -> None:
        ledger = self._cluster.ledger
        if replica.outside:
            return  # What is answered by whoever was given up is of no cluster's concern.
        if isinstance(outcome, Stored):
            self.stored += 1
            ledger.answer_stored(payload, outcome)
            self._cluster.note(replica.name, f"stored #{number} at {outcome.index} term {outcome.term}")
        elif isinstance(outcome, NotStored):
            self.not_stored += 1
            ledger.answer_not_stored(payload)
            self._cluster.note(replica.name, f"did not store #{number}")
        else:
            self.unknown += 1

    def _read_index(self) -> None:
        """Any replica may be asked, and one that believes to lead is asked most."""
        replica = self._leader() or self._cluster.in_order()[0]
        if self._rng.random() < 0.3:
            replica = self._rng.choice(self._cluster.in_order())
        if replica.group is None or replica.paused:
            return
        floor = self._cluster.ledger.highest_stored
        name = replica.name

        def answered(index: int) -> None:
            if replica.outside:
                return
            self.read_indexes += 1
            self._cluster.ledger.answer_read_index(name, floor, index)

        def done(index: int | None) -> None:
            # Not at once: what a callback raises is none of the group's business, and ends in its log.
            if index is not None:
                self._cluster.after_step(lambda: answered(index))

        replica.group.read_index().add_done_callback(done)
        replica.wake()

    def _transfer(self) -> None:
        leader = self._leader()
        if leader is not None and leader.group is not None:
            others = [name for name in self._cluster.names if name != leader.name]
            target = self._rng.choice([None, *others])
            started = leader.group.transfer(target)
            self._cluster.note(leader.name, f"transfer to {target}: {started}")
            leader.wake()
