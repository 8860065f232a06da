"""The audit on whole nodes: each refusal and each change is in the topic, once, and no secret is."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from node.http.context import CONTEXT
from node.recovery_file import RECOVERED_FILE
from node.security.audit_topic import TOPIC
from node.security.tokens import new_token
from tests.node.test_recovery import recover, stop
from tests.node.test_users import PASSWORD, _contents, administrator
from tests.support.nodes import NodeCluster, TestNode

NOT_CHANGES = {
    ("POST", "/v1/topics/{topic}/partitions/{partition}/records"),
    ("POST", "/v1/topics/{topic}/records"),
    ("POST", "/v1/topics/{topic}/partitions/{partition}/positions/{group}"),
    ("PUT", "/v1/topics/{topic}/partitions/{partition}/positions/{group}"),
    ("POST", "/v1/producers"),
    ("POST", "/v1/groups/{group}/records"),
    ("POST", "/v1/groups/{group}/offsets"),
    ("POST", "/v1/groups/{group}/members"),
    ("POST", "/v1/groups/{group}/members/{member}"),
    ("DELETE", "/v1/groups/{group}/members/{member}"),
    ("POST", "/v1/queues/{queue}/receive"),
    ("POST", "/v1/queues/{queue}/ack"),
    ("POST", "/v1/queues/{queue}/nack"),
    ("POST", "/v1/queues/{queue}/extend"),
    ("POST", "/v1/queues/{queue}/reject"),
    ("POST", "/v1/queues/{queue}/settle"),
}
"""Data, numbers for it, and what readers say of how far they are."""
ENTRY = {
    "principal": "bob",
    "kind": "topic",
    "name": "t",
    "pattern": "literal",
    "operation": "read",
    "allow": True,
}
CHANGES: dict[tuple[str, str], tuple[str, Any, str]] = {
    ("PUT", "/v1/topics/{topic}"): ("/v1/topics/t", {"partitions": 1}, "create_topic"),
    ("PATCH", "/v1/topics/{topic}"): ("/v1/topics/t", {"config": {"retention_ms": 9000}}, "alter_topic"),
    ("POST", "/v1/reassignments"): (
        "/v1/reassignments",
        {"reassignments": [{"topic": "t", "partition": 0, "replicas": ["n1", "n2", "n3"]}]},
        "move_replicas",
    ),
    ("DELETE", "/v1/topics/{topic}/partitions/{partition}/positions/{group}"): (
        "/v1/topics/t/partitions/0/positions/g",
        None,
        "remove_positions",
    ),
    ("POST", "/v1/groups/{group}/offsets/reset"): (
        "/v1/groups/g/offsets/reset",
        {"to": "earliest", "topics": ["t"]},
        "reset_offsets",
    ),
    ("DELETE", "/v1/groups/{group}/offsets"): ("/v1/groups/g/offsets?topic=t", None, "delete_offsets"),
    ("DELETE", "/v1/groups/{group}"): ("/v1/groups/g", None, "delete_group"),
    ("PUT", "/v1/queues/{queue}"): ("/v1/queues/q", {"topic": "t"}, "put_queue"),
    ("POST", "/v1/queues/{queue}/dead/replay"): (
        "/v1/queues/q/dead/replay",
        {"all": True},
        "replay_dead_letters",
    ),
    ("POST", "/v1/queues/{queue}/dead/purge"): (
        "/v1/queues/q/dead/purge",
        {"all": True},
        "purge_dead_letters",
    ),
    ("POST", "/v1/queues/{queue}/purge"): ("/v1/queues/q/purge", None, "purge_queue"),
    ("DELETE", "/v1/queues/{queue}"): ("/v1/queues/q", None, "delete_queue"),
    ("DELETE", "/v1/topics/{topic}"): ("/v1/topics/t", None, "delete_topic"),
    ("POST", "/v1/acls"): ("/v1/acls", {"acls": [ENTRY]}, "add_acls"),
    ("DELETE", "/v1/acls"): ("/v1/acls?principal=bob", None, "remove_acls"),
    ("PUT", "/v1/quotas/{principal}"): ("/v1/quotas/bob", {"requests_per_s": 100}, "set_quota"),
    ("DELETE", "/v1/quotas/{principal}"): ("/v1/quotas/bob", None, "remove_quota"),
    ("POST", "/v1/users"): ("/v1/users", {"user": "ann", "password": PASSWORD}, "create_user"),
    ("PATCH", "/v1/users/{user}"): ("/v1/users/ann", {"administrator": False}, "set_administrator"),
    ("PUT", "/v1/users/{user}/password"): (
        "/v1/users/ann/password",
        {"password": f"{PASSWORD} 2"},
        "set_password",
    ),
    ("POST", "/v1/login"): ("/v1/login", {"user": "ann", "password": f"{PASSWORD} 2"}, "login"),
    ("POST", "/v1/users/{user}/tokens"): ("/v1/users/ann/tokens", {}, "create_token"),
    ("DELETE", "/v1/users/{user}/tokens/{id}"): ("/v1/users/ann/tokens/nosuchtoken1", None, "revoke_token"),
    ("DELETE", "/v1/users/{user}"): ("/v1/users/ann", None, "delete_user"),
    ("POST", "/v1/cluster/features"): ("/v1/cluster/features", {"level": 4}, "raise_level"),
    ("DELETE", "/v1/nodes/{node}"): ("/v1/nodes/n9", None, "forget_node"),
    ("POST", "/v1/nodes/{node}/drain"): ("/v1/nodes/n9/drain", None, "drain_node"),
    ("DELETE", "/v1/nodes/{node}/drain"): ("/v1/nodes/n9/drain", None, "drain_node"),
    ("POST", "/v1/nodes/{node}/replacement"): ("/v1/nodes/n9/replacement", {"node_id": "n8"}, "replace_node"),
    ("POST", "/v1/cluster/rebalance"): ("/v1/cluster/rebalance", None, "rebalance"),
    ("DELETE", "/v1/cluster/rebalance"): ("/v1/cluster/rebalance", None, "rebalance"),
}
"""Each changing route -> a request that comes to a change, or is refused by what there is, and its action."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NodeCluster]:
    async with NodeCluster.running(tmp_path, **{"http.authentication": "required"}) as running:
        yield running


