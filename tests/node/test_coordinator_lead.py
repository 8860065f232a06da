"""Who decides, and in which order: one shard's leader over a log that a test lets go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from floodmark.errors import (
    NotLeaderOrFollower,
    OutcomeUnknown,
    TimedOut,
    TooManyGroups,
    Unavailable,
    UnknownMember,
)
from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.core.keyed_state import command
from consensus.host.group_host import GroupHost
from consensus.types import NotLeader, NotStored, Proposal, Stored
from node import outcomes, pace
from node.coordinator import keys
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.groups.decision import Decision
from node.coordinator.groups.group import Group
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.requests import Commit, Committed, Heartbeat, Join, Position
from node.coordinator.lead import Around, Lead
from node.coordinator.machine import CoordinatorMachine
from node.coordinator.proposals import FRAME_BYTES_AIM
from node.coordinator.steps import GroupSteps, Step
from node.coordinator.tally import CoordinatorTally

TOPIC = 7


class Topics:
    """Topic 7 has ten partitions, and is called t."""

    count = 10

    def id_of(self, name: str) -> int | None:
        return TOPIC if name == "t" else None

    def partitions(self, topic_id: int) -> int:
        return self.count if topic_id == TOPIC else 0

    def names(self) -> list[str]:
        return ["t"]


class Log:
    """What a lead needs of the host. Frames are stored when ``go_on`` is called, or at once."""

    def __init__(self) -> None:
        self.machine = CoordinatorMachine()
        self.frames: list[tuple[bytes, Proposal]] = []
        self.at_once = False
        self.leads = True
        self.confirmed = 0
        self.caught_up = 0
        self.while_confirming: Callable[[], Awaitable[object]] | None = None
        self.index = 1
        self.topics = Topics()

    def propose_nowait(self, raft_group: int, kind: FrameKind, payload: bytes) -> Proposal:
        assert kind is FrameKind.COMMAND
        if not self.leads:
            raise NotLeader("n2")
        proposal = Proposal()
        self.frames.append((payload, proposal))
        if self.at_once:
            asyncio.get_running_loop().call_soon(self.go_on)
        return proposal

    async def confirm_lead(self, raft_group: int, *, deadline_s: float) -> None:
        self.confirmed += 1
        if self.while_confirming is not None:
            await self.while_confirming()
        if not self.leads:
            raise NotLeader("n2")

    async def catch_up(self, timeout_s: float) -> None:
        self.caught_up += 1

    def go_on(self) -> None:
        """All that was proposed is stored and applied."""
        frames, self.frames = self.frames, []
        for payload, proposal in frames:
            self.index += 1
            self.machine.apply(Frame(self.index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))
            proposal.resolve(Stored(self.index, 1, 0))

    def lead(self, *, groups_max: int = 100) -> Lead:
        steps = GroupSteps(topics=self.topics, wall_ms=lambda: 5, limits=GroupLimits(), retention_ms=1_000)
        self.tally = CoordinatorTally()
        around = Around(
            steps=steps,
            catch_up=self.catch_up,
            groups_max=groups_max,
            queues=QueuesAround(lambda: 5),
            tally=self.tally,
        )
        self.steps = steps
        return Lead(host=cast(GroupHost, self), raft_group=1, term=1, machine=self.machine, around=around)


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def commit(
    log: Log, lead: Lead, group: str, offset: int, partition: int = 0, **more: Any
) -> asyncio.Task[Committed]:
    step = log.steps.commit(Commit(positions={(TOPIC, partition): Position(offset)}, **more))
    return asyncio.create_task(lead.decide(group, step, deadline=soon(), shared=True))


def offsets(log: Log, lead: Lead, group: str) -> dict[int, int]:
    return {number: value.offset for (_, number), value in lead.view(group).offsets()}


async def test_what_is_decided_in_one_turn_shares_a_frame() -> None:
    """Whatever the groups; also what one group commits of different partitions. A large one is divided."""
    log = Log()
    lead = log.lead()
    log.at_once = True
    for group in ("a", "b", "c"):
        await commit(log, lead, group, 1)
    log.at_once = False
    begun = [commit(log, lead, group, 5, number) for group in ("a", "b", "c") for number in range(10)]
    await turns()
    assert len(log.frames) == 1
    assert not any(task.done() for task in begun)
    log.go_on()
    await asyncio.gather(*begun)
    assert offsets(log, lead, "b") == dict.fromkeys(range(10), 5)
    assert (log.tally.frames, log.tally.entries) == (4, 33)

    metadata = "m" * 4_000
    many = {(TOPIC, number): Position(6, metadata=metadata) for number in range(10)}
    step = log.steps.commit(Commit(positions=many))
    begun = [asyncio.create_task(lead.decide(f"g{n}", step, deadline=soon(), shared=True)) for n in range(20)]
    await turns()
    assert 1 < len(log.frames) < 20
    assert all(len(payload) <= FRAME_BYTES_AIM + 100 for payload, _ in log.frames)
    log.at_once = True
    log.go_on()
    await asyncio.gather(*begun)
    lead.end(outcomes.not_leader("n2"))


async def test_what_is_decided_while_a_frame_is_under_way_shares_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In however many turns. Where the frame is not stored none of it is proposed."""
    monkeypatch.setattr(pace, "WAIT_S_MAX", 60)  # The frame arrives when the test says so, not before.
    log = Log()
    lead = log.lead()
    first = commit(log, lead, "a", 1)
    await turns()
    behind = []
    for number in range(5):
        behind.append(commit(log, lead, f"g{number}", 1))
        await turns()
    assert len(log.frames) == 1
    log.go_on()
    await first
    async with asyncio.timeout(5):  # For who was answered it is waited first.
        while not log.frames:
            await turns()
    assert (len(log.frames), log.tally.frames, log.tally.entries) == (1, 2, 6)
    later = commit(log, lead, "a", 2)
    await turns()
    ((_, proposal),) = log.frames
    log.frames = []
    proposal.resolve(NotStored("another one leads"))
    for task in (*behind, later):
        with pytest.raises(Unavailable):
            await task
    await turns()
    assert (log.frames, lead.proposals.keys) == ([], set())
    lead.end(outcomes.not_leader("n2"))


