"""What the service layer needs of a node, and nothing more: Protocols, each with its shapes beside it.

Every method raises classes of ``floodmark.errors`` only; users read their texts and fields.
"""

from node.broker.acls import Acl, AclAdmin, AclDecision
from node.broker.broker import Broker, MetadataLeadership, ProducerNumbers
from node.broker.cluster import (
    ClusterHealth,
    ClusterInfo,
    ClusterView,
    Features,
    Health,
    ListedNode,
    NodeHealth,
    NodeInfo,
    NodeLevels,
    NodeState,
    RecoveryInfo,
)
from node.broker.groups import Commit, Committed, GroupAdmin, Position, TopicPartition
from node.broker.moves import CatchingUp, MoveAdmin, MoveInfo, MoveWanted
from node.broker.nodes import (
    Blocked,
    DrainInfo,
    NodeAdmin,
    NodeShare,
    PlannedMove,
    RebalanceInfo,
    RemovalInfo,
    TooFew,
)
from node.broker.partitions import Acks, Appended, Bounds, Fetched, Partition, Unreadable
from node.broker.quotas import QuotaAdmin, QuotaInfo, QuotaLimits
from node.broker.topics import PartitionInfo, TopicAdmin, TopicInfo, TopicLimits
from node.broker.users import CreatedToken, TokenInfo, TokenKind, UserAdmin, UserInfo

__all__ = [
    "Acks",
    "Acl",
    "AclAdmin",
    "AclDecision",
    "Appended",
    "Blocked",
    "Bounds",
    "Broker",
    "CatchingUp",
    "ClusterHealth",
    "ClusterInfo",
    "ClusterView",
    "Commit",
    "Committed",
    "CreatedToken",
    "DrainInfo",
    "Features",
    "Fetched",
    "GroupAdmin",
    "Health",
    "ListedNode",
    "MetadataLeadership",
    "MoveAdmin",
    "MoveInfo",
    "MoveWanted",
    "NodeAdmin",
    "NodeHealth",
    "NodeInfo",
    "NodeLevels",
    "NodeShare",
    "NodeState",
    "Partition",
    "PartitionInfo",
    "PlannedMove",
    "Position",
    "ProducerNumbers",
    "QuotaAdmin",
    "QuotaInfo",
    "QuotaLimits",
    "RebalanceInfo",
    "RecoveryInfo",
    "RemovalInfo",
    "TokenInfo",
    "TokenKind",
    "TooFew",
    "TopicAdmin",
    "TopicInfo",
    "TopicLimits",
    "TopicPartition",
    "Unreadable",
    "UserAdmin",
    "UserInfo",
]
