"""A leader's side of replication: what each follower has, what is in flight to it, and what it gets next.

Entries go out in the step that appends them, ahead of the leader's own fsync, several messages deep, up to a
bound on bytes that are not acknowledged. A follower whose position is not known gets one message at a time,
a learner that is behind as many as the node's limit allows (catch_up.py).
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Final

from floodmark.format.frame import Frame

from consensus.core.catch_up import Turns
from consensus.core.member_steps import CAUGHT_UP_ENTRIES
from consensus.core.safeguards import Safeguard
from consensus.messages import AppendEntries, AppendEntriesResponse
from consensus.wire import APPEND_FRAMES_MAX
from storage.errors import LogCorrupt

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.install import Installer
    from consensus.core.state_sending import StateSender

APPENDS_PER_STEP_MAX: Final = 4
"""Messages with entries to one follower in one step; acknowledgements bring the next ones."""
APPEND_BYTES_AIM: Final = 1 << 20
"""Entries in one append, where one entry alone is not larger: others share the link, and the disk's time."""


class Position(enum.Enum):
    """What a leader knows about where a follower's log is, and so what it may send."""

    PROBE = "probe"
    """Unknown: one message with entries at a time, until its answer says where to go on."""
    REPLICATE = "replicate"
    """The follower acknowledged in this position: entries go out ahead of its answers, up to a bound."""
    SNAPSHOT = "snapshot"
    """It ends before this log begins: it gets the machine's state, and heartbeats, until a response moves
    ``next`` into this log."""


class Progress:
    """One follower or learner, as its leader sees it.

    What always holds, and the simulator checks after every step:

    - ``match < next <= last_index + 1``;
    - ``inflight`` rises, lies above ``match``, and ends at ``next - 1``; ``inflight_bytes`` is its sum;
    - in PROBE there is at most one message in flight;
    - in SNAPSHOT there is none.

    ``link_up`` and a response with ``reset`` lead to PROBE; a success from PROBE to REPLICATE; ``next`` below
    the log's base to SNAPSHOT. Members that join, and all at a new leadership, begin in PROBE.
    """

    __slots__ = (
        "acked_round",
        "attempt",
        "heard_at",
        "inflight",
        "inflight_bytes",
        "match",
        "next",
        "position",
        "trusted",
    )

    def __init__(self, next_index: int, now: float) -> None:
        self.position = Position.PROBE
        self.match = 0
        """Everything up to here is durable there and the same as here; 0 while nothing is known."""
        self.next = next_index
        """The first entry that the next message has."""
        self.inflight: deque[tuple[int, int]] = deque()
        """Messages that are not acknowledged: (last index, bytes) of each."""
        self.inflight_bytes = 0
        self.attempt = 0
        """How often ``next`` was moved back: what answers an earlier attempt does not move it again."""
        self.acked_round = 0
        """The latest broadcast that it answered."""
        self.heard_at = now
        self.trusted: bool | None = None
        """What its last acknowledgement of this leadership said; None before there is one, and again over a
        new connection: perhaps another process answers, on an empty disk (H5).
        """

    def set_back(self, next_index: int) -> None:
        """Probe from another index; what is in flight no longer counts, and its late answers mean nothing."""
        self.next = next_index
        self.attempt += 1
        self.position = Position.PROBE
        self._clear_inflight()

    def install(self) -> None:
        """The leader has no entry to send any more: its log begins behind ``next``."""
        self.position = Position.SNAPSHOT
        self._clear_inflight()

    def sent(self, last_index: int, size: int) -> None:
        """Entries up to ``last_index`` are on their way."""
        self.next = last_index + 1
        self.inflight.append((last_index, size))
        self.inflight_bytes += size

    def matched(self, index: int) -> None:
        """Entries up to ``index`` are durable there."""
        self.match = max(self.match, index)
        self.next = max(self.next, self.match + 1)
        self.position = Position.REPLICATE
        while self.inflight and self.inflight[0][0] <= self.match:
            self.inflight_bytes -= self.inflight.popleft()[1]

    @property
    def may_send(self) -> bool:
        """Whether another message with entries may leave, as far as the position goes."""
        return self.position is Position.REPLICATE or not self.inflight

    def _clear_inflight(self) -> None:
        self.inflight.clear()
        self.inflight_bytes = 0


