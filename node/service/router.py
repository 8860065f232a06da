"""One loop for whatever a partition's leader has to do: find it, ask it, and go on to the next one.

Here or on another node, a request means the same: it was decoded where it arrived, and what is asked of the
leader is an append, a read of frames, a position or the bounds. ``Unavailable`` says that nothing was done,
so the next leader is asked until the time is up; any other refusal is the answer.

``OutcomeUnknown`` is the answer as well, unless leaders recognise what they are sent again: then the next one
is asked, with the same bytes. From then on there are two answers. Success says where the records are, by
whichever attempt, for they are stored once. Whatever else a leader says holds for its own attempt, and
neither for the first one, which may still be under way or forgotten since, nor for what the caller wants to
know: it ends as ``OutcomeUnknown``. Only ``TopicDeleted`` is told as it is: with the topic its records went.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from floodmark.errors import (
    FloodmarkError,
    LeaderNotAvailable,
    NotLeaderOrFollower,
    OutcomeUnknown,
    TopicDeleted,
    Unavailable,
    UnknownTopic,
)

from node.broker import Partition, Unreadable
from node.service.leaders import Leader, LeaderHere, LeaderThere

if TYPE_CHECKING:
    from node.service.service import Service

T = TypeVar("T")
Ask = Callable[[Leader, float], Awaitable[T]]
"""What is asked of a leader, within so many seconds."""
RETRY_S: Final = 0.05
LOOK_S: Final = 0.5
"""How long one view of a partition is waited with for its leader: a replica of this node's may be closed
meanwhile, or lead."""
READY_S: Final = 1.0
"""How long a request that another node passed on waits for a leader elected here to be ready."""


async def at_leader(
    service: Service,
    partition: Partition,
    ask: Ask[T],
    *,
    timeout_s: float,
    once: bool = False,
    here_only: bool = False,
    is_recognised: Callable[[], bool] = lambda: False,
    after: Unavailable | OutcomeUnknown | None = None,
) -> tuple[T, str]:
    """What the partition's leader answers, and who that is.

    ``partition`` is as the caller has just looked it up. ``once``: whoever leads now, or will within
    ``timeout_s``, is asked, and nobody after that. ``here_only``: another node passed the request on and
    looks further itself. ``is_recognised``: whether leaders, sent it again, know that it is the same; looked
    at once an outcome is unknown. ``after``: what came of asking this node, which led, before this call.

    Raises what ``ask`` raises, ``Unavailable`` when nobody did it in time, and ``TopicDeleted`` as soon as
    this node knows.
    """
    try:
        if here_only:
            return await _here(service, partition, ask, timeout_s)
        attempts = _Attempts(once=once, is_recognised=is_recognised)
        if after is not None:
            partition = service.topics.current(partition)
            attempts.note(after, leads_on=partition.leads_here)
        return await _at_leader(service, partition, ask, timeout_s, attempts)
    except (Unavailable, OutcomeUnknown) as error:
        raise service.topics.reason(error, partition) from error
    except UnknownTopic as error:
        if service.topics.gone(partition) is not None:
            raise
        raise await service.topics.not_found_there(partition) or error from error


async def _at_leader(
    service: Service,
    partition: Partition,
    ask: Ask[T],
    timeout_s: float,
    attempts: _Attempts,
) -> tuple[T, str]:
    own = service.broker.node_id
    deadline = time.monotonic() + timeout_s
    left = timeout_s
    while left > 0:
        led = partition.leads_here
        try:
            if led:
                return await ask(LeaderHere(partition), left), own
            async with service.topics.while_exists(partition):
                leader = await partition.wait_leader(deadline_s=min(left, LOOK_S))
                if leader != own:  # else: elected this moment, and not ready yet
                    left = deadline - time.monotonic()
                    return await ask(LeaderThere(service.inside, partition, leader), left), leader
        except (Unavailable, OutcomeUnknown) as error:
            attempts.note(error, leads_on=led and service.topics.current(partition).leads_here)
        except FloodmarkError as error:
            raise attempts.told(error) from attempts.unknown
        left = deadline - time.monotonic()
        if left > RETRY_S:
            await asyncio.sleep(RETRY_S)
        partition = service.topics.current(partition)
        left = deadline - time.monotonic()
    raise attempts.told(
        attempts.refusal
        or LeaderNotAvailable(
            f"no leader of partition {partition.number} of topic {partition.topic} answered in time",
            leader=partition.leader,
        )
    ) from attempts.unknown


class _Attempts:
    """What those of one request have come to. ``unknown``: it may have been done by one of them."""

    __slots__ = ("_is_recognised", "_once", "refusal", "unknown")

    def __init__(self, *, once: bool, is_recognised: Callable[[], bool]) -> None:
        self._once = once
        self._is_recognised = is_recognised
        self.refusal: Unavailable | None = None
        self.unknown: OutcomeUnknown | None = None

    def note(self, error: Unavailable | OutcomeUnknown, *, leads_on: bool) -> None:
        """Returns where another leader is to be asked, and raises what is the answer.

        ``leads_on``: this node was asked, and still leads, so nobody else could do it.
        """
        if isinstance(error, OutcomeUnknown):
            if leads_on or not self._is_recognised():
                raise self.told(error) from self.unknown
            self.unknown = error
            return
        self.refusal = error
        if leads_on:
            # What a replica cannot read is mended, or it gives way in a moment.
            is_final = self._once or not isinstance(error, Unreadable)
        else:
            is_final = self._once and not isinstance(error, LeaderNotAvailable)
        if is_final:
            raise self.told(error) from self.unknown

    def told(self, error: FloodmarkError) -> FloodmarkError:
        """``error`` of the last attempt; where it is not known what came of an earlier one, that."""
        unknown = self.unknown
        if unknown is None or isinstance(error, TopicDeleted):
            return error
        return OutcomeUnknown(f"{unknown.detail}; asked again: {error.detail}", **unknown.fields)


async def _here(service: Service, partition: Partition, ask: Ask[T], timeout_s: float) -> tuple[T, str]:
    partition = await led_here(service, partition, timeout_s)
    return await ask(LeaderHere(partition), timeout_s), service.broker.node_id


async def led_here(service: Service, partition: Partition, timeout_s: float) -> Partition:
    """The partition, which this node leads and can serve. Raises ``NotLeaderOrFollower``, ``Unavailable``."""
    if not partition.leads_here and partition.leader == service.broker.node_id:
        # Elected this moment, and not ready yet.
        await partition.wait_leader(deadline_s=min(timeout_s, READY_S))
        partition = service.topics.current(partition)
    if not partition.leads_here:
        raise not_here(partition.leader, f"{partition.topic}/{partition.number}")
    return partition


def not_here(leader: str | None, what: str) -> NotLeaderOrFollower:
    """The answer to a request that was passed on to a node that does not lead (any more)."""
    return NotLeaderOrFollower(f"this node does not lead {what}", leader=leader, retry_after_s=0.1)
