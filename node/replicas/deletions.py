"""Tells whoever works with a topic that it was deleted, as soon as this node knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Deletions:
    """``id_of`` returns the id that the topic of a name has now, or None when there is none."""

    def __init__(self, id_of: Callable[[str], int | None]) -> None:
        self._id_of = id_of
        self._waiting: dict[str, dict[int, dict[object, Callable[[], None]]]] = {}
        """By the topic's name and id."""

    def watch(self, topic: str, topic_id: int, tell: Callable[[], None]) -> Callable[[], None]:
        """Have ``tell`` called once; returns the undo, which may be called after that too."""
        ticket = object()
        self._waiting.setdefault(topic, {}).setdefault(topic_id, {})[ticket] = tell

        def undo() -> None:
            ids = self._waiting.get(topic, {})
            waiting = ids.get(topic_id)
            if waiting is not None:
                waiting.pop(ticket, None)
                if not waiting:
                    del ids[topic_id]
                    if not ids:
                        del self._waiting[topic]

        return undo

    def waiting(self, topic: str, topic_id: int) -> int:
        """How many callbacks wait for this topic."""
        return len(self._waiting.get(topic, {}).get(topic_id, ()))

    def look(self, topics: Iterable[str] | None = None) -> None:
        """These topics changed in the metadata; None: any may have."""
        for topic in list(self._waiting) if topics is None else topics:
            now = self._id_of(topic)
            ids = self._waiting.get(topic, {})
            for topic_id in [each for each in ids if each != now]:
                for tell in ids.pop(topic_id).values():
                    tell()
            if not ids:
                self._waiting.pop(topic, None)
