"""Bringing in a follower that is too far behind, where the state is large: the follower's side.

Chunks are written one behind the other to a file that outlives the process, and told to the leader once they
are synced. When all is there it is read back and becomes a state beside the machine's own; then the group
stands still while the log is started over behind the file, and the machine gets the new state. A crash before
that leaves the old state and a file that grows on, one after it the new state.

What a file holds was committed before it was written. So it does not matter who leads by the time when it is
whole: it fits wherever the log lacks its frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consensus.core.checkpoint_format import Reference, State
from consensus.core.install import is_needed
from consensus.core.large_state import LargeMachine, Loader
from consensus.messages import SnapshotChunk, SnapshotOffer, SnapshotPosition
from consensus.types import Membership
from storage.state_file import file_name

if TYPE_CHECKING:
    from consensus.core.acknowledge import Acknowledger
    from consensus.core.core import Core
    from consensus.core.disk_loss_recovery import DiskLossRecovery
    from consensus.core.large_checkpoints import LargeCheckpoints
    from consensus.core.state_files import StateFiles
    from consensus.core.state_incoming import Incoming

QUEUE_BYTES_MAX: Final = 4 << 20
"""Chunks in memory; more than leaders send ahead."""


class StateReceiver:
    """One replica's. At most one thread works on the file at a time."""

    def __init__(
        self,
        core: Core,
        machine: LargeMachine,
        files: StateFiles,
        checkpoints: LargeCheckpoints,
        disk_loss_recovery: DiskLossRecovery,
        acks: Acknowledger,
    ) -> None:
        self._core = core
        self._machine = machine
        self._files = files
        self._checkpoints = checkpoints
        self._disk_loss_recovery = disk_loss_recovery
        self._acks = acks
        self._leader = ""
        self._offer: SnapshotOffer | None = None
        self._file: Incoming | None = None
        self._position = 0
        """How far the file is durable."""
        self._queue: list[bytes] = []
        self._queued = 0
        """Where the next chunk begins."""
        self._busy = False

    def on_offer(self, source: str, offer: SnapshotOffer) -> None:
        """A leader would send a file: begin, or tell it where to go on."""
        core = self._core
        if not self._is_of_leader(source, offer.term) or core.installing or not is_needed(core, offer):
            return
        if not offer.voters or set(offer.voters) & set(offer.learners):
            return
        self._leader = source
        if self._offer is not None and self._offer.id == offer.id:
            self._offer = offer
            if self._file is not None:
                self._tell(again=True)
            return
        if self._busy:
            return  # It is offered again.
        self._offer = offer
        self._drop_chunks()
        self._file, self._position = None, 0
        file = self._files.incoming(_reference(offer))
        self._work(file.open, lambda position: self._opened(file, position))

    def on_chunk(self, source: str, chunk: SnapshotChunk) -> None:
        """The next part of the file, unless another one was lost before it."""
        offer, raw = self._offer, chunk.state
        if offer is None or self._file is None or not self._is_of_leader(source, chunk.term) or not raw:
            return
        if chunk.id != offer.id or chunk.position != self._queued:
            return
        if self._queued + len(raw) - self._position > QUEUE_BYTES_MAX:
            return
        self._queue.append(raw)
        self._queued += len(raw)
        self._go_on()

    def look(self) -> None:
        """After every step: a file that is not needed any more is removed."""
        index = self._files.incoming_index
        if index is None or self._busy or self._core.installing or index > self._core.applied_index:
            return
        self._give_up()

    def _opened(self, file: Incoming, position: int) -> None:
        self._file = file
        self._position = self._queued = position
        self._tell(again=True)
        self._go_on()

    def _go_on(self) -> None:
        """Write what has come; at the end of the file, use it."""
        offer, file = self._offer, self._file
        if self._busy or offer is None or file is None:
            return
        if self._queue:
            chunks, self._queue = self._queue, []
            self._work(lambda: file.append(chunks), self._wrote)
        elif self._position == offer.length:
            loader = self._machine.loader()
            self._work(
                lambda: file.load(loader.feed), lambda is_whole: self._loaded(loader, is_whole=is_whole)
            )

    def _wrote(self, position: int | None) -> None:
        if position is None:
            # It was no chunk of this file: the leader offers it again when nothing comes.
            self._drop_chunks()
            return
        self._position = position
        self._tell(again=False)
        self._go_on()

    def _loaded(self, loader: Loader, *, is_whole: bool) -> None:
        core, offer = self._core, self._offer
        assert offer is not None
        if not is_whole or not is_needed(core, offer):
            core.work(loader.forget, lambda _: None)
            self._give_up()
            return
        index, offset = offer.index, offer.offset
        membership = Membership(frozenset(offer.voters), frozenset(offer.learners))
        reference = _reference(offer)
        stage = self._disk_loss_recovery.stage
        state = State(index, index, offset, [(index, membership)], stage, b"", reference)
        self._core.installing = True
        self._checkpoints.replacing()

        def work() -> None:
            self._files.take(reference)
            core.log.reset(index=index, term=offer.entry_term, offset=offset, state=state.encode())

        core.work(work, lambda _: self._installed(loader, state), exclusive=True)

    def _installed(self, loader: object, state: State) -> None:
        core, old = self._core, self._checkpoints.stored.reference
        self._core.installing = False
        self._offer = self._file = self._files.incoming_index = None
        self._drop_chunks()
        forget = self._machine.adopt(loader, state.applied)
        if callable(forget):
            core.work(forget, lambda _: None)
        self._checkpoints.replaced(state)
        if old is not None:
            core.work(lambda: self._files.remove(old.name), lambda _: None)
        index, membership = state.memberships[0]
        core.applied_index, core.applied_offset = index, state.offset
        core.members.reset(index, membership)
        core.engine.rebase(index)
        self._acks.installed(index)

    def _give_up(self) -> None:
        self._offer = self._file = self._files.incoming_index = None
        self._drop_chunks()
        self._work(self._files.remove_incoming, lambda _: None)

    def _drop_chunks(self) -> None:
        self._queue.clear()
        self._queued = self._position

    def _tell(self, *, again: bool) -> None:
        core, offer = self._core, self._offer
        assert offer is not None
        core.emit(self._leader, SnapshotPosition(core.engine.term, offer.id, self._position, again=again))

    def _work(self, work: Any, done: Any) -> None:
        self._busy = True

        def ended(result: Any) -> None:
            self._busy = False
            done(result)

        self._core.work(work, ended)

    def _is_of_leader(self, source: str, term: int) -> bool:
        engine = self._core.engine
        return term == engine.term and source == engine.leader and not engine.is_leader


def _reference(offer: SnapshotOffer) -> Reference:
    return Reference(file_name(offer.index), offer.id, offer.index, offer.length, offer.crc)
