"""What kinds of runs there are: how big, how slow, and which faults strike how often."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from consensus.types import GroupOptions
from tests.simulation.network import NetworkOptions

AGAIN_WITHIN_S = 2.0
"""How late an answer may come a second time."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of run. ``faults`` gives how often each fault strikes, per virtual second."""

    name: str
    faults: dict[str, float]
    duration_s: float = 10.0
    voters: tuple[int, ...] = (3, 3, 5)
    learners: int = 0
    spares: int = 0
    """Nodes without a replica at first, for moves (``extra["move"]``)."""
    proposals_per_s: float = 25.0
    payload_bytes_max: int = 300
    burst_max: int = 4
    flush_s: tuple[float, float] = (0.0005, 0.01)
    delay_s: tuple[float, float] = (0.001, 0.01)
    append_bytes_max: int = 4096
    unacknowledged_bytes_max: int = 16_384
    tail_bytes_max: int = 8192
    catch_up_bytes_per_s: tuple[int, ...] = (0,)
    """To replicas that are behind and do not vote; 0: no limit."""
    quiesce_after_s: tuple[float, ...] = (0.0, 0.0, 0.5)
    """Most runs fall asleep with the last commit; in the others a group is also awake with nothing to do."""
    segment_bytes: int = 4096
    clock_drift: float = 0.0
    duplicate: float = 0.0
    """Chance that an acknowledgement or a vote that was handed over is handed over again, perhaps late."""
    lose: float = 0.0
    """Chance that a message which brings a large state is lost, though its link stands."""
    newer_commands: float = 0.0
    """Chance that a command of a leader of a newer build is one that older builds do not know."""
    processes: bool = False
    """Whether programs process a source exactly once (``processing.py``)."""
    large: bool = False
    """Whether the machine keeps its state in files."""
    groups: bool = False
    """Whether it is a shard of the coordinator of consumer groups."""
    queues: bool = False
    """Whether it is a shard of the coordinator with a queue."""
    troubled: bool = False
    """Whether what the queue's workers call breaks, retention takes records before they are settled, and
    dead letters are delivered again."""
    compactions_per_s: float = 4.0
    """In every second run of a kind."""
    extra: dict[str, float] = field(default_factory=dict)
    """How often the workload's rarer operations come, per virtual second."""

    def group_options(self, quiesce_after_s: float) -> GroupOptions:
        """Timing as in production, sizes small, so that every limit is met in seconds."""
        return GroupOptions(
            append_bytes_max=self.append_bytes_max,
            unacknowledged_bytes_max=self.unacknowledged_bytes_max,
            quiesce_after_s=quiesce_after_s,
            state_chunk_bytes=600,
            state_window_bytes=2400,
        )

    def network_options(self) -> NetworkOptions:
        """Delays of this kind of run."""
        return NetworkOptions(delay_min_s=self.delay_s[0], delay_max_s=self.delay_s[1])


_USUAL = {"read_index": 2.0, "transfer": 0.15, "checkpoint": 0.4, "truncate_head": 0.2}

