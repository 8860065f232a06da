"""Nodes of two builds side by side, at random: whatever happens, their metadata never differ."""

from __future__ import annotations

import random

import msgspec
import pytest
from floodmark.format.frame import FrameKind

from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.topics import AlterTopic, CreateTopic, DeleteTopic
from node.metadata.levels import Levels
from node.metadata.machine import MetadataMachine
from node.metadata.this_build import THIS_BUILD
from node.metadata.topic_config import TopicConfig
from tests.support.newer import NEWER_BUILD, Paint
from tests.support.raft import Replicas

STEPS = 60
NAMES = "abc"


class Builds:
    """Three replicas of the metadata, each of which may be of another build after each start."""

    def __init__(self, rng: random.Random, newer: Levels) -> None:
        self.rng = rng
        self.newer = newer
        self.level_of: dict[str, Levels] = {}
        self._starts_as = THIS_BUILD
        self.replicas = Replicas(NAMES, machines=lambda: MetadataMachine(self._starts_as))  # type: ignore[arg-type,return-value]
        self.after: dict[int, bytes] = {}
        """The state after each index, as the first replica to get there had it."""
        self.halts = 0
        for name in NAMES:
            self.start(name, rng.choice((THIS_BUILD, newer)))

    def machine(self, name: str) -> MetadataMachine:
        """Of a replica that runs."""
        found: object = self.replicas.nodes[name].machine
        assert isinstance(found, MetadataMachine)
        return found

    def start(self, name: str, levels: Levels) -> None:
        """As this build."""
        self._starts_as = self.level_of[name] = levels
        self.replicas.start(name)

    def restart(self, name: str, levels: Levels) -> None:
        """After a loss of power."""
        self.replicas.stop(name)
        self.start(name, levels)

    def propose(self) -> None:
        """What a leader of its build may propose; now and then, as by a defect, before its level."""
        for group in self.replicas.groups():
            machine = self.machine(group.node_id)
            if not group.is_ready_leader or machine.halted is not None:
                continue
            command = self._command(group.node_id)
            needed = max(level for level, _ in commands.needs(command, self.newer))
            if needed > machine.state.level and self.rng.random() < 0.8:
                continue
            if str(command.__struct_config__.tag) in machine.levels.commands:
                group.propose(FrameKind.COMMAND, commands.encode(command), append_time=1)

    def _command(self, leader: str) -> Command:
        rng = self.rng
        topic = rng.choice("xyz")
        node = rng.choice(NAMES)
        known = self.level_of[node]
        choices: list[Command] = [
            RegisterNode(node, "h", "p", "i", levels=(known.lowest, known.highest)),
            CreateTopic(topic, 1, TopicConfig(), [[node]]),
            AlterTopic(topic, rng.randint(1, 3), {"retention_ms": rng.randint(1, 9)}),
            DeleteTopic(topic, rng.randint(1, 3)),
            RaiseLevel(rng.choice((1, self.level_of[leader].highest))),
            Paint(topic),  # type: ignore[list-item]
        ]
        return rng.choice(choices)

    def check(self) -> None:
        """All that have come to an index have the same there; who has halted neither leads nor goes on."""
        for group in self.replicas.groups():
            machine = self.machine(group.node_id)
            state = msgspec.msgpack.encode(machine.state)
            index = machine.state.applied_index
            if index:
                assert self.after.setdefault(index, state) == state, f"{group.node_id} differs at {index}"
            if machine.halted is not None:
                self.halts += 1
                assert not group.is_ready_leader
            assert machine.halted is None or machine.levels is THIS_BUILD, machine.halted

    def step(self) -> None:
        """Something happens."""
        rng, replicas = self.rng, self.replicas
        name = rng.choice(NAMES)
        match rng.choice(("propose",) * 6 + ("restart", "isolate", "heal", "compact")):
            case "propose":
                self.propose()
            case "restart":
                self.restart(name, rng.choice((THIS_BUILD, self.newer)))
            case "isolate":
                replicas.isolate(name)
            case "heal":
                replicas.heal()
            case "compact":
                replicas.group(name).storage.compact()
        for _ in range(rng.randint(1, 4)):
            replicas.run(rng.choice((0.005, 0.1, 0.6)))
            self.check()


@pytest.fixture
def newer() -> Levels:
    """A build that knows more."""
    return NEWER_BUILD


@pytest.mark.parametrize("seed", range(30))
def test_builds_side_by_side_never_differ(seed: int, newer: Levels) -> None:
    """And once all are of the newer build, all have all of it, wherever an older one had stopped."""
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    builds = Builds(random.Random(seed), newer)
    builds.replicas.elect()
    for _ in range(STEPS):
        builds.step()
    builds.replicas.heal()
    for name in NAMES:
        builds.restart(name, newer)
    leader = builds.replicas.elect()
    last = leader.propose(FrameKind.COMMAND, commands.encode(Paint("end")), append_time=1)  # type: ignore[arg-type]
    builds.replicas.until(
        lambda: (
            last.outcome is not None
            and all(builds.machine(name).state.formation == "painted end" for name in NAMES)
        )
    )
    builds.check()
    assert len({builds.machine(name).snapshot() for name in NAMES}) == 1


def test_random_builds_do_meet_what_they_do_not_know(newer: Levels) -> None:
    """The runs above are about something: older builds stop in many of them, and levels rise in some."""
    halted = raised = 0
    for seed in range(10):
        builds = Builds(random.Random(seed), newer)
        builds.replicas.elect()
        for _ in range(STEPS):
            builds.step()
        halted += bool(builds.halts)
        raised += any(builds.machine(name).state.level > 1 for name in NAMES)
    assert halted >= 3
    assert raised >= 1
