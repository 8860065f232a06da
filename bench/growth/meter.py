"""Takes measurements on running nodes: rates, and the figures that explain them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import aiohttp
import psutil
from floodmark.format.frame import FrameKind, decode_header

from bench.growth.figures import Figure, Gauge
from bench.growth.load import (
    BATCH_MEDIA,
    RECORD_MEDIA,
    Answers,
    Load,
    PageReader,
    Target,
    batch_of,
    connected,
    posts,
)
from bench.growth.nodes import Nodes
from bench.machine import percentile
from bench.payload import payload
from local.ports import LOOPBACK

_LEAD_IN_S = 0.2
"""Load before the clock runs: connections are made, groups awake."""
_NEWEST_RECORDS = 2_000
_QUIET_CORES = 0.05
"""Nodes that together use less of a core than this have done what they had to do."""

Sink = Callable[[Figure | Gauge], None]


@dataclass(frozen=True, slots=True)
class Posting:
    """A kind of load that writes: so many connections, each with one request after the other."""

    series: str
    connections: int
    record_bytes: int = 1024
    records: int = 1
    """In each request: one goes as it is, more go as a record batch."""
    batched: bool = field(default=False, kw_only=True)
    """Send a record batch even of one record."""

    def body(self) -> tuple[bytes, str]:
        """A request's body and its media type."""
        if self.records == 1 and not self.batched:
            return payload(self.record_bytes), RECORD_MEDIA
        return batch_of(self.records, self.record_bytes), BATCH_MEDIA


class Meter:
    """For one axis, in one round, on some nodes."""

    def __init__(self, axis: str, round_number: int, nodes: Nodes, sink: Sink) -> None:
        self._axis = axis
        self._round = round_number
        self._nodes = nodes
        self._sink = sink
        self._client = psutil.Process()

    async def produce(self, x: float, posting: Posting, targets: Sequence[Target], seconds: float) -> int:
        """Write to these partitions for so long; how many records were. Raises ``Failed``."""
        body, media = posting.body()
        async with connected(posts(targets, body, media, posting.connections)) as load:
            await load.run(_LEAD_IN_S)
            figure = await self._run(x, posting.series, load, seconds)
        count = figure.operations * posting.records
        newest = min(_NEWEST_RECORDS, max(1, count // len(targets)))
        self._sink(
            replace(
                figure,
                records=count,
                payload_bytes=count * posting.record_bytes,
                records_per_frame=await _records_per_frame(targets[0], newest),
            )
        )
        return count

    async def read(
        self, x: float, series: str, target: Target, *, start: int | str, seconds: float, again: bool = False
    ) -> None:
        """Fetch page after page for so long, or to the end; bytes are those of the stored form."""
        reader = PageReader(target, start=start, again=again)
        async with connected(reader.asking) as load:
            figure = await self._run(x, series, load, seconds)
        self._sink(replace(figure, records=reader.records))

    def gauge(self, x: float, name: str, value: float) -> None:
        """Something that was read off without load."""
        self._sink(Gauge(self._axis, name, x, self._round, value))

    async def idle(self, x: float, seconds: float, *, quiet_s_max: float) -> None:
        """What idle nodes use, all together; and the memory and open files of the largest."""
        await self._wait_quiet(quiet_s_max)
        sent, packets = (await self._nodes.counters())["link_bytes"], _loopback_packets()
        begin, used = time.perf_counter(), self._nodes.scheduled_s()
        await asyncio.sleep(seconds)
        took, used = time.perf_counter() - begin, self._nodes.scheduled_s() - used
        packets = _loopback_packets() - packets
        sent = (await self._nodes.counters())["link_bytes"] - sent
        self.gauge(x, "idle_core_percent", used / took * 100)
        self.gauge(x, "idle_packets_s", packets / took)
        self.gauge(x, "idle_link_bytes_s", sent / took)
        self.gauge(x, "rss_mb", self._nodes.rss_bytes() / 1e6)
        self.gauge(x, "descriptors", self._nodes.descriptors())

    async def _wait_quiet(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            before = self._nodes.scheduled_s()
            await asyncio.sleep(0.5)
            if self._nodes.scheduled_s() - before < 0.5 * _QUIET_CORES:
                return

    async def _run(self, x: float, series: str, load: Load, seconds: float) -> Figure:
        counted = await self._nodes.counters()
        used, each, mine = self._nodes.usage(), self._nodes.cpu_s(), self._client_cpu_s()
        answers = await load.run(seconds)
        used, mine = self._nodes.usage() - used, self._client_cpu_s() - mine
        busiest = max(now - then for now, then in zip(self._nodes.cpu_s(), each, strict=True))
        after = await self._nodes.counters()
        return Figure(
            axis=self._axis,
            series=series,
            x=x,
            round=self._round,
            nodes=self._nodes.count,
            operations=answers.operations,
            records=0,
            payload_bytes=answers.body_bytes,
            seconds=answers.seconds,
            refused=answers.refused,
            p50_ms=_ms(answers, 0.5),
            p99_ms=_ms(answers, 0.99),
            node_cpu_s=used.cpu_s,
            busiest_cpu_s=busiest,
            client_cpu_s=mine,
            flushes=round(after["flushes"] - counted["flushes"]),
            written_bytes=used.written_bytes,
            link_bytes=round(after["link_bytes"] - counted["link_bytes"]),
            rss_bytes=self._nodes.rss_bytes(),
        )

    def _client_cpu_s(self) -> float:
        times = self._client.cpu_times()
        return times.user + times.system


async def _records_per_frame(target: Target, newest: int) -> float:
    """Over the newest records: how many share a frame, an entry of the consensus log."""
    url = f"http://{LOOPBACK}:{target.port}{target.path}?from=-{newest}"
    async with (
        aiohttp.ClientSession(headers={"Accept": BATCH_MEDIA}) as session,
        session.get(url) as answer,
    ):
        frames = await answer.read()
    position, counts = 0, []
    while (header := decode_header(frames, position)) is not None:
        if header.kind is FrameKind.RECORDS:
            counts.append(header.offset_count)
        position += header.size
    return sum(counts) / max(1, len(counts))


def _ms(answers: Answers, fraction: float) -> float:
    return percentile(answers.latencies_s, fraction) * 1e3 if answers.latencies_s else 0.0


def _loopback_packets() -> int:
    """That this machine has sent to itself: of the nodes', when nothing else runs."""
    return int(psutil.net_io_counters(pernic=True)["lo"].packets_sent)
