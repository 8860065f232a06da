"""The peer port under attack: it closes what does not belong there and keeps working."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import pickle
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
import structlog
from floodmark.format.frame import LEVEL
from msgspec.structs import replace
from structlog.testing import capture_logs

from consensus.links.handshake import (
    CHALLENGE_BYTES,
    HELLO_BYTES,
    PROOF_BYTES,
    SPOKEN,
    Accepting,
    Dialing,
    Identity,
    Versions,
)
from consensus.links.link_types import LinkOptions
from consensus.links.seal import MARK_BYTES, Seal
from consensus.messages import KINDS, AppendEntries, RequestVoteResponse
from storage.vote import TERM_MAX
from tests.consensus.link_nodes import (
    FAST,
    PATIENT,
    SECRET,
    LinkNode,
    bulky,
    closed,
    numbered,
    raw_link,
    raw_packet,
    running,
    sealed,
)
from tests.support.raft import frame

_RANGE = f"{SPOKEN.lowest} to {SPOKEN.highest}"


@contextlib.asynccontextmanager
async def target(options: LinkOptions = PATIENT) -> AsyncIterator[LinkNode]:
    """A node to attack; at the end an honest peer must still get through."""
    node = await LinkNode("b", options).start()
    honest = await LinkNode("a").start()
    try:
        yield node
        honest.links.dial("b", *node.address)
        await honest.until_up("b")
        honest.links.send("b", [numbered(42)])
        await node.until(lambda: node.numbers("a") == [42])
    finally:
        await honest.links.stop()
        await node.links.stop()


@pytest.mark.parametrize(
    "garbage",
    [
        random.Random(1).randbytes(100_000),
        pickle.dumps({"a": list(range(1000))}),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack("<I", 0x7FFF_FFFF) + b"x" * 2000,
        b"FMP1\x00\x00\xff\xff" + b"x" * 1000,
    ],
    ids=["random", "pickle", "http", "two gigabytes", "a range that is none"],
)
async def test_foreign_bytes_are_closed_at_once_and_answered_with_nothing(garbage):
    """C5: the first eight bytes decide; nobody waits for the rest of a handshake."""
    async with target() as node:
        reader, writer = await asyncio.open_connection(*node.address)
        writer.write(garbage)
        assert await closed(reader) == b""
        writer.close()
        assert node.received == []


@pytest.mark.parametrize("said", [(2, 0), (9, 7), (65_535, 65_535)])
async def test_a_build_without_a_common_version_is_told_ours_and_closed_at_once(said):
    """Its log can name both then, as ours does; it is told nothing else."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        async with target() as node:
            reader, writer = await asyncio.open_connection(*node.address)
            writer.write(struct.pack("<4sHH", b"FMP1", *said))
            challenge = await closed(reader)
            writer.close()
            assert len(challenge) == CHALLENGE_BYTES
            assert struct.unpack_from("<4sHH", challenge) == (b"FMP1", SPOKEN.highest, SPOKEN.lowest)
            assert node.hellos == []
    [line] = [line for line in logs if line["event"] == "peer_connection_refused"]
    assert f"{said[0]} of the peer protocol, this node {_RANGE}" in line["reason"]


async def test_nodes_whose_versions_do_not_meet_both_say_so():
    """The dialer hears the acceptor's range and names both; no link stands."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        async with target() as node:
            newer = await LinkNode("n", versions=Versions(7, 9)).start()
            newer.links.dial("b", *node.address)
            async with asyncio.timeout(60):
                while newer.links.peers["b"].connect_failures < 2:  # noqa: ASYNC110 (a counter, no event)
                    await asyncio.sleep(0.01)
            assert not newer.links.connected("b")
            await newer.links.stop()
    reasons = {line["event"]: line["reason"] for line in logs if "reason" in line}
    refused, unreachable = reasons["peer_connection_refused"], reasons["peer_unreachable"]
    assert f"speaks versions 7 to 9 of the peer protocol, this node {_RANGE}" in refused
    assert f"speaks versions {_RANGE} of the peer protocol, this node 7 to 9" in unreachable


@pytest.mark.parametrize("which", ["hello", "challenge"])
async def test_a_man_in_the_middle_who_lowers_a_range_gets_no_link(which):
    """Two nodes that speak 3 to 5 are not brought to 3; without him they use 5."""
    structlog.reset_defaults()
    wide = Versions(3, 5)
    a, b = LinkNode("a", versions=wide), LinkNode("b", versions=wide)
    lowered = struct.pack("<4sHH", b"FMP1", 3, 3)

    async def stand_between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, onward = await asyncio.open_connection(*b.address)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            hello = await reader.readexactly(HELLO_BYTES)
            onward.write(lowered + hello[8:] if which == "hello" else hello)
            challenge = await back.readexactly(CHALLENGE_BYTES)
            writer.write(lowered + challenge[8:] if which == "challenge" else challenge)
            onward.write(await reader.readexactly(PROOF_BYTES))
            writer.write(await back.read(1))
        writer.transport.abort()
        onward.transport.abort()

    with capture_logs() as logs:
        async with running(a, b):
            server = await asyncio.start_server(stand_between, "127.0.0.1", 0)
            a.links.dial("b", *server.sockets[0].getsockname()[:2])
            async with asyncio.timeout(60):
                while a.links.peers["b"].connect_failures < 2:  # noqa: ASYNC110 (a counter, no event)
                    await asyncio.sleep(0.01)
            assert b.hellos == [], "he was taken for the dialer"
            server.close()
            a.links.dial("b", *b.address)
            await a.until_up("b")
    assert [line["protocol"] for line in logs if line["event"] == "peer_connected"] == [5]


class Bomb:
    """Whoever unpickles this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("authenticated", [False, True], ids=["stranger", "peer"])
