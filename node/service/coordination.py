"""The requests that only the leader of a shard of the coordinator can do, with their names between nodes."""

from __future__ import annotations

from typing import Any, Final

from floodmark.errors import UnknownTopic

from node import outcomes
from node.broker.queues import QueueConfig, Settled
from node.metadata.state import COORDINATOR_TOPIC
from node.service.at_coordinator import shard_keeping
from node.service.coordinator_request import CoordinatorRequest, ShardRequest
from node.service.group_admin import DeleteGroup, DescribeGroup, GroupDescription, GroupListing, ShardGroups
from node.service.group_members import HeartbeatGroup, JoinGroup, LeaveGroup, MemberState
from node.service.group_offsets import CommitOffsets, CommittedOffsets, FetchOffsets
from node.service.group_reset import DeleteOffsets, StoreReset
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_requests import register
from node.service.queue_admin import (
    ConfigOfQueue,
    DeleteQueue,
    DescribeQueue,
    Purged,
    PurgeQueue,
    QueueDescription,
    QueueListing,
    ShardQueues,
    StoredQueue,
    StoreQueue,
)
from node.service.queue_dead import (
    DeadLetterList,
    DeadLetterListing,
    FindDeadLetter,
    ListDeadLetters,
    PurgeDeadLetters,
    ReplayDeadLetters,
    Replayed,
)
from node.service.queue_delivery import EndDeliveries, HandedOver, TakeRecords
from node.service.request_context import RequestContext
from node.service.router import led_here
from node.service.service import Service

PROTOCOL: Final = "inside"
"""The protocol of forwarded requests: the forwarding node has judged them."""
AT_COORDINATOR: Final[dict[str, tuple[type[CoordinatorRequest[Any] | ShardRequest[Any]], Any]]] = {
    "commit_offsets": (CommitOffsets, CommittedOffsets),
    "fetch_offsets": (FetchOffsets, CommittedOffsets),
    "delete_offsets": (DeleteOffsets, None),
    "reset_offsets": (StoreReset, None),
    "shard_groups": (ShardGroups, list[GroupListing]),
    "describe_group": (DescribeGroup, GroupDescription),
    "delete_group": (DeleteGroup, None),
    "join_group": (JoinGroup, MemberState),
    "heartbeat_group": (HeartbeatGroup, MemberState),
    "leave_group": (LeaveGroup, None),
    "store_queue": (StoreQueue, StoredQueue),
    "config_of_queue": (ConfigOfQueue, QueueConfig),
    "describe_queue": (DescribeQueue, QueueDescription),
    "shard_queues": (ShardQueues, list[QueueListing]),
    "delete_queue": (DeleteQueue, None),
    "purge_queue": (PurgeQueue, Purged),
    "take_records": (TakeRecords, HandedOver),
    "end_deliveries": (EndDeliveries, list[Settled]),
    "list_dead_letters": (ListDeadLetters, DeadLetterList),
    "find_dead_letter": (FindDeadLetter, DeadLetterListing),
    "replay_dead_letters": (ReplayDeadLetters, Replayed),
    "purge_dead_letters": (PurgeDeadLetters, Purged),
}
"""Each request's name between nodes, which never changes its meaning, and its result type."""

for _name, (_request, _result) in AT_COORDINATOR.items():
    register(_name, _request, _result, stores=issubclass(_request, CoordinatorRequest) and _request.stores)


def answer_coordination(answers: InsideAnswers, service: Service) -> None:
    """Have this node, while it leads a shard, serve requests that other nodes forward."""

    async def execute(request: CoordinatorRequest[Any] | ShardRequest[Any], asked: Asked) -> Any:
        try:
            if isinstance(request, ShardRequest):
                shard = await service.topics.partition(COORDINATOR_TOPIC, request.shard)
            else:
                shard = await shard_keeping(service, request.kept_as())
        except UnknownTopic as error:
            raise outcomes.not_leader(None) from error
        await led_here(service, shard, asked.left_s)
        return await request.execute(service, RequestContext(protocol=PROTOCOL, deadline=asked.deadline))

    for request, _ in AT_COORDINATOR.values():
        answers.on(request, execute)
