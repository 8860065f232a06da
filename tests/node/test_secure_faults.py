"""Nothing acknowledged is lost in a cluster with TLS on all links and tokens, whose certificates end, and
whose tokens are revoked, in the middle of a run; and what is revoked stores nothing more."""

from __future__ import annotations

import asyncio
import random
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from node.security import credentials
from tests.node.test_peer_tls import CLUSTER, Files, all_hear_all, plain
from tests.node.test_users import administrator, call
from tests.support.certificates import authority
from tests.support.nodes import NodeCluster, TestNode

RECORDS = "/v1/topics/orders/partitions/0/records"


@pytest.fixture(autouse=True)
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at often."""
    monkeypatch.setattr(credentials, "LOOK_S", 0.05)


class Writer:
    """Produces one record after the other at nodes drawn at random; each value is another one."""

    def __init__(self, cluster: NodeCluster, name: str, token: str, rng: random.Random) -> None:
        self._cluster = cluster
        self._name = name
        self._rng = rng
        self.headers = {"Authorization": f"Bearer {token}"}
        self.acknowledged: list[str] = []
        self.refused = 0
        self._number = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            value = f"{self._name} {self._number}"
            self._number += 1
            up = [node for node in self._cluster.up if node.parts is not None and node.is_told_of]
            try:
                node = self._rng.choice(up)
                ask = self._cluster.session.post(
                    node.url + RECORDS, json={"value": value}, headers=self.headers
                )
                async with ask as answer:
                    if answer.status == 200:
                        self.acknowledged.append(value)
                    self.refused += answer.status == 401
                    assert answer.status in (200, 401, 429, 503, 504), await answer.text()
            except (aiohttp.ClientError, OSError, AssertionError) as error:
                if isinstance(error, AssertionError) and "does not run" not in str(error):
                    raise
            await asyncio.sleep(0.002)

    async def gets_through(self, count: int = 20) -> None:
        """Wait until more is acknowledged."""
        wanted = len(self.acknowledged) + count
        await self._cluster.until(
            lambda: len(self.acknowledged) >= wanted, f"{self._name} gets through", deadline_s=60
        )


async def _warned(cluster: NodeCluster, node: TestNode, words: str) -> None:
    await cluster.until(
        lambda: words in " ".join(node.broker.health().warnings), f"{node.node_id} warns: {words}"
    )


async def _token(cluster: NodeCluster, root: str, user: str) -> dict[str, Any]:
    assert (await call(cluster, cluster["n1"], "POST", "/v1/users", {"user": user}, token=root))[0] == 201
    entry = {"principal": user, "kind": "topic", "name": "orders", "operation": "write"}
    assert (await call(cluster, cluster["n1"], "POST", "/v1/acls", {"acls": [entry]}, token=root))[0] == 200
    status, made = await call(cluster, cluster["n1"], "POST", f"/v1/users/{user}/tokens", token=root)
    assert status == 201
    found: dict[str, Any] = made
    return found


async def _revoke(cluster: NodeCluster, node: TestNode, path: str, root: str) -> None:
    """Over a connection that stands, as soon as nobody uses it: new ones cannot be made."""
    async with asyncio.timeout(30):
        while True:
            try:
                status, _ = await call(cluster, node, "DELETE", path, token=root)
            except aiohttp.ClientConnectorCertificateError:
                await asyncio.sleep(0.002)
                continue
            assert status == 204
            return


async def _new_connections(cluster: NodeCluster, context: ssl.SSLContext) -> set[str]:
    """What becomes of a user's new connection, at any of the nodes."""
    found = set()
    for node in cluster.up:
        url = urlsplit(node.url)
        assert url.scheme == "https"
        try:
            _, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        except ssl.SSLCertVerificationError as error:
            found.add(error.verify_message)
        else:
            writer.close()
            found.add("")
    return found


async def test_certificates_end_and_tokens_are_revoked_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    """Users keep the connections that they have, and make new ones once certificates count again.

    Nodes restart meanwhile: without valid certificates they stay out, and come back with new ones.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    rng, by = random.Random(seed), authority(CLUSTER)
    files = Files(tmp_path / "files", by, "n1", "n2", "n3")
    flags = {**files.flags(), **files.http_flags(), "http.authentication": "required"}
    trusts = ssl.create_default_context(cafile=files.folder / "ca0.pem")
    async with NodeCluster.running(tmp_path, tls=trusts, **flags) as cluster:
        root = await administrator(cluster)
        assert (await call(cluster, cluster["n1"], "PUT", "/v1/topics/orders", token=root))[0] == 201
        tokens = {user: await _token(cluster, root, user) for user in ("ann", "bob")}
        ann, bob = (Writer(cluster, user, token["token"], rng) for user, token in tokens.items())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(writer.run()) for writer in (ann, bob)]
            await ann.gets_through()
            await bob.gets_through()
            for name in cluster.nodes:
                files.certify(name, by, lasts=timedelta(seconds=-1))
            for node in cluster.up:
                await _warned(cluster, node, f"http.tls.cert: {files.folder}/{node.node_id}.pem ended at ")
                await _warned(cluster, node, f"peer.tls.cert: {files.folder}/{node.node_id}.pem ended at ")
            assert await _new_connections(cluster, trusts) == {"certificate has expired"}
            away = rng.choice(list(cluster.nodes))
            other = next(name for name in cluster.nodes if name != away)
            await cluster[away].stop()
            cluster[away].start()
            await _warned(cluster, cluster[other], "certificate has expired")
            await ann.gets_through()
            revoked = f"/v1/users/bob/tokens/{tokens['bob']['id']}"
            await _revoke(cluster, cluster[other], revoked, root)
            await cluster.until(lambda: bob.refused > 20, "bob is refused")
            for name in cluster.nodes:
                files.certify(name, by)
            await cluster.ready()
            await cluster.until(lambda: all_hear_all(cluster), "all hear each other again")
            assert await _new_connections(cluster, trusts) == {""}
            stored_by_bob = len(bob.acknowledged)
            leader = await cluster.leader("orders")
            await leader.stop()
            await ann.gets_through()
            leader.start()
            await cluster.ready()
            await ann.gets_through()
            assert len(bob.acknowledged) == stored_by_bob, "what is revoked stores nothing more"
            for task in tasks:
                task.cancel()
        assert plain(cluster) == [0, 0, 0]
        stored = await _stored(cluster, root)
    assert len(ann.acknowledged) > 80
    for writer in (ann, bob):
        missing = set(writer.acknowledged) - set(stored)
        assert not missing, f"acknowledged and lost, seed {seed}: {sorted(missing)[:5]}"
        order = [value for value in stored if value in set(writer.acknowledged)]
        assert len(order) == len(set(order)), "what was acknowledged is there once"
        assert order == writer.acknowledged, "in the order in which it was sent"


async def _stored(cluster: NodeCluster, root: str) -> list[str]:
    found: list[str] = []
    position = "earliest"
    while True:
        status, page = await call(cluster, cluster["n1"], "GET", f"{RECORDS}?from={position}", token=root)
        assert status == 200, page
        if not page["records"]:
            return found
        found += [record["value"] for record in page["records"]]
        position = str(page["next_offset"])