@pytest.mark.parametrize("prefix", ["none", "stock length", "packet"])
async def test_nothing_that_comes_in_is_ever_unpickled(tmp_path, authenticated, prefix):
    """C5: a pickle that acts when it is read does nothing, framed as the stock transport does or as ours."""
    bomb = pickle.dumps(Bomb(tmp_path / "executed"))
    async with target() as node:
        seal = Seal(b"a key")
        if authenticated:
            reader, writer, seal = await raw_link(node, "evil", epoch=1)
        else:
            reader, writer = await asyncio.open_connection(*node.address)
        framed = {
            "none": bomb,
            "stock length": struct.pack("<I", len(bomb)) + bomb,
            "packet": sealed(seal, bomb, b""),
        }
        writer.write(framed[prefix])
        writer.write_eof()
        await closed(reader)
        writer.close()
        assert node.received == []
    assert not (tmp_path / "executed").exists()


async def test_a_recorded_handshake_is_worth_nothing():
    """C5: an attacker who replays what an honest dialer sent gets no further than the challenge."""
    async with target() as node:
        identity = Identity(cluster_id="c1", node_id="a", incarnation="x", secret=SECRET)
        dialing = Dialing(identity, "b", 1)
        reader, writer = await asyncio.open_connection(*node.address)
        writer.write(dialing.hello)
        proof = dialing.answer(await reader.readexactly(CHALLENGE_BYTES))
        writer.close()
        reader, writer = await asyncio.open_connection(*node.address)
        writer.write(dialing.hello + proof + b"anything")
        assert len(await closed(reader)) <= CHALLENGE_BYTES
        writer.close()
        assert node.hellos == []


@pytest.mark.parametrize("change", [{"secret": b"guess"}, {"cluster_id": "c2"}])
async def test_a_node_of_another_cluster_never_gets_a_link(change):
    """C5: it keeps trying, is refused each time, and the log says so once."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        async with target() as node:
            stranger = await LinkNode("s", **change).start()
            stranger.links.dial("b", *node.address)
            async with asyncio.timeout(60):
                while stranger.links.peers["b"].connect_failures < 5:  # noqa: ASYNC110 (a counter, no event)
                    await asyncio.sleep(0.01)
            assert not stranger.links.connected("b")
            await stranger.links.stop()
    refused = [line for line in logs if line["event"] == "peer_connection_refused"]
    assert len(refused) == 1
    assert ("secret" if "secret" in change else "another cluster") in refused[0]["reason"]


async def test_an_authenticated_length_claim_above_the_cap_allocates_nothing():
    """C5: four gigabytes are claimed; the connection is closed."""
    async with target() as node:
        reader, writer, _ = await raw_link(node, "evil", epoch=1)
        tracemalloc.start()
        writer.write(struct.pack("<II", 100, 0xFFFF_FFFF) + b"x" * 1000)
        await closed(reader)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        writer.close()
        assert peak < 4 << 20


async def test_a_packet_that_no_sound_peer_sends_closes_the_link():
    """What wire.py refuses is not delivered in part either."""
    async with target() as node:
        reader, writer, seal = await raw_link(node, "evil", epoch=1)
        writer.write(sealed(seal, b"\xc1" * 20, b"body"))
        await closed(reader)
        writer.close()
        assert node.received == []
        assert node.links.peers["evil"].packets_refused == 1


async def test_a_message_of_a_newer_build_is_left_out_counted_and_logged_once():
    """The link stands and the others of its packet arrive: an election does not suffer by it."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        async with target() as node:
            _, writer, seal = await raw_link(node, "newer", epoch=1)
            for number in range(3):
                newer = [1, len(KINDS) + 1, ["what", "ever"], 0, 0]
                vote = [1, KINDS.index(RequestVoteResponse), [number], 0, 0]
                writer.write(sealed(seal, msgpack.packb([newer, vote]), b""))
            await node.until(lambda: len(node.numbers("newer")) == 3)
            assert node.numbers("newer") == [0, 1, 2]
            assert node.links.peers["newer"].messages_too_new == 3
            assert node.links.peers["newer"].packets_refused == 0
            writer.close()
    [line] = [line for line in logs if line["event"] == "peer_message_too_new"]
    assert f"kind {len(KINDS) + 1}: this build knows kinds 0 to {len(KINDS) - 1}" in line["reason"]


