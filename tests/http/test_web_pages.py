"""Web pages may not use a node unless they are trusted, at no node or path; those that are, may do all."""

from __future__ import annotations

import json

import aiohttp
import pytest

from node.http.app import create_app
from node.http.origins import Origins
from node.request_limits import RequestLimits
from tests.http.conftest import Answer, Harness
from tests.http.memory_broker import MemoryCluster

NODES = ("n1", "n2")
"""The leader, and one that passes on."""
RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
EVERY_ROUTE = [
    (
        route.method,
        route.resource.canonical.format(
            topic="t",
            partition="0",
            node="n9",
            user="u",
            id="x",
            principal="u",
            group="g",
            member="m",
            queue="q",
        ),
    )
    for route in create_app(MemoryCluster().brokers["n1"], RequestLimits()).router.routes()
    if route.resource is not None
]
EVERY_ROUTE += [("GET", "/nothing/here"), ("POST", "/healthz"), ("OPTIONS", RECORDS), ("TRACE", "/")]
SOME_ROUTES = [("POST", RECORDS), ("GET", "/metrics")]
FOREIGN = {
    "another site": {"Origin": "https://evil.example"},
    "another site, said twice": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "another scheme": {"Origin": "https://{host}"},
    "a name that begins alike": {"Origin": "http://{host}.evil.example"},
    "a page without an origin": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "no origin at all": {"Origin": "http://{host}/"},
    "a picture": {"Sec-Fetch-Site": "cross-site"},
    "the same site, another host": {"Sec-Fetch-Site": "same-site"},
    "a site nobody knows": {"Sec-Fetch-Site": "x"},
    "an origin of its own, from elsewhere": {"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"},
    "another origin, from here": {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    "one that would be trusted elsewhere": {"Origin": "https://app.example"},
}
REBOUND = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.1",
    "[::1",
    "::1",
    "",
    "a b",
]
REBOUND += ["localhost@evil.example", "evil.example/localhost", "localhost,evil.example", "x" * 400, "evil"]


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1."""
    return 2


async def asked(
    http: Harness, method: str, path: str, *, node: str = "n1", body: bytes = b"", **headers: str | None
) -> Answer:
    """One request with exactly these headers, and a ``Host``; None takes one away."""
    host = http.url("", node).removeprefix("http://")
    lines: dict[str, str | None] = {"Host": host, "Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(
        f"{name}: {value.format(host=host)}\r\n" for name, value in lines.items() if value is not None
    )
    raw = await http.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body, node=node)
    first, _, rest = raw.partition(b"\r\n\r\n")
    status, *fields = first.decode().split("\r\n")
    answer_headers = {name.title(): value for name, _, value in (field.partition(": ") for field in fields)}
    return Answer(int(status.split(" ")[1]), answer_headers, rest)


@pytest.mark.parametrize("origins", [Origins(), Origins(cors_origins=["https://other.example"])])
async def test_a_web_page_is_refused_everywhere(http: Harness) -> None:
    """403 on every route, matched or not, at every node; nothing is done, and the page cannot read why."""
    await http.make_topic()
    for who, headers in FOREIGN.items():
        for node in NODES:
            for method, path in EVERY_ROUTE if who in ("another site", "a picture") else SOME_ROUTES:
                answer = await asked(http, method, path, node=node, body=b'{"value": 1}', **headers)
                assert answer.status == 403, (who, node, method, path, answer)
                assert not [name for name in answer.headers if name.startswith("Access-Control")]
                if method != "HEAD":
                    assert answer.json["code"] == "forbidden"
    assert [topic.name for topic in http.broker.topics.page(prefix="", after="", limit=9)] == ["t"]
    assert http.cluster.logs["t", 0].next == 0


async def test_a_form_or_a_blob_of_a_page_stores_nothing(http: Harness) -> None:
    """As browsers send them without asking first: the very requests that are stored when curl sends them."""
    await http.make_topic()
    page = {"Origin": "https://evil.example", "Referer": "https://evil.example/", "Sec_Fetch_Mode": "no-cors"}
    for media in ("application/x-www-form-urlencoded", None):
        for node in NODES:
            for path in (RECORDS, ALL):
                body = b'{"value":"written by a web page"}'
                answer = await asked(http, "POST", path, node=node, body=body, Content_Type=media, **page)
                assert answer.status == 403
                answer = await asked(http, "POST", path, node=node, body=body, Content_Type=media)
                assert answer.status == 200
    assert http.cluster.logs["t", 0].next == 8


async def test_a_name_that_leads_here_is_no_name_of_ours(http: Harness) -> None:
    """421 on every route, whatever the browser believes; also for what would go past aiohttp."""
    await http.make_topic()
    for host in REBOUND:
        same = {"Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
        for node in NODES:
            for method, path in EVERY_ROUTE if host == "evil.example" else SOME_ROUTES:
                for headers in ({}, same):
                    answer = await asked(http, method, path, node=node, body=b"{}", **headers, Host=host)
                    assert answer.status == 421, (host, node, method, path, answer)
                    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert http.cluster.logs["t", 0].next == 0


async def test_a_plain_request_by_another_name_is_refused_too(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go past aiohttp by a name of ours, and does not by any other."""
    await http.make_topic()
    for node in NODES:
        taken = http.taken_at(node, monkeypatch)
        for host, status in (
            ("localhost", 200),
            ("evil.example", 421),
            ("127.0.0.1:1", 200),
            ("localhost.x", 421),
        ):
            answer = await http.call("POST", RECORDS, node=node, data=b"v", headers={"Host": host})
            assert answer.status == status, (node, host)
        assert taken == [True, False, True, False]
    assert http.cluster.logs["t", 0].next == 4


