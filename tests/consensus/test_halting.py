"""A machine that meets what it does not know: its replica stores and votes on, and leads no more."""

from __future__ import annotations

from floodmark.format.frame import Frame, FrameKind

from consensus.core.group import Group
from consensus.messages import RequestPreVote, RequestVote
from consensus.types import Role, Stored
from tests.support.raft import Machine, Replicas


class Halting(Machine):
    """Knows everything, or, as one of an older build, not what begins with "new"."""

    def __init__(self) -> None:
        super().__init__()
        self.is_old = False
        self.halted: str | None = None

    def apply(self, frame: Frame) -> None:
        if self.halted is None and self.is_old and frame.payload.startswith(b"new"):
            self.halted = "what comes next is not known"
        if self.halted is None:
            super().apply(frame)


def _begun() -> tuple[Replicas, Group, Halting]:
    """Three replicas, of which the leader is the old one."""
    replicas = Replicas(machines=Halting)
    replicas.start()
    leader = replicas.elect()
    machine = replicas.nodes[leader.node_id].machine
    assert isinstance(machine, Halting)
    machine.is_old = True
    return replicas, leader, machine


def test_a_leader_whose_machine_halts_makes_way_and_leads_no_more() -> None:
    """Others are elected at once and whenever one of them fails, for it would never be ready."""
    replicas, old, machine = _begun()
    stored, newer = replicas.propose(b"fine"), replicas.propose(b"newer")
    replicas.until(lambda: machine.halted is not None)
    replicas.run(0.1)
    assert old.role is not Role.LEADER
    assert isinstance(stored.outcome, Stored)
    assert newer.outcome is None, "the old one cannot say what it came to"
    after = replicas.elect()
    assert after is not old
    replicas.sent.clear()
    for _ in range(3):
        replicas.isolate(after.node_id)
        replicas.run(5)
        assert old.role is not Role.LEADER
        replicas.heal()
        replicas.until(lambda: any(group.is_ready_leader and group is not old for group in replicas.groups()))
        after = max((g for g in replicas.groups() if g.is_ready_leader), key=lambda g: g.term)
        assert after is not old
    asked = {
        source for source, _, message in replicas.sent if isinstance(message, RequestPreVote | RequestVote)
    }
    assert asked, "there were elections"
    assert old.node_id not in asked


def test_a_halted_replica_counts_for_the_majority_and_asks_for_nothing() -> None:
    """With a third one away its acknowledgements commit what follows, which it does not apply itself."""
    replicas, old, machine = _begun()
    replicas.propose(b"newer")
    replicas.until(lambda: machine.halted is not None)
    replicas.run(0.1)
    leader = replicas.elect()
    (third,) = {"a", "b", "c"} - {leader.node_id, old.node_id}
    replicas.stop(third)
    proposal = leader.propose(FrameKind.COMMAND, b"behind it", append_time=1)
    replicas.until(lambda: proposal.outcome is not None)
    assert isinstance(proposal.outcome, Stored)
    assert old.commit_index >= proposal.outcome.index - 1
    assert old.applied_index < proposal.outcome.index
    assert all(not payload.startswith((b"new", b"behind")) for _, payload in machine.applied)
    assert old.next_deadline > replicas.now, "it is stepped again and again for nothing"
