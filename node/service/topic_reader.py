"""Reading one or all partitions of a topic from a set of positions, wherever their leaders are.

A round asks every partition, some at a time, and goes on with those that have more. Its records are handed
out in slices; whoever takes them says how far that was (``move``), and positions are nothing else. So a
reader can let go of all that it has read ahead at any time, and begin a new round.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final

from floodmark.errors import (
    FloodmarkError,
    InvalidBatch,
    OffsetBelowStart,
    OffsetPastEnd,
    TooManyRequests,
    Unavailable,
)

from node.broker import Bounds, Partition, Unreadable
from node.service import cursor
from node.service.answer_budget import Hold
from node.service.fetch import read_once, resolve_once
from node.service.inside_line import Found
from node.service.open_reads import Permit
from node.service.positions import is_offset
from node.service.unpacking import Slice, Unpacking

if TYPE_CHECKING:
    from node.service.service import Service

_AT_ONCE: Final = 16
_SHARE_BYTES_MIN: Final = 64 << 10
_RETRY_S: Final = 0.05
_PATIENCE_S: Final = 5.0
"""Longer than an election, and than it takes to fetch a frame from another replica."""
_READ_BYTES: Final = 256 << 10
"""The most that is read of one partition before its records are taken."""


class TopicReader:
    """Positions in some partitions of one topic. What it reads ahead is in ``hold``."""

    def __init__(
        self,
        service: Service,
        hold: Hold,
        topic_id: int,
        partitions: Sequence[Partition],
        specs: Sequence[str],
        *,
        permit: Permit,
        by_cursor: bool,
        leader_s: float = 0.0,
        here_only: bool = False,
        first: int | None = None,
    ) -> None:
        self._service = service
        self._hold = hold
        self._permit = permit
        self.topic_id = topic_id
        self.by_cursor = by_cursor
        """Whether its reader goes on by cursor (all partitions) or by offset (one)."""
        self._leader_s = leader_s
        """How long each read waits for a leader; a partition that has none is passed over then."""
        self._here_only = here_only
        self.partitions = partitions
        self._places = {partition.number: index for index, partition in enumerate(partitions)}
        self._specs = list(specs)
        self.bounds: list[Bounds | None] = [None] * len(partitions)
        """As each partition's last answer had them."""
        self.starts: list[int | None] = [int(spec) if is_offset(spec) else None for spec in specs]
        """The offsets that the positions meant when each partition was first read; None before that."""
        self.leaders: list[str | None] = [None] * len(partitions)
        """Who led each partition at its last answer."""
        self.ends: dict[int, int] | None = None
        """Set to ``{}`` to read only what there is at the first look: the ends are then noted here."""
        # Which partition the first round begins with: by chance where nobody says.
        self._shift = random.randrange(len(partitions)) if first is None else first % len(partitions)
        self._todo: deque[int] = deque()
        self._open: deque[tuple[int, Found, Unpacking]] = deque()
        self._share = self._round_bytes = 0
        self._failures: list[FloodmarkError] = []
        self._patient_until: float | None = None
        """Since a replica that was asked could not read what it stores."""
        self._news: list[int] = []
        self.took = False
        """Whether this round has brought any records."""

    @property
    def offsets(self) -> list[int]:
        """Where each partition goes on; -1 where that is its beginning and not looked up."""
        return [int(spec) if is_offset(spec) else cursor.EARLIEST for spec in self._specs]

    @property
    def left_out(self) -> list[int]:
        """Partitions that this round could not ask, in order: what is new there the next round may bring."""
        return sorted(
            {number for error in self._failures if (number := error.fields.get("partition")) is not None}
        )

    async def pin(self) -> None:
        """Turn positions that would mean something else a moment later into offsets. Raises as ``next``."""
        while True:
            try:
                await self._pin()
            except Unreadable as error:
                await self._ask_again(error)
            else:
                self._patient_until = None
                return

    async def _pin(self) -> None:
        todo = [index for index, spec in enumerate(self._specs) if not is_offset(spec) and spec != "earliest"]
        for begin in range(0, len(todo), _AT_ONCE):
            group = todo[begin : begin + _AT_ONCE]
            starts = await asyncio.gather(
                *(resolve_once(self._service, self.partitions[index], self._specs[index]) for index in group)
            )
            for index, start in zip(group, starts, strict=True):
                self._specs[index] = str(start)

    def begin(self, *, max_bytes: int) -> None:
        """Begin a round. Of each partition at most its share of ``max_bytes`` is read at a time."""
        self.let_go()
        self._round_bytes = max_bytes
        count = len(self.partitions)
        order = [(self._shift + step) % count for step in range(count)]
        self._shift += 1
        self._todo = deque(index for index in self._news or order if not self._is_done(index))
        self._news = []
        self._share = min(max(max_bytes // count, _SHARE_BYTES_MIN), max_bytes, _READ_BYTES)
        self._failures = []
        self._patient_until = None
        self.took = False

    async def next(self) -> Slice | None:
        """The next records of this round; None at its end.

        Raises ``OffsetBelowStart`` with a cursor that goes on behind the gap, ``OffsetPastEnd``,
        ``TooManyRequests``, and ``Unavailable`` when nothing could be read and not every partition be asked:
        a replica that finds damage of its own is given time to mend it, or to give way.
        """
        while True:
            while self._open:
                index, found, unpacking = self._open[0]
                try:
                    part = await unpacking.next()
                except InvalidBatch as error:
                    # Checked when it was stored, and by whoever read it: it was damaged between two nodes.
                    self.let_go()
                    self._failures.append(Unreadable(f"it was damaged on its way: {error.detail}"))
                    break
                if part is not None:
                    self._permit.check()
                    self.took = True
                    return part
                unpacking.close()
                self._open.popleft()
                self._passed(index, found)
            if not self._todo:
                if self._failures and not self.took:
                    await self._ask_again(self._failures[0])
                    continue
                return None
            await self._look([self._todo.popleft() for _ in range(min(_AT_ONCE, len(self._todo)))])

    async def _ask_again(self, error: FloodmarkError) -> None:
        """Begin the round again, after a moment, where that may help; raises ``error`` where not."""
        now = time.monotonic()
        if isinstance(error, Unreadable) and self._patient_until is None:
            self._patient_until = now + _PATIENCE_S
        until = self._patient_until
        if not isinstance(error, Unavailable) or until is None or now >= until:
            raise error
        await asyncio.sleep(_RETRY_S)
        # A replica of this node's may have been closed, or opened.
        self.partitions = [self._service.topics.current(partition) for partition in self.partitions]
        self.begin(max_bytes=self._round_bytes)
        self._patient_until = until

    def move(self, partition: int, offset: int) -> None:
        """All records of a partition below ``offset`` have been taken."""
        self._specs[self._places[partition]] = str(offset)

    def let_go(self) -> None:
        """Hold nothing that was read ahead; the round goes on without the partitions that it was of."""
        for _, _, unpacking in self._open:
            unpacking.close()
        self._open.clear()

    def _is_done(self, index: int) -> bool:
        spec = self._specs[index]
        return self.ends is not None and is_offset(spec) and int(spec) >= self.ends.get(index, 1 << 63)

    def _passed(self, index: int, found: Found) -> None:
        """All of an answer was taken: its partition's turn comes again where it has more."""
        fetched, end = found.fetched, fetched_end(self.ends, index, found)
        here = max(found.start, min(fetched.next_offset, end))
        self._specs[index] = str(here)
        if found.start < here < end:
            self._todo.append(index)

    async def _look(self, indexes: Sequence[int]) -> None:
        looks = [self._guarded(index) for index in indexes]
        answers = [await looks[0]] if len(looks) == 1 else await asyncio.gather(*looks)
        for index, answer in zip(indexes, answers, strict=True):
            if isinstance(answer, FloodmarkError):
                self._failures.append(answer)
                continue
            found, self.leaders[index] = answer
            if self.starts[index] is None:
                self.starts[index] = found.start
            self.bounds[index] = found.fetched.bounds
            end = None
            if self.ends is not None:
                end = self.ends.setdefault(index, found.fetched.bounds.high_watermark)
            unpacking = Unpacking(
                found.fetched.frames,
                self.partitions[index].number,
                found.start,
                end=end,
                hold=self._hold,
                large=self._service.unpacking,
                pages=self._service.pages,
            )
            self._open.append((index, found, unpacking))

    def _ask(self, index: int) -> Awaitable[tuple[Found, str]]:
        return read_once(
            self._service,
            self.partitions[index],
            self._specs[index],
            max_bytes=self._share,
            hold=self._hold,
            leader_s=self._leader_s,
            here_only=self._here_only,
        )

    async def _guarded(self, index: int) -> tuple[Found, str] | FloodmarkError:
        """A partition without a leader, or whose leader is too busy, is passed over for the others' sake."""
        try:
            return await self._ask(index)
        except (Unavailable, TooManyRequests) as error:
            error.fields.setdefault("partition", self.partitions[index].number)
            if self._leader_s:
                raise  # There are no others.
            return error
        except OffsetBelowStart as error:
            start = error.fields.get("log_start_offset")
            if isinstance(start, int) and self.by_cursor:
                offsets = self.offsets
                offsets[index] = start
                error.fields["cursor"] = cursor.encode(self.topic_id, offsets)
            error.fields["partition"] = self.partitions[index].number
            raise
        except OffsetPastEnd as error:
            error.fields["partition"] = self.partitions[index].number
            raise

    async def wait(self, wait_s: float) -> bool:
        """Until some partition may have something new; False when the time is up. Holds nothing meanwhile.

        The next round is of those partitions. Raises ``TopicDeleted``.
        """
        service, first = self._service, self.partitions[0]
        async with self._permit.while_allowed(), service.topics.while_exists(first):
            if len(self.partitions) == 1 and self.offsets[0] >= 0:
                return await service.watches.wait_one(first, self.offsets[0], wait_s=wait_s)
            news = await service.watches.wait(self.partitions, self.offsets, wait_s=wait_s)
        self._news = [self._places[number] for number in news if number in self._places]
        return bool(news)


def fetched_end(ends: dict[int, int] | None, index: int, found: Found) -> int:
    """Where a partition ends for this reader, as far as is known."""
    high_watermark = found.fetched.bounds.high_watermark
    return high_watermark if ends is None else min(high_watermark, ends.get(index, high_watermark))
