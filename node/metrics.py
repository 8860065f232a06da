"""Figures of consensus and storage for Prometheus. Labels are node ids, nothing that a client chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from consensus.core.catch_up import CatchUp
from consensus.host.group_host import GroupHost
from node.coordinator.shards import Shards
from node.coordinator.tally import CoordinatorTally
from node.metadata.group import Metadata
from node.partition.partition import Replica
from node.replicas.replica_here import ReplicaHere
from node.tally import Tally

_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_PEER_COUNTERS: Final = (
    ("bytes_sent", "Bytes sent to the peer."),
    ("bytes_received", "Bytes received from the peer."),
    ("messages_sent", "Messages of replicas sent to the peer; many may share a packet."),
    ("messages_dropped", "Messages that could not be sent."),
    ("packets_refused", "Invalid packets, or packets that were damaged on their way."),
    ("messages_too_new", "Messages that were skipped because only a newer build knows them."),
    ("connects", "Connections made to the peer."),
    ("connect_failures", "Attempts to connect that failed."),
    ("queue_full", "How often the queue to the peer exceeded its bound."),
)


class NodeMetrics:
    """Metrics that are counted as events happen; ``collectors`` are to be registered."""

    def __init__(self, catch_up: CatchUp) -> None:
        self._catch_up = catch_up
        self.flushes = Tally(_BUCKETS)
        """Seconds of every write and fsync."""
        self.leader_changes = Counter(
            "floodmark_leader_changes", "How often groups on this node got another leader.", registry=None
        )
        self.failed_replicas = Counter(
            "floodmark_replicas_failed", "Replicas that stopped because of their disk.", registry=None
        )

        self.damage = Counter(
            "floodmark_log_damage", "Times that a stored frame could not be read back.", registry=None
        )
        self.mended = Counter(
            "floodmark_log_frames_mended", "Frames replaced by those of another replica.", registry=None
        )

    @property
    def collectors(self) -> list[Collector]:
        """All of them."""
        return [
            _FlushCollector(self.flushes),
            self.leader_changes,
            self.failed_replicas,
            self.damage,
            self.mended,
            _CatchUpCollector(self._catch_up),
        ]


class _FlushCollector(Collector):
    def __init__(self, flushes: Tally) -> None:
        self._flushes = flushes

    def collect(self) -> Iterable[Metric]:
        """One histogram without labels."""
        family = HistogramMetricFamily("floodmark_log_flush_seconds", "A write and fsync of one log.")
        self._flushes.tell(family, ())
        return [family]


class _CatchUpCollector(Collector):
    def __init__(self, catch_up: CatchUp) -> None:
        self._catch_up = catch_up

    def collect(self) -> Iterable[Metric]:
        """One counter without labels."""
        text = "Bytes sent to replicas that were behind and did not vote."
        yield CounterMetricFamily("floodmark_catch_up_bytes", text, self._catch_up.sent_bytes)


class LevelCollector(Collector):
    """The cluster's feature level as known here, and what this node met that only a newer build knows."""

    def __init__(self, metadata: Metadata, too_new: Callable[[], Sequence[str]]) -> None:
        self._metadata = metadata
        self._too_new = too_new

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Three gauges without labels."""
        for name, text, value in (
            ("feature_level", "The cluster's feature level.", self._metadata.state.level),
            (
                "metadata_halted",
                "1 where this node met metadata that only a newer build knows, and stopped there.",
                int(self._metadata.halted is not None),
            ),
            ("replicas_too_new", "Replicas that only a newer build can open.", len(self._too_new())),
        ):
            yield GaugeMetricFamily(f"floodmark_{name}", text, value)


class CoordinatorCollector(Collector):
    """What the shards of the coordinator here hold and do; no label names anything that a client chooses."""

    def __init__(self, shards: Shards, tally: CoordinatorTally) -> None:
        self._shards = shards
        self._tally = tally

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Gauges and counters without labels."""
        here, led = list(self._shards.here), list(self._shards.led_here())
        for name, text, value in (
            ("shards", "Shards of the coordinator that have a replica on this node.", len(here)),
            ("shards_led", "Shards of the coordinator that this node leads.", len(led)),
            (
                "groups",
                "Groups of the shards that this node leads.",
                sum(each.machine.groups for each in led),
            ),
            ("members", "Members of those groups.", sum(each.members for each in led)),
            ("state_entries", "Keys of the shards here.", sum(len(each.machine) for each in here)),
            ("state_bytes", "Bytes of all keys and values.", sum(each.machine.size for each in here)),
        ):
            yield GaugeMetricFamily(f"floodmark_coordinator_{name}", text, value)
        for name, text, value in (
            ("frames", "Frames proposed by shards that this node led.", self._tally.frames),
            ("changes", "Changes of groups that those frames carried.", self._tally.entries),
            ("change_bytes", "Bytes of those frames.", self._tally.bytes),
            (
                "members_ended",
                "Members whose session, or time to give partitions up, was over.",
                self._tally.ended,
            ),
        ):
            yield CounterMetricFamily(f"floodmark_coordinator_{name}", text, value)


