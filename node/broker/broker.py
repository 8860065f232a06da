"""A node: all that the service layer needs of it, by subject."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from node.broker.cluster import ClusterView, Health
from node.broker.moves import MoveAdmin
from node.broker.nodes import NodeAdmin
from node.broker.partitions import Partition
from node.broker.topics import TopicAdmin, TopicInfo, TopicLimits
from node.budget import Account


class MetadataLeadership(Protocol):
    """Who leads the metadata: that node alone changes the cluster."""

    @property
    def leads_here(self) -> bool:
        """Whether topic changes can be made on this node; else ask the one of ``wait_leader``."""

    async def wait_leader(self, *, timeout_s: float) -> str:
        """Node id of the metadata group's leader. Raises ``Unavailable``."""

    def doubt_leader(self, node: str) -> None:
        """``node``, asked as the metadata's leader, did not serve."""

    async def leave_to_others(self, node_id: str, *, timeout_s: float) -> None:
        """Where this is that node and leads the metadata: somebody else does, if anybody can."""


class ProducerNumbers(Protocol):
    """Who idempotent producers are; only where this node leads the metadata."""

    async def new(self, *, timeout_s: float) -> tuple[int, int]:
        """An id above 0 that no producer has had, and its first epoch; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, Unavailable.
        """

    async def next_epoch(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        """What the producer goes on with behind this epoch; only where ``metadata.leads_here``.

        A new id where it has no epoch any more. Raises NotFound (the id was given to nobody) besides.
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
        """Its nodes, and what is on them."""

    @property
    def moves(self) -> MoveAdmin:
        """Replicas on their way."""

    @property
    def producers(self) -> ProducerNumbers:
        """Who producers are."""

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
        """Have ``tell`` called once when this node learns that the topic is deleted; what undoes that.

        The topic is there when this is called.
        """

    def check_current(self) -> None:
        """Raises Unavailable where what this node knows of topics and nodes is of the past, and stays so.

        The service calls it before it shows them; those who ask for one topic hear it anyway.
        """

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait until this node knows every topic change that was acknowledged before the call.

        The service calls it once before it answers that a topic does not exist.
        """

    def node_url(self, node_id: str) -> str | None:
        """The advertised HTTP base URL of a node, from the replicated metadata only."""

    def hears(self, node_id: str) -> bool:
        """Whether this node has heard of another one a moment ago."""

    def health(self) -> Health:
        """For /readyz."""

    def uploads(self, address: str, *, from_node: bool) -> Account:
        """What one request from ``address`` may hold of the bytes of bodies that this node has under way.

        What other nodes pass on is counted apart: whoever fills the one leaves room in the other.
        """
