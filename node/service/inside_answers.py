"""What this node answers to other nodes: one handler for each type of request.

A handler serves the request here, or raises an error of ``floodmark.errors``: ``NotLeaderOrFollower`` where
another node leads. It never forwards. When the asking node gives up, or its client left, the handler is
cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from floodmark.errors import TooNew

from node.service.answer_budget import Hold
from node.service.inside_requests import InsideRequest, type_of

R = TypeVar("R")


class Asked:
    """A request's context: who asks, until when an answer is of use, and the memory that the answer holds.

    ``hold`` counts against this node's memory for answers; all of it is given back once the answer has left.
    """

    __slots__ = ("deadline", "hold", "node")

    def __init__(self, node: str, timeout_s: float, hold: Hold) -> None:
        self.node = node
        self.deadline = time.monotonic() + timeout_s
        self.hold = hold

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.deadline - time.monotonic())


class InsideAnswers:
    """One per node."""

    def __init__(self) -> None:
        self._handlers: dict[type, Callable[[Any, Asked], Awaitable[Any]]] = {}

    def on(self, request: type[InsideRequest[R]], handler: Callable[[Any, Asked], Awaitable[R]]) -> None:
        """Have requests of this type answered by ``handler``, which gets the request."""
        assert request not in self._handlers, f"{request.__name__} has one handler"
        self._handlers[request] = handler

    async def answer(self, request: InsideRequest[R], asked: Asked) -> R:
        """Raises ``TooNew`` for a request that this node knows and does not answer."""
        handler = self._handlers.get(type(request))
        if handler is None:
            name = type_of(request).name
            raise TooNew(f"this node does not answer requests of type {name}", unlike=name)
        result: R = await handler(request, asked)
        return result
