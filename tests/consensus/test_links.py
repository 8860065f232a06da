"""Links between nodes over real sockets, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from consensus.links.handshake import Versions
from consensus.links.inbound import IncomingLink
from consensus.links.link_types import LinkOptions, Reception
from consensus.messages import SnapshotChunk
from tests.consensus.link_nodes import (
    FAST,
    PATIENT,
    LinkNode,
    bulky,
    closed,
    joined,
    numbered,
    proxied,
    raw_link,
    raw_packet,
    running,
)
from tests.support.loops import on_both_loops


@on_both_loops
async def test_messages_travel_both_ways_each_on_its_own_connection():
    """What A says goes over the connection that A made."""
    a, b = LinkNode("a"), LinkNode("b")
    async with running(a, b):
        a.links.dial("b", *b.address)
        await a.until_up("b")
        assert not b.links.connected("a")
        b.links.send("a", [numbered(1)])
        a.links.send("b", [numbered(2)])
        await b.until(lambda: b.numbers("a") == [2])
        b.links.dial("a", *a.address)
        await b.until_up("a")
        b.links.send("a", [numbered(3)])
        await a.until(lambda: a.numbers("b") == [3])


@on_both_loops
async def test_messages_of_many_groups_travel_as_one_packet():
    """A thousand groups' heartbeats are one write and one read."""
    async with joined() as (a, b):
        a.links.send("b", [numbered(group, group) for group in range(1000)])
        await b.until(lambda: len(b.received) == 1000)
        assert b.packets == 1
        assert [group for _, group, _ in b.received] == list(range(1000))


@on_both_loops
async def test_large_messages_are_cut_into_packets_within_the_cap():
    """Forty mebibytes arrive, in order, though one packet holds less."""
    async with joined() as (a, b):
        a.links.send("b", [bulky(number, 5 << 20) for number in range(8)])
        await b.until(lambda: len(b.received) == 8)
        assert b.numbers("a") == list(range(8))
        assert b.packets > 1
        assert {len(message.state) for _, _, message in b.received} == {5 << 20}


@on_both_loops
async def test_a_message_above_the_cap_is_dropped_and_the_link_lives():
    """What no packet can carry harms nobody."""
    async with joined() as (a, b):
        a.links.send("b", [bulky(1, 33 << 20), numbered(2)])
        await b.until(lambda: b.numbers("a") == [2])
        assert a.links.peers["b"].messages_dropped == 1


@on_both_loops
async def test_a_broken_link_is_made_again_and_delivers_in_order_at_most_once():
    """Connections break again and again under load; numbers only ever rise."""
    async with proxied() as (a, b, proxy):
        number = 0
        for _ in range(8):
            await a.until_up("b")
            for _ in range(200):
                number += 1
                a.links.send("b", [numbered(number)])
            before = a.events.count(("down", "b"))
            proxy.drop_connections()
            await a.until(lambda before=before: a.events.count(("down", "b")) > before)
        await a.until_up("b")
        a.links.send("b", [numbered(number + 1)])
        await b.until(lambda: b.numbers("a")[-1:] == [number + 1])
        seen = b.numbers("a")
        assert seen == sorted(set(seen))
        assert a.links.peers["b"].connects == 9


@on_both_loops
async def test_a_newer_connection_silences_the_older_one():
    """What still comes on the older connection is not delivered once the newer one is there (H2)."""
    b = LinkNode("b")
    async with running(b):
        older_reader, older, older_seal = await raw_link(b, "a", epoch=1)
        older.write(raw_packet(older_seal, numbered(1)))
        await b.until(lambda: b.numbers("a") == [1])
        _, newer, seal = await raw_link(b, "a", epoch=2)
        older.write(raw_packet(older_seal, numbered(2)))
        await closed(older_reader)
        newer.write(raw_packet(seal, numbered(3)))
        await b.until(lambda: b.numbers("a")[-1:] == [3])
        assert b.numbers("a") == [1, 3]
        older.close()
        newer.close()


