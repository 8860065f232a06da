"""Puts a node together. The only module that knows which classes are behind the doors."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from consensus.core.catch_up import CatchUp
from consensus.host.group_host import GroupHost
from consensus.host.host_types import HostOptions
from consensus.links.handshake import Identity
from consensus.links.link_types import LinkOptions
from node import descriptors
from node.addresses import split_address
from node.administrator_files import AdministratorFiles
from node.budget import SharedBudget
from node.control.controller import Controller
from node.coordinator.coordinator import Coordinator
from node.environment import Environment
from node.http.app import create_app
from node.http.context import CONTEXT, HttpContext
from node.http.older_nodes import OlderNodes
from node.http.origins import Origins
from node.http.server import HttpServer
from node.leader_gossip import LeaderGossip
from node.links_line import LinksLine
from node.local_broker import LocalBroker
from node.membership.boots import Boots
from node.membership.dialer import Dialer
from node.membership.discovery import Discovery
from node.membership.formation import nodes_of
from node.membership.identity import NodeIdentity, save
from node.membership.liveness import Liveness
from node.membership.registry import Registry
from node.membership.seeds import Seeds
from node.metadata.delta import MetadataDelta
from node.metadata.group import Metadata
from node.metadata.levels import Levels
from node.metadata.machine import MetadataMachine
from node.metadata.state import MetadataState
from node.metadata.this_build import THIS_BUILD
from node.metrics import CoordinatorCollector, HostCollector, LevelCollector, NodeMetrics, QuotaCollector
from node.node_query import NodeAnswers, NodeQuery
from node.partition.batch_format import BatchFormat
from node.partition.partition import Replica
from node.partition.producers_here import ProducersLed
from node.partition.remote_partition import LeaderLookup
from node.queue_metrics import QueueCollector
from node.recovery_file import RecoveryFile
from node.replicas.disk_reserve import DiskReserve
from node.replicas.group_factory import GroupFactory
from node.replicas.host_events import HostEvents
from node.replicas.manager import ReplicaManager
from node.replicas.partition_parts import PartitionParts
from node.replicas.partition_replicas import PartitionReplicas
from node.replicas.replica_here import ReplicaHere
from node.replicas.replica_store import ReplicaStore
from node.replicas.retention import Retention
from node.replicas.scrub import Scrub
from node.security.access_policy import AccessPolicy
from node.security.audit import AuditLog
from node.security.audit_topic import AuditTopic
from node.security.authenticator import Authenticator
from node.security.credentials import Credentials
from node.security.freshness import Freshness
from node.service.administration import answer_administration
from node.service.answer_budget import AnswerBudget
from node.service.cluster import own_health
from node.service.coordination import answer_coordination
from node.service.inside_answers import InsideAnswers
from node.service.open_reads import OpenReads
from node.service.partition_answers import PartitionAnswers
from node.service.partition_requests import InsidePartitions
from node.service.policy import AllowAll
from node.service.queue_records import QueueRecords
from node.service.topic_changes import ConfigChanges
from node.settings import Settings
from node.spare_memory import SpareMemory
from node.views import Views


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What server.py starts, watches and stops."""

    host: GroupHost
    discovery: Discovery
    dialer: Dialer
    seeds: Seeds
    metadata: Metadata
    store: ReplicaStore
    registry: Registry
    manager: ReplicaManager
    replicas: PartitionReplicas
    controller: Controller
    scrub: Scrub
    disk: DiskReserve
    coordinator: Coordinator
    broker: LocalBroker
    query: NodeQuery
    gossip: LeaderGossip
    app: web.Application
    http: HttpServer
    credentials: Credentials
    executor: ThreadPoolExecutor
    events: HostEvents
    metrics: NodeMetrics
    audit: AuditTopic | None
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    """Tasks that run for as long as this node takes part."""


