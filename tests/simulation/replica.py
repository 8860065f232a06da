"""One simulated node: the real log, vote file and group, with the host's part played on virtual time.

The host's part is small: hand messages over, step when something is due, send the outbox, and run write, sync
and ``flushed`` one after the other with time between them, so that everything else can happen in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus.group import Group
from consensus.types import Membership, Message
from storage.errors import StorageError
from storage.log import Log
from storage.verify import verify_replica
from storage.vote import VoteFile
from tests.simulation.clock import NodeClock
from tests.simulation.disk import FOLDER, Disk
from tests.simulation.flusher import Flusher
from tests.simulation.holdings import Holdings
from tests.simulation.opening import Opened, open_replica
from tests.simulation.scheduler import Event
from tests.simulation.violation import require
from tests.simulation.watch import View

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

STEP_S = 0.0002
"""From something to do until it is done; what comes meanwhile is done together."""
REOPEN_S = 0.5
"""A replica whose disk failed is opened anew after this long, as by a supervisor."""


class Replica:
    """A node, up or down. Its disk outlives its processes."""

    def __init__(self, name: str, cluster: Cluster, disk: Disk, clock: NodeClock) -> None:
        self.name = name
        self.disk = disk
        self.clock = clock
        self.group: Group | None = None
        self.log: Log | None = None
        self.vote: VoteFile | None = None
        self.paused = False
        self.damaged = False
        """Durable data was lost here, and is not known to be back."""
        self.wiped = False
        """The disk is a new one, and the group has not made this replica a voter again."""
        self.expelled = False
        """... but it has stopped counting on it."""
        self.known = False
        """The node has made this replica before."""
        self.why_down = "not started"
        self.last_view: View | None = None
        self.last_membership: Membership | None = None
        self.checked = 0
        """Entries up to here were compared with the ledger in this life."""
        self.leads_since = self.awake_since = 0.0
        self._cluster = cluster
        self._life = 0
        self._flusher = Flusher(self, cluster)
        self._step: Event | None = None
        self._missed: list[Callable[[], bool | None]] = []
        self._holdings = Holdings()

    @property
    def running(self) -> bool:
        """Whether a process is there, paused or not."""
        return self.group is not None

    # The life of a process.

    def start(self) -> None:
        """Open what is on the disk and take part; a disk that fails now is tried again later."""
        if self.running:
            return
        self._life += 1
        cluster = self._cluster
        try:
            opened = open_replica(self, cluster, f"{self.name} life {self._life}")
        except StorageError as error:
            self._down(f"can not open: {type(error).__name__}: {error}")
            return
        self._take(opened)
        self.note(f"starts at {opened.log.base_index} to {opened.log.last_index} term {opened.vote.term}")
        cluster.watch.started(self.name)
        cluster.network.set_alive(self.name, True)
        cluster.inspect(self)
        self.wake()

    def _take(self, opened: Opened) -> None:
        self.log, self.vote, self.group = opened.log, opened.vote, opened.group
        self.checked = 0
        self.last_view = self.last_membership = None
        self.awake_since = self._cluster.scheduler.now
        self._flusher = Flusher(self, self._cluster)
        log = self.log
        if self.damaged:
            self._holdings.may_be_lost()
            return
        require(
            self._holdings.are_in(log),
            "what was durable is there after a crash",
            lambda: f"{self.name} had entry {self._holdings.up_to} durable and opens with {log.last_index}",
        )

    def crash(self, *, power_loss: bool) -> None:
        """The process is gone; with ``power_loss`` so is what it had not synced, or parts of it."""
        self.note("loses power" if power_loss else "is killed")
        self._gone("crashed")
        self.disk.crash(power_loss=power_loss)

    def _gone(self, why: str) -> None:
        self.group = self.log = self.vote = None
        self.paused = False
        self._missed.clear()
        self.why_down = why
        self._cluster.network.mute.discard(self.name)
        self._cluster.network.set_alive(self.name, False)

    def _failed(self, error: Exception) -> None:
        """The disk failed under the group: it must have stopped, and the process starts anew later."""
        assert self.group is not None
        self.group.stop()
        self._cluster.inspect(self)
        if str(error).startswith("truncating"):
            # What contradicts the leader's log was about to go; how much of it has gone nobody can say.
            self._holdings.forget_above(min(self._holdings.up_to, self.group.commit_index))
        self._gone(f"failed: {error}")
        self.disk.crash(power_loss=False)
        self._down(f"fails: {type(error).__name__}: {error}")

    def _down(self, why: str) -> None:
        self.note(why)
        self.why_down = why
        self._cluster.scheduler.after(REOPEN_S, self.start)

    def wipe(self) -> None:
        """The disk is replaced by an empty one, while no process runs."""
        assert not self.running
        self.note("gets an empty disk")
        self.disk.wipe()
        self.damaged = self.wiped = True
        self.known = self.expelled = False
        self._holdings.are_lost()
        self._cluster.watch.wiped(self.name)

    def lose_vote(self) -> None:
        """The vote can not be read any more; entries and all else are still there."""
        self.damaged = self.wiped = True
        self.expelled = False
        self._cluster.watch.wiped(self.name)

    def look_whether_whole(self) -> None:
        """Durable data was lost here; is all of it back, so that another replica may lose some?"""
        if not self.damaged or self.wiped or self.group is None or self.log is None:
            return
        if not self.group.may_vote:
            return
        has_all = self.log.durable_index >= self._cluster.ledger.highest
        if has_all and verify_replica(self.disk.fs, FOLDER).is_sound:
            self.note("is whole again")
            self.damaged = False

    def admitted(self) -> None:
        """The group counts on this replica again."""
        self.note("is admitted again")
        self.wiped = False
        self.look_whether_whole()

    def pause(self) -> None:
        """The process stops where it is, as by SIGSTOP; its connections stay."""
        self.note("is paused")
        self.paused = True
        self._cluster.network.mute.add(self.name)

    def resume(self) -> None:
        """It goes on, with a clock that has gone on meanwhile; what came in the meantime is still there."""
        if not self.paused:
            return
        self.note("goes on")
        self.paused = False
        self._cluster.network.mute.discard(self.name)
        self.awake_since = self._cluster.scheduler.now
        missed, self._missed = self._missed, []
        for action in missed:
            self._act(action)
        self.wake()

    # The host's part.

    def deliver(self, source: str, message: Message) -> None:
        """A message has come."""
        self._act(lambda: self.group.receive(source, message) if self.group else None)

    def link(self, target: str, up: bool) -> None:
        """The link to a peer came up or went down."""
        if up:
            self._act(lambda: self.group.peer_up(target) if self.group else None)
        else:
            self._act(lambda: self.group.peer_down(target) if self.group else None)

    def silent(self, peer: str) -> None:
        """Nothing comes of a peer any more."""
        self._act(lambda: self.group.peer_silent(peer) if self.group else None)

    def _act(self, action: Callable[[], bool | None]) -> None:
        """Have something done, and a step made after it, unless it says that none is due."""
        if self.paused:
            self._missed.append(action)
        elif self.group is not None and action() is not False:
            self.wake()

    def wake(self) -> None:
        """Step soon."""
        self._step_at(self._cluster.scheduler.now + STEP_S)

    def _step_at(self, time: float) -> None:
        if self._step is not None and self._step.action is not None:
            if self._step.time <= time:
                return
            self._step.cancel()
        self._step = self._cluster.scheduler.at(time, self._do_step)

    def _do_step(self) -> None:
        self._step = None
        if self.group is None or self.paused:
            return
        self.guarded(self.group.step)

    def guarded(self, action: Callable[[], object]) -> None:
        """Do something with the group or its log, then what the host does after each step."""
        try:
            action()
        except StorageError as error:
            self._failed(error)
            return
        self._after_step()

    def _after_step(self) -> None:
        group, log = self.group, self.log
        assert group is not None
        assert log is not None
        self._cluster.inspect(self)
        # Between links there is no order; within one there is, and a stable sort keeps it.
        for target, message in sorted(group.take_outbox(), key=lambda item: item[0]):
            self._cluster.inspect_message(self, target, message)
            self._cluster.send(self.name, target, message)
        if group.failed is not None:
            self._failed(group.failed)
            return
        if group.needs_vote_saved or group.needs_flush:
            self._flusher.start()
        due = self.clock.virtual(group.next_deadline)
        if due < float("inf"):
            self._step_at(max(due, self._cluster.scheduler.now + STEP_S))

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something in this life, or never; a paused process does it when it goes on."""
        life = self._life

        def now() -> None:
            if self._life == life and self.group is not None:
                if self.paused:
                    self._missed.append(action)
                else:
                    action()

        self._cluster.scheduler.after(delay, now)

    # What the checkers ask.

    def is_level(self, last: int) -> bool:
        """Whether this replica has, shows and may vote for everything up to ``last``."""
        group = self.group
        return (
            group is not None
            and not self.wiped
            and group.may_vote
            and group.commit_index == group.applied_index == last
        )

    def has_durably(self, index: int, term: int) -> bool:
        """Whether the entry is on this disk for good, or promised to be."""
        return self._holdings.has(index, term, votes=self._votes)

    def look_at_disk(self) -> None:
        """Note what became durable."""
        if self.log is not None and self.log.failed is None:
            self._holdings.look(self.log, votes=self._votes)

    @property
    def _votes(self) -> bool:
        return self.group is not None and self.group.may_vote

    def note(self, what: str) -> None:
        """Put an event of this replica into the trace."""
        self._cluster.note(self.name, what)
