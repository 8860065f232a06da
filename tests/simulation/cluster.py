"""One simulated cluster: replicas, network, checkers, and what everybody must agree on."""

from __future__ import annotations

import random
from collections.abc import Callable

from consensus.core.safeguards import Safeguard
from consensus.messages import (
    AppendEntriesResponse,
    Message,
    RequestVoteResponse,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotPosition,
)
from consensus.types import Role
from consensus.wire import COMMIT_WITH_QUIESCE, NEWEST_VERSION
from tests.simulation.broken import Rule
from tests.simulation.clock import NodeClock
from tests.simulation.codec import copied, through_wire
from tests.simulation.disk import Disk
from tests.simulation.host import Host
from tests.simulation.inspector import Inspector
from tests.simulation.ledger import Ledger
from tests.simulation.machine import AppliedHistory, LargeMachine
from tests.simulation.members import Members
from tests.simulation.moves import Moves
from tests.simulation.network import Network
from tests.simulation.operator import Operator
from tests.simulation.processing import Processing
from tests.simulation.profile import AGAIN_WITHIN_S, PROFILES, Profile
from tests.simulation.queue_workers import Workers
from tests.simulation.recovery import Recoveries
from tests.simulation.replica import Replica
from tests.simulation.retrying import Retrying
from tests.simulation.scheduler import Scheduler
from tests.simulation.shard import ShardMachine
from tests.simulation.trace import Trace
from tests.simulation.watch import Watch
from tests.simulation.workload import Workload

LARGE_STATE = (SnapshotOffer, SnapshotPosition, SnapshotChunk)
"""Messages that bring a large state."""
COMES_AGAIN = (AppendEntriesResponse, RequestVoteResponse, *LARGE_STATE)
"""Messages that may come a second time: answers, and those that bring a large state."""