def build(
    settings: Settings,
    identity: NodeIdentity,
    registry: Registry,
    credentials: Credentials,
    around: Environment,
    levels: Levels = THIS_BUILD,
) -> NodeParts:
    """All parts of a node, nothing started."""
    data_dir = settings.node.data_dir
    disk = DiskReserve(partial(around.fs.space, data_dir), settings.storage.disk_reserve_bytes)
    catch_up = CatchUp(settings.limits.catch_up_bytes_per_s)
    metrics = NodeMetrics(catch_up)
    events = HostEvents(identity.node_id, metrics)
    node_id = identity.node_id
    executor = ThreadPoolExecutor(8, thread_name_prefix="replicas")
    store = ReplicaStore(around.fs, data_dir)
    machine = MetadataMachine(levels)
    discovery = Discovery(
        identity,
        registry,
        initial_nodes=settings.initial_nodes,
        nodes=nodes_of(around.fs, data_dir, identity, registry),
        keep=partial(save, around.fs, data_dir),
        levels=levels,
        joins=bool(settings.cluster.join),
    )
    boots = Boots(discovery, registry, executor, settings.storage.boot_interval_s)
    gossip = LeaderGossip(node_id)
    secret, *others = credentials.secrets
    host = GroupHost(
        Identity(settings.cluster.id, node_id, identity.incarnation, secret, others=tuple(others)),
        split_address(settings.peer.listen),
        hooks=events.hooks(discovery, boots, gossip),
        options=HostOptions(
            links=LinkOptions(heartbeat_s=settings.raft.heartbeat_s),
            io_threads=settings.storage.fsync_threads,
            # The node hands over earlier, while it still serves; this catches what it has got since.
            transfer_timeout_s=0.5,
        ),
        wall_ms=around.wall_ms,
        tls=credentials.tls,
    )
    alive = Liveness(node_id, host)
    dialer = Dialer(host.links, discovery, settings.cluster)
    metadata = Metadata(host, machine, discovery.first_membership)
    discovery.attach(is_connected=lambda node: node in alive(), leader=lambda: metadata.leader or "")
    batch_format = BatchFormat(metadata)
    manager = ReplicaManager(
        host=host,
        store=store,
        registry=registry,
        groups=GroupFactory(node_id, settings.raft.options(), catch_up),
        executor=executor,
    )
    local: dict[int, ReplicaHere] = {}
    coordinator = Coordinator(
        settings.groups,
        host=host,
        state=lambda: machine.state,
        catch_up=lambda timeout_s: metadata.catch_up(timeout_s=timeout_s),
    )
    replicas = PartitionReplicas(
        node_id=node_id,
        incarnation=identity.incarnation,
        machine=machine,
        manager=manager,
        registry=registry,
        local=local,
        parts=PartitionParts(
            host=host,
            events=events,
            disk=disk,
            limits=settings.limits,
            batch_format=batch_format,
            producers=ProducersLed(
                lambda: (each.appender for each in local.values() if isinstance(each, Replica) and each.leads)
            ),
            shards=coordinator.shards,
        ),
    )
    controller = Controller(
        node_id=node_id,
        host=host,
        metadata=metadata,
        local=local,
        discovery=discovery,
        alive=alive,
    )
    limits = settings.limits
    budget = SharedBudget(limits.inflight_node_bytes, limits.inflight_address_bytes, "this node")
    passed_on = SharedBudget(limits.inflight_node_bytes, limits.inflight_node_bytes, "this node")
    query = NodeQuery()
    queue_figures = QueueCollector(coordinator.shards)
    broker = LocalBroker(
        node_id=node_id,
        host=host,
        metadata=metadata,
        replicas=replicas,
        discovery=discovery,
        views=Views(node_id=node_id, cluster_id=settings.cluster.id, local=local, metadata=metadata),
        budget=budget,
        passed_on=passed_on,
        query=query,
        lookup=LeaderLookup(node_id, gossip.table, alive, is_older=host.links.is_older, ask=query.leader),
        alive=alive,
        disk=disk,
        partitions_max=limits.partitions_per_node_max
        or descriptors.partitions_max(reserved=limits.file_descriptors_reserve),
        batch_format=batch_format,
        evacuate_after_s=settings.cluster.evacuate_after_s,
        credentials=credentials,
        coordinator=coordinator,
        queue_warnings=queue_figures.warnings,
        wall_ms=around.wall_ms,
    )

    # In order: the cluster's nodes, then the replicas here, then what is served from them.
    for follower in (discovery, replicas, broker, coordinator.topics, controller, gossip):
        machine.follow(follower.metadata_changed)
    discovery.changed.follow(controller.nudge)
    discovery.changed.follow(dialer.look)
    discovery.past.follow(dialer.part)
    events.metadata_committed.follow(controller.nudge)
    events.group_news.follow(controller.group_news)
    events.group_news.follow(coordinator.shards.look)
    events.leadership.follow(coordinator.shards.look)
    events.group_failed.follow(manager.failed)
    app = _application(settings, broker, metadata, around)
    machine.follow(app[CONTEXT].service.quotas.metadata_changed)
    answers = _connect_inside(app[CONTEXT], host, settings, broker, query, gossip, coordinator)
    _go_by(credentials, settings.cluster.id, host, app[CONTEXT])
    administrator = AdministratorFiles(around.fs, data_dir, metadata, app[CONTEXT].service, around.wall_ms)
    recovery = RecoveryFile(around.fs, data_dir, metadata, app[CONTEXT].service)
    retention = Retention(
        manager=manager,
        host=host,
        interval_s=settings.storage.retention_interval_s,
        wall_ms=host.wall.retention_ms,
    )
    spare_memory = SpareMemory(
        in_hand=lambda: budget.used + answers.used,
        served=lambda: answers.taken,
    )
    scrub = Scrub(
        host=host,
        groups=lambda: manager.running,
        interval_s=settings.storage.scrub_interval_s,
    )
    for collector in [
        *metrics.collectors,
        HostCollector(host, local, lambda: budget.used + passed_on.used, lambda: answers.used),
        CoordinatorCollector(coordinator.shards, coordinator.tally),
        queue_figures,
        LevelCollector(metadata, lambda: replicas.too_new),
        QuotaCollector(app[CONTEXT].service.quotas.refused),
        scrub,
        disk,
    ]:
        app[CONTEXT].metrics.register(collector)
    return NodeParts(
        host=host,
        discovery=discovery,
        dialer=dialer,
        seeds=Seeds(host.links, discovery, settings.cluster.join),
        metadata=metadata,
        store=store,
        registry=registry,
        manager=manager,
        replicas=replicas,
        controller=controller,
        scrub=scrub,
        disk=disk,
        coordinator=coordinator,
        broker=broker,
        query=query,
        gossip=gossip,
        app=app,
        http=HttpServer(app, credentials.http_tls),
        credentials=credentials,
        executor=executor,
        events=events,
        metrics=metrics,
        audit=_audited(settings, app[CONTEXT], host.wall.now_ms),
        background=(
            boots.rise,
            boots.keep,
            controller.run,
            broker.moving.run,
            broker.reshaping.run,
            retention.run,
            retention.run_state_logs,
            spare_memory.run,
            coordinator.shards.expire,
            administrator.bootstrap,
            administrator.reset,
            recovery.tell,
        ),
    )


