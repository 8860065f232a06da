"""What it costs to say who one is: ``python -m bench.authentication``.

Three clusters of one node each run at once: one that asks nobody, twice, and one that authenticates. All get
the same produce requests of one record in turns, the last one with a token. One node, since with more of them
the same cost would be a smaller part of the whole. Processor time of the node per request; the difference
between the two that ask nobody is noise. At most 5 percent are allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import uvloop

from bench.accounting import usage
from bench.compare.verdict import HEAD, Verdict
from bench.machine import measure
from bench.paths import ROOT

VALUE: Final = bytes(index % 251 for index in range(1024))
_PATH: Final = "/v1/topics/t/partitions/0/records"
_RAW: Final = {"Content-Type": "application/octet-stream"}
_PAST_THE_FAST_PATH: Final = {"Accept-Language": "en"}
_READY_S: Final = 60.0
CASES: Final = {
    "one caller, fast path": (1, _RAW),
    "one caller, usual path": (1, {**_RAW, **_PAST_THE_FAST_PATH}),
    "32 callers, fast path": (32, _RAW),
    "32 callers, usual path": (32, {**_RAW, **_PAST_THE_FAST_PATH}),
}


class Node(NamedTuple):
    """A cluster of one node; ``headers`` are what its clients send."""

    process: Process
    url: str
    headers: dict[str, str]

    async def turn(self, session: aiohttp.ClientSession, case: str, seconds: float) -> float:
        """Microseconds of its processor per request."""
        callers, headers = CASES[case]
        url, sent = self.url + _PATH, {**headers, **self.headers}
        loop = asyncio.get_running_loop()
        before, end = usage([self.process.pid]).cpu_s, loop.time() + seconds

        async def call() -> int:
            count = 0
            while loop.time() < end:
                async with session.post(url, data=VALUE, headers=sent) as answer:
                    text = await answer.read()
                    assert answer.status == 200, text[:300]
                count += 1
            return count

        count = sum(await asyncio.gather(*(call() for _ in range(callers))))
        return (usage([self.process.pid]).cpu_s - before) / count * 1e6


@contextlib.asynccontextmanager
async def started(session: aiohttp.ClientSession, port: int, *, asks: bool) -> AsyncIterator[Node]:
    """A node with a topic ``t``; data in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="floodmark-bench-") as folder:
        secret = _secret(Path(folder, "secret"))
        peer = f"127.0.0.1:{port + 1}"
        settings = ["--set", "http.authentication=required"] if asks else []
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "start", "--node-id", "n1", "--data-dir", f"{folder}/data"),
            *("--http", f"127.0.0.1:{port}", "--peer", peer, "--peers", f"n1={peer}"),
            *("--secret-file", str(secret), "--log-level", "warning", *settings),
            cwd=ROOT,
            env={**os.environ},
            stderr=DEVNULL,
        )
        try:
            headers = {}
            if asks:
                token = await asyncio.to_thread(_token, Path(folder, "data", "admin-token"))
                headers = {"Authorization": f"Bearer {token}"}
            node = Node(process, f"http://127.0.0.1:{port}", headers)
            await asyncio.wait_for(_make_topic(session, node), _READY_S)
            yield node
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await process.wait()


def _secret(file: Path) -> Path:
    file.write_text("a secret of the benchmark, 32 bytes")
    file.chmod(0o600)
    return file


def _token(file: Path) -> str:
    """The first administrator's, once it is there."""
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        if file.exists() and (text := file.read_text().strip()):
            return text
        time.sleep(0.1)
    raise TimeoutError(f"no {file}")


async def _make_topic(session: aiohttp.ClientSession, node: Node) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.put(f"{node.url}/v1/topics/t", headers=node.headers) as answer:
                if answer.status in (200, 201):
                    return
        await asyncio.sleep(0.1)


async def run(turns: int, seconds: float, port: int) -> list[Verdict]:
    """All cases."""
    print(measure())
    verdicts = []
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        nodes = [
            await stack.enter_async_context(started(session, port + 10 * number, asks=number == 1))
            for number in range(3)
        ]
        print(HEAD)
        for case in CASES:
            for node in nodes:
                await node.turn(session, case, 0.7)
            taken: list[list[float]] = [[] for _ in nodes]
            for number in range(turns):
                order = [(number + place) % len(nodes) for place in range(len(nodes))]
                for side in order if number // len(nodes) % 2 else reversed(order):
                    taken[side].append(await nodes[side].turn(session, case, seconds))
            verdicts.append(Verdict.of(case, *taken))
            print(verdicts[-1].line(), flush=True)
    return verdicts


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.authentication", description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--first-port", type=int, default=27_300)
    given = parser.parse_args()
    verdicts = uvloop.run(run(given.turns, given.seconds, given.first_port))
    worse = [verdict.name for verdict in verdicts if verdict.is_worse]
    print(
        f"{len(worse)} of {len(verdicts)} above 5 percent: {', '.join(worse)}"
        if worse
        else "within 5 percent"
    )


if __name__ == "__main__":
    main()
