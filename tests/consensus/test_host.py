"""Three hosts in one process: real sockets, real files, real threads."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog
from floodmark.errors import OutcomeUnknown, Unavailable
from floodmark.format.frame import Frame, FrameKind

from consensus.host.host_types import HostOptions
from consensus.links.handshake import SPOKEN, Versions
from consensus.messages import AppendEntries, Message, Quiesce
from consensus.types import GroupOptions, GroupStopped, NotLeader, Proposal, Role, Stored
from consensus.wire import COMMIT_WITH_QUIESCE, encode_packet
from tests.consensus.host_nodes import HostNode, eventually, hosts, join, leader_of, put
from tests.support.proxy import FaultProxy
from tests.support.raft import frame

NAMES = ("a", "b", "c")
PATIENT = GroupOptions(election_timeout_min_s=2.5, election_timeout_max_s=5.0)
"""As on nodes with many groups."""


async def test_three_hosts_elect_commit_and_a_reopened_one_catches_up(tmp_path):
    """A thousand concurrent proposals are stored in order; a follower that was away gets what it missed."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        wanted = [f"first {number}".encode() for number in range(1000)]
        indexes = await asyncio.gather(*(put(leader, payload) for payload in wanted))
        assert len(set(indexes)) == 1000
        for node in nodes:
            await node.until(lambda node=node: len(node.payloads()) == 1000)
            assert sorted(node.payloads()) == sorted(wanted)

        away = next(node for node in nodes if node is not leader)
        nodes.remove(away)
        await away.host.stop()
        await asyncio.gather(*(put(leader, f"second {number}".encode()) for number in range(300)))

        back = HostNode(away.node_id, tmp_path)
        await back.host.start()
        nodes.append(back)
        join(nodes)
        back.open(1, frozenset(NAMES))
        await back.until(lambda: len(back.payloads()) == 1300)
        assert back.payloads() == leader.payloads()


async def test_stopping_the_leader_hands_over_without_an_election_timeout(tmp_path):
    """Another node leads in the next term by the time that the old leader has stopped."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        await put(leader, b"one")
        term = leader.host.group(1).term
        nodes.remove(leader)
        await leader.host.stop()
        successor = await leader_of(nodes)
        assert successor.host.group(1).term == term + 1
        await put(successor, b"two")
        assert successor.payloads() == [b"one", b"two"]


async def test_only_the_leaders_log_is_expected_to_be_read(tmp_path):
    """Followers keep what they write out of the cache of files; who takes over does not."""
    async with hosts(tmp_path, *NAMES) as nodes:
        for _ in range(2):
            leader = await leader_of(nodes)
            await put(leader, b"x")
            groups = [node.host.group(1) for node in nodes]
            reads = [node is leader for node in nodes]
            await eventually(lambda groups=groups, reads=reads: [g.log.is_read for g in groups] == reads)
            assert leader.host.transfer(1)
            await eventually(lambda leader=leader: leader.host.group(1).role is not Role.LEADER)


async def test_fsyncs_are_shared_by_what_arrives_meanwhile(tmp_path):
    """Many proposals at once need far fewer fsyncs than one each (group commit)."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        before = leader.host.disk.flushes
        await asyncio.gather(*(put(leader, b"x" * 100) for _ in range(500)))
        assert leader.host.disk.flushes - before < 100


async def test_a_proposal_at_a_follower_is_refused_with_the_leaders_name(tmp_path):
    """Nothing was stored, and the caller knows where to go."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        follower = next(node for node in nodes if node is not leader)
        await follower.host.wait_leader(1, deadline_s=10)
        with pytest.raises(Unavailable) as caught:
            await put(follower, b"x")
        assert caught.value.fields["leader"] == leader.node_id
        with pytest.raises(NotLeader):
            follower.host.propose_nowait(1, FrameKind.COMMAND, b"x")
        with pytest.raises(Unavailable):
            await put(follower, b"x", raft_group=99)


async def test_without_a_majority_the_outcome_is_unknown_at_the_deadline(tmp_path):
    """The proposal is abandoned, not cancelled: nobody can say what becomes of it."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        others = [node for node in nodes if node is not leader]
        for node in others:
            nodes.remove(node)
        await asyncio.gather(*(node.host.stop() for node in others))
        if leader.host.group(1).role is Role.LEADER:
            with pytest.raises((OutcomeUnknown, Unavailable)):
                await put(leader, b"x", deadline_s=0.2)
        with pytest.raises(Unavailable):
            await leader.host.read_index(1, deadline_s=0.2)


