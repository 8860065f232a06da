"""The state machine of a simulated replica: a hash chain over all that was applied shows any slip.

Beside the chain stands what a partition really keeps, the table of its producers: that is the same on every
replica too, however each of them came to it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgpack
from floodmark.format.frame import Frame, FrameKind
from floodmark.format.position import Source
from msgspec.structs import replace

from consensus.core.keyed_state import KeyedLoader, KeyedState, command
from node.partition.position_order import PositionOrder
from node.partition.producers import ProducerTable, cut
from node.partition.sequences import Sequences
from node.partition.source_positions import Kept
from tests.simulation.ledger import VIRTUAL_FIRST_INDEX
from tests.simulation.violation import require


class AppliedHistory:
    """What the state is after each index, as the first replica to get there computed it."""

    def __init__(self) -> None:
        self._after: dict[int, bytes] = {}
        self.outside: set[str] = set()
        """Nodes that are no part of the cluster any more."""
        self.cuts: dict[int, bytes] = {}
        """The states that recoveries made, and after which entries."""

    def forget_after(self, index: int) -> None:
        """What stood behind is lost."""
        self._after = {at: state for at, state in self._after.items() if at <= index}
        self.cuts = {at: state for at, state in self.cuts.items() if at <= index}

    def cut(self, state: bytes, frames: Iterable[Frame], *, index: int, offset: int) -> bytes:
        """A stored state of a ``ChainMachine`` without what comes from behind an entry: another table than
        the first replica had there, and what all others are to have."""
        if last_index_in(state) <= index:
            return state
        chain = self._after.pop(index, bytes(16))[:16]
        table = cut(state[33:], frames, index=index, offset=offset)
        made = self.cuts[index] = index.to_bytes(8, "little") + state[8:17] + chain + table
        return made

    def check(self, node: str, index: int, state: bytes) -> None:
        """Every replica must have the same state after the same index."""
        if node in self.outside:
            return
        known = self._after.setdefault(index, state)
        require(
            known == state,
            "applied exactly once, in order",
            lambda: f"{node} has another state after {index} than the first replica there",
        )


def last_index_in(state: bytes) -> int:
    """The last entry that is part of a stored state of a ``ChainMachine``."""
    return int.from_bytes(state[:8], "little")


NEWER: Final = b"newer:"
"""How a command begins that older builds do not know."""


class ChainMachine:
    """Applies frames to chain and table. Frames that the state contains already change nothing.

    That of an older build halts at a command that only a newer one knows, or at a state that one is part of,
    which it stores again as it came.

    Of entries that compaction has removed a machine hears nothing. The chain takes them in as they were
    ``committed``, if they may have been ``removed``; the table has to come out the same without them, behind
    the segment that they were removed from.
    """

    def __init__(
        self,
        node: str,
        history: AppliedHistory,
        committed: Mapping[int, Frame],
        removed: Mapping[int, int],
        *,
        older: bool = False,
    ) -> None:
        self._node = node
        self._history = history
        self._committed = committed
        self._removed = removed
        self._older = older
        self.halted: str | None = None
        self._has_newer = False
        self._foreign: bytes | None = None
        self._chain = bytes(16)
        self._producers = ProducerTable()
        self.sequences = Sequences(self._producers)
        """What a leader admits, over the table."""
        self.order = PositionOrder(self._producers)
        """Likewise, of positions."""
        self.applied = 0
        self._applied_here = 0
        self._uncertain_until = 0
        """Up to here the table may be another one than others': something was removed."""

    def apply(self, frame: Frame) -> None:
        """Extend the chain; within one life and one state, an index comes once."""
        require(
            frame.index > self._applied_here,
            "applied exactly once, in order",
            lambda: f"{self._node} was given entry {frame.index} after {self._applied_here}",
        )
        require(
            frame.kind is not FrameKind.GAP, "a gap is nothing to a machine", lambda: f"entry {frame.index}"
        )
        require(self.halted is None, "who halted applies nothing", lambda: f"{self._node} at {frame.index}")
        self._applied_here = frame.index
        if frame.index <= self.applied:
            return
        is_newer = frame.kind is FrameKind.COMMAND and frame.payload.startswith(NEWER)
        if is_newer and self._older:
            self.halted = f"entry {frame.index} is of a newer build"
            return
        self._has_newer = self._has_newer or is_newer
        self._pass_over(frame.index)
        self._extend(frame)
        if not is_newer:
            self._producers.apply(frame)
        self.applied = frame.index
        self._check()

    def kept(self, source: Source) -> Kept | None:
        """What is kept of a source of positions."""
        return self._producers.positions.kept.get(source)

    def _pass_over(self, index: int) -> None:
        """What stands between the last entry and this one, and should have been applied, was removed."""
        for missing in range(max(self.applied, VIRTUAL_FIRST_INDEX) + 1, index):
            # What commits in this very step is not known yet, and was removed by nobody.
            frame = self._committed.get(missing)
            if frame is not None and frame.kind in (FrameKind.RECORDS, FrameKind.COMMAND):
                require(
                    missing in self._removed or self._node in self._history.outside,
                    "applied exactly once, in order",
                    lambda missing=missing: f"{self._node} was not given entry {missing}",  # type: ignore[misc]
                )
                self._extend(frame)
                self._uncertain_until = max(self._uncertain_until, self._removed.get(missing, missing))

    def _extend(self, frame: Frame) -> None:
        head = (
            f"{frame.index} {frame.term} {int(frame.kind)} {frame.first_offset} {frame.offset_count}".encode()
        )
        self._chain = hashlib.blake2b(self._chain + head + frame.payload, digest_size=16).digest()

    def _check(self) -> None:
        """The last entry of a segment that a machine takes in always stays, so behind it all is certain."""
        if self.applied > self._uncertain_until:
            self._history.check(self._node, self.applied, self.state)

    def snapshot(self) -> bytes:
        """Index, whether newer commands are part of it, up to where the table may be another one, chain and
        table.
        """
        if self._foreign is not None:
            return self._foreign
        uncertain_until = self._uncertain_until.to_bytes(8, "little")
        return self.applied.to_bytes(8, "little") + bytes([self._has_newer]) + uncertain_until + self.state

    def restore(self, state: bytes) -> None:
        """Take another replica's state, or one's own earlier one."""
        self._has_newer = state[8:9] == b"\x01"
        if self._has_newer and self._older:
            self.halted = "the state is of a newer build"
            self._foreign = state
            return
        self._foreign = None
        self.applied = int.from_bytes(state[:8], "little")
        self._uncertain_until = int.from_bytes(state[9:17], "little")
        self._chain = state[17:33] if state else bytes(16)
        self._producers.restore(state[33:])
        self._applied_here = 0
        if state:
            self._check()

    @property
    def state(self) -> bytes:
        """What every replica has after the same entry, but where the table may be another one."""
        return self._chain + self._producers.snapshot()


