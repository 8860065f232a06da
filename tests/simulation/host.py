"""A process of a simulated node: steps its group, sends what it says, and can be paused. All on virtual time.

The host's part is small: hand messages over, step when something is due, send the outbox, and run write, sync
and ``flushed`` one after the other with time between them, so that everything else can happen in between.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus.core.group import Group
from consensus.messages import Message
from storage.errors import StorageError
from storage.log import Log
from storage.vote import VoteFile
from tests.simulation.clock import NodeClock
from tests.simulation.disk import Disk
from tests.simulation.flusher import Flusher
from tests.simulation.jobs import Jobs
from tests.simulation.mending import Mending
from tests.simulation.scheduler import Event

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

STEP_S = 0.0002
"""From something to do until it is done; what comes meanwhile is done together."""


class Host(abc.ABC):
    """One process after the other, each a life of its own: what one began ends with it."""

    def __init__(self, name: str, cluster: Cluster, disk: Disk, clock: NodeClock) -> None:
        self.name = name
        self.disk = disk
        self.clock = clock
        self.group: Group | None = None
        self.log: Log | None = None
        self.vote: VoteFile | None = None
        self.paused = False
        self.awake_since = 0.0
        self._paused_at = 0.0
        self._cluster = cluster
        self._life = 0
        self.flusher = Flusher(self, cluster)
        self.jobs = Jobs(self)
        self.mending = Mending(self, cluster)
        self._step: Event | None = None
        self._missed: list[Callable[[], bool | None]] = []

    @property
    def running(self) -> bool:
        """Whether a process is there, paused or not."""
        return self.group is not None

    @abc.abstractmethod
    def _failed(self, error: Exception) -> None:
        """The disk failed under the group."""

    @abc.abstractmethod
    def _inspect(self) -> None:
        """Have what the group has just done checked."""

    def note(self, what: str) -> None:
        """Put an event of this node into the trace."""
        self._cluster.note(self.name, what)

    def _begin(self, log: Log, vote: VoteFile, group: Group) -> None:
        self.log, self.vote, self.group = log, vote, group
        self.awake_since = self._cluster.scheduler.now
        self.flusher = Flusher(self, self._cluster)
        self.jobs = Jobs(self)
        self.mending = Mending(self, self._cluster)

    def _closed(self) -> None:
        """The replica runs no more; its node goes on, and so do the connections."""
        self.group = self.log = self.vote = None
        self.paused = False
        self._missed.clear()
        self._cluster.network.mute.discard(self.name)

    def _gone(self) -> None:
        """The process is gone, and with it all connections."""
        self._closed()
        self._cluster.network.set_alive(self.name, False)

    def pause(self) -> None:
        """The process stops where it is, as by SIGSTOP; its connections stay."""
        self.note("is paused")
        self.paused = True
        self._paused_at = self._cluster.scheduler.now
        self._cluster.network.mute.add(self.name)

    def resume(self) -> None:
        """It goes on, with a clock that has gone on meanwhile; what came in the meantime is still there."""
        if not self.paused:
            return
        self.note("goes on")
        self.paused = False
        self._cluster.network.mute.discard(self.name)
        now = self._cluster.scheduler.now
        if self.group is not None:
            self.group.held_up(now - self._paused_at)
        self.awake_since = now
        missed, self._missed = self._missed, []
        for action in missed:
            self._act(action)
        self.wake()

    def deliver(self, source: str, message: Message) -> None:
        """A message has come."""
        self._act(lambda: self.group.receive(source, message) if self.group else None)

    def link(self, target: str, up: bool) -> None:
        """The link to a peer came up or went down."""
        if up:
            version = self._cluster.version_between(self.name, target)
            self._act(lambda: self.group.links.peer_up(target, version) if self.group else None)
        else:
            self._act(lambda: self.group.links.peer_down(target) if self.group else None)

    def silent(self, peer: str) -> None:
        """Nothing comes of a peer any more."""
        self._act(lambda: self.group.links.peer_silent(peer) if self.group else None)

    def peer_gone(self, peer: str) -> None:
        """A peer's process has ended, or counts as that."""
        self._act(lambda: self.group.links.peer_gone(peer) if self.group else None)

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
        self._inspect()
        # Between links there is no order; within one there is, and a stable sort keeps it.
        ready = group.ready()
        for target, message in sorted(ready.messages, key=lambda item: item[0]):
            self._cluster.inspect_message(self, target, message)
            self._cluster.send(self.name, target, message)
        if group.failed is not None:
            self._failed(group.failed)
            return
        if ready.damage is not None:
            self.mending.damaged(ready.damage)
        self.jobs.start(ready.jobs)
        if ready.save_vote or ready.flush:
            self.flusher.start()
        due = self.clock.virtual(ready.deadline)
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
