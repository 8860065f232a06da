"""Members of groups, step by step: what each is told when others come and go, counted where many do."""

from __future__ import annotations

from collections import Counter

import pytest
from floodmark.errors import (
    FencedInstanceId,
    FencedMemberEpoch,
    InconsistentGroupType,
    InvalidName,
    InvalidRequest,
    StaleMemberEpoch,
    TooManyMembers,
    UnknownMember,
)

from node.coordinator import keys, values
from node.coordinator.groups import membership, offsets
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.requests import Commit, Heartbeat, Join, Leave, Position, Reset
from node.coordinator.groups.sessions import Over
from node.coordinator.values import CLASSIC, GroupValue
from tests.node.group_members import Client
from tests.node.group_steps import Kept, Topics


class Cluster:
    """A group, topics, and the clients that use it."""

    def __init__(self, **partitions: int) -> None:
        self.kept = Kept()
        self.topics = Topics(**partitions)

    def join(self, client: Client) -> Client:
        answer = self.kept.take(
            membership.join(self.kept.group, client.joining(), topics=self.topics, now_ms=1)
        )
        client.told(answer)
        return client

    def beat(self, client: Client, *, gives_up: bool = True) -> Client:
        request = client.beat(gives_up=gives_up)
        client.told(
            self.kept.take(membership.heartbeat(self.kept.group, request, topics=self.topics, now_ms=1))
        )
        return client

    def leave(self, client: Client, **more: bool) -> None:
        request = Leave(member_id=client.member_id, epoch=client.epoch, **more)
        self.kept.take(membership.leave(self.kept.group, request, topics=self.topics, now_ms=1))

    def settle(self, clients: list[Client]) -> int:
        """Rounds of heartbeats until everybody has what it is to have."""
        rounds = 0
        epoch = self.kept.group.epoch
        while not all(each.settled and each.epoch == epoch for each in clients):
            rounds += 1
            for client in clients:
                self.beat(client)
        return rounds


def test_who_keeps_something_goes_on_while_the_rest_moves() -> None:
    """The second member waits for what the first gives up, which goes on with the rest all the time."""
    cluster = Cluster(t=4)
    first = cluster.join(Client("a", ("t",)))
    assert sorted(first.owned) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    second = cluster.join(Client("b", ("t",)))
    assert (second.epoch, second.owned, second.waiting) == (2, {}, 2)
    cluster.beat(first)
    assert (first.epoch, sorted(first.owned), sorted(first.revoking)) == (
        1,
        [(1, 0), (1, 1)],
        [(1, 2), (1, 3)],
    )
    cluster.beat(first, gives_up=False)
    cluster.beat(second)
    assert (first.epoch, second.owned) == (1, {})
    cluster.beat(first)
    assert (first.epoch, first.owned, first.revoking) == (2, {(1, 0): 1, (1, 1): 1}, set())
    assert cluster.beat(second).owned == {(1, 2): 2, (1, 3): 2}


def test_a_member_that_leaves_or_ends_frees_what_it_had() -> None:
    """The other one gets it with its next heartbeat; who ended learns of it, and comes back with nothing."""
    cluster = Cluster(t=4)
    first = cluster.join(Client("a", ("t",)))
    second = cluster.join(Client("b", ("t",)))
    cluster.settle([first, second])
    ended = membership.end(cluster.kept.group, Over("g", "a"), topics=cluster.topics, now_ms=1)
    assert cluster.kept.take(ended)
    assert len(cluster.beat(second).owned) == 4
    with pytest.raises(UnknownMember):
        cluster.beat(first)
    assert cluster.join(first).owned == {}
    cluster.settle([first, second])
    assert (len(first.owned), len(second.owned)) == (2, 2)
    cluster.leave(second)
    assert len(cluster.beat(first).owned) == 4
    cluster.leave(first)
    assert cluster.kept.group.state.empty_since_ms == 1
    assert sorted(cluster.kept.state) == [keys.group_key("g")]


