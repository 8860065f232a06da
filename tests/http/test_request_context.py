"""Who asks: the context of a request, whichever way it takes through the door."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from floodmark.errors import Forbidden

from node.http.app import create_app
from node.http.context import CONTEXT
from node.http.plain_head import PlainHeads
from node.http.request_context import plain_request_context, request_context
from node.request_limits import RequestLimits
from node.service.authentication import Identity
from node.service.policy import CLUSTER, Operation, Resource
from node.service.request_context import ANONYMOUS, RequestContext
from tests.http.memory_broker import MemoryCluster

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_context_says_who_asks_through_which_door() -> None:
    request = make_mocked_request("GET", "/", {"User-Agent": "checkout/1.2", "traceparent": TRACE})
    context = request_context(request)
    assert context.protocol == "http"
    assert context.principal == ANONYMOUS
    assert context.client_id == "checkout/1.2"
    assert context.trace == TRACE


def test_the_fast_path_knows_who_asks() -> None:
    head = (
        b"POST /v1/topics/t/partitions/0/records HTTP/1.1\r\nHost: n1\r\n"
        b"User-Agent: checkout/1.2\r\nContent-Length: 1\r\n\r\n1"
    )
    found = PlainHeads(lambda _: True, lambda _: False).read(head)
    assert found is not None
    context = plain_request_context(found[0], "10.0.0.7", Identity("ann", "token t"))
    assert (context.client_id, context.address, context.protocol) == ("checkout/1.2", "10.0.0.7", "http")
    assert (context.principal, context.credential) == ("ann", "token t")


def test_the_service_asks_the_policy_that_the_application_was_given() -> None:
    class NobodyAlters:
        def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
            if operation is Operation.ALTER:
                raise Forbidden("nobody alters here")

    broker = MemoryCluster().brokers["n1"]
    service = create_app(broker, RequestLimits(), policy=NobodyAlters())[CONTEXT].service
    context = RequestContext(protocol="test")
    service.admit(context, Operation.DESCRIBE, 0)
    with pytest.raises(RuntimeError, match="one request"):
        service.admit(context.within(1.0), Operation.DESCRIBE, 0)
    service.authorize(context, Operation.DESCRIBE, CLUSTER)
    assert service.may(context, Operation.DESCRIBE, CLUSTER)
    assert not service.may(context, Operation.ALTER, CLUSTER)
    with pytest.raises(Forbidden):
        service.authorize(context, Operation.ALTER, CLUSTER)
