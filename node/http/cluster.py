"""The node about itself and the cluster: first words, health, metrics, and the description of the API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec
from aiohttp import web

from node.broker import ListedNode, NodeState
from node.http import openapi
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.forward import is_forwarded, to_metadata_leader
from node.http.produce import timeout_of
from node.http.query import flag, node_id, query_of

_JSON: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "floodmark"}
_METRICS: Final = {
    "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
    "Cache-Control": "no-store",
    "Server": "floodmark",
}


class _Level(msgspec.Struct, forbid_unknown_fields=True):
    level: int


_LEVEL = msgspec.json.Decoder(_Level)
_ENCODER = msgspec.json.Encoder()
_NO_QUERY: Final[frozenset[str]] = frozenset()
_TIMEOUT: Final = frozenset({"timeout"})
_REMOVAL: Final = frozenset({"timeout", "force"})
_HAND_OVER_S: Final = 2.0
"""How long a node that leads the metadata and is to be removed waits for another to lead them."""
_STOPPING: Final = "this node is stopping"
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
        self._context.broker.check_current()
        return _answer(self._context.broker.cluster())

    async def nodes(self, request: web.Request) -> web.StreamResponse:
        """The nodes, in order of id, each as it says itself."""
        query_of(request, _NO_QUERY)
        broker = self._context.broker
        broker.check_current()
        nodes = await broker.list_nodes()
        if self._context.draining.is_set():
            nodes = [_stopping(node) if node.node_id == broker.node_id else node for node in nodes]
        return _answer({"nodes": nodes})

    async def health(self, request: web.Request) -> web.StreamResponse:
        """What all nodes say together; another node that asks hears of this one alone."""
        query_of(request, _NO_QUERY)
        if is_forwarded(request):
            health = self._context.broker.node_health()
            if self._context.draining.is_set():
                reasons = [*health.reasons, _STOPPING]
                health = replace(health, ready=False, stopping=True, reasons=reasons)
            return _answer(health)
        return _answer(await self._context.broker.cluster_health())

    async def forget(self, request: web.Request) -> web.StreamResponse:
        """Do without a node for good: 204 when it is, 202 where it has to be drained for it."""
        node, broker = node_id(request), self._context.broker
        query = query_of(request, _REMOVAL)
        timeout_s = timeout_of(query.get("timeout"), self._context)
        force = flag(query, "force")
        await broker.leave_metadata_to_others(node, timeout_s=min(timeout_s, _HAND_OVER_S))
        if not broker.metadata_leads_here:
            path = f"/v1/nodes/{node}"
            answer = await to_metadata_leader(self._context, request, path, timeout_s=timeout_s)
            if answer is not None:
                return answer
        if force:
            drain = await broker.retire(node, heir="", timeout_s=timeout_s)
            return web.Response(status=202, body=_ENCODER.encode(drain) + b"\n", headers=_JSON)
        await broker.forget_node(node, timeout_s=timeout_s)
        return web.Response(status=204, headers={"Server": "floodmark"})

    async def features(self, request: web.Request) -> web.StreamResponse:
        """The feature level that the cluster has agreed on, and which ones each node knows."""
        timeout_s = timeout_of(query_of(request, _TIMEOUT).get("timeout"), self._context)
        if not self._context.broker.metadata_leads_here:
            # What nodes know the leader has from themselves; others may have it from a build that lost it.
            path = "/v1/cluster/features"
            answer = await to_metadata_leader(self._context, request, path, timeout_s=timeout_s)
            if answer is not None:
                return answer
        return _answer(await self._context.broker.features(timeout_s=timeout_s))

    async def raise_level(self, request: web.Request) -> web.StreamResponse:
        """Raise it, for good."""
        timeout_s = timeout_of(query_of(request, _TIMEOUT).get("timeout"), self._context)
        if not self._context.broker.metadata_leads_here:
            path = "/v1/cluster/features"
            answer = await to_metadata_leader(self._context, request, path, timeout_s=timeout_s)
            if answer is not None:
                return answer
        wanted = await read_document(request, self._context, _LEVEL, '{"level": 2}')
        return _answer(await self._context.broker.raise_level(wanted.level, timeout_s=timeout_s))

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        """Alive: this process answers."""
        return _answer({"status": "alive", "node_id": self._context.broker.node_id})

    async def readyz(self, _request: web.Request) -> web.StreamResponse:
        """Ready: it can serve; 503 and why not, otherwise."""
        health = self._context.broker.health()
        reasons = list(health.reasons)
        if self._context.draining.is_set():
            reasons.append(_STOPPING)
        ready = health.ready and not self._context.draining.is_set()
        answer = {"ready": ready, "reasons": reasons, "warnings": health.warnings}
        return _answer(answer, status=200 if ready else 503)

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """For Prometheus."""
        return web.Response(body=await self._context.metrics.render(), headers=_METRICS)

    async def openapi(self, _request: web.Request) -> web.StreamResponse:
        """This API, described for programs."""
        return web.Response(body=self._openapi, headers=_JSON)


def _stopping(node: ListedNode) -> ListedNode:
    return replace(node, state=NodeState.STOPPING, reasons=[*node.reasons, _STOPPING])


def _answer(content: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODER.encode(content) + b"\n", headers=_JSON)
