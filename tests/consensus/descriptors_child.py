"""A process of its own that runs out of file descriptors, for test_descriptors.py: ``python -m`` it.

It prints one line for each step that it has reached; the last is ``accepts again``.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from consensus.links.link_tls import LinkTls
from tests.consensus.link_nodes import LinkNode, numbered
from tests.support.certificates import authority, peer_tls

DESCRIPTORS_MAX = 256


def main() -> None:
    """The arguments name the event loop, and whether links have TLS."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, hard))
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[sys.argv[1]]
    with asyncio.Runner(loop_factory=factory) as runner:
        if sys.argv[2] == "plain":
            runner.run(_scenario(lambda _name: None))
        else:
            with tempfile.TemporaryDirectory() as folder:
                by = authority()
                ready = {name: peer_tls(Path(folder), name, by) for name in ("b", "old", "new")}
                runner.run(_scenario(ready.__getitem__))


async def _scenario(tls_of: Callable[[str], LinkTls | None]) -> None:
    b, old = [await LinkNode(name, tls=tls_of(name)).start() for name in ("b", "old")]
    old.links.dial("b", *b.address)
    await old.until_up("b")
    stranger = socket.socket()
    stranger.setblocking(False)

    refused = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: refused.set())
    taken = _take_all()
    _say(f"out of descriptors after {len(taken)}")
    await loop.sock_connect(stranger, b.address)
    closed = asyncio.create_task(_closed(stranger))
    await _first(refused.wait(), closed)
    _say("a connection could not be accepted")
    old.links.send("b", [numbered(1)])
    await b.until(lambda: b.numbers("old") == [1])
    _say("links that stood go on")

    for descriptor in taken:
        os.close(descriptor)
    new = await LinkNode("new", tls=tls_of("new")).start()
    new.links.dial("b", *b.address)
    await new.until_up("b")
    new.links.send("b", [numbered(2)])
    await b.until(lambda: b.numbers("new") == [2])
    _say("accepts again")
    closed.cancel()
    stranger.close()
    await asyncio.gather(*(node.links.stop() for node in (new, old, b)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _take_all() -> list[int]:
    taken: list[int] = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


async def _closed(stranger: socket.socket) -> None:
    """The other side has closed the connection: uvloop accepts and closes what it has no room for."""
    try:
        await asyncio.get_running_loop().sock_recv(stranger, 1)
    except ConnectionResetError:
        return


async def _first(*waits: Any) -> None:
    """Wait for any of these."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    async with asyncio.timeout(60):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    main()
