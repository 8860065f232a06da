"""State files and the checkpoints that name them: old or new after any crash, and never half of either."""

from __future__ import annotations

import random

import pytest

from consensus.core.keyed_state import KeyedState, command
from consensus.core.large_state import is_large
from consensus.types import GroupOptions, Stored
from storage.errors import LogCorrupt
from storage.options import LogOptions
from storage.state_file import SUFFIX
from tests.support.raft import Lone, Replicas

SMALL = LogOptions(segment_bytes=2048)
OPTIONS = GroupOptions(quiesce_after_s=1e9, state_chunk_bytes=1000)


def _machine() -> KeyedState:
    return KeyedState(block_bytes=300, hash_=lambda key: int(key) * 0x9E3779B1)


def _alone() -> Replicas:
    replicas = Replicas("a", log_options=SMALL, machines=_machine, options=OPTIONS)
    replicas.start()
    replicas.elect()
    return replicas


def _write(replicas: Replicas, rng: random.Random, count: int = 40) -> None:
    proposals = [
        replicas.propose(command([(b"%d" % rng.randrange(200), rng.randbytes(rng.randint(1, 50)))]))
        for _ in range(count)
    ]
    replicas.until(lambda: all(isinstance(proposal.outcome, Stored) for proposal in proposals))


def _checkpoint(replicas: Replicas) -> None:
    group = replicas.group("a")
    assert group.storage.begin_checkpoint()
    replicas.until(lambda: not group.storage.checkpoint_under_way)
    replicas.run(0.01)


def _files(replicas: Replicas) -> list[str]:
    return [name for name in replicas.nodes["a"].fs.listdir("g") if "state" in name]


def test_a_restart_loads_the_file_and_applies_what_came_after() -> None:
    """The machine begins at the file's frame: nothing before it is read, nothing after it is missing."""
    rng = random.Random(3)
    replicas = _alone()
    _write(replicas, rng)
    _checkpoint(replicas)
    index = replicas.group("a").applied_index
    _write(replicas, rng, 7)
    before = replicas.nodes["a"].machine.digest()
    replicas.stop("a")
    replicas.start()
    node = replicas.nodes["a"]
    assert (node.group.applied_index, node.machine.applied) == (index, index)
    assert node.log.checkpoint_index == index
    replicas.elect()
    replicas.run(0.1)
    assert node.machine.digest() == before
    assert _files(replicas) == [f"{index:020d}{SUFFIX}"]


def test_frames_are_applied_and_stored_while_the_file_is_written() -> None:
    """The file holds the state as it was when it was begun."""
    rng = random.Random(4)
    replicas = _alone()
    _write(replicas, rng)
    node, group = replicas.nodes["a"], replicas.group("a")
    expected, index = dict(node.machine.items()), group.applied_index
    replicas.jobs_run = False
    assert group.storage.begin_checkpoint()
    assert not group.storage.begin_checkpoint(), "one at a time"
    jobs = 0
    while group.storage.checkpoint_under_way:
        _write(replicas, rng, 3)
        assert node.run_job()
        jobs += 1
    assert jobs > 3
    assert dict(node.machine.items()) != expected
    replicas.stop("a")
    replicas.start()
    assert dict(replicas.nodes["a"].machine.items()) == expected
    assert replicas.group("a").applied_index == index


@pytest.mark.parametrize("power_loss", [True, False])
def test_a_crash_at_any_step_leaves_the_old_state_or_the_new_one(*, power_loss: bool) -> None:
    """At every call of the filesystem in turn; what is left over is gone after the next start."""
    seen: set[int] = set()
    for step in range(200):
        rng = random.Random(step)
        replicas = _alone()
        node = replicas.nodes["a"]
        states = {}
        for _ in range(2):
            _write(replicas, rng)
            states[node.group.applied_index] = dict(node.machine.items())
            if len(states) == 1:
                _checkpoint(replicas)
        first, second = states
        node.fs.fail("any", after=step, times=1_000_000)
        node.group.storage.begin_checkpoint()
        while node.run_job():
            pass
        died = node.group.failed is not None
        node.fs.heal()
        node.group.stop()
        if power_loss:
            node.fs.crash(rng)
        node.fs.restart()
        replicas.start()
        node = replicas.nodes["a"]
        applied = node.group.applied_index
        assert dict(node.machine.items()) == states[applied], f"step {step}"
        assert _files(replicas) == [f"{applied:020d}{SUFFIX}"], f"step {step}"
        replicas.elect()
        replicas.run(0.1)
        assert dict(node.machine.items()) == states[second], f"step {step}"
        seen.add(applied)
        if not died:
            assert applied == second
            break
    else:
        pytest.fail("it never got through")
    assert seen == {first, second}


