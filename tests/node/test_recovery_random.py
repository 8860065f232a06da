"""Random lives of a group, cut off by the loss of some replicas, recovered and lived on. Virtual time, real
logs on disks in memory; what is written to them is what ``floodmark recover apply`` writes.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from floodmark.format.frame import FrameKind

from consensus.core.member_steps import next_step
from consensus.types import ChangeRefused, Membership, Stored
from node.metadata.domains.recoveries import RecordRecovery
from node.recovery import apply as application
from node.recovery import plan as planning
from node.recovery.partition_state import PartitionState
from node.recovery.plan import Plan, PlannedGroup
from node.recovery.replica_survey import ReplicaSurvey, look_at
from node.recovery.report import _loss
from node.replicas.replica_store import LOST_MARKER
from storage.memory_filesystem import MemoryFileSystem
from tests.support.raft import Replicas

NAMES = "abcde"
GROUP = 1
COUNTED = PartitionState(lambda _: 0, lambda state, _, **__: state)
"""These machines keep no table of producers."""


class Life:
    """Five replicas, a client that writes, and what it was told."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.replicas = Replicas(NAMES)
        self.replicas.start()
        self.stored: dict[int, bytes] = {}
        """Index -> payload of what was acknowledged."""
        self._count = 0

    def write(self, count: int = 1) -> None:
        """To whoever takes itself for the leader: one of them is."""
        for group in self.replicas.groups() * count:
            if group.is_ready_leader:
                self._count += 1
                payload = b"%d" % self._count
                proposal = self.replicas.propose(payload, records=1, to=group)
                proposal.add_done_callback(lambda outcome, p=payload: self._told(outcome, p))

    def _told(self, outcome: object, payload: bytes) -> None:
        if isinstance(outcome, Stored):
            assert self.stored.setdefault(outcome.index, payload) == payload
            self.stored[outcome.index] = payload

    def live(self, steps: int, *, down_max: int) -> None:
        """Writes, cuts, crashes, lost disks and returns."""
        for _ in range(steps):
            down = [name for name in self.replicas.nodes if name not in self.replicas.up]
            match self.random.choice(("write", "write", "write", "cut", "heal", "crash", "start", "wipe")):
                case "write":
                    self.write(self.random.choice((1, 1, 5)))
                case "cut" if self.replicas.up:
                    self.replicas.isolate(self.random.choice(sorted(self.replicas.up)))
                case "heal":
                    self.replicas.heal()
                case "crash" if len(down) < down_max and self.replicas.up:
                    self.replicas.stop(self.random.choice(sorted(self.replicas.up)))
                case "start" if down:
                    self.start(self.random.choice(down))
                case "wipe" if down and all(group.may_vote for group in self.replicas.groups()):
                    self._wipe(self.random.choice(down))
            change_members(self, [*self.replicas.nodes])
            self.replicas.run(self.random.choice((0.001, 0.05, 0.4, 1.5)))

    def _wipe(self, name: str) -> None:
        """It comes back with an empty disk, as one that has lost all."""
        if len(self.replicas.up) < len(self.replicas.nodes) - 1:
            return  # One at a time, as operators are told.
        fs = self.replicas.nodes[name].fs = MemoryFileSystem()
        fs.mkdir("g")
        self.replicas.start(name, voting=False)

    def fall_apart(self) -> None:
        """The leader is cut off with entries that nobody else has, and another one goes on without it."""
        old = next((group for group in self.replicas.groups() if group.is_ready_leader), None)
        if old is not None:
            self.replicas.isolate(old.node_id)
            self.write(5)
            self.replicas.run(0.01)
            self.replicas.run(2.0)
            self.write()
            self.replicas.run(self.random.choice((0.001, 0.3)))

    def start(self, name: str) -> None:
        """As the node's store opens it: one that is marked has lost everything."""
        fs = self.replicas.nodes[name].fs
        lost = fs.exists(f"g/{LOST_MARKER}")
        self.replicas.start(name, voting=not lost)
        if lost:
            fs.unlink(f"g/{LOST_MARKER}")
            fs.sync_folder("g")


