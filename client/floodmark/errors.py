"""Every error that Floodmark reports, as one tree.

FloodmarkError
├── InvalidRequest            400  what was sent cannot be understood
│   ├── InvalidBatch          400  a record batch that fails its checksum, count, or limits
│   └── InvalidName           400  a name outside [A-Za-z0-9._-]{1,249}
├── Unauthorized              401  no or wrong credentials
├── Forbidden                 403  known, and not allowed
│   └── ProducerFenced        403  a newer epoch of this producer exists
├── NotFound                  404
│   ├── UnknownTopic          404
│   │   └── TopicDeleted      404  what is held (an offset, a cursor, ...) belongs to a topic that is gone
│   ├── UnknownPartition      404
│   └── UnknownGroup          404
├── MethodNotAllowed          405  not this method on this path
├── NotAcceptable             406  none of the offered media types
├── RequestTimeout            408  the request came too slowly; nothing was stored
├── Conflict                  409
│   ├── FeatureLevelNeeded    409  the cluster must be raised to a higher feature level first
│   ├── TopicExists           409  with another configuration
│   ├── TooManyPartitions     409  a node has no room for the replicas that a new topic would bring
│   ├── SequenceGap           409  a producer's sequence skipped ahead
│   └── SequenceReused        409  other records are stored under this sequence
├── OffsetBelowStart          410  retention has removed it
├── OffsetMismatch            412  If-Offset does not hold
├── TooLarge                  413  a record, batch or body above its limit
├── UnsupportedMedia          415  a body in a media type that is not spoken here
├── OffsetPastEnd             416  nothing has been written there yet
├── Misdirected               421  the Host that was asked for is no name of this node
├── TooManyRequests           429  the in-flight budget is used up; try again after a while
│   └── TooManyProducers      429  no room to remember one more idempotent producer; others are not affected
├── Unavailable               503  no leader, or not enough replicas; nothing was stored
├── OutcomeUnknown            504  it may or may not have been stored; an idempotent retry is safe
├── StorageFull               507  the disk of the node that leads is (nearly) full; nothing was stored
├── ServerError               500  a defect or a failed disk
│   └── TooNew                500  what is stored or sent needs a newer Floodmark than the one that reads it
└── TransportError              -  no answer (client side only)
    └── NotUsable               -  the client is closed, or belongs to another process or event loop

Each class has a stable ``code``, which is never reused for another meaning; an HTTP ``status``; and
``retriable``: whether sending the same request again can succeed *and* cannot store it twice
(with an idempotent producer, an unknown outcome may be retried too).
"""

from __future__ import annotations

from typing import Any, ClassVar


class FloodmarkError(Exception):
    """Base of all. ``detail`` says what is wrong and what to do; ``fields`` holds bounds and hints.

    ``fields`` become members of the problem document (RFC 9457), for example ``log_start_offset``,
    ``expected_sequence``, ``current_epoch`` or ``leader``.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retriable: ClassVar[bool] = False

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
    code, status = "invalid_request", 400


class InvalidBatch(InvalidRequest):
    code = "invalid_batch"


class InvalidName(InvalidRequest):
    code = "invalid_name"


class Unauthorized(FloodmarkError):
    code, status = "unauthorized", 401


class Forbidden(FloodmarkError):
    code, status = "forbidden", 403


class ProducerFenced(Forbidden):
    code = "producer_fenced"


class NotFound(FloodmarkError):
    code, status = "not_found", 404


class UnknownTopic(NotFound):
    code = "unknown_topic"


class TopicDeleted(UnknownTopic):
    """``topic_id`` is the topic that is gone; ``current_topic_id`` the one that has its name now, if any."""

    code = "topic_deleted"


class UnknownPartition(NotFound):
    code = "unknown_partition"


class UnknownGroup(NotFound):
    code = "unknown_group"


class MethodNotAllowed(FloodmarkError):
    code, status = "method_not_allowed", 405


class NotAcceptable(FloodmarkError):
    code, status = "not_acceptable", 406


class RequestTimeout(FloodmarkError):
    code, status, retriable = "request_timeout", 408, True


class Conflict(FloodmarkError):
    code, status = "conflict", 409


class FeatureLevelNeeded(Conflict):
    """``needs``: the feature level; ``level``: the one that the cluster has."""

    code = "feature_level_needed"


class TopicExists(Conflict):
    code = "topic_exists"


class TooManyPartitions(Conflict):
    """``node`` has replicas of so many ``partitions``, and takes up to ``limit``."""

    code = "too_many_partitions"


class SequenceGap(Conflict):
    code = "sequence_gap"


class SequenceReused(Conflict):
    code = "sequence_reused"


class OffsetBelowStart(FloodmarkError):
    code, status = "offset_below_start", 410


class OffsetMismatch(FloodmarkError):
    code, status = "offset_mismatch", 412


class TooLarge(FloodmarkError):
    code, status = "too_large", 413


class UnsupportedMedia(FloodmarkError):
    code, status = "unsupported_media", 415


class OffsetPastEnd(FloodmarkError):
    code, status = "offset_past_end", 416


class Misdirected(FloodmarkError):
    code, status = "misdirected", 421


class TooManyRequests(FloodmarkError):
    code, status, retriable = "too_many_requests", 429, True


class TooManyProducers(TooManyRequests):
    code = "too_many_producers"


class ServerError(FloodmarkError):
    code, status = "server_error", 500


class TooNew(ServerError):
    """Whole, its checksums right, and made by a newer Floodmark: never damage, and never to be repaired.

    ``index`` is the frame's, where it is a frame; ``unlike`` says what was met and what this build knows.
    """

    code = "too_new"


class Unavailable(FloodmarkError):
    code, status, retriable = "unavailable", 503, True


class OutcomeUnknown(FloodmarkError):
    code, status = "outcome_unknown", 504


class StorageFull(FloodmarkError):
    code, status, retriable = "storage_full", 507, True


class TransportError(FloodmarkError):
    """No answer from any node: refused, reset or out of time. Never sent by a server."""

    code, status, retriable = "transport_error", 0, True


class NotUsable(TransportError):
    """The client, producer or reader is closed, or belongs elsewhere; nothing was sent. Client side only."""

    code, retriable = "not_usable", False


def _walk(cls: type[FloodmarkError]) -> dict[str, type[FloodmarkError]]:
    found = {cls.code: cls}
    for sub in cls.__subclasses__():
        found.update(_walk(sub))
    return found


#: Stable code -> class; how a client turns a problem document back into an exception.
ERRORS_BY_CODE: dict[str, type[FloodmarkError]] = _walk(FloodmarkError)