class QuotaCollector(Collector):
    """Requests that were refused because of a quota. ``refused``: by whose it is, and which limit."""

    def __init__(self, refused: Mapping[tuple[str, str], int]) -> None:
        self._refused = refused

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One counter; neither label is anything that a client chooses."""
        text = "Requests refused because of a quota, or of a share when half of all is used."
        family = CounterMetricFamily("floodmark_quota_refusals", text, labels=["of", "limit"])
        for labels, count in sorted(self._refused.items()):
            family.add_metric(labels, count)
        yield family


class HostCollector(Collector):
    """Metrics that are read from the links and groups at every scrape."""

    def __init__(
        self,
        host: GroupHost,
        local: Mapping[int, ReplicaHere],
        inflight: Callable[[], int],
        answers: Callable[[], int],
    ) -> None:
        self._host = host
        self._local = local
        self._inflight = inflight
        self._answers = answers

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Links by peer, and totals over the local replicas."""
        links = self._host.links
        queued = GaugeMetricFamily(
            "floodmark_peer_queue_bytes", "Bytes waiting for the peer.", labels=["peer"]
        )
        connected = GaugeMetricFamily(
            "floodmark_peer_connected", "1 where messages to the peer can be sent.", labels=["peer"]
        )
        for node in links.peers:
            queued.add_metric([node], links.queue_bytes(node))
            connected.add_metric([node], links.connected(node))
        yield from (queued, connected)
        for name, text in _PEER_COUNTERS:
            family = CounterMetricFamily(f"floodmark_peer_{name}", text, labels=["peer"])
            for node, peer in links.peers.items():
                family.add_metric([node], getattr(peer, name))
            yield family
        host = self._host
        for kind, name, text, value in (
            (
                CounterMetricFamily,
                "peer_terms_refused",
                "Messages with a term too far ahead for any election.",
                host.terms_refused,
            ),
            (
                GaugeMetricFamily,
                "peer_plaintext_connections",
                "Connections with other nodes that stand without TLS.",
                host.links.plain,
            ),
            (
                GaugeMetricFamily,
                "clock_ahead_seconds",
                "How far this node's clock is ahead of the median of the cluster's (behind: negative).",
                host.wall.ahead_ms() / 1000,
            ),
            (
                CounterMetricFamily,
                "disk_stalls",
                "Fsyncs that took so long that this node's leaders stepped down.",
                host.disk.stalls,
            ),
            (
                GaugeMetricFamily,
                "disk_stalled_seconds",
                "How long the oldest fsync under way has taken so far.",
                host.disk.stalled_s,
            ),
        ):
            yield kind(f"floodmark_{name}", text, value)
        replicas = list(self._local.values())
        kept = [len(item.appender.positions.kept) for item in replicas if isinstance(item, Replica)]
        for name, text, value in (
            ("replicas", "Replicas on this node.", len(replicas)),
            ("leaderships", "Replicas that lead.", sum(item.group.is_ready_leader for item in replicas)),
            ("log_bytes", "Bytes in segment files.", sum(item.log.size_bytes for item in replicas)),
            (
                "producers",
                "Producers remembered.",
                sum(item.appender.producers for item in replicas if isinstance(item, Replica)),
            ),
            ("positions", "Positions of groups that replicas keep.", sum(kept)),
            ("positions_most", "The most that one replica keeps; it takes 1,000.", max(kept, default=0)),
            ("inflight_bytes", "Request bodies held.", self._inflight()),
            ("answer_bytes", "Bytes held for answers to reads.", self._answers()),
        ):
            yield GaugeMetricFamily(f"floodmark_node_{name}", text, value)
