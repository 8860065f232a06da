"""Makes the archives of ``folders-.../``: ``python -m tests.compat.make_folders FOLDER``.

Run by hand in a checkout of a build whose data folders later builds have to open. Each archive is the data of
a cluster with sealed segments, checkpoints, an idempotent producer and a topic that was deleted. The last
node is killed and the others stop, so that both ends of a log are there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import floodmark

from local.cluster import LocalCluster
from tests.compat.contents import contents

_TEXT = b"the same words again and again " * 60
_REST_S = 2.5
"""Idle logs are checkpointed within this time."""


async def _fill(cluster: LocalCluster) -> dict[str, Any]:
    urls = [node.url for node in cluster.nodes.values()]
    async with floodmark.Client(urls) as client, aiohttp.ClientSession(urls[0]) as session:

        async def post(path: str, body: bytes, **headers: str) -> Any:
            async with session.post(path, data=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        await client.topics.create("orders", partitions=2, config={"segment_bytes": 1 << 20})
        await client.topics.create("gone")
        await client.topics.create("settings", config={"retention_ms": 10**12, "max_record_bytes": 4096})
        place = "/v1/topics/orders/partitions/0/records"
        pair = (
            b'{"records":[{"key":"a","value":{"n":1.50}},'
            b'{"value":"two","headers":{"h":"x"},"timestamp":1356998400000}]}'
        )
        bodies = (pair, b'{"key":"b","value":[1,2,3]}')
        answers = [
            await post(
                place,
                body,
                **{"Content-Type": "application/json", "Producer-Id": "keeper", "Producer-Seq": str(number)},
            )
            for number, body in enumerate(bodies)
        ]
        binary = {"Content-Type": "application/octet-stream"}
        await post("/v1/topics/orders/partitions/1/records", bytes(range(256)), **binary)
        for count, compression in ((500, "zstd"), (2_600, "none")):
            async with client.producer("orders", linger_ms=5, compression=compression) as producer:
                acks = [
                    await producer.send(b"%06d|" % i + _TEXT, partition=i % 2, key=b"k%d" % i)
                    for i in range(count)
                ]
                for ack in acks:
                    await ack
        for number in range(4):
            body = hashlib.shake_128(b"%d" % number).digest(3000)
            await post("/v1/topics/orders/partitions/1/records", body, **binary)
        for topic in ("settings", "gone"):
            await post(f"/v1/topics/{topic}/records", b'{"key":"x","value":null}')
        await client.topics.delete("gone")
        return {
            "producer": [
                {"path": place, "seq": number, "body": body.decode(), "answer": answer}
                for number, (body, answer) in enumerate(zip(bodies, answers, strict=True))
            ],
            "partitions": {
                f"{topic}/{partition}": await contents(client, topic, partition)
                for topic, partitions in (("orders", 2), ("settings", 1))
                for partition in range(partitions)
            },
        }


async def _make(folder: Path, count: int) -> None:
    cluster = LocalCluster(folder, count)
    try:
        await cluster.start()
        await cluster.ready()
        found = await _fill(cluster)
        await asyncio.sleep(_REST_S)
        await cluster.kill(f"n{count}")
        await cluster.stop()
    finally:
        cluster.close()
    folder.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    with tarfile.open(folder.with_suffix(".tar.xz"), "w:xz") as archive:
        archive.add(folder, folder.name, filter=_without_traces)


def _without_traces(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Only data and the secret: settings and what nodes said belong to the machine."""
    if member.name.endswith(("/lock", ".toml")) or (
        member.name.endswith(".log") and member.name.count("/") == 1
    ):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


async def _main(folder: Path) -> None:
    for name, count in (("one", 1), ("three", 3)):
        await _make(folder / name, count)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(_main(Path(sys.argv[1])))