async def test_a_lead_is_confirmed_by_a_majority_and_after_the_proposal_named(tmp_path):
    """A leader that a majority hears says so; one that it does not hear, and a follower, do not."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await _confirmed_leader(nodes)
        follower = next(node for node in nodes if node is not leader)
        with pytest.raises(NotLeader):
            await follower.host.confirm_lead(1, deadline_s=20)
        with pytest.raises(GroupStopped):
            await leader.host.confirm_lead(99, deadline_s=20)


async def _confirmed_leader(nodes):
    """Whoever leads, asked again when the process was held up and they elected anew."""
    while True:
        leader = await leader_of(nodes)
        with contextlib.suppress(NotLeader, Unavailable):
            index = await put(leader, b"x")
            await leader.host.confirm_lead(1, deadline_s=20)
            assert leader.host.group(1).applied_index >= index
            proposal = leader.host.propose_nowait(1, FrameKind.COMMAND, b"y")
            await leader.host.confirm_lead(1, after=proposal, deadline_s=20)
            assert isinstance(proposal.outcome, Stored)
            with pytest.raises(Unavailable):
                await leader.host.confirm_lead(1, after=Proposal(), deadline_s=0.05)
            return leader


async def test_who_waits_for_a_confirmation_hears_at_once_that_the_lead_is_lost(tmp_path):
    """Not when its time is up: with its followers gone the leader steps down, and says so."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        others = [node for node in nodes if node is not leader]
        for node in others:
            nodes.remove(node)
        await asyncio.gather(*(node.host.stop() for node in others))
        with pytest.raises(NotLeader):
            await leader.host.confirm_lead(1, deadline_s=600)


async def test_a_read_index_on_a_follower_shows_what_was_acknowledged_before(tmp_path):
    """Read your writes on any node."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        for number in range(20):
            payload = f"{number}".encode()
            index = await put(leader, payload)
            reader = nodes[number % 3]
            assert await reader.host.read_index(1, deadline_s=10) >= index
            assert reader.payloads()[-1] == payload


async def _store_five_records(nodes):
    """At whoever leads: three hosts share this process, and when it is held up they elect anew."""
    while True:
        leader = await leader_of(nodes)
        with contextlib.suppress(Unavailable):  # Nothing was stored.
            return await leader.host.propose(1, FrameKind.RECORDS, b"five", record_count=5, deadline_s=10)


async def test_long_polls_wake_on_commit_and_leave_nothing_behind(tmp_path):
    """Waiters get the new high watermark on every replica; cancelled and timed out ones are forgotten."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        waiting = [asyncio.create_task(node.host.wait_high_watermark(1, 0, timeout_s=30)) for node in nodes]
        cancelled = [
            asyncio.create_task(leader.host.wait_high_watermark(1, 10**9, timeout_s=30)) for _ in range(1000)
        ]
        read_indexes = [asyncio.create_task(leader.host.wait_leader(1, deadline_s=30)) for _ in range(100)]
        await asyncio.gather(*read_indexes)
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        assert await leader.host.wait_high_watermark(1, 10**9, timeout_s=0.01) == 0
        await _store_five_records(nodes)
        assert await asyncio.gather(*waiting) == [5, 5, 5]
        slot = leader.host._slots[1]
        assert len(slot.watermark_waiters) == 0
        assert len(slot.leader_waiters) == 0


async def test_a_removed_group_tells_its_waiters_and_closes_its_log(tmp_path):
    """Nobody waits for a group that has left."""
    async with hosts(tmp_path, "a") as [node]:
        await leader_of([node])
        log = node.host.group(1).log
        waiter = asyncio.create_task(node.host.wait_high_watermark(1, 0, timeout_s=30))
        await asyncio.sleep(0)
        pending = node.host.propose_nowait(1, FrameKind.COMMAND, b"x")
        await node.host.remove(1)
        with pytest.raises(Unavailable):
            await waiter
        assert pending.outcome is not None
        with pytest.raises(Exception, match="closed"):
            log.write()


async def test_many_groups_work_side_by_side(tmp_path):
    """Fifty groups elect, and proposals to all of them are stored."""
    async with hosts(tmp_path, *NAMES, groups=50) as nodes:
        leaders = [await leader_of(nodes, raft_group) for raft_group in range(1, 51)]
        await asyncio.gather(
            *(put(leader, b"x", raft_group) for raft_group, leader in enumerate(leaders, 1) for _ in range(5))
        )
        for raft_group, leader in enumerate(leaders, 1):
            assert leader.payloads(raft_group) == [b"x"] * 5


