"""A node's part of the coordinator, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from consensus.host.group_host import GroupHost
from node.coordinator.delivery.around import QueuesAround
from node.coordinator.lead import Around
from node.coordinator.shards import Shards
from node.coordinator.steps import GroupSteps
from node.coordinator.tally import CoordinatorTally
from node.coordinator.topics_view import KnownTopicsView
from node.metadata.state import MetadataState
from node.settings import GroupSettings


class Coordinator:
    """``state`` and ``catch_up``: what this node knows of the cluster, and how it learns the newest."""

    def __init__(
        self,
        settings: GroupSettings,
        *,
        host: GroupHost,
        state: Callable[[], MetadataState],
        catch_up: Callable[[float], Awaitable[None]],
    ) -> None:
        self.tally = CoordinatorTally()
        self.topics = KnownTopicsView()
        self.steps = GroupSteps(
            topics=self.topics,
            wall_ms=host.wall.now_ms,
            limits=settings.limits(),
            retention_ms=int(settings.offsets_retention_s * 1_000),
        )
        self.queues = QueuesAround(host.wall.now_ms)
        self.shards = Shards(
            host=host,
            state=state,
            around=Around(
                steps=self.steps,
                catch_up=catch_up,
                groups_max=settings.per_shard_max,
                queues=self.queues,
                tally=self.tally,
            ),
        )
        self.topics.changed.follow(self.shards.topics_changed)