async def test_an_append_with_a_frame_of_a_newer_build_is_left_out_and_named():
    """Who sent it, what it needs and what this build knows; nothing of it is taken, and the link stands."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        async with target() as node:
            _, writer, seal = await raw_link(node, "newer", epoch=1)
            append = AppendEntries(1, 1, 1, 1, 1, 1, [replace(frame(2, 1, b"payload"), level=LEVEL + 1)])
            writer.write(raw_packet(seal, (1, append), numbered(7)))
            await node.until(lambda: node.numbers("newer") == [7])
            assert [type(message) for _, _, message in node.received] == [RequestVoteResponse]
            writer.close()
    [line] = [line for line in logs if line["event"] == "peer_message_too_new"]
    assert line["peer"] == "newer"
    assert f"frame 2 needs feature level {LEVEL + 1}, this build knows {LEVEL}" in line["reason"]


async def test_a_term_at_the_end_of_its_range_closes_the_link():
    """Whoever knows the secret, or has a defect, cannot say a term that leaves no next one."""
    async with target() as node:
        reader, writer, seal = await raw_link(node, "evil", epoch=1)
        writer.write(raw_packet(seal, numbered(TERM_MAX)))
        await node.until(lambda: node.numbers("evil") == [TERM_MAX])
        writer.write(raw_packet(seal, numbered(TERM_MAX + 1)))
        await closed(reader)
        writer.close()
        assert node.numbers("evil") == [TERM_MAX]


@pytest.mark.parametrize(
    "what", ["header", "small body", "mark", "repeated", "left out", "swapped", "injected"]
)
async def test_a_packet_that_was_altered_on_its_way_ends_the_connection(what):
    """Who stands between two nodes without the secret can end a connection, and say nothing in its place."""
    async with target() as node:
        reader, writer, seal = await raw_link(node, "evil", epoch=1)
        packets = [raw_packet(seal, bulky(number, 100)) for number in range(4)]
        writer.write(packets[0])
        await node.until(lambda: node.numbers("evil") == [0])
        altered = bytearray(packets[1])
        stream = {
            "header": lambda: _flipped(altered, 8 + 4),
            "small body": lambda: _flipped(altered, len(altered) - MARK_BYTES - 1),
            "mark": lambda: _flipped(altered, len(altered) - 1),
            "repeated": lambda: packets[0],
            "left out": lambda: packets[2],
            "swapped": lambda: packets[2] + packets[1],
            "injected": lambda: raw_packet(Seal(b"a guess"), bulky(1, 100)),
        }[what]()
        writer.write(bytes(stream) + packets[3])
        await closed(reader)
        writer.close()
        assert node.numbers("evil") == [0]
        assert node.links.peers["evil"].packets_refused == 1


def _flipped(data: bytearray, position: int) -> bytes:
    data[position] ^= 1
    return bytes(data)


async def test_a_slow_handshake_is_closed_at_its_deadline():
    """One byte now and then does not keep a connection open."""
    async with target(FAST) as node:
        hello = Dialing(Identity(cluster_id="c1", node_id="a", incarnation="x", secret=SECRET), "b", 1).hello
        reader, writer = await asyncio.open_connection(*node.address)
        started = asyncio.get_running_loop().time()
        ended = asyncio.create_task(closed(reader))
        for position in range(len(hello)):
            writer.write(hello[position : position + 1])
            await asyncio.wait([ended], timeout=0.02)
            if ended.done():
                break
        assert await ended == b""
        assert asyncio.get_running_loop().time() - started >= 0.4
        writer.close()


async def test_strangers_who_hold_connections_open_lock_nobody_out():
    """The number of unauthenticated connections is bounded: the oldest makes room."""
    async with target(dataclasses.replace(PATIENT, unauthenticated_max=8)) as node:
        idle = [await asyncio.open_connection(*node.address) for _ in range(40)]
        await asyncio.gather(*(closed(reader) for reader, _ in idle[:32]))
        assert node.links.unauthenticated == 8
        assert not any(reader.at_eof() for reader, _ in idle[32:])
        honest = await LinkNode("h").start()
        honest.links.dial("b", *node.address)
        await honest.until_up("b")
        await honest.links.stop()
        for _, writer in idle:
            writer.close()


async def test_whoever_answers_on_a_link_that_only_sends_is_cut_off():
    """Bytes on the wrong direction of a link are no messages."""
    async with target() as node:
        identity = Identity(cluster_id="c1", node_id="fake", incarnation="x", secret=SECRET)
        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepting = Accepting(identity)
            _, challenge = accepting.greet(await reader.readexactly(HELLO_BYTES))
            writer.write(challenge)
            writer.write(accepting.finish(await reader.readexactly(PROOF_BYTES)))
            writer.write(b"and one more thing")
            await closed(reader)
            writer.transport.abort()
            ended.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        node.links.dial("fake", *server.sockets[0].getsockname()[:2])
        async with asyncio.timeout(60):
            await ended.wait()
        await node.links.forget("fake")
        server.close()
