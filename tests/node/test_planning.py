"""Plans for a large cluster: the real metadata, planner and order of steps, over replicas that only count."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable

import pytest
from floodmark.errors import Conflict

from consensus.core.member_steps import HandOver, next_step
from consensus.types import Membership
from node.control.move_turns import MOVES_AT_ONCE, MOVES_TO_NODE, moves_due
from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.moves import FinishMoves, MoveReplicas, Reassignment, StartMoves
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.shape import DrainNode, Rebalance, UndrainNode
from node.metadata.domains.topics import ChangeReplicationFactor
from node.metadata.holders import wanted
from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.metadata.placement import place
from node.metadata.state import PartitionEntry
from node.planning.plan import UNDER_WAY_MAX, Nodes, next_moves
from tests.node.test_metadata_state import create, frame

RACKS = {f"n{number}": "abc"[number % 3] for number in range(1, 10)}


class StubGroup:
    """One group of replicas without records: whoever is there has everything."""

    def __init__(self, replicas: list[str]) -> None:
        self.membership = Membership(frozenset(replicas))
        self.node_id = replicas[0]
        self.commit_index = 10
        self.may_change_members = True
        self.alive: set[str] = set()

    def match_of(self, node: str) -> int:
        return self.commit_index if node in self.alive else 0

    def is_trusted(self, node: str) -> bool:
        return node in self.alive

    def has_lost(self, node: str) -> bool:
        return False


class Cluster:
    """The metadata machine, and stubs for everything else. ``random`` decides what is lost on the way."""

    def __init__(self, rng: random.Random, partitions: int, nodes: list[str], factor: int = 3) -> None:
        self.rng = rng
        self.machine = MetadataMachine()
        self.index = 1
        self.alive = set(RACKS)
        self.dead: set[str] = set()
        for name, rack in RACKS.items():
            self.do(RegisterNode(name, f"http://{name}", f"{name}:1", "i", rack, (1, MEMBERSHIP)))
        self.do(RaiseLevel(MEMBERSHIP))
        racks = {name: RACKS[name] for name in nodes}
        for number in range(partitions // 500):
            existing = [entry.replicas for _, entry in self.state.partitions()]
            placed = place(racks, partitions=500, replication_factor=factor, existing=existing)
            self.do(create(f"t{number}", *placed))
        self.groups = {
            entry.raft_group: StubGroup(list(entry.replicas)) for _, entry in self.state.partitions()
        }
        self.most_under_way = 0
        self.plans: deque[MoveReplicas] = deque(maxlen=20)
        self.refused = 0
        """Plans of a controller that did not know of another one's."""

    @property
    def state(self):
        return self.machine.state

    def do(self, command: Command) -> object:
        self.index += 1
        self.machine.apply(frame(self.index, commands.encode(command)))
        return self.machine.outcome(self.index)

    def propose(self, command: Command) -> None:
        """As a controller does that may die: now and then nothing of it comes to pass."""
        if self.rng.random() < 0.9:
            self.do(command)

    def round(self) -> None:
        """Every task of every node looks once; the controller is another one each time."""
        planned = next_moves(self.state, Nodes(self.alive, self.dead))
        for command in planned:
            self.propose(command)
        self.plans.extend(planned)
        self.second_controller()
        if not planned and not self.state.moves and self.state.rebalancing:
            self.propose(Rebalance(begin=False, number=self.state.rebalancing))
        entries = {entry.raft_group: entry for _, entry in self.state.partitions()}
        arrived = {}
        for group, move in list(self.state.moves.items()):
            stub = self.groups[group]
            if not move.started:
                continue
            self.step(stub, wanted(entries[group], move))
            if stub.membership == Membership(frozenset(move.replicas)):
                arrived[group] = move.number
            fit = len(stub.membership.voters & self.alive)
            factor = min(len(entries[group].replicas), len(move.replicas))
            assert len(stub.membership.voters) >= factor - 1, "below its factor less one"
            assert 2 * fit > len(stub.membership.voters), "a majority is there"
        if arrived:
            self.propose(FinishMoves(arrived))
        if due := moves_due(self.state, self.alive):
            self.propose(StartMoves(due))
        under_way = [move for move in self.state.moves.values() if move.started]
        self.most_under_way = max(self.most_under_way, len(under_way))
        assert len(under_way) <= MOVES_AT_ONCE
        assert len(self.state.moves) <= UNDER_WAY_MAX
        coming = Counter(
            node
            for group, move in self.state.moves.items()
            if move.started
            for node in set(move.replicas) - set(entries[group].replicas)
        )
        assert max(coming.values(), default=0) <= MOVES_TO_NODE

    def second_controller(self) -> None:
        """It proposes what it planned by an earlier state: what means another one by now is refused whole."""
        if not self.plans or self.rng.random() > 0.3:
            return
        plan = self.rng.choice(self.plans)
        entries = {entry.raft_group: entry for _, entry in self.state.partitions()}
        moves = dict(self.state.moves)
        if all(
            tuple(change.expected) == entries[change.raft_group].replicas
            and change.move == (moves[change.raft_group].number if change.raft_group in moves else 0)
            for change in plan.moves
        ):
            return
        assert isinstance(self.do(plan), Conflict)
        assert self.state.moves == moves
        assert entries == {entry.raft_group: entry for _, entry in self.state.partitions()}
        self.refused += 1

    def step(self, stub: StubGroup, target: tuple[str, ...]) -> None:
        stub.alive = self.alive
        if stub.node_id not in self.alive or stub.node_id not in stub.membership.voters:
            stub.node_id = next(node for node in sorted(stub.membership.voters) if node in self.alive)
        step = next_step(stub, Membership(frozenset(target)), alive=self.alive, preferred=target)
        if isinstance(step, HandOver):
            stub.node_id = step.to[0]
        elif step is not None:
            stub.membership = step

    def until(self, done: Callable[[], bool], rounds: int = 1_500) -> int:
        """How many rounds it took."""
        for number in range(rounds):
            if done() and not self.state.moves:
                return number
            self.round()
        raise AssertionError("the plan does not end")

    def holds(self, node: str) -> int:
        """How many partitions have a replica there: by the metadata, and by the groups themselves."""
        placed = sum(node in entry.replicas for _, entry in self.state.partitions())
        if not self.state.moves:
            assert placed == sum(node in stub.membership.members for stub in self.groups.values())
        return placed

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Replicas and preferred leaders by node."""
        entries = [entry for _, entry in self.state.partitions()]
        return (
            Counter(node for entry in entries for node in entry.replicas),
            Counter(entry.replicas[0] for entry in entries),
        )

    def check_racks(self) -> None:
        """Three racks for each partition."""
        for _, entry in self.state.partitions():
            assert len({RACKS[node] for node in entry.replicas}) == 3, entry


def within_a_tenth(counts: Counter[str], nodes: list[str]) -> bool:
    """Whether the counts of these nodes are within 10% of even."""
    even = sum(counts[node] for node in nodes) / len(nodes)
    return all(abs(counts[node] - even) <= 0.1 * even for node in nodes)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """With a seed that is printed."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed} of {request.node.name}")  # noqa: T201
    return random.Random(seed)


