"""Writes a node's audit events into the internal topic, as any producer would, each of them once.

The topic is made once the cluster's feature level allows for it. While it cannot be written, events wait in
the bounded queue of ``audit.py``. A batch is sent under the same number until it is known what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from floodmark.errors import (
    Conflict,
    FloodmarkError,
    NotFound,
    OutcomeUnknown,
    StorageFull,
    TooManyRequests,
    TopicExists,
    Unavailable,
)
from floodmark.format.batch import producer_id_of
from floodmark.format.record import Record

from node.metadata.levels import SECURITY
from node.metadata.state import AUDIT_TOPIC
from node.security.audit import AuditLog, Kept
from node.service.data_requests import ProduceRequest, Records
from node.service.metadata_leader import at_metadata_leader
from node.service.request_context import A_NODE, RequestContext
from node.service.topic_changes import ConfigChanges, CreateTopic

if TYPE_CHECKING:
    from node.service.service import Service

TOPIC: Final = AUDIT_TOPIC
PROTOCOL: Final = "audit"
BATCH_MAX: Final = 200
TIMEOUT_S: Final = 10.0
PAUSE_S: Final = 0.1
PAUSE_MAX_S: Final = 5.0
FINISH_S: Final = 1.0
"""How long a node that stops still tries to store what is left."""
_LATER: Final = (Unavailable, OutcomeUnknown, TooManyRequests, StorageFull, NotFound)
"""Nothing is wrong with the batch: the same one may be stored later."""
_ENCODER: Final = msgspec.json.Encoder()
_log = structlog.get_logger("floodmark.audit")


class AuditTopic:
    """One per node that audits."""

    def __init__(self, audit: AuditLog, service: Service, config: ConfigChanges) -> None:
        self._audit = audit
        self._service = service
        self._config = config
        self._batch: list[Record] = []
        """What is being stored, under ``_sequence``."""
        self._producer = b""
        self._sequence = 0
        self._as_another_producer()

    async def run(self) -> None:
        """As long as the node runs."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_MAX_S):
                    await self._audit.more.wait()
            self._audit.more.clear()
            self._audit.close_window()
            if self._audit.queue or self._batch:
                await self._store_all()

    async def finish(self) -> None:
        """Store what is left, if that is soon done."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                await self._store_all()
        left = len(self._batch) + len(self._audit.queue)
        if left:
            self._audit.drop(left)
            _log.error("audit_events_dropped", waiting=left)

    async def _store_all(self) -> None:
        pause = PAUSE_S
        while self._take():
            if self._service.broker.feature_level >= SECURITY and await self._is_settled():
                pause = PAUSE_S
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_S)

    def _take(self) -> bool:
        """Whether there is something to store."""
        queue = self._audit.queue
        while queue and not self._batch:
            self._batch = [self._record(queue.popleft()) for _ in range(min(len(queue), BATCH_MAX))]
        return bool(self._batch)

    async def _is_settled(self) -> bool:
        """Whether the batch is stored or given up."""
        try:
            await self._produce()
        except _LATER as error:
            if isinstance(error, NotFound):
                await self._make_topic()
            return False
        except Conflict:
            # The topic is another one, without this producer: nothing of the batch is in it.
            self._as_another_producer()
            return False
        except FloodmarkError as error:
            _log.error("audit_events_dropped", waiting=len(self._batch), reason=str(error))
            self._audit.drop(len(self._batch))
            self._as_another_producer()
        else:
            self._audit.stored += len(self._batch)
            self._sequence += 1
        self._batch = []
        return True

    async def _produce(self) -> None:
        await self._service.produce(
            self._context(),
            ProduceRequest(
                topic=TOPIC,
                partition=0,
                body=Records(self._batch),
                timeout_s=TIMEOUT_S,
                producer=(self._producer, 0, self._sequence),
            ),
        )

    async def _make_topic(self) -> None:
        wanted = CreateTopic(topic=TOPIC, partitions=1, config=self._config)
        try:
            await at_metadata_leader(self._service, self._context(), wanted)
        except TopicExists:
            return  # With other limits, which an operator has set.
        except FloodmarkError as error:
            _log.warning("audit_topic_not_made", reason=str(error))

    def _context(self) -> RequestContext:
        return RequestContext(protocol=PROTOCOL, principal=A_NODE).within(TIMEOUT_S)

    def _as_another_producer(self) -> None:
        node_id = self._service.broker.node_id
        self._producer = producer_id_of(f"{TOPIC} {node_id} {secrets.token_hex(8)}")
        self._sequence = 0

    def _record(self, kept: Kept) -> Record:
        said = {"node": self._service.broker.node_id, **msgspec.to_builtins(kept.event)}
        return Record(kept.at_ms, kept.event.principal.encode(), _ENCODER.encode(said), is_json=True)
