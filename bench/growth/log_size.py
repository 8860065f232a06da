"""The axis on which a log grows: one node and one partition without replicas, so that it fits on the disk."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from typing import Final

from bench.growth.load import PageReader, Target, connected
from bench.growth.meter import Meter, Posting, Sink
from bench.growth.nodes import Nodes, started
from bench.growth.scale import Scale
from bench.page_cache import forget
from bench.processes import Failed

_TOPIC: Final = "big"
_RECORD_BYTES: Final = 1024
_FILL: Final = Posting("fill", 4, records=1000, record_bytes=_RECORD_BYTES)
_FILL_S: Final = 3.0
_ROOM: Final = 1.3
"""Free space required, as a multiple of the log's size, so that other programs keep enough."""
_END_BYTES: Final = 100_000_000


async def log_size(scale: Scale, round_number: int, sink: Sink) -> None:
    """At each size: a start and reads without a page cache, then writes. Raises ``Failed``."""
    most = max(scale.log_gigabytes) * 1e9
    if (free := shutil.disk_usage(tempfile.gettempdir()).free) < most * _ROOM:
        raise Failed(f"{most * _ROOM / 1e9:.0f} GB have to be free, and {free / 1e9:.0f} are")
    async with started(1) as nodes:
        meter = Meter("log-size", round_number, nodes, sink)
        await nodes.topic(_TOPIC, partitions=1, replication=1)
        time_left = scale.fill_s_max
        for x in scale.log_gigabytes:
            time_left = await _fill(meter, nodes, x, time_left)
            await _start_cold(meter, nodes, x)
            (target,) = await nodes.targets([_TOPIC])
            await _read(meter, nodes, x, target, scale.seconds)
            for posting in (Posting("one", 1), Posting("many", 64)):
                await meter.produce(x, posting, [target], scale.seconds)
            meter.gauge(x, "rss_mb", nodes.rss_bytes() / 1e6)


async def _fill(meter: Meter, nodes: Nodes, gigabytes: float, time_left: float) -> float:
    """Write until the log is that large; how much of the time is left. Raises ``Failed`` when none is."""
    targets = await nodes.targets([_TOPIC])
    rate = 100e6
    begin = time.monotonic()
    while (missing := gigabytes * 1e9 - (await nodes.counters())["log_bytes"]) > 0:
        if time.monotonic() - begin > time_left:
            raise Failed(f"the log has no {gigabytes:g} GB within the time for it")
        wrote_from = time.monotonic()
        records = await meter.produce(gigabytes, _FILL, targets, min(_FILL_S, max(0.2, missing / rate)))
        rate = records * _RECORD_BYTES / (time.monotonic() - wrote_from)
    return time_left - (time.monotonic() - begin)


async def _start_cold(meter: Meter, nodes: Nodes, x: float) -> None:
    await nodes.stop()
    await asyncio.to_thread(_forget_all, nodes)
    meter.gauge(x, "start_s", await nodes.start())


def _forget_all(nodes: Nodes) -> None:
    for file in nodes.files():
        forget(file)


async def _read(meter: Meter, nodes: Nodes, x: float, target: Target, seconds: float) -> None:
    """The first page alone and then more, at each place; nothing of it is in the page cache."""
    records = await nodes.records(_TOPIC)
    if records == 0:
        return
    for name, start in (
        ("start", 0),
        ("middle", records // 2),
        ("end", max(0, records - _END_BYTES // _RECORD_BYTES)),
    ):
        page = PageReader(target, start=start)
        async with connected(page.asking) as load:
            answers = await load.run(0)
        meter.gauge(x, f"first_page_{name}_ms", max(answers.latencies_s) * 1e3)
        await meter.read(x, f"read-{name}", target, start=start + page.records, seconds=seconds)
