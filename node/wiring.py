"""Puts a node together. The only module that knows which classes stand behind the doors."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from consensus.host.group_host import GroupHost
from consensus.host.host_types import HostOptions
from consensus.links.handshake import Identity
from consensus.links.link_types import LinkOptions
from node import descriptors
from node.budget import SharedBudget
from node.control.controller import Controller
from node.environment import Environment
from node.http.app import create_app
from node.http.context import CONTEXT, HttpContext
from node.http.older_nodes import OlderNodes
from node.http.origins import Origins
from node.http.server import HttpServer
from node.links_line import LinksLine
from node.local_broker import LocalBroker
from node.membership.alive import Alive
from node.membership.boots import Boots
from node.membership.formation import nodes_of
from node.membership.identity import NodeIdentity, save
from node.membership.neighbours import Neighbours
from node.membership.presence import Presence
from node.membership.registry import Registry
from node.membership.seeds import Seeds
from node.metadata.group import Metadata
from node.metadata.levels import Levels
from node.metadata.machine import MetadataMachine
from node.metadata.state import METADATA_GROUP
from node.metadata.this_build import THIS_BUILD
from node.metrics import HostCollector, LevelCollector
from node.partition.batch_format import BatchFormat
from node.partition.remote_partition import LeaderLookup
from node.replicas.builder import Builder
from node.replicas.disk_reserve import DiskReserve
from node.replicas.metadata_replica import MetadataReplica
from node.replicas.replica_store import ReplicaStore
from node.replicas.replicas import Replicas
from node.replicas.retention import Retention
from node.replicas.scrub import Scrub
from node.service.administration import answer_administration
from node.service.answer_budget import AnswerBudget
from node.service.inside_answers import InsideAnswers
from node.service.partition_answers import PartitionAnswers
from node.service.partition_requests import InsidePartitions
from node.service.policy import AllowAll
from node.settings import Settings
from node.settings_rules import split_address
from node.spare_memory import SpareMemory
from node.topic_query import TopicQuery
from node.views import Views
from storage.filesystem import FileSystem


@dataclass(frozen=True, slots=True)
class Parts:
    """What server.py starts, watches and stops."""

    host: GroupHost
    presence: Presence
    neighbours: Neighbours
    seeds: Seeds
    boots: Boots
    metadata: Metadata
    metadata_replica: MetadataReplica
    store: ReplicaStore
    registry: Registry
    replicas: Replicas
    controller: Controller
    retention: Retention
    scrub: Scrub
    disk: DiskReserve
    spare_memory: SpareMemory
    broker: LocalBroker
    query: TopicQuery
    app: web.Application
    http: HttpServer
    executor: ThreadPoolExecutor
    builder: Builder
    fs: FileSystem


def build(
    settings: Settings,
    identity: NodeIdentity,
    registry: Registry,
    secret: bytes,
    around: Environment,
    levels: Levels = THIS_BUILD,
) -> Parts:
    """All parts of a node, nothing started."""
    data_dir = settings.node.data_dir
    disk = DiskReserve(partial(around.fs.space, data_dir), settings.storage.disk_reserve_bytes)
    builder = Builder(settings, identity, disk)
    node_id = identity.node_id
    executor = ThreadPoolExecutor(8, thread_name_prefix="replicas")
    store = ReplicaStore(around.fs, data_dir)
    machine = MetadataMachine(levels)
    presence = Presence(
        identity,
        registry,
        initial_nodes=settings.initial_nodes,
        nodes=nodes_of(around.fs, data_dir, identity, registry),
        keep=partial(save, around.fs, data_dir),
        levels=levels,
        joins=bool(settings.cluster.join),
    )
    boots = Boots(presence, registry, executor, settings.storage.boot_interval_s)
    host = GroupHost(
        Identity(settings.cluster.id, node_id, identity.incarnation, secret),
        split_address(settings.peer.listen),
        hooks=builder.hooks(presence, boots),
        options=HostOptions(
            links=LinkOptions(heartbeat_s=settings.raft.heartbeat_s),
            io_threads=settings.storage.fsync_threads,
            # The node hands over earlier, while it still serves; this is for what comes in between.
            transfer_timeout_s=0.5,
        ),
        wall_ms=around.wall_ms,
    )
    alive = Alive(node_id, host)
    presence.is_connected = lambda node: node in alive()
    neighbours = Neighbours(host.links, presence, settings.cluster)
    metadata = Metadata(host, machine, presence.first_membership)
    presence.leader = lambda: metadata.leader or ""
    batch_format = builder.batch_format = BatchFormat(metadata)
    replicas = Replicas(
        node_id=node_id,
        incarnation=identity.incarnation,
        host=host,
        machine=machine,
        store=store,
        registry=registry,
        make=lambda entry, opened, groups: builder.replica(host, entry, opened, groups),
        executor=executor,
        on_added=lambda entry, new: builder.campaign_early(
            host, entry.raft_group, entry.replicas[0], new=new
        ),
        on_removed=lambda group: builder.flushed.pop(group, None),
    )
    controller = Controller(
        node_id=node_id,
        host=host,
        metadata=metadata,
        local=replicas.local,
        presence=presence,
        alive=alive,
    )
    limits = settings.limits
    budget = SharedBudget(limits.inflight_node_bytes, limits.inflight_address_bytes, "this node")
    passed_on = SharedBudget(limits.inflight_node_bytes, limits.inflight_node_bytes, "this node")
    query = TopicQuery(metadata.node_url)
    broker = LocalBroker(
        node_id=node_id,
        host=host,
        metadata=metadata,
        replicas=replicas,
        presence=presence,
        views=Views(node_id=node_id, cluster_id=settings.cluster.id, local=replicas.local, metadata=metadata),
        budget=budget,
        passed_on=passed_on,
        query=query,
        lookup=LeaderLookup(node_id, query.leader, alive),
        alive=alive,
        disk=disk,
        partitions_max=limits.partitions_per_node_max
        or descriptors.partitions_max(reserved=limits.file_descriptors_reserve),
        batch_format=batch_format,
        evacuate_after_s=settings.cluster.evacuate_after_s,
    )

    def changed() -> None:
        presence.formed(machine.state.formation)
        presence.is_at(machine.state.level)
        presence.recovered(machine.state.cluster_epoch, machine.state.recovery)
        presence.members_are(machine.state)
        neighbours.look()
        replicas.reconcile()
        broker.metadata_changed()

    machine.follow(lambda _delta: changed())

    presence.on_change = partial(_each, controller.nudge, neighbours.look)
    builder.on_metadata_commit = controller.nudge
    builder.on_group_news = controller.group_news
    metadata_replica = MetadataReplica(
        host=host,
        store=store,
        registry=registry,
        builder=builder,
        machine=machine,
        metadata=metadata,
        executor=executor,
    )

    def failed(group: int) -> None:
        if group == METADATA_GROUP:
            metadata_replica.failed()
        else:
            replicas.reconcile()

    builder.on_replica_failed = failed
    builder.producers_here.led = lambda: (
        replica.appender for replica in replicas.local.values() if replica.group.is_ready_leader
    )
    app = create_app(broker, settings.limits, _origins(settings), AllowAll())
    app[CONTEXT].service.wall_ms = host.wall.now_ms
    app[CONTEXT].node_mark = _node_mark(settings.cluster.id, secret)
    answers = _connect_inside(app[CONTEXT], host, settings)
    scrub = Scrub(
        host=host,
        groups=lambda: [METADATA_GROUP, *replicas.local],
        interval_s=settings.storage.scrub_interval_s,
    )
    for collector in [
        *builder.metrics.collectors,
        HostCollector(host, replicas.local, lambda: budget.used + passed_on.used, lambda: answers.used),
        LevelCollector(metadata, lambda: replicas.too_new),
        scrub,
        disk,
    ]:
        app[CONTEXT].metrics.register(collector)
    return Parts(
        host=host,
        presence=presence,
        neighbours=neighbours,
        seeds=Seeds(host.links, presence, settings.cluster.join),
        boots=boots,
        metadata=metadata,
        metadata_replica=metadata_replica,
        store=store,
        registry=registry,
        replicas=replicas,
        controller=controller,
        retention=Retention(
            state=lambda: machine.state,
            local=replicas.local,
            host=host,
            interval_s=settings.storage.retention_interval_s,
            wall_ms=host.wall.retention_ms,
        ),
        scrub=scrub,
        disk=disk,
        spare_memory=SpareMemory(
            in_hand=lambda: budget.used + answers.used,
            served=lambda: answers.taken,
        ),
        broker=broker,
        query=query,
        app=app,
        http=HttpServer(app),
        executor=executor,
        builder=builder,
        fs=around.fs,
    )


def _connect_inside(context: HttpContext, host: GroupHost, settings: Settings) -> AnswerBudget:
    """Let this node ask others over its links, and answer them; the memory for answers of both kinds."""
    service, limits = context.service, settings.limits
    answers = InsideAnswers()
    PartitionAnswers(service).register(answers)
    answer_administration(answers, service)
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
    return service.answers


def _each(*calls: Callable[[], None]) -> None:
    for call in calls:
        call()


def _origins(settings: Settings) -> Origins:
    http = settings.http
    addresses = [http.listen, *([http.advertise] if http.advertise else [])]
    return Origins(hosts=http.hosts, cors_origins=http.cors_origins, addresses=addresses)


def _node_mark(cluster_id: str, secret: bytes) -> str:
    """What only nodes of this cluster can say with a request; it tells nothing of the secret."""
    return hmac.new(secret, b"floodmark: passed on by a node of " + cluster_id.encode(), "sha256").hexdigest()
