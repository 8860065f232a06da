"""Few descriptors: no more partitions than there are files for; with all taken a node can still be helped."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp

from local.cluster import LocalCluster

LIMIT = 300
FITS = (LIMIT - LIMIT // 4) // 4
REQUEST = "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(link: Link, method: str, path: str) -> tuple[int, bytes]:
    """Status, and the rest until the node closes."""
    reader, writer = link
    writer.write(REQUEST.format(method, path).encode())
    status = int((await reader.readline()).split()[1])
    rest = await reader.read()
    writer.close()
    return status, rest


async def test_delete_and_probes_get_in_when_everything_is_taken(tmp_path: Path) -> None:
    """Partitions end at the limit, connections at the reserve; the last descriptors are for who helps."""
    cluster = LocalCluster(tmp_path, 1)
    node = cluster.nodes["n1"]
    start = f"exec {sys.executable} -m cli.main start --config {node.config}"
    command = f"ulimit -Hn {LIMIT}; ulimit -n {LIMIT}; {start}"
    with node.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec("bash", "-c", command, stdout=log, stderr=log)
    held: list[Link] = []
    try:
        await cluster.ready("n1")
        async with aiohttp.ClientSession() as session:
            for name, partitions, expected in (("big", FITS - 10, 201), ("more", 11, 409), ("last", 10, 201)):
                url = f"{node.url}/v1/topics/{name}?timeout=20s"
                async with session.put(url, json={"partitions": partitions}) as answer:
                    assert answer.status == expected, await answer.text()
        host, port = "127.0.0.1", int(node.url.rpartition(":")[2])
        for _ in range(LIMIT):
            held.append(await asyncio.open_connection(host, port))
            # At once: a node waits for a head for ten seconds, and longer for a second one.
            held[-1][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        usual, full = 0, 0
        for reader, _ in held:
            try:
                line = await reader.readline()
            except ConnectionError:
                line = b""
            usual += b" 200 " in line
            full += b" 200 " not in line
        assert usual > 0
        assert full > 0

        for method, path, expected in (
            ("GET", "/v1/topics", 503),
            ("POST", "/v1/topics/big/partitions/0/records", 503),
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 200),
            ("DELETE", "/v1/topics/last", 204),
            ("DELETE", "/v1/topics/big", 204),
        ):
            status, body = await ask(await asyncio.open_connection(host, port), method, path)
            assert status == expected, (method, path, body)
    finally:
        for _, writer in held:
            writer.close()
        process.terminate()
        code = await process.wait()
        cluster.close()
    text = node.log.read_text()
    assert code == 0, text
    assert "group_failed" not in text
    assert "Too many open files" not in text
