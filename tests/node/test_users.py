"""Users, tokens and log-ins on whole nodes that ask who somebody is: the same at every node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from node.administrator_files import TOKEN_FILE
from node.http.context import CONTEXT
from node.metadata.levels import MEMBERSHIP
from node.security import freshness
from node.security.passwords import AT_ONCE
from tests.support.nodes import NodeCluster, TestNode

PASSWORD = "correct horse battery"


async def call(
    cluster: NodeCluster, node: TestNode, method: str, path: str, body: Any = None, *, token: str = ""
) -> tuple[int, Any]:
    """Status and document."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = node.url + path
    async with cluster.session.request(method, url, json=body, headers=headers) as answer:
        text = await answer.text()
        return answer.status, await answer.json(content_type=None) if text else None


async def administrator(cluster: NodeCluster) -> str:
    """The token of the first administrator, which is in one node's file."""
    files = [node.data_dir / TOKEN_FILE for node in cluster.nodes.values()]

    def made() -> bool:
        known = [node.running.metadata.state.administrators for node in cluster.up]
        return all(each == ("admin",) for each in known) and sum(file.exists() for file in files) == 1

    await cluster.until(made, "all know the first administrator, and one node has its token")
    return next(file for file in files if file.exists()).read_text().strip()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time until a majority has confirmed what is known."""
    monkeypatch.setattr(freshness, "WITHIN_S", 15.0)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NodeCluster]:
    async with NodeCluster.running(tmp_path, **{"http.authentication": "required"}) as running:
        yield running


async def test_a_user_is_made_logs_in_and_manages_its_own_tokens(cluster: NodeCluster) -> None:
    """Each step at another node than the one before: no node says what another one does not."""
    root = await administrator(cluster)
    turn = 0

    async def ask(method: str, path: str, body: Any = None, *, token: str = root) -> tuple[int, Any]:
        nonlocal turn
        turn += 1
        return await call(cluster, cluster[f"n{turn % 3 + 1}"], method, path, body, token=token)

    status, made = await ask("POST", "/v1/users", {"user": "ann", "password": PASSWORD})
    assert (status, made["user"], made["administrator"], made["has_password"]) == (201, "ann", False, True)
    assert (await ask("POST", "/v1/users", {"user": "ann"}))[0] == 409
    assert (await ask("POST", "/v1/users", {"user": "a b"}))[0] == 400
    status, shown = await ask("GET", "/v1/users")
    assert [user["user"] for user in shown["users"]] == ["admin", "ann"]
    assert shown["next"] is None
    status, page = await ask("GET", "/v1/users?limit=1")
    assert ([user["user"] for user in page["users"]], page["next"]) == (["admin"], "admin")
    status, page = await ask("GET", "/v1/users?after=admin")
    assert [user["user"] for user in page["users"]] == ["ann"]

    login = {"user": "ann", "password": PASSWORD}
    status, made = await ask("POST", "/v1/login", login, token="")
    assert (status, made["kind"], made["user"]) == (201, "login", "ann")
    assert made["expires_ms"] - made["created_ms"] == 12 * 3_600_000
    ann = made["token"]
    for _ in range(3):
        status, me = await ask("GET", "/v1/me", token=ann)
        assert me == {
            "principal": "ann",
            "credential": f"token {made['id']}",
            "administrator": False,
            "authentication": "required",
        }
    wrong = [{**login, "password": "a wrong password"}, {**login, "user": "bob"}, {**login, "user": "admin"}]
    answers = [await ask("POST", "/v1/login", body, token="") for body in wrong]
    assert {(status, answer["detail"]) for status, answer in answers} == {
        (401, "the user or the password is wrong")
    }

    tokens = [await ask("POST", "/v1/users/ann/tokens", {"lifetime_ms": 60_000}, token=ann) for _ in range(3)]
    assert [status for status, _ in tokens] == [201, 201, 409]
    assert f"revoke {tokens[0][1]['id']}" in tokens[2][1]["detail"]
    status, listed = await ask("GET", "/v1/users/ann/tokens", token=ann)
    assert [token["kind"] for token in listed["tokens"]] == ["login", "token", "token"]
    assert all("token" not in token for token in listed["tokens"])
    assert listed["tokens"][1]["last_characters"] == tokens[0][1]["token"][-4:]
    first = tokens[0][1]
    assert (await ask("GET", "/v1/me", token=first["token"]))[1]["credential"] == f"token {first['id']}"
    assert (await ask("DELETE", f"/v1/users/ann/tokens/{first['id']}", token=ann))[0] == 204
    assert (await ask("DELETE", f"/v1/users/ann/tokens/{first['id']}", token=ann))[0] == 404

    changed = {"password": "another long password"}
    assert (await ask("PUT", "/v1/users/ann/password", {"password": "short"}, token=ann))[0] == 400
    status, shown = await ask("PUT", "/v1/users/ann/password", changed, token=tokens[1][1]["token"])
    assert (status, shown["tokens"]) == (200, 1), "what the earlier password gave is gone"
    assert (await ask("POST", "/v1/login", login, token=""))[0] == 401
    assert (await ask("POST", "/v1/login", {**login, **changed}, token=""))[0] == 201

    assert (await ask("PATCH", "/v1/users/admin", {"administrator": False}))[0] == 409
    assert (await ask("DELETE", "/v1/users/admin"))[0] == 409
    assert (await ask("PATCH", "/v1/users/ann", {"administrator": True}))[1]["administrator"] is True
    assert (await ask("PATCH", "/v1/users/ann", {"administrator": False}))[1]["administrator"] is False
    assert (await ask("DELETE", "/v1/users/ann"))[0] == 204
    assert (await ask("GET", "/v1/users/ann"))[0] == 404


async def test_secrets_stand_in_no_log_no_file_and_no_list(cluster: NodeCluster, tmp_path: Path) -> None:
    """Neither passwords nor tokens; also not where something is refused."""
    with structlog.testing.capture_logs() as logged:
        root = await administrator(cluster)
        nodes = cluster.up
        await call(cluster, nodes[0], "POST", "/v1/users", {"user": "ann", "password": PASSWORD}, token=root)
        login = {"user": "ann", "password": PASSWORD}
        _, made = await call(cluster, nodes[1], "POST", "/v1/login", login)
        _, other = await call(cluster, nodes[2], "POST", "/v1/users/ann/tokens", token=made["token"])
        await call(cluster, nodes[0], "POST", "/v1/login", {**login, "password": PASSWORD + "x"})
        await call(cluster, nodes[0], "POST", "/v1/users", {"user": "ann", "password": PASSWORD}, token=root)
    secrets = [PASSWORD.encode(), *(text[17:].encode() for text in (root, made["token"]))]
    secrets.append(other["token"][17:].encode())
    for node in nodes:
        await node.stop()
    read = await asyncio.to_thread(_contents, tmp_path)
    assert sum(map(len, read)) > 10_000
    read = [content for content in read if content.strip() != root.encode()]  # its own file
    assert any(b"ann" in content for content in read), "what is looked at has the users"
    for secret in secrets:
        assert len(secret) > 20
        assert not any(secret in content for content in read)
        assert secret.decode() not in repr(logged)


def _contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_log_ins_are_few(cluster: NodeCluster) -> None:
    """Of one address, whoever is asked for; refused before anything is computed."""
    cluster["n1"].running.app[CONTEXT].service.passwords.by_address._clock = lambda: 0.0
    statuses = [
        (await call(cluster, cluster["n1"], "POST", "/v1/login", {"user": f"u{n}", "password": "x"}))[0]
        for n in range(14)
    ]
    assert statuses == [401] * AT_ONCE + [429] * 4


async def test_a_cluster_of_earlier_builds_says_what_it_lacks(tmp_path: Path) -> None:
    """At every node: 409, and how to go on."""
    async with NodeCluster.running(tmp_path, formed_at=MEMBERSHIP) as cluster:
        for node in cluster.up:
            for method, path, body in (
                ("POST", "/v1/users", {"user": "ann"}),
                ("POST", "/v1/users/ann/tokens", None),
                ("PATCH", "/v1/users/ann", {"administrator": True}),
                ("DELETE", "/v1/users/ann", None),
            ):
                status, problem = await call(cluster, node, method, path, body)
                assert (status, problem["code"], problem["needs"]) == (409, "feature_level_needed", 4)
            assert (await call(cluster, node, "GET", "/v1/users"))[1] == {"users": [], "next": None}
        assert (await call(cluster, cluster["n1"], "POST", "/v1/cluster/features", {"level": 4}))[0] == 200
        for node in cluster.up:
            status, _ = await call(cluster, node, "POST", "/v1/users", {"user": node.node_id})
            assert status == 201
