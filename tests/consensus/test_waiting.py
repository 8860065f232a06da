"""Waiting for what groups resolve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from floodmark.errors import OutcomeUnknown

from consensus.host import waiting
from consensus.types import Proposal, Stored


@pytest.mark.parametrize("in_time", [True, False])
async def test_what_is_known_in_the_turn_in_which_the_time_is_up_is_told(
    monkeypatch: pytest.MonkeyPatch, *, in_time: bool
) -> None:
    """Whoever waits goes on a turn later, and is not told then that nobody knows."""
    over: list[Callable[[], object]] = []

    def after(_seconds: float, expired: Callable[[], object]) -> asyncio.TimerHandle:
        over.append(expired)
        return asyncio.get_running_loop().call_later(60, expired)

    monkeypatch.setattr(waiting, "after", after)
    proposal = Proposal()
    task = asyncio.create_task(waiting.stored(proposal, deadline_s=1))
    await asyncio.sleep(0)
    (time_is_up,) = over
    time_is_up()
    if in_time:
        proposal.resolve(Stored(2, 1, 0))
        assert await task == Stored(2, 1, 0)
    else:
        with pytest.raises(OutcomeUnknown, match="no answer within 1 s"):
            await task
