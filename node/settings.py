"""The settings that an operator can make, as frozen values with units in their names.

``cluster`` and ``raft`` must be the same on every node of a cluster; everything else belongs to one process.
Where the values come from (file, environment, flags) is in settings_sources.py; what must hold between them
in settings_rules.py.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from consensus.types import GroupOptions
from node.coordinator.groups.limits import GroupLimits
from node.request_limits import RequestLimits

DEFAULT_HTTP_PORT = 7070
DEFAULT_PEER_PORT = 7170


class NodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who this process is."""

    id: str = ""
    """Unique in the cluster, for good: it is written into the data folder. ``[A-Za-z0-9._-]``, 1 to 64."""
    data_dir: str = ""
    """Folder of this node alone; created when missing."""
    rack: str = ""
    """Failure domain. Replicas of one partition are spread over racks first."""


class HttpTlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS towards users, on with ``cert``. Changed files are read while the node runs."""

    cert: str = ""
    """PEM file with this node's certificate, and those between it and a CA, if any."""
    key: str = ""
    """PEM file with its private key; only this node may read it."""
    client_ca: tuple[str, ...] = ()
    """PEM files with the CAs whose certificates of clients are taken."""
    client_auth: Literal["off", "optional", "required"] = "off"
    """Whether clients may, or have to, show a certificate; it names the principal that asks."""

    @property
    def is_on(self) -> bool:
        """Whether the port speaks TLS, and nothing else."""
        return bool(self.cert)


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The port for clients."""

    listen: str = f"127.0.0.1:{DEFAULT_HTTP_PORT}"
    """host:port; port 0 takes a free one."""
    advertise: str = ""
    """Base URL at which other nodes and clients reach this one; by default made from ``listen``."""
    hosts: tuple[str, ...] = ()
    """More host names that clients may use, without ports; others are refused. Addresses, localhost and the
    names in ``advertise`` and ``listen`` need not be listed."""
    cors_origins: tuple[str, ...] = ()
    """Web pages that may use this node, as browsers name them in ``Origin``; all others are refused."""
    authentication: Literal["off", "required"] = "off"
    """Whether every request has to say whose it is. off: whoever reaches this port may do everything."""
    insecure: bool = False
    """Start even where other machines reach this node without TLS, or without saying who they are."""
    tls: HttpTlsSettings = HttpTlsSettings()


class PeerTlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS between nodes: each shows a certificate that names it. Changed files are read while it runs."""

    mode: Literal["off", "prefer", "require"] = "off"
    """prefer: TLS with every node that has it, and none with those that do not: the step between the others,
    which makes nobody safe."""
    cert: str = ""
    """PEM file with this node's certificate, and those between it and a CA, if any."""
    key: str = ""
    """PEM file with its private key; only this node may read it."""
    ca: tuple[str, ...] = ()
    """PEM files with the CAs whose certificates are taken; two while one is replaced by another."""


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The port for other nodes."""

    listen: str = f"127.0.0.1:{DEFAULT_PEER_PORT}"
    advertise: str = ""
    """host:port at which other nodes reach this one; by default as in ``cluster.peers``."""
    tls: PeerTlsSettings = PeerTlsSettings()


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes nodes one cluster; the same on every node, except for ``dial``."""

    id: str = "floodmark"
    secret: str = ""
    """Proves to peers that a node belongs here. At least 16 characters; or put it into ``secret_file``."""
    secret_file: str = ""
    secret_files: tuple[str, ...] = ()
    """While the secret is changed: the first is proved, and all are accepted."""
    peers: dict[str, str] = {}
    """The initial nodes, this one included: node id -> host:port of its peer port. Once the cluster has
    formed, and is at feature level 3, they are only where to look."""
    join: tuple[str, ...] = ()
    """host:port of the peer ports of some nodes of an existing cluster, for an empty folder to join it."""
    dial: dict[str, str] = {}
    """Other addresses to dial peers by (a proxy, a tunnel): node id -> host:port."""
    evacuate_after_s: float = 0.0
    """How long a node is silent before its replicas are placed on others. 0: never, since operators who
    repair a machine within the hour do not want all of its data copied."""


class LimitSettings(RequestLimits, frozen=True, forbid_unknown_fields=True):
    """The limits of this process, so that it never grows without bound; those of requests included."""

    inflight_partition_bytes: int = 64 << 20
    """Batches of one partition that wait for their acknowledgement."""
    inflight_node_bytes: int = 256 << 20
    """Bytes of clients' request bodies held at once; as many again of requests that nodes forward."""
    inflight_address_bytes: int = 64 << 20
    """How many of those one client address may hold once half of them are used. Behind a load balancer all
    clients may have one address."""
    producers_per_partition_max: int = 10_000
    """Idempotent producers that a partition remembers; beyond this, newcomers are refused until one may be
    forgotten."""
    producers_per_node_max: int = 100_000
    """... and that all partitions led by this node remember together, up to 0.7 KiB each on every replica."""
    partitions_per_node_max: int = 0
    """Replicas on this node; beyond this, topics are refused. 0: as many as its descriptors allow for."""
    catch_up_bytes_per_s: int = 64 << 20
    """How much this node sends per second to replicas that are behind and do not vote, over all partitions:
    new ones, and ones that lost their data. 0: as much as it can."""
    producer_remembered_s: float = 3600.0
    """A producer is never forgotten before its last batch is this old, however short the room."""


class RaftSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Timing of the consensus groups; the same everywhere."""

    heartbeat_s: float = 0.1
    election_timeout_min_s: float = 0.5
    election_timeout_max_s: float = 1.0
    leader_fallback_s: float = 0.45

    def options(self) -> GroupOptions:
        """The groups' options; raises ``ValueError`` where values contradict each other."""
        return GroupOptions(
            heartbeat_s=self.heartbeat_s,
            election_timeout_min_s=self.election_timeout_min_s,
            election_timeout_max_s=self.election_timeout_max_s,
            leader_fallback_s=self.leader_fallback_s,
        )


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this process uses its disk."""

    fsync_threads: int = 4
    """Fsyncs that run at once; more help on disks with deep queues."""
    retention_interval_s: float = 5.0
    """How often each partition is checked for expired segments."""
    scrub_interval_s: float = 3600.0
    """How long to rest between passes of the scrub, which reads all that is stored to find damage early."""
    disk_reserve_bytes: int = 512 << 20
    """Free space kept from records: below it, produces and new topics are refused. At most a twentieth of the
    disk; 0: none."""
    boot_interval_s: float = 60.0
    """How often the folder's boot number rises: a copy of the folder older than this is recognised by it."""


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, JSON elsewhere."""


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of who did what, where http.authentication is required: refusals, log-ins and changes."""

    log: bool = True
    """To standard error, in the channel floodmark.audit."""
    topic: bool = True
    """To the topic __floodmark_audit, which the cluster makes once it is at feature level 4."""
    reads: bool = False
    """Allowed reads as well."""
    retention_ms: int = 30 * 86_400_000
    """How long the topic keeps it; like the next one only looked at when the topic is made."""
    retention_bytes: int = 1 << 30


class GroupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Consumer groups; the same on every node, as any may lead them."""

    offsets_retention_s: float = 7 * 86_400.0
    """How long the offsets of a group without members are kept: from when the last one left, and each at
    least from when it was committed."""
    per_shard_max: int = 10_000
    """Groups that each of the 16 shards of the coordinator keeps; beyond this, new groups are refused."""
    members_max: int = 1_000
    """Members of a group."""
    subscriptions_max: int = 1_000
    """Topics that a member names; a pattern may match any number."""
    patterns_max: int = 10
    """Different patterns in a group."""
    session_timeout_min_s: float = 1.0
    session_timeout_max_s: float = 3_600.0

    def limits(self) -> GroupLimits:
        """Those of one group."""
        return GroupLimits(
            members=self.members_max,
            subscriptions=self.subscriptions_max,
            patterns=self.patterns_max,
            session_timeout_min_ms=int(self.session_timeout_min_s * 1_000),
            session_timeout_max_ms=int(self.session_timeout_max_s * 1_000),
        )


class TestingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fault injection; never for production."""

    faults: str = ""
    """Folder through which another process gives this one a bad disk and a wrong clock while it runs
    (storage/faulty); on the same filesystem as ``node.data_dir``, and not within it. Empty: no faults."""
    slow_callback_ms: float = 0.0
    """Callbacks of the event loop that use at least this much processor time are logged by name; the node
    then runs on asyncio's own loop, and slower. 0: nothing is measured."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it, one section per TOML table."""

    node: NodeSettings = NodeSettings()
    http: HttpSettings = HttpSettings()
    peer: PeerSettings = PeerSettings()
    cluster: ClusterSettings = ClusterSettings()
    limits: LimitSettings = LimitSettings()
    raft: RaftSettings = RaftSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    groups: GroupSettings = GroupSettings()
    testing: TestingSettings = TestingSettings()

    @property
    def files_of_secrets(self) -> dict[str, str]:
        """Path of each file that holds a secret -> the setting that names it, in their order."""
        cluster = self.cluster
        if cluster.secret_file:
            return {cluster.secret_file: "cluster.secret_file"}
        return {path: f"cluster.secret_files[{at}]" for at, path in enumerate(cluster.secret_files)}

    @property
    def files_of_tls(self) -> list[str]:
        """All certificates, keys and CAs that are in use."""
        peer, http = self.peer.tls, self.http.tls
        files = [] if peer.mode == "off" else [peer.cert, peer.key, *peer.ca]
        return [*files, http.cert, http.key, *http.client_ca] if http.is_on else files

    @property
    def initial_nodes(self) -> list[str]:
        """Ids of the nodes that form the cluster, sorted."""
        return sorted(self.cluster.peers)

    @property
    def peer_advertise(self) -> str:
        """Where the other nodes find this one."""
        return self.peer.advertise or self.cluster.peers.get(self.node.id, self.peer.listen)


class InvalidSettings(Exception):
    """Settings that cannot be used; the text has one line per problem, each naming the field and the fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
