"""A topic is identified by its id, so that nothing is ever done to a later topic of the same name.

Ids grow and are never reused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from floodmark.errors import TopicDeleted, Unavailable, UnknownTopic


class OfTopic(Protocol):
    """Anything that belongs to one topic id."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    @property
    def topic_id(self) -> int:
        """The topic's id."""


def told(error: Exception, asked: int | None) -> Exception:
    """The error to report to the client for ``error``.

    A request that names no id means the topic that has the name now. If the topic was deleted and created
    again, this node was behind: nothing was done, and a retry reaches the new one.
    """
    if asked is None and isinstance(error, TopicDeleted) and "current_topic_id" in error.fields:
        return Unavailable(
            f"topic {error.fields['topic']} was deleted and created again; nothing was done, send it again",
            topic_id=error.fields["topic_id"],
            current_topic_id=error.fields["current_topic_id"],
            retry_after_s=0.1,
        )
    return error


def deleted(topic: str, topic_id: int, current: int | None) -> TopicDeleted:
    """The topic of this id is gone; ``current`` is the one that has its name now, if any."""
    if current is None:
        return TopicDeleted(
            f"topic {topic} with the id {topic_id} is deleted", topic=topic, topic_id=topic_id
        )
    return TopicDeleted(
        f"topic {topic} with the id {topic_id} is deleted, and the one created under this name has the id "
        f"{current}: offsets, cursors, event ids and sequences mean nothing there, so start over",
        topic=topic,
        topic_id=topic_id,
        current_topic_id=current,
    )


def never_was(topic: str, topic_id: int, current: int) -> UnknownTopic:
    """The id is above the current one, though this node is up to date: no topic of this name ever had it."""
    return UnknownTopic(
        f"no topic {topic} ever had the id {topic_id}; it has the id {current}", topic=topic, topic_id=current
    )


class WhileExists:
    """``async with``: ends what is awaited within with ``TopicDeleted`` once the topic is deleted.

    ``gone`` says whether it is; ``watch`` has a callback called when this node learns of it.
    """

    __slots__ = ("_gone", "_limit", "_undo", "_watch")

    def __init__(
        self,
        gone: Callable[[], TopicDeleted | None],
        watch: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._gone = gone
        self._watch = watch
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        error = self._gone()
        if error is not None:
            raise error
        await self._limit.__aenter__()
        self._undo = self._watch(self._end)
        return self

    def _end(self) -> None:
        self._limit.reschedule(asyncio.get_running_loop().time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            gone = self._gone()
            assert gone is not None, "a deleted topic does not come back"
            raise gone from None