def test_a_large_cluster_is_drained_evened_out_and_ends_each_plan(rng: random.Random) -> None:
    """9 nodes, 3,000 partitions: one is drained, comes back, and all are even again."""
    names = list(RACKS)
    cluster = Cluster(rng, 3_000, names)
    cluster.do(DrainNode("n4"))
    cluster.until(lambda: cluster.holds("n4") == 0 and not next_moves(cluster.state, Nodes(cluster.alive)))
    assert cluster.most_under_way > MOVES_TO_NODE
    assert cluster.refused > 0
    rest = [name for name in names if name != "n4"]
    cluster.check_racks()
    replicas, leaders = cluster.counts()
    assert replicas["n4"] == leaders["n4"] == 0
    assert within_a_tenth(leaders, rest), leaders
    cluster.do(UndrainNode("n4"))
    cluster.do(Rebalance(begin=True))
    cluster.until(lambda: not cluster.state.rebalancing)
    replicas, leaders = cluster.counts()
    assert within_a_tenth(replicas, names), replicas
    assert within_a_tenth(leaders, names), leaders
    cluster.check_racks()


def test_new_nodes_get_their_share_and_no_more_moves_than_that_takes(rng: random.Random) -> None:
    """Six nodes grow to nine; what moves is what the new ones are to have."""
    cluster = Cluster(rng, 1_500, [f"n{number}" for number in range(1, 7)])
    before = {entry.raft_group: set(entry.replicas) for _, entry in cluster.state.partitions()}
    cluster.do(Rebalance(begin=True))
    cluster.until(lambda: not cluster.state.rebalancing)
    replicas, leaders = cluster.counts()
    assert within_a_tenth(replicas, list(RACKS)), replicas
    assert within_a_tenth(leaders, list(RACKS)), leaders
    moved = sum(
        len(set(entry.replicas) - before[entry.raft_group]) for _, entry in cluster.state.partitions()
    )
    assert moved == sum(replicas[name] for name in ("n7", "n8", "n9"))
    cluster.check_racks()


def test_a_dead_nodes_replicas_are_made_anew_elsewhere(rng: random.Random) -> None:
    """While another is drained, and one on which some were to come dies as well."""
    cluster = Cluster(rng, 1_000, list(RACKS))
    cluster.do(DrainNode("n1"))
    for _ in range(5):
        cluster.round()
    cluster.alive.discard("n5")
    cluster.dead.add("n5")
    cluster.until(lambda: cluster.holds("n1") == cluster.holds("n5") == 0)
    for stub in cluster.groups.values():
        assert len(stub.membership.voters) == 3


