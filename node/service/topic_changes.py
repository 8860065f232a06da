"""Changes of topics: make, alter, delete. The metadata's leader makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import msgspec
from floodmark.errors import Forbidden, InvalidRequest, UnknownTopic
from floodmark.format.limits import BATCH_BYTES_MAX, PARTITIONS_MAX
from floodmark.format.names import check_name

from node.broker import Broker, TopicInfo
from node.metadata.state import COORDINATOR_TOPIC, INTERNAL_TOPICS
from node.metadata.topic_config import CONFIG_VALUE_MAX, TopicConfig
from node.service.policy import Operation, Resource, topic
from node.service.request_context import RequestContext
from node.service.requests import Request
from node.service.topic_description import TopicDescription, described

if TYPE_CHECKING:
    from node.service.service import Service

KEYS_MOVE: Final = (
    "with more partitions many keys go to other ones: records that a key had before stay where they are, "
    "so its order holds only for those from now on"
)
_Limit = int | None | msgspec.UnsetType


class CreatedTopic(msgspec.Struct, frozen=True):
    """A topic, and whether it was created now."""

    topic: TopicDescription
    created: bool


class ConfigChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some of a topic's configuration; null removes a limit."""

    retention_ms: _Limit = msgspec.UNSET
    retention_bytes: _Limit = msgspec.UNSET
    max_record_bytes: int | msgspec.UnsetType = msgspec.UNSET
    segment_bytes: int | msgspec.UnsetType = msgspec.UNSET

    def given(self) -> dict[str, Any]:
        """What is said."""
        return cast(dict[str, Any], msgspec.to_builtins(self))

    def check(self) -> None:
        """Raises ``InvalidRequest`` for what is out of range."""
        for name, value in self.given().items():
            highest = BATCH_BYTES_MAX if name == "max_record_bytes" else CONFIG_VALUE_MAX
            if value is not None and not 1 <= value <= highest:
                raise InvalidRequest(f"{name} is 1 to {highest}, not {value}")


class CreateTopic(Request[CreatedTopic], frozen=True, kw_only=True):
    """Create a topic, or find that it exists like this; ``TopicExists`` if it exists otherwise.

    What is left out has its default in a new topic, and matches anything in an existing one.
    """

    operation: ClassVar[Operation] = Operation.CREATE
    at_metadata_leader: ClassVar[bool] = True

    topic: str
    partitions: int | None = None
    replication_factor: int | None = None
    config: ConfigChanges = ConfigChanges()
    topic_id: int | None = None
    """The topic must have this id."""

    def resource(self) -> Resource:
        """The topic, which need not exist yet."""
        return topic(self.topic)

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        check_name(self.topic)
        self.config.check()
        if self.replication_factor is not None and self.replication_factor < 1:
            raise InvalidRequest("replication_factor is at least 1")
        if self.partitions is not None and not 1 <= self.partitions <= PARTITIONS_MAX:
            raise InvalidRequest(f"a topic has 1 to {PARTITIONS_MAX} partitions, not {self.partitions}")

    def changes_partitions(self, at: Service) -> int:
        """All of a new topic."""
        return (
            0
            if partitions_of(at, self.topic)
            else _fitting(1 if self.partitions is None else self.partitions)
        )

    async def execute(self, at: Service, context: RequestContext) -> CreatedTopic:
        """See ``Broker.topics.create``."""
        await _check_id(at, self.topic, self.topic_id)
        existing = _existing(at.broker, self.topic)
        partitions, factor = self.partitions, self.replication_factor
        if existing is not None:
            partitions = len(existing.partitions) if partitions is None else partitions
            factor = existing.replication_factor if factor is None else factor
        config = {} if existing is None else _config(existing.config)
        made, created = await at.broker.topics.create(
            self.topic,
            partitions=1 if partitions is None else partitions,
            replication_factor=factor or 0,
            config=TopicConfig(**{**config, **self.config.given()}),
            timeout_s=context.left_s(),
        )
        return CreatedTopic(described(made, at.broker.batch_format), created)


class AlterTopic(Request[TopicDescription], frozen=True, kw_only=True):
    """Change one thing of a topic: its configuration, its partitions, or its replication factor."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True

    topic: str
    config: ConfigChanges | None = None
    partitions: int | None = None
    replication_factor: int | None = None
    topic_id: int | None = None

    def resource(self) -> Resource:
        """The topic."""
        return topic(self.topic)

    def check(self) -> None:
        """Raises ``InvalidName``, ``InvalidRequest``."""
        check_name(self.topic)
        given = [
            name for name in ("config", "partitions", "replication_factor") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise InvalidRequest(
                "change one thing at a time: config, partitions or replication_factor, not "
                f"{' and '.join(given) or 'none'}"
            )
        if self.topic in INTERNAL_TOPICS and self.replication_factor is not None:
            raise Forbidden(f"the cluster itself sees to it how many replicas topic {self.topic} has")
        if self.topic == COORDINATOR_TOPIC:
            raise Forbidden(f"topic {self.topic} holds the state of groups: it keeps its shape")
        if self.config is not None:
            self.config.check()

    def changes_partitions(self, at: Service) -> int:
        """Those that come to the topic."""
        before = partitions_of(at, self.topic)
        return max(0, _fitting(self.partitions or 0) - before) if before else 0

    async def execute(self, at: Service, context: RequestContext) -> TopicDescription:
        """The result has a warning where keys now map to other partitions."""
        await _check_id(at, self.topic, self.topic_id)
        broker, added, left = at.broker, False, context.left_s()
        if self.partitions is not None:
            changed, added = await broker.topics.add_partitions(self.topic, self.partitions, timeout_s=left)
        elif self.replication_factor is not None:
            factor = self.replication_factor
            changed = await broker.topics.change_replication_factor(self.topic, factor, timeout_s=left)
        else:
            changes = {} if self.config is None else self.config.given()
            changed = await broker.topics.alter(self.topic, changes, timeout_s=left)
        description = described(changed, broker.batch_format)
        return msgspec.structs.replace(description, warning=KEYS_MOVE) if added else description


class DeleteTopic(Request[None], frozen=True, kw_only=True):
    """Remove a topic and its data everywhere."""

    operation: ClassVar[Operation] = Operation.DELETE
    at_metadata_leader: ClassVar[bool] = True

    topic: str
    topic_id: int | None = None

    def resource(self) -> Resource:
        """The topic."""
        return topic(self.topic)

    def check(self) -> None:
        """Raises ``InvalidName``."""
        check_name(self.topic)

    def changes_partitions(self, at: Service) -> int:
        """All that it has."""
        return partitions_of(at, self.topic)

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``Broker.topics.delete``."""
        await _check_id(at, self.topic, self.topic_id)
        await at.broker.topics.delete(self.topic, timeout_s=context.left_s())


async def _check_id(at: Service, name: str, asked: int | None) -> None:
    """A change that names a topic's id is made to that topic only. Nothing is awaited behind this."""
    if asked is not None:
        await at.topics.limits(name, asked)


def partitions_of(at: Service, name: str) -> int:
    """How many this node knows of; 0 where there is no such topic."""
    try:
        return at.broker.topic_limits(name).partitions
    except UnknownTopic:
        return 0


def _fitting(partitions: int) -> int:
    """None of a number that is refused anyway."""
    return partitions if 1 <= partitions <= PARTITIONS_MAX else 0


def _existing(broker: Broker, name: str) -> TopicInfo | None:
    try:
        return broker.topic(name)
    except UnknownTopic:
        return None


def _config(config: TopicConfig) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.to_builtins(config))
