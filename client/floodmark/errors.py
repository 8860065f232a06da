"""Every error that Floodmark reports, as one tree.

FloodmarkError
├── InvalidRequest              what was sent cannot be understood
│   ├── InvalidBatch            a record batch that fails its checksum, count, or limits
│   └── InvalidName             a name outside [A-Za-z0-9._-]{1,249}
├── Unauthorized                no or wrong credentials
├── Forbidden                   the caller is known and lacks permission
│   └── ProducerFenced          a newer epoch of this producer exists
├── NotFound
│   ├── UnknownTopic
│   │   └── TopicDeleted        what is held (an offset, a cursor, ...) belongs to a topic that is gone
│   ├── UnknownPartition
│   ├── UnknownGroup            no such group
│   ├── NoCommittedOffset       the group has no offset in a partition, and was told to begin nowhere else
│   ├── UnknownMember           no such member of the group, or not any more: join again
│   ├── UnknownQueue            no such queue
│   └── UnknownDeadLetter       the queue lists no such dead letter, or not any more
├── MethodNotAllowed            this path does not support the method
├── NotAcceptable               none of the accepted media types can be produced
├── RequestTimeout              the request came too slowly; nothing was stored
├── Conflict
│   ├── FeatureLevelNeeded      the cluster must be raised to a higher feature level first
│   ├── TopicExists             a topic of this name exists with another configuration
│   ├── TooManyPartitions       a node has no room for the replicas that a new topic would bring
│   ├── FencedMemberEpoch       a member's epoch is not the group's: give up all partitions, join again
│   ├── StaleMemberEpoch        what is committed is not the member's any more: nothing was stored
│   ├── FencedInstanceId        another member has this instance id now
│   ├── GroupNotEmpty           the group has members
│   ├── InconsistentGroupType   the members are of the other kind of protocol
│   ├── TooManyMembers          the group takes no more
│   ├── TooManyGroups           the coordinator takes no more
│   ├── QueueExists             a queue of this name exists, of another topic or with another ordering
│   ├── TooManyQueues           the coordinator takes no more
│   ├── ReceiptExpired          the delivery is over: somebody else has the record, or had it, or it is dead
│   ├── PositionConflict        a partition keeps a position of that source that is as far, or farther
│   ├── TooManyPositions        a partition has no room for the position of another source
│   ├── OutOfOrderSequence      a producer's sequence skipped ahead
│   └── SequenceReused          other records are stored under this sequence
├── OffsetOutOfRange
│   ├── OffsetBelowStart        retention has removed it
│   └── OffsetPastEnd           nothing has been written there yet
├── OffsetMismatch              If-Offset does not hold
├── TooLarge                    a record, batch or body above its limit
├── UnsupportedMedia            the media type of the body is not supported here
├── Misdirected                 the request names a host that is not this node
├── TooManyRequests             the in-flight budget is used up; try again after a while
│   └── TooManyProducers        no room to remember one more idempotent producer; others are not affected
├── Unavailable                 it cannot be served at the moment; nothing was stored
│   ├── NotLeaderOrFollower     this node is not the leader, or not any more
│   ├── LeaderNotAvailable      no leader is known at the moment
│   ├── NotEnoughReplicas       no majority of the replicas confirms the operation
│   ├── ReplicaNotAvailable     the replica here does not serve: it is closing, or behind for good
│   ├── StorageUnavailable      a disk fails, or what it holds cannot be read
│   ├── CoordinatorNotAvailable no node coordinates the group at the moment
│   ├── CredentialsUnconfirmed  this node cannot tell at the moment whether credentials still hold
│   └── TimedOut                the deadline passed first, and nothing was stored
├── OutcomeUnknown              it may or may not have been stored; an idempotent retry is safe
├── StorageFull                 the disk of the node that leads is (nearly) full; nothing was stored
├── ServerError                 a defect or a failed disk
│   └── TooNew                  what is stored or sent needs a newer Floodmark than the one that reads it
└── TransportError              no answer (client side only)
    └── NotUsable               the client is closed, or belongs to another process or event loop

Each class has a stable ``code``, which is never reused for another meaning, and ``retriable``: whether
sending the same request again can succeed *and* cannot store it twice (with an idempotent producer, an
unknown outcome may be retried too). What a protocol makes of a class, for example an HTTP status, is that
protocol's own table.

The classes below ``Unavailable`` share its code, which came first; their ``cause`` tells them apart.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

E = TypeVar("E", bound="FloodmarkError")


class FloodmarkError(Exception):
    """Base of all. ``detail`` says what is wrong and what to do; ``fields`` holds bounds and hints.

    ``fields`` become members of the problem document (RFC 9457), for example ``log_start_offset``,
    ``expected_sequence``, ``current_epoch`` or ``leader``.
    """

    code: ClassVar[str] = "error"
    retriable: ClassVar[bool] = False
    refused_by: str | None = None
    """In a node: the leader that refused, where that is known; whoever is asked tells who it was."""
    request_id: str = ""
    """In a node: under which the refused request is in the audit; "" where it is not."""

    def __init__(self, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields

    @property
    def retry_after_s(self) -> float | None:
        """Seconds to wait before trying again, where the server gave a hint."""
        value = self.fields.get("retry_after_s")
        return float(value) if value is not None else None


class InvalidRequest(FloodmarkError):
    code = "invalid_request"


class InvalidBatch(InvalidRequest):
    code = "invalid_batch"


class InvalidName(InvalidRequest):
    code = "invalid_name"


class Unauthorized(FloodmarkError):
    code = "unauthorized"


class Forbidden(FloodmarkError):
    code = "forbidden"


class ProducerFenced(Forbidden):
    code = "producer_fenced"


class NotFound(FloodmarkError):
    code = "not_found"


class UnknownTopic(NotFound):
    code = "unknown_topic"


class TopicDeleted(UnknownTopic):
    """``topic_id`` is the topic that is gone; ``current_topic_id`` the one with its name now, if any."""

    code = "topic_deleted"


class UnknownPartition(NotFound):
    code = "unknown_partition"


class UnknownGroup(NotFound):
    code = "unknown_group"


class NoCommittedOffset(NotFound):
    """``topic`` and ``partition`` say where."""

    code = "no_committed_offset"


class UnknownMember(NotFound):
    """It left, its session ended, or it gave its partitions up too slowly: join again."""

    code = "unknown_member"


class UnknownQueue(NotFound):
    code = "unknown_queue"


class UnknownDeadLetter(NotFound):
    """It was purged, or was replayed and settled, or never was."""

    code = "unknown_dead_letter"


class MethodNotAllowed(FloodmarkError):
    code = "method_not_allowed"


class NotAcceptable(FloodmarkError):
    code = "not_acceptable"


class RequestTimeout(FloodmarkError):
    code, retriable = "request_timeout", True


class Conflict(FloodmarkError):
    code = "conflict"


class FeatureLevelNeeded(Conflict):
    """``needs`` is the feature level required, ``level`` the one that the cluster has."""

    code = "feature_level_needed"


class TopicExists(Conflict):
    code = "topic_exists"


class TooManyPartitions(Conflict):
    """``node`` has replicas of so many ``partitions``, and takes up to ``limit``."""

    code = "too_many_partitions"


class FencedMemberEpoch(Conflict):
    """``epoch`` is the member's. Whoever gets this holds no partitions any more."""

    code = "fenced_member_epoch"


