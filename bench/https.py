"""What TLS costs: ``python -m bench.https``.

Two clusters of one node each run at once, one of which speaks TLS to its users. Both get the same requests in
turns, on connections that stand. Processor time of the node per request, the median of all turns; and that of
a new connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import signal
import ssl
import statistics
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import uvloop
from floodmark.format import batch
from floodmark.format.record import Record

from bench.accounting import usage
from bench.paths import ROOT
from local.certificates import new_authority

_PATH: Final = "/v1/topics/t/partitions/0/records"
_RAW: Final = {"Content-Type": "application/octet-stream"}
_BATCH: Final = "application/vnd.floodmark.batch"
_READY_S: Final = 60.0
_RECORDS: Final = batch.encode([Record(0, None, os.urandom(1024)) for _ in range(256)])
CASES: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "produce, 1 KiB, one caller": (1, {"headers": _RAW, "data": bytes(1024)}),
    "produce, 1 KiB, 32 callers": (32, {"headers": _RAW, "data": bytes(1024)}),
    "produce, batch of 256 KiB": (1, {"headers": {"Content-Type": _BATCH}, "data": _RECORDS}),
    "fetch, 1 MiB of batches": (1, {"headers": {"Accept": _BATCH}}),
}


class Node(NamedTuple):
    """A cluster of one node."""

    pid: int
    url: str

    async def turn(self, session: aiohttp.ClientSession, case: str, seconds: float) -> float:
        """Microseconds of its processor per request."""
        callers, asked = CASES[case]
        loop = asyncio.get_running_loop()
        before, end = usage([self.pid]).cpu_s, loop.time() + seconds

        async def call() -> int:
            count = 0
            while loop.time() < end:
                await self.ask(session, asked)
                count += 1
            return count

        count = sum(await asyncio.gather(*(call() for _ in range(callers))))
        return (usage([self.pid]).cpu_s - before) / count * 1e6

    async def ask(self, session: aiohttp.ClientSession, asked: dict[str, Any]) -> None:
        """One request."""
        data = asked.get("data")
        body = {**asked, "data": io.BytesIO(data)} if data else asked
        async with session.request("POST" if data else "GET", self.url + _PATH, **body) as answer:
            text = await answer.read()
            assert answer.status == 200, text[:300]


@contextlib.asynccontextmanager
async def started(
    session: aiohttp.ClientSession, port: int, folder: Path, tls: Path | None
) -> AsyncIterator[Node]:
    """A node with a topic ``t``, and ``tls``: the folder of its certificate."""
    secret = folder / "secret"
    secret.write_text("a secret of the benchmark, 32 bytes")
    secret.chmod(0o600)
    peer = f"127.0.0.1:{port + 1}"
    settings = (
        [] if tls is None else ["--set", f"http.tls.cert={tls}/n1.pem", "--set", f"http.tls.key={tls}/n1.key"]
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "start", "--node-id", "n1", "--data-dir", str(folder / "data")),
        *("--http", f"127.0.0.1:{port}", "--peer", peer, "--peers", f"n1={peer}"),
        *("--secret-file", str(secret), "--log-level", "warning", *settings),
        cwd=ROOT,
        stderr=DEVNULL,
    )
    try:
        node = Node(process.pid, f"{'http' if tls is None else 'https'}://127.0.0.1:{port}")
        async with asyncio.timeout(_READY_S):
            await _make_topic(session, node)
        for _ in range(8):
            await node.ask(session, CASES["produce, batch of 256 KiB"][1])
        yield node
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()


async def _make_topic(session: aiohttp.ClientSession, node: Node) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.put(f"{node.url}/v1/topics/t", json={"partitions": 1}) as answer:
                if answer.status < 300:
                    return
        await asyncio.sleep(0.1)


async def _handshake_us(node: Node, context: ssl.SSLContext | None, count: int = 200) -> float:
    """Processor time of the node for a connection that asks nothing."""
    host, _, port = node.url.partition("://")[2].partition(":")
    before = usage([node.pid]).cpu_s
    for _ in range(count):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.close()
    return (usage([node.pid]).cpu_s - before) / count * 1e6


async def main(rounds: int, seconds: float, port: int) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as name:
        folder = Path(name)
        authority = new_authority("floodmark", lasts=timedelta(days=1))
        authority.made.write(folder / "ca.pem", folder / "ca.key")
        node = authority.node("n1", ["127.0.0.1"], lasts=timedelta(days=1))
        node.write(folder / "n1.pem", folder / "n1.key")
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        (folder / "plain").mkdir()
        (folder / "tls").mkdir()
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            started(session, port, folder / "plain", None) as plain,
            started(session, port + 10, folder / "tls", folder) as secure,
        ):
            print(f"{'us of the node per request':30} {'http':>9} {'https':>9} {'more':>7}")
            for case in CASES:
                found: dict[Node, list[float]] = {plain: [], secure: []}
                for _ in range(rounds):
                    for each, values in found.items():
                        values.append(await each.turn(session, case, seconds))
                _print(case, *(statistics.median(values) for values in found.values()))
            _print("a new connection", await _handshake_us(plain, None), await _handshake_us(secure, context))


def _print(case: str, plain: float, secure: float) -> None:
    print(f"{case:30} {plain:9.0f} {secure:9.0f} {secure / plain - 1:+7.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--port", type=int, default=13_900)
    given = parser.parse_args()
    uvloop.run(main(given.rounds, given.seconds, given.port))
