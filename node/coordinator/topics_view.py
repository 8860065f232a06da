"""The topics that users may see, by name and by id, as this node knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from node.coordinator.groups.decision import TopicsView
from node.metadata.delta import MetadataDelta
from node.metadata.state import INTERNAL_PREFIX, MetadataState, TopicEntry
from node.signal import Signal


class TopicsById(TopicsView, Protocol):
    """Topics' names too, by their ids."""

    def name_of(self, topic_id: int) -> str | None:
        """The name of the topic with this id; None where there is none (any more)."""


class KnownTopicsView:
    """Implements ``TopicsById``; follows the metadata, so that no step walks all topics."""

    def __init__(self) -> None:
        self.changed: Signal[[]] = Signal()
        """Topics came, went or grew."""
        self._by_name: dict[str, TopicEntry] = {}
        self._by_id: dict[int, TopicEntry] = {}

    def metadata_changed(self, state: MetadataState, delta: MetadataDelta) -> None:
        """Take in what has changed."""
        if delta.is_whole:
            self._by_name.clear()
            self._by_id.clear()
        for name, topic in (state.topics if delta.is_whole else delta.topics).items():
            before = self._by_name.pop(name, None)
            if before is not None:
                del self._by_id[before.topic_id]
            if topic is not None and not name.startswith(INTERNAL_PREFIX):
                self._by_name[name] = self._by_id[topic.topic_id] = topic
        if delta.is_whole or delta.topics:
            self.changed()

    def id_of(self, name: str) -> int | None:
        """See ``TopicsView``."""
        found = self._by_name.get(name)
        return None if found is None else found.topic_id

    def partitions(self, topic_id: int) -> int:
        """See ``TopicsView``."""
        found = self._by_id.get(topic_id)
        return 0 if found is None else len(found.partitions)

    def name_of(self, topic_id: int) -> str | None:
        """The name of the topic with this id; None where there is none (any more)."""
        found = self._by_id.get(topic_id)
        return None if found is None else found.name

    def names(self) -> Iterator[str]:
        """See ``TopicsView``."""
        return iter(self._by_name)
