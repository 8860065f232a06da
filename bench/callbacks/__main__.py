"""The costliest callback of each kind of request: ``python -m bench.callbacks [PART OF A NAME]``.

Three nodes that measure callbacks (``testing.slow_callback_ms``) get hostile requests, and requests of the
largest allowed size, one after the other. For each, the event loop callback that used the most processor
time on any node is shown. None should use more than 50 ms, because Raft's heartbeats wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from bench.callbacks import reads, writes
from bench.callbacks.case import Case, Nodes
from bench.machine import measure
from local.cluster import LocalCluster

GOAL_MS = 50.0
_SHOWN_FROM_MS = 5
_REPORTED_WITHIN_S = 1.2
_ANSWER_S = 60.0
_TOPIC = "callbacks"


class Worst(NamedTuple):
    """The costliest callback of all nodes within some time."""

    cpu_ms: float
    wall_ms: float
    node: str
    callback: str


class Logs:
    """The nodes' log lines about callbacks since the last call."""

    def __init__(self, logs: dict[str, Path]) -> None:
        self._logs = logs
        self._read = dict.fromkeys(logs, 0)

    def worst(self) -> Worst:
        """Of all nodes."""
        found = [Worst(0.0, 0.0, "", f"none above {_SHOWN_FROM_MS} ms")]
        for node, path in self._logs.items():
            with path.open("rb") as log:
                log.seek(self._read[node])
                lines = log.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read[node] += len(line)
                    found += _slow(node, line)
        return max(found)


def _slow(node: str, line: bytes) -> list[Worst]:
    try:
        event: Any = json.loads(line)
    except ValueError:
        return []
    if not isinstance(event, dict) or event.get("event") != "slow_callback":
        return []
    return [Worst(event["cpu_ms"], event["wall_ms"], node, event["callback"])]


@contextlib.asynccontextmanager
async def measured_cluster() -> AsyncIterator[tuple[LocalCluster, Logs]]:
    """Three nodes that measure, and what they say."""
    os.environ["FLOODMARK_TESTING_SLOW_CALLBACK_MS"] = str(_SHOWN_FROM_MS)
    os.environ["FLOODMARK_LOG_FORMAT"] = "json"
    with tempfile.TemporaryDirectory() as folder:
        cluster = LocalCluster(Path(folder))
        try:
            await cluster.start()
            await cluster.ready()
            yield cluster, Logs({name: node.log for name, node in cluster.nodes.items()})
        finally:
            await cluster.stop()
            cluster.close()


async def whom_to_ask(session: aiohttp.ClientSession, cluster: LocalCluster) -> Nodes:
    """The topic that is written to, and where it is led now."""
    base = cluster.nodes["n1"].url
    async with session.put(f"{base}/v1/topics/{_TOPIC}", json={"partitions": 3}) as made:
        assert made.status in (200, 201), await made.text()
    async with session.get(f"{base}/v1/topics/{_TOPIC}") as answer:
        leader = (await answer.json())["partitions"][0]["leader"]
    other = next(name for name in cluster.nodes if name != leader)
    return Nodes(session, _TOPIC, cluster.nodes[leader].url, cluster.nodes[other].url)


async def run(part: str) -> float:
    """Run the cases whose names contain ``part``, print a line for each; returns the worst in
    milliseconds."""
    worst_ms = 0.0
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with measured_cluster() as (cluster, logs), aiohttp.ClientSession(timeout=timeout) as session:
        for case in itertools.chain(writes.cases(), reads.cases()):
            if part in case.name or (case.name.startswith("(") and not part):
                nodes = await whom_to_ask(session, cluster)
                await asyncio.sleep(_REPORTED_WITHIN_S)
                logs.worst()
                answered = await _answered(case, nodes)
                await asyncio.sleep(_REPORTED_WITHIN_S)
                worst = logs.worst()
                worst_ms = max(worst_ms, worst.cpu_ms)
                mark = "!" if worst.cpu_ms > GOAL_MS else " "
                print(f"{mark} {worst.cpu_ms:7.1f} ms  {case.name}: {answered}", flush=True)
                if worst.node:
                    print(f"    {worst.node}, {worst.wall_ms:.1f} ms by the clock: {worst.callback}")
    return worst_ms


async def _answered(case: Case, nodes: Nodes) -> str:
    try:
        return await case.run(nodes)
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__


def main() -> int:
    """1 when a callback used more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.callbacks", description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", default="", help="only cases with this in their name")
    part = parser.parse_args().part
    print(measure())
    worst_ms = asyncio.run(run(part))
    print(f"the costliest callback used {worst_ms:.1f} ms of processor; the goal is {GOAL_MS:.0f} ms")
    return int(worst_ms > GOAL_MS)


if __name__ == "__main__":
    sys.exit(main())
