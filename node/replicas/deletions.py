"""Tells those who hold something of a topic that it was deleted, as soon as this node knows."""

from __future__ import annotations

from collections.abc import Callable


class Deletions:
    """``id_of`` says which id the topic of a name has by now, or None when there is none."""

    def __init__(self, id_of: Callable[[str], int | None]) -> None:
        self._id_of = id_of
        self._waiting: dict[tuple[str, int], dict[object, Callable[[], None]]] = {}

    def watch(self, topic: str, topic_id: int, tell: Callable[[], None]) -> Callable[[], None]:
        """Have ``tell`` called once; the answer undoes that, also when it was called already."""
        key, ticket = (topic, topic_id), object()
        self._waiting.setdefault(key, {})[ticket] = tell

        def undo() -> None:
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.pop(ticket, None)
                if not waiting:
                    del self._waiting[key]

        return undo

    def look(self) -> None:
        """The metadata changed."""
        gone = [key for key in self._waiting if self._id_of(key[0]) != key[1]]
        for key in gone:
            for tell in self._waiting.pop(key).values():
                tell()
