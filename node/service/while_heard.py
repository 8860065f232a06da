"""Waits for another node's answer only as long as that node is heard.

A node that hangs, or whose network is gone, closes no connection: a request would wait until its deadline,
and a stream for ever, although other nodes lead by then.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from node.broker import Broker

_LOOK_S: Final = 0.5
_LOOKS: Final = 3
"""How many checks in a row must miss the node: a link that is being reopened is no reason to give up."""


class WhileHeard:
    """``async with``: ends what is awaited within with ``TimeoutError`` once ``node`` is not heard."""

    __slots__ = ("_broker", "_limit", "_missed", "_next", "_node")

    def __init__(self, broker: Broker, node: str) -> None:
        self._broker = broker
        self._node = node
        self._missed = 0
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self._next = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        return self

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._missed = 0 if self._broker.hears(self._node) else self._missed + 1
        if self._missed >= _LOOKS:
            self._limit.reschedule(loop.time())
        else:
            self._next = loop.call_later(_LOOK_S, self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next.cancel()
        await self._limit.__aexit__(kind, error, trace)
