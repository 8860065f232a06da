"""One simulated node: the real log, vote file and group on a disk that outlives its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.core.catch_up import BURST_MESSAGES, CatchUp
from consensus.types import Membership
from storage.errors import LogCorrupt, LogFailed, StorageError
from storage.verify import verify_replica
from tests.simulation.clock import NodeClock
from tests.simulation.disk import FOLDER, Disk
from tests.simulation.holdings import Holdings
from tests.simulation.host import Host
from tests.simulation.machine import ChainMachine, LargeMachine
from tests.simulation.opening import Opened, open_replica
from tests.simulation.shard import ShardMachine
from tests.simulation.violation import require
from tests.simulation.watch import View

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

CATCH_UP_MESSAGE_BYTES = 1_000
REOPEN_S = 0.5
"""A replica whose disk failed is opened anew after this long, as by a supervisor."""


class Replica(Host):
    """A node, up or down: how its processes begin and end, and what the checkers know of its disk."""

    def __init__(self, name: str, cluster: Cluster, disk: Disk, clock: NodeClock) -> None:
        super().__init__(name, cluster, disk, clock)
        self.damaged = False
        """Durable data was lost here, and is not known to be back."""
        self.wiped = False
        """The disk is a new one, and the group has not made this replica a voter again."""
        self.expelled = False
        """... but it has stopped counting on it."""
        self.known = False
        """The node has made this replica before."""
        self.absent = False
        """Its node has no replica: it has not come yet, or has left."""
        self.gone = False
        """It is down, and comes back only when everything is healed."""
        self.outside = False
        """A recovery has left its node out: what it does is no part of the cluster any more."""
        self.down_since = 0.0
        self.why_down = "not started"
        self.older = False
        """Its build does not know what newer ones write; from its next start on."""
        self.last_view: View | None = None
        self.last_membership: Membership | None = None
        self.checked = 0
        """Entries up to here were compared with the ledger in this life."""
        self.leads_since = 0.0
        self.catch_up = CatchUp()
        """Of this process, which began then."""
        self.started_at = 0.0
        self._holdings = Holdings()
        self.machine: ChainMachine | LargeMachine | ShardMachine | None = None
        """Of the last process."""
        self.found: LogCorrupt | None = None
        """Why the process before closed the log."""

    @property
    def halted(self) -> bool:
        """Whether the machine has met what its build does not know."""
        return bool(getattr(self.machine, "halted", None))

    # The life of a process.

    def start(self) -> None:
        """Open what is on the disk and take part; a disk that fails now is tried again later."""
        if self.running or self.absent or self.gone:
            return
        self._life += 1
        cluster = self._cluster
        if cluster.recoveries is not None:
            cluster.recoveries.starts(self)
        self.catch_up = CatchUp(cluster.catch_up_bytes_per_s, message_bytes=CATCH_UP_MESSAGE_BYTES)
        self.started_at = cluster.scheduler.now
        try:
            opened = open_replica(self, cluster, f"{self.name} life {self._life}")
        except StorageError as error:
            self._down(f"cannot open: {type(error).__name__}: {error}")
            return
        self._take(opened)
        self.note(f"starts at {opened.log.base_index} to {opened.log.last_index} term {opened.vote.term}")
        cluster.watch.started(self.name)
        if cluster.network.alive[self.name]:
            for peer in cluster.network.connected_to(self.name):
                opened.group.links.peer_up(peer, cluster.version_between(self.name, peer))
        else:
            cluster.network.set_alive(self.name, True)
        cluster.inspect(self)
        if opened.damage is not None:
            self.mending.damaged(opened.damage)
        self.wake()

    def _take(self, opened: Opened) -> None:
        log = opened.log
        self._begin(log, opened.vote, opened.group)
        self.machine = opened.machine
        self.checked = 0
        self.last_view = self.last_membership = None
        if self.damaged or self.outside:  # Nobody looks at what those outside cut off again.
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
        self._gone()
        self.why_down = "crashed"
        self.down_since = self._cluster.scheduler.now
        self.disk.crash(power_loss=power_loss)

    def _failed(self, error: Exception) -> None:
        """The disk failed under the group: it must have stopped, and is opened anew later by its process."""
        self.close(error)
        self._down(f"fails: {type(error).__name__}: {error}")

    def close(self, error: Exception) -> None:
        """The replica ends while its node lives: the others hear of it from itself alone."""
        assert self.group is not None
        self.found = error if isinstance(error, LogCorrupt) else None
        self.group.stop()
        for target, message in self.group.links.last_words():
            self._cluster.send(self.name, target, message)
        self._cluster.inspect(self)
        if str(error).startswith("truncating"):
            # What contradicts the leader's log was about to go; how much of it has gone nobody can say.
            self._holdings.forget_above(min(self._holdings.up_to, self.group.commit_index))
        self._closed()
        self.disk.crash(power_loss=False)

    def _down(self, why: str) -> None:
        self.note(why)
        self.why_down = why
        self._cluster.scheduler.after(REOPEN_S, self.start)

    def come(self, *, lost: bool) -> None:
        """The node is to have a replica, and makes one: without a vote, for it may have had one before."""
        self.note("is to have a replica")
        self.absent = False
        self.wiped = lost
        self.start()

    def leave(self) -> None:
        """The node is to have no replica any more: it ends, and all its files go."""
        self.note("has no replica any more")
        if self.running:
            self.close(LogFailed("has left"))
        self.why_down = "has left"
        self.disk.wipe()
        self.disk.heal()
        self.absent = self.expelled = True
        self.damaged = self.wiped = self.known = self.gone = False
        self._holdings = Holdings()
        self._cluster.watch.wiped(self.name)

    def wipe(self) -> None:
        """The disk is replaced by an empty one, while no process runs."""
        assert not self.running
        self.note("gets an empty disk")
        self.disk.wipe()
        self.damaged = self.wiped = True
        self.known = self.expelled = False
        self._holdings.are_lost()
        self._cluster.watch.wiped(self.name)

    def left_out(self) -> None:
        """A recovery goes on without this one."""
        self.outside = True
        self._cluster.history.outside.add(self.name)
        self.damaged = self.wiped = self.gone = False

    def goes_on(self, *, chosen: bool) -> None:
        """A recovery has written to the disk: the group goes on from here, or is fetched from there."""
        self.gone = False
        self.damaged = self.wiped = not chosen
        self.expelled = False
        if not chosen:
            self._holdings = Holdings()

    def lose_vote(self) -> None:
        """The vote cannot be read any more; entries and all else are still there."""
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

    # What the checkers ask.

    def _inspect(self) -> None:
        self._cluster.inspect(self)

    def look_at_rate(self) -> None:
        """What went to replicas that are behind is within the limit, over the whole life of this process."""
        limit = self.catch_up
        if limit.bytes_per_s:
            seconds = self._cluster.scheduler.now - self.started_at
            # Each entry is whole, and may be the last of a message.
            more = (BURST_MESSAGES + 1) * CATCH_UP_MESSAGE_BYTES + self._cluster.profile.append_bytes_max
            require(
                limit.sent_bytes <= limit.bytes_per_s * seconds + more,
                "replicas that are behind get no more than the limit",
                lambda: (
                    f"{self.name} sent {limit.sent_bytes} bytes in {seconds:.3f} s of {limit.bytes_per_s}"
                ),
            )

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
        """Note what became durable; what went bad and nobody has read yet is for the replica to find."""
        if self.log is not None and self.log.failed is None:
            try:
                self._holdings.look(self.log, votes=self._votes)
            except LogCorrupt:
                require(self.damaged, "no corruption by itself", self.name)

    @property
    def _votes(self) -> bool:
        return self.group is not None and self.group.may_vote
