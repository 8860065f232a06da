"""Samples leaders and terms: asks every running node, bypassing all faults, and reads their logs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from chaos.cluster import ChaosCluster
from chaos.history_file import HistoryWriter

INTERVAL_S: Final = 0.25
METADATA: Final = "metadata"
_ASK_TIMEOUT_S: Final = 1.0


class _Partition(msgspec.Struct):
    partition: int
    leader: str | None = None
    term: int | None = None


class _Topic(msgspec.Struct):
    topic: str
    partitions: list[_Partition]


class _LogLine(msgspec.Struct):
    event: str
    leader: str | None = None
    term: int = 0


_TOPIC = msgspec.json.Decoder(_Topic)
_LOG_LINE = msgspec.json.Decoder(_LogLine)


@dataclass(frozen=True, slots=True)
class Lead:
    """A report that ``node`` leads ``group`` in ``term``."""

    node: str
    group: str
    term: int


class LogTail:
    """Reads the new lines of a node's log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def lines(self) -> list[str]:
        """The complete lines added since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._position)
            added = log.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.decode(errors="replace").splitlines()


class Sampler:
    """Takes samples; each new lead goes into the history, and ``leaders`` has the newest of each group."""

    def __init__(self, cluster: ChaosCluster, history: HistoryWriter, topics: list[str]) -> None:
        self._cluster = cluster
        self._history = history
        self._topics = topics
        processes = cluster.processes
        nodes = [*processes.nodes.values(), *processes.further.values()]
        self._logs = [LogTail(node.log) for node in nodes]
        self._terms: dict[str, int] = {}
        self._told: set[Lead] = set()
        self.leaders: dict[str, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Sample until the end."""
        async with self._cluster.access.session(timeout_s=_ASK_TIMEOUT_S) as session:
            while not stop.is_set():
                await self._sample(session)
                await asyncio.sleep(INTERVAL_S)

    async def _sample(self, session: aiohttp.ClientSession) -> None:
        running = [name for name in self._cluster.names if self._cluster.runs(name)]
        urls = [
            f"{self._cluster.direct_url(name)}/v1/topics/{topic}?view=node"
            for name in running
            for topic in self._topics
        ]
        for topic in await asyncio.gather(*(_ask(session, url) for url in urls)):
            for lead in _leads_of(topic) if topic is not None else ():
                self._saw(lead)
        for log in self._logs:
            for line in log.lines():
                lead_of_metadata = metadata_lead(line)
                if lead_of_metadata is not None:
                    self._saw(lead_of_metadata)

    def _saw(self, lead: Lead) -> None:
        """Record each lead once."""
        if lead not in self._told:
            self._told.add(lead)
            self._history.leads(lead.node, lead.group, lead.term)
        if lead.term >= self._terms.get(lead.group, 0):
            self._terms[lead.group] = lead.term
            self.leaders[lead.group] = lead.node


async def _ask(session: aiohttp.ClientSession, url: str) -> _Topic | None:
    try:
        async with session.get(url) as answer:
            return _TOPIC.decode(await answer.read()) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


def _leads_of(topic: _Topic) -> Iterator[Lead]:
    for partition in topic.partitions:
        if partition.leader and partition.term:
            yield Lead(partition.leader, f"{topic.topic}/{partition.partition}", partition.term)


def metadata_lead(line: str) -> Lead | None:
    """The metadata's leader according to a log line; None for other lines, and torn ones."""
    if '"metadata_leader"' not in line:
        return None
    try:
        said = _LOG_LINE.decode(line)
    except msgspec.DecodeError:
        return None
    is_lead = said.event == "metadata_leader" and said.leader and said.term
    return Lead(said.leader or "", METADATA, said.term) if is_lead else None
