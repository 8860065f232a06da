"""The client says who it is, on every way to a node, and finds out when its token is another one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from floodmark import Client, sync
from floodmark.errors import InvalidRequest, LeaderNotAvailable, Unauthorized
from floodmark.transport.nodes import Nodes

from node.http.context import CONTEXT
from node.security.freshness import UNHEARD_S
from tests.node.test_users import administrator, call
from tests.support.nodes import NodeCluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NodeCluster]:
    async with NodeCluster.running(tmp_path, **{"http.authentication": "required"}) as running:
        yield running


def _urls(cluster: NodeCluster) -> list[str]:
    return [node.url for node in cluster.up]


async def _new_token(cluster: NodeCluster, root: str, user: str = "ann") -> Any:
    await call(cluster, cluster["n1"], "POST", "/v1/users", {"user": user, "administrator": True}, token=root)
    status, made = await call(cluster, cluster["n2"], "POST", f"/v1/users/{user}/tokens", token=root)
    assert status == 201, made
    return made


async def _revoke(cluster: NodeCluster, root: str, made: Any) -> None:
    path = f"/v1/users/{made['user']}/tokens/{made['id']}"
    assert (await call(cluster, cluster["n3"], "DELETE", path, token=root))[0] == 204


def _private(path: Path, text: str) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    return path


async def _use(client: Client, topic: str) -> None:
    """All that a client does: administration, small and large records, reads of both forms."""
    await client.topics.ensure(topic, partitions=2)
    for number in range(3):
        await client.produce(topic, {"n": number})
    async with client.producer(topic) as producer:
        for _ in range(50):
            await producer.send(b"x" * 10_000)
    found = [record async for record in client.read(topic)]
    assert len(found) == 53
    assert sum([(await client.tail(topic, number)).high_watermark for number in range(2)]) == 53
    assert len(await client.nodes()) == 3


async def test_everything_that_a_client_does_says_who_it_is(cluster: NodeCluster, tmp_path: Path) -> None:
    """Whatever the token comes from; without one, and with a wrong one, nothing is done."""
    token = await administrator(cluster)

    async def later() -> str:
        await asyncio.sleep(0)
        return token

    sources: list[Any] = [token, _private(tmp_path / "token", token + "\n"), lambda: token, later]
    for number, source in enumerate(sources):
        async with Client(_urls(cluster), token=source) as client:
            await _use(client, f"t{number}")
    for wrong in (None, "fmk_wrong"):
        async with Client(_urls(cluster), token=wrong) as client:
            for work in (client.nodes(), client.produce("t0", 1), client.topics.create("t9")):
                with pytest.raises(Unauthorized):
                    await work

    def blocking() -> int:
        with sync.Client(_urls(cluster), token=tmp_path / "token") as client:
            client.produce("t0", 1)
            return len(list(client.read("t0")))

    assert await asyncio.to_thread(blocking) == 54


async def test_a_token_that_is_replaced_is_read_again(cluster: NodeCluster, tmp_path: Path) -> None:
    """Once for all that had the earlier one, and nobody notices; a client with the text of it cannot."""
    root = await administrator(cluster)
    first = await _new_token(cluster, root)
    path = _private(tmp_path / "token", first["token"])
    asked = 0

    def read() -> str:
        nonlocal asked
        asked += 1
        return path.read_text()

    async with (
        Client(_urls(cluster), token=path) as client,
        Client(_urls(cluster), token=read) as other,
        Client(_urls(cluster), token=first["token"]) as fixed,
    ):
        await _use(client, "t")
        await _use(other, "u")
        await fixed.nodes()
        second = await _new_token(cluster, root)
        _private(path, second["token"])
        await _revoke(cluster, root, first)
        assert asked == 1
        for _ in range(2):
            await client.produce("t", 1)
            await asyncio.gather(*(other.tail("u", n % 2) for n in range(20)))
            assert asked == 2
        with pytest.raises(Unauthorized):
            await fixed.nodes()
        await _revoke(cluster, root, second)
        with pytest.raises(Unauthorized):
            await client.nodes()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
async def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Before anything is sent; it says what to do."""
    path = _private(tmp_path / "token", "fmk_x")
    await asyncio.to_thread(path.chmod, mode)
    async with Client("http://127.0.0.1:1", token=path) as client:
        with pytest.raises(InvalidRequest, match=f"chmod 600 {path}"):
            await client.nodes()


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Other: 1", "ü", "a\0"])
async def test_what_is_no_token_never_gets_into_a_head(token: str) -> None:
    async def work() -> None:
        async with Client("http://127.0.0.1:1", token=lambda: token) as client:
            await client.nodes()

    with pytest.raises(InvalidRequest, match="this is not a token"):
        await work()
    with pytest.raises(InvalidRequest, match="this is not a token"):
        Client("http://127.0.0.1:1", token=token)


async def test_a_missing_token_file_is_said(tmp_path: Path) -> None:
    async with Client("http://127.0.0.1:1", token=tmp_path / "none") as client:
        with pytest.raises(InvalidRequest, match="cannot be read"):
            await client.nodes()


async def test_a_node_that_cannot_tell_who_it_is_is_left_for_another(cluster: NodeCluster) -> None:
    """At once, and for what it leads as well: the other one passes it on."""
    token = await administrator(cluster)
    async with Client(_urls(cluster), token=token) as client:
        await client.topics.create("t", partitions=1, replication_factor=3)
        await client.produce("t", 1)
        leader = await cluster.leader("t")
        authenticator: Any = leader.running.app[CONTEXT].service.authenticator
        now = authenticator.freshness.clock

        async def fails(_timeout_s: float) -> None:
            raise LeaderNotAvailable("cut off")

        authenticator.freshness._confirm = fails
        authenticator.freshness.clock = lambda: now() + UNHEARD_S
        answer = await call(cluster, leader, "GET", "/v1/topics", token=token)
        assert (answer[0], answer[1]["cause"]) == (503, "credentials_unconfirmed")
        for _ in range(5):
            await client.produce("t", 1)
        assert len([record async for record in client.read("t")]) == 6


def test_a_leader_without_tls_is_not_learned_from_a_node_with_it() -> None:
    """A token would travel in plain text."""
    nodes = Nodes(["https://n1:7070"])
    nodes.answered("https://n1:7070", "t/0", "http://n2:7070")
    assert nodes.pick("t/0") == "https://n1:7070"
    nodes.answered("https://n1:7070", "t/0", "https://n2:7070/")
    assert nodes.pick("t/0") == "https://n2:7070"