@on_both_loops
async def test_an_older_connection_that_comes_late_is_refused():
    """A process's connections count by their epoch, not by when they arrive."""
    b = LinkNode("b")
    async with running(b):
        _, newer, seal = await raw_link(b, "a", epoch=2)
        with pytest.raises(asyncio.IncompleteReadError):
            await raw_link(b, "a", epoch=1)
        newer.write(raw_packet(seal, numbered(1)))
        await b.until(lambda: b.numbers("a") == [1])
        _, other, seal = await raw_link(b, "a", epoch=1, process=b"its next process")
        other.write(raw_packet(seal, numbered(2)))
        await b.until(lambda: b.numbers("a") == [1, 2])
        newer.close()
        other.close()


@on_both_loops
async def test_a_restarted_process_replaces_the_connection_of_the_dead_one():
    """Its epochs begin anew, and it is let in all the same."""
    async with joined() as (a, b):
        restarted = LinkNode("a")
        async with running(restarted):
            await a.links.stop()
            restarted.links.dial("b", *b.address)
            await restarted.until_up("b")
            restarted.links.send("b", [numbered(5)])
            await b.until(lambda: b.numbers("a") == [5])


@on_both_loops
async def test_a_silent_peer_is_reported_and_so_is_its_return():
    """A pause in one direction is noticed by the other end, without any connection breaking."""
    async with proxied() as (a, b, proxy):
        proxy.pause()
        await b.until(lambda: ("silent", "a") in b.events)
        proxy.resume()
        await b.until(lambda: b.events[-1] == ("heard", "a"))
        assert ("silent", "b") not in a.events


@on_both_loops
async def test_a_process_that_ended_is_reported_without_waiting_for_silence():
    """Its connection is closed, and nobody listens any more. It is told once, and again after a return."""
    a, b = LinkNode("a", PATIENT), LinkNode("b", PATIENT)
    async with running(a, b):
        a.links.dial("b", *b.address)
        b.links.dial("a", *a.address)
        await asyncio.gather(a.until_up("b"), b.until_up("a"))
        b.links.sever()
        await a.until(lambda: ("gone", "b") in a.events)
        failures = a.links.peers["b"].connect_failures
        await a.until_refused("b", failures + 2)
        assert [event for event, _ in a.events] == ["up", "down", "silent", "gone"]


@on_both_loops
async def test_a_peer_that_cannot_be_dialled_is_not_gone_while_it_is_connected():
    """It stands at another address than the one that is dialled: nobody listens there."""
    a, b, nobody = LinkNode("a", PATIENT), LinkNode("b", PATIENT), LinkNode("b", PATIENT)
    async with running(nobody):
        pass
    async with running(a, b):
        b.links.dial("a", *a.address)
        await b.until_up("a")
        a.links.dial("b", *nobody.address)
        await a.until_refused("b", 3)
        assert a.events == []
        b.links.sever()
        await a.until(lambda: a.events == [("silent", "b"), ("gone", "b")])


@on_both_loops
async def test_a_peer_that_is_silent_for_long_is_reported_gone():
    """As a machine that lost its power, which answers nothing."""
    async with proxied() as (_a, b, proxy):
        proxy.pause()
        await b.until(lambda: b.events[-1] == ("gone", "a"))
        assert b.events[-2:] == [("silent", "a"), ("gone", "a")]
        proxy.resume()
        await b.until(lambda: b.events[-1] == ("heard", "a"))
        assert not b.links.peers["a"].gone


@on_both_loops
async def test_a_link_on_which_nothing_gets_through_is_made_anew():
    """The peer is heard but never echoes our beats: the connection is given up."""
    async with proxied() as (a, b, proxy):
        proxy.pause()
        await a.until(lambda: ("down", "b") in a.events)
        proxy.resume()
        await a.until_up("b")
        a.links.send("b", [numbered(4)])
        await b.until(lambda: b.numbers("a") == [4])