def _application(
    settings: Settings, broker: LocalBroker, metadata: Metadata, around: Environment
) -> web.Application:
    """The HTTP door, and who may pass it."""
    if settings.http.authentication == "off":
        return create_app(broker, settings.limits, _origins(settings), AllowAll())
    machine, policy = metadata.machine, AccessPolicy()
    authenticator = Authenticator(
        state=lambda: machine.state,
        freshness=Freshness(
            lambda timeout_s: metadata.catch_up(timeout_s=timeout_s), leader=lambda: metadata.leader
        ),
        wall_ms=around.wall_ms,
    )
    app = create_app(broker, settings.limits, _origins(settings), policy, authenticator)
    machine.follow(authenticator.metadata_changed)
    machine.follow(policy.metadata_changed)
    machine.follow(partial(_look_at_reads, app[CONTEXT].service.open_reads))
    return app


def _audited(settings: Settings, context: HttpContext, wall_ms: Callable[[], int]) -> AuditTopic | None:
    """Have what this node's service tells of requests written down, where it asks who somebody is."""
    if settings.http.authentication == "off":
        return None
    wanted = settings.audit
    audit = AuditLog(
        wall_ms=wall_ms, now_s=time.monotonic, log=wanted.log, topic=wanted.topic, reads=wanted.reads
    )
    context.service.audit = audit
    context.metrics.register(audit)
    limits = ConfigChanges(retention_ms=wanted.retention_ms, retention_bytes=wanted.retention_bytes)
    return AuditTopic(audit, context.service, limits)