class Cluster:
    """Everything of one run. Its parts draw from random streams of their own, all made from the seed."""

    def __init__(
        self,
        seed: int,
        profile: Profile,
        safeguards: frozenset[Safeguard],
        trace: Trace,
        broken: frozenset[Rule] = frozenset(),
    ) -> None:
        self.broken = broken
        self.seed = seed
        self.profile = profile
        self.safeguards = safeguards
        self.trace = trace
        self.scheduler = Scheduler()
        self.ledger = Ledger()
        self.mended = 0
        """Segments that a replica has mended while it ran."""
        self.compacts = not profile.large and (seed // len(PROFILES)) % 2 == 1
        """Whether replicas compact their logs in this run."""
        self.removed: dict[int, int] = {}
        """Entries that compaction may have removed on some replica, and up to where the producers' table may
        then be another one: the end of their segment there."""
        self.compacted = 0
        """Segments that a replica has compacted."""
        self.history = AppliedHistory()
        self.watch = Watch()
        self._after_step: list[Callable[[], None]] = []
        self.members: Members | Workers | None = None
        self._voters_seen: dict[str, frozenset[str]] = {}
        """What each replica named last as the voters, whether it runs or not."""
        rng = self.rng("shape")
        voters = rng.choice(profile.voters)
        members = voters + profile.learners
        self.names = [f"n{number}" for number in range(1, members + profile.spares + 1)]
        self.first_voters = frozenset(self.names[:voters])
        self.first_learners = frozenset(self.names[voters:members])
        self.encodes = rng.random() < 0.6
        """Whether messages go through the real wire codec; the other runs are faster."""
        self.catch_up_bytes_per_s = self.rng("catch up").choice(profile.catch_up_bytes_per_s)
        self.quiesce_after_s = self.rng("quiesce").choice(profile.quiesce_after_s)
        self._duplicates = self.rng("duplicates")
        self._losses = self.rng("losses")
        self.network: Network[Message] = Network(
            self.names,
            self.scheduler,
            self.rng("network"),
            trace,
            profile.network_options(),
            deliver=self._deliver,
            notify=self._notify,
            silent=lambda node, peer: self.replicas[node].silent(peer),
            gone=lambda node, peer: self.replicas[node].peer_gone(peer),
            again=self._again,
            welcomes=lambda a, b: self.recoveries is None or self.recoveries.welcome(a, b),
        )
        self.moves = Moves(self, self.rng("moves")) if profile.spares else None
        drift = profile.clock_drift
        self.replicas = {
            name: Replica(
                name,
                self,
                Disk(self.rng(f"disk {name}"), profile.flush_s),
                NodeClock(self.scheduler, rate=rng.uniform(1 - drift, 1 + drift), start=rng.uniform(0, 1e4)),
            )
            for name in self.names
        }
        for name in self.names[members:]:
            self.replicas[name].absent = True
        self.large_machine = ShardMachine if profile.groups or profile.queues else LargeMachine
        self.inspector = Inspector(self)
        self.recoveries = (
            Recoveries(self, self.rng("recoveries")) if "majority lost" in profile.extra else None
        )
        for replica in self.in_order():
            replica.start()
        self.workload = Workload(self, self.rng("workload"))
        self.retrying = Retrying(self, self.rng("retrying"))
        self.processing = Processing(self, self.rng("processing"))
        self.operator = self.moves or Operator(self, self.rng("operator"))
        if profile.groups:
            self.members = Members(self, self.rng("members"))
        elif profile.queues:
            self.members = Workers(self, self.rng("workers"))

    def rng(self, purpose: str) -> random.Random:
        """A random stream of its own for one purpose, so that one part's draws do not shift another's."""
        return random.Random(f"{self.seed} {purpose}")

    def note(self, who: str, what: str) -> None:
        """Put an event into the trace."""
        self.trace.add(self.scheduler.now, who, what)

    def in_order(self) -> list[Replica]:
        """All replicas, always in the same order."""
        return list(self.replicas.values())

    def leaders(self) -> list[Replica]:
        """Replicas that can act and take themselves for the leader; more than one for a while, at times."""
        return [
            replica
            for replica in self.replicas.values()
            if replica.group is not None
            and not replica.paused
            and not replica.outside
            and replica.group.role == Role.LEADER
        ]

    def agreed_voters(self) -> frozenset[str]:
        """The voters, where all replicas name the same; nobody while a change is under way.

        One that does not run may know of a change that those that run have never heard of.
        """
        for name, other in self.replicas.items():
            if other.group is not None:
                self._voters_seen[name] = other.group.membership.voters
        members = [name for name, other in self.replicas.items() if not other.outside]
        seen = {self._voters_seen[name] for name in members if name in self._voters_seen}
        return seen.pop() if len(seen) == 1 else frozenset()

    def version_between(self, source: str, target: str) -> int:
        """Of the peer protocol: the highest that both builds speak."""
        is_older = self.replicas[source].older or self.replicas[target].older
        return COMMIT_WITH_QUIESCE - 1 if is_older else NEWEST_VERSION

    def may_damage(self, replica: Replica) -> bool:
        """Whether durable data may be lost here: only ever on one replica, where two others vote."""
        others = [other for other in self.in_order() if other is not replica]
        for other in others:
            other.look_whether_whole()
        if replica.absent or replica.gone or any(other.damaged or other.gone for other in others):
            return False
        return len(self.agreed_voters() if self.moves is None else self._latest_voters()) >= 3

    def _latest_voters(self) -> frozenset[str]:
        """The voters in force, where the leader of the highest term knows them; nobody otherwise."""
        latest = max(self.watch.leader_of, default=0)
        for leader in self.leaders():
            group = leader.group
            if group is not None and group.term == latest and group.followers.may_change_members:
                return group.membership.voters
        return frozenset()

    # What replicas report.

    def send(self, source: str, target: str, message: Message) -> None:
        """Put one message of a replica's outbox on its link."""
        lose = self.profile.lose
        if lose and isinstance(message, LARGE_STATE) and self._losses.random() < lose:
            return
        if target in self.replicas:
            self.network.send(source, target, through_wire(message) if self.encodes else copied(message))

    def after_step(self, action: Callable[[], None]) -> None:
        """Do something once the step under way has been inspected."""
        self._after_step.append(action)

    def inspect(self, replica: Replica) -> None:
        """Check a replica that has just done something, then what it told its users meanwhile."""
        self.inspector.look(replica)
        if self.members is not None:
            self.members.promises.look()
        if replica.group is not None:
            self._voters_seen[replica.name] = replica.group.membership.voters
        actions, self._after_step = self._after_step, []
        for action in actions:
            action()

    def inspect_message(self, replica: Host, target: str, message: Message) -> None:
        """Check what a replica is about to say against its disk."""
        vote = replica.vote
        assert vote is not None
        if self.replicas[replica.name].outside:
            return
        self.watch.said(replica.name, target, message, vote.term, vote.voted_for)

    def _deliver(self, source: str, target: str, message: Message) -> None:
        self.note(target, f"gets {type(message).__name__} of {source}")
        self.inspector.look_at_delivery(self.replicas[target], source, message)
        self.replicas[target].deliver(source, message)

    def _again(self, message: Message) -> float | None:
        """When answers come a second time, in the runs where they do."""
        chance = self.profile.duplicate
        if not chance or not isinstance(message, COMES_AGAIN) or self._duplicates.random() >= chance:
            return None
        return self._duplicates.choice((0.0, self._duplicates.uniform(0.0, AGAIN_WITHIN_S)))

    def _notify(self, source: str, target: str, up: bool) -> None:
        self.replicas[source].link(target, up)
