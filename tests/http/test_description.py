"""What the server says about itself."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from node.broker import Health
from node.http import openapi
from node.http.app import create_app
from node.http.context import CONTEXT
from node.request_limits import RequestLimits
from tests.http.conftest import Harness
from tests.http.memory_broker import MemoryCluster


def test_openapi_describes_the_routes_and_nothing_else() -> None:
    """Path by path, method by method, parameter by parameter of the path. HEAD is there wherever GET is."""
    app = create_app(MemoryCluster().brokers["n1"], RequestLimits())
    routed = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None
    }
    paths = openapi.document(RequestLimits())["paths"]
    described = {(path, method) for path, methods in paths.items() for method in methods}
    assert routed == described | {(path, "head") for path, method in described if method == "get"}
    for path, methods in paths.items():
        for operation in methods.values():
            named = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
            assert all(f"{{{name}}}" in path for name in named)
            assert path.count("{") == len(named)


async def test_health_and_readiness(http: Harness) -> None:
    """Alive is not ready: readiness says what is missing."""
    assert (await http.call("GET", "/healthz")).json == {"status": "alive", "node_id": "n1"}
    assert (await http.call("GET", "/readyz")).json["ready"] is True
    http.broker.healthy = Health(ready=False, reasons=["t/0 has no leader"])
    ready = await http.call("GET", "/readyz")
    assert (ready.status, ready.json["reasons"]) == (503, ["t/0 has no leader"])


async def test_the_cluster_and_its_nodes_are_shown(http: Harness) -> None:
    """With the addresses to go to; and the first page has lines to try."""
    await http.make_topic(partitions=3)
    cluster = (await http.call("GET", "/v1/cluster")).json
    assert (cluster["node_id"], cluster["topics"], cluster["partitions"]) == ("n1", 1, 3)
    nodes = (await http.call("GET", "/v1/nodes")).json["nodes"]
    assert [{name: node[name] for name in cluster["nodes"][0]} for node in nodes] == cluster["nodes"]
    assert nodes[0]["http"] == http.url("")
    assert f"curl -X PUT {http.url('')}/v1/topics/orders".encode() in (await http.call("GET", "/")).body


@pytest.mark.parametrize("node_count", [3])
async def test_the_feature_level_is_shown_and_raised_at_every_node(http: Harness) -> None:
    """The metadata's leader raises it, whoever is asked; what is no level is 400 at each of them."""
    path = "/v1/cluster/features"
    for number, node in enumerate(("n1", "n2", "n3"), start=2):
        http.cluster.levels = dict.fromkeys(http.cluster.urls, (1, number))
        assert (await http.call("GET", path, node=node)).json["can_finalize"] == number
        raised = await http.call("POST", path, node=node, json={"level": number})
        assert (raised.status, raised.json["level"], raised.json["can_finalize"]) == (200, number, None)
        assert {(await http.call("GET", path, node=each)).body for each in http.cluster.urls} == {raised.body}
        lowered = await http.call("POST", path, node=node, json={"level": 1})
        assert (lowered.status, lowered.json["code"], lowered.json["level"]) == (409, "conflict", number)
        for body in (b"", b"[]", b"{}", b'{"level": "2"}', b'{"level": 2, "now": true}', b"\xff"):
            assert (await http.call("POST", path, node=node, data=body)).status == 400


async def test_metrics_count_by_route_and_never_by_what_clients_send(http: Harness) -> None:
    """Templates, known methods and status classes; partitions from the broker; more can be registered."""
    await http.make_topic(partitions=2)
    for number in range(5):
        await http.call("POST", "/v1/topics/t/records", json={"value": 1, "partition": 0})
        await http.call("GET", f"/nothing/{number}")
        await http.call("GET", f"/v1/topics/none{number}")
    text = (await http.call("GET", "/metrics")).body.decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return samples[name, tuple(sorted(labels.items()))]

    total = "floodmark_http_requests_total"
    assert value(total, route="/v1/topics/{topic}/records", method="POST", status="2xx") == 5
    assert value(total, route="unmatched", method="GET", status="4xx") == 5
    assert value(total, route="/v1/topics/{topic}", method="GET", status="4xx") == 5
    assert value("floodmark_partition_leader", topic="t", partition="1", node="n1") == 1
    assert "nothing" not in text


async def test_the_node_can_add_figures_of_its_own(http: Harness) -> None:
    """Whatever the other rooms measure."""
    app = create_app(http.broker, RequestLimits())
    gauge = Gauge("floodmark_peer_queue_bytes", "x", registry=CollectorRegistry())
    gauge.set(7)
    app[CONTEXT].metrics.register(gauge)
    assert b"floodmark_peer_queue_bytes 7.0" in await app[CONTEXT].metrics.render()


async def test_a_defect_is_500_with_an_id_that_the_log_has(
    http: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client is told nothing of the inside; the log has the traceback, under the same id."""

    def broken() -> Any:
        raise ZeroDivisionError("inside")

    http.broker.cluster.show = broken  # type: ignore[method-assign]
    answer = await http.call("GET", "/v1/cluster")
    assert (answer.status, answer.json["code"]) == (500, "server_error")
    assert "inside" not in answer.body.decode()
    logged = capsys.readouterr().out
    assert answer.json["request_id"] in logged
    assert "ZeroDivisionError" in logged


async def test_what_is_not_there_is_a_problem_document(http: Harness) -> None:
    """404 and 405 like every other error."""
    missing = await http.call("GET", "/v2")
    assert (missing.status, missing.json["code"]) == (404, "not_found")
    method = await http.call("POST", "/v1/cluster")
    assert (method.status, method.json["code"], method.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, HEAD",
    )
    assert missing.headers["Request-Id"] == missing.json["request_id"]


def test_the_application_can_be_made_twice() -> None:
    """Registries are the application's own."""
    broker = MemoryCluster().brokers["n1"]
    assert isinstance(create_app(broker, RequestLimits()), web.Application)
    assert isinstance(create_app(broker, RequestLimits()), web.Application)
    assert logging.getLogger("floodmark.http").level == logging.NOTSET
