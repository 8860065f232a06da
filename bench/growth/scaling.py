"""Arithmetic from one machine to many: what a node of a cluster of 3, 10 and 100 nodes would have to do.

Every input was measured on the axes, and each line of the table says how it is made of them. A node is taken
to have one core for its event loop, on which all of it runs but for fsyncs, and a disk and a network of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.growth.figures import Figure, Results
from bench.growth.fits import line
from bench.markdown import table
from bench.statistics import Spread, spread

SIZES: Final = (3, 10, 100)
_REPLICATION: Final = 3
_REPLICAS_PER_NODE: Final = 1_000
_BEATS_S: Final = 10
"""Each link carries a beat every 0.1 s (``LinkOptions.heartbeat_s``), in both directions."""
_WALKS_S: Final = 2
"""How often per second a node looks through all partitions of the cluster even if nothing happens."""
_BATCH_MB: Final = 256 * 1024 / 1e6


@dataclass(frozen=True, slots=True)
class Inputs:
    """As measured; times in microseconds of processor."""

    leader_us: float
    follower_us: float
    """For a request of one 1 KiB record, 64 connections, one partition; of each follower."""
    alone_us: float
    """The same with the most partitions, where few share a frame with others; of all nodes."""
    leader_batch_us: float
    follower_batch_us: float
    """For a request of 256 records of 1 KiB."""
    forward_us: float
    """More, for a request to a node that does not lead; of all nodes."""
    node_percent: float
    link_percent: float
    """Of a core, idle: for a node by itself, and for each other node that it is linked with."""
    replica_percent: float
    """Of a core, idle: for each replica."""
    link_bytes_s: float
    node_mb: float
    replica_mb: float
    node_files: float
    replica_files: float
    walk_us: float
    """For each partition of the cluster."""
    checkpoint_kb: float
    """Of the metadata, for each partition of the cluster."""


def inputs(results: Results) -> Inputs | None:
    """None where an axis that is needed was not measured."""
    memory, files, idle = (
        line(results.gauge("partitions", name))
        for name in ("rss_fresh_mb", "descriptors", "idle_core_percent")
    )
    alone = _most(results.over("partitions", "many", _of_nodes))
    single, batch = (_shares(results, series) for series in ("many", "batches"))
    links = line(_by_links(results.gauge("nodes", "idle_core_percent")))
    sent = line(_by_links(results.gauge("nodes", "idle_link_bytes_s")))
    direct, forwarded = (_least(results.over("nodes", series, _of_nodes)) for series in ("many", "forwarded"))
    count, walk, checkpoint = (_most(results.gauge("metadata", name)) for name in _METADATA)
    if not (memory and files and idle and alone and single and batch and links and sent):
        return None
    if not (direct and forwarded and count and walk and checkpoint):
        return None
    return Inputs(
        leader_us=single[0],
        follower_us=single[1],
        alone_us=alone,
        leader_batch_us=batch[0],
        follower_batch_us=batch[1],
        forward_us=max(0.0, forwarded - direct),
        node_percent=max(0.0, links.fixed),
        link_percent=max(0.0, links.slope),
        replica_percent=max(0.0, idle.slope / _REPLICATION),
        link_bytes_s=max(0.0, sent.slope),
        node_mb=memory.fixed,
        replica_mb=memory.slope,
        node_files=files.fixed,
        replica_files=files.slope,
        walk_us=walk * 1e3 / count,
        checkpoint_kb=checkpoint * 1e3 / count,
    )


_METADATA: Final = ("cluster_partitions", "walk_ms", "snapshot_mb")


def markdown(results: Results) -> str:
    """What was measured, and the table of what follows; nothing where too little was measured."""
    found = inputs(results)
    if found is None:
        return "Not all that is needed was measured."
    return f"{_inputs_table(found)}\n\n{_scaling_table(found, results)}"


def _inputs_table(found: Inputs) -> str:
    rows = [
        ["request of one 1 KiB record: leader", f"{found.leader_us:.0f} µs"],
        ["... each follower", f"{found.follower_us:.0f} µs"],
        ["... all three, with the most partitions: few share a frame", f"{found.alone_us:,.0f} µs"],
        ["... more, when it reaches another node first", f"{found.forward_us:.0f} µs"],
        ["request of 256 x 1 KiB: leader", f"{found.leader_batch_us:,.0f} µs"],
        ["... each follower", f"{found.follower_batch_us:,.0f} µs"],
        ["idle, a node by itself", f"{found.node_percent:.2f} % of a core"],
        [
            "... for each other node",
            f"{found.link_percent:.3f} % of a core, {found.link_bytes_s:.0f} B/s sent",
        ],
        ["idle, for each replica", f"{found.replica_percent:.5f} % of a core"],
        ["memory", f"{found.node_mb:.0f} MB, and {found.replica_mb * 1e3:.0f} KB for each replica"],
        ["open files", f"{found.node_files:.0f}, and {found.replica_files:.1f} for each replica"],
        [
            "the cluster's description, for each partition",
            f"{found.walk_us:.2f} µs to look at, {found.checkpoint_kb * 1e3:.0f} B in a checkpoint",
        ],
    ]
    return table(["measured (CPU time, of one node)", ""], rows)


def _scaling_table(found: Inputs, results: Results) -> str:
    placing = results.gauge("metadata", "place_ms")

    def row(name: str, value: Callable[[int], str]) -> list[str]:
        return [name, *(value(nodes) for nodes in SIZES)]

    rows = [
        row("partitions: nodes x 1,000 / 3", lambda n: f"{_partitions(n):,.0f}"),
        row("beats sent and taken in by a node a second: 2 x 10 x (nodes - 1)", lambda n: f"{_beats(n):,}"),
        row("... % of its core", lambda n: f"{found.link_percent * (n - 1):.1f}"),
        row("... kB/s that it sends", lambda n: f"{found.link_bytes_s * (n - 1) / 1e3:,.1f}"),
        row(
            "looking through all partitions twice a second, % of its core",
            lambda n: f"{_walking_percent(found, n):.1f}",
        ),
        row(
            "1,000 idle replicas, % of its core",
            lambda _: f"{found.replica_percent * _REPLICAS_PER_NODE:.1f}",
        ),
        row("left for requests, % of its core", lambda n: f"{_left(found, n) * 100:.0f}"),
        row(
            "one-record requests/s of the cluster, straight to leaders: "
            "nodes x left / (leader + 2 x follower)",
            lambda n: f"{n * _left(found, n) * 1e6 / (found.leader_us + 2 * found.follower_us):,.0f}",
        ),
        row(
            "... where few share a frame: spread over very many partitions",
            lambda n: f"{n * _left(found, n) * 1e6 / found.alone_us:,.0f}",
        ),
        row(
            "... sent to any node: (nodes - 1) / nodes of them are passed on",
            lambda n: f"{n * _left(found, n) * 1e6 / _any_node_us(found, n):,.0f}",
        ),
        row(
            "MB/s in batches of 256 KiB",
            lambda n: f"{n * _left(found, n) * 1e6 * _BATCH_MB / _batch_us(found):,.0f}",
        ),
        row(
            "... MB/s that a node then sends to followers: 2 / nodes of it",
            lambda n: f"{2 * _left(found, n) * 1e6 * _BATCH_MB / _batch_us(found):,.0f}",
        ),
        row("memory of a node with 1,000 replicas, MB", lambda _: f"{_memory(found):,.0f}"),
        row(
            "open files of it",
            lambda _: f"{found.node_files + found.replica_files * _REPLICAS_PER_NODE:,.0f}",
        ),
        row(
            "placing a topic of 1,000 more partitions, ms (measured)",
            lambda n: f"{placing[n].median:,.0f}" if n in placing else "-",
        ),
    ]
    return table(["by arithmetic, 1,000 replicas on a node", *(f"{n} nodes" for n in SIZES)], rows)


def _partitions(nodes: int) -> float:
    return nodes * _REPLICAS_PER_NODE / _REPLICATION


def _beats(nodes: int) -> int:
    return 2 * _BEATS_S * (nodes - 1)


def _walking_percent(found: Inputs, nodes: int) -> float:
    return _WALKS_S * found.walk_us * _partitions(nodes) / 1e6 * 100


def _left(found: Inputs, nodes: int) -> float:
    """The share of a node's core that is left for requests."""
    used = found.node_percent + found.link_percent * (nodes - 1) + _walking_percent(found, nodes)
    return max(0.0, 1 - (used + found.replica_percent * _REPLICAS_PER_NODE) / 100)