@on_both_loops
async def test_the_queue_to_a_stopped_peer_is_bounded_and_recovers():
    """Beyond the bound the peer is down and messages are dropped; once drained it is up again."""
    options = LinkOptions(queue_bytes_max=4 << 20, heartbeat_s=0.02, silence_s=0.2, dead_after_s=30)
    async with proxied(options) as (a, b, proxy):
        proxy.pause()
        sent = 0
        while a.links.connected("b"):
            sent += 1
            a.links.send("b", [bulky(sent, 1 << 20)])
            await asyncio.sleep(0)
        for number in range(100):
            a.links.send("b", [bulky(1000 + number, 1 << 20)])
        assert a.links.queue_bytes("b") < (4 << 20) + (2 << 20)
        assert a.links.peers["b"].messages_dropped == 100
        assert a.events[-1] == ("down", "b")
        proxy.resume()
        await a.until(lambda: a.events[-1] == ("up", "b"))
        a.links.send("b", [numbered(sent + 1)])
        await b.until(lambda: b.numbers("a")[-1:] == [sent + 1])
        assert b.numbers("a") == list(range(1, sent + 2))


@on_both_loops
async def test_a_small_message_does_not_wait_for_what_another_group_has_queued():
    """Heartbeats and questions of all groups share a link; each group's messages stay in their order."""
    options = LinkOptions(queue_bytes_max=256 << 20, heartbeat_s=0.02, silence_s=0.2, dead_after_s=30)
    async with proxied(options) as (a, b, proxy):
        proxy.pause()
        for number in range(64):
            a.links.send("b", [bulky(number, 1 << 20)])
            await asyncio.sleep(0)
        a.links.send("b", [numbered(64)])
        a.links.send("b", [bulky(65, 1 << 20), numbered(1_000, group=2), numbered(1_001, group=3)])
        proxy.resume()
        await b.until(lambda: len(b.received) == 68)
        groups = [group for _, group, _ in b.received]
        assert [message.claimed_term for _, group, message in b.received if group == 1] == list(range(66))
        # What the kernel and the connection had taken already goes first; the rest does not.
        assert max(groups.index(2), groups.index(3)) < 40


@on_both_loops
async def test_a_peer_is_sent_no_kind_that_its_version_does_not_have():
    """What is of a later version of the protocol stays here; all else of its packet leaves."""
    for highest in (3, 4):
        a, b = LinkNode("a"), LinkNode("b", versions=Versions(3, highest))
        chunk = SnapshotChunk(term=1, id=2, position=0, state=b"blocks")
        known = highest == 4
        async with running(a, b):
            a.links.dial("b", *b.address)
            await a.until_up("b")
            a.links.send("b", [(1, chunk)])
            a.links.send("b", [numbered(1), (1, chunk), numbered(2)])
            await b.until(lambda b=b, known=known: len(b.received) >= 2 + 2 * known)
            kinds = sorted(type(message).__name__ for _, _, message in b.received)
            assert kinds == ["RequestVoteResponse"] * 2 + ["SnapshotChunk"] * (2 if known else 0)
            assert a.links.peers["b"].version == highest
            assert a.links.peers["b"].messages_sent == 2 + 2 * known
            assert a.links.peers["b"].messages_dropped == (0 if known else 2)


@on_both_loops
async def test_an_unwelcome_incarnation_is_refused_on_both_sides():
    """A node whose disk was replaced is told apart from the one that was known (H5)."""
    a, b = LinkNode("a", incarnation="a-disk-2"), LinkNode("b")
    b.welcome = lambda _peer, incarnation: incarnation == "a-disk-1"
    async with running(a, b):
        a.links.dial("b", *b.address)
        b.links.dial("a", *a.address)
        await b.until(lambda: b.hellos.count(("a", "a-disk-2")) >= 4)
        assert not a.links.connected("b")
        assert not b.links.connected("a")
        b.welcome = lambda _peer, incarnation: incarnation == "a-disk-2"
        await asyncio.gather(a.until_up("b"), b.until_up("a"))


