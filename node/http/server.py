"""The listening side: an application on a port, with limits on connections and a graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.web_server import Server

from node.http.accepting import Accepting
from node.http.admission import Admission
from node.http.connection import Connection, ConnectionServer
from node.http.context import CONTEXT
from node.http.door import ADDED_HEADERS, DOOR, Door
from node.http.fast_path import FAST_PATH
from node.http.tls_accepting import TlsAccepting, TlsSource

_BACKLOG = 512
_HELD_UP_S = 0.02
"""A timer that is later than this shows that this process, or its event loop, did not run meanwhile."""


class HttpServer:
    """``start`` listens, ``stop`` lets running requests end. One per application."""

    def __init__(self, app: web.Application, tls: TlsSource | None = None) -> None:
        """Without ``tls`` plain HTTP is spoken, and with it nothing else."""
        self.app = app
        self._tls = tls
        self._trusted_by: ssl.SSLContext | None = None
        """What all open connections with a certificate have been looked at by."""
        self._context = app[CONTEXT]
        self._runner = _Runner(app)
        if self._context.service.authenticator is not None:
            self._context.service.quotas.share_connections(self._runner.admission.limit)
        self._sweeper: asyncio.Task[None] | None = None
        self._accepting: Accepting | TlsAccepting | None = None

    @property
    def admission(self) -> Admission:
        """The count of connections."""
        return self._runner.admission

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; port 0 picks a free one. Returns where. Raises ``OSError`` when that is taken."""
        await self._runner.setup()
        server = self._runner.server
        assert isinstance(server, ConnectionServer)
        try:
            if self._tls is None:
                where = await self._listen(server, host, port)
            else:
                where = await self._listen_with_tls(server, self._tls, host, port)
        except OSError:
            await self._runner.cleanup()
            raise
        self._sweeper = asyncio.create_task(self._sweep())
        return where

    async def _listen(self, server: ConnectionServer, host: str, port: int) -> tuple[str, int]:
        site = web.TCPSite(self._runner, host, port, backlog=_BACKLOG)
        await site.start()
        listening = cast(asyncio.Server, site._server)  # noqa: SLF001 - aiohttp does not tell; uvloop's is alike
        self._accepting = Accepting(server.protocol, [each.fileno() for each in listening.sockets])
        server.on_accepted = self._accepting.one_came
        where = self._runner.addresses[0]
        return str(where[0]), int(where[1])

    async def _listen_with_tls(
        self, server: ConnectionServer, tls: TlsSource, host: str, port: int
    ) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        # The loop binds the addresses that the name stands for; what listens are duplicates of its sockets.
        bound = await loop.create_server(server, host, port, start_serving=False)
        sockets = [socket.socket(fileno=socket.dup(each.fileno())) for each in bound.sockets]
        bound.close()
        for each in sockets:
            each.setblocking(False)  # noqa: FBT003 - the name of the standard library's parameter is none
            each.listen(_BACKLOG)
        self._accepting = TlsAccepting(
            sockets,
            tls,
            server.protocol,
            self.admission,
            handshake_timeout_s=self._context.settings.header_timeout_s,
            dropped=lambda reason: self._context.metrics.dropped.labels(reason).inc(),
        )
        where = sockets[0].getsockname()
        return str(where[0]), int(where[1])

    async def stop(self, drain_s: float) -> None:
        """Accept nothing more, end long polls and streams, give other requests ``drain_s``, close all."""
        self._context.service.draining.set()
        if self._accepting is not None:
            self._accepting.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None
        self._runner.drain_s = drain_s
        await self._runner.cleanup()

    async def _sweep(self) -> None:
        """Check every connection about once a second; a thousand take less than a millisecond."""
        dropped = self._context.metrics.dropped
        refused = 0
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._context.settings.sweep_s
            await asyncio.sleep(self._context.settings.sweep_s)
            now = loop.time()
            self._look_at_certificates()
            for connection in self._runner.open_connections():
                if now - due > _HELD_UP_S:
                    connection.held_up(now - due)
                reason = connection.check(now)
                if reason is not None:
                    dropped.labels(reason).inc()
            dropped.labels("refused").inc(self.admission.refused - refused)
            refused = self.admission.refused

    def _look_at_certificates(self) -> None:
        """After a change: whose CA is gone has to come again."""
        if self._tls is None or self._tls.context is self._trusted_by:
            return
        self._trusted_by = self._tls.context
        for connection in self._runner.open_connections():
            connection.check_certificate(self._tls.still_trusts)


class _Runner(web.AppRunner):
    """aiohttp's runner with this project's connections in it."""

    __slots__ = ("_door", "_fast_path", "_settings", "admission")

    def __init__(self, app: web.Application) -> None:
        self._door: Door = app[DOOR]
        self._fast_path = app[FAST_PATH]
        settings = app[CONTEXT].settings
        self._settings = settings
        self.admission = Admission(settings)
        super().__init__(app, access_log=None)

    @property
    def drain_s(self) -> float:
        """How long running requests get at shutdown."""
        return self._shutdown_timeout

    @drain_s.setter
    def drain_s(self, seconds: float) -> None:
        self._shutdown_timeout = seconds

    def open_connections(self) -> list[Connection]:
        """All of them; copied, since checking may close some."""
        server = self.server
        return [] if server is None else [item for item in server.connections if isinstance(item, Connection)]

    async def _make_server(self) -> Server:
        plain = await super()._make_server()
        settings = self._settings
        arguments: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": settings.idle_timeout_s,
            "lingering_time": settings.linger_s,
            "logger": logging.getLogger("floodmark.http.connection"),
            # One more than for headers: in aiohttp's error only the limit tells which of the two was broken.
            "max_line_size": settings.line_bytes_max + 1,
            "max_field_size": settings.header_bytes_max,
            "max_headers": settings.headers_max + ADDED_HEADERS,
        }
        handler = self._door.around(plain.request_handler)
        return ConnectionServer(
            handler, plain.request_factory, settings, self.admission, self._fast_path, **arguments
        )
