"""Requests to the cluster that return the API's own document.

Commands that show or change the cluster print what the API says, key by key, so they pass its documents on
instead of translating them into objects and back.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from floodmark.errors import FloodmarkError, TransportError
from floodmark.transport.http import Answer, Request, Transport
from floodmark.transport.pacing import Deadline

from cli.session import Target

TIMEOUT_S = 10.0
"""How long to wait for an election to end; a node that cannot be reached is reported at once."""
Document = dict[str, Any]


class Api:
    """The connection of one command: ``async with Api(server) as api``."""

    def __init__(self, server: Target | str) -> None:
        target = Target(server) if isinstance(server, str) else server
        self._transport = Transport(
            [target.url], request_timeout_s=TIMEOUT_S, token=target.token, tls=target.files.options()
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    async def get(self, path: str, **query: str | int) -> Document:
        """The document at ``path``."""
        return (await self._ask(Request(method="GET", path=path, query=query))).convert(Document)

    async def change(
        self, method: str, path: str, body: Document | None = None, **query: str
    ) -> tuple[int, Document]:
        """PUT, PATCH, POST or DELETE: returns the status, and the document if the answer has one."""
        request = Request(
            method=method,
            path=path,
            query=query,
            headers={"Content-Type": "application/json"} if body is not None else {},
            body=msgspec.json.encode(body) if body is not None else None,
        )
        answer = await self._ask(request)
        return answer.status, answer.convert(Document) if answer.body else {}

    async def _ask(self, request: Request) -> Answer:
        try:
            return await self._transport.attempt(request, TIMEOUT_S)
        except TransportError:
            raise
        except FloodmarkError as error:
            if not error.retriable:
                raise
        return await self._transport.call(request, Deadline(TIMEOUT_S))


def topic_path(name: str) -> str:
    """The path of a topic. Any text is quoted into one segment; the server refuses invalid names."""
    return f"/v1/topics/{quote(name, safe='')}"


async def require_topic(server: Target, name: str) -> None:
    """Fail at once if the node or the topic is missing; the client would retry for a while."""
    async with Api(server) as api:
        await api.get(topic_path(name))


async def all_topics(api: Api, *, prefix: str = "") -> list[Document]:
    """Every topic in order of name, fetched page by page."""
    topics: list[Document] = []
    while True:
        page = await api.get(
            "/v1/topics", prefix=prefix, after=topics[-1]["topic"] if topics else "", limit=1000
        )
        topics += page["topics"]
        if len(page["topics"]) < 1000:
            return topics
