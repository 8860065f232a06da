"""Run a scenario on asyncio's own event loop and on uvloop, which the server uses where it installs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def on_both_loops(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[LoopFactory], None]:
    """Make two tests of a scenario."""

    def test(loop_factory: LoopFactory) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())

    test.__name__ = scenario.__name__
    test.__qualname__ = scenario.__qualname__
    test.__doc__ = scenario.__doc__
    test.__module__ = scenario.__module__
    both = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop_factory", both, ids=["asyncio", "uvloop"])(test)