def test_an_answer_that_is_lost_costs_nothing_and_an_older_epoch_is_fenced() -> None:
    """A member in its epoch before the last is told the last again; one that is further behind is out."""
    cluster = Cluster(t=4)
    first = cluster.join(Client("a", ("t",)))
    request = first.beat()
    cluster.topics.grow("t", 6)
    cluster.kept.take(membership.refresh(cluster.kept.group, topics=cluster.topics, now_ms=1))
    lost = membership.heartbeat(cluster.kept.group, request, topics=cluster.topics, now_ms=1)
    assert cluster.kept.take(lost).epoch == 2
    again = membership.heartbeat(cluster.kept.group, request, topics=cluster.topics, now_ms=1)
    assert (again.pairs, again.answer) == ([], lost.answer)
    claims = Heartbeat(member_id="a", epoch=1, owned=frozenset({(1, 0), (9, 9)}))
    with pytest.raises(FencedMemberEpoch):
        membership.heartbeat(cluster.kept.group, claims, topics=cluster.topics, now_ms=1)
    first.told(again.answer)
    cluster.join(Client("b", ("t",)))
    cluster.settle([first])
    for epoch in (1, 9):
        wrong = Heartbeat(member_id="a", epoch=epoch)
        with pytest.raises(FencedMemberEpoch) as fenced:
            membership.heartbeat(cluster.kept.group, wrong, topics=cluster.topics, now_ms=1)
        assert fenced.value.fields["epoch"] == 3
    with pytest.raises(InvalidRequest):
        membership.heartbeat(
            cluster.kept.group, Heartbeat(member_id="a", epoch=0), topics=cluster.topics, now_ms=1
        )


def test_who_comes_back_begins_anew() -> None:
    """With the same id it gets its partitions in the newest epoch: its earlier life commits nothing."""
    cluster = Cluster(t=2)
    member = cluster.join(Client("a", ("t",)))
    cluster.topics.grow("t", 3)
    cluster.kept.take(membership.refresh(cluster.kept.group, topics=cluster.topics, now_ms=1))
    assert cluster.join(member).owned == {(1, number): 2 for number in range(3)}
    late = Commit(positions={(1, 0): Position(9)}, member_id="a", epoch=1)
    with pytest.raises(StaleMemberEpoch):
        offsets.commit(cluster.kept.group, late, topics=cluster.topics, now_ms=1)


def test_a_static_member_comes_back_to_what_it_had() -> None:
    """After it left for a while, and after it died without a word; nobody else gives up anything."""
    cluster = Cluster(t=5)
    first = cluster.join(Client("a", ("t",), instance_id="one"))
    other = cluster.join(Client("b", ("t",)))
    cluster.settle([first, other])
    had = set(first.owned)
    cluster.leave(first, for_a_while=True)
    assert not cluster.beat(other).waiting
    second = cluster.join(Client("z2", ("t",), instance_id="one"))
    third = cluster.join(Client("z3", ("t",), instance_id="one"))
    assert set(second.owned) == set(third.owned) == had
    cluster.settle([other])
    assert (len(had), len(other.owned), other.revoking) == (3, 2, set())
    for old in (first, second):
        with pytest.raises(FencedInstanceId):
            cluster.beat(old)
    assert len(cluster.kept.group.members) == 2


def test_a_reset_while_a_partition_changes_hands() -> None:
    """Who is to give it up commits nothing any more; the epoch is that of the next owner, or of the old one
    where the partition stays after all."""
    cluster = Cluster(t=2)
    first = cluster.join(Client("a", ("t",)))
    second = cluster.join(Client("b", ("t",)))
    reset = Reset(positions={(1, 1): Position(5)}, force=True)

    def late() -> None:
        request = Commit(positions={(1, 1): Position(9)}, member_id="a", epoch=first.epoch)
        cluster.kept.take(offsets.commit(cluster.kept.group, request, topics=cluster.topics, now_ms=1))

    for told in (False, True):
        if told:
            assert cluster.beat(first).revoking == {(1, 1)}
        cluster.kept.take(offsets.reset(cluster.kept.group, reset, topics=cluster.topics, now_ms=1))
        assert cluster.kept.group.currents["a"].epoch_of((1, 1)) == values.VOID_EPOCH
        with pytest.raises(StaleMemberEpoch):
            late()
    cluster.settle([first, second])
    assert second.owned == {(1, 1): 4}
    cluster.leave(first)
    cluster.settle([second])
    third = cluster.join(Client("c", ("t",)))
    moves = next(iter(cluster.kept.group.targets["c"]))
    cluster.kept.take(
        offsets.reset(
            cluster.kept.group,
            Reset(positions={moves: Position(0)}, force=True),
            topics=cluster.topics,
            now_ms=1,
        )
    )
    cluster.leave(third)
    cluster.settle([second])
    assert second.owned[moves] == second.epoch == cluster.kept.group.epoch


