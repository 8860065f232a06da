"""The node about itself and the cluster: first words, health, metrics, and the description of the API."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from node.http import openapi
from node.http.context import HttpContext
from node.http.query import query_of

_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}
_METRICS: Final = {
    "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": "floodmark",
}
_ENCODER = msgspec.json.Encoder()
_NO_QUERY: Final[frozenset[str]] = frozenset()
_WORDS: Final = """\
Floodmark, node {node}: a replicated event log you can curl. Any node answers any request.

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
        self._openapi = _ENCODER.encode(openapi.document(context.settings)) + b"\n"

    async def index(self, _request: web.Request) -> web.StreamResponse:
        """Where to begin, as text."""
        broker = self._context.broker
        base = broker.node_url(broker.node_id) or ""
        text = _WORDS.format(node=broker.node_id, base=base.rstrip("/"))
        return web.Response(text=text, headers={"Cache-Control": "no-store", "Server": "floodmark"})

    async def cluster(self, request: web.Request) -> web.StreamResponse:
        """The whole picture."""
        query_of(request, _NO_QUERY)
        return _answer(self._context.broker.cluster())

    async def nodes(self, request: web.Request) -> web.StreamResponse:
        """The nodes, in order of id."""
        query_of(request, _NO_QUERY)
        return _answer({"nodes": self._context.broker.nodes()})

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        """Alive: this process answers."""
        return _answer({"status": "alive", "node_id": self._context.broker.node_id})

    async def readyz(self, _request: web.Request) -> web.StreamResponse:
        """Ready: it can serve; 503 and why not, otherwise."""
        health = self._context.broker.health()
        reasons = list(health.reasons)
        if self._context.draining.is_set():
            reasons.append("this node is stopping")
        ready = health.ready and not self._context.draining.is_set()
        answer = {"ready": ready, "reasons": reasons, "warnings": health.warnings}
        return _answer(answer, status=200 if ready else 503)

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """For Prometheus."""
        return web.Response(body=self._context.metrics.render(), headers=_METRICS)

    async def openapi(self, _request: web.Request) -> web.StreamResponse:
        """This API, described for programs."""
        return web.Response(body=self._openapi, headers=_JSON)


def _answer(content: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODER.encode(content) + b"\n", headers=_JSON)
