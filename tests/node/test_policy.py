"""No way around the policy: every route, at every kind of node, on the fast path and beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from floodmark.errors import Forbidden
from floodmark.format import batch
from floodmark.format.record import Record

from node.http import openapi
from node.http.context import CONTEXT
from node.request_limits import RequestLimits
from node.security.quotas import Asking, Quotas
from node.service import cursor
from node.service.policy import AllowAll, Operation, Policy, Resource, ResourceKind
from node.service.request_context import A_NODE, RequestContext
from tests.support.nodes import NodeCluster, TestNode

TOPIC: Final = "/v1/topics/{topic}"
USER: Final = "/v1/users/{user}"
LOGIN: Final = "/v1/login"
GROUP: Final = "/v1/groups/{group}"
QUEUE: Final = "/v1/queues/{queue}"
LISTS: Final = {
    "/v1/topics": b'{"topics":[]}\n',
    "/v1/groups": b'{"groups":[]}\n',
    "/v1/queues": b'{"queues":[]}\n',
}
"""Who may do nothing sees empty ones."""
OFFSETS: Final = b'{"offsets":[{"topic":"t","partition":0,"offset":0}]}'
ACLS: Final = b'{"acls":[{"principal":"u","kind":"topic","name":"t","operation":"read"}]}'
RECEIPTS: Final = b'{"receipts":["none"]}'
SETTLEMENTS: Final = b'{"settlements":[{"receipt":"none","action":"ack"}]}'
PARTITION: Final = TOPIC + "/partitions/{partition}"
POSITIONS: Final = PARTITION + "/positions/{group}"
SOURCE: Final = b'{"topic_id":7,"partition":3}'
MOVED: Final = b'{"topic_id":8,"partition":3,"next_offset":9,"producer":"p","producer_epoch":0}'
BATCH: Final = "application/vnd.floodmark.batch;v=1"
LINES: Final = "application/x-ndjson"
OPEN: Final = {"/", "/healthz", "/readyz", "/openapi.json", "/v1/me"}
"""Who asks nothing of the cluster needs no permission."""
CLUSTER: Final = Resource(ResourceKind.CLUSTER)
T: Final = Resource(ResourceKind.TOPIC, "t")
G: Final = Resource(ResourceKind.GROUP, "g")
Q: Final = Resource(ResourceKind.QUEUE, "q")
READS_T: Final = ((Operation.READ, T),)
DESCRIBES_T: Final = ((Operation.DESCRIBE, T),)


class Sent(NamedTuple):
    """A request that is right in itself, and what it has to be allowed."""

    method: str
    route: str
    operation: Operation | None = None
    resource: Resource = CLUSTER
    query: str = ""
    body: bytes = b""
    media: str = "application/json"
    accept: str = "*/*"
    of_group: Operation | None = None
    """What it has to be allowed with the group ``g`` as well."""
    also: tuple[tuple[Operation, Resource], ...] = ()
    """What else it has to be allowed."""

    @property
    def path(self) -> str:
        """Of topic ``t``, which has one partition, and of a node that there is not."""
        query = self.query.format(cursor=cursor.encode(1, [0]))
        names = {"topic": "t", "partition": 0, "node": "n9", "user": "u", "id": "x", "principal": "u"}
        return self.route.format(**names, group="g", member="m", queue="q") + query


def _batch() -> bytes:
    return batch.encode([Record(0, None, b"x")])


REQUESTS: Final = [
    *(Sent("GET", route) for route in sorted(OPEN)),
    Sent("POST", f"{PARTITION}/records", Operation.WRITE, T, body=b'{"value":1}'),
    Sent("POST", f"{PARTITION}/records", Operation.WRITE, T, "?acks=leader", b'{"value":1}'),
    Sent("POST", f"{PARTITION}/records", Operation.WRITE, T, "?mode=copy", b'{"value":1}'),
    Sent("POST", f"{PARTITION}/records", Operation.WRITE, T, body=_batch(), media=BATCH),
    Sent("POST", f"{TOPIC}/records", Operation.WRITE, T, body=b'{"records":[{"value":1},{"value":2}]}'),
    Sent("GET", f"{PARTITION}/records", Operation.READ, T, "?from=earliest&wait=0"),
    Sent("GET", f"{TOPIC}/records", Operation.READ, T, "?from=earliest&wait=0"),
    Sent("GET", f"{PARTITION}/records", Operation.READ, T, "?from=earliest&wait=0", accept=BATCH),
    Sent("GET", f"{PARTITION}/records", Operation.READ, T, "?from=earliest&wait=0", accept=LINES),
    Sent("GET", f"{TOPIC}/records", Operation.READ, T, "?from=earliest&wait=0", accept=LINES),
    Sent("GET", f"{TOPIC}/wait", Operation.READ, T, "?wait=0&cursor={cursor}"),
    Sent("GET", f"{PARTITION}/tail", Operation.DESCRIBE, T),
    Sent("GET", POSITIONS, Operation.DESCRIBE, T, of_group=Operation.READ),
    Sent("POST", POSITIONS, Operation.WRITE, T, body=SOURCE, of_group=Operation.READ),
    Sent("PUT", POSITIONS, Operation.WRITE, T, body=MOVED, of_group=Operation.READ),
    Sent("DELETE", POSITIONS, Operation.WRITE, T, of_group=Operation.DELETE),
    Sent("GET", TOPIC, Operation.DESCRIBE, T),
    Sent("PUT", TOPIC, Operation.CREATE, T, body=b'{"partitions":1}'),
    Sent("PATCH", TOPIC, Operation.ALTER, T, body=b'{"config":{"retention_ms":60000}}'),
    Sent("GET", "/v1/topics", Operation.DESCRIBE, T, "?prefix=t"),  # The cluster's own are others.
    Sent("POST", "/v1/producers", Operation.WRITE),
    Sent("POST", LOGIN, body=b'{"user":"u","password":"none of it"}'),
    Sent("GET", "/v1/users", Operation.DESCRIBE),
    Sent("POST", "/v1/users", Operation.ALTER, body=b'{"user":"u"}'),
    Sent("GET", USER, Operation.DESCRIBE),
    Sent("PATCH", USER, Operation.ALTER, body=b'{"administrator":false}'),
    Sent("PUT", f"{USER}/password", Operation.ALTER, body=b'{"password":null}'),
    Sent("GET", f"{USER}/tokens", Operation.DESCRIBE),
    Sent("POST", f"{USER}/tokens", Operation.ALTER),
    Sent("DELETE", f"{USER}/tokens/{{id}}", Operation.ALTER),
    Sent("DELETE", USER, Operation.ALTER),
    Sent("GET", "/v1/quotas", Operation.DESCRIBE),
    Sent("PUT", "/v1/quotas/{principal}", Operation.ALTER, body=b'{"connections":5000}'),
    Sent("DELETE", "/v1/quotas/{principal}", Operation.ALTER),
    Sent("GET", "/v1/acls", Operation.DESCRIBE),
    Sent("POST", "/v1/acls", Operation.ALTER, body=ACLS),
    Sent("DELETE", "/v1/acls", Operation.ALTER, query="?principal=u"),
    Sent("GET", "/v1/acls/check", Operation.DESCRIBE, query="?principal=u&operation=read&kind=topic&name=t"),
    Sent("GET", "/v1/cluster", Operation.DESCRIBE),
    Sent("GET", "/v1/cluster/health", Operation.DESCRIBE),
    Sent("GET", "/v1/cluster/features", Operation.DESCRIBE),
    Sent("POST", "/v1/cluster/features", Operation.ALTER, body=b'{"level":1}'),
    Sent("GET", "/v1/cluster/rebalance", Operation.DESCRIBE),
    Sent("POST", "/v1/cluster/rebalance", Operation.ALTER),
    Sent("DELETE", "/v1/cluster/rebalance", Operation.ALTER),
    Sent("GET", "/v1/reassignments", Operation.DESCRIBE),
    Sent(
        "POST",
        "/v1/reassignments",
        Operation.ALTER,
        body=b'{"reassignments":[{"topic":"t","partition":0,"replicas":["n9"]}]}',
    ),
    Sent("GET", "/v1/nodes", Operation.DESCRIBE),
    Sent("DELETE", "/v1/nodes/{node}", Operation.ALTER),
    Sent("DELETE", "/v1/nodes/{node}", Operation.ALTER, query="?force=true"),
    Sent("GET", "/v1/nodes/{node}/drain", Operation.DESCRIBE),
    Sent("POST", "/v1/nodes/{node}/drain", Operation.ALTER),
    Sent("DELETE", "/v1/nodes/{node}/drain", Operation.ALTER),
    Sent("GET", "/v1/nodes/{node}/removal", Operation.DESCRIBE),
    Sent("POST", "/v1/nodes/{node}/replacement", Operation.ALTER, body=b'{"node_id":"n1"}'),
    Sent(
        "POST", f"{GROUP}/members", Operation.READ, G, body=b'{"topics":["t"],"member_id":"m"}', also=READS_T
    ),
    Sent("POST", f"{GROUP}/members/{{member}}", Operation.READ, G, body=b'{"member_epoch":1}'),
    Sent("POST", f"{GROUP}/records", Operation.READ, G, "?topics=t", b"{}", also=READS_T),
    Sent("GET", GROUP, Operation.DESCRIBE, G, also=DESCRIBES_T),
    Sent("GET", "/v1/groups", Operation.DESCRIBE, G),
    Sent("GET", f"{GROUP}/offsets", Operation.DESCRIBE, G),
    Sent("GET", f"{GROUP}/offsets", Operation.DESCRIBE, G, "?topic=t", also=DESCRIBES_T),
    Sent("GET", f"{GROUP}/lag", Operation.DESCRIBE, G, also=DESCRIBES_T),
    Sent("DELETE", f"{GROUP}/members/{{member}}", Operation.READ, G),
    Sent("POST", f"{GROUP}/offsets", Operation.READ, G, body=OFFSETS, also=READS_T),
    Sent("POST", f"{GROUP}/offsets/reset", Operation.READ, G, body=OFFSETS, also=READS_T),
    Sent("DELETE", f"{GROUP}/offsets", Operation.DELETE, G, "?topic=t&partition=0", also=READS_T),
    Sent("DELETE", GROUP, Operation.DELETE, G),
    Sent("PUT", QUEUE, Operation.CREATE, Q, body=b'{"topic":"t","dead_letter_topic":null}', also=READS_T),
    Sent("GET", QUEUE, Operation.DESCRIBE, Q),
    Sent("GET", "/v1/queues", Operation.DESCRIBE, Q),
    Sent("POST", f"{QUEUE}/receive", Operation.READ, Q, "?max=10", also=READS_T),
    Sent("POST", f"{QUEUE}/ack", Operation.READ, Q, body=RECEIPTS),
    Sent("POST", f"{QUEUE}/nack", Operation.READ, Q, body=RECEIPTS),
    Sent("POST", f"{QUEUE}/extend", Operation.READ, Q, body=RECEIPTS),
    Sent("POST", f"{QUEUE}/reject", Operation.READ, Q, body=RECEIPTS),
    Sent("POST", f"{QUEUE}/settle", Operation.READ, Q, body=SETTLEMENTS),
    Sent("GET", f"{QUEUE}/dead", Operation.DESCRIBE, Q),
    Sent("GET", f"{QUEUE}/dead/{{id}}", Operation.READ, Q),
    Sent("POST", f"{QUEUE}/dead/replay", Operation.ALTER, Q, body=b'{"all":true}'),
    Sent("POST", f"{QUEUE}/dead/purge", Operation.ALTER, Q, body=b'{"all":true}'),
    Sent("POST", f"{QUEUE}/purge", Operation.ALTER, Q),
    Sent("DELETE", QUEUE, Operation.DELETE, Q),
    Sent("GET", "/metrics", Operation.DESCRIBE),
    Sent("DELETE", TOPIC, Operation.DELETE, T, "?topic_id=999"),  # So that it is there for the next node.
]


class DenyAll:
    """Nobody may do anything."""

    may_change = False
    version = None
    admits_anonymous = False

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        raise Forbidden(f"nobody may {operation} here")


class Counting:
    """Everybody may do everything, and it is counted at which node who asked for what."""

    may_change = False
    version = None
    admits_anonymous = False

    def __init__(self, node: str, seen: Counter[tuple[str, Operation, Resource]]) -> None:
        self.node = node
        self.seen = seen

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        assert context.protocol == "http"
        assert context.client_id == "test/1", "nodes do not come in by their own doors"
        assert context.address == "127.0.0.1"
        self.seen[self.node, operation, resource] += 1


class CountingQuotas(Quotas):
    """No limits, and it is counted how often they are asked for."""

    def __init__(self) -> None:
        super().__init__({}, exempt=A_NODE)
        self.are_set = True
        self.admitted = 0

    def admit(self, context: Asking, operation: str, size: int, partitions: int = 0) -> None:
        self.admitted += 1


@asynccontextmanager
async def _three_roles(tmp_path: Path) -> AsyncIterator[tuple[NodeCluster, list[TestNode]]]:
    """Of topic ``t``: its leader, its follower, and a node without a replica of it."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2)
        leader = await cluster.leader("t")
        replicas = cluster["n1"].broker.topic("t").partitions[0].replicas
        others = sorted(cluster.nodes.values(), key=lambda node: (node.node_id not in replicas, node.node_id))
        yield cluster, [leader, *(node for node in others if node is not leader)]