def test_topics_that_come_go_and_are_made_again() -> None:
    """Patterns take new ones; a topic of the same name is another one, whose partitions all begin anew."""
    cluster = Cluster(logs=1)
    member = cluster.join(Client("a", (), "logs.*"))

    def refresh() -> bool:
        return cluster.kept.take(membership.refresh(cluster.kept.group, topics=cluster.topics, now_ms=1))

    cluster.topics.make("logs-eu", 2)
    cluster.topics.make("other", 2)
    assert refresh()
    assert sorted(cluster.beat(member).owned) == [(1, 0), (2, 0), (2, 1)]
    cluster.topics.make("other", 9)
    assert not refresh()
    cluster.topics.make("logs", 1)
    assert refresh()
    cluster.settle([member])
    assert sorted(member.owned) == [(2, 0), (2, 1), (5, 0)]
    cluster.topics.delete("logs-eu")
    assert refresh()
    cluster.settle([member])
    assert sorted(member.owned) == [(5, 0)]


def test_what_a_member_may_not_say() -> None:
    """Everything has a limit, which is told; a group with classic members takes no others."""
    cluster = Cluster(t=4)
    limits = GroupLimits(members=2, subscriptions=2, patterns=1)

    def join(*, limits: GroupLimits = limits, **more: object) -> None:
        request = Join(**{"member_id": "a", "topics": ("t",), **more})  # type: ignore[arg-type]
        cluster.kept.take(
            membership.join(cluster.kept.group, request, topics=cluster.topics, now_ms=1, limits=limits)
        )

    for wrong in (
        {"member_id": ""},
        {"member_id": "ä" * 128},
        {"instance_id": ""},
        {"topics": ("t", "u", "v")},
        {"pattern": "(a"},
        {"assignor": "fair"},
        {"session_timeout_ms": 10},
        {"session_timeout_ms": 1 << 40},
        {"rebalance_timeout_ms": 1 << 40},
    ):
        with pytest.raises(InvalidRequest):
            join(**wrong)
    with pytest.raises(InvalidName):
        join(topics=("no name",))
    join(pattern="t.*")
    with pytest.raises(InvalidRequest, match="different patterns"):
        join(member_id="b", pattern="u.*")
    join(member_id="b")
    join(member_id="b")
    with pytest.raises(TooManyMembers):
        join(member_id="c")
    cluster.topics.make("t2", 1)
    differ = GroupLimits(different=2)
    with pytest.raises(InvalidRequest, match="differ too much"):
        join(topics=("t", "t2"), limits=differ)
    assert len(cluster.kept.group.members) == 2
    cluster.kept.group.header = GroupValue(type=CLASSIC)
    with pytest.raises(InconsistentGroupType):
        join(member_id="b")


def test_a_hundred_members_rebalance_in_a_counted_number_of_heartbeats() -> None:
    """1,000 partitions: all join one after another and settle; then one leaves, and one comes."""
    cluster = Cluster(t=1_000)
    clients = [cluster.join(Client(f"m{number:03}", ("t",))) for number in range(100)]
    rounds = cluster.settle(clients)
    assert rounds <= 3
    assert Counter(len(client.owned) for client in clients) == {10: 100}
    owners = dict(cluster.kept.group.owners)
    cluster.kept.writes = 0
    cluster.leave(clients.pop())
    assert cluster.settle(clients) == 1
    moved = [each for each, owner in cluster.kept.group.owners.items() if owners[each] != owner]
    assert len(moved) == 10
    # The member, its target, what it has, the group; ten others' targets; each of the rest in the new epoch.
    assert cluster.kept.writes == 4 + 10 + 99
    clients.append(cluster.join(Client("new", ("t",))))
    assert cluster.settle(clients) <= 3
    assert sorted(len(client.owned) for client in clients) == [10] * 100
    state = values.encode(cluster.kept.group.state)
    assert len(state) < 100
