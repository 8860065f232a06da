"""The topic that a reader or a producer belongs to: names can be reused, ids are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TOPIC_ID_HEADER: Final = "Floodmark-Topic-Id"


class Pin:
    """From the first answer on, requests carry the topic's id, and a node refuses them with ``TopicDeleted``
    if that topic is gone."""

    __slots__ = ("topic_id",)

    def __init__(self, topic_id: int | None = None) -> None:
        self.topic_id = topic_id
        """None before the first answer."""

    def headers(self, others: Mapping[str, str]) -> Mapping[str, str]:
        """``others`` plus the header with the id."""
        return others if self.topic_id is None else {**others, TOPIC_ID_HEADER: str(self.topic_id)}

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the id from an answer."""
        if self.topic_id is None and (text := headers.get(TOPIC_ID_HEADER)) is not None:
            self.topic_id = int(text)
