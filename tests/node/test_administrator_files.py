"""The first administrator, and one that is reset on a node's disk: whatever crashes in between."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from node.administrator_files import RESET_FILE, TOKEN_FILE, AdministratorFiles
from node.metadata.domains.users import BootstrapAdministrator
from node.metadata.group import Metadata
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import Applied
from tests.node.test_users import PASSWORD, administrator, call
from tests.support.nodes import NodeCluster, TestNode

CLUSTER = {"principal": "ann", "kind": "cluster", "name": "", "pattern": "literal", "allow": True}
REQUIRED = {"http.authentication": "required"}


def _files(cluster: NodeCluster, name: str = TOKEN_FILE) -> dict[str, str]:
    """What stands in such files, by node."""
    paths = {node.node_id: node.data_dir / name for node in cluster.nodes.values()}
    return {node: path.read_text().strip() for node, path in paths.items() if path.exists()}


async def _is_administrator(cluster: NodeCluster, token: str, *, at: TestNode | None = None) -> bool:
    for node in [at] if at is not None else cluster.up:
        status, me = await call(cluster, node, "GET", "/v1/me", token=token)
        if (status, status == 200 and me["administrator"]) != (200, True):
            return False
    return True


async def _command(*args: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, floodmark, list(args), prog_name="floodmark")


def _shown(done: Result) -> str:
    """The token; the nodes of this process log to the same stdout."""
    (token,) = re.findall(r"^fmk_[\w-]+$", done.stdout, re.MULTILINE)
    return str(token)


async def test_a_cluster_gets_one_administrator_whose_token_stands_in_one_file(tmp_path: Path) -> None:
    """Of mode 0600; at the node that led. It stays the same through restarts, and goes once it is useless."""
    async with NodeCluster.running(tmp_path, **REQUIRED) as cluster:
        token = await administrator(cluster)
        ((name, _),) = _files(cluster).items()
        path = cluster[name].data_dir / TOKEN_FILE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await _is_administrator(cluster, token)
        for node in cluster.nodes.values():
            await node.stop()
            node.start()
            await cluster.ready()
        assert await administrator(cluster) == token
        assert await _is_administrator(cluster, token)
        _, other = await call(cluster, cluster["n1"], "POST", "/v1/users/admin/tokens", token=token)
        revoked = f"/v1/users/admin/tokens/{token[4:16]}"
        assert (await call(cluster, cluster["n2"], "DELETE", revoked, token=other["token"]))[0] == 204
        await cluster[name].stop()
        cluster[name].start()
        await cluster.ready()
        await cluster.until(lambda: not _files(cluster), "the file of a token that is revoked is removed")
        assert await _is_administrator(cluster, other["token"])


async def test_nobody_is_made_administrator_where_nobody_is_asked(tmp_path: Path) -> None:
    """Nor below the level at which there are users; then as soon as the cluster is raised to it."""
    async with NodeCluster.running(tmp_path / "off", 1) as cluster:
        await cluster["n1"].broker.catch_up(timeout_s=10)
        assert cluster["n1"].running.metadata.state.administrators == ()
    async with NodeCluster.running(tmp_path / "level", 1, formed_at=MEMBERSHIP, **REQUIRED) as cluster:
        node = cluster["n1"]
        assert _files(cluster) == {}
        await node.broker.cluster.raise_level(4, timeout_s=10)
        assert await _is_administrator(cluster, await administrator(cluster))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_between_file_and_proposal_locks_nobody_out(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token in the file is proposed again, or was taken: it is an administrator's."""
    crashed: list[str] = []
    propose = Metadata.propose

    async def crash(self: Metadata, command: Any, *, timeout_s: float) -> Applied:
        if not isinstance(command, BootstrapAdministrator) or crashed:
            return await propose(self, command, timeout_s=timeout_s)
        crashed.append(command.token.token_id)
        if moment == "after":
            await propose(self, command, timeout_s=timeout_s)
        await asyncio.Event().wait()  # as a process that ends here
        raise AssertionError

    monkeypatch.setattr(Metadata, "propose", crash)
    async with NodeCluster.running(tmp_path, 1, **REQUIRED) as cluster:
        node = cluster["n1"]
        await cluster.until(lambda: crashed, "it is proposed")
        assert _files(cluster)["n1"][4:16] == crashed[0]
        await node.stop()
        node.start()
        await cluster.ready()
        token = await administrator(cluster)
        assert token[4:16] == crashed[0]
        assert await _is_administrator(cluster, token)


