"""All groups of one process: steps them, carries their messages, runs their fsyncs, and answers who waits.

The groups do no I/O and know no asyncio; both live here and in the modules beside it: ``scheduler`` (when is
which group stepped), ``disk_work`` (threads), ``links`` (peers), ``upkeep`` (checkpoints). In one turn of the
event loop every group that has input is stepped once; what they say to one node leaves as one packet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import structlog
from floodmark.errors import (
    LeaderNotAvailable,
    NotEnoughReplicas,
    NotLeaderOrFollower,
    ReplicaNotAvailable,
)
from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import IMPLIED, PayloadForm

from consensus.core.group import Group
from consensus.host import waiting
from consensus.host.absences import Absences
from consensus.host.cluster_clock import ClusterClock
from consensus.host.disk_work import DiskWork
from consensus.host.graceful_shutdown import graceful_shutdown
from consensus.host.host_disk import HostDisk
from consensus.host.host_types import HostHooks, HostOptions, Slot, slot_of
from consensus.host.mender import Mender
from consensus.host.routing import link_hooks
from consensus.host.scheduler import Scheduler
from consensus.host.stall import StallWatch
from consensus.host.turn import Turn
from consensus.host.upkeep import Upkeep
from consensus.links.handshake import Identity
from consensus.links.link_tls import LinkTls
from consensus.links.peer_links import PeerLinks
from consensus.messages import Message
from consensus.types import GroupStopped, Membership, NotLeader, Proposal, ReadIndex, Stored

_log = structlog.get_logger("consensus.host.group_host")


class GroupHost:
    """Lives on one event loop; every method is called there.

    ``clock`` is the clock of the groups; ``wall_ms`` is this node's time of day, from which ``wall`` makes
    the one that entries get.
    """

    def __init__(
        self,
        identity: Identity,
        listen: tuple[str, int],
        *,
        hooks: HostHooks | None = None,
        options: HostOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        tls: LinkTls | None = None,
    ) -> None:
        self.node_id = identity.node_id
        self.address = listen
        """Where peers reach this node; with port 0 known after ``start``."""
        self._hooks = hooks or HostHooks()
        self._options = options or HostOptions()
        self._clock = clock
        self._slots: dict[int, Slot] = {}
        self._absences = Absences(self._say)
        self.links = PeerLinks(
            identity,
            link_hooks(self._slots, self._wake, self._hooks, self._absences),
            self._options.links,
            tls=tls,
            wall_ms=wall_ms,
        )
        """For metrics; ``dial`` and ``forget`` are called here by the node."""

        self.wall = ClusterClock(wall_ms, self.links.peers.values)
        """The time of day."""

    async def start(self) -> None:
        """Listen to peers. Groups may be added from now on."""
        options = self._options
        self._disk_work = DiskWork(options.io_threads, self._wake, self._hooks.on_flush)
        self._upkeep = Upkeep(self._disk_work, options)
        self._stall = StallWatch(self._disk_work, self._slots, self._wake, options.stall_s)
        self._mender = Mender(self._disk_work, self._wake, self._hooks)
        self._scheduler = Scheduler(self._run, self._clock, options.timer_grain_s, self._was_held_up)
        self.disk = HostDisk(self._slots, self._disk_work, self._stall, self._mender, self._wake)
        """What is asked about the disk below the groups."""
        self._turn = Turn(
            self.links, self._disk_work, self._upkeep, self._mender, self._hooks, self._scheduler.at
        )
        self.address = await self.links.start(*self.address)

    async def stop(self) -> None:
        """Hand leaderships over, flush, checkpoint, close; a few seconds at the most."""
        self._upkeep.stop()
        self._stall.stop()
        self._mender.stop()
        self.leave()
        slots = list(self._slots.values())
        await graceful_shutdown(slots, self._disk_work, self._wake, self._options.transfer_timeout_s)
        await self.links.stop()
        self._scheduler.stop()
        for raft_group in list(self._slots):
            await self.remove(raft_group)
        self._disk_work.stop()

    def add(self, group: Group) -> None:
        """Let a group take part from now on."""
        assert group.raft_group not in self._slots, "a group is added once"
        slot = Slot(group, deadline=math.inf, timer_at=math.inf)
        slot.applied = group.applied_index
        slot.position_at_checkpoint = group.log.end_position
        self._slots[group.raft_group] = slot
        self._absences.is_back(group.raft_group)
        for name, peer in self.links.peers.items():
            if self.links.connected(name):
                group.links.peer_up(name, peer.version)
        self._wake(slot)

    async def remove(self, raft_group: int) -> None:
        """Stop a group and close its log; who waits for it is told that it is gone, and so are its peers."""
        slot = self._slots.pop(raft_group)
        slot.removed = True
        slot.group.stop()
        self._absences.ended(
            raft_group, slot.group.links.last_words(), remember=slot.group.failed is not None
        )
        slot.watermark_waiters.changed()
        slot.leader_waiters.changed()
        await self._disk_work.jobs.all_done(slot)
        await self._disk_work.idle(slot)
        await self._disk_work.run(slot.group.log.close)

    @property
    def terms_refused(self) -> int:
        """Messages that the groups here did not take in because they would have moved a term too far."""
        return sum(slot.group.terms_refused for slot in self._slots.values())

    def group(self, raft_group: int) -> Group:
        """Raises ``KeyError`` where this node has no replica of it."""
        return self._slots[raft_group].group

    def runs(self, group: Group) -> bool:
        """Whether this very replica is here, and was not removed or opened again meanwhile."""
        slot = self._slots.get(group.raft_group)
        return slot is not None and slot.group is group

    def propose_nowait(
        self,
        raft_group: int,
        kind: FrameKind,
        payload: bytes,
        *,
        record_count: int = 0,
        append_time: int | None = None,
        form: PayloadForm = IMPLIED,
    ) -> Proposal:
        """Have an entry appended. Raises ``NotLeader`` or ``GroupStopped``."""
        slot = self._slots.get(raft_group)
        if slot is None:
            raise GroupStopped("this node has no replica of it any more")
        at = append_time if append_time is not None else self.wall.now_ms()
        proposal = slot.group.propose(kind, payload, append_time=at, record_count=record_count, form=form)
        self._wake(slot)
        return proposal

    async def propose(
        self,
        raft_group: int,
        kind: FrameKind,
        payload: bytes,
        *,
        record_count: int = 0,
        append_time: int | None = None,
        deadline_s: float,
    ) -> Stored:
        """Have an entry stored. Raises ``Unavailable`` (not stored) or ``OutcomeUnknown``."""
        try:
            proposal = self.propose_nowait(
                raft_group, kind, payload, record_count=record_count, append_time=append_time
            )
        except NotLeader as error:
            raise NotLeaderOrFollower(str(error), leader=error.leader) from error
        except GroupStopped as error:
            raise ReplicaNotAvailable(str(error)) from error
        return await waiting.stored(proposal, deadline_s=deadline_s)

    async def read_index(self, raft_group: int, *, deadline_s: float) -> int:
        """Wait until all that was acknowledged before the call is applied here. Raises ``Unavailable``."""
        slot = slot_of(self._slots, raft_group)
        try:
            read_index: ReadIndex = slot.group.read_index()
        except GroupStopped as error:
            raise ReplicaNotAvailable(str(error)) from error
        self._wake(slot)
        return await waiting.confirmed(read_index, deadline_s=deadline_s)

    async def confirm_lead(
        self, raft_group: int, *, after: Proposal | None = None, deadline_s: float
    ) -> None:
        """Wait until a majority has confirmed that this replica leads; until all that was acknowledged before
        the call is applied here; and until it is known what became of ``after``, a proposal of this replica.

        Raises ``NotLeader`` as soon as it does not lead, ``GroupStopped``, ``Unavailable`` out of time.
        """
        slot = self._slots.get(raft_group)
        if slot is None:
            raise GroupStopped("this node has no replica of it any more")
        group = slot.group
        read_index = group.read_index()
        self._wake(slot)

        def leads() -> bool:
            return group.is_ready_leader and not slot.removed

        if await waiting.confirmed_lead(read_index, after, slot.leader_waiters, leads, deadline_s=deadline_s):
            return
        if leads():
            raise NotEnoughReplicas("no majority has confirmed in time that this node leads")
        raise NotLeader(group.leader if group.leader != self.node_id else None)

    async def wait_high_watermark(self, raft_group: int, above: int, *, timeout_s: float) -> int:
        """The high watermark once it is above; or as it is when the time is up."""
        slot = slot_of(self._slots, raft_group)
        group = slot.group

        def rose() -> int | None:
            return group.high_watermark if group.high_watermark > above or slot.removed else None

        value = await waiting.condition(slot.watermark_waiters, rose, timeout_s=timeout_s)
        if slot.removed:
            raise ReplicaNotAvailable("the replica has left this node")
        return value if value is not None else group.high_watermark

    async def wait_leader(self, raft_group: int, *, deadline_s: float) -> str:
        """Who leads; this node only once it can serve. Raises ``Unavailable``."""
        slot = slot_of(self._slots, raft_group)
        group = slot.group

        def known() -> str | None:
            if slot.removed:
                return ""
            return group.leader if group.leader != self.node_id or group.is_ready_leader else None

        leader = await waiting.condition(slot.leader_waiters, known, timeout_s=deadline_s)
        if not leader:
            raise LeaderNotAvailable("no leader is elected")
        return leader

    def change_members(self, raft_group: int, membership: Membership) -> Proposal:
        """Propose new members. Raises ``ChangeRefused``, ``NotLeader``, ``GroupStopped``."""
        slot = self._slots[raft_group]
        proposal = slot.group.propose_membership(membership)
        self._wake(slot)
        return proposal

    def campaign(self, raft_group: int) -> None:
        """Have a group without a leader ask for votes now."""
        slot = self._slots.get(raft_group)
        if slot is not None:
            slot.group.campaign()
            self._wake(slot)

    def doubt_leader(self, raft_group: int, leader: str) -> None:
        """A node that the group takes for its leader said that it is not: a group that sleeps on it looks."""
        slot = self._slots.get(raft_group)
        if slot is not None:
            slot.group.links.peer_silent(leader)
            self._wake(slot)

    def leave(self) -> None:
        """Let the groups here take no leadership any more: this node is about to stop, or cannot serve."""
        for slot in self._slots.values():
            slot.group.leave()

    def transfer(self, raft_group: int, to: str | None = None) -> bool:
        """Begin to hand a leadership over; False when that is not possible now."""
        slot = self._slots[raft_group]
        begun = slot.group.transfer(to)
        self._wake(slot)
        return begun

    def _wake(self, slot: Slot) -> None:
        self._scheduler.wake(slot)

    def _say(self, node: str, messages: Sequence[tuple[int, Message]]) -> None:
        self.links.send(node, messages)

    def _run(self, slots: list[Slot]) -> None:
        self._turn.run(slots)

    def _was_held_up(self, seconds: float) -> None:
        _log.warning("held_up", seconds=round(seconds, 3))
        for slot in self._slots.values():
            slot.group.held_up(seconds)
