"""A real HTTP server before a real node: it passes requests on, except where a test wants trouble."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

Trouble = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]
_HOP = {"transfer-encoding", "connection", "date", "server", "host", "keep-alive"}


async def no_trouble(_: web.Request, __: bytes) -> web.StreamResponse | None:
    """Pass everything on."""
    return None


class Front:
    """Answers what ``trouble`` answers, or what the node behind does. ``after`` sees requests that the node
    has carried out, and may replace or break the answer."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.trouble: Trouble = no_trouble
        self.after: Trouble = no_trouble
        self.seen: list[str] = []
        self.url = ""
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> Front:
        """Listen."""
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def stop(self) -> None:
        """Close everything, requests under way included."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(f"{request.method} {request.path}")
        if (answer := await self.trouble(request, body)) is not None:
            return answer
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with self._session.request(
            request.method,
            self.target + request.path_qs,
            data=io.BytesIO(body) if body else None,
            headers=headers,
        ) as response:
            content = await response.read()
        if (answer := await self.after(request, body)) is not None:
            return answer
        passed = {name: value for name, value in response.headers.items() if name.lower() not in _HOP}
        return web.Response(status=response.status, body=content, headers=passed)


def problem(status: int, code: str, **fields: object) -> web.Response:
    """An answer as a node gives it."""
    return web.json_response(
        {"code": code, "detail": code, **fields}, status=status, content_type="application/problem+json"
    )


async def break_off(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.sleep(0)
    return web.Response()


async def break_off_midway(request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of an answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"first_off')
    assert request.transport is not None
    request.transport.abort()
    return response
