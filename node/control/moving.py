"""On the metadata's leader: starts queued moves when it is their turn, and finishes those that have arrived.

It depends only on the metadata and the groups themselves, so another leader goes on with the same. Its
proposals name the moves that they mean; a move that was changed meanwhile is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog
from floodmark.errors import FloodmarkError

from node.control.move_turns import moves_due
from node.control.moves_shown import MovesShown
from node.metadata.command import Command
from node.metadata.domains.moves import FinishMoves, StartMoves
from node.metadata.group import Metadata

LOOK_S: Final = 0.2
PROPOSE_S: Final = 2.0

_log = structlog.get_logger(__name__)


class Moving:
    """One task per node."""

    def __init__(
        self, *, metadata: Metadata, shown: MovesShown, alive: Callable[[], Collection[str]]
    ) -> None:
        self._metadata = metadata
        self._shown = shown
        self._alive = alive
        self._changed = asyncio.Event()

    def reconcile(self) -> None:
        """The metadata changed."""
        self._changed.set()

    async def run(self) -> None:
        """Look repeatedly while there are moves, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._metadata.state.moves:
                if self._metadata.leads_here:
                    await self._look()
                await asyncio.sleep(LOOK_S)  # The arriving groups are led by other nodes.

    async def _look(self) -> None:
        groups = {move.number: group for group, move in self._metadata.state.moves.items()}
        infos = await self._shown.everywhere(self._alive())
        arrived = {
            groups[info.number]: info.number for info in infos if info.arrived and info.number in groups
        }
        if arrived and await self._propose(FinishMoves(arrived)):
            _log.info("moves_finished", count=len(arrived))
        if due := moves_due(self._metadata.state, self._alive()):
            await self._propose(StartMoves(due))

    async def _propose(self, command: Command) -> bool:
        try:
            await self._metadata.propose(command, timeout_s=PROPOSE_S)
        except FloodmarkError as error:
            _log.warning("moves_not_changed", reason=error.detail)
            return False
        return True
