"""Each group's messages in order, and the groups in turn."""

from __future__ import annotations

import random

from consensus.links.fair_queue import FairQueue
from consensus.messages import Message, RequestVoteResponse, SnapshotChunk


def message(number: int) -> Message:
    """A message that carries a number."""
    return RequestVoteResponse(term=number)


def test_groups_take_turns_and_each_keeps_its_order():
    """Whoever has much waits behind one message of each of the others."""
    queue = FairQueue()
    for number in range(3):
        queue.put((1, message(number)), 10)
    queue.put((2, message(0)), 10)
    queue.put((3, message(0)), 10)
    assert queue.size == 50
    assert [group for group, _ in queue.take(100)] == [1, 2, 3, 1, 1]
    assert (queue.size, bool(queue)) == (0, False)


def test_a_state_file_waits_as_one_more_group():
    """What else its group has to say neither waits behind it nor has to come after it."""
    queue = FairQueue()
    for number in range(3):
        queue.put((1, SnapshotChunk(1, 1, number)), 10)
    assert 1 not in queue
    queue.put((1, message(7)), 10)
    taken = [(group, type(message)) for group, message in queue.take(40)]
    assert taken == [(1, kind) for kind in (SnapshotChunk, RequestVoteResponse, SnapshotChunk, SnapshotChunk)]


def test_a_taking_is_bounded_and_brings_at_least_one():
    """One that is larger than what was asked for comes alone."""
    queue = FairQueue()
    queue.put((1, message(0)), 1_000)
    queue.put((2, message(0)), 10)
    queue.put((2, message(1)), 10)
    assert len(queue.take(100)) == 1
    assert len(queue.take(15)) == 2
    assert not queue
    assert queue.take(15) == []


def test_random_groups_lose_nothing_and_keep_their_order():
    """Whatever is put and taken in between."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    chance = random.Random(seed)
    queue, put, taken = FairQueue(), dict.fromkeys(range(5), 0), dict.fromkeys(range(5), 0)
    size = 0
    for _ in range(5_000):
        if chance.random() < 0.6:
            group = chance.randrange(5)
            queue.put((group, message(put[group])), 7)
            put[group] += 1
            size += 7
        else:
            for group, found in queue.take(chance.randrange(1, 40)):
                assert found.claimed_term == taken[group]
                taken[group] += 1
                size -= 7
        assert queue.size == size
        assert all((group in queue) == (put[group] > taken[group]) for group in put)
    left = sum(put.values()) - sum(taken.values())
    assert queue.clear() == left
    assert not queue
    assert queue.size == 0
