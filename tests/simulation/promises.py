"""What a group promises, held against all that is committed, one entry after the other, and against all that
members are told. It believes no replica: the state is made again from the committed log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgpack
from floodmark.format.frame import Frame

from node.coordinator import keys, values
from node.coordinator.groups import membership
from node.coordinator.groups.group import Group
from node.coordinator.groups.requests import Commit, Heartbeat, MemberAnswer
from node.coordinator.keys import Kind, TopicPartition
from node.coordinator.values import OffsetValue
from tests.node.group_steps import Kept
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.members import Members
    from tests.simulation.shard import Ask

REBALANCES = frozenset({"join", "leave", "end", "refresh", "reset"})
"""What may begin a new epoch of the group."""


class Promises:
    """Of one run."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._ledger = members.cluster.ledger
        self._meant: dict[bytes, Ask] = {}
        self._seen = 1
        self._asked = 0
        self.kept = Kept()
        """What the committed log has led to."""
        self.counts: Counter[str] = Counter()
        """Steps that were committed, by kind, and what came about."""
        self.delivered: defaultdict[TopicPartition, set[int]] = defaultdict(set)
        """Offsets that somebody got."""
        self._owners: dict[tuple[TopicPartition, int], str] = {}
        self._given: dict[TopicPartition, tuple[int, int]] = {}
        """What was handed over: in which epoch its owner had got it, and where it ended."""
        self._resets: Counter[TopicPartition] = Counter()

    def number(self) -> int:
        """Of the next frame; below 0, as those above are the workload's."""
        self._asked -= 1
        return self._asked

    def proposed(self, payload: bytes, what: Ask) -> None:
        """This is what the frame stands for, if it is committed."""
        self._meant[payload] = what

    # What is committed.

    def look(self) -> None:
        """Take in what has been committed since the last look."""
        while self._seen < self._ledger.highest:
            self._seen += 1
            frame = self._ledger.committed[self._seen]
            if (what := self._meant.get(frame.payload)) is not None:
                self._take(frame, what)

    def _take(self, frame: Frame, what: Ask) -> None:
        flat = msgpack.unpackb(frame.payload)
        group = self.kept.group
        epoch = group.epoch
        self.counts[what.kind] += 1
        for key, value in zip(flat[:-2:2], flat[1:-2:2], strict=True):
            if keys.kind_of(key) == Kind.OFFSET and value is not None:
                self._moves(what, keys.partition_of(key), values.decode(OffsetValue, value).offset)
            if value is None:
                self.kept.state.pop(key, None)
            else:
                self.kept.state[key] = value
            group.replay(key, value)
        require(
            group.epoch == epoch or (group.epoch == epoch + 1 and what.kind in REBALANCES),
            "only who comes, goes or is reset starts a rebalance",
            lambda: f"{what.kind} made epoch {group.epoch} of {epoch}",
        )
        self._one_owner(group)

    def _moves(self, what: Ask, partition: TopicPartition, offset: int) -> None:
        before = self.kept.group.offset(partition)
        start = before.offset if before is not None else 0
        if what.kind == "reset":
            self._resets[partition] += 1
            return
        require(
            offset >= start,
            "committed offsets never go back",
            lambda: f"{partition} from {start} to {offset} by {what}",
        )
        commit: Commit = what.request
        current = self.kept.group.currents.get(commit.member_id)
        since = current.epoch_of(partition) if current is not None else None
        require(
            since is not None and since <= commit.epoch,
            "who commits has the partition",
            lambda: f"{commit.member_id} in epoch {commit.epoch} committed {partition}, had since {since}",
        )
        skipped = set(range(start, offset)) - self.delivered[partition]
        require(not skipped, "no record is skipped", lambda: f"{partition}: {min(skipped)} at {offset}")

    def _one_owner(self, group: Group) -> None:
        holders = Counter(each for current in group.currents.values() for each in current.held())
        require(
            not holders or max(holders.values()) == 1,
            "a partition has one owner",
            lambda: f"{holders.most_common(1)} in epoch {group.epoch}",
        )
        for id_, current in group.currents.items():
            for epochs in (current.owned, current.revoking):
                for each, since in epochs.items():
                    if since != values.VOID_EPOCH:
                        self._has(id_, each, since)

    def _has(self, member_id: str, partition: TopicPartition, since: int) -> None:
        owner = self._owners.setdefault((partition, since), member_id)
        require(
            owner == member_id,
            "a partition has one owner in an epoch",
            lambda: f"{partition} in {since}: {owner} and {member_id}",
        )

    # What members are told, and do.

    def told(self, answer: MemberAnswer) -> None:
        """What it is told to have nobody else ever had in that epoch."""
        for topic_id, partition, since in answer.owned:
            if since != values.VOID_EPOCH:
                self._has(answer.member_id, (topic_id, partition), since)

    def refused(self, member_id: str) -> None:
        """A member was told that it is none any more."""
        require(
            member_id not in self.kept.group.members,
            "only who was removed is refused",
            lambda: f"{member_id} was refused, and is a member",
        )

    def handed_over(self, partition: TopicPartition, since: int, offset: int) -> None:
        """Its owner has committed all that it did, and is about to say that it gives it up."""
        self._given[partition] = (since, offset)

    def begins(self, partition: TopicPartition, since: int, offset: int) -> None:
        """A member goes on here."""
        before = max((at for each, at in self._owners if each == partition and at < since), default=None)
        given = self._given.get(partition)
        there = self._members.topics.partitions(partition[0]) > 0
        # Since the one before began: it may not have heard of it when it gave the partition up.
        was_reset, self._resets[partition] = self._resets[partition] > 0, 0
        if given is None or given[0] != before or was_reset or not there:
            return
        self.counts["handed over"] += 1
        require(
            offset >= given[1],
            "a hand-over repeats nothing",
            lambda: f"{partition} was given up at {given[1]}, and goes on at {offset}",
        )

    def fails_over(self, view: Group) -> None:
        """A leader begins: who has what it is to have stays as it is."""
        self.look()
        self.counts["failover"] += bool(view.members)
        for id_, current in view.currents.items():
            if current.epoch != view.epoch or current.revoking or set(current.owned) != view.targets[id_]:
                continue
            beat = Heartbeat(member_id=id_, epoch=current.epoch, owned=frozenset(current.owned))
            decision: Any = membership.heartbeat(view, beat, topics=self._members.topics, now_ms=1)
            require(not decision.pairs, "a failover starts no rebalance", f"{id_}: {decision.answer}")
