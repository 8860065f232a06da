"""Look after queues: make, list, describe, purge and delete them, and their dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from floodmark.admin.calls import Calls
from floodmark.errors import InvalidRequest, NotFound
from floodmark.format.names import check_name
from floodmark.queues import wire
from floodmark.queues.calls import QueueCalls, default_worker
from floodmark.queues.descriptions import (
    Breaker,
    DeadLetter,
    DeadRecord,
    Ordering,
    QueueInfo,
    QueueListing,
    QueueStart,
)
from floodmark.queues.shapes import Deliveries, Outcome, Settlement, milliseconds
from floodmark.transport.http import Transport

_PATH: Final = "/v1/queues"
_PAGE: Final = 1000
DEFAULT: Final = ""
"""Of ``dead_letter_topic``: the queue's name with ``.dead``."""


class Queues:
    """``client.queues``. Each call takes ``timeout_s``, by default the client's own."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._calls = Calls(transport, timeout_s)

    async def put(
        self,
        queue: str,
        topic: str,
        *,
        visibility_timeout_s: float | None = None,
        max_deliveries: int | None = None,
        backoff_s: Sequence[float] | None = None,
        ordering: Ordering | None = None,
        max_in_flight: int | None = None,
        max_in_flight_per_worker: int | None = None,
        dead_letter_topic: str | None = DEFAULT,
        start: QueueStart | None = None,
        window: int | None = None,
        breaker: Breaker | None = None,
        timeout_s: float | None = None,
    ) -> QueueInfo:
        """Make a queue on a topic, or give one that is there these settings. What is left out has its default
        in a new queue, and stays as it is in one that is there.

        visibility_timeout_s  so long a worker has for a record before it is delivered again (30); ``jobs``
                              extends it while the work goes on
        max_deliveries        after so many that failed or timed out a record is a dead letter (5)
        backoff_s             how long it waits after its first, second ... failed delivery, the last one for
                              all others (1, 5, 30)
        ordering              ``none``, or ``key``: never two records of one key at once, nor a later one
                              before an earlier one is settled
        max_in_flight, max_in_flight_per_worker  records that are delivered and not settled (10,000; 1,000)
        dead_letter_topic     where dead letters go: the queue's name with ``.dead``, made if it is missing.
                              None: nowhere, they are dropped and counted
        start                 ``earliest`` (the default) or ``latest``, for a new queue
        window                so many records past the oldest unsettled one of a partition are looked at
        breaker               when it pauses because most deliveries fail

        Raises ``UnknownTopic``, ``QueueExists`` where it is of another topic or ordering, ``InvalidRequest``.
        """
        config: dict[str, Any] = {
            "topic": check_name(topic),
            "visibility_timeout_ms": milliseconds(visibility_timeout_s),
            "max_deliveries": max_deliveries,
            "backoff_ms": None if backoff_s is None else [milliseconds(each) for each in backoff_s],
            "ordering": ordering,
            "max_in_flight": max_in_flight,
            "max_in_flight_per_worker": max_in_flight_per_worker,
            "start": start,
            "window": window,
            "breaker": breaker,
        }
        body = {name: value for name, value in config.items() if value is not None}
        if dead_letter_topic != DEFAULT:
            body["dead_letter_topic"] = dead_letter_topic
        return (await self._calls.call("PUT", _of(queue), body, timeout_s=timeout_s)).convert(QueueInfo)

    async def list(self, prefix: str = "", *, timeout_s: float | None = None) -> AsyncIterator[QueueListing]:
        """Queues whose names begin with ``prefix``, in order of name, fetched page by page."""
        after = ""
        while True:
            query: dict[str, str | int] = {"prefix": prefix, "after": after, "limit": _PAGE}
            answer = await self._calls.call("GET", _PATH, query=query, timeout_s=timeout_s)
            found = answer.convert(_Page).queues
            for queue in found:
                yield queue
            if len(found) < _PAGE:
                return
            after = found[-1].queue

    async def describe(self, queue: str, *, timeout_s: float | None = None) -> QueueInfo:
        """A queue as it is now. Raises ``UnknownQueue``."""
        return (await self._calls.call("GET", _of(queue), timeout_s=timeout_s)).convert(QueueInfo)

    async def delete(self, queue: str, *, timeout_s: float | None = None) -> None:
        """Delete a queue, with what was not settled; its topics and their records stay.

        Raises ``UnknownQueue``.
        """
        try:
            await self._calls.call("DELETE", _of(queue), timeout_s=timeout_s)
        except NotFound as error:
            if not error.fields.get("repeated"):  # else an earlier try of this call has deleted it
                raise

    async def purge(self, queue: str, *, timeout_s: float | None = None) -> int:
        """Settle all that is there now; about so many records. Raises ``UnknownQueue``."""
        return (
            (await self._calls.call("POST", _of(queue, "/purge"), timeout_s=timeout_s))
            .convert(_Purged)
            .purged
        )

    # -- without keeping anything in hand --------------------------------------------------------------

    async def receive(
        self,
        queue: str,
        max_records: int = 1,
        *,
        wait_s: float = 0.0,
        worker: str | None = None,
        timeout_s: float | None = None,
    ) -> Deliveries:
        """Up to so many records, once there are any, for at most ``wait_s``; or why none comes, ``paused``.
        Nothing extends their time.

        ``client.queue`` does all of it. Raises ``UnknownQueue``.
        """
        calls = self._calls_of(queue, worker, timeout_s)
        received = await calls.receive(max_records, wait_s=wait_s)
        return Deliveries(received.records, received.paused)

    async def settle(
        self, queue: str, settlements: Sequence[Settlement], *, timeout_s: float | None = None
    ) -> Sequence[Outcome]:
        """Say of up to 1,000 deliveries how they end, or go on; what came of each. To repeat it does no harm.

        Raises ``UnknownQueue``, ``InvalidRequest`` where something is no receipt of the queue's.
        """
        return await self._calls_of(queue, None, timeout_s).settle(settlements)

    def _calls_of(self, queue: str, worker: str | None, timeout_s: float | None) -> QueueCalls:
        within_s = self._timeout_s if timeout_s is None else timeout_s
        return QueueCalls(self._transport, queue, worker or default_worker(), within_s)

    # -- dead letters ----------------------------------------------------------------------------------

    async def dead(self, queue: str, *, timeout_s: float | None = None) -> AsyncIterator[DeadLetter]:
        """Dead letters, without their records, in order of partition and age. Raises ``UnknownQueue``."""
        query: dict[str, str | int] = {"limit": _PAGE}
        while True:
            answer = await self._calls.call("GET", _of(queue, "/dead"), query=query, timeout_s=timeout_s)
            found = answer.convert(_Dead).dead
            for letter in found:
                yield letter
            if len(found) < _PAGE:
                return
            query["after"] = found[-1].id

    async def dead_letter(self, queue: str, letter: str, *, timeout_s: float | None = None) -> DeadRecord:
        """One dead letter (its ``id``), with its record. Raises ``UnknownQueue``, ``NotFound``."""
        path = _of(queue, f"/dead/{quote(letter, safe='')}")
        answer = await self._calls.call("GET", path, timeout_s=timeout_s)
        found, record = answer.convert(DeadLetter), answer.convert(_WithRecord).record
        if record is not None and found.dead_letter is not None:
            record.topic = found.dead_letter.topic or ""
        return DeadRecord(letter=found, record=None if record is None else record.record())

    async def replay(
        self,
        queue: str,
        letters: Sequence[str] | None = None,
        *,
        key_prefix: str | None = None,
        headers: Mapping[str, str] | None = None,
        per_second: float | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Deliver dead letters again, to this queue alone, in order of their keys; returns how many.

        ``letters``: their ids; None for all that ``key_prefix`` and ``headers`` fit. ``per_second``: so many
        at most. A letter is off the list when it is settled. Raises ``UnknownQueue``.
        """
        body: dict[str, Any] = {"ids": list(letters)} if letters is not None else {}
        if key_prefix is not None:
            body["key_prefix"] = key_prefix
        if headers is not None:
            body["headers"] = dict(headers)
        if letters is not None and len(body) > 1:
            raise InvalidRequest("letters are given by their ids, or by key_prefix and headers")
        if not body:
            body["all"] = True
        if per_second is not None:
            body["per_second"] = per_second
        answer = await self._calls.call("POST", _of(queue, "/dead/replay"), body, timeout_s=timeout_s)
        return answer.convert(_Replayed).replayed

    async def purge_dead(
        self, queue: str, letters: Sequence[str] | None = None, *, timeout_s: float | None = None
    ) -> int:
        """Take dead letters (None: all) off the list; returns how many. Their records stay in their topic."""
        body = {"all": True} if letters is None else {"ids": list(letters)}
        answer = await self._calls.call("POST", _of(queue, "/dead/purge"), body, timeout_s=timeout_s)
        return answer.convert(_Purged).purged


class _Page(msgspec.Struct):
    queues: list[QueueListing]


class _Dead(msgspec.Struct):
    dead: list[DeadLetter]


class _WithRecord(msgspec.Struct):
    record: wire.WireRecord | None = None


class _Purged(msgspec.Struct):
    purged: int


class _Replayed(msgspec.Struct):
    replayed: int


def _of(queue: str, below: str = "") -> str:
    return f"{_PATH}/{check_name(queue)}{below}"
