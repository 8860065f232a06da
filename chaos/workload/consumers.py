"""Consumers: polls that follow the log, readings from the start, and tails."""

from __future__ import annotations

from typing import Final

import msgspec
from floodmark.errors import FloodmarkError, OffsetBelowStart
from floodmark.format.frame import iterate
from floodmark.format.frame_records import has_records, records_in
from floodmark.transport.http import BATCH_MEDIA_TYPE, Answer, Request, Transport

from chaos.checker.options import Place
from chaos.history import Bounds, Page, Read, Run, Tail
from chaos.record_value import FOREIGN, decode
from chaos.workload.site import Rotation, Site, attempt, ticks

_WAIT_S: Final = 0.5
"""How long a poll waits for records at the end of the log."""
_TAIL_INTERVAL_S: Final = 0.5
_POLL_INTERVAL_S: Final = 0.1
_TAILING_BYTES_MAX: Final = 1 << 20
_REREADING_BYTES_MAX: Final = 128 << 10
"""A reading from the start takes many polls, so that faults fall between them."""


class _Tail(msgspec.Struct):
    log_start_offset: int
    high_watermark: int


async def follow(site: Site, process: str, place: Place) -> None:
    """One session that begins at the start and then follows the end."""
    transport = site.transport(f"{process}/{place}")
    offset = 0
    try:
        async for _ in ticks(_POLL_INTERVAL_S, site.stop):
            if site.pauses.has(place):
                continue
            page = await poll(site, transport, process, place, offset)
            if isinstance(page, int):
                offset = page
            elif page is not None:
                offset = page.next_offset
    finally:
        await transport.close()


async def reread(site: Site, process: str, place: Place) -> None:
    """One session after the other, each from the start to the current end; asks the nodes in turn."""
    transport = site.rotation(f"{process}/{place}")
    start = offset = session = 0
    try:
        async for _ in ticks(_POLL_INTERVAL_S, site.stop):
            if site.pauses.has(place):
                continue
            page = await poll(site, transport, process, place, offset, session=session)
            if isinstance(page, int):
                start = offset = page
            elif page is not None:
                offset = page.next_offset
                if offset >= page.high_watermark:
                    offset, session = start, session + 1
    finally:
        await transport.close()


async def watch_tail(site: Site, process: str, place: Place) -> None:
    """Asks for the confirmed bounds of a partition, each node in turn."""
    topic, partition = place
    transport = site.rotation(f"{process}/{place}")
    request = Request(
        method="GET", path=f"/v1/topics/{topic}/partitions/{partition}/tail", route=f"{topic}/{partition}"
    )
    try:
        async for _ in ticks(_TAIL_INTERVAL_S, site.stop):
            if site.pauses.has(place):
                continue
            op = site.recorder.begin(process, Tail(*place))
            try:
                answer, node = await attempt(transport, request)
                bounds = answer.convert(_Tail)
            except FloodmarkError as error:
                site.recorder.failed(op, error)
            else:
                site.recorder.ok(op, Bounds(bounds.log_start_offset, bounds.high_watermark), node=node)
    finally:
        await transport.close()


async def poll(
    site: Site,
    transport: Transport | Rotation,
    process: str,
    place: Place,
    offset: int,
    *,
    session: int | None = None,
) -> Page | int | None:
    """One poll; with a session number it does not wait for new records. None if it failed.

    It reads from the log's start if that is above the offset: after a recovery that found nothing of the log.
    """
    topic, partition = place
    wait_s = _WAIT_S if session is None else 0.0
    request = Request(
        method="GET",
        path=f"/v1/topics/{topic}/partitions/{partition}/records",
        query={
            "from": offset,
            "max_bytes": _TAILING_BYTES_MAX if session is None else _REREADING_BYTES_MAX,
            "wait": f"{round(wait_s * 1000)}ms",
        },
        headers={"Accept": BATCH_MEDIA_TYPE},
        route=f"{topic}/{partition}",
    )
    op = site.recorder.begin(process, Read(topic, partition, offset, session or 0))
    try:
        answer, node = await attempt(transport, request, wait_s=wait_s)
        page = _page(answer, place, offset)
    except FloodmarkError as error:
        site.recorder.failed(op, error)
        return error.fields["log_start_offset"] if isinstance(error, OffsetBelowStart) else None
    site.recorder.ok(op, page, node=node)
    return page


def _page(answer: Answer, place: Place, offset: int) -> Page:
    """The runs of a poll's frames, from the offset asked for on: the first frame may begin before it.

    Raises ``InvalidBatch`` for frames that fail their checksums.
    """
    next_offset = int(answer.headers["Log-Next-Offset"])
    runs: list[Run] = []
    for frame in iterate(answer.body):
        if not has_records(frame) or frame.next_offset <= offset:
            continue
        skip = max(0, offset - frame.first_offset)
        for at, record in enumerate(records_in(frame, frame.payload)[skip:], frame.first_offset + skip):
            if record is None:
                continue
            value = _value(record.value or b"", place)
            if runs and runs[-1].first_offset + len(runs[-1].values) == at:
                runs[-1].values.append(value)
            else:
                runs.append(Run(at, [value]))
    return Page(runs, next_offset, int(answer.headers["Log-High-Watermark"]))


def _value(data: bytes, place: Place) -> int:
    told = decode(data)
    return told.value if told is not None and (told.topic, told.partition) == place else FOREIGN
