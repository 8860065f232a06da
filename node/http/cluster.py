"""The node about itself and the cluster over HTTP: first words, health, metrics, the API's description."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from node.http import openapi
from node.http.answers import JSON, NO_QUERY, TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.documents import Alive, Ready
from node.http.node_view import VIEW, is_own_view
from node.http.query import flag, query_of
from node.http.request_context import request_context
from node.service.cluster import (
    DescribeCluster,
    DescribeFeatures,
    DescribeHealth,
    DescribeOwnHealth,
    ListNodes,
    RaiseLevel,
    readiness,
)
from node.service.nodes import ForgetNode, RemoveNode
from node.service.policy import CLUSTER, Operation
from node.service.request_context import ANONYMOUS

_METRICS: Final = {
    "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": "floodmark",
}


class LevelBody(msgspec.Struct, forbid_unknown_fields=True):
    """The feature level that is to be."""

    level: int


_LEVEL = msgspec.json.Decoder(LevelBody)
_ENCODER = msgspec.json.Encoder()
_HEALTH_QUERY: Final = frozenset({VIEW})
_REMOVAL: Final = TIMEOUT | {"force"}
_WORDS: Final = """\
Floodmark{of_node}: a replicated event log you can curl. Any node answers any request.

  curl -X PUT {base}/v1/topics/orders -d '{{"partitions": 3}}'
  curl {base}/v1/topics/orders/records -d '{{"key": "u1", "value": {{"id": 1}}}}'
  curl {base}/v1/topics/orders/records
  curl -N -H 'Accept: text/event-stream' '{base}/v1/topics/orders/records?from=latest'

  {base}/v1/cluster   {base}/metrics   {base}/openapi.json
"""


class Cluster:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)
        self._openapi = _ENCODER.encode(openapi.document(context.settings)) + b"\n"

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Where to begin, as text."""
        broker = self._context.broker
        base, of_node = broker.node_url(broker.node_id) or "", f", node {broker.node_id}"
        if self._is_stranger(request):
            base, of_node = f"{request.scheme}://{request.host}", ""
        text = _WORDS.format(of_node=of_node, base=base.rstrip("/"))
        return web.Response(text=text, headers={"Cache-Control": "no-store", "Server": "floodmark"})

    async def cluster(self, request: web.Request) -> web.StreamResponse:
        """The whole picture."""
        return await self._desk.show(request, DescribeCluster(), known=NO_QUERY)

    async def nodes(self, request: web.Request) -> web.StreamResponse:
        """The nodes, in order of id, each as it says itself."""
        return await self._desk.show(request, ListNodes(), known=NO_QUERY)

    async def health(self, request: web.Request) -> web.StreamResponse:
        """What all nodes say together, or what this one says of itself alone."""
        is_of_node = is_own_view(self._context, request, query_of(request, _HEALTH_QUERY))
        asked = DescribeOwnHealth() if is_of_node else DescribeHealth()
        return await self._desk.show(request, asked, known=_HEALTH_QUERY)

    async def forget(self, request: web.Request) -> web.StreamResponse:
        """Do without a node for good: 204 when it is, 202 where it has to be drained for it."""
        node, query = request.match_info["node"], query_of(request, _REMOVAL)
        asked = RemoveNode(node=node) if flag(query, "force") else ForgetNode(node=node)
        return await self._desk.show(request, asked, known=_REMOVAL, status=202)

    async def features(self, request: web.Request) -> web.StreamResponse:
        """The feature level that the cluster has agreed on, and which ones each node knows."""
        return await self._desk.show(request, DescribeFeatures())

    async def raise_level(self, request: web.Request) -> web.StreamResponse:
        """Raise it, for good."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _LEVEL, '{"level": 2}')
        asked = RaiseLevel(level=wanted.level)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        """Alive: this process answers. Open to everybody; strangers do not hear who it is."""
        is_stranger = self._is_stranger(request)
        return _answer(Alive("alive", msgspec.UNSET if is_stranger else self._context.broker.node_id))

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        """Ready: it can serve; 503 and why not, otherwise. Open to everybody; strangers do not hear why."""
        health = readiness(self._context.service)
        answer = Ready(health.ready, list(health.reasons), list(health.warnings))
        if self._is_stranger(request):
            answer = Ready(health.ready)
        return _answer(answer, status=200 if health.ready else 503)

    def _is_stranger(self, request: web.Request) -> bool:
        """Whether whoever asks a path that is open may not know what the cluster looks like."""
        service, context = self._context.service, request_context(request)
        if service.authenticator is None:
            return False
        return context.principal == ANONYMOUS or not service.may(context, Operation.DESCRIBE, CLUSTER)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """For Prometheus."""
        context, service = request_context(request), self._context.service
        service.authorize(context, Operation.DESCRIBE, CLUSTER)
        service.admit(context, Operation.DESCRIBE, 0)
        return web.Response(body=await self._context.metrics.render(), headers=_METRICS)

    async def openapi(self, _request: web.Request) -> web.StreamResponse:
        """This API, described for programs. Open to everybody."""
        return web.Response(body=self._openapi, headers=JSON)


def _answer(content: Alive | Ready, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODER.encode(content) + b"\n", headers=JSON)