class Client:
    """Asks the nodes in turn, each request under a trace of its own."""

    def __init__(self, cluster: NodeCluster, token: str = "") -> None:
        self._cluster = cluster
        self.token = token
        self._turn = 0

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, str]:
        """Status, document, and the trace."""
        self._turn += 1
        return await self.ask_at(self._cluster[f"n{self._turn % 3 + 1}"], method, path, body, **headers)

    async def ask_at(
        self, node: TestNode, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, str]:
        """Likewise, of this node."""
        trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        headers = {"traceparent": trace, **headers}
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        async with self._cluster.session.request(
            method, node.url + path, json=body, headers=headers
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None, trace

    async def audited(self, traces: set[str], *, at: TestNode | None = None) -> list[dict[str, Any]]:
        """All events of the topic, once it has those of ``traces``."""
        async with asyncio.timeout(30):
            while True:
                path = f"/v1/topics/{TOPIC}/partitions/0/records?from=earliest&max_records=5000"
                status, page, _ = await (
                    self.ask("GET", path) if at is None else self.ask_at(at, "GET", path)
                )
                events = [record["value"] for record in page["records"]] if status == 200 else []
                if traces <= {event.get("trace") for event in events}:
                    return events
                await asyncio.sleep(0.05)


async def test_every_changing_route_is_in_the_topic_once(cluster: NodeCluster) -> None:
    """Whatever it comes to, whichever node is asked, by whom and from where. None is left out."""
    app = cluster["n1"].running.app
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method not in ("GET", "HEAD") and route.resource is not None
    }
    assert routes - NOT_CHANGES == set(CHANGES)
    root = Client(cluster, await administrator(cluster))
    asked: dict[str, tuple[str, int, Any]] = {}
    for (method, _), (path, body, action) in CHANGES.items():
        status, document, trace = await root.ask(method, path, body)
        assert status not in (400, 401, 403, 405, 500), (method, path, document)
        asked[trace] = (action, status, document)
    events = await root.audited(set(asked))
    for trace, (action, status, document) in asked.items():
        (event,) = [event for event in events if event.get("trace") == trace]
        assert event["action"] == action
        assert event["allowed"] is True
        assert event["outcome"] == ("done" if status < 300 else document["code"])
        assert event["address"] in ("127.0.0.1", "::1")
        assert event["principal"] == "admin"
        assert event["credential"].startswith("token ")
        assert event["protocol"] == "http"
        assert event["node"] in ("n1", "n2", "n3")
        if status >= 400:
            assert event["request_id"] == document["request_id"]
    numbers = [event["request_id"] for event in events]
    assert len(numbers) == len(set(numbers))


