"""A follower that is too far behind gets a large state in chunks, and goes on where it was after a break."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from consensus.core import state_sending
from consensus.core.keyed_state import KeyedState, command
from consensus.core.state_incoming import NAME
from consensus.messages import InstallSnapshot, SnapshotChunk, SnapshotPosition
from consensus.types import GroupOptions, Stored
from storage.options import LogOptions
from storage.state_file import SUFFIX
from tests.support.raft import Replicas

SMALL = LogOptions(segment_bytes=4096)


OPTIONS = GroupOptions(quiesce_after_s=1e9, state_chunk_bytes=600, state_window_bytes=2000)
"""Some thirty chunks for a file of fifteen kilobytes."""


def _machine() -> KeyedState:
    return KeyedState(block_bytes=300, hash_=lambda key: int(key) * 0x9E3779B1)


class Behind:
    """Three replicas of which ``c`` is away, while the others go on and trim their logs."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.replicas = Replicas(log_options=SMALL, machines=_machine, options=OPTIONS)
        self.replicas.start()
        self.replicas.elect()
        self.write(20)
        if self.replicas.leader().node_id == "c":
            self.replicas.leader().transfer("a")
            self.replicas.until(lambda: self.replicas.leader().node_id == "a")
            self.replicas.elect()
        self.replicas.stop("c", crash=False)
        self.replicas.nodes["c"].group.stop()
        self.write(400)
        for name in sorted(self.replicas.up):
            self.checkpoint(name)
        self.write(5)

    def write(self, count: int) -> None:
        replicas = self.replicas
        proposals = [
            replicas.propose(command([(b"%d" % self.rng.randrange(400), self.rng.randbytes(50))]))
            for _ in range(count)
        ]
        replicas.until(lambda: all(isinstance(proposal.outcome, Stored) for proposal in proposals))

    def checkpoint(self, name: str) -> None:
        group = self.replicas.group(name)
        assert group.storage.begin_checkpoint()
        self.replicas.until(lambda: not group.storage.checkpoint_under_way)
        assert group.storage.compact() > 50

    @property
    def length(self) -> int:
        """Of the file that the leader sends."""
        return self.replicas.nodes[self.replicas.leader().node_id].group._parts.large.stored.reference.length

    def chunks(self) -> list[SnapshotChunk]:
        return [message for _, _, message in self.replicas.sent if isinstance(message, SnapshotChunk)]

    def until_received(self, share: float) -> None:
        """Until ``c`` has this part of the file durable."""
        goal = share * self.length
        position, seen = 0, 0
        while position < goal:
            self.replicas.run(0.0004)
            for _, _, message in self.replicas.sent[seen:]:
                if isinstance(message, SnapshotPosition):
                    position = message.position
            seen = len(self.replicas.sent)

    def until_level(self, name: str = "c") -> None:
        replicas = self.replicas
        replicas.until(
            lambda: (
                name in replicas.up
                and any(group.is_ready_leader for group in replicas.groups())
                and {group.applied_index for group in replicas.groups()} == {replicas.leader().log.last_index}
            )
        )
        states = {replicas.nodes[each].machine.digest() for each in replicas.up}
        assert len(states) == 1

    def files(self, name: str = "c") -> list[str]:
        return [file for file in self.replicas.nodes[name].fs.listdir("g") if "state" in file]


def test_the_file_comes_in_chunks_and_then_the_log() -> None:
    """All of it once, under a bound on what is under way, and nothing by the way of small states."""
    behind = Behind()
    replicas = behind.replicas
    replicas.sent.clear()
    replicas.start("c")
    behind.until_level()
    kinds = {type(message) for _, _, message in replicas.sent}
    assert InstallSnapshot not in kinds
    chunks = behind.chunks()
    assert len(chunks) > 20
    assert sum(len(chunk.state) for chunk in chunks) == behind.length
    assert max(len(chunk.state) for chunk in chunks) <= 600
    acked, sent = 0, 0
    for _, _, message in replicas.sent:
        if isinstance(message, SnapshotPosition):
            acked = message.position
        elif isinstance(message, SnapshotChunk):
            sent = message.position + len(message.state)
        assert sent - acked < 2000 + 600
    replicas.run(0.1)
    reference = replicas.leader()._parts.large.stored.reference
    assert behind.files() == [f"{reference.index:020d}{SUFFIX}"]
    # What it has now is its own: it begins there after a restart.
    replicas.stop("c")
    replicas.start("c")
    assert replicas.group("c").applied_index == reference.index
    behind.until_level()