def _set(node: TestNode, policy: Policy) -> None:
    node.running.app[CONTEXT].service.policy = policy


async def _send(
    cluster: NodeCluster, node: TestNode, sent: Sent, *, method: str = "", unusual: bool = False
) -> tuple[int, bytes]:
    headers = {"User-Agent": "test/1", "Accept": sent.accept, **({"X-Unusual": "1"} if unusual else {})}
    if sent.body:
        headers["Content-Type"] = sent.media
    async with cluster.session.request(
        method or sent.method, node.url + sent.path, data=sent.body or None, headers=headers
    ) as answer:
        return answer.status, await answer.read()


async def _state(node: TestNode) -> Any:
    """All that requests could have changed, but for what comes by itself."""
    state = node.running.metadata.state
    topic = node.broker.topic("t")
    return (
        node.broker.partition("t", 0).bounds(),
        sorted(state.topics),
        (topic.config, len(topic.partitions), topic.replication_factor),
        (sorted(state.users), state.tokens, state.administrators, state.acls, state.quotas),
        (state.level, state.draining, state.moves, state.rebalancing, sorted(state.nodes)),
    )


def test_every_route_is_asked_for_something() -> None:
    """What is added to the application or its description is added to this test, or it fails."""
    paths = openapi.document(RequestLimits())["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert {(sent.method, sent.route) for sent in REQUESTS} == described


async def test_who_may_do_nothing_does_nothing_anywhere(tmp_path: Path) -> None:
    """403 wherever a request arrives and whatever way it takes; lists are empty, and nothing is changed."""
    async with _three_roles(tmp_path) as (cluster, roles):
        routed = {
            (route.method, route.resource.canonical)
            for route in roles[0].running.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
        assert routed == {(sent.method, sent.route) for sent in REQUESTS}
        before = await _state(roles[0])
        for node in roles:
            _set(node, DenyAll())
        for node in roles:
            for sent in REQUESTS:
                methods = ["GET", "HEAD"] if sent.method == "GET" else [sent.method]
                for method in methods:
                    for unusual in (False, True):
                        status, body = await _send(cluster, node, sent, method=method, unusual=unusual)
                        if sent.route in OPEN:
                            assert status == 200
                        elif sent.route == LOGIN:
                            assert status in (401, 429), "who knows no password gets nothing"
                        elif sent.route in LISTS:
                            assert (status, body) in ((200, LISTS[sent.route]), (200, b""))
                        else:
                            assert status == 403, (node.node_id, method, sent, body)
                            assert method == "HEAD" or json.loads(body)["code"] == "forbidden"
        assert await _state(roles[0]) == before


@pytest.mark.parametrize("unusual", [False, True], ids=["plain", "unusual"])
async def test_a_request_is_judged_once_and_where_it_arrived(tmp_path: Path, *, unusual: bool) -> None:
    """Whoever serves it in the end does not judge it again: no node has to know what another one's are."""
    async with _three_roles(tmp_path) as (cluster, roles):
        seen: Counter[tuple[str, Operation, Resource]] = Counter()
        quotas = [CountingQuotas() for _ in roles]
        for node, each in zip(roles, quotas, strict=True):
            _set(node, Counting(node.node_id, seen))
            node.running.app[CONTEXT].service.quotas = each
        for node in roles:
            for sent in REQUESTS:
                seen.clear()
                before = sum(each.admitted for each in quotas)
                status, body = await _send(cluster, node, sent, unusual=unusual)
                expected = {}
                if sent.operation is not None:
                    asked = ((sent.operation, sent.resource), *sent.also)
                    expected = {(node.node_id, operation, resource): 1 for operation, resource in asked}
                if sent.of_group is not None:
                    expected[node.node_id, sent.of_group, G] = 1
                assert seen == expected, (node.node_id, sent, status, body)
                admitted = sum(each.admitted for each in quotas) - before
                assert admitted == (1 if expected else 0), (node.node_id, sent, status, body)


async def test_topics_are_listed_for_those_who_may_describe_them(tmp_path: Path) -> None:
    """A page is full of what is shown; what is not leaves no trace, not even a shorter page."""

    class OnlyB(AllowAll):
        def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
            if not resource.name.startswith("b"):
                raise Forbidden("not yours")

    async with NodeCluster.running(tmp_path, count=1) as cluster:
        for name in ("a", "b1", "b2", "c"):
            await cluster.create(name)
        _set(cluster["n1"], OnlyB())
        async with cluster.session.get(cluster["n1"].url + "/v1/topics?limit=2") as answer:
            assert [topic["topic"] for topic in (await answer.json())["topics"]] == ["b1", "b2"]
