"""Producers behind ``client.produce``: one for each topic and ``acks``, so that concurrent calls share
batches, keep their order per key, and can be repeated without storing anything twice."""

from __future__ import annotations

import asyncio
from typing import Final

from floodmark.admin.topics import Topics
from floodmark.producer.options import Acks, ProducerOptions
from floodmark.producer.producer import Producer
from floodmark.transport.http import Transport

_KEPT_MAX: Final = 64


class SingleProducers:
    """Creates producers when they are needed and drops idle ones when there are many."""

    def __init__(self, transport: Transport, topics: Topics) -> None:
        self._transport = transport
        self._topics = topics
        self._producers: dict[tuple[str, Acks, float], Producer] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, topic: str, acks: Acks, timeout_s: float) -> Producer:
        """The producer for these. It settles each record within ``timeout_s``."""
        identity = (topic, acks, timeout_s)
        producer = self._producers.pop(identity, None)
        if producer is None:
            self._let_go_of_idle()
            options = ProducerOptions(linger_ms=0, acks=acks, delivery_timeout_s=timeout_s)
            producer = Producer(topic, options, self._transport, self._topics)
        self._producers[identity] = producer  # At the end again: the least recently used come first.
        return producer

    def let_go(self, producer: Producer) -> None:
        """Drop a producer whose topic is gone: the next call gets one for the topic that has the name
        then."""
        for identity, known in list(self._producers.items()):
            if known is producer:
                del self._producers[identity]
                self._close(producer)

    def take_all(self) -> list[Producer]:
        """All of them, to be closed."""
        producers = list(self._producers.values())
        self._producers.clear()
        return producers

    def _let_go_of_idle(self) -> None:
        if len(self._producers) < _KEPT_MAX:
            return
        for identity, producer in list(self._producers.items())[: _KEPT_MAX // 2]:
            if producer.is_idle:
                del self._producers[identity]
                self._close(producer)

    def _close(self, producer: Producer) -> None:
        task = asyncio.create_task(producer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