def test_entries_are_committed_while_the_file_is_sent() -> None:
    """The same group goes on, at its pace."""
    behind = Behind()
    replicas = behind.replicas
    replicas.start("c")
    while not behind.chunks():
        replicas.run(0.001)
    proposals = []
    while replicas.group("c").applied_index < 100:
        proposals.append(replicas.propose(command([(b"7", b"%d" % len(proposals))])))
        replicas.run(0.001)
        assert isinstance(proposals[-1].outcome, Stored)
    assert len(proposals) > 3
    behind.until_level()


@pytest.mark.parametrize("power_loss", [True, False])
@pytest.mark.parametrize("who", ["c", "link", "leader"])
def test_a_break_costs_what_was_under_way_and_no_more(who: str, *, power_loss: bool) -> None:
    """A lost connection, or an end of either process: the follower is where its disk is."""
    behind = Behind()
    replicas = behind.replicas
    replicas.start("c")
    behind.until_received(0.6)
    replicas.sent.clear()
    if who == "link":
        replicas.isolate("c")
        replicas.run(3.0)
        replicas.heal()
    else:
        name = replicas.leader().node_id if who == "leader" else who
        other = next(iter({"a", "b"} - {name}))
        replicas.stop(name, crash=power_loss)
        if not power_loss:
            replicas.nodes[name].group.stop()
        if who == "leader":
            # The other one must not lead: it has another file.
            replicas.stop(other)
            replicas.start(name)
            replicas.nodes[other].start(replicas.membership, machine=_machine(), options=OPTIONS)
            replicas.group(other).leave()
            replicas.up.add(other)
            for each in "abc":
                if each != other:
                    replicas._link(each, other)
        else:
            replicas.start("c")
    behind.until_level()
    if who == "leader":
        assert replicas.leader().node_id == name
    assert sum(len(chunk.state) for chunk in behind.chunks()) < 0.4 * behind.length + 2 * 2000 + 600


def test_a_new_leader_begins_anew_with_its_own_file() -> None:
    """Its blocks stand in another order; nothing of both is ever mixed."""
    behind = Behind()
    replicas = behind.replicas
    old = replicas.leader().node_id
    replicas.start("c")
    behind.until_received(0.6)
    replicas.stop(old)
    replicas.sent.clear()
    replicas.elect()
    behind.until_level()
    assert replicas.leader().node_id != old
    assert sum(len(chunk.state) for chunk in behind.chunks()) == behind.length


def test_the_file_and_the_log_behind_it_stay_until_the_follower_has_them() -> None:
    """And no longer than it gets on, for a log must not grow for ever."""
    behind = Behind()
    replicas = behind.replicas
    leader = replicas.leader()
    replicas.start("c")
    behind.until_received(0.3)
    replicas.isolate("c")
    behind.write(300)
    assert not leader.storage.checkpoint_is_due(rests=True, bytes_max=1)
    assert not leader.storage.begin_checkpoint()
    assert leader.storage.compact() <= leader.log.checkpoint_index + 1
    replicas.run(20.0)
    assert not leader.storage.checkpoint_is_due(rests=True, bytes_max=1)
    replicas.run(state_sending.GIVE_UP_S)
    assert leader.storage.checkpoint_is_due(rests=True, bytes_max=1)
    behind.checkpoint(leader.node_id)
    replicas.heal()
    behind.until_level()
    assert leader.is_ready_leader
    replicas.run(0.1)
    behind.write(100)
    assert leader.storage.checkpoint_is_due(rests=True, bytes_max=1)


@pytest.mark.parametrize("power_loss", [True, False])
def test_a_crash_of_the_follower_at_any_step_loses_nothing(*, power_loss: bool) -> None:
    """At calls of its filesystem all through the install: it opens as what it was or what it becomes."""
    seen = set()
    step = 0
    while True:
        behind = Behind(seed=step)
        replicas = behind.replicas
        node = replicas.nodes["c"]
        replicas.start("c")
        old, new = node.group.applied_index, behind.replicas.leader().log.checkpoint_index
        node.fs.fail("any", after=step, times=1_000_000)
        try:
            while node.group.failed is None and node.machine.applied < new:
                replicas.run(0.001)
        finally:
            node.fs.heal()
        died = node.group.failed is not None
        node.group.stop()
        replicas.stop("c", crash=power_loss)
        node.fs.restart()
        replicas.start("c")
        applied = node.group.applied_index
        assert applied in (old, new) or applied == 1, f"step {step}"
        seen.add(applied == new)
        names = behind.files()
        assert len(names) <= 1, f"step {step}: {names}"
        if applied == new:
            assert names == [f"{new:020d}{SUFFIX}"], f"step {step}"
        else:
            assert names in ([], [NAME]), f"step {step}"
        behind.until_level()
        replicas.run(0.1)
        assert NAME not in behind.files(), f"step {step}"
        if not died:
            break
        step += 1 if step < 10 else behind.rng.randint(1, 12)
    assert seen == {True, False}