class LargeMachine(KeyedState):
    """A keyed state, set and removed by all that is applied; one of its keys is the hash chain.

    Its pages come in the same order in every process, so that a run does not depend on the hash seed.
    """

    def __init__(self, node: str, history: AppliedHistory, told: Callable[[str], None]) -> None:
        super().__init__(block_bytes=250, hash_=zlib.crc32)
        self._node = node
        self._history = history
        self._told = told

    def apply(self, frame: Frame) -> None:
        """What a file of the state covers is never given again, nor is anything given twice."""
        require(
            frame.index > self.applied,
            "applied exactly once, in order",
            lambda: f"{self._node} was given entry {frame.index} after {self.applied}",
        )
        head = f"{frame.index} {frame.term} {int(frame.kind)} {frame.first_offset}".encode()
        chain = hashlib.blake2b((self.get(b"chain") or b"") + head + frame.payload).digest()
        pairs = [(b"chain", chain), (b"%d" % (chain[0] % 80), frame.payload)]
        pairs += [(b"%d" % (chain[1] % 80), None)] if chain[2] < 100 else []
        super().apply(replace(frame, kind=FrameKind.COMMAND, payload=command(pairs)))
        self._history.check(self._node, frame.index, self.state)

    def adopt(self, loader: KeyedLoader, index: int) -> Callable[[], None]:
        """A state of a file: that of this disk, or one that came from a leader."""
        forget = super().adopt(loader, index)
        self._history.check(self._node, index, self.state)
        self._told(f"takes in the state after {index}")
        return forget

    @property
    def state(self) -> bytes:
        """All that is in it."""
        return hashlib.blake2b(msgpack.packb(sorted(self.items())), digest_size=16).digest()
