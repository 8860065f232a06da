"""Requests of administration: JSON there and back, within the time of the call or of its client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from floodmark.transport.http import Answer, Request, Transport
from floodmark.transport.pacing import Deadline


class Calls:
    """``timeout_s``: of calls that say nothing else."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str | int] | None = None,
        timeout_s: float | None,
    ) -> Answer:
        """Ask until there is an answer. Whatever is asked is the same when it is done twice."""
        request = Request(
            method=method,
            path=path,
            query=query or {},
            headers={} if body is None else {"Content-Type": "application/json"},
            body=None if body is None else msgspec.json.encode(body),
        )
        deadline = Deadline(self._timeout_s if timeout_s is None else timeout_s)
        # During an election an answer takes a while; a single try may use all the time there is.
        return await self._transport.call(request, deadline, attempt_timeout_s=deadline.timeout_s)
