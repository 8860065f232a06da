"""Members of a consumer group, as processes of their own: they come, read, commit, give up, go, stand still
and die, while the replicas of their coordinator do. Offsets are reset and topics made again meanwhile.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from floodmark.errors import FencedMemberEpoch, FloodmarkError, StaleMemberEpoch, UnknownMember, UnknownTopic

from node.coordinator.groups import membership, offsets
from node.coordinator.groups.group import Group
from node.coordinator.groups.requests import Commit, Leave, MemberAnswer, Position, Reset
from node.coordinator.keys import TopicPartition
from tests.node.group_members import Client
from tests.node.group_steps import Topics
from tests.simulation.broken import Rule
from tests.simulation.promises import Promises
from tests.simulation.shard import Ask, Lead, may_judge
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

MEMBERS = 5
SESSION_MS = 2_000
ASK_AGAIN_S = 1.0
TICK_S = 0.12
LOST = 0.1
"""Of the answers."""
TWICE = 0.15
"""Of the commits: their first try comes after a later one."""
SETTLES_S = 20.0
"""Until all have what they are to have, once nothing fails any more: two sessions and some heartbeats."""


@dataclass
class Process:
    """A member's process, one id after the other."""

    client: Client
    joined: bool = False
    begins: dict[TopicPartition, int] = field(default_factory=dict)
    """Where it has yet to ask from which offset on to read."""
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    got: dict[TopicPartition, int] = field(default_factory=dict)
    """In which epoch it got what it has, or has to give up."""
    under_way: int = 0
    """The number of the request whose answer it waits for; 0: none."""
    asked_at: float = 0.0
    asleep_until: float = 0.0
    leaves: bool = False


