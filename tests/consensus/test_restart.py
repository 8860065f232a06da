"""Restarts: what is committed comes back, quickly, and nothing is applied twice or forgotten."""

from __future__ import annotations

import pytest

from consensus.types import Role, Stored
from storage.errors import LogCorrupt
from storage.options import LogOptions
from tests.support.raft import Lone, Machine, Replicas


def test_a_group_goes_on_after_all_lost_power() -> None:
    """Every acknowledged entry is applied again, in order, on all of them."""
    replicas = Replicas()
    replicas.start()
    replicas.elect()
    proposals = [replicas.propose(b"%d" % number) for number in range(10)]
    replicas.run(0.3)
    assert all(isinstance(p.outcome, Stored) for p in proposals)
    for name in "abc":
        replicas.stop(name)
    replicas.start()
    replicas.elect()
    replicas.run(0.3)
    for node in replicas.nodes.values():
        assert [payload for _, payload in node.machine.applied] == [b"%d" % number for number in range(10)]


def test_a_restart_reads_what_came_after_the_checkpoint() -> None:
    """The machine's state is restored, and only later entries are applied."""
    replicas = Replicas()
    replicas.start()
    replicas.elect()
    replicas.propose(b"before", records=2)
    replicas.run(0.3)
    follower = replicas.followers()[0]
    follower.storage.checkpoint()
    replicas.propose(b"after", records=1)
    replicas.run(0.3)
    name = follower.node_id
    replicas.stop(name)
    replicas.start(name)
    again = replicas.nodes[name]
    assert (again.group.applied_index, again.group.high_watermark) == (3, 2)
    replicas.run(0.5)
    assert again.machine.restored == [b"before"]
    assert [payload for _, payload in again.machine.applied] == [b"after"]
    assert again.group.high_watermark == 3


def test_a_trimmed_log_of_commands_without_its_state_is_corrupt() -> None:
    """What the commands lead to cannot be known: this replica has to be given it."""
    lone = Lone("a", machine=Machine(install_at_applied=True))
    lone.log.reset(index=50, term=1, offset=0, state=b"")
    lone.group.stop()
    with pytest.raises(LogCorrupt, match="state is missing"):
        lone.node.start(lone.membership, machine=Machine(install_at_applied=True))


def test_compaction_keeps_what_a_restart_needs() -> None:
    """Old segments go, the state and everything after it stay."""
    replicas = Replicas("a", log_options=LogOptions(segment_bytes=1024))
    replicas.start()
    leader = replicas.elect()
    for number in range(50):
        replicas.propose(b"%02d" % number * 20)
        replicas.run(0.01)
    assert leader.storage.compact() > 40
    replicas.stop("a")
    replicas.start()
    assert replicas.elect().role is Role.LEADER
    replicas.run(0.1)
    assert replicas.nodes["a"].machine.snapshot() == b",".join(b"%02d" % number * 20 for number in range(50))
