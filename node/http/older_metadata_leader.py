"""Asking a metadata leader of a build that knows no typed requests: over its public HTTP, as its users do.

Such builds speak a peer protocol below 6. Remove this when upgrades from them are no longer supported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import aiohttp
import msgspec
from floodmark.errors import FloodmarkError, OutcomeUnknown, Unavailable

from node.http.node_address import base_url
from node.http.problem_in import error_of
from node.http.topic_id import TOPIC_ID
from node.service.administration import AT_METADATA_LEADER
from node.service.cluster import DescribeFeatures, RaiseLevel
from node.service.moves import MoveReplicas
from node.service.nodes import DrainNode, ForgetNode, Rebalance, RemoveNode, ReplaceNode
from node.service.policy import Operation
from node.service.producer_ids import InitProducerId
from node.service.requests import Request
from node.service.topic_changes import AlterTopic, CreatedTopic, CreateTopic, DeleteTopic
from node.service.topic_description import TopicDescription
from node.service.while_heard import WhileHeard

if TYPE_CHECKING:
    from node.http.context import HttpContext

_RESULTS: Final = dict(AT_METADATA_LEADER.values())
_LATER: Final = {"id": None, "batch_format": 1}
_LATER_OF_PARTITIONS: Final = {"leader_epoch": None}
"""What topic descriptions of older builds lack."""
R = TypeVar("R")


class _Way(NamedTuple):
    """One request as HTTP has it."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] = MappingProxyType({})


def _named(request: Request[Any], *names: str) -> dict[str, Any]:
    """The fields that are set."""
    return {name: value for name in names if (value := getattr(request, name)) is not None}


_WAYS: Final[dict[type[Request[Any]], Callable[[Any], _Way]]] = {
    CreateTopic: lambda asked: _Way(
        "PUT", f"/v1/topics/{asked.topic}", _named(asked, "partitions", "replication_factor", "config")
    ),
    AlterTopic: lambda asked: _Way(
        "PATCH", f"/v1/topics/{asked.topic}", _named(asked, "config", "partitions", "replication_factor")
    ),
    DeleteTopic: lambda asked: _Way("DELETE", f"/v1/topics/{asked.topic}"),
    DescribeFeatures: lambda _: _Way("GET", "/v1/cluster/features"),
    RaiseLevel: lambda asked: _Way("POST", "/v1/cluster/features", {"level": asked.level}),
    MoveReplicas: lambda asked: _Way("POST", "/v1/reassignments", {"reassignments": asked.moves}),
    DrainNode: lambda asked: _Way("DELETE" if asked.undo else "POST", f"/v1/nodes/{asked.node}/drain"),
    ForgetNode: lambda asked: _Way("DELETE", f"/v1/nodes/{asked.node}"),
    RemoveNode: lambda asked: _Way("DELETE", f"/v1/nodes/{asked.node}", query={"force": "true"}),
    ReplaceNode: lambda asked: _Way("POST", f"/v1/nodes/{asked.node}/replacement", {"node_id": asked.by}),
    Rebalance: lambda asked: _Way("POST" if asked.begin else "DELETE", "/v1/cluster/rebalance"),
    InitProducerId: lambda asked: _Way(
        "POST", "/v1/producers", _named(asked, "producer_id", "producer_epoch") or None
    ),
}


async def ask_older_leader(
    context: HttpContext, node: str, request: Request[R], *, mark: dict[str, str], timeout_s: float
) -> R:
    """See ``InsideLine.ask``; for requests of the metadata's leader. ``mark``: what tells of a node."""
    method, path, body, more = _WAYS[type(request)](request)
    headers = dict(mark)
    if (topic_id := getattr(request, "topic_id", None)) is not None:
        headers[TOPIC_ID] = str(topic_id)
    if body is not None:
        headers["Content-Type"] = "application/json"
    url = base_url(context.broker, node) + path
    query = {"timeout": f"{max(1, int(timeout_s * 1000))}ms", **more}
    data = None if body is None else msgspec.json.encode(body)
    try:
        async with (
            asyncio.timeout(timeout_s + context.settings.forward_grace_s),
            WhileHeard(context.broker, node),
            context.session.request(
                method, url, params=query, data=data, headers=headers, allow_redirects=False
            ) as answer,
        ):
            found = await answer.read()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unavailable(f"node {node} cannot be reached", leader=node) from error
    except (aiohttp.ClientError, TimeoutError, ConnectionError, FloodmarkError) as error:
        if request.operation is Operation.DESCRIBE:
            raise Unavailable(f"node {node} did not answer", leader=node) from error
        raise OutcomeUnknown(f"node {node} did not answer; it may have done it", leader=node) from error
    if answer.status >= 300:
        raise error_of(answer.status, found)
    return cast(R, _result(request, answer.status, found))


def _result(request: Request[Any], status: int, body: bytes) -> Any:
    """Raises ``Unavailable`` for what is not understood."""
    kind = _RESULTS[type(request)]
    try:
        if kind is None:
            return None
        if kind is CreatedTopic:
            return CreatedTopic(_topic(body), status == 201)
        return _topic(body) if kind is TopicDescription else msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise OutcomeUnknown(f"the answer of an older node is not understood: {error}") from error


def _topic(body: bytes) -> TopicDescription:
    found: dict[str, Any] = msgspec.json.decode(body)
    partitions = [{**_LATER_OF_PARTITIONS, **partition} for partition in found["partitions"]]
    return msgspec.convert({**_LATER, **found, "partitions": partitions}, TopicDescription)
