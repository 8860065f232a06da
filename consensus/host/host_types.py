"""What the host of groups can be told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from floodmark.errors import ReplicaNotAvailable

from consensus.core.group import Group
from consensus.links.link_types import LinkOptions, Reception


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Times in seconds, sizes in bytes."""

    links: LinkOptions = field(default_factory=LinkOptions)
    io_threads: int = 4
    """Threads that write and fsync; one group uses one at a time."""
    timer_grain_s: float = 0.005
    """Deadlines this close together are served together."""
    checkpoint_bytes: int = 64 << 20
    """A group that wrote this much since its last checkpoint gets a new one."""
    checkpoint_idle_s: float = 1.0
    """... and so does one that has not written for this long after it wrote ..."""
    checkpoint_idle_entries: int = 16
    """... so many entries since its last checkpoint ..."""
    checkpoint_idle_bytes: int = 256 << 10
    """... or so many bytes."""
    checkpoints_per_round: int = 16
    """Checkpoints that are made in one round, a quarter of ``checkpoint_idle_s`` long."""
    stall_s: float = 2.0
    """An fsync that takes this long has this node's leaders give way."""
    transfer_timeout_s: float = 5.0
    """How long stopping waits for other nodes to take over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHooks:
    """Called on the event loop between steps; must be cheap and must not raise."""

    on_leadership: Callable[[int, str | None, int], None] = lambda _group, _leader, _term: None
    """Group, leader (None: not known) and term, whenever one of them changed."""
    on_commit: Callable[[int], None] = lambda _group: None
    """The group's applied index rose."""
    on_member_news: Callable[[int], None] = lambda _group: None
    """A group that is led here has found a member sound, lost or caught up: a change may be due."""
    on_group_failed: Callable[[int, Exception], None] = lambda _group, _error: None
    """The group's disk failed, or a defect showed: this replica is of no use until it is opened again."""
    on_damage: Callable[[int], None] = lambda _group: None
    """A frame of the group's log cannot be read; it is about to be mended."""
    on_mended: Callable[[int, int], None] = lambda _group, _frames: None
    """So many frames of the group's log were replaced by those of another replica."""
    on_flush: Callable[[int, float], None] = lambda _group, _seconds: None
    """A write and fsync took this long."""
    on_hello: Callable[[str, str], bool] = lambda _peer, _incarnation: True
    announce: Callable[[str], bytes] = lambda _peer: b""
    answer: Callable[[str], bytes] = lambda _peer: b""
    on_announcement: Callable[[str, bytes], Reception] = lambda _peer, _announcement: Reception.WELCOME
    boot: Callable[[], int] = lambda: 0
    on_boot: Callable[[str, str, int], None] = lambda _peer, _incarnation, _number: None
    tls_refused: Callable[[str, str], None] = lambda _peer, _reason: None
    on_peer_up: Callable[[str, int], None] = lambda _peer, _version: None
    """A node can be sent to, in this version of the peer protocol."""
    on_peer_down: Callable[[str], None] = lambda _peer: None


class Waiters:
    """Callbacks that look, after something changed, whether what they wait for is there."""

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks: dict[Callable[[], None], None] = {}

    def add(self, look: Callable[[], None]) -> None:
        """Have it called after every change."""
        self._looks[look] = None

    def discard(self, look: Callable[[], None]) -> None:
        """Not any more."""
        self._looks.pop(look, None)

    def changed(self) -> None:
        """Let all look."""
        for look in list(self._looks):
            look()

    def __len__(self) -> int:
        return len(self._looks)


@dataclass(slots=True, eq=False)
class Slot:
    """One group, and what its host keeps beside it."""

    group: Group
    deadline: float
    """When the group wants to be stepped though nothing happens."""
    timer_at: float
    """The earliest entry for it in the timer's heap; inf when there is none."""
    leader: str | None = None
    term: int = -1
    """What was last told of the leadership."""
    applied: int = 0
    io_running: bool = False
    """A thread works on the group's log."""
    jobs: int = 0
    """Those of the group that are in threads, or wait for one."""
    removed: bool = False
    failure_told: bool = False
    dirty_since: float = 0.0
    """When the last flush ended."""
    position_at_checkpoint: int = 0
    on_job_done: list[Callable[[], None]] = field(default_factory=list)
    on_io_done: list[Callable[[], None]] = field(default_factory=list)
    watermark_waiters: Waiters = field(default_factory=Waiters)
    leader_waiters: Waiters = field(default_factory=Waiters)


def slot_of(slots: Mapping[int, Slot], raft_group: int) -> Slot:
    """Raises ``Unavailable`` where this node has no replica of the group."""
    slot = slots.get(raft_group)
    if slot is None:
        raise ReplicaNotAvailable("this node has no replica of it any more")
    return slot