async def test_commits_of_one_partition_wait_for_each_other_and_never_go_back() -> None:
    """The later one sees what the first has stored."""
    log = Log()
    lead = log.lead()
    first, second, third = commit(log, lead, "a", 10), commit(log, lead, "a", 5), commit(log, lead, "a", 11)
    await turns()
    assert len(log.frames) == 1
    log.at_once = True
    log.go_on()
    answers = await asyncio.gather(first, second, third)
    assert [answer.stored[TOPIC, 0].offset for answer in answers] == [10, 10, 11]
    assert offsets(log, lead, "a") == {0: 11}


async def test_a_commit_under_way_is_stored_before_its_member_is_fenced() -> None:
    """And what comes behind the fence is refused: judged by the state behind it."""
    log = Log()
    lead = log.lead()
    log.at_once = True
    joined = await lead.meet("a", log.steps.join(Join(member_id="m", topics=("t",))), deadline=soon())
    log.at_once = False
    before = commit(log, lead, "a", 3, member_id="m", epoch=joined.epoch)
    await turns()
    fence = asyncio.create_task(lead.decide("a", _without("m"), deadline=soon()))
    behind = commit(log, lead, "a", 4, member_id="m", epoch=joined.epoch)
    await turns()
    assert len(log.frames) == 1, "only the first commit is under way"
    log.at_once = True
    log.go_on()
    assert (await before).stored[TOPIC, 0].offset == 3
    await fence
    with pytest.raises(UnknownMember):
        await behind
    assert offsets(log, lead, "a") == {0: 3}
    assert len(lead.clock._sessions) == 0


def _without(member: str) -> Step[None]:
    """A member is gone."""

    def step(group: Group) -> Decision[None]:
        gone = [keys.member_key(group.name, member), keys.current_key(group.name, member)]
        return Decision([(key, None) for key in gone], None)

    return step


