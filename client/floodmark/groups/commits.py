"""Committing how far the program is, by itself or when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from floodmark.errors import FloodmarkError
from floodmark.groups.member import FENCED, Member, ToCommit
from floodmark.groups.options import ConsumeOptions
from floodmark.groups.owned import Owned
from floodmark.groups.standing import Standing
from floodmark.transport.pacing import may_pass

_PAUSE_S: Final = 0.05
"""Between two commits while records are done with: the newest positions go with the next one."""


class Commits:
    """Of one member. They follow each other, so that none overtakes a later one."""

    def __init__(self, options: ConsumeOptions, member: Member, standing: Standing) -> None:
        self._options = options
        self._member = member
        self._standing = standing
        self._may_commit = asyncio.Event()
        self._committing = asyncio.Lock()

    def look(self) -> None:
        """Something is done with."""
        self._may_commit.set()

    async def commit_now_and_then(self) -> None:
        """Whatever is done with: soon after it is, or every so often."""
        every, standing = self._options.commit, self._standing
        while True:
            if not isinstance(every, str):
                await asyncio.sleep(every)
            elif not self._is_behind():
                self._may_commit.clear()
                standing.needs_pause = True
                await self._may_commit.wait()
            try:
                await self.commit_done(list(standing.owned.values()))
            except FloodmarkError as error:
                if not may_pass(error):
                    standing.fail(error)
                    return
            await asyncio.sleep(_PAUSE_S)

    def _is_behind(self) -> bool:
        return any(owned.at != owned.committed for owned in self._standing.owned.values())

    async def commit_done(self, which: Iterable[Owned]) -> None:
        """All before the records in hand. Of a member that is fenced nothing is committed."""
        try:
            await self.commit(lambda: {owned: owned.at for owned in which})
        except FENCED:
            if not self._standing.is_closed:
                self._standing.lose()

    async def commit(self, positions: Callable[[], Mapping[Owned, int | None]]) -> None:
        """Positions are looked at when it is their turn. Raises ``UnknownMember``, ``FencedMemberEpoch``."""
        async with self._committing:
            todo = {
                owned: offset
                for owned, offset in positions().items()
                if offset is not None and offset != owned.committed
            }
            if not todo:
                return
            refused = await self._member.commit(
                [
                    ToCommit(owned.place.topic, owned.topic_id, owned.place.partition, offset)
                    for owned, offset in todo.items()
                ]
            )
            for owned, offset in todo.items():
                if owned.key not in refused:
                    owned.committed = offset
            if refused:
                self._standing.beat.set()  # The group says what became of them.