class StaleMemberEpoch(Conflict):
    """``partitions`` are those that were refused, as pairs of topic id and partition."""

    code = "stale_member_epoch"


class FencedInstanceId(Conflict):
    code = "fenced_instance_id"


class GroupNotEmpty(Conflict):
    """It has so many ``members``."""

    code = "group_not_empty"


class InconsistentGroupType(Conflict):
    """``type`` is what the members of the group are."""

    code = "inconsistent_group_type"


class TooManyMembers(Conflict):
    """A group has up to ``limit``."""

    code = "too_many_members"


class TooManyGroups(Conflict):
    """The coordinator of the group has up to ``limit``."""

    code = "too_many_groups"


class QueueExists(Conflict):
    """``topic`` and ``ordering`` are the queue's."""

    code = "queue_exists"


class TooManyQueues(Conflict):
    """The coordinator of the queue has up to ``limit``."""

    code = "too_many_queues"


class ReceiptExpired(Conflict):
    """What was asked for was not done, and does no harm: the record is delivered again, or was settled."""

    code = "receipt_expired"


class PositionConflict(Conflict):
    """``next_offset`` is the one that the partition keeps for that source."""

    code = "position_conflict"


class TooManyPositions(Conflict):
    """``limit`` is how many a partition keeps."""

    code = "too_many_positions"


