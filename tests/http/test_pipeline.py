"""Every request for records takes the same steps, by whichever way it comes and wherever its leader is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from floodmark.errors import Forbidden, TooManyRequests
from floodmark.format import batch as codec
from floodmark.format.record import Record
from structlog.testing import capture_logs

from node.http import produce_body
from node.http.context import CONTEXT
from node.security.quotas import Asking, Quotas
from node.service import cursor
from node.service.policy import AllowAll, Operation, Resource
from node.service.request_context import A_NODE, RequestContext
from tests.http.conftest import Harness, until

RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
RAW = {"Content-Type": "application/octet-stream"}
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
FRAMES = {"Accept": "application/vnd.floodmark.batch;v=1"}
MADE = codec.encode([Record(0, None, b"v")])
WRITES: dict[str, tuple[str, dict[str, str], bytes]] = {
    "past aiohttp": (RECORDS, RAW, b"v"),
    "past aiohttp, in pieces": (RECORDS, RAW, bytes(60_000)),
    "through aiohttp": (RECORDS, {**RAW, "Record-Key": "k"}, b"v"),
    "in a producer's name": (RECORDS, {**RAW, "Producer-Id": "p", "Producer-Seq": "0"}, b"v"),
    "a batch": (RECORDS, BATCH, MADE),
    "by key": (ALL, {"Content-Type": "application/json"}, b'{"value":1}'),
}
READS: dict[str, tuple[str, dict[str, str]]] = {
    "a page": (RECORDS, {}),
    "frames": (RECORDS, FRAMES),
    "lines": (RECORDS, {"Accept": "application/x-ndjson"}),
    "all": (ALL, {}),
    "a wait": (f"/v1/topics/t/wait?cursor={cursor.encode(1, [0])}", {}),
    "the end": ("/v1/topics/t/partitions/0/tail", {}),
}


class Strict(AllowAll):
    """Forbids what it is told to, and keeps what it was asked."""

    def __init__(self, *forbidden: Operation) -> None:
        self.forbidden = forbidden
        self.full = False
        self.asked: list[tuple[Operation, Resource]] = []
        self.sizes: list[int] = []

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        self.asked.append((operation, resource))
        if operation in self.forbidden:
            raise Forbidden("not for you")

    def admit(self, size: int) -> None:
        if self.full:
            raise TooManyRequests("that is enough", retry_after_s=1.0)
        self.sizes.append(size)


class Defective(Strict):
    """Fails in a step as no policy should."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        if self._step == "authorize":
            raise ZeroDivisionError("a defect")

    def admit(self, size: int) -> None:
        if self._step == "admit":
            raise ZeroDivisionError("a defect")


class _ItsQuotas(Quotas):
    """Asks the policy above for the quota as well."""

    def __init__(self, policy: Strict) -> None:
        super().__init__({}, exempt=A_NODE)
        self.are_set = True
        self._policy = policy

    def admit(self, context: Asking, operation: str, size: int, partitions: int = 0) -> None:
        self._policy.admit(size)

    def check(self, context: Asking, operation: str, size: int) -> None: ...


def policy_of(http: Harness, node: str, policy: Strict) -> Strict:
    """What a node asks from now on."""
    service = http.servers[node].app[CONTEXT].service
    service.policy, service.quotas = policy, _ItsQuotas(policy)
    return policy


@pytest.fixture
def node_count() -> int:
    """Partition 0 is led by n1."""
    return 2


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("kind", WRITES)
async def test_a_produce_is_judged_and_counted_once_where_it_arrives(
    http: Harness, node: str, kind: str
) -> None:
    """Forbidden is 403, above the quota 429, and neither is stored."""
    path, headers, body = WRITES[kind]
    await http.make_topic()
    policy = policy_of(http, node, Strict(Operation.WRITE))
    refused = await http.call("POST", path, node=node, data=body, headers=headers)
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert policy.sizes == []
    policy = policy_of(http, node, Strict())
    policy.full = True
    refused = await http.call("POST", path, node=node, data=body, headers=headers)
    assert (refused.status, refused.json["code"]) == (429, "too_many_requests")
    assert http.cluster.logs["t", 0].next == 0
    policy.full = False
    assert (await http.call("POST", path, node=node, data=body, headers=headers)).status == 200
    assert policy.sizes == [len(body)]
    assert {asked for asked in policy.asked if asked[1].name == "t"} == set(policy.asked)
    assert {operation for operation, _ in policy.asked} == {Operation.WRITE}


@pytest.mark.parametrize("step", ["authorize", "admit"])
@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("kind", WRITES)
async def test_a_defect_of_a_policy_is_answered_told_once_and_ends_nothing_else(
    http: Harness, node: str, kind: str, step: str
) -> None:
    """500 on every way; the connection serves what comes next, and no memory stays taken."""
    path, headers, body = WRITES[kind]
    await http.make_topic()
    policy_of(http, node, Defective(step))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    first = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    sent = first.encode() + body
    reader, writer = await asyncio.open_connection(*http.address_of(node))

    async def answer() -> tuple[bytes, bytes]:
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            return head, await reader.readexactly(length)

    try:
        with capture_logs() as logs:
            for piece in (sent[:-1], sent[-1:]) if "pieces" in kind else (sent,):
                writer.write(piece)
                await asyncio.sleep(0)
            status, problem = await answer()
        assert status.startswith(b"http/1.1 500 ")
        assert b'"code":"server_error"' in problem
        assert [line["detail"] for line in logs if line["event"] == "request failed"] == [
            "something went wrong here; the log has more under this request_id"
        ]
        assert http.cluster.logs["t", 0].next == 0
        policy_of(http, node, Strict())
        writer.write(sent)
        status, problem = await answer()
        assert status.startswith(b"http/1.1 200 "), problem
        assert http.cluster.brokers[node].budget.used == 0
    finally:
        writer.close()


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("kind", READS)
async def test_a_read_is_judged_where_it_arrives(http: Harness, node: str, kind: str) -> None:
    """Before anything is told, and at each node: the leader is not asked about it again."""
    path, headers = READS[kind]
    await http.make_topic()
    policy_of(http, node, Strict(Operation.READ, Operation.DESCRIBE))
    assert (await http.call("GET", path, node=node, headers=headers)).status == 403
    policy = policy_of(http, node, Strict())
    assert (await http.call("GET", path, node=node, headers=headers)).status == 200
    assert policy.asked
    assert policy.sizes


async def test_a_body_is_decoded_once_however_many_leaders_are_asked(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made of it for the first one is sent to the next."""
    await http.make_topic()
    decoded: list[int] = []
    read = produce_body.read_records

    def counted(*arguments: Any) -> Any:
        decoded.append(1)
        return read(*arguments)

    monkeypatch.setattr(produce_body, "read_records", counted)
    log = http.cluster.logs["t", 0]
    real, http.cluster.urls["n1"] = http.cluster.urls["n1"], "http://127.0.0.1:1"
    headers = {**RAW, "Record-Key": "k"}
    sending = asyncio.create_task(http.call("POST", RECORDS, node="n2", data=b"v", headers=headers))
    await until(lambda: len(log.doubted) >= 3)
    http.cluster.urls["n1"] = real
    assert (await sending).status == 200
    assert decoded == [1]