def content(life: Life, name: str) -> dict[int, bytes]:
    """Index -> payload of the records in a replica's log."""
    log = life.replicas.nodes[name].log
    frames = log.frames(log.base_index, log.last_index)
    return {frame.index: frame.payload for frame in frames if frame.kind is FrameKind.RECORDS}


def recovered(life: Life, left: list[str]) -> tuple[PlannedGroup, bool]:
    """Write the plan that the surveys lead to; the group's part of it, and whether a majority was left."""
    disks = {name: life.replicas.nodes[name].fs for name in left}
    found: dict[str, dict[int, ReplicaSurvey]] = {}
    for name, fs in disks.items():
        survey = look_at(fs, "g", GROUP, None, of_partition=COUNTED)
        assert survey is not None
        found[name] = {GROUP: survey}
    group = planning._group(GROUP, left, found, 1 << 20)
    nothing = RecordRecovery(1, "r", 0, [], {}, {}, [])
    plan = Plan(1, "r", "c", "f", 1, "", {}, (), (group,), nothing)
    application._go_on(disks[group.chosen], "g", group, plan, COUNTED)
    for name in group.others:
        application._set_lost(disks[name], "g", lost=True)
    return group, planning._has_majority(group, found, list(NAMES))


def change_members(life: Life, left: list[str]) -> None:
    """What the controller does: whoever should vote and has caught up is made a voter."""
    for group in life.replicas.groups():
        if group.is_ready_leader:
            step = next_step(group.followers, Membership(frozenset(left)), alive=life.replicas.up)
            if isinstance(step, Membership):
                with contextlib.suppress(ChangeRefused):
                    group.propose_membership(step)


def lived_on(seed: int) -> None:
    """One life. Whoever is left has all that it knew to be committed, and what is written then is kept."""
    life = Life(seed)
    life.live(life.random.randint(5, 25), down_max=2)
    left = sorted(life.random.sample(NAMES, life.random.randint(1, 4)))
    known = cut_off(life, left)
    acknowledged, life.stored = life.stored, {}
    group, has_majority = recovered(life, left)
    for name in life.random.sample(left, len(left)):
        life.start(name)
        life.replicas.run(life.random.choice((0.01, 1.5)))
    kept = content(life, life.replicas.elect().node_id)
    assert known.items() <= kept.items(), "what was known to be committed is there"
    if has_majority:
        assert acknowledged.items() <= kept.items(), "a majority was left"
    for _ in range(life.random.randint(5, 30)):
        life.write()
        change_members(life, left)
        life.replicas.run(life.random.choice((0.01, 0.3)))
    live_on(life, left)
    for name in left:
        term = life.replicas.nodes[name].log.term_at(group.last_index + 1)
        assert term == group.term, "the recovery holds"
    contents = [content(life, name) for name in left]
    assert all(each == contents[0] for each in contents), "all have the same"
    assert {**known, **life.stored}.items() <= contents[0].items(), "and all that was acknowledged since"


def cut_off(life: Life, left: list[str]) -> dict[int, bytes]:
    """All end at once, and only some are left: the records that these knew to be committed."""
    for name in [name for name in NAMES if name not in life.replicas.up]:
        life.start(name)
    if life.random.random() < 0.5:
        life.replicas.run(0.3)
    if life.random.random() < 0.5:
        life.fall_apart()
    known = {
        index: payload
        for name in left
        for index, payload in content(life, name).items()
        if index <= life.replicas.group(name).applied_index
    }
    for name in list(life.replicas.up):
        life.replicas.stop(name)
    life.replicas.cut.clear()
    for name in set(NAMES).difference(left):
        del life.replicas.nodes[name]
    return known


