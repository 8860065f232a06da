"""An attack: requests that strangers send to a cluster for some seconds."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

TOPIC = "attacked"
"""Topic created before each attack, with three partitions."""
_CONNECT_S = 10.0


class Target(NamedTuple):
    """The cluster to attack, until when (``time.monotonic``), and ``answers``, which counts the results."""

    session: aiohttp.ClientSession
    urls: list[str]
    until: float
    answers: Counter[str]
    peers: Mapping[str, tuple[str, int]]
    """Node -> host and port for other nodes."""
    secret: bytes
    """The cluster's secret, for attackers who have it."""
    tls: ssl.SSLContext | None
    """For connections of its own to https nodes."""
    who: Mapping[str, str]
    """Headers that say who the attacker is; none of a stranger."""

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.until

    def address(self, number: int) -> tuple[str, int]:
        """Host and port of one of the nodes."""
        url = urlsplit(self.urls[number % len(self.urls)])
        assert url.hostname is not None
        assert url.port is not None
        return url.hostname, url.port

    async def streams(self, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own to one of the nodes, in TLS where the node speaks it."""
        return await asyncio.open_connection(*self.address(number), ssl=self.tls)

    def socket(self, number: int, *, buffer_bytes: int) -> socket.socket:
        """The same as a socket with a buffer of this size in the kernel. Blocks, and so does the socket."""
        plain = socket.socket()
        try:
            plain.settimeout(_CONNECT_S)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            plain.connect(self.address(number))
            host, _ = self.address(number)
            found = plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise
        return found

    @property
    def who_lines(self) -> str:
        """Those headers, for requests that are written byte by byte."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.who.items())

    async def ask(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """One request; its answer is read and counted."""
        try:
            async with self.session.request(method, url, data=body, headers=headers) as answer:
                await answer.read()
                self.answers[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1

    async def ask_again_and_again(
        self,
        path: str,
        *,
        method: str = "POST",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        connections_per_node: int = 1,
    ) -> None:
        """Send requests to all nodes at once, each as soon as the previous one is answered."""

        async def one(url: str) -> None:
            while self.goes_on:
                await self.ask(method, url + path, body=body, headers=headers)

        await asyncio.gather(*(one(url) for url in self.urls for _ in range(connections_per_node)))


class Attack(NamedTuple):
    """``run`` returns when the time is up. ``prepare`` runs before anything is measured."""

    name: str
    run: Callable[[Target], Awaitable[None]]
    prepare: Callable[[Target], Awaitable[None]] | None = None
