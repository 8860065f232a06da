"""What a worker asks of its queue, over HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from floodmark.errors import ReceiptExpired
from floodmark.format.names import check_name
from floodmark.queues import wire
from floodmark.queues.shapes import Outcome, QueueRecord, Settlement
from floodmark.transport.http import Request, Transport
from floodmark.transport.pacing import Deadline

_JSON: Final = {"Content-Type": "application/json"}
_WORKER_CHARACTERS: Final = 200


def default_worker() -> str:
    """Under which dead letters name this program: host and process."""
    return f"{socket.gethostname()}-{os.getpid()}"[:_WORKER_CHARACTERS]


class Received(NamedTuple):
    """``settled``: what came of the settlements that were sent along, in their order."""

    records: Sequence[QueueRecord]
    settled: Sequence[Outcome]
    paused: str


class QueueCalls:
    """Of one worker, at one queue."""

    def __init__(self, transport: Transport, queue: str, worker: str, timeout_s: float) -> None:
        self.queue = check_name(queue)
        self._path = f"/v1/queues/{queue}"
        self._transport = transport
        self._worker = worker
        self._timeout_s = timeout_s

    @property
    def is_here(self) -> bool:
        """Whether the caller runs where the client is used."""
        return self._transport.home.is_here

    def check(self) -> None:
        """Raises ``NotUsable`` where the client is closed, or belongs elsewhere."""
        self._transport.home.check()

    def check_new(self) -> None:
        """The same, before there is an event loop."""
        self._transport.home.check_new()

    async def receive(
        self, max_records: int, *, wait_s: float, settlements: Sequence[Settlement] = ()
    ) -> Received:
        """Records, once there are any, for at most ``wait_s``; the settlements are done before.

        Where it is sent again because there was no answer, what the lost answer had comes when its time is
        up.
        """
        request = Request(
            method="POST",
            path=self._path + "/receive",
            query={"max": max_records, "wait": f"{round(wait_s * 1000)}ms", "worker": self._worker},
            headers=_JSON,
            body=msgspec.json.encode({"settlements": settlements} if settlements else {}),
            route=self._path,
            fast=True,
        )
        answer = await self._transport.call(
            request,
            Deadline(self._timeout_s + wait_s),
            attempt_timeout_s=wait_s + self._transport.request_timeout_s,
        )
        found = answer.convert(wire.Received)
        return Received(
            [record.record() for record in found.records],
            [each.result for each in found.settled],
            found.paused,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Outcome]:
        """What came of each, in their order; all is stored. To repeat it does no harm."""
        request = Request(
            method="POST",
            path=self._path + "/settle",
            headers=_JSON,
            body=msgspec.json.encode({"settlements": settlements}),
            route=self._path,
            fast=True,
        )
        try:
            answer = await self._transport.call(request, Deadline(self._timeout_s))
        except ReceiptExpired:
            if len(settlements) > 1:
                raise
            return [Outcome.LATE]
        return [each.result for each in answer.convert(wire.Settled).settled]
