"""A node that asks who somebody is: on every route, the same on the fast path and on the usual one."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from floodmark.errors import Forbidden, LeaderNotAvailable

from node.http.connection import Connection
from node.http.context import CONTEXT
from node.http.origins import Origins
from node.metadata.delta import MetadataDelta
from node.metadata.state import MetadataState, TokenEntry, UserEntry
from node.request_limits import RequestLimits
from node.security.authenticator import Authenticator
from node.security.freshness import UNHEARD_S, Freshness
from node.security.tokens import new_token
from node.service.policy import Operation, Resource
from node.service.request_context import A_NODE, RequestContext
from tests.http.conftest import Harness
from tests.http.memory_broker import MemoryCluster

RECORDS = "/v1/topics/t/partitions/0/records"
TOKEN = new_token()
BEARER = {"Authorization": f"Bearer {TOKEN.text}"}
MARK = {"Floodmark-Forwarded": "of these nodes"}
OPEN = ("/", "/healthz", "/readyz", "/openapi.json")


class Users:
    """What a node knows of users; and a policy that notes who asks, and lets everybody do everything."""

    may_change = False
    admits_anonymous = False

    def __init__(self) -> None:
        self.version: int | None = None
        self.denies = False
        self.now = 1.0
        self.hears = True
        self.state = MetadataState(
            users={"ann": UserEntry("ann", 1)},
            tokens={TOKEN.token_id: TokenEntry(TOKEN.token_id, "ann", TOKEN.digest, 1)},
        )
        freshness = Freshness(self._confirm, lambda: self.now)
        self.authenticator = Authenticator(lambda: self.state, freshness, lambda: 1_000)
        self.asked: list[tuple[str, str]] = []

    async def _confirm(self, _timeout_s: float) -> None:
        if not self.hears:
            raise LeaderNotAvailable("no leader")

    def revoke(self) -> None:
        """The token is gone."""
        self.state = MetadataState(users=self.state.users)
        self.authenticator.metadata_changed(self.state, MetadataDelta(members=frozenset({"tokens"})))

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        self.asked.append((context.principal, context.credential))
        if self.denies:
            raise Forbidden("not any more")


@pytest.fixture
def users() -> Users:
    return Users()


@pytest.fixture
async def http(settings: RequestLimits, users: Users) -> AsyncIterator[Harness]:
    """One node that asks."""
    harness = Harness(MemoryCluster(1))
    origins = Origins(cors_origins=["https://page.example"])
    await harness.start("n1", settings, origins, users.authenticator)
    harness.servers["n1"].app[CONTEXT].service.policy = users
    answer = await harness.call("PUT", "/v1/topics/t", json={"partitions": 1}, headers=BEARER)
    assert answer.status == 201
    users.asked.clear()
    try:
        yield harness
    finally:
        await harness.close()


def _routes(http: Harness) -> list[tuple[str, str]]:
    """Every method and path that there is."""
    names = {
        "topic": "t",
        "partition": "0",
        "node": "n1",
        "user": "ann",
        "id": "x",
        "principal": "ann",
        "group": "g",
        "member": "m",
        "queue": "q",
    }
    found = []
    for route in http.servers["n1"].app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical.format_map(names)
        found.append((route.method, path))
    return found


async def test_no_route_but_the_open_ones_serves_a_stranger(http: Harness, users: Users) -> None:
    """Nor one that brings a wrong credential; and what they are told is the same for what there is not."""
    routes = [(method, path) for method, path in _routes(http) if path not in (*OPEN, "/v1/login")]
    assert len(routes) > 30
    wrong = {"Authorization": f"Bearer {new_token().text}"}
    for headers in ({}, wrong, {"Authorization": "Basic YTpi"}, {"Floodmark-Forwarded": "guessed"}):
        for method, path in (*routes, ("GET", "/nothing"), ("GET", "//readyz")):
            users.now += 1
            answer = await http.call(method, path, headers=headers)
            assert answer.status == 401, (method, path)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="floodmark"'
            if method != "HEAD":
                assert answer.json["code"] == "unauthorized"
                assert "Authorization: Bearer fmk_" in answer.json["detail"]
    assert users.asked == [], "the policy was never asked"
    for method, path in routes:
        assert (await http.call(method, path, headers=BEARER)).status != 401, (method, path)
    assert {who for who, _ in users.asked} == {"ann"}


async def test_strangers_hear_only_whether_the_node_is_ready(http: Harness) -> None:
    """Who is known hears more. A wrong credential makes a stranger, and breaks no probe."""
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        assert (await http.call("GET", "/healthz", headers=headers)).json == {"status": "alive"}
        assert (await http.call("GET", "/readyz?x=1", headers=headers)).json == {"ready": True}
        words = (await http.call("GET", "/", headers=headers)).body.decode()
        assert "n1" not in words
        assert http.url("/metrics") in words
        assert (await http.call("GET", "/openapi.json", headers=headers)).status == 200
    assert (await http.call("GET", "/healthz", headers=BEARER)).json["node_id"] == "n1"
    assert (await http.call("GET", "/readyz", headers=BEARER)).json["reasons"] == []
    assert "node n1" in (await http.call("GET", "/", headers=BEARER)).body.decode()


def _plain(headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {RECORDS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n{lines}"
    return f"{head}Content-Length: 5\r\n\r\nhello".encode()


async def _post(http: Harness, *, usual: bool = False, **headers: str) -> tuple[int, Any]:
    """The answer of one produce over a connection of its own."""
    reader, writer = await asyncio.open_connection(*http.address)
    writer.write(_plain({**headers, **({"X-Unusual": "1"} if usual else {})}))
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
    writer.close()
    return int(head.split()[1]), body


async def test_the_fast_path_takes_who_is_known_and_nobody_else(
    http: Harness, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same head, which it remembers; whatever changes between two requests."""
    taken = http.taken_at("n1", monkeypatch)
    assert (await _post(http, usual=True, **BEARER))[0] == 200
    assert (await _post(http, **BEARER))[0] == 200
    assert (await _post(http))[0] == 401
    assert taken == [False, True, False]
    assert set(users.asked) == {("ann", f"token {TOKEN.token_id}")}

    users.hears = False
    users.now += UNHEARD_S
    for usual in (False, True):
        status, problem = await _post(http, usual=usual, **BEARER)
        assert (status, problem["cause"], problem["retry_after_s"]) == (503, "credentials_unconfirmed", 1)
    users.hears = True
    users.now += 1
    assert (await _post(http, usual=True, **BEARER))[0] == 503, "nobody waits for the next try"
    assert (await _post(http, usual=True, **BEARER))[0] == 200
    assert (await _post(http, **BEARER))[0] == 200
    assert taken[3:] == [False, False, False, False, True]

    users.revoke()
    users.now += 1
    for usual in (False, True):
        assert (await _post(http, usual=usual, **BEARER))[0] == 401
    assert taken[8:] == [False, False]