@on_both_loops
async def test_announcements_arrive_on_both_sides_before_any_message():
    """Peers tell their addresses while they shake hands."""
    async with joined() as (a, b):
        for node, other in ((a, "b"), (b, "a")):
            said = [words for peer, words in node.announcements if peer == other]
            assert sorted(said) == [
                f"{other} answers {node.node_id}".encode(),
                f"{other} to {node.node_id}".encode(),
            ]


@on_both_loops
async def test_what_a_peer_says_and_cannot_be_kept_is_heard_again():
    """A full disk at the first handshake keeps nobody out for good: the links are made once it has room."""
    a, b = LinkNode("a"), LinkNode("b")
    a.reception = Reception.UNKEPT
    async with running(a, b):
        a.links.dial("b", *b.address)
        b.links.dial("a", *a.address)
        await a.until(lambda: len(a.announcements) >= 6)
        assert not a.links.connected("b")
        assert not b.links.connected("a")
        assert [said for _, said in b.announcements if b"answers" in said] == []
        a.reception = Reception.WELCOME
        await asyncio.gather(a.until_up("b"), b.until_up("a"))


@on_both_loops
async def test_a_peer_that_is_refused_hears_why_and_leaves_nothing_behind():
    """It gets the answer that its log needs; no link, no messages and no memory come of it."""
    a, b = LinkNode("a"), LinkNode("b")
    a.reception = Reception.REFUSED
    async with running(a, b):
        b.links.dial("a", *a.address)
        await b.until(lambda: b.announcements.count(("a", b"a answers b")) >= 3)
        assert ("b", b"b to a") in a.announcements
        assert a.links.peers == {}
        assert a.links.unauthenticated == 0
        a.reception = Reception.WELCOME
        await b.until_up("a")


@on_both_loops
async def test_a_forgotten_peer_is_neither_dialled_nor_kept():
    """A node that left the cluster leaves nothing behind."""
    async with joined() as (a, _):
        await a.links.forget("b")
        assert "b" not in a.links.peers
        assert not a.links.connected("b")


@on_both_loops
async def test_a_forgotten_peer_may_come_back_at_once():
    """Dialled anew before the old link is closed, it is connected again, and stays it."""
    async with joined() as (a, b):
        closing = a.links.forget("b")
        assert not a.links.connected("b")
        a.links.dial("b", *b.address)
        await a.until_up("b")
        await closing
        assert a.links.connected("b")
        a.links.send("b", [numbered(7)])
        await b.until(lambda: b.numbers("a") == [7])


@on_both_loops
async def test_stopping_lets_queued_messages_leave():
    """The last words of a leader that hands over arrive."""
    async with joined() as (a, b):
        a.links.send("b", [bulky(1, 4 << 20), numbered(2)])
        await a.links.stop()
        await b.until(lambda: b.numbers("a") == [1, 2])


def test_options_that_contradict_each_other_are_refused():
    """Relations between timings are checked when they are set."""
    with pytest.raises(ValueError, match="silence"):
        LinkOptions(heartbeat_s=1.0)
    with pytest.raises(ValueError, match="reconnect"):
        LinkOptions(reconnect_max_s=2.0)
    assert FAST.reconnect_max_s < 0.5


async def test_a_connection_that_comes_while_its_node_stops_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Accepted in the turn before, it counts for nothing, and nothing waits for its handshake."""
    node = await LinkNode("b").start()
    opens = IncomingLink.connection_made
    waiting = []

    def opens_late(link: IncomingLink, transport: asyncio.BaseTransport) -> None:
        node.links._listener.stop()
        opens(link, transport)
        waiting.append(node.links.unauthenticated)

    monkeypatch.setattr(IncomingLink, "connection_made", opens_late)
    reader, writer = await asyncio.open_connection(*node.address)
    try:
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert waiting == [0]
    finally:
        writer.close()
        await node.links.stop()
