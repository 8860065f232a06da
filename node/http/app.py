"""The HTTP application of one node: its routes, and the one middleware around all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from node.broker import Broker
from node.http.acls import AccessControl
from node.http.cluster import Cluster
from node.http.context import CONTEXT, HttpContext
from node.http.door import DOOR, Door
from node.http.fast_path import FAST_PATH, FastPath
from node.http.fetch import PartitionFetch
from node.http.fetch_topic import TopicFetch
from node.http.group_offsets import GroupOffsets
from node.http.group_records import GroupRecords
from node.http.groups import Groups
from node.http.metrics import HttpMetrics
from node.http.middleware import outermost
from node.http.origins import Origins
from node.http.produce import PartitionProduce
from node.http.produce_topic import TopicProduce
from node.http.producers import Producers
from node.http.queue_dead import QueueDead
from node.http.queue_receive import QueueReceive
from node.http.queue_settling import ACTIONS, QueueSettling
from node.http.queues import Queues
from node.http.quotas import Quotas
from node.http.reassignments import Reassignments
from node.http.shaping import Shaping
from node.http.source_positions import SourcePositions
from node.http.topics import Topics
from node.http.users import Users
from node.http.wait_topic import TopicWait
from node.request_limits import RequestLimits
from node.service.authentication import Authentication
from node.service.policy import Policy


def create_app(
    broker: Broker,
    settings: RequestLimits,
    origins: Origins | None = None,
    policy: Policy | None = None,
    authenticator: Authentication | None = None,
) -> web.Application:
    """All routes over ``broker``. More metrics: ``app[CONTEXT].metrics.register(collector)``.

    Without ``origins`` only the node's addresses are accepted as hosts, and no web page may use it. Without
    a ``policy`` everybody may do everything, without an ``authenticator`` nobody is asked who they are.
    """
    origins = origins or Origins()
    context = HttpContext(
        broker=broker,
        settings=settings,
        metrics=HttpMetrics(broker),
        policy=policy,
        authenticator=authenticator,
    )
    # Bodies are bounded by read_body; aiohttp's own bound guards only what is read by other means.
    app = web.Application(middlewares=[outermost(context)], client_max_size=settings.body_bytes_max)
    app[CONTEXT] = context
    app[DOOR] = door = Door(context, origins)
    app[FAST_PATH] = FastPath(context, origins)
    app.on_response_prepare.append(door.on_response_prepare)
    app.add_routes(_routes(context))
    app.cleanup_ctx.append(_sessions)
    return app


def _routes(context: HttpContext) -> list[web.RouteDef]:
    produce, produce_topic = PartitionProduce(context), TopicProduce(context)
    fetch, fetch_topic = PartitionFetch(context), TopicFetch(context)
    topics, cluster, moves = Topics(context), Cluster(context), Reassignments(context)
    acls, quotas = AccessControl(context), Quotas(context)
    shaping, users, positions = Shaping(context), Users(context), SourcePositions(context)
    groups, offsets = Groups(context), GroupOffsets(context)
    queues, settling, dead = Queues(context), QueueSettling(context), QueueDead(context)
    queue = "/v1/queues/{queue}"
    group = "/v1/groups/{group}"
    topic = "/v1/topics/{topic}"
    partition = topic + "/partitions/{partition}"

    # The first match is taken, so the most frequent routes come first.
    return [
        web.post(f"{partition}/records", produce.post),
        web.get(f"{partition}/records", fetch.get),
        web.post(f"{topic}/records", produce_topic.post),
        web.get(f"{topic}/records", fetch_topic.get),
        web.get(f"{topic}/wait", TopicWait(context).get),
        web.get(f"{partition}/tail", fetch.tail),
        web.get(f"{partition}/positions/{{group}}", positions.get),
        web.post(f"{partition}/positions/{{group}}", positions.post),
        web.put(f"{partition}/positions/{{group}}", positions.put),
        web.delete(f"{partition}/positions/{{group}}", positions.delete),
        web.post(f"{queue}/receive", QueueReceive(context).post),
        *(web.post(f"{queue}/{action}", settling.handler(action)) for action in ACTIONS),
        web.post(f"{queue}/purge", queues.purge),
        web.post(f"{queue}/dead/replay", dead.replay),
        web.post(f"{queue}/dead/purge", dead.purge),
        web.get(f"{queue}/dead", dead.list),
        web.get(f"{queue}/dead/{{id}}", dead.get),
        web.get(queue, queues.get),
        web.put(queue, queues.put),
        web.delete(queue, queues.delete),
        web.get("/v1/queues", queues.list),
        web.get(topic, topics.get),
        web.put(topic, topics.put),
        web.patch(topic, topics.patch),
        web.delete(topic, topics.delete),
        web.get("/v1/topics", topics.list),
        web.post(f"{group}/records", GroupRecords(context).post),
        web.post(f"{group}/offsets", offsets.commit),
        web.get(f"{group}/offsets", offsets.get),
        web.delete(f"{group}/offsets", offsets.delete),
        web.post(f"{group}/offsets/reset", offsets.reset),
        web.post(f"{group}/members", groups.join),
        web.post(f"{group}/members/{{member}}", groups.heartbeat),
        web.delete(f"{group}/members/{{member}}", groups.leave),
        web.get(f"{group}/lag", groups.lag),
        web.get(group, groups.get),
        web.delete(group, groups.delete),
        web.get("/v1/groups", groups.list),
        web.post("/v1/producers", Producers(context).post),
        web.get("/v1/users", users.list),
        web.post("/v1/users", users.post),
        web.get("/v1/users/{user}", users.get),
        web.patch("/v1/users/{user}", users.patch),
        web.delete("/v1/users/{user}", users.delete),
        web.put("/v1/users/{user}/password", users.password),
        web.get("/v1/users/{user}/tokens", users.tokens),
        web.post("/v1/users/{user}/tokens", users.create_token),
        web.delete("/v1/users/{user}/tokens/{id}", users.revoke_token),
        web.post("/v1/login", users.login),
        web.get("/v1/quotas", quotas.list),
        web.put("/v1/quotas/{principal}", quotas.put),
        web.delete("/v1/quotas/{principal}", quotas.delete),
        web.get("/v1/acls", acls.get),
        web.post("/v1/acls", acls.post),
        web.delete("/v1/acls", acls.delete),
        web.get("/v1/acls/check", acls.decide),
        web.get("/v1/me", users.me),
        web.get("/v1/cluster", cluster.cluster),
        web.get("/v1/cluster/health", cluster.health),
        web.get("/v1/cluster/features", cluster.features),
        web.post("/v1/cluster/features", cluster.raise_level),
        web.get("/v1/reassignments", moves.get),
        web.post("/v1/reassignments", moves.post),
        web.get("/v1/nodes", cluster.nodes),
        web.delete("/v1/nodes/{node}", cluster.forget),
        web.get("/v1/nodes/{node}/drain", shaping.drain_of),
        web.post("/v1/nodes/{node}/drain", shaping.drain),
        web.delete("/v1/nodes/{node}/drain", shaping.undrain),
        web.get("/v1/nodes/{node}/removal", shaping.removal),
        web.post("/v1/nodes/{node}/replacement", shaping.replace),
        web.get("/v1/cluster/rebalance", shaping.plan),
        web.post("/v1/cluster/rebalance", shaping.rebalance),
        web.delete("/v1/cluster/rebalance", shaping.cancel),
        web.get("/healthz", cluster.healthz),
        web.get("/readyz", cluster.readyz),
        web.get("/metrics", cluster.metrics),
        web.get("/openapi.json", cluster.openapi),
        web.get("/", cluster.index),
    ]


async def _sessions(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[CONTEXT].close()