async def test_a_caller_that_leaves_frees_the_group_only_once_it_is_known_what_came_of_it() -> None:
    """A timeout too: the pairs may still be stored, and the next step has to see them."""
    log = Log()
    lead = log.lead()
    join = log.steps.join(Join(member_id="m", topics=("t",)))
    leaving = asyncio.create_task(lead.meet("a", join, deadline=soon()))
    await turns()
    leaving.cancel()
    step = log.steps.join(Join(member_id="other", topics=("t",)))
    with pytest.raises(OutcomeUnknown):
        await lead.meet("b", step, deadline=soon(0.02))
    late = asyncio.create_task(lead.meet("a", join, deadline=soon()))
    with pytest.raises(TimedOut):
        await lead.decide("a", _without("m"), deadline=soon(0.01))
    await turns()
    assert not late.done()
    log.at_once = True
    log.go_on()
    await late
    assert set(lead.view("a").members) == {"m"}
    await turns()
    assert set(lead.view("b").members) == {"other"}
    assert len(lead.clock._sessions) == 2, "both have a time, though nobody waited"


async def test_whoever_waits_is_told_at_once_when_the_leadership_ends() -> None:
    """Nothing was stored where nothing was proposed; what was may be stored by the next leader."""
    log = Log()
    lead = log.lead()
    proposed = commit(log, lead, "a", 1)
    await turns()
    behind = asyncio.create_task(lead.decide("a", _without("m"), deadline=soon()))
    same = commit(log, lead, "a", 2)
    await turns()
    confirming = asyncio.Event()
    log.while_confirming = confirming.wait
    asks = asyncio.create_task(lead.decide("c", log.steps.delete(), deadline=soon()))
    await turns()
    behind_it = commit(log, lead, "c", 1)
    await turns()
    only_decided = commit(log, lead, "b", 1)
    await turns(1)
    log.leads = False
    lead.end(outcomes.not_leader("n2"))
    await turns()
    assert not asks.done()
    assert all(task.done() for task in (proposed, behind, same, behind_it, only_decided))
    confirming.set()
    for task, kind in (
        (asks, NotLeaderOrFollower),
        (behind_it, NotLeaderOrFollower),
        (proposed, OutcomeUnknown),
        (behind, NotLeaderOrFollower),
        (same, NotLeaderOrFollower),
        (only_decided, NotLeaderOrFollower),
    ):
        with pytest.raises(kind):
            await task
    with pytest.raises(Unavailable):
        await commit(log, lead, "a", 3)
    ((_, proposal),) = log.frames
    proposal.resolve(NotStored("another leader's entry was committed in its place"))


async def test_a_refusal_is_judged_again_once_the_lead_is_confirmed() -> None:
    """A member that joined at the real leader is not told by a deposed one that it is unknown."""
    log = Log()
    lead = log.lead()
    beat = log.steps.heartbeat(Heartbeat(member_id="m", epoch=1))
    with pytest.raises(UnknownMember):
        await lead.meet("a", beat, deadline=soon())
    assert (log.confirmed, log.caught_up) == (1, 1)

    async def joined_meanwhile() -> None:
        log.machine.apply(_frame(9, stored))
        log.while_confirming = None

    log.at_once = True
    await lead.meet("b", log.steps.join(Join(member_id="m", topics=("t",))), deadline=soon())
    state = log.machine
    stored = [
        (key.replace(b"b", b"a", 1), state.get(key))
        for key in state.keys_of("b")
        if key[0] != keys.Kind.OFFSET
    ]
    log.while_confirming = joined_meanwhile
    assert (await lead.meet("a", beat, deadline=soon())).member_id == "m"

    log.leads = False
    beat = log.steps.heartbeat(Heartbeat(member_id="nobody", epoch=1))
    with pytest.raises(NotLeaderOrFollower):
        await lead.meet("a", beat, deadline=soon())