def _connect_inside(
    context: HttpContext,
    host: GroupHost,
    settings: Settings,
    broker: LocalBroker,
    query: NodeQuery,
    gossip: LeaderGossip,
    coordinator: Coordinator,
) -> AnswerBudget:
    """Let this node ask others over its links, and answer them. Returns the budget of both."""
    service, limits = context.service, settings.limits
    service.wall_ms = host.wall.now_ms
    context.meets_earlier_builds = host.links.meets_older
    answers = InsideAnswers()
    PartitionAnswers(service).register(answers)
    answer_administration(answers, service)
    answer_coordination(answers, service)
    gossip.register(answers)
    NodeAnswers(
        health=partial(own_health, service),
        sizes=broker.moves.sizes_led_here,
        moves=broker.moves.led_here,
        topic=broker.topic,
        when_deleted=broker.when_deleted,
    ).register(answers)
    host.links.bulk.budget.limit = limits.inflight_node_bytes
    line = LinksLine(
        host.node_id,
        host.links,
        answers,
        service.answers,
        OlderNodes(context),
        grace_s=limits.forward_grace_s,
    )
    service.inside = InsidePartitions(line)
    query.line = gossip.line = line
    coordinator.queues.records = coordinator.queues.letters = QueueRecords(service)
    return service.answers


def _go_by(credentials: Credentials, cluster_id: str, host: GroupHost, context: HttpContext) -> None:
    """Prove and accept the cluster's secrets, those of now and those of later."""

    def changed() -> None:
        host.links.accept_secrets(*credentials.secrets)
        context.node_mark, *others = (_node_mark(cluster_id, secret) for secret in credentials.secrets)
        context.other_marks = tuple(others)
        context.service.token_keys = tuple(_token_key(cluster_id, secret) for secret in credentials.secrets)

    changed()
    credentials.changed.follow(changed)


def _look_at_reads(reads: OpenReads, _state: MetadataState, delta: MetadataDelta) -> None:
    """Once everybody else knows of the change."""
    if delta.concerns("acls", "administrators", "users", "tokens"):
        asyncio.get_running_loop().call_soon(reads.look)


def _origins(settings: Settings) -> Origins:
    http = settings.http
    scheme = "https" if http.tls.is_on else "http"
    addresses = [f"{scheme}://{http.listen}", *([http.advertise] if http.advertise else [])]
    return Origins(hosts=http.hosts, cors_origins=http.cors_origins, addresses=addresses)


def _node_mark(cluster_id: str, secret: bytes) -> str:
    """A token that only nodes of this cluster can send with a request; it reveals nothing of the secret."""
    return hmac.new(secret, b"floodmark: passed on by a node of " + cluster_id.encode(), "sha256").hexdigest()


def _token_key(cluster_id: str, secret: bytes) -> bytes:
    """By which this cluster's nodes seal what they give to clients and take back."""
    return hmac.digest(secret, b"floodmark: sealed for a client of " + cluster_id.encode(), "sha256")
