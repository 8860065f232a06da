"""Nodes are killed with SIGKILL in the middle of checkpoints and installs of a large state, again and again.

``python -m tests.process.large_state --megabytes 200 --seconds 600`` runs rounds until the time is over. A
round draws from its seed what is killed and when. After each, all replicas have the same state, and every
write that was acknowledged is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consensus.core.state_incoming import NAME as INCOMING
from tests.support.large_cluster import NAMES, LargeCluster, NodeEnded, large_cluster

KEYS_PER_WRITE = 500
VALUE_BYTES = 200
WRITING = "state.tmp"
KINDS = ("checkpoint", "checkpoint at the leader", "follower", "leader", "both")


@dataclass(slots=True)
class Ledger:
    """What was written by one writer: the newest acknowledged write of each range of keys."""

    keys: int
    sent: int = 0
    acknowledged: dict[int, int] = field(default_factory=dict)

    async def write(self, cluster: LargeCluster, leader: str, first: int, *, deadline_s: float = 20) -> bool:
        """One write of a range of keys; whether it was acknowledged."""
        self.sent += 1
        number = self.sent
        order = {"first": first, "count": KEYS_PER_WRITE, "number": number, "size": VALUE_BYTES}
        answer = await cluster.running[leader].ask("put", deadline_s=deadline_s, **order)
        if "stored" not in answer:
            return False
        self.acknowledged[first] = max(number, self.acknowledged.get(first, 0))
        return True

    async def fill(self, cluster: LargeCluster, *, every: int = 1) -> None:
        """Write all ranges, or each ``every``-th one, a few at a time."""
        leader = await cluster.leader()
        firsts = list(range(0, self.keys, KEYS_PER_WRITE * every))
        for at in range(0, len(firsts), 8):
            await asyncio.gather(*(self.write(cluster, leader, first) for first in firsts[at : at + 8]))

    async def check(self, cluster: LargeCluster, seed: int) -> None:
        """Every replica has the same state, with all that was acknowledged."""
        last = await cluster.level()
        found = {name: await node.ask("digest") for name, node in cluster.running.items()}
        # A new leader's entry may have come since, which changes no state.
        assert all(answer["applied"] >= last for answer in found.values()), f"seed {seed}: {found}"
        assert len({answer["digest"] for answer in found.values()}) == 1, f"seed {seed}: {found}"
        node = cluster.running[NAMES[0]]
        for first, number in self.acknowledged.items():
            answer = await node.ask("get", first=first, count=KEYS_PER_WRITE, size=VALUE_BYTES)
            assert len(set(answer["numbers"])) == 1, f"seed {seed}: half a write at {first}"
            assert answer["numbers"][0] >= number, f"seed {seed}: write {number} of {first} is lost"


class Rounds:
    """One cluster, one seed for each round."""

    def __init__(self, cluster: LargeCluster, ledger: Ledger) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self.killed: Counter[str] = Counter()
        """In the middle of what, how often."""

    async def run(self, kind: str, rng: random.Random) -> None:
        """Something of this kind is killed at a moment that ``rng`` chooses."""
        cluster = self._cluster
        writing = asyncio.create_task(self._writing(rng))
        try:
            if kind.startswith("checkpoint"):
                leader = await cluster.leader()
                others = [name for name in NAMES if name != leader]
                await self._checkpoint(leader if kind.endswith("leader") else rng.choice(others), rng)
            else:
                await self._install(kind, rng)
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing

    async def _writing(self, rng: random.Random) -> None:
        """Writes go on all the time, through whoever leads."""
        while True:
            await asyncio.sleep(0.05)
            first = rng.randrange(self._ledger.keys // KEYS_PER_WRITE) * KEYS_PER_WRITE
            try:
                leader = await self._cluster.leader()
                await self._ledger.write(self._cluster, leader, first, deadline_s=2)
            except (NodeEnded, KeyError, TimeoutError):
                continue

    async def _checkpoint(self, name: str, rng: random.Random) -> None:
        """Kill a node while it writes a file of its state."""
        cluster = self._cluster
        share = rng.random() * 1.02  # Sometimes just behind the end of it.
        size = (await cluster.status(name))["bytes"]
        order = asyncio.create_task(cluster.running[name].ask("checkpoint"))
        met = await self._reached(cluster.replica(name) / WRITING, int(share * size), order)
        await cluster.kill(name)
        with contextlib.suppress(NodeEnded):
            await order
        self.killed["checkpoint" if met else "checkpoint, late"] += 1
        await cluster.start(name)
        await cluster.level()
        left = sorted(path.name for path in cluster.replica(name).iterdir() if "state" in path.name)
        assert len(left) <= 1, f"{name} has {left}"
        assert WRITING not in left, f"{name} has {left}"

    async def _install(self, kind: str, rng: random.Random) -> None:
        """Bring a follower in from far behind, and kill it, its leader, or both meanwhile."""
        cluster = self._cluster
        leader = await cluster.leader()
        name = rng.choice([each for each in NAMES if each != leader])
        last = (await cluster.status(name))["last"]
        await cluster.kill(name)
        for other in list(cluster.running):
            while (await self._behind(other)) <= last:
                await self._ledger.fill(cluster, every=4)
                await cluster.running[other].ask("checkpoint")
                await cluster.running[other].ask("truncate_head")
        await cluster.start(name)
        size = max(path.stat().st_size for path in cluster.replica(leader).glob("*.state"))
        for victim in {"follower": [name], "leader": [leader], "both": [name, leader]}[kind]:
            caught_up = asyncio.create_task(self._caught_up(name))
            met = await self._reached(cluster.replica(name) / INCOMING, int(rng.random() * size), caught_up)
            caught_up.cancel()
            await cluster.kill(victim)
            self.killed[f"install, {kind}" if met else "install, late"] += 1
            await cluster.start(victim)
        await cluster.level()
        assert not (cluster.replica(name) / INCOMING).exists()

    async def _behind(self, name: str) -> int:
        return int((await self._cluster.status(name))["base"])

    async def _caught_up(self, name: str) -> None:
        goal = (await self._cluster.status(await self._cluster.leader()))["last"]
        while (await self._cluster.status(name))["applied"] < goal:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)

    async def _reached(self, path: Path, size: int, until: asyncio.Task[Any]) -> bool:
        """Whether the file came to this size before the task ended."""
        async with asyncio.timeout(120):
            while True:
                found = _size(path)
                if found is not None and found >= size:
                    return True
                if found is None and until.done():
                    return False
                await asyncio.sleep(0.0005)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


async def scenario(
    folder: Path, *, megabytes: int, seed: int, kinds: list[str] | None = None, seconds: float = 0.0
) -> Counter[str]:
    """The kinds given, or random ones until the time is over; what was killed in the middle of what."""
    end = time.monotonic() + seconds
    ledger = Ledger(max(1, megabytes * 1_000_000 // (VALUE_BYTES * KEYS_PER_WRITE)) * KEYS_PER_WRITE)
    small = megabytes < 50
    settings = {"segment_bytes": (1 if small else 64) << 18, "chunk_bytes": (1 if small else 16) << 14}
    async with large_cluster(folder, **settings) as cluster:
        await ledger.fill(cluster)
        rounds, done = Rounds(cluster, ledger), 0
        while done < len(kinds or ()) or (kinds is None and time.monotonic() < end):
            rng = random.Random(f"{seed} {done}")
            kind = kinds[done] if kinds else rng.choice(KINDS)
            began = time.monotonic()
            await rounds.run(kind, rng)
            await ledger.check(cluster, seed)
            done += 1
            print(f"round {done}: {kind}, {time.monotonic() - began:.1f} s, all equal", flush=True)  # noqa: T201
        return rounds.killed


def main() -> None:
    """Run rounds for a while, and say what they met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="size of the state (default 200)")
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no round after this long")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, help="only such rounds, in this order")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}: {arguments.megabytes} MB", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="floodmark-large-") as folder:
        killed = asyncio.run(
            scenario(
                Path(folder),
                megabytes=arguments.megabytes,
                seed=arguments.seed,
                kinds=arguments.kinds,
                seconds=arguments.seconds,
            )
        )
    for what, count in sorted(killed.items()):
        print(f"killed in the middle of {what}: {count}")  # noqa: T201


if __name__ == "__main__":
    main()
