"""The bulk connections of this node: for requests to other nodes and theirs to this one.

One is dialled when the first request to a node wants it, at the address where the node's link stands, and
stays. Nodes that ask each other may have one each way; either serves both. A node is only accepted whose own
link stands here, so whoever may not send messages may not ask anything either, and both end together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from typing import Any, Final

from consensus.links.bulk_connection import BulkConnection
from consensus.links.bulk_packets import LEFT_MS_MAX
from consensus.links.bulk_types import (
    Answer,
    Room,
    Serve,
    Served,
    ServedBudget,
    Unanswered,
    Unreached,
    any_size,
)
from consensus.links.dialing import Address, welcomed_at
from consensus.links.handshake import HandshakeFailed, PeerClaim
from consensus.links.link_types import LinkContext

_DIAL_S: Final = 1.5
"""For a connection and its handshake: its link stands, so whoever is there answers at once."""
_AGAIN_S: Final = 0.03
_STOP_S: Final = 0.5
"""How long requests that run here may go on when this node stops."""
_RETIRE_S: Final = 2.0
"""... and those under way on a connection that another one takes the place of."""


class _Lane:
    """Requests of one order to one node: all on one connection, for as long as any has no answer."""

    __slots__ = ("connection", "count", "turn")

    def __init__(self) -> None:
        self.connection: BulkConnection | None = None
        self.count = 0
        self.turn = asyncio.Lock()
        """While one waits for a connection, those behind it wait for it."""


class BulkLinks:
    """One per process. ``address`` says where a node is dialled; None where its build takes no requests.

    ``serve`` answers requests of other nodes, and ``budget`` bounds what they may have here.
    """

    def __init__(self, context: LinkContext, address: Callable[[str], Address | None]) -> None:
        self.serve: Serve = _serve_nothing
        self.budget = ServedBudget()
        self._context = context
        self._address = address
        self._dialled: dict[str, BulkConnection] = {}
        self._accepted: dict[str, BulkConnection] = {}
        self._dialling: dict[str, asyncio.Task[BulkConnection]] = {}
        self._lanes: dict[tuple[str, Hashable], _Lane] = {}
        self._parting: set[asyncio.Task[None]] = set()
        self._serves = True
        self._stopped = False
        self.packets_refused = 0
        """Those that were no packets of a sound peer, or bore no true mark; each ended its connection."""

    async def ask(
        self,
        node: str,
        envelope: bytes,
        raw: bytes = b"",
        *,
        timeout_s: float,
        grace_s: float = 0.0,
        room: Room = any_size,
        order: Hashable = None,
    ) -> Answer:
        """Have ``node`` answer within ``timeout_s``; it is waited for ``grace_s`` longer, for its own word.

        Requests of one ``order`` arrive in the order of these calls, unless it is None.
        ``room`` is told the size of the answer before it is held, and may raise. Raises ``Unreached``,
        ``Overloaded``, ``Unanswered``, and what ``room`` raises. A caller that is cancelled cancels it there.
        """
        deadline = time.monotonic() + timeout_s
        has_left = False

        def left_ms() -> int:
            nonlocal has_left
            has_left = True  # Maybe not all of it, which is told by nobody any more.
            return max(0, min(LEFT_MS_MAX, int((deadline - time.monotonic()) * 1000)))

        try:
            async with asyncio.timeout(timeout_s + grace_s):
                if order is not None:
                    return await self._ask_in_order(node, order, envelope, raw, left_ms, room)
                connection = await self._connection(node)
                return await connection.ask(envelope, raw, left_ms, room)
        except TimeoutError:
            if has_left:
                raise Unanswered("no answer came in time") from None
            raise Unreached("the request did not leave in time") from None

    async def _ask_in_order(
        self,
        node: str,
        order: Hashable,
        envelope: bytes,
        raw: bytes,
        left_ms: Callable[[], int],
        room: Room,
    ) -> Answer:
        lane = self._lanes.setdefault((node, order), _Lane())
        lane.count += 1
        try:
            async with lane.turn:
                connection = lane.connection
                if connection is None or not connection.is_open:
                    connection = lane.connection = await self._connection(node)
            return await connection.ask(envelope, raw, left_ms, room, order)
        finally:
            lane.count -= 1
            if not lane.count:
                del self._lanes[node, order]

    def each(self) -> Iterator[BulkConnection]:
        """All connections that stand."""
        yield from self._dialled.values()
        yield from self._accepted.values()

    def of(self, node: str) -> list[BulkConnection]:
        """Those with one node."""
        return [found for found in (self._dialled.get(node), self._accepted.get(node)) if found is not None]

    def accept(self, claim: PeerClaim) -> BulkConnection:
        """For a connection of a peer whose handshake has ended well, in place of an older one."""
        if not self._serves:
            raise HandshakeFailed("this node stops")
        if (older := self._accepted.get(claim.node_id)) is not None:
            # Its node makes another one while it has requests here: ``retire`` there does.
            self._part_from(older)
        connection = self._accepted[claim.node_id] = self._made(claim.node_id)
        return connection

    def drop(self, node: str) -> None:
        """Close what there is with a node, at once."""
        if (dialling := self._dialling.get(node)) is not None:
            dialling.cancel()
        for connection in self.of(node):
            connection.abort()

    def part(self, node: str) -> Coroutine[Any, Any, None]:
        """Close what there is with a node that leaves the cluster, and ask nothing there from now on.

        What was asked has a moment to be answered: the answer to its own removal is among that.
        """
        if (dialling := self._dialling.get(node)) is not None:
            dialling.cancel()
        parting = self.of(node)
        for table in (self._dialled, self._accepted):
            table.pop(node, None)
        for connection in parting:
            connection.refuse()
        return _stopped(parting)

    def retire(self) -> Coroutine[Any, Any, None]:
        """Use connections no more whose credentials count no more; what is under way there has a moment."""
        retired = [each for each in self.each() if not self._context.counts(each.credentials)]
        for connection in retired:
            self._untabled(connection)
            connection.refuse()
        return _stopped(retired, within_s=_RETIRE_S)

    def _part_from(self, connection: BulkConnection) -> None:
        self._untabled(connection)
        connection.refuse()
        parting = asyncio.get_running_loop().create_task(_stopped([connection], within_s=_RETIRE_S))
        self._parting.add(parting)
        parting.add_done_callback(self._parting.discard)

    def beat(self, now: float, late: float) -> None:
        """See ``BulkConnection.beat``."""
        for connection in list(self.each()):
            connection.beat(now, late)

    async def serve_no_more(self) -> None:
        """Begin nothing for other nodes; what they have asked is answered, or ended after a moment.

        Other nodes are asked as before: clients have requests here that need them.
        """
        self._serves = False
        await asyncio.gather(
            *(connection.serve_no_more(within_s=_STOP_S) for connection in list(self.each()))
        )

    async def stop(self) -> None:
        """Begin nothing more. What was asked is answered, or ended after a moment."""
        self._serves, self._stopped = False, True
        for dialling in list(self._dialling.values()):
            dialling.cancel()
        await _stopped(list(self.each()))

    def sever(self) -> None:
        """Close everything at once, for good."""
        self._serves, self._stopped = False, True
        for node in {*self._dialled, *self._accepted, *self._dialling}:
            self.drop(node)

    async def _connection(self, node: str) -> BulkConnection:
        for connection in self.of(node):
            if connection.is_open:
                return connection
        if self._stopped:
            raise Unreached("this node stops")
        dialling = self._dialling.get(node)
        if dialling is None:
            dialling = asyncio.get_running_loop().create_task(self._dial(node), name=f"bulk to {node}")
            self._dialling[node] = dialling
            dialling.add_done_callback(lambda task: self._dialled_or_not(node, task))
        try:
            return await asyncio.shield(dialling)
        except asyncio.CancelledError:
            if dialling.cancelled():
                raise Unreached(f"the links with {node} are closed") from None
            raise

    async def _dial(self, node: str) -> BulkConnection:
        reason = ""
        try:
            async with asyncio.timeout(_DIAL_S):
                while True:
                    try:
                        connection = self._dialled[node] = await self._dial_once(node)
                    except HandshakeFailed as error:
                        reason = str(error)  # Our link breaks or is made again: there is none for a moment.
                    else:
                        return connection
                    await asyncio.sleep(_AGAIN_S)
        except OSError as error:  # A timeout is one.
            raise Unreached(reason or str(error) or type(error).__name__) from error

    async def _dial_once(self, node: str) -> BulkConnection:
        address = self._address(node)
        if address is None:
            raise Unreached(f"{node} was not met, or is of a build that takes no requests")
        connection = self._made(node)
        try:
            await welcomed_at(self._context, address, node, _Nobody(), connection)
        except BaseException:
            connection.abort()
            raise
        if not connection.is_open:
            raise HandshakeFailed(f"{node} closed the connection")
        return connection

    def _dialled_or_not(self, node: str, task: asyncio.Task[BulkConnection]) -> None:
        if self._dialling.get(node) is task:
            del self._dialling[node]
        if not task.cancelled() and task.exception() is None:
            self._context.log.info("bulk_connected", peer=node)

    def _made(self, node: str) -> BulkConnection:
        connection = BulkConnection(
            node,
            serve=self._serve,
            budget=self.budget,
            dead_after_s=self._context.options.dead_after_s,
            log=self._context.log,
            on_lost=self._lost,
        )
        if not self._serves:
            connection.refuse()
        return connection

    async def _serve(self, peer: str, envelope: bytes, raw: bytes, timeout_s: float) -> Served:
        return await self.serve(peer, envelope, raw, timeout_s)

    def _lost(self, connection: BulkConnection) -> None:
        self.packets_refused += connection.refused
        self._untabled(connection)

    def _untabled(self, connection: BulkConnection) -> None:
        for table in (self._dialled, self._accepted):
            if table.get(connection.peer) is connection:
                del table[connection.peer]


async def _stopped(connections: list[BulkConnection], *, within_s: float = _STOP_S) -> None:
    await asyncio.gather(*(connection.stop(within_s=within_s) for connection in connections))


async def _serve_nothing(_peer: str, _envelope: bytes, _raw: bytes, _timeout_s: float) -> Served:
    raise Unanswered("nothing is served here")


class _Nobody:
    """Sends nothing but the handshake, and so waits for nothing."""

    def queue_drained(self) -> None:
        """Never called: nothing is queued."""