async def test_refusals_are_told_of_once_and_without_what_was_brought(cluster: NodeCluster) -> None:
    """No credential, wrong ones, and what the policy refuses: reads, writes on both paths, and changes."""
    root = Client(cluster, await administrator(cluster))
    await root.ask("PUT", "/v1/topics/t", {"partitions": 1})
    await root.ask("POST", "/v1/users", {"user": "ann"})
    _, made, _ = await root.ask("POST", "/v1/users/ann/tokens", {})
    ann, nobody = Client(cluster, made["token"]), Client(cluster)
    wrong = new_token().text
    expected: dict[str, tuple[str, str, str]] = {}

    async def refused(client: Client, want: tuple[str, str, str], *request: Any, **headers: str) -> None:
        for _ in range(3):  # Each node.
            status, document, trace = await client.ask(*request, **headers)
            assert status in (401, 403, 404), document
            expected[trace] = want

    await refused(nobody, ("anonymous", "authenticate", "unauthorized"), "GET", "/v1/topics")
    for given in (f"Bearer {wrong}", wrong, f"Basic {PASSWORD}"):
        bad = {"Authorization": given}
        await refused(nobody, ("anonymous", "authenticate", "unauthorized"), "GET", "/v1/topics", **bad)
    records = "/v1/topics/t/partitions/0/records"
    await refused(ann, ("ann", "read", "unknown_topic"), "GET", records)
    await refused(ann, ("ann", "write", "unknown_topic"), "POST", records, {"value": 1})
    await refused(ann, ("ann", "alter", "forbidden"), "POST", "/v1/users", {"user": "eve"})
    await refused(ann, ("ann", "create", "forbidden"), "PUT", "/v1/topics/u", {})
    await refused(root, ("admin", "write", "forbidden"), "POST", f"/v1/topics/{TOPIC}/records", {"value": 1})
    login = {"user": "ann", "password": "a wrong password"}
    await refused(nobody, ("anonymous", "login", "unauthorized"), "POST", "/v1/login", login)
    node = cluster["n1"]
    plain = {"Authorization": f"Bearer {ann.token}"}
    for _ in range(3):  # The fast path takes such a request once it knows who that is.
        async with cluster.session.post(node.url + records, json={"value": 1}, headers=plain) as answer:
            assert answer.status == 404
    _, _, last = await root.ask("PUT", "/v1/topics/last", {})
    events = await root.audited(
        {trace for trace, want in expected.items() if want[1] != "authenticate"} | {last}
    )
    for trace, want in expected.items():
        told = [event for event in events if event.get("trace") == trace]
        if want[1] != "authenticate":
            assert [(event["principal"], event["action"], event["outcome"]) for event in told] == [want]
            assert told[0]["allowed"] is False
    strangers = [event for event in events if event["action"] == "authenticate"]
    assert len(strangers) == sum(want[1] == "authenticate" for want in expected.values())
    untraced = [event for event in events if event["action"] == "write" and "trace" not in event]
    assert len(untraced) == 3, "once each, though the fast path had asked before"
    text = json.dumps(events)
    for secret in (wrong[17:], root.token[17:], ann.token[17:], PASSWORD, login["password"]):
        assert secret not in text


