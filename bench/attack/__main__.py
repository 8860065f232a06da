"""Attacks a cluster beside honest clients: ``python -m bench.attack [PART OF A NAME] [--seconds N]``.

Each attack runs against three new nodes for some seconds, while one client per node produces, fetches and
asks for health. One line per attack shows the longest wait of such a client, the answers to its requests, the
memory of the largest node, and how often leaderships moved.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from bench.attack import honest, nodes, secured
from bench.attack.attack import TOPIC, Attack, Target
from bench.attack.registry import attacks
from bench.machine import measure
from local.cluster import LocalCluster

_SECONDS = 6.0
_ANSWER_S = 30.0
_HEAD = (
    f"{'attack':46} {'honest: worst':>13} {'good':>6} {'bad':>4}   {'MiB before, peak, after':>23}"
    f" {'leader changes':>15}   the attacker got"
)


async def run(attack: Attack, seconds: float, *, is_secure: bool = False) -> str:
    """One attack on a new cluster; its line of the table. ``is_secure``: see ``secured.py``."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = LocalCluster(Path(folder), secure=is_secure)
        try:
            await cluster.start()
            await cluster.ready()
            attacker = user = ""
            if is_secure:
                await cluster.take_token()
                attacker, user = await secured.users(cluster.nodes["n1"].url, cluster.access)
            return await _attacked(cluster, attack, seconds, *map(secured.bearer, (attacker, user)))
        finally:
            await cluster.stop()
            cluster.close()


async def _attacked(
    cluster: LocalCluster,
    attack: Attack,
    seconds: float,
    attacker: Mapping[str, str],
    user: Mapping[str, str],
) -> str:
    """``attacker``, ``user``: the headers that say who asks."""
    urls = [node.url for node in cluster.nodes.values()]
    pids = [child.process.pid for child in cluster.children.values()]
    timeout, tls = aiohttp.ClientTimeout(total=_ANSWER_S), cluster.access.tls
    connector = aiohttp.TCPConnector(limit=0, ssl=tls or True)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector, headers=attacker) as session,
        cluster.access.session(timeout_s=_ANSWER_S) as operator,
    ):
        for topic in (TOPIC, honest.TOPIC):
            async with operator.put(f"{urls[0]}/v1/topics/{topic}", json={"partitions": 3}) as made:
                assert made.status in (200, 201), await made.text()
        peers = {node.name: ("127.0.0.1", node.peer_port) for node in cluster.nodes.values()}
        secret = (cluster.folder / "secret").read_bytes().strip()
        target = Target(session, urls, time.monotonic(), Counter(), peers, secret, tls, attacker)
        if attack.prepare is not None:
            await attack.prepare(target)
        before = await nodes.leader_changes(operator, urls)
        async with nodes.watched(pids) as memory, honest.clients(urls, user, cluster.access.ca) as seen:
            target = target._replace(until=time.monotonic() + seconds)
            await attack.run(target)
        changes = await nodes.leader_changes(operator, urls) - before
    bad = sum(seen.bad.values())
    return (
        f"{attack.name:46} {seen.worst_s * 1e3:10.0f} ms {seen.good:6} {bad:4}   "
        f"{memory.before:7.0f} {memory.peak:7.0f} {memory.after:7.0f} {changes:15}   {_told(target.answers)}"
        + (f"   (honest: {_told(seen.bad)})" if bad else "")
    )


def _told(answers: Counter[str]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in answers.most_common()) or "nothing"


def main() -> int:
    """All attacks, or those with the given words in their names."""
    parser = argparse.ArgumentParser(prog="python -m bench.attack", description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", default="", help="only attacks with this in their name")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="duration of each attack")
    parser.add_argument(
        "--secure", action="store_true", help="TLS on all links; the attacker and the honest are users"
    )
    options = parser.parse_args()
    print(measure())
    print(_HEAD)
    for attack in attacks():
        if options.part in attack.name or attack.name == "none":
            print(asyncio.run(run(attack, options.seconds, is_secure=options.secure)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