async def test_the_same_request_again_is_judged_again_when_anything_has_changed(
    http: Harness, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one connection: the policy's version, the policy, the credential, the head."""
    taken = http.taken_at("n1", monkeypatch)
    reader, writer = await asyncio.open_connection(*http.address)

    async def post(**headers: str) -> int:
        users.asked.clear()
        writer.write(_plain(headers))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1])

    assert await post(**BEARER, **{"X-Unusual": "1"}) == 200
    for version, asked in ((None, 1), (None, 1), (1, 1), (1, 0), (1, 0), (2, 1), (2, 0)):
        users.version = version
        assert await post(**BEARER) == 200
        assert len(users.asked) == asked
    assert await post(**BEARER, **{"User-Agent": "another"}) == 200
    assert len(users.asked) == 1
    assert taken == [False, *[True] * 8]
    other = Users()
    other.version, other.denies = 2, True
    http.servers["n1"].app[CONTEXT].service.policy = other
    assert await post(**BEARER) == 403
    http.servers["n1"].app[CONTEXT].service.policy = users
    assert await post(**BEARER) == 200
    users.version, users.denies = 3, True
    assert await post(**BEARER) == 403
    users.denies = False
    assert await post(**BEARER) == 200
    users.revoke()
    assert await post(**BEARER) == 401
    writer.close()


@pytest.mark.parametrize("usual", [False, True])
async def test_a_node_of_an_earlier_build_is_known_by_its_mark(
    http: Harness, users: Users, usual: bool
) -> None:
    """It asks over this port what others ask over their own line; a token besides goes before that."""
    assert (await _post(http, usual=usual, **MARK))[0] == 200
    assert set(users.asked) == {(A_NODE, "node")}
    assert (await _post(http, usual=usual, **MARK, Authorization="Bearer wrong"))[0] == 401


@pytest.mark.parametrize("usual", [False, True])
async def test_a_certificate_names_a_principal_and_a_token_goes_before_it(
    http: Harness, users: Users, usual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token is refused, whatever was shown besides."""
    monkeypatch.setattr(Connection, "certified_as", "carol")
    assert (await _post(http, usual=usual))[0] == 200
    assert set(users.asked) == {("carol", "certificate")}
    users.asked.clear()
    assert (await _post(http, usual=usual, **BEARER))[0] == 200
    assert {who for who, _ in users.asked} == {"ann"}
    assert (await _post(http, usual=usual, Authorization="Bearer wrong"))[0] == 401
    users.hears = False
    users.now += UNHEARD_S
    assert (await _post(http, usual=usual))[0] == 503


async def test_a_credential_is_given_once(http: Harness) -> None:
    """Of two that differ one would be passed over."""
    head = f"GET /v1/topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN.text}\r\n"
    answer = await http.raw(f"{head}Authorization: Bearer x\r\nConnection: close\r\n\r\n".encode())
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_a_web_page_that_is_trusted_can_ask_and_see_why_not(http: Harness) -> None:
    """A preflight carries no credential; a refusal is readable by the page."""
    page = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    asked = {**page, "Access-Control-Request-Headers": "authorization"}
    answer = await http.call("OPTIONS", RECORDS, headers=asked)
    assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (204, "authorization")
    answer = await http.call("POST", RECORDS, data=b"x", headers={"Origin": "https://page.example"})
    assert answer.status == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"


async def test_what_only_comes_to_an_open_path_is_not_open(http: Harness) -> None:
    """As it was sent it is another one."""
    head = b"GET /%72eadyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert b" 401 " in (await http.raw(head)).split(b"\r\n")[0]


async def test_a_large_body_of_a_stranger_is_refused_unread(http: Harness, users: Users) -> None:
    """On either path, before anything of it is held."""
    body = io.BytesIO(b"x" * (2 << 20))
    answer = await http.call("POST", RECORDS, data=body, headers={"Content-Type": "application/octet-stream"})
    assert answer.status == 401
    assert users.asked == []