def _any_node_us(found: Inputs, nodes: int) -> float:
    return found.leader_us + 2 * found.follower_us + found.forward_us * (nodes - 1) / nodes


def _batch_us(found: Inputs) -> float:
    return found.leader_batch_us + 2 * found.follower_batch_us


def _memory(found: Inputs) -> float:
    return found.node_mb + found.replica_mb * _REPLICAS_PER_NODE


def _shares(results: Results, series: str) -> tuple[float, float] | None:
    """Of the leader and of each follower, where one node leads all there is."""
    found = [
        each for each in results.figures if (each.axis, each.series, each.x) == ("partitions", series, 1)
    ]
    if not found:
        return None
    leader = spread([each.busiest_us for each in found]).median
    rest = spread([each.node_us - each.busiest_us for each in found]).median
    return leader, rest / (_REPLICATION - 1)


def _of_nodes(figure: Figure) -> float:
    return figure.node_us


def _by_links(points: Mapping[float, Spread]) -> dict[float, Spread]:
    """What all nodes use, by their number -> what each uses, by the number of others."""
    return {
        x - 1: Spread(each.median / x, each.low / x, each.high / x, each.rounds) for x, each in points.items()
    }


def _least(points: Mapping[float, Spread]) -> float | None:
    """The median at the first place."""
    return points[min(points)].median if points else None


def _most(points: Mapping[float, Spread]) -> float | None:
    """The median at the last place."""
    return points[max(points)].median if points else None
