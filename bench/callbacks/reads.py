"""Large answers of every form."""

from __future__ import annotations

from collections.abc import Iterator

from floodmark.format import batch as codec
from floodmark.format.limits import BATCH_RECORDS_MAX
from floodmark.format.record import Record

from bench.callbacks.case import Case, Nodes, ask

_BATCH = "application/vnd.floodmark.batch;v=1"
_PAGE = "?from=0&max_bytes=8388608&max_records=100000"


def cases() -> Iterator[Case]:
    """All of them; the first ones store what the others read."""
    tiny = [Record(1, None, b"1", is_json=True)] * BATCH_RECORDS_MAX
    yield Case("(storing tiny records)", lambda nodes: _store(nodes, "tiny", codec.encode(tiny), 3))
    kilobytes = [Record(1, b"key", b'"' + b"x" * 1022 + b'"', is_json=True)] * 1000
    yield Case("(storing records of 1 KiB)", lambda nodes: _store(nodes, "kib", codec.encode(kilobytes), 8))
    zeros = codec.encode([Record(1, None, bytes((1 << 20) - 100))] * 31, codec=1)
    yield Case("(storing 31 MiB of zeros in 2 KB)", lambda nodes: _store(nodes, "zeros", zeros, 4))
    for topic, what in (
        ("tiny", "100,000 tiny records"),
        ("kib", "8 MB of 1 KiB records"),
        ("zeros", "zeros"),
    ):
        for form in ("json", "x-ndjson", "vnd.msgpack", "vnd.floodmark.batch;v=1"):
            yield _page(f"{what} as {form}", topic, f"application/{form}")
        yield _page(f"{what} as events", topic, "text/event-stream")
    yield Case("(making 1,000 partitions)", _make_many)
    yield Case("listing of topics", lambda nodes: ask(nodes, "GET", f"{nodes.follower}/v1/topics"))
    yield Case(
        "topic of 1,000 partitions", lambda nodes: ask(nodes, "GET", f"{nodes.follower}/v1/topics/many")
    )
    yield Case(
        "whole topic of 1,000", lambda nodes: ask(nodes, "GET", f"{nodes.follower}/v1/topics/many/records")
    )
    yield Case("/v1/cluster", lambda nodes: ask(nodes, "GET", f"{nodes.follower}/v1/cluster"))
    yield Case("/metrics", lambda nodes: ask(nodes, "GET", f"{nodes.leader}/metrics"))
    yield Case("/openapi.json", lambda nodes: ask(nodes, "GET", f"{nodes.leader}/openapi.json"))


async def _store(nodes: Nodes, topic: str, batch: bytes, times: int) -> str:
    await ask(nodes, "PUT", f"{nodes.leader}/v1/topics/{topic}", body=b'{"partitions":1}')
    url = f"{nodes.leader}/v1/topics/{topic}/partitions/0/records"
    answers = [
        await ask(nodes, "POST", url, body=batch, headers={"Content-Type": _BATCH}) for _ in range(times)
    ]
    return answers[-1]


def _page(name: str, topic: str, media: str) -> Case:
    async def run(nodes: Nodes) -> str:
        url = f"{nodes.leader}/v1/topics/{topic}/partitions/0/records{_PAGE}"
        follow = media in ("application/x-ndjson", "text/event-stream")
        if not follow:
            return await ask(nodes, "GET", url, headers={"Accept": media})
        async with nodes.session.get(url, headers={"Accept": media}) as answer:
            size = 0
            while size < 8 << 20 and (piece := await answer.content.readany()):
                size += len(piece)
            return f"{answer.status}, {size:,} bytes read"

    return Case(name, run)


async def _make_many(nodes: Nodes) -> str:
    return await ask(nodes, "PUT", f"{nodes.leader}/v1/topics/many", body=b'{"partitions":1000}')