class Replication:
    """All peers of one leader. Idle on a replica that does not lead."""

    def __init__(self, core: Core, installer: Installer | StateSender, turns: Turns) -> None:
        self._core = core
        self._installer = installer
        self._turns = turns
        self._pushed = 0
        """What comes behind this entry is new: it leaves for all who have everything before."""
        self._term = -1
        self.peers: dict[str, Progress] = {}
        self.round = 0
        """Counts the broadcasts of this leadership; a follower echoes the latest that it got."""

    def broadcast(self) -> None:
        """To every member that a link stands to: what it lacks, or a heartbeat."""
        core = self._core
        if core.engine.term != self._term:
            self._begin()
        self.round += 1
        for name, peer in self.peers.items():
            if name in core.up and not self._send_entries(name, peer):
                self._send_append(name, peer, peer.next - 1, [])

    def push(self) -> None:
        """New entries, or room for more: send without waiting for the next heartbeat."""
        last = self._core.log.last_index
        self._turns.look()
        for name, peer in self.peers.items():
            if peer.next <= last and name in self._core.up:
                self._send_entries(name, peer)
        self._pushed = last

    @property
    def deadline(self) -> float:
        """When somebody may be sent to who had to wait. Of a leader only."""
        return self._turns.deadline

    def members_changed(self) -> None:
        """Begin with new members, forget those that left."""
        wanted = self._core.members.others
        for name in wanted - self.peers.keys():
            self.peers[name] = Progress(self._core.log.last_index + 1, self._core.now)
        for name in self.peers.keys() - wanted:
            del self.peers[name]

    def link_up(self, name: str) -> None:
        """A new connection: nothing that was sent before will arrive, and perhaps another process answers.

        Its log may have been damaged and repaired between: what the one before had acknowledged counts
        again when this one says so.
        """
        peer = self.peers.get(name)
        if peer is not None:
            peer.set_back(peer.match + 1 if peer.match else peer.next)
            peer.match = 0
            if peer.trusted:
                peer.trusted = None
            self._core.engine.lower_match(name, 0)
            self._installer.link_up(name)

    def match_of(self, name: str) -> int:
        """Up to where a member is known to have this leader's log."""
        peer = self.peers.get(name)
        return peer.match if peer is not None else 0

    def keeps_up(self, name: str) -> bool:
        """Whether a member has all of this leader's log, or the rest of it is on its way there."""
        peer = self.peers.get(name)
        return (
            peer is not None and peer.position is Position.REPLICATE and peer.next > self._core.log.last_index
        )

    def is_trusted(self, name: str) -> bool:
        """Whether a member has said that its acknowledgements count. It has not on a new leader."""
        peer = self.peers.get(name)
        return peer is None or peer.trusted is True

    def has_lost(self, name: str) -> bool:
        """Whether a member has said that its data, votes included, is gone."""
        peer = self.peers.get(name)
        return peer is not None and peer.trusted is False

    def expects(self, source: str, message: AppendEntriesResponse) -> bool:
        """Whether an acknowledgement is one of those that only say that all goes well."""
        peer = self.peers.get(source)
        return (
            peer is not None
            and message.success
            and message.trusted
            and not message.reset
            and message.term == self._core.engine.term == self._term
            and peer.trusted is True
            and peer.position is Position.REPLICATE
            and peer.next > self._core.log.last_index
        )

    @property
    def commit_may_rise(self) -> bool:
        """Whether enough voters besides this one have something that is not committed."""
        members, commit = self._core.members, self._core.engine.commit_index
        voters = members.other_voters
        ahead = sum(1 for name in voters if name in self.peers and self.peers[name].match > commit)
        return ahead + 1 >= members.current.quorum

    def on_ack(self, source: str, message: AppendEntriesResponse) -> None:
        """An acknowledgement of this term (the checks have seen to that)."""
        core = self._core
        peer = self.peers.get(source)
        if peer is None:
            return
        next_index = message.next_index
        peer.heard_at = core.now
        peer.acked_round = max(peer.acked_round, message.round)
        if message.trusted is not peer.trusted:
            peer.trusted = message.trusted
            core.member_news = True
        if message.success:
            behind = core.engine.commit_index - peer.match
            peer.matched(next_index - 1)
            if behind > CAUGHT_UP_ENTRIES >= core.engine.commit_index - peer.match:
                core.member_news = True
            if next_index >= core.log.base_index:
                self._installer.done(source)
        if message.reset and (message.attempt == peer.attempt or not core.has(Safeguard.C2)):
            peer.match = min(peer.match, next_index - 1)
            core.engine.lower_match(source, next_index - 1)
            peer.set_back(next_index)
        core.engine.on_append_response(source, next_index, success=message.success and message.trusted)

    def confirmed_by_majority(self, round_: int) -> bool:
        """Whether a majority has answered a broadcast of this round or later: no other led before it."""
        members = self._core.members
        voters = members.other_voters
        # A replica that has lost its data may have voted for somebody else, and has forgotten it.
        peers = (self.peers[name] for name in voters if name in self.peers)
        confirmed = sum(1 for peer in peers if peer.trusted and peer.acked_round >= round_)
        return confirmed + 1 >= members.current.quorum

    def _begin(self) -> None:
        core = self._core
        self._term = core.engine.term
        self.round = 0
        self.peers = {name: Progress(core.engine.noop_index, core.now) for name in core.members.others}
        self._pushed = core.engine.noop_index - 1
        self._turns.begin()
        self._installer.begin()

    def _send_entries(self, name: str, peer: Progress) -> bool:
        """Send what the peer lacks and may get now; returns whether anything went."""
        core = self._core
        log = core.log
        if peer.next < log.base_index:
            peer.install()
            return self._installer.send(name, self.round, peer.attempt)
        went = False
        for _ in range(APPENDS_PER_STEP_MAX):
            if peer.next > log.last_index or peer.inflight_bytes >= core.options.unacknowledged_bytes_max:
                break
            if not peer.may_send and core.has(Safeguard.C2):
                break
            waits = peer.next <= self._pushed and (
                peer.trusted is False or name in core.members.current.learners
            )
            if waits and not self._turns.have_come(name):
                break
            try:
                frames, size = self._collect(peer.next, takes_turns=waits)
            except LogCorrupt as error:
                core.damage = error  # It is to be mended; until then this peer gets heartbeats.
                break
            self._send_append(name, peer, peer.next - 1, frames)
            peer.sent(frames[-1].last_index, size)
            if self._turns.given:
                self._turns.sent(name, size)
            went = True
        return went

    def _collect(self, first: int, *, takes_turns: bool) -> tuple[list[Frame], int]:
        log = self._core.log
        if first == log.last_index:
            # Nearly always there is one new entry, and the walk over several costs three times as much.
            frame = log.frame(first)
            return [frame], frame.size
        aim = self._turns.message_bytes if takes_turns else APPEND_BYTES_AIM
        size_max = min(self._core.options.append_bytes_max, aim)
        frames: list[Frame] = []
        size = 0
        # The first may be a gap that begins before: it goes whole, and the follower takes what it lacks.
        for frame in log.frames(first, log.last_index):
            if frames and (size + frame.size > size_max or len(frames) == APPEND_FRAMES_MAX):
                break
            frames.append(frame)
            size += frame.size
        return frames, size

    def _send_append(self, name: str, peer: Progress, prev_index: int, frames: list[Frame]) -> None:
        core = self._core
        # A follower behind the log's base is being installed; this only tells it who leads.
        prev_index = max(prev_index, core.log.base_index - 1)
        append = AppendEntries(
            term=core.engine.term,
            prev_index=prev_index,
            prev_term=core.log.term_at(prev_index),
            commit=core.engine.commit_index,
            round=self.round,
            attempt=peer.attempt,
            frames=frames,
        )
        core.emit(name, append)
