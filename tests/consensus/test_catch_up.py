"""Replicas that are behind and do not vote get no more than their node's limit, all groups together."""

from __future__ import annotations

import pytest

from consensus.core.catch_up import BURST_MESSAGES, CatchUp
from consensus.core.member_steps import CAUGHT_UP_ENTRIES
from consensus.messages import Message
from consensus.types import GroupOptions
from tests.support.raft import Node, Replicas, frame

RATE, MESSAGE = 20_000, 2_000
BEGIN_S = 3.0
"""Virtual time at which there is a leader."""
OPTIONS = GroupOptions(quiesce_after_s=1e9)


def _limit(rate: int = RATE) -> CatchUp:
    return CatchUp(rate, message_bytes=MESSAGE)


def _backlog(node: Node, frames: int = 400, size: int = 500) -> None:
    log = node.open_log()
    for index in range(2, 2 + frames):
        log.append(frame(index, 1, b"x" * size))
    log.write()
    log.sync()
    log.close()


def _bytes(sent: list[tuple[str, str, Message]], target: str) -> int:
    return sum(each.size for _, to, message in sent if to == target for each in message.frames)


def _grown(limit: CatchUp, *, learners: str = "d") -> Replicas:
    """Three that have a backlog, and one that has nothing and was just added."""
    replicas = Replicas("abcd", learners=learners, options=OPTIONS)
    for name in "abc":
        _backlog(replicas.nodes[name])
    replicas.start("abc", catch_up=limit)
    replicas.elect()
    replicas.run(BEGIN_S - replicas.now)
    replicas.sent.clear()
    replicas.start("d")
    return replicas


def test_turns_come_at_the_rate_and_small_messages_use_little_of_it() -> None:
    """What is asked for in one instant leaves a message at a time; a burst is what a pause has saved."""
    limit = _limit()
    leaves = []
    for size in (MESSAGE,) * 10 + (MESSAGE // 4,) * 4 + (MESSAGE,):
        leaves.append(round(limit.turn(50.0) - 50.0, 6))
        limit.sent(size)
    message_s = MESSAGE / RATE
    first = leaves[: 10 + 1]
    assert first == [round((n - BURST_MESSAGES) * message_s, 6) for n in range(11)]
    assert leaves[-1] == round(leaves[10] + message_s, 6)
    assert limit.sent_bytes == 12 * MESSAGE


def test_no_limit_is_no_limit() -> None:
    """Everything may leave at once."""
    limit = _limit(0)
    for _ in range(100):
        assert limit.turn(50.0) <= 50.0
        limit.sent(MESSAGE)


def test_a_learner_catches_up_at_the_rate_and_producers_do_not_wait() -> None:
    """Bytes in each virtual second, and every new entry is at the voters as quickly as ever."""
    replicas = _grown(_limit())
    seconds = []
    for _ in range(5):
        replicas.sent.clear()
        proposal = replicas.propose(b"new")
        replicas.run(0.05)
        assert proposal.outcome is not None
        replicas.run(0.95)
        seconds.append(_bytes(replicas.sent, "d"))
    assert all(seconds)
    assert seconds[0] <= RATE + (BURST_MESSAGES + 1) * MESSAGE
    assert all(RATE - MESSAGE <= each <= RATE + MESSAGE for each in seconds[1:]), seconds
    leader = replicas.leader()
    replicas.until(lambda: leader.followers.match_of("d") == leader.log.last_index, 20.0)


def test_without_a_limit_it_comes_at_once() -> None:
    """The same backlog in less than a second."""
    replicas = _grown(_limit(0))
    replicas.run(0.5)
    assert replicas.group("d").log.last_index == replicas.leader().log.last_index


def test_a_learner_that_has_everything_is_not_held_back() -> None:
    """What is new reaches it with the others, far above the rate, and counts for nothing."""
    replicas = Replicas("abcd", learners="d", options=OPTIONS)
    limit = _limit()
    replicas.start(catch_up=limit)
    leader = replicas.elect()
    replicas.run(0.5)
    before = limit.sent_bytes
    for number in range(100):
        replicas.propose(b"%d" % number * 1000)
        replicas.run(0.001)
    replicas.run(0.05)
    assert _bytes(replicas.sent, "d") > 5 * RATE
    assert leader.followers.match_of("d") == leader.log.last_index
    assert limit.sent_bytes == before


def test_a_voter_that_is_far_behind_is_not_held_back() -> None:
    """A commit may wait for it."""
    replicas = _grown(_limit(), learners="")
    replicas.run(0.5)
    assert _bytes(replicas.sent, "d") > 5 * RATE
    assert replicas.group("d").log.last_index == replicas.leader().log.last_index


@pytest.mark.parametrize("groups", [2, 5])
def test_all_groups_of_a_node_share_its_limit(groups: int) -> None:
    """Fairly: each gets as many turns as the others."""
    limit = _limit()
    several = [_grown(limit) for _ in range(groups)]
    for millisecond in range(3000):
        for replicas in several:
            replicas.run(BEGIN_S + millisecond / 1000 - replicas.now)
    sizes = [_bytes(replicas.sent, "d") for replicas in several]
    assert 3 * RATE <= sum(sizes) <= 3 * RATE + (BURST_MESSAGES + groups) * MESSAGE, sizes
    assert max(sizes) - min(sizes) <= BURST_MESSAGES * MESSAGE, sizes


def test_who_runs_the_leader_is_told_when_a_member_has_caught_up() -> None:
    """Once it is known to be sound, and once it has come near; not for every acknowledgement."""
    replicas = _grown(_limit())
    leader = replicas.leader()
    node = replicas.nodes[leader.node_id]
    node.member_news = 0
    told = []
    while leader.followers.match_of("d") < leader.commit_index:
        replicas.run(0.05)
        if node.member_news > len(told):
            told.append(leader.commit_index - leader.followers.match_of("d") <= CAUGHT_UP_ENTRIES)
    assert told == [False, True]
    replicas.propose(b"1")
    replicas.run(1.0)
    assert node.member_news == len(told)