def live_on(life: Life, left: list[str]) -> None:
    """Once all vote, more of what may happen to them."""
    life.replicas.until(lambda: _all_vote(life, left))
    life.live(life.random.randint(0, 12), down_max=(len(left) - 1) // 2)
    life.replicas.heal()
    for name in left:
        if name not in life.replicas.up:
            life.start(name)
    life.replicas.elect()
    life.replicas.run(5.0)


def _all_vote(life: Life, left: list[str]) -> bool:
    change_members(life, left)
    return all(group.may_vote and group.membership.voters == set(left) for group in life.replicas.groups())


@pytest.mark.parametrize("number", range(8))
def test_random_lives(number: int) -> None:
    """Any number of replicas may be left, a majority of them too."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    lived_on(seed)


def test_nobody_else_is_elected_before_the_chosen_one() -> None:
    """Four of five are left, enough to elect one of them by the old members: all wait for the chosen one."""
    life = Life(0)
    life.replicas.elect()
    life.write(3)
    life.replicas.run(0.3)
    life.fall_apart()
    left = [name for name in NAMES if name != life.replicas.leader().node_id]
    for name in list(life.replicas.up):
        life.replicas.stop(name)
    life.replicas.cut.clear()
    for name in NAMES:
        if name not in left:
            del life.replicas.nodes[name]
    group, _ = recovered(life, left)
    for name in group.others:
        life.start(name)
    life.replicas.run(10.0)
    assert all(one.leader is None and not one.may_vote for one in life.replicas.groups())
    life.start(group.chosen)
    assert life.replicas.elect().node_id == group.chosen
    life.replicas.until(lambda: _all_vote(life, left))


def test_what_is_said_to_be_lost_is_all_that_is_lost() -> None:
    """The only one that is left was cut off with entries of its own, and others were stored meanwhile."""
    life = Life(0)
    life.replicas.elect()
    life.write(3)
    life.replicas.run(0.3)
    old = life.replicas.leader().node_id
    life.replicas.group(old).storage.checkpoint()
    life.fall_apart()
    life.replicas.run(1.0)
    log = life.replicas.nodes[old].log
    own = {index: log.frame(index) for index in life.stored if index <= log.last_index}
    gone = [frame for index, frame in own.items() if frame.payload != life.stored[index]]
    assert gone, "it has something else there than what was acknowledged"
    life.replicas.stop(old)
    survey = look_at(life.replicas.nodes[old].fs, "g", GROUP, None, of_partition=COUNTED)
    assert survey is not None
    group = planning._group(GROUP, [old], {old: {GROUP: survey}}, 1 << 20)
    loss, safe_offset, _ = _loss(group, {old: survey}, 1, is_whole=False)
    assert loss == "possible"
    assert safe_offset <= min(frame.first_offset for frame in gone) < survey.next_offset
    assert safe_offset == 3, "what it knows to be committed is not called lost"


def test_a_damaged_log_is_gone_on_from_before_the_damage() -> None:
    """It is the only one that is left: what stands behind the bad frame is set aside, and that is said."""
    life = Life(0)
    life.replicas.elect()
    for _ in range(20):
        life.write()
        life.replicas.run(0.05)
    assert len(life.stored) == 20
    bad = sorted(life.stored)[12]
    for name in list(life.replicas.up):
        life.replicas.stop(name)
    fs = life.replicas.nodes["a"].fs
    (segment,) = [name for name in fs.listdir("g") if name.endswith(".log")]
    fs.flip_bit(f"g/{segment}", fs.content(f"g/{segment}").index(life.stored[bad], 64 * bad))
    for name in "bcde":
        del life.replicas.nodes[name]
    survey = look_at(fs, "g", GROUP, None, of_partition=COUNTED)
    assert survey is not None
    assert (survey.last_index, survey.may_vote, survey.is_usable) == (bad - 1, False, True)
    assert segment in survey.damage
    group, has_majority = recovered(life, ["a"])
    assert (group.last_index, group.is_damaged, has_majority) == (bad - 1, True, False)
    life.start("a")
    life.replicas.elect()
    kept = {index: payload for index, payload in life.stored.items() if index < bad}
    assert content(life, "a") == kept
    assert any("quarantine" in path for path in fs.listdir("g"))