async def test_the_name_in_the_target_counts_too(http: Harness) -> None:
    """Proxies are sent whole URLs: both names must be ours."""
    target = "http://evil.example:7070/healthz"
    assert (await asked(http, "GET", target)).status == 421
    assert (await asked(http, "GET", "http://localhost/healthz", Host="evil.example")).status == 421
    assert (await asked(http, "GET", "http://localhost/healthz")).status == 200


@pytest.mark.parametrize("origins", [Origins(hosts=["log.example"], addresses=["http://node1.example:7070"])])
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:7070",
        "localhost.",
        "a.localhost:1",
        "10.1.2.3",
        "[::1]:7070",
        "[2001:db8::1]",
        "node1.example",
        "Node1.Example:80",
        "log.example:443",
        "log.example.",
    ],
)
async def test_names_of_ours_are_answered(http: Harness, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses, loopback, what is advertised, what the setting lists; with any port; a page as well."""
    await http.make_topic()
    for node in NODES:
        taken = http.taken_at(node, monkeypatch)
        plain = await http.call("POST", RECORDS, node=node, data=b'{"value":1}', headers={"Host": host})
        assert plain.status == 200
        assert taken == [True]
    if not host.endswith("."):
        own = await asked(http, "POST", RECORDS, body=b'{"value":1}', Host=host, Origin=f"http://{host}")
        assert own.status == 200


async def test_a_page_of_ours_may_not_send_forms(http: Harness) -> None:
    """What curl says of every body means JSON from programs only."""
    await http.make_topic()
    form = "application/x-www-form-urlencoded; charset=utf-8"
    for node in NODES:
        for page in ({"Origin": "http://{host}"}, {"Sec_Fetch_Site": "same-origin"}):
            answer = await asked(http, "POST", ALL, node=node, body=b'{"value":1}', Content_Type=form, **page)
            assert (answer.status, answer.json["code"]) == (415, "unsupported_media")
            answer = await asked(http, "POST", ALL, node=node, body=b'{"value":1}', **page)
            assert answer.status == 200
    assert http.cluster.logs["t", 0].next == 4


async def test_no_host_is_no_browser(http: Harness) -> None:
    """Health checks of load balancers speak HTTP/1.0."""
    assert (await http.raw(b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200")


async def test_every_answer_says_that_its_type_is_meant(http: Harness) -> None:
    """``nosniff``, and one Server, on all routes, refusals, streams, passed on or not, and past aiohttp."""
    await http.make_topic()
    answers = [
        await asked(
            http, method, path, node=node, body=b'{"value":1}' if "records" in path else b"", **headers
        )
        for node in NODES
        for method, path in EVERY_ROUTE
        for headers in ({}, {"Origin": "null"}, {"Host": "evil.example"})
        if method != "DELETE"
    ]
    answers += [
        await asked(http, "GET", RECORDS + "?max_records=1", node=node, Accept=media)
        for media in ("application/x-ndjson", "text/event-stream", "application/vnd.floodmark.batch;v=1")
        for node in NODES
    ]
    answers.append(await asked(http, "GET", "/healthz", Expect="nothing"))
    answers.append(await asked(http, "GET", "/healthz", A="\x01"))
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff", answer
        assert answer.headers["Server"] == "floodmark", answer
    plain = await http.call("POST", RECORDS, data=b'{"value":1}')
    assert (plain.status, plain.headers["X-Content-Type-Options"]) == (200, "nosniff")


class TestTrustedPages:
    """With one origin in the list."""

    @pytest.fixture
    def origins(self) -> Origins:
        """It is exact."""
        return Origins(cors_origins=["https://app.example"])

    async def test_a_preflight_is_answered_on_every_route(self, http: Harness) -> None:
        """Whether there is such a route or not, with what was asked for; and only to that page."""
        ask = {
            "Access_Control_Request_Method": "PUT",
            "Access_Control_Request_Headers": "if-offset, record-header-x",
        }
        for node in NODES:
            for _, path in EVERY_ROUTE:
                yes = await asked(http, "OPTIONS", path, node=node, Origin="https://app.example", **ask)
                assert (yes.status, yes.body) == (204, b"")
                assert yes.headers["Access-Control-Allow-Origin"] == "https://app.example"
                assert yes.headers["Access-Control-Allow-Headers"] == "if-offset, record-header-x"
                methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
                assert set(yes.headers["Access-Control-Allow-Methods"].split(", ")) == methods
                assert int(yes.headers["Access-Control-Max-Age"]) > 0
                assert "Origin" in yes.headers["Vary"].split(", ")
                no = await asked(http, "OPTIONS", path, node=node, Origin="https://evil.example", **ask)
                assert no.status == 403
                assert "Access-Control-Allow-Origin" not in no.headers

    async def test_the_page_may_do_everything_and_read_every_header(self, http: Harness) -> None:
        """Make, write, read, follow and delete; also what is refused for other reasons can be read."""
        page = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        page["Content-Type"] = "application/json"
        lines = {**page, "Accept": "application/x-ndjson"}
        events = {**page, "Accept": "text/event-stream"}
        for node in NODES:
            calls = [
                ("PUT", "/v1/topics/t", 201, page, b'{"partitions": 2}'),
                ("POST", RECORDS, 200, page, b'{"value": 1}'),
                ("POST", ALL, 200, page, b'{"value": 1, "partition": 0}'),
                ("POST", RECORDS, 400, page, b"none"),
                ("GET", RECORDS, 200, page, b""),
                ("GET", ALL, 200, page, b""),
                ("GET", ALL, 200, lines, b""),
                ("GET", RECORDS + "?max_records=2", 200, events, b""),
                ("GET", RECORDS + "?from=9", 416, page, b""),
                ("GET", "/v1/topics/t/partitions/0/tail", 200, page, b""),
                ("GET", "/nothing", 404, page, b""),
                ("POST", "/healthz", 405, page, b""),
                ("GET", "/healthz", 417, {**page, "Expect": "x"}, b""),
                ("DELETE", "/v1/topics/t", 204, page, b""),
            ]
            for method, path, status, headers, body in calls:
                answer = await http.call(method, path, node=node, data=body, headers=headers)
                assert answer.status == status, (method, path, answer)
                assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
                assert "Origin" in answer.headers["Vary"].split(", ")
                shown = {name.lower() for name in answer.headers["Access-Control-Expose-Headers"].split(", ")}
                hidden = {name.lower() for name in answer.headers} - shown
                assert not [
                    name
                    for name in hidden
                    if name.startswith(("floodmark-", "log-", "x-", "request", "retry"))
                ], hidden
            assert (
                "Floodmark-Leader"
                in (await self._produced(http, node)).headers["Access-Control-Expose-Headers"]
            )

    async def _produced(self, http: Harness, node: str) -> Answer:
        await http.call("PUT", "/v1/topics/t")
        try:
            headers = {"Origin": "https://app.example"}
            return await http.call("POST", RECORDS, node=node, data=b'{"value": 1}', headers=headers)
        finally:
            await http.call("DELETE", "/v1/topics/t")

    async def test_caches_keep_answers_to_pages_apart(
        self, http: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``Vary`` names Origin also where there was none; on both ways."""
        await http.make_topic()
        taken = http.taken_at("n1", monkeypatch)
        for unusual in ({}, {"X-Unusual": "1"}):
            headers = {"Content-Type": "application/json", **unusual}
            answer = await http.call("POST", RECORDS, data=b'{"value": 1}', headers=headers)
            assert answer.headers["Vary"] == "Origin"
            refused = await http.call("POST", RECORDS, data=b"none", headers=headers)
            assert (refused.status, refused.headers["Vary"]) == (400, "Origin")
        assert taken == [True, True, False, False]
        assert (await http.call("GET", RECORDS)).headers["Vary"] == "Accept, Origin"

    async def test_an_event_source_of_the_page_goes_on_where_it_was(self, http: Harness) -> None:
        """As browsers do it: the stream, then again with ``Last-Event-ID``."""
        await http.make_topic()
        for value in range(3):
            await http.call("POST", RECORDS, json={"value": value})
        headers = {"Origin": "https://app.example", "Accept": "text/event-stream"}
        for node in NODES:
            first = await http.call("GET", RECORDS + "?max_records=2", node=node, headers=headers)
            last = first.body.decode().split("id: ")[-1].split("\n")[0]
            url = http.url(RECORDS + "?max_records=1", node)
            async with aiohttp.ClientSession() as session:
                again = await session.get(url, headers={**headers, "Last-Event-ID": last})
                assert again.headers["Access-Control-Allow-Origin"] == "https://app.example"
                data = (await again.read()).decode().split("data: ")[1].split("\n")[0]
            assert json.loads(data)["value"] == 2