async def test_of_two_leaders_the_one_that_loses_removes_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has written its file; one is the administrator's token, and the other was never one."""
    written = AdministratorFiles._written

    async def both(self: AdministratorFiles) -> None:
        await self._metadata.wait_current()
        written(self)
        await bootstrap(self)

    bootstrap = AdministratorFiles.bootstrap
    monkeypatch.setattr(AdministratorFiles, "bootstrap", both)
    async with NodeCluster.running(tmp_path, **REQUIRED) as cluster:
        token = await administrator(cluster)
        assert await _is_administrator(cluster, token)


async def test_a_lost_administrator_is_reset_on_the_disk_of_one_node(tmp_path: Path) -> None:
    """Offline; the earlier credentials are of no use then, and other users keep theirs."""
    async with NodeCluster.running(tmp_path, **REQUIRED) as cluster:
        first = await administrator(cluster)
        node = cluster["n2"]
        await call(cluster, node, "PUT", "/v1/users/admin/password", {"password": PASSWORD}, token=first)
        await call(cluster, node, "POST", "/v1/users", {"user": "ann"}, token=first)
        _, ann = await call(cluster, node, "POST", "/v1/users/ann/tokens", token=first)
        folder = str(node.data_dir)
        refused = await _command("recover", "administrator", folder)
        assert refused.exit_code != 0
        assert "in use" in refused.stderr
        await node.stop()
        assert (await _command("recover", "administrator", folder, "--user", "a b")).exit_code == 4
        assert (await _command("recover", "administrator", str(tmp_path))).exit_code == 4
        done = await _command("recover", "administrator", folder)
        assert done.exit_code == 0, done.output
        token = _shown(done)
        path = node.data_dir / RESET_FILE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert token[17:] not in path.read_text()
        assert (await call(cluster, cluster["n1"], "GET", "/v1/me", token=token))[0] == 401
        node.start()
        await cluster.ready()
        await cluster.until(lambda: not path.exists(), "it is done")
        assert await _is_administrator(cluster, token)
        assert (await call(cluster, node, "GET", "/v1/me", token=first))[0] == 401
        login = {"user": "admin", "password": PASSWORD}
        assert (await call(cluster, node, "POST", "/v1/login", login))[0] == 401
        assert (await call(cluster, node, "GET", "/v1/me", token=ann["token"]))[1]["principal"] == "ann"

        # Again, for somebody who was no user; an answer that was lost changes nothing.
        await node.stop()
        done = await _command("recover", "administrator", folder, "--user", "eve", "-o", "name")
        token = _shown(done)
        content = path.read_bytes()
        node.start()
        await cluster.ready()
        await cluster.until(lambda: not path.exists(), "it is done")
        await node.stop()
        path.write_bytes(content)
        node.start()
        await cluster.ready()
        await cluster.until(lambda: not path.exists(), "it is done once more")
        assert await _is_administrator(cluster, token)


async def test_only_an_administrator_gives_what_gives_everything(tmp_path: Path) -> None:
    """Who may change the cluster may not take an administrator's place by that."""
    async with NodeCluster.running(tmp_path, 1, **REQUIRED) as cluster:
        root = await administrator(cluster)
        node = cluster["n1"]
        await call(cluster, node, "POST", "/v1/users", {"user": "ann"}, token=root)
        _, made = await call(cluster, node, "POST", "/v1/users/ann/tokens", token=root)
        for operation in ("alter", "describe"):
            entry = {**CLUSTER, "operation": operation}
            status, problem = await call(cluster, node, "POST", "/v1/acls", {"acls": [entry]}, token=root)
            assert status < 300, problem
        asks: list[tuple[str, str, Any]] = [
            ("POST", "/v1/users", {"user": "bob", "administrator": True}),
            ("PATCH", "/v1/users/ann", {"administrator": True}),
            ("PUT", "/v1/users/admin/password", {"password": PASSWORD}),
            ("POST", "/v1/users/admin/tokens", None),
            ("DELETE", f"/v1/users/admin/tokens/{root[4:16]}", None),
            ("DELETE", "/v1/users/admin", None),
        ]
        for method, path, body in asks:
            status, problem = await call(cluster, node, method, path, body, token=made["token"])
            assert (status, problem["code"]) == (403, "forbidden"), path
        status, _ = await call(cluster, node, "POST", "/v1/users", {"user": "bob"}, token=made["token"])
        assert status == 201