def test_nothing_is_trimmed_that_no_file_covers() -> None:
    """The log from the file's frame on is part of the state."""
    rng = random.Random(5)
    replicas = _alone()
    group = replicas.group("a")
    _write(replicas, rng, 100)
    assert group.storage.compact() == 2
    _checkpoint(replicas)
    index = group.applied_index
    _write(replicas, rng, 100)
    assert 2 < group.storage.compact() <= index + 1
    assert group.log.truncate_head(before_index=group.applied_index) <= index + 1


def test_how_often_a_file_is_written_follows_what_the_log_has_grown() -> None:
    """At rest a part of the state is enough, while it grows on it has to be as much as the state."""
    rng = random.Random(6)
    replicas = _alone()
    group = replicas.group("a")
    _write(replicas, rng, 100)
    assert group.storage.checkpoint_is_due(rests=True, bytes_max=1_000_000)
    assert not group.storage.checkpoint_is_due(rests=False, bytes_max=1_000_000)
    _checkpoint(replicas)
    assert not group.storage.checkpoint_is_due(rests=True, bytes_max=1)
    length = group._parts.large.stored.reference.length
    while group.log.bytes_since_checkpoint < length:
        rests = group.storage.checkpoint_is_due(rests=True, bytes_max=1)
        assert rests == (group.log.bytes_since_checkpoint >= length // 4)
        assert not group.storage.checkpoint_is_due(rests=False, bytes_max=1)
        _write(replicas, rng, 1)
    assert group.storage.checkpoint_is_due(rests=False, bytes_max=1)
    assert not group.storage.checkpoint_is_due(rests=False, bytes_max=100_000)


def test_a_file_that_was_damaged_is_not_believed() -> None:
    """With all its frames the log leads to the state once more; a trimmed one has to be given it anew."""
    for trimmed in (False, True):
        rng = random.Random(7)
        replicas = _alone()
        _write(replicas, rng, 100)
        _checkpoint(replicas)
        if trimmed:
            replicas.group("a").storage.compact()
        node = replicas.nodes["a"]
        expected, [name] = node.machine.digest(), _files(replicas)
        replicas.stop("a")
        node.fs.flip_bit(f"g/{name}", 200)
        if trimmed:
            with pytest.raises(LogCorrupt, match="cannot be read") as caught:
                replicas.start()
            assert caught.value.is_beyond_mending
            assert caught.value.first_bad_index == node.open_log().base_index - 1
        else:
            replicas.start()
            assert node.group.applied_index == 1
            replicas.elect()
            replicas.run(0.1)
            assert node.machine.digest() == expected


def test_other_machines_have_no_files() -> None:
    """They are asked for their state as ever."""
    lone = Lone("a")
    assert not is_large(lone.node.machine)
    assert not lone.group.storage.is_large
    assert not lone.group.storage.begin_checkpoint()


def test_a_step_applies_a_bounded_part_of_what_is_behind() -> None:
    """After a restart there may be as much log as the state is large; heartbeats go on in between."""
    rng = random.Random(8)
    replicas = _alone()
    for number in range(40):
        replicas.propose(command([(b"%d" % number, rng.randbytes(100_000))]))
    replicas.run(0.5)
    expected = replicas.nodes["a"].machine.digest()
    replicas.stop("a")
    replicas.start()
    node, group = replicas.nodes["a"], replicas.group("a")
    steps, applied = 0, 1
    while group.applied_index < 42:
        replicas.now = max(replicas.now, group.next_deadline)
        group.step()
        while node.save_vote():
            group.step()
        if group.needs_flush:
            node.flush()
        assert group.applied_index - applied <= 4
        steps += group.applied_index > applied
        applied = group.applied_index
    assert steps >= 10
    assert node.machine.digest() == expected