async def test_many_groups_that_start_at_once_do_not_outdate_each_others_elections(tmp_path):
    """Two hundred groups need at most three terms for every two leaders, where one of each asks first."""
    count = 200
    async with hosts(tmp_path, *NAMES, groups=0) as nodes:
        with ThreadPoolExecutor(16) as executor:
            opening = {
                (node, raft_group): executor.submit(node.files, raft_group)
                for node in nodes
                for raft_group in range(1, count + 1)
            }
        for (node, raft_group), files in opening.items():
            node.add(raft_group, frozenset(NAMES), files.result(), PATIENT)
        pairs = [(node.host.links, name) for node in nodes for name in NAMES if name != node.node_id]
        await eventually(lambda: all(links.connected(name) for links, name in pairs))
        for raft_group in range(1, count + 1):
            nodes[raft_group % len(nodes)].host.campaign(raft_group)
        for raft_group in range(1, count + 1):
            await leader_of(nodes, raft_group)
        terms = [nodes[0].host.group(raft_group).term for raft_group in range(1, count + 1)]
        assert sum(terms) <= 1.5 * count


class _Alike(random.Random):
    """Draws the same each time: who is to ask first waits as long as that, and the others far longer."""

    def random(self) -> float:
        return 0.15


async def test_many_groups_whose_leaders_process_ended_elect_once_each(tmp_path):
    """No timeout is waited for, which would take longer than this test may; no group needs a second term."""
    count = 30
    options = GroupOptions(election_timeout_min_s=100.0, election_timeout_max_s=200.0, takeover_s=10.0)
    async with hosts(tmp_path, *NAMES, groups=0, options=HostOptions(transfer_timeout_s=0.1)) as nodes:
        for node in nodes:
            node.chance = _Alike()
            for raft_group in range(1, count + 1):
                node.open(raft_group, frozenset(NAMES), options)
        pairs = [(node.host.links, name) for node in nodes for name in NAMES if name != node.node_id]
        await eventually(lambda: all(links.connected(name) for links, name in pairs))
        gone, *left = nodes
        for raft_group in range(1, count + 1):
            nodes[raft_group % 3].host.campaign(raft_group)
        for raft_group in range(1, count + 1):
            await leader_of(nodes, raft_group)
        led = [group for group in range(1, count + 1) if gone.host.group(group).is_ready_leader]
        before = {group: left[0].host.group(group).term for group in range(1, count + 1)}
        gone.host.links.sever()
        for group in led:
            await eventually(lambda group=group: any(n.host.group(group).is_ready_leader for n in left))
        after = {group: left[0].host.group(group).term for group in range(1, count + 1)}
        assert len(led) == count // 3
        assert after == {group: term + (group in led) for group, term in before.items()}
        leads = [sum(node.host.group(group).is_ready_leader for group in led) for node in left]
        assert leads == [len(led) // 2] * 2, "those that are left share them"


async def test_a_partitioned_leader_is_replaced_and_the_healed_node_follows(tmp_path):
    """Both directions of its links are cut; it commits nothing, another leads, and it catches up later."""
    nodes = [HostNode(name, tmp_path) for name in NAMES]
    proxies: dict[tuple[str, str], FaultProxy] = {}
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            await node.host.start()
            stack.push_async_callback(node.host.stop)
        for source in nodes:
            for target in nodes:
                if source is not target:
                    proxy = await FaultProxy(target.host.address).start()
                    stack.push_async_callback(proxy.stop)
                    proxies[source.node_id, target.node_id] = proxy
                    source.host.links.dial(target.node_id, *proxy.address)
        for node in nodes:
            node.open(1, frozenset(NAMES))
        old = await leader_of(nodes)
        await put(old, b"one")
        cut = [proxy for names, proxy in proxies.items() if old.node_id in names]
        for proxy in cut:
            proxy.cut()
        rest = [node for node in nodes if node is not old]
        await rest[0].until(lambda: rest[0].host.group(1).leader not in (None, old.node_id))
        new = await leader_of(rest)
        await put(new, b"two")
        for proxy in cut:
            proxy.heal()
        await old.until(lambda: old.payloads() == [b"one", b"two"])
        assert old.host.group(1).leader == new.node_id


async def test_a_paused_link_holds_back_nothing_for_good(tmp_path):
    """One directed link stalls and comes back: the follower behind it has everything in the end."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        follower = next(node for node in nodes if node is not leader)
        proxy = await FaultProxy(follower.host.address).start()
        leader.host.links.dial(follower.node_id, *proxy.address)
        await asyncio.gather(*(put(leader, b"before") for _ in range(10)))
        proxy.pause()
        others = [node for node in nodes if node is not follower]
        try:
            for number in range(20):
                with contextlib.suppress(Unavailable, OutcomeUnknown):
                    await put(await leader_of(others), f"during {number}".encode(), deadline_s=5)
        finally:
            proxy.resume()
        last = await put(await leader_of(others), b"after")
        await follower.until(lambda: last in follower.machines[1].seen)
        await proxy.stop()


async def test_a_process_that_was_held_up_does_not_judge_others_by_the_clock(tmp_path):
    """All three stand still for longer than any timeout, in the midst of writing: nobody is deposed."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        await put(leader, b"before")
        term = leader.host.group(1).term
        for number in range(5):
            writing = asyncio.create_task(put(leader, b"%d" % number))
            await asyncio.sleep(0.01 * number)
            time.sleep(1.2)  # noqa: ASYNC251  -- holding the event loop up is what this is about
            await writing
        assert (leader.host.group(1).role, leader.host.group(1).term) == (Role.LEADER, term)


async def test_a_process_that_is_held_up_as_it_wakes_a_group_goes_on_leading_it(tmp_path):
    """While all sleep no timer tells that it did not run; the turn that was due then does."""
    async with hosts(tmp_path, *NAMES) as nodes:
        leader = await leader_of(nodes)
        term = leader.host.group(1).term
        await eventually(lambda: all(node.host.group(1).asleep for node in nodes))
        await eventually(lambda: all(node.host._scheduler._timer is None for node in nodes))
        writing = asyncio.create_task(put(leader, b"x"))
        await asyncio.sleep(0)
        assert not leader.host.group(1).asleep
        time.sleep(1.2)  # noqa: ASYNC251 - as above
        await writing
        assert (leader.host.group(1).role, leader.host.group(1).term) == (Role.LEADER, term)


async def test_a_divergence_is_an_event_that_names_it(tmp_path: Path) -> None:
    """Group, index and both terms stand in the log, and the others go on."""
    node = HostNode("a", tmp_path)
    await node.host.start()
    node.open(1, frozenset("abc"))
    node.open(2, frozenset("a"))

    def hear(source: str, term: int, commit: int, *frames: Frame) -> None:
        append = AppendEntries(term, 1, 0, commit=commit, round=1, attempt=0, frames=list(frames))
        header, *body = encode_packet([(1, append)])
        node.host.links._context.hooks.deliver(source, memoryview(header), memoryview(b"".join(body)))

    try:
        with structlog.testing.capture_logs() as log:
            hear("b", 7, 2, frame(2, 7))
            await node.until(lambda: node.host.group(1).applied_index == 2)
            hear("c", 8, 2, frame(2, 8))
            await node.until(lambda: bool(node.failed))
        assert [line for line in log if line["event"] == "log_diverged"] == [
            {
                "event": "log_diverged",
                "log_level": "error",
                "group": 1,
                "index": 2,
                "term": 7,
                "leaders_term": 8,
            }
        ]
        await node.host.wait_leader(2, deadline_s=20)
        assert await put(node, b"x", 2) > 1
    finally:
        await node.host.stop()


@pytest.mark.parametrize("is_older", [False, True], ids=["this build", "an older build"])
async def test_only_followers_of_this_build_learn_of_a_commit_by_the_message_to_sleep(tmp_path, is_older):
    """Whose version of the protocol has it not is told before, by a heartbeat."""
    versions = Versions(SPOKEN.lowest, COMMIT_WITH_QUIESCE - is_older)
    news: list[bool] = []
    async with hosts(tmp_path, *NAMES, versions={"c": versions}) as nodes:
        for node in nodes:
            group = node.host.group(1)

            def receive(source: str, message: Message, group: Any = group, take: Any = group.receive) -> bool:
                if isinstance(message, Quiesce) and group.leader == source:
                    news.append(message.commit > group.commit_index)
                return bool(take(source, message))

            group.receive = receive
        await eventually(lambda: all(node.host.group(1).asleep for node in nodes))
        # Where the process is held up, a heartbeat tells it before.
        most = 12 if is_older else 60
        while news.count(True) < 2 and len(news) < most:
            leader = await leader_of(nodes)
            index = await put(leader, b"x")
            await eventually(
                lambda index=index: all(
                    node.host.group(1).asleep and node.host.group(1).applied_index == index for node in nodes
                )
            )
    assert any(news) is not is_older, news