PROFILES: tuple[Profile, ...] = (
    Profile("calm", {}, extra=_USUAL, duration_s=6.0),
    Profile(
        "flaky network",
        {"break": 1.5, "cut pair": 0.3, "isolate": 0.2, "stall": 0.4, "slow link": 0.2, "crash": 0.1},
        extra=_USUAL,
    ),
    Profile(
        "one-way partitions",
        {"cut one way": 0.7, "stall": 0.7, "stall node": 0.3, "crash": 0.08},
        extra=_USUAL,
    ),
    Profile(
        "crashes",
        {"crash": 0.8, "power failure": 0.15, "pause": 0.3, "break": 0.3},
        extra=_USUAL,
    ),
    Profile(
        "many restarts",
        {"crash": 2.0, "power failure": 0.3},
        flush_s=(0.001, 0.05),
        extra=_USUAL | {"checkpoint": 4.0, "roll": 4.0},
    ),
    Profile(
        "slow disks",
        {"crash": 0.4, "power failure": 0.2, "isolate": 0.15, "slow disk": 0.3},
        flush_s=(0.01, 0.3),
        extra=_USUAL | {"checkpoint": 4.0},
    ),
    Profile(
        "failing disks",
        {
            "write error": 0.3,
            "sync error": 0.3,
            "disk full": 0.2,
            "crash": 0.3,
            "power failure": 0.1,
            "break": 0.3,
        },
        extra=_USUAL | {"roll": 1.0},
    ),
    Profile(
        "corruption",
        {"flip": 0.6, "wipe": 0.12, "rot": 0.8, "crash": 0.5, "isolate": 0.15, "break": 0.3},
        extra=_USUAL | {"truncate_head": 0.6, "scrub": 2.0, "roll": 1.0},
        duration_s=14.0,
    ),
    Profile(
        "tiny appends",
        {"isolate": 0.2, "break": 2.5, "slow link": 1.2, "crash": 0.2, "stall": 0.4},
        append_bytes_max=400,
        unacknowledged_bytes_max=1200,
        tail_bytes_max=1000,
        burst_max=12,
        proposals_per_s=20.0,
        extra=_USUAL,
    ),
    Profile(
        "far behind",
        {"isolate": 0.25, "long crash": 0.25, "break": 0.2},
        segment_bytes=1024,
        proposals_per_s=40.0,
        extra=_USUAL | {"truncate_head": 2.0, "checkpoint": 1.0, "roll": 2.0},
    ),
    Profile(
        "membership",
        {"crash": 0.3, "isolate": 0.2, "break": 0.4, "stall": 0.2, "power failure": 0.05},
        voters=(2, 3, 3, 4),
        learners=1,
        extra=_USUAL | {"membership": 1.0},
        duration_s=14.0,
    ),
    Profile(
        "pauses and clocks",
        {"pause": 0.6, "clock jump": 0.4, "stall": 0.4, "crash": 0.1},
        clock_drift=0.2,
        extra=_USUAL,
    ),
    Profile(
        "late and twice",
        {"depose": 0.35, "stall": 0.3, "isolate": 0.1, "crash": 0.1},
        voters=(3, 5, 5),
        burst_max=10,
        delay_s=(0.001, 0.02),
        duplicate=0.3,
        extra=_USUAL | {"transfer": 2.0},
    ),
    Profile(
        "alone",
        {"crash": 0.8, "pause": 0.2, "sync error": 0.1},
        voters=(1,),
        duration_s=6.0,
        extra=_USUAL,
    ),
    Profile(
        "older builds",
        {
            "other build": 0.7,
            "crash": 0.2,
            "isolate": 0.15,
            "break": 0.4,
            "stall": 0.2,
            "power failure": 0.05,
        },
        segment_bytes=1024,
        newer_commands=0.3,
        extra=_USUAL | {"truncate_head": 1.0, "checkpoint": 1.0, "roll": 1.0},
    ),
    Profile(
        "everything",
        {
            "break": 0.4,
            "cut pair": 0.1,
            "cut one way": 0.15,
            "isolate": 0.15,
            "stall": 0.2,
            "slow link": 0.1,
            "crash": 0.3,
            "power failure": 0.05,
            "pause": 0.15,
            "clock jump": 0.05,
            "slow disk": 0.1,
            "write error": 0.05,
            "sync error": 0.05,
            "disk full": 0.05,
            "flip": 0.08,
            "rot": 0.1,
            "wipe": 0.05,
        },
        voters=(3, 5),
        learners=1,
        clock_drift=0.05,
        extra=_USUAL | {"membership": 0.2, "truncate_head": 0.6, "scrub": 0.5, "roll": 0.5},
        duration_s=14.0,
    ),
)


LARGE_FROM = 1_000_000
"""Seeds from here on stand for runs of a machine that keeps its state in files."""
_LARGE = {"read_index": 2.0, "transfer": 0.15, "checkpoint": 4.0, "truncate_head": 4.0, "roll": 1.0}

