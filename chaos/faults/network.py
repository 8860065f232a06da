"""Network faults: toxics on the links between nodes, and between clients and nodes."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar, Literal

from chaos.faults.aim import Target
from chaos.faults.fault import Fault, Scene
from chaos.links import http_link, peer_link
from chaos.toxiproxy.control import STREAMS, Control, Toxic

_BLACK_HOLE = {"timeout": 0}
"""Swallows everything and closes nothing, until it is removed: then the connections are closed, since data is
missing in them."""


def _pairs(sources: Iterable[str], targets: Iterable[str]) -> set[str]:
    targets = set(targets)
    return {peer_link(source, target) for source in sources for target in targets if source != target}


async def _put(
    scene: Scene, undo: AsyncExitStack, kind: str, attributes: Mapping[str, int], on: set[str]
) -> None:
    """Put a toxic onto both streams of proxies.

    A peer link's messages all go upstream; its downstream has the handshake's answers only.
    """
    wanted = [
        (proxy, f"{scene.tag}-{stream}", Toxic(kind, stream, attributes))
        for proxy in sorted(on)
        for stream in STREAMS
    ]
    control = scene.cluster.links.control
    undo.push_async_callback(asyncio.to_thread, _remove_all, control, wanted)
    await asyncio.to_thread(_add_all, control, wanted)


async def cut_off(scene: Scene, undo: AsyncExitStack) -> None:
    """Let nothing through between the target nodes and any other one, in either direction."""
    names = scene.cluster.names
    await _put(scene, undo, "timeout", _BLACK_HOLE, _pairs(scene.nodes, names) | _pairs(names, scene.nodes))


def _add_all(control: Control, wanted: list[tuple[str, str, Toxic]]) -> None:
    for proxy, name, toxic in wanted:
        control.add(proxy, name, toxic)


def _remove_all(control: Control, wanted: list[tuple[str, str, Toxic]]) -> None:
    for proxy, name, _ in wanted:
        control.remove(proxy, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault(Fault):
    """One kind of toxic on links of the target nodes.

    links      "peers": those between nodes; "http": those before HTTP ports, which clients and forwarding
               nodes share; "all": both
    direction  of peer links: what the nodes send ("out"), what they receive ("in"), or both
    peers      only the links to and from these nodes; empty means all others
    """

    toxic: ClassVar[str]
    links: Literal["peers", "http", "all"] = "peers"
    direction: Literal["both", "out", "in"] = "both"
    peers: tuple[str, ...] = ()

    @abstractmethod
    def attributes(self) -> Mapping[str, int]:
        """Toxiproxy's attributes of the toxic."""

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Put the toxic onto every link concerned."""
        await _put(scene, undo, self.toxic, self.attributes(), self._links_of(scene))

    def _links_of(self, scene: Scene) -> set[str]:
        found: set[str] = set()
        peers = self.peers or scene.cluster.names
        if self.links != "http" and self.direction != "in":
            found |= _pairs(scene.nodes, peers)
        if self.links != "http" and self.direction != "out":
            found |= _pairs(peers, scene.nodes)
        if self.links != "peers":
            found |= {http_link(name) for name in scene.nodes}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(LinkFault):
    """Nothing gets through, silently: each target node is isolated, one-sidedly with a direction."""

    kind: ClassVar[str] = "cut"
    toxic: ClassVar[str] = "timeout"

    def attributes(self) -> Mapping[str, int]:
        return _BLACK_HOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(LinkFault):
    """All data arrives ``latency_ms`` later, give or take ``jitter_ms``; each way."""

    kind: ClassVar[str] = "latency"
    toxic: ClassVar[str] = "latency"
    latency_ms: int = 100
    jitter_ms: int = 0

    def attributes(self) -> Mapping[str, int]:
        return {"latency": self.latency_ms, "jitter": self.jitter_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth(LinkFault):
    """At most ``kb_per_s`` on each connection; each way."""

    kind: ClassVar[str] = "bandwidth"
    toxic: ClassVar[str] = "bandwidth"
    kb_per_s: int = 64

    def attributes(self) -> Mapping[str, int]:
        return {"rate": self.kb_per_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose(LinkFault):
    """The end of a connection is passed on ``delay_ms`` late: until then one side thinks it is open."""

    kind: ClassVar[str] = "slow close"
    toxic: ClassVar[str] = "slow_close"
    delay_ms: int = 3_000

    def attributes(self) -> Mapping[str, int]:
        return {"delay": self.delay_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(LinkFault):
    """Every connection, new ones too, is reset after ``after_ms``, and what waits in it is lost."""

    kind: ClassVar[str] = "reset"
    toxic: ClassVar[str] = "reset_peer"
    after_ms: int = 0

    def attributes(self) -> Mapping[str, int]:
        return {"timeout": self.after_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLimit(LinkFault):
    """Every connection is closed once ``data_bytes`` have passed, even in the middle of a message."""

    kind: ClassVar[str] = "data limit"
    toxic: ClassVar[str] = "limit_data"
    data_bytes: int = 100_000

    def attributes(self) -> Mapping[str, int]:
        return {"bytes": self.data_bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(LinkFault):
    """Data arrives in pieces of ``average_bytes``, give or take ``variation_bytes``, ``delay_us`` apart."""

    kind: ClassVar[str] = "slicing"
    toxic: ClassVar[str] = "slicer"
    average_bytes: int = 512
    variation_bytes: int = 256
    delay_us: int = 100

    def attributes(self) -> Mapping[str, int]:
        return {
            "average_size": self.average_bytes,
            "size_variation": self.variation_bytes,
            "delay": self.delay_us,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Fault):
    """The other nodes split into two halves that cannot reach each other; the target node reaches both."""

    kind: ClassVar[str] = "bridge"

    def __post_init__(self) -> None:
        """Refuse targets of several nodes."""
        if self.aim.target in (Target.MAJORITY, Target.ALL):
            raise ValueError(f"a bridge is one node, not {self.aim.target.value}: aim at one or a leader")

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Cut every link between the halves, which are drawn at random."""
        others = scene.random.sample(scene.others, len(scene.others))
        half = len(others) // 2
        left, right = others[:half], others[half:]
        await _put(scene, undo, "timeout", _BLACK_HOLE, _pairs(left, right) | _pairs(right, left))
