"""A queue's records on their way to the dead letters: what is to be sent, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from floodmark.format.record import Record

from node.coordinator.delivery.dead_letters import Dying
from node.coordinator.delivery.ports import DeadSource
from node.coordinator.keys import TopicPartition
from node.coordinator.queues import dying
from node.coordinator.queues.dying import Sent
from node.coordinator.queues.requests import Place

if TYPE_CHECKING:
    from node.coordinator.delivery.queue_lead import QueueLead

STORED_S: Final = 30.0


class DyingRecords:
    """Implements ``dead_letters.LetterSource``."""

    def __init__(self, lead: QueueLead) -> None:
        self._lead = lead
        self.name = lead.name

    @property
    def topic_id(self) -> int:
        """See ``LetterSource``."""
        return self._lead.view.state.config.topic_id

    @property
    def dead_letter_topic_id(self) -> int:
        """See ``LetterSource``."""
        return self._lead.view.state.config.dead_letter_topic_id

    def dead_source(self, source: TopicPartition) -> DeadSource:
        """See ``LetterSource``."""
        return DeadSource(self._lead.view.state.number, *source)

    def topic_name(self, topic_id: int) -> str:
        """See ``LetterSource``."""
        config = self._lead.view.state.config
        names = {config.dead_letter_topic_id: config.dead_letter_topic, config.topic_id: config.topic}
        return names.get(topic_id, "")

    def sources(self) -> list[TopicPartition]:
        """The partitions that have any."""
        return [source for source, share in self._lead.view.shares.items() if share.dying]

    def dying(self, source: TopicPartition, limit: int) -> Sequence[Dying]:
        """See ``LetterSource``."""
        lead = self._lead
        if not lead.view:
            return []
        return [
            Dying(
                place=Place(*source, offset),
                number=number,
                reason=dying.reason_of(value),
                deliveries=value.deliveries,
                worker=value.worker,
                first_delivered_ms=value.first_delivered_ms,
                died_ms=value.due_ms,
            )
            for number, offset, value in islice(lead.view.dying(*source), limit)
        ]

    async def decided(self) -> None:
        """See ``LetterSource``."""
        await self._lead.all_stored(asyncio.get_running_loop().time() + STORED_S)

    async def payload(self, place: Place) -> Record | None:
        """See ``LetterSource``."""
        found = await self._lead.dispatch.payloads.read(place)
        return None if found is None else found.record

    async def noted(self, source: TopicPartition, letters: Sequence[tuple[Dying, Place | None]]) -> None:
        """See ``LetterSource``."""
        lead = self._lead
        lead.check()
        sent = [Sent(letter.number, at) for letter, at in letters]
        entry = lead.put(dying.sent(lead.view, *source, sent))
        await lead.stored(entry, asyncio.get_running_loop().time() + STORED_S)