async def test_only_administrators_see_the_topic_and_nobody_writes_it(cluster: NodeCluster) -> None:
    """It is not in anybody else's list, nor is it there for them at all."""
    root = Client(cluster, await administrator(cluster))
    await root.ask("POST", "/v1/users", {"user": "ann"})
    _, made, trace = await root.ask("POST", "/v1/users/ann/tokens", {})
    await root.audited({trace})
    ann = Client(cluster, made["token"])
    for path in (f"/v1/topics/{TOPIC}", f"/v1/topics/{TOPIC}/partitions/0/records"):
        status, document, _ = await ann.ask("GET", path)
        assert (status, document["code"]) == (404, "unknown_topic")
    _, listed, _ = await ann.ask("GET", "/v1/topics")
    assert listed["topics"] == []
    for method, body in (("PUT", {}), ("DELETE", None)):
        assert (await root.ask(method, f"/v1/topics/{TOPIC}", body))[0] == 403
    status, shown, _ = await root.ask("GET", f"/v1/topics/{TOPIC}")
    assert status == 200
    assert len(shown["partitions"]) == 1
    assert len(shown["partitions"][0]["replicas"]) == 3
    assert shown["config"]["retention_ms"] == 30 * 86_400_000


async def test_no_secret_that_was_used_is_written_anywhere(cluster: NodeCluster, tmp_path: Path) -> None:
    """Log channel, topic and every other file, with reads told of as well."""
    with structlog.testing.capture_logs() as logged:
        for node in cluster.up:
            node.running.app[CONTEXT].service.audit.reads = True
        root = Client(cluster, await administrator(cluster))
        await root.ask("POST", "/v1/users", {"user": "ann", "password": PASSWORD})
        status, made, _ = await Client(cluster).ask(
            "POST", "/v1/login", {"user": "ann", "password": PASSWORD}
        )
        assert status == 201
        await Client(cluster, made["token"]).ask("POST", "/v1/users/ann/tokens", {})
        stray = new_token().text
        await Client(cluster).ask("GET", "/v1/me", Authorization=stray)
        await Client(cluster, made["token"]).ask("GET", "/v1/topics/unknown")
        _, _, last = await root.ask("GET", f"/v1/topics/{TOPIC}")
        events = await root.audited({last})
        assert any(event["action"] == "describe" and event["allowed"] for event in events)
    assert any(entry["event"] == "audit" for entry in logged)
    for node in cluster.up:
        await node.stop()
    files = await asyncio.to_thread(_contents, tmp_path)
    files = [content for content in files if content.strip() != root.token.encode()]  # its own file
    assert any(b"authenticate" in content for content in files), "the topic is in what is looked at"
    for secret in (PASSWORD, root.token[17:], made["token"][17:], stray[17:]):
        assert not any(secret.encode() in content for content in files)
        assert secret not in repr(logged)


async def test_a_recovery_from_a_lost_majority_is_told_of_by_who_went_on(tmp_path: Path) -> None:
    """Once, though it was done on a disk while nothing ran; a start after that says nothing more."""
    async with NodeCluster.running(tmp_path, **{"http.authentication": "required"}) as cluster:
        client = Client(cluster, await administrator(cluster))
        n1, n2, n3 = cluster.nodes.values()
        _, _, trace = await client.ask("PUT", "/v1/quotas/ann", {"requests_per_s": 100})
        await client.audited({trace})

        def is_everywhere() -> bool:
            state = n1.running.metadata.state
            return len(state.topics[TOPIC].partitions[0].replicas) == 3 and not state.moves

        await cluster.until(is_everywhere, "each node has a replica of the audit's topic")
        await stop(n1, n2, n3)
        await recover(tmp_path, n1)
        assert (n1.data_dir / RECOVERED_FILE).exists()
        for _ in range(2):
            n1.start()
            await cluster.ready("n1")
            await cluster.until(lambda: not (n1.data_dir / RECOVERED_FILE).exists(), "it was told")
            _, _, trace = await client.ask_at(n1, "PUT", "/v1/quotas/bob", {"requests_per_s": 100})
            events = await client.audited({trace}, at=n1)
            await n1.stop()
        found = [event for event in events if event["action"] == "recover_from_lost_majority"]
        assert len(found) == 1
        assert (found[0]["node"], found[0]["protocol"], found[0]["outcome"]) == ("n1", "disk", "done")
        details = found[0]["details"]
        assert (details["epoch"], details["lost"], details["begins_anew"]) == (1, ["n2", "n3"], 0)
        assert details["goes_on"] >= 1, "the metadata at least"