class OutOfOrderSequence(Conflict):
    code = "sequence_gap"


class SequenceReused(Conflict):
    code = "sequence_reused"


class OffsetOutOfRange(FloodmarkError):
    """``log_start_offset`` and ``high_watermark`` say what can be read."""

    code = "offset_out_of_range"


class OffsetBelowStart(OffsetOutOfRange):
    code = "offset_below_start"


class OffsetPastEnd(OffsetOutOfRange):
    code = "offset_past_end"


class OffsetMismatch(FloodmarkError):
    code = "offset_mismatch"


class TooLarge(FloodmarkError):
    code = "too_large"


class UnsupportedMedia(FloodmarkError):
    code = "unsupported_media"


class Misdirected(FloodmarkError):
    code = "misdirected"


class TooManyRequests(FloodmarkError):
    code, retriable = "too_many_requests", True


class TooManyProducers(TooManyRequests):
    code = "too_many_producers"


class ServerError(FloodmarkError):
    code = "server_error"


class TooNew(ServerError):
    """Intact data made by a newer Floodmark: its checksums are right, so it is not damage and must not be
    repaired.

    ``index`` is the frame's, if it is a frame; ``unlike`` says what was met and what this build knows.
    """

    code = "too_new"


class Unavailable(FloodmarkError):
    """``cause`` tells the subclasses apart; it is empty where none of them fits."""

    code, retriable = "unavailable", True
    cause: ClassVar[str] = ""


class NotLeaderOrFollower(Unavailable):
    """``leader`` is the node that leads, where that is known."""

    cause = "not_leader"


class LeaderNotAvailable(Unavailable):
    cause = "no_leader"


class NotEnoughReplicas(Unavailable):
    cause = "no_quorum"


class ReplicaNotAvailable(Unavailable):
    cause = "no_replica"


class StorageUnavailable(Unavailable):
    cause = "storage"


class CoordinatorNotAvailable(Unavailable):
    cause = "no_coordinator"


class CredentialsUnconfirmed(Unavailable):
    """Others may be able to: ask another node."""

    cause = "credentials_unconfirmed"


class TimedOut(Unavailable):
    cause = "timed_out"


class OutcomeUnknown(FloodmarkError):
    code = "outcome_unknown"


class StorageFull(FloodmarkError):
    code, retriable = "storage_full", True


class TransportError(FloodmarkError):
    """No answer from any node: refused, reset or out of time. Never sent by a server."""

    code, retriable = "transport_error", True


class NotUsable(TransportError):
    """The client, producer or reader is closed, or belongs to another process or event loop; nothing was
    sent. Client side only."""

    code, retriable = "not_usable", False


def _below(cls: type[E]) -> list[type[E]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _below(sub))]


#: Stable code -> class.
ERRORS_BY_CODE: dict[str, type[FloodmarkError]] = {
    cls.code: cls for cls in _below(FloodmarkError) if "code" in vars(cls)
}
_BY_CAUSE: dict[str, type[Unavailable]] = {cls.cause: cls for cls in _below(Unavailable)}


def error_class(code: str, cause: object = "") -> type[FloodmarkError] | None:
    """The class that a code and a cause stand for; None for a code that this build does not know."""
    found = ERRORS_BY_CODE.get(code)
    return _BY_CAUSE.get(str(cause), Unavailable) if found is Unavailable else found