async def test_a_heartbeat_that_changes_nothing_waits_for_nobody() -> None:
    """Neither for commits under way, nor for the disk."""
    log = Log()
    lead = log.lead()
    log.at_once = True
    joined = await lead.meet("a", log.steps.join(Join(member_id="m", topics=("t",))), deadline=soon())
    log.at_once = False
    under_way = commit(log, lead, "a", 1, member_id="m", epoch=joined.epoch)
    await turns()
    frames = len(log.frames)
    beat = log.steps.heartbeat(Heartbeat(member_id="m", epoch=joined.epoch))
    assert (await lead.meet("a", beat, deadline=soon())).epoch == joined.epoch
    assert len(log.frames) == frames
    log.go_on()
    await under_way


async def test_members_end_when_their_time_is_over_and_get_new_targets_when_topics_grow() -> None:
    """By one timer for all; a new leader gives everybody their whole time."""
    log = Log()
    log.at_once = True
    lead = log.lead()
    for name in ("m", "n"):
        join = Join(member_id=name, topics=("t",), session_timeout_ms=60_000)
        await lead.meet("a", log.steps.join(join), deadline=soon())
    epoch = lead.view("a").epoch
    log.topics.count = 12
    lead.clock.topics_changed()
    await turns(20)
    assert lead.view("a").epoch == epoch + 1
    assert sum(len(each) for each in lead.view("a").targets.values()) == 12
    again = log.steps.join(Join(member_id="n", topics=("t",), session_timeout_ms=60_000))
    answer = await lead.meet("a", again, deadline=soon())
    lead.end(outcomes.not_leader("n2"))
    timer = lead.clock._timer
    lead.clock._timer = None
    lead.clock.answered("a", answer)
    assert timer is not None
    assert timer.cancelled()
    assert lead.clock._timer is None, "nobody is ended by who leads no more"

    lead = log.lead()
    await turns(20)
    assert len(lead.clock._sessions) == 2
    loop = asyncio.get_running_loop()
    at = loop.time() + 61
    lead.clock._now = lambda: at  # type: ignore[method-assign]
    lead.clock._look(at)
    await turns(40)
    assert not lead.view("a").members
    assert lead.clock._timer is None, "nobody is left to wake for"


async def test_a_shard_takes_so_many_groups_and_no_more() -> None:
    """Those that are there go on."""
    log = Log()
    log.at_once = True
    lead = log.lead(groups_max=2)
    for group in ("a", "b", "a"):
        await commit(log, lead, group, 1)
    with pytest.raises(TooManyGroups, match="per_shard_max"):
        await commit(log, lead, "c", 1)
    await lead.decide("b", log.steps.delete(), deadline=soon())
    await commit(log, lead, "c", 1)


def test_the_index_follows_the_pairs_and_the_files() -> None:
    """Random pairs, of which some are no keys; a state that is loaded from blocks has the same index."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    machine, model = CoordinatorMachine(), cast(dict[bytes, bytes], {})
    for index in range(2, 400):
        group = f"g{rng.randrange(6)}"
        key = rng.choice(
            (
                keys.group_key(group),
                keys.member_key(group, f"m{rng.randrange(3)}"),
                keys.offset_key(group, (rng.randrange(3), rng.randrange(3))),
                bytes([rng.randrange(9), 200, 7]),
                b"",
                bytes([9, 2]) + group.encode() + b"of a newer build",
            )
        )
        value = rng.choice((None, b"v" * rng.randrange(9)))
        machine.apply(_frame(index, [(key, value)]))
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value
    loaded = CoordinatorMachine()
    view = machine.freeze()
    loader = loaded.loader()
    for block in view.blocks():
        loader.feed(block)
    view.close()
    loaded.adopt(loader, 400)
    for each in (machine, loaded):
        assert dict(each.items()) == model, f"seed {seed}"
        wanted: dict[str, set[bytes]] = {}
        for key in model:
            if len(key) > 1 and len(key) >= 2 + key[1]:
                wanted.setdefault(key[2 : 2 + key[1]].decode(), set()).add(key)
        assert {name: set(each.keys_of(name)) for name in each.names()} == wanted, f"seed {seed}"


def _frame(index: int, pairs: list[tuple[bytes, bytes | None]]) -> Frame:
    payload = command(pairs)
    return Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload))
