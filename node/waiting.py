"""Waiting on the event loop for what the group host resolves with callbacks."""

from __future__ import annotations

import asyncio

from consensus.types import Outcome, Proposal


async def settled(proposal: Proposal, timeout_s: float) -> Outcome | None:
    """The outcome of a proposal, or None when the time is up first."""
    if proposal.outcome is not None:
        return proposal.outcome
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[Outcome | None] = loop.create_future()

    def resolve(outcome: Outcome | None) -> None:
        if not waiter.done():
            waiter.set_result(outcome)

    proposal.add_done_callback(resolve)
    timer = loop.call_later(timeout_s, resolve, None)
    try:
        return await waiter
    finally:
        timer.cancel()
