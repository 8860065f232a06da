"""Somebody stands between two nodes: all their bytes pass him, and he does not know the secret."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
import floodmark
import msgpack

from consensus.links.handshake import HELLO_BYTES, PROOF_BYTES
from consensus.links.seal import MARK_BYTES
from consensus.messages import KINDS, StaleTerm
from local.folder import LocalNode, Route
from tests.support.processes import ProcessCluster

_TERM = (1 << 63) - 1


class Relay:
    """Passes n1's connection to n2 on, and says something of its own on it."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self._onward: asyncio.StreamWriter | None = None
        self._between_packets = asyncio.Lock()

    async def start(self) -> asyncio.Server:
        """Listen on any free port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def say(self, packet: bytes) -> None:
        """Put a packet between two of n1's."""
        async with self._between_packets:
            assert self._onward is not None
            self._onward.write(packet)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, onward = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        answers = asyncio.create_task(_pump(back, writer))
        try:
            for length in (HELLO_BYTES, PROOF_BYTES):
                onward.write(await reader.readexactly(length))
            # The link comes first; what n1 asks on a connection of its own is not spoken into.
            if self._onward is None or self._onward.is_closing():
                self._onward = onward
            while True:
                lengths = await reader.readexactly(8)
                async with self._between_packets:
                    header, body = struct.unpack("<II", lengths)
                    onward.write(lengths + await reader.readexactly(header + body + MARK_BYTES))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            answers.cancel()
            onward.transport.abort()
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.transport.abort()


async def _refused(cluster: ProcessCluster) -> float:
    async with aiohttp.ClientSession(cluster.nodes["n2"].url) as session, session.get("/metrics") as answer:
        name = 'floodmark_peer_packets_refused_total{peer="n1"} '
        return next(
            float(line.removeprefix(name))
            for line in (await answer.text()).splitlines()
            if line.startswith(name)
        )


async def test_what_he_says_ends_a_connection_and_no_cluster(tmp_path: Path) -> None:
    """He claims a term that leaves no next one, for all groups: it is refused, nothing moves, also later."""
    relay = Relay()
    server = await relay.start()

    def routes(nodes: Sequence[LocalNode]) -> Mapping[str, Route]:
        relay.target = next(node.peer_port for node in nodes if node.name == "n2")
        found = {node.name: Route() for node in nodes}
        return found | {"n1": Route(dial={"n2": f"127.0.0.1:{relay.port}"})}

    cluster = ProcessCluster(tmp_path / "cluster", 3, routes=routes)
    try:
        await cluster.start()
        await cluster.ready()
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("t", partitions=1, replication_factor=3)
            await client.produce("t", {"n": 0})
            groups = [int(path.name) for path in (cluster.data_dir("n2") / "groups").iterdir()]
            header = msgpack.packb([[group, KINDS.index(StaleTerm), [_TERM], 0, 0] for group in groups])
            await relay.say(struct.pack("<II", len(header), 0) + header + bytes(MARK_BYTES))
            async with asyncio.timeout(20):
                while await _refused(cluster) == 0:  # noqa: ASYNC110 - a counter of another process
                    await asyncio.sleep(0.05)
            for number in range(1, 4):
                await client.produce("t", {"n": number})
            await cluster.stop()
            await cluster.start()
            await cluster.ready()
            await client.topics.create("another", partitions=1, replication_factor=3)
            assert [record.json()["n"] async for record in client.read("t")] == [0, 1, 2, 3]
    except BaseException:
        print(cluster.logs())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await cluster.kill(*cluster.children)
        cluster.close()
        server.close()
