"""Translates outcomes of the consensus room to the errors that users see: one table."""

from __future__ import annotations

from types import TracebackType

from floodmark.errors import (
    Conflict,
    FeatureLevelNeeded,
    FloodmarkError,
    LeaderNotAvailable,
    NotLeaderOrFollower,
    OutcomeUnknown,
    ReplicaNotAvailable,
    ServerError,
    StorageFull,
    StorageUnavailable,
    TooManyRequests,
    Unavailable,
    UnknownTopic,
)

from consensus.types import GroupStopped, NotLeader
from storage.errors import DiskFull, LogCorrupt, OutOfRange, StorageError

RETRY_AFTER_S = 0.2
FULL_RETRY_AFTER_S = 2.0


def unknown(reason: str) -> OutcomeUnknown:
    """It may or may not have been stored."""
    return OutcomeUnknown(f"it may or may not have been stored: {reason}; an idempotent retry is safe")


class PartDone:
    """What fails within is ``OutcomeUnknown`` where something was stored, or may be, for the same answer: the
    error itself says that nothing was."""

    __slots__ = ("_is_begun",)

    def __init__(self, *, is_begun: bool) -> None:
        self._is_begun = is_begun

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_begun and isinstance(error, Unavailable | TooManyRequests):
            raise unknown(f"a part of it may be: {error.detail}") from error


def unknown_topic(name: str) -> UnknownTopic:
    """There is none of this name, or none that whoever asks may know of: the same words."""
    return UnknownTopic(f"there is no topic {name}", topic=name)


def not_leader(leader: str | None) -> Unavailable:
    """Somebody else leads, or nobody does; nothing was stored."""
    where = f"node {leader} leads" if leader else "no leader is elected"
    kind = NotLeaderOrFollower if leader else LeaderNotAvailable
    return kind(f"{where} at the moment; nothing was stored", leader=leader, retry_after_s=RETRY_AFTER_S)


def no_leader(topic: str, number: int) -> Unavailable:
    """The partition has no leader, or none is known; nothing was stored."""
    return LeaderNotAvailable(
        f"partition {number} of topic {topic} has no leader at the moment", retry_after_s=RETRY_AFTER_S
    )


def translated(error: NotLeader | GroupStopped | StorageError) -> FloodmarkError:
    """The user's error for an error of the rooms below."""
    match error:
        case NotLeader():
            return not_leader(error.leader)
        case DiskFull():
            return StorageFull(
                "the disk of the partition's leader is full; nothing was stored",
                retry_after_s=FULL_RETRY_AFTER_S,
            )
        case OutOfRange() | LogCorrupt():
            return ServerError(f"the log cannot be read: {error}")
        case _:
            kind = ReplicaNotAvailable if isinstance(error, GroupStopped) else StorageUnavailable
            return kind(f"this replica does not serve at the moment: {error}", retry_after_s=RETRY_AFTER_S)


def coordinator_name_taken(name: str) -> Conflict:
    """What needs the coordinator cannot be had."""
    return Conflict(
        f"topic {name} was made by a user, with an earlier build, and groups and queues need its name: they "
        "cannot be used in this cluster",
        topic=name,
    )


def needs_level(what: str, needed: int, level: int) -> FeatureLevelNeeded:
    """The refusal of what a cluster at this feature level does not have yet."""
    return FeatureLevelNeeded(
        f"{what} needs feature level {needed}; the cluster is at {level}: once every node runs a build that "
        f"knows it, raise it with `floodmark cluster upgrade --finalize {needed}`",
        level=level,
        needs=needed,
    )
