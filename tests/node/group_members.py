"""Members as their clients see themselves: what they know is what the last answer told them."""

from __future__ import annotations

from dataclasses import dataclass, field

from node.coordinator.groups.requests import Heartbeat, Join, MemberAnswer
from node.coordinator.keys import TopicPartition


@dataclass
class Client:
    """A member's process. ``owned`` maps what it works on to the epochs in which it got it."""

    member_id: str
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    instance_id: str | None = None
    assignor: str = ""
    epoch: int = 0
    owned: dict[TopicPartition, int] = field(default_factory=dict)
    revoking: set[TopicPartition] = field(default_factory=set)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    waiting: int = 0
    heartbeats: int = 0

    def joining(self) -> Join:
        """It has nothing then."""
        self.epoch, self.owned, self.revoking, self.positions = 0, {}, set(), {}
        return Join(
            member_id=self.member_id,
            topics=self.topics,
            pattern=self.pattern,
            instance_id=self.instance_id,
            assignor=self.assignor,
        )

    def beat(self, *, gives_up: bool = True) -> Heartbeat:
        """It has given up what it was told to, or works on it still."""
        if gives_up:
            for each in self.revoking:
                self.positions.pop(each, None)
            self.revoking.clear()
        self.heartbeats += 1
        owned = frozenset(self.owned) | self.revoking
        return Heartbeat(
            member_id=self.member_id, epoch=self.epoch, instance_id=self.instance_id, owned=owned
        )

    def told(self, answer: MemberAnswer) -> list[TopicPartition]:
        """It takes an answer. Returns what it begins with anew, at the committed offset.

        What it works on still it does not drop only because the answer has nothing of it.
        """
        now = {(each.topic_id, each.partition): each.epoch for each in answer.owned}
        begins = [each for each, since in now.items() if self.owned.get(each) != since]
        still = self.revoking - now.keys()
        self.epoch, self.owned, self.revoking = answer.epoch, now, still.union(answer.revoking)
        self.waiting = answer.waiting
        for each in [each for each in self.positions if each not in now and each not in self.revoking]:
            del self.positions[each]
        return begins

    @property
    def holds(self) -> set[TopicPartition]:
        """What it may be working on."""
        return set(self.owned) | self.revoking

    @property
    def settled(self) -> bool:
        """It neither gives up nor waits for anything."""
        return not self.revoking and not self.waiting