LARGE_PROFILES: tuple[Profile, ...] = (
    Profile(
        "large state, crashes",
        {"crash": 0.8, "long crash": 0.6, "power failure": 0.15, "isolate": 0.2, "break": 0.4, "pause": 0.1},
        large=True,
        segment_bytes=1024,
        proposals_per_s=40.0,
        extra=_LARGE,
    ),
    Profile(
        "large state, bad network",
        {"break": 2.0, "isolate": 0.4, "stall": 0.5, "slow link": 0.3, "cut one way": 0.2, "long crash": 0.2},
        large=True,
        lose=0.05,
        duplicate=0.1,
        segment_bytes=1024,
        proposals_per_s=40.0,
        extra=_LARGE | {"transfer": 1.0},
    ),
    Profile(
        "large state, slow and failing disks",
        {
            "write error": 0.3,
            "sync error": 0.3,
            "disk full": 0.2,
            "slow disk": 0.3,
            "long crash": 0.6,
            "power failure": 0.1,
            "isolate": 0.2,
        },
        large=True,
        flush_s=(0.001, 0.05),
        segment_bytes=1024,
        proposals_per_s=40.0,
        extra=_LARGE,
    ),
    Profile(
        "large state, corruption",
        {"flip": 0.4, "wipe": 0.2, "rot": 0.6, "state rot": 1.0, "crash": 0.5, "isolate": 0.15, "break": 0.3},
        large=True,
        segment_bytes=1024,
        proposals_per_s=30.0,
        extra=_LARGE | {"scrub": 1.0},
        duration_s=14.0,
    ),
    Profile(
        "large state, membership",
        {"crash": 0.3, "isolate": 0.2, "break": 0.4, "stall": 0.2, "wipe": 0.1, "long crash": 0.1},
        large=True,
        voters=(2, 3, 3, 4),
        learners=1,
        segment_bytes=1024,
        extra=_LARGE | {"membership": 1.0},
        duration_s=14.0,
    ),
)


MOVES_FROM = 2_000_000
"""Seeds from here on stand for runs in which replicas move."""
_MOVES = _USUAL | {"move": 0.8, "truncate_head": 0.5, "roll": 0.5}

MOVE_PROFILES: tuple[Profile, ...] = (
    Profile(
        "moves",
        {
            "crash": 0.2,
            "isolate": 0.1,
            "break": 0.4,
            "stall": 0.2,
            "power failure": 0.03,
            "stall a step": 0.3,
            "old member": 0.2,
        },
        spares=2,
        catch_up_bytes_per_s=(0, 20_000, 60_000),
        extra=_MOVES,
        duration_s=14.0,
    ),
    Profile(
        "moves, bad network",
        {
            "break": 1.0,
            "isolate": 0.3,
            "cut one way": 0.3,
            "stall": 0.5,
            "depose": 0.2,
            "pause": 0.2,
            "stall a step": 0.3,
            "stall a new leader": 0.6,
        },
        voters=(2, 3, 3, 4),
        spares=2,
        delay_s=(0.001, 0.03),
        extra=_MOVES | {"transfer": 1.0},
        duration_s=14.0,
    ),
    Profile(
        "dead members are replaced",
        {"dead": 0.6, "crash": 0.2, "isolate": 0.1, "break": 0.3, "stall": 0.1},
        spares=3,
        catch_up_bytes_per_s=(0, 20_000),
        extra=_MOVES | {"move": 0.3},
        duration_s=16.0,
    ),
    Profile(
        "moves and lost disks",
        {
            "wipe": 0.25,
            "dead": 0.2,
            "flip": 0.1,
            "crash": 0.4,
            "isolate": 0.15,
            "break": 0.3,
            "power failure": 0.03,
        },
        spares=2,
        catch_up_bytes_per_s=(0, 20_000, 60_000),
        extra=_MOVES,
        duration_s=16.0,
    ),
    Profile(
        "moves of large states",
        {"crash": 0.3, "isolate": 0.2, "break": 0.4, "stall": 0.2, "wipe": 0.1, "dead": 0.1},
        large=True,
        spares=2,
        segment_bytes=1024,
        catch_up_bytes_per_s=(0, 20_000),
        extra=_LARGE | {"move": 0.8},
        duration_s=16.0,
    ),
)


