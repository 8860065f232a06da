"""What answers look like, for the API's description: as the types of the service's results say."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from node.broker import (
    AclDecision,
    ClusterHealth,
    ClusterInfo,
    CreatedToken,
    DrainInfo,
    Features,
    NodeHealth,
    QuotaInfo,
    RebalanceInfo,
    RemovalInfo,
    UserInfo,
)
from node.http.documents import (
    Alive,
    DeadLetterPage,
    GroupPage,
    PartitionBounds,
    PartitionPage,
    Problem,
    Produced,
    ProducedRecords,
    QueuePage,
    Ready,
    ReadyPartitions,
    TopicPage,
    WhoAmI,
)
from node.http.media import Media
from node.service.acls import AclList, AddedAcls
from node.service.cluster import NodeList
from node.service.group_admin import GroupDescription, GroupList
from node.service.group_lag import GroupLag
from node.service.group_members import MemberState
from node.service.group_offsets import CommittedOffsets
from node.service.group_reset import ResetResult
from node.service.moves import Reassignments
from node.service.producer_ids import ProducerNumber
from node.service.queue_admin import Purged, QueueDescription, QueueList
from node.service.queue_dead import DeadLetterList, Replayed
from node.service.queue_settling import EndedDeliveries
from node.service.quotas import QuotaList
from node.service.source_positions import BegunEpoch, SourcePositions
from node.service.tokens import TokenList
from node.service.topic_description import TopicDescription
from node.service.topics import TopicList
from node.service.users import UserList

_TEXT: Final = {"type": "string"}
_DONE: Final = "Done."
_DESCRIPTIONS: Final = {
    "200": _DONE,
    "202": "Accepted; it proceeds in the background.",
    "207": "Some records are stored, some are not.",
    "503": "Not ready.",
}
_RESULTS: Final[tuple[type, ...]] = (
    CommittedOffsets,
    ResetResult,
    AclDecision,
    AclList,
    AddedAcls,
    DeadLetterList,
    DeadLetterPage,
    EndedDeliveries,
    Purged,
    QueueDescription,
    QueueList,
    QueuePage,
    Replayed,
    Alive,
    BegunEpoch,
    ClusterHealth,
    ClusterInfo,
    CreatedToken,
    DrainInfo,
    Features,
    GroupDescription,
    GroupLag,
    GroupList,
    GroupPage,
    MemberState,
    NodeHealth,
    NodeList,
    PartitionBounds,
    PartitionPage,
    Problem,
    Produced,
    ProducedRecords,
    ProducerNumber,
    QuotaInfo,
    QuotaList,
    Ready,
    ReadyPartitions,
    Reassignments,
    RebalanceInfo,
    RemovalInfo,
    SourcePositions,
    TopicDescription,
    TopicList,
    TokenList,
    TopicPage,
    UserInfo,
    UserList,
    WhoAmI,
)
_REFERENCES, COMPONENTS = msgspec.json.schema_components(_RESULTS, ref_template="#/components/schemas/{name}")
_SCHEMAS: Final = dict(zip(_RESULTS, _REFERENCES, strict=True))
PROBLEM: Final = {
    "description": "A problem document (RFC 9457).",
    "content": {"application/problem+json": {"schema": _SCHEMAS[Problem]}},
}


def response(code: str, medias: list[str], kind: type | tuple[type, ...] | None) -> dict[str, Any]:
    """Of one status. ``kind``: the type of what is answered in JSON, or several; None for any object."""
    if code == "204":
        return {"description": _DONE}
    content = {media: {"schema": _schema(media, kind)} for media in medias}
    return {"description": _DESCRIPTIONS.get(code, _DONE), "content": content}


def _schema(media: str, kind: type | tuple[type, ...] | None) -> dict[str, Any]:
    """Only JSON has a schema: other forms of records are lines, events and bytes."""
    if media != str(Media.JSON):
        return _TEXT
    if isinstance(kind, tuple):
        return {"anyOf": [_SCHEMAS[each] for each in kind]}
    return {"type": "object"} if kind is None else _SCHEMAS[kind]
