"""A node: all that the service layer needs of it, by subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from node.broker.acls import AclAdmin
from node.broker.cluster import ClusterView, Health
from node.broker.groups import GroupAdmin
from node.broker.moves import MoveAdmin
from node.broker.nodes import NodeAdmin
from node.broker.partitions import Partition
from node.broker.queues import QueueAdmin
from node.broker.quotas import QuotaAdmin
from node.broker.topics import TopicAdmin, TopicInfo, TopicLimits
from node.broker.users import UserAdmin
from node.budget import Account


class MetadataLeadership(Protocol):
    """Who leads the metadata: only that node can change the cluster."""

    @property
    def leads_here(self) -> bool:
        """Whether this node can change the cluster; else ask the node that ``wait_leader`` returns."""

    async def wait_leader(self, *, timeout_s: float) -> str:
        """Node id of the metadata group's leader. Raises ``Unavailable``."""

    def doubt_leader(self, node: str) -> None:
        """``node`` was asked as the metadata's leader and did not serve."""

    async def leave_to_others(self, node_id: str, *, timeout_s: float) -> None:
        """If this is that node and it leads the metadata, transfer that to another node that can."""


class ProducerNumbers(Protocol):
    """Allocates ids and epochs of numbered producers; only where this node leads the metadata."""

    async def new(self, *, timeout_s: float) -> tuple[int, int]:
        """An id above 0 that no producer has had, and its first epoch; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, Unavailable.
        """

    async def next_epoch(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        """The id and epoch for the producer to go on with after these; only where ``metadata.leads_here``.

        A new id where its epochs are used up. Also raises NotFound (the id was never given out).
        """


class Broker(Protocol):
    """A node: what the service layer needs of it, part by part."""

    node_id: str

    @property
    def topics(self) -> TopicAdmin:
        """Topics as a whole."""

    @property
    def cluster(self) -> ClusterView:
        """The cluster as a whole."""

    @property
    def nodes(self) -> NodeAdmin:
        """The cluster's nodes, and what they hold."""

    @property
    def moves(self) -> MoveAdmin:
        """Moves of replicas."""

    @property
    def users(self) -> UserAdmin:
        """Users and their tokens."""

    @property
    def feature_level(self) -> int:
        """The cluster's feature level, as known here."""

    @property
    def producers(self) -> ProducerNumbers:
        """Ids and epochs of producers."""

    @property
    def quotas(self) -> QuotaAdmin:
        """How much each principal may ask for."""

    @property
    def groups(self) -> GroupAdmin:
        """Groups of consumers."""

    @property
    def queues(self) -> QueueAdmin:
        """Views on topics whose records are settled one by one."""

    @property
    def acls(self) -> AclAdmin:
        """Who may do what."""

    @property
    def metadata(self) -> MetadataLeadership:
        """Who leads the metadata."""

    def topic(self, name: str) -> TopicInfo:
        """Raises UnknownTopic, InvalidName."""

    @property
    def batch_format(self) -> int:
        """The highest format of record batches that the cluster's feature level takes, as known here."""

    def topic_limits(self, name: str) -> TopicLimits:
        """Raises UnknownTopic, InvalidName."""

    def partition(self, topic: str, number: int) -> Partition:
        """Raises UnknownTopic, UnknownPartition."""

    def when_deleted(self, topic: str, topic_id: int, tell: Callable[[], None]) -> Callable[[], None]:
        """Have ``tell`` called once when this node learns that the topic is deleted; returns the undo.

        The topic must exist when this is called.
        """

    def check_current(self) -> None:
        """Raises Unavailable where what this node knows of topics and nodes is outdated, and will stay so.

        The service calls it before it lists them; requests for one topic get it raised anyway.
        """

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait until this node knows every topic change that was acknowledged before the call.

        The service calls it once before it answers that a topic does not exist.
        """

    def node_url(self, node_id: str) -> str | None:
        """The advertised HTTP base URL of a node, from the replicated metadata only."""

    def hears(self, node_id: str) -> bool:
        """Whether this node has heard from another one recently."""

    def health(self) -> Health:
        """For /readyz."""

    def uploads(self, party: str, *, from_node: bool) -> Account:
        """The account for one request of ``party``, of all bytes of bodies that this node holds.

        Forwarded requests are counted apart, so that neither kind can use up the other's room.
        """
