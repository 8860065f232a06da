"""How far a queue looks: of each partition at so many records that are not settled."""

from __future__ import annotations

from node.coordinator.queues.queue import Queue


def window_is_full(view: Queue, partition: int) -> bool:
    """Whether as many records of a partition are unsettled as are looked at."""
    config = view.state.config
    share = view.shares.get((config.topic_id, partition))
    return share is not None and len(share.at) >= config.window


def a_window_is_full(view: Queue) -> bool:
    """Whether that is so of any partition."""
    topic_id = view.state.config.topic_id
    return any(window_is_full(view, partition) for of, partition in view.shares if of == topic_id)