RECOVERIES_FROM = 3_000_000
"""Seeds from here on stand for runs in which a majority is lost for good, once or twice."""
_RECOVERIES = _USUAL | {"move": 0.4, "truncate_head": 0.5, "roll": 0.5, "majority lost": 1.0}

RECOVERY_PROFILES: tuple[Profile, ...] = (
    Profile(
        "a majority is lost",
        {"crash": 0.2, "isolate": 0.3, "break": 0.4, "stall": 0.3, "power failure": 0.03},
        spares=2,
        extra=_RECOVERIES,
        duration_s=14.0,
    ),
    Profile(
        "a majority is lost after leaders have changed",
        {"isolate": 0.8, "cut one way": 0.4, "stall": 0.4, "depose": 0.3, "crash": 0.2},
        voters=(3, 5, 5),
        spares=1,
        delay_s=(0.001, 0.03),
        extra=_RECOVERIES | {"transfer": 1.0, "move": 0.1},
        duration_s=14.0,
    ),
    Profile(
        "a majority is lost beside disks",
        {"wipe": 0.2, "dead": 0.2, "crash": 0.4, "isolate": 0.2, "break": 0.3},
        voters=(3, 5),
        spares=2,
        catch_up_bytes_per_s=(0, 20_000),
        extra=_RECOVERIES | {"checkpoint": 2.0},
        duration_s=16.0,
    ),
)


GROUPS_FROM = 4_000_000
"""Seeds from here on stand for runs of a shard of the coordinator, with members of a group."""
_GROUPS = _LARGE | {"checkpoint": 2.0, "truncate_head": 2.0}

GROUP_PROFILES: tuple[Profile, ...] = (
    Profile(
        "groups, crashes",
        {"crash": 0.5, "long crash": 0.2, "power failure": 0.1, "isolate": 0.1, "pause": 0.2},
        large=True,
        groups=True,
        segment_bytes=1024,
        proposals_per_s=2.0,
        extra=_GROUPS,
        duration_s=16.0,
    ),
    Profile(
        "groups, bad network",
        {"break": 1.0, "isolate": 0.3, "stall": 0.4, "slow link": 0.2, "cut one way": 0.2, "depose": 0.2},
        large=True,
        groups=True,
        delay_s=(0.001, 0.05),
        segment_bytes=2048,
        proposals_per_s=2.0,
        extra=_GROUPS | {"transfer": 0.6},
        duration_s=16.0,
    ),
    Profile(
        "groups, moves",
        {"crash": 0.2, "isolate": 0.2, "break": 0.4, "stall": 0.2, "wipe": 0.05, "pause": 0.2},
        large=True,
        groups=True,
        spares=2,
        segment_bytes=1024,
        proposals_per_s=2.0,
        extra=_GROUPS | {"move": 0.6},
        duration_s=16.0,
    ),
)


QUEUES_FROM = 5_000_000
"""Seeds from here on stand for runs of a shard of the coordinator, with workers of a queue."""

QUEUE_PROFILES: tuple[Profile, ...] = tuple(
    replace(profile, name=profile.name.replace("groups", "queues"), groups=False, queues=True)
    for profile in GROUP_PROFILES
)


TROUBLED_FROM = 6_000_000
"""Seeds from here on stand for such runs in which more than workers and nodes give trouble."""

TROUBLED_PROFILES: tuple[Profile, ...] = tuple(
    replace(
        profile,
        name=f"troubled {profile.name}",
        troubled=True,
        faults={name: 0.6 * often for name, often in profile.faults.items()},
        duration_s=24.0,
    )
    for profile in QUEUE_PROFILES
)


def profile_of(seed: int) -> Profile:
    """The kind of run that a seed stands for: each kind comes equally often."""
    kinds = {
        TROUBLED_FROM: TROUBLED_PROFILES,
        QUEUES_FROM: QUEUE_PROFILES,
        GROUPS_FROM: GROUP_PROFILES,
        RECOVERIES_FROM: RECOVERY_PROFILES,
        MOVES_FROM: MOVE_PROFILES,
        LARGE_FROM: LARGE_PROFILES,
        0: PROFILES,
    }
    profiles = next(kind for first, kind in kinds.items() if seed >= first)
    return profiles[seed % len(profiles)]