def test_factors_change_and_a_changed_mind_ends_too(rng: random.Random) -> None:
    """From three to two, and to four before that is done."""
    cluster = Cluster(rng, 500, list(RACKS))
    cluster.do(ChangeReplicationFactor("t0", 1, 2))
    for _ in range(6):
        cluster.round()
    cluster.do(ChangeReplicationFactor("t0", 1, 4))
    cluster.until(lambda: all(len(entry.replicas) == 4 for _, entry in cluster.state.partitions()))
    replicas, _ = cluster.counts()
    assert within_a_tenth(replicas, list(RACKS)), replicas
    cluster.do(ChangeReplicationFactor("t0", 1, 1))
    cluster.until(lambda: all(len(entry.replicas) == 1 for _, entry in cluster.state.partitions()))
    assert all(len(stub.membership.members) == 1 for stub in cluster.groups.values())


def test_a_drain_that_is_undone_brings_back_what_was_on_its_way(rng: random.Random) -> None:
    """Queued moves are forgotten, started ones go back, and what has left is left."""
    cluster = Cluster(rng, 500, list(RACKS))
    cluster.do(DrainNode("n2"))
    for _ in range(8):
        cluster.round()
    going = sum("n2" in entry.replicas for _, entry in cluster.state.partitions())
    assert cluster.state.moves
    cluster.do(UndrainNode("n2"))
    cluster.until(lambda: not cluster.state.moves)
    assert cluster.holds("n2") == going > 0


def test_where_nobody_takes_a_replica_it_stays() -> None:
    """A drain without a place to go is not begun, and not tried in vain each time."""
    cluster = Cluster(random.Random(1), 500, list(RACKS))
    cluster.do(DrainNode("n2"))
    led = cluster.counts()[1]["n2"]
    for _ in range(1 + led // UNDER_WAY_MAX):
        for command in next_moves(cluster.state, Nodes(takes=())):
            assert all(set(change.replicas) == set(change.expected) for change in command.moves)
            cluster.do(command)
    assert next_moves(cluster.state, Nodes(takes=())) == []
    _, leaders = cluster.counts()
    assert leaders["n2"] == 0, "those that can are led by others"


def test_what_an_operator_moves_meanwhile_is_not_undone_by_a_plan(rng: random.Random) -> None:
    """A plan leaves alone what moves, and a stale one is refused as a whole."""
    cluster = Cluster(rng, 500, [f"n{number}" for number in range(1, 7)])
    cluster.do(Rebalance(begin=True))
    (stale,) = next_moves(cluster.state, Nodes(cluster.alive))
    first = stale.moves[0]
    cluster.do(
        MoveReplicas([Reassignment(first.raft_group, first.expected, ["n7", "n8", "n9"])], "asked for")
    )
    moves = dict(cluster.state.moves)
    cluster.do(stale)
    assert cluster.state.moves == moves
    (fresh,) = next_moves(cluster.state, Nodes(cluster.alive))
    assert first.raft_group not in [change.raft_group for change in fresh.moves]


def test_moves_to_a_node_that_is_away_keep_no_others_from_going() -> None:
    """They wait beside those that go on, and count again when it is back."""
    cluster = Cluster(random.Random(0), 500, ["n1", "n2", "n3"])
    entries = [entry for _, entry in cluster.state.partitions()][: 4 * MOVES_AT_ONCE]

    def move(entries: list[PartitionEntry], to: str) -> None:
        moves = [
            Reassignment(entry.raft_group, list(entry.replicas), [*entry.replicas[:2], to], 0)
            for entry in entries
        ]
        cluster.do(MoveReplicas(moves, "a test"))

    def begin() -> dict[int, int]:
        due = moves_due(cluster.state, cluster.alive)
        cluster.do(StartMoves(due))
        return due

    away = [f"n{number}" for number in range(4, 4 + -(-MOVES_AT_ONCE // MOVES_TO_NODE))]
    for number, node in enumerate(away):
        move(entries[number * MOVES_TO_NODE : (number + 1) * MOVES_TO_NODE], node)
    begun = begin()
    assert len(begun) == MOVES_AT_ONCE
    move(entries[2 * MOVES_AT_ONCE : 3 * MOVES_AT_ONCE], "n9")
    assert begin() == {}, "as many go on as may"
    cluster.alive -= set(away)
    others = begin()
    assert len(others) == MOVES_TO_NODE
    assert not others.keys() & begun.keys()
    cluster.do(FinishMoves(others))
    assert len(begin()) == MOVES_TO_NODE, "they go on in turn"
    cluster.alive |= set(away)
    assert begin() == {}, "those that are back go first"
    cluster.do(FinishMoves(begun))
    cluster.until(lambda: True)
    assert cluster.counts()[0]["n9"] == MOVES_AT_ONCE, "the plan ends"
