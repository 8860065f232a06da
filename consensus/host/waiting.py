"""Awaiting what groups resolve by callback: with a deadline, and leaving nothing behind when cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from floodmark.errors import NotEnoughReplicas, OutcomeUnknown, Unavailable

from consensus.host.deadlines import after
from consensus.host.host_types import Waiters
from consensus.types import NotStored, Proposal, ReadIndex, Stored, Unknown

T = TypeVar("T")


async def stored(proposal: Proposal, *, deadline_s: float) -> Stored:
    """The place of an entry. Raises ``Unavailable`` (not stored) or ``OutcomeUnknown`` (not known).

    After the deadline the proposal goes on: it may still be stored.
    """
    outcome = await _first(proposal.add_done_callback, deadline_s)
    if outcome is None:
        outcome = proposal.outcome  # Which may have come in the turn in which the time was up.
    if isinstance(outcome, Stored):
        return outcome
    raise unknown(f"no answer within {deadline_s:g} s") if outcome is None else failure(outcome)


def failure(outcome: NotStored | Unknown) -> Unavailable | OutcomeUnknown:
    """The error that an outcome other than ``Stored`` is told as."""
    if isinstance(outcome, NotStored):
        return Unavailable(f"not stored: {outcome.reason}")
    return unknown(outcome.reason)


def unknown(reason: str) -> OutcomeUnknown:
    """The error where it is not known whether it is stored."""
    return OutcomeUnknown(f"it may or may not have been stored: {reason}")


async def confirmed(read_index: ReadIndex, *, deadline_s: float) -> int:
    """The index of a read index, applied here. Raises ``Unavailable``."""
    try:
        index = await _first(read_index.add_done_callback, deadline_s)
    finally:
        if not read_index.done:
            read_index.cancel()
    if index is None:
        raise NotEnoughReplicas("no leader has confirmed the read in time")
    return index


async def confirmed_lead(
    read_index: ReadIndex,
    after: Proposal | None,
    leader: Waiters,
    leads: Callable[[], bool],
    *,
    deadline_s: float,
) -> bool:
    """True once ``read_index`` has ended and what became of ``after`` is known.

    False as soon as this replica does not lead (any more), which ``leader`` tells; and when the time is up.
    """
    looks: list[Callable[[], None]] = []

    def subscribe(done: Callable[[bool], None]) -> None:
        def look(_: object = None) -> None:
            has_ended = read_index.done and (after is None or after.outcome is not None)
            if has_ended or not leads():
                done(has_ended and leads())

        looks.append(look)
        read_index.add_done_callback(look)
        if after is not None:
            after.add_done_callback(look)
        leader.add(look)
        look()

    try:
        return bool(await _first(subscribe, deadline_s))
    finally:
        leader.discard(looks[0])
        read_index.cancel()


async def condition(waiters: Waiters, holds: Callable[[], T | None], *, timeout_s: float) -> T | None:
    """The first value other than None that ``holds`` gives after a change, or None when the time is up."""

    def subscribe(done: Callable[[T], None]) -> Callable[[], None]:
        def look() -> None:
            if (value := holds()) is not None:
                done(value)

        waiters.add(look)
        return lambda: waiters.discard(look)

    if (value := holds()) is not None:
        return value
    unsubscribe: list[Callable[[], None]] = []
    try:
        return await _first(lambda done: unsubscribe.append(subscribe(done)), timeout_s)
    finally:
        for undo in unsubscribe:
            undo()


async def _first(subscribe: Callable[[Callable[[T], None]], None], timeout_s: float) -> T | None:
    future: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

    def resolve(value: T | None) -> None:
        if not future.done():
            future.set_result(value)

    subscribe(resolve)
    if future.done():
        return future.result()
    deadline = after(timeout_s, lambda: resolve(None))
    try:
        return await future
    finally:
        deadline.cancel()
