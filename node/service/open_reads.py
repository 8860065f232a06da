"""Reads that go on for long end when whoever reads may no longer do so.

What was allowed when a read began may be forbidden a minute later, or the token that it came with be revoked
or expire. So whoever waits is looked at about once a second, and at once when this node learns of a change;
and nothing that was read is handed out without another look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Final, Self

from floodmark.errors import FloodmarkError

from node.service.authentication import Authentication, Identity
from node.service.policy import Operation, Policy, Resource
from node.service.request_context import A_NODE, ANONYMOUS, RequestContext

LOOK_S: Final = 1.0
_AT_ONCE: Final = 1_000
"""Looked at in one turn of the event loop."""


class Permit:
    """What one request was allowed, and may no longer be."""

    __slots__ = ("_context", "_operation", "_reads", "_resource")

    def __init__(
        self, reads: OpenReads, context: RequestContext, operation: Operation, resource: Resource
    ) -> None:
        self._reads = reads
        self._context = context
        self._operation = operation
        self._resource = resource

    def check(self) -> None:
        """Raises as the policy does, and as ``Authentication.check`` does."""
        reads, context = self._reads, self._context
        policy, authenticator = reads.policy(), reads.authenticator()
        if not policy.may_change:
            return
        if authenticator is not None and context.principal not in (ANONYMOUS, A_NODE):
            authenticator.check(Identity(context.principal, context.credential, context.expires_ms))
        policy.authorize(context, self._operation, self._resource)

    def while_allowed(self) -> WhileAllowed:
        """``async with``: what is awaited within ends with what ``check`` raises, once it raises it."""
        return WhileAllowed(self._reads, self)


class WhileAllowed:
    """See ``Permit.while_allowed``."""

    __slots__ = ("_error", "_limit", "_permit", "_reads")

    def __init__(self, reads: OpenReads, permit: Permit) -> None:
        self._reads = reads
        self._permit = permit
        self._error: FloodmarkError | None = None
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        self._permit.check()
        await self._limit.__aenter__()
        self._reads.add(self)
        return self

    def look(self) -> None:
        """End it where it is no longer allowed."""
        try:
            self._permit.check()
        except FloodmarkError as error:
            self._error = error
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reads.remove(self)
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            assert self._error is not None, "only a look ends it"
            raise self._error from None


class OpenReads:
    """One per service. ``policy``, ``authenticator``: those in force."""

    def __init__(
        self, policy: Callable[[], Policy], authenticator: Callable[[], Authentication | None]
    ) -> None:
        self.policy = policy
        self.authenticator = authenticator
        self._open: dict[WhileAllowed, None] = {}
        self._next: asyncio.TimerHandle | None = None

    def permit(self, context: RequestContext, operation: Operation, resource: Resource) -> Permit:
        """What a read that may go on for long was allowed."""
        return Permit(self, context, operation, resource)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, waiting: WhileAllowed) -> None:
        """One more that waits."""
        if not self.policy().may_change:
            return
        self._open[waiting] = None
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(LOOK_S, self.look)

    def remove(self, waiting: WhileAllowed) -> None:
        """It waits no longer."""
        self._open.pop(waiting, None)

    def look(self) -> None:
        """Look at all that wait, some of them in each turn of the event loop."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._look(iter(list(self._open)))

    def _look(self, waiting: Iterator[WhileAllowed]) -> None:
        loop = asyncio.get_running_loop()
        some = list(islice(waiting, _AT_ONCE))
        for each in some:
            if each in self._open:
                each.look()
        if len(some) == _AT_ONCE:
            loop.call_soon(self._look, waiting)
        elif self._open and self._next is None:
            self._next = loop.call_later(LOOK_S, self.look)