class Members:
    """All of them, their topics, and who leads the shard just now."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.topics = Topics(a=5, b=2)
        self.promises = Promises(self)
        self._rng = rng
        self._faults = True
        self.rests = False
        """While nobody asks for anything: the replicas heal."""
        self._ids = 0
        self._requests = 0
        self._leads: dict[str, Lead] = {}
        self._processes = [Process(self._client()) for _ in range(MEMBERS)]
        self._again()

    # One moment after the other.

    def _again(self) -> None:
        def tick() -> None:
            if not self.rests:
                self._tick()
            self._again()

        self.cluster.scheduler.after(self._rng.uniform(0.5, 1.5) * TICK_S, tick)

    def _tick(self) -> None:
        for replica in self.cluster.leaders():
            lead = self._leads.get(replica.name)
            if (lead is None or not lead.leads) and may_judge(replica, self.cluster.broken):
                self._leads[replica.name] = Lead(self, replica)
        if self._faults:
            self._strike()
        for process in self._processes:
            if process.asleep_until <= self.cluster.scheduler.now and self._rng.random() < 0.8:
                self._lives(process)

    def _strike(self) -> None:
        chance, now = self._rng.random(), self.cluster.scheduler.now
        process = self._rng.choice(self._processes)
        if chance < 0.010:
            process.asleep_until = now + self._rng.uniform(0.3, 5.0)
        elif chance < 0.018:  # Its process dies; another begins.
            self._anew(process)
            process.asleep_until = now + self._rng.uniform(0.1, 3.0)
        elif chance < 0.026:
            process.leaves = True
        elif chance < 0.032:
            self.topics.make("b", self._rng.randint(1, 3))
            for _, lead in sorted(self._leads.items()):
                lead.refresh()
        elif chance < 0.042:
            at = (self.topics.ids["a"], self._rng.randrange(3))
            reset = Reset(positions={at: Position(self._rng.randint(0, 30))}, force=True)
            self._ask(
                None, "reset", reset, lambda group: offsets.reset(group, reset, topics=self.topics, now_ms=1)
            )

    def refresh(self, group: Group) -> Any:
        """Targets for the topics that there are now."""
        return membership.refresh(group, topics=self.topics, now_ms=1)

    def _client(self) -> Client:
        self._ids += 1
        return Client(f"m{self._ids}", ("a", "b") if self._ids % 3 else ("a",))

    def _anew(self, process: Process) -> None:
        process.client, process.joined, process.leaves = self._client(), False, False
        process.begins, process.committed, process.got, process.under_way = {}, {}, {}, 0

    # A process.

    def _lives(self, process: Process) -> None:
        client = process.client
        if process.under_way and self.cluster.scheduler.now - process.asked_at < ASK_AGAIN_S:
            return
        process.under_way = 0
        if not process.joined:
            self._join(process)
            return
        done = self._reads(process)
        chance = self._rng.random()
        if process.begins:
            self._fetch(process)
        elif (client.revoking or process.leaves) and not done:
            self._commit(process)
        elif process.leaves:
            self._leave(process)
        elif chance < 0.35 and client.positions:
            self._commit(process)
        else:
            self._beat(process)

    def _reads(self, process: Process) -> bool:
        """Some more records, but none of what it is to give up. Returns whether that is all committed."""
        client = process.client
        for each in sorted(client.positions):
            if each not in client.revoking and not process.leaves and self._rng.random() < 0.6:
                count = self._rng.randint(1, 3)
                at = client.positions[each]
                self.promises.delivered[each].update(range(at, at + count))
                client.positions[each] = at + count
        ends = client.holds if process.leaves else client.revoking
        if Rule.G4 in self.cluster.broken:
            return True
        return all(
            client.positions[each] == process.committed.get(each) for each in ends & client.positions.keys()
        )

    def _join(self, process: Process) -> None:
        request = process.client.joining()
        request = type(request)(
            member_id=request.member_id, topics=request.topics, session_timeout_ms=SESSION_MS
        )
        self._ask(
            process,
            "join",
            request,
            lambda group: membership.join(group, request, topics=self.topics, now_ms=1),
        )

    def _beat(self, process: Process) -> None:
        client = process.client
        for each in client.revoking & client.positions.keys():
            self.promises.handed_over(each, process.got[each], client.positions[each])
        request = client.beat()
        for each in [each for each in process.begins if each not in client.holds]:
            del process.begins[each]

        def judge(group: Group) -> Any:
            if Rule.G3 in self.cluster.broken:
                group = _without_owners(group)
            return membership.heartbeat(group, request, topics=self.topics, now_ms=1)

        self._ask(process, "heartbeat", request, judge)

    def _leave(self, process: Process) -> None:
        client = process.client
        for each in client.positions:
            self.promises.handed_over(each, process.got[each], client.positions[each])
        request = Leave(member_id=client.member_id, epoch=client.epoch)
        self._ask(
            process,
            "leave",
            request,
            lambda group: membership.leave(group, request, topics=self.topics, now_ms=1),
        )

    def _commit(self, process: Process) -> None:
        client = process.client
        there = {each: at for each, at in client.positions.items() if self.topics.partitions(each[0])}
        for each in client.positions.keys() - there.keys():
            process.committed[each] = client.positions[each]  # Nobody can commit it any more.
        ahead = 2 if Rule.G6 in self.cluster.broken else 0
        request = Commit(
            positions={each: Position(at + ahead) for each, at in there.items()},
            member_id=client.member_id,
            epoch=client.epoch,
            back=Rule.G7 in self.cluster.broken,
        )
        if there:
            self._ask(
                process,
                "commit",
                request,
                lambda group: offsets.commit(group, request, topics=self.topics, now_ms=1),
            )

    def _fetch(self, process: Process) -> None:
        wanted = dict(process.begins)
        client = process.client
        number = self._sent(process)
        lead = self._lead()

        def told(found: Any) -> None:
            if number != process.under_way:
                return
            process.under_way = 0
            if found is None or process.client is not client:
                return
            for each, since in wanted.items():
                if process.begins.get(each) == since and client.owned.get(each) == since:
                    at = found[each].offset if each in found else 0
                    client.positions[each] = process.committed[each] = at
                    del process.begins[each]
                    self.promises.begins(each, since, at)
            for each in [each for each in process.begins if each not in client.owned]:
                del process.begins[each]

        if lead is not None:
            lead.read(lambda group: offsets.fetch(group, list(wanted), topics=self.topics), told)

    # Requests, and what comes of them.

    def _lead(self) -> Lead | None:
        """Of a node that takes itself for the leader; it may not know better."""
        leads = [lead for _, lead in sorted(self._leads.items()) if lead.leads and not lead.replica.paused]
        return self._rng.choice(leads) if leads else None

    def _sent(self, process: Process) -> int:
        self._requests += 1
        process.under_way, process.asked_at = self._requests, self.cluster.scheduler.now
        return self._requests

    def _ask(self, process: Process | None, kind: str, request: Any, judge: Any) -> None:
        number = self._sent(process) if process is not None else 0
        client = process.client if process is not None else None
        lost = self._faults and self._rng.random() < LOST

        def told(answer: Any) -> None:
            if process is None or client is not process.client or number != process.under_way or lost:
                return
            process.under_way = 0
            if isinstance(answer, FloodmarkError):
                self._refused(process, answer)
            elif answer is not None:
                self._told(process, kind, answer)

        lead = self._lead()
        if lead is not None:
            lead.ask(Ask(kind, request, judge), told)
        if kind == "commit" and self._faults and self._rng.random() < TWICE:
            self.cluster.scheduler.after(
                self._rng.uniform(0, 2), lambda: self._comes_late(kind, request, judge)
            )

    def _comes_late(self, kind: str, request: Any, judge: Any) -> None:
        """A request that was on its way for long; whoever sent it does not wait for it any more."""
        if (lead := self._lead()) is not None:
            lead.ask(Ask(kind, request, judge), lambda _: None)

    def _told(self, process: Process, kind: str, answer: Any) -> None:
        client = process.client
        if isinstance(answer, MemberAnswer):
            process.joined = True
            self.promises.told(answer)
            for each in client.told(answer):
                client.positions.pop(each, None)
                process.begins[each] = process.got[each] = client.owned[each]
        elif kind == "commit":
            process.committed.update({each: at.offset for each, at in answer.stored.items()})
        elif kind == "leave":
            self._anew(process)
            if self._faults:
                process.asleep_until = self.cluster.scheduler.now + self._rng.uniform(0.1, 3.0)

    def _refused(self, process: Process, error: FloodmarkError) -> None:
        if isinstance(error, UnknownMember | FencedMemberEpoch):
            if not process.leaves:
                self.promises.refused(process.client.member_id)
            self._anew(process)
        elif not isinstance(error, StaleMemberEpoch | UnknownTopic):  # A heartbeat tells what it has.
            raise error

    # The end.

    def settle(self) -> None:
        """Nothing fails any more: everybody gets what they are to have, and nothing else changes."""
        self._faults = self.rests = False
        for process in self._processes:
            process.asleep_until, process.leaves = 0.0, False
        scheduler = self.cluster.scheduler
        settled = scheduler.run(scheduler.now + SETTLES_S, stop=self._is_settled)
        require(settled, "the group comes to rest", lambda: f"{self.promises.kept.group.currents}")

    def _is_settled(self) -> bool:
        group = self.promises.kept.group
        clients = {process.client.member_id: process.client for process in self._processes if process.joined}
        wanted = {
            (topic_id, at) for topic_id in self.topics.counts for at in range(self.topics.counts[topic_id])
        }
        return (
            clients.keys() == group.members.keys()
            and len(clients) == MEMBERS
            and set(group.owners) == wanted
            and all(set(client.positions) == group.targets[id_] for id_, client in clients.items())
        )


def _without_owners(group: Group) -> Group:
    """The same, and nobody has anything."""
    nothing: dict[bytes, bytes] = {}
    found = Group.of(group.name, nothing.get, list)
    found.header, found.members, found.targets = group.header, group.members, group.targets
    found.currents = group.currents
    return found