def test_a_file_that_is_not_needed_any_more_is_removed() -> None:
    """The log came instead, from a leader that still had it."""
    behind = Behind()
    replicas = behind.replicas
    leader = replicas.leader().node_id
    replicas.start("c")
    behind.until_received(0.4)
    replicas.stop("c")
    replicas.start("c")
    replicas.run(0.05)
    assert behind.files() == [NAME]
    node = replicas.nodes["c"]
    assert node.files.incoming_index == replicas.group(leader).log.checkpoint_index
    node.group._core.applied_index, kept = 10**6, node.group._core.applied_index
    node.group._parts.receiver.look()
    while node.run_job():
        pass
    node.group._core.applied_index = kept
    assert behind.files() == []
    behind.until_level()


def test_a_damaged_file_is_not_sent_on() -> None:
    """The leader writes another one, of what it has in memory, and sends that."""
    behind = Behind()
    replicas = behind.replicas
    leader = replicas.leader().node_id
    node = replicas.nodes[leader]
    [name] = behind.files(leader)
    node.fs.flip_bit(f"g/{name}", behind.length // 2)
    index = node.log.checkpoint_index
    replicas.start("c")
    behind.until_level()
    assert node.log.checkpoint_index > index
    assert replicas.leader().node_id == leader
    replicas.run(0.1)
    assert len(behind.files(leader)) == 1


def test_a_chunk_that_does_not_fit_is_not_written() -> None:
    """Of another file, of another place, altered on its way, or of no leader."""
    behind = Behind()
    replicas = behind.replicas
    replicas.start("c")
    behind.until_received(0.3)
    leader, node = replicas.leader().node_id, replicas.nodes["c"]
    chunk = behind.chunks()[-1]
    altered = bytearray(chunk.state)
    altered[20] ^= 1
    node.group.step()
    position = node.group._parts.receiver._queued
    due = replace(chunk, position=position)
    for source, wrong in (
        (leader, replace(due, id=5)),
        (leader, replace(due, state=bytes(altered))),
        (leader, replace(due, state=b"")),
        (leader, replace(due, position=position + 1)),
        ("b" if leader == "a" else "a", due),
        (leader, replace(due, term=0)),
    ):
        node.group.receive(source, wrong)
        node.group.step()
    replicas.sent.clear()
    behind.until_level()
    assert sum(len(chunk.state) for chunk in behind.chunks()) < 0.8 * behind.length, "it went on where it was"


def test_a_follower_that_is_behind_a_little_gets_the_log() -> None:
    """A file is for those whose entries the leader has no more."""
    behind = Behind()
    replicas = behind.replicas
    replicas.start("c")
    behind.until_level()
    replicas.stop("c")
    behind.write(30)
    replicas.sent.clear()
    replicas.start("c")
    behind.until_level()
    assert behind.chunks() == []


def test_a_follower_that_begins_again_and_again_holds_nothing_back() -> None:
    """It cannot make use of the file; the leader's log must not grow for it."""
    behind = Behind()
    replicas = behind.replicas
    leader = replicas.leader()
    replicas.start("c")
    behind.until_received(0.1)
    first = len(behind.chunks()[0].state)
    replicas.isolate("c")
    wanted = next(message for _, _, message in replicas.sent if isinstance(message, SnapshotPosition))
    behind.write(100)
    for time in range(state_sending.STARTS_MAX):
        assert not leader.storage.checkpoint_is_due(rests=True, bytes_max=1), f"begun {time} times"
        for position in (first, 0):
            leader.receive("c", replace(wanted, position=position, again=True))
            leader.step()
    assert leader.storage.checkpoint_is_due(rests=True, bytes_max=1)
    replicas.heal()
    behind.until_level()
