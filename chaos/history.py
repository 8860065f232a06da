"""The history of a run: the requests and answers of clients, and what was done to the cluster.

A history is a file of JSON lines, in the order of their times. The first is a ``History``. Every operation
has an ``Invoke`` and at most one ``Ok``, ``Fail`` or ``Unknown`` with the same ``op``; without one, because
the run ended first, its outcome is unknown. Times are nanoseconds of the machine's monotonic clock
(``time.monotonic_ns``), which all processes of a machine share. ``chaos.history_file`` writes and reads them.

The three outcomes are what the checker's conclusions rest on, so a workload must not be generous: ``fail``
says that the operation *had and will have no effect*; whatever leaves that open is ``unknown``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

VERSION: Final = 1

Acks = Literal["quorum", "leader", "none"]
Config = dict[str, int | None]


class _Line(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """Base of all lines."""


class _Action(msgspec.Struct, frozen=True, tag_field="do", forbid_unknown_fields=True, omit_defaults=True):
    """Base of all operations."""


class _Result(msgspec.Struct, frozen=True, tag_field="got", forbid_unknown_fields=True, omit_defaults=True):
    """Base of all results."""


# Operations ---------------------------------------------------------------------------------------------


class Produce(_Action, frozen=True, tag="produce"):
    """Store these values in this order. Only ``acks="quorum"`` promises anything when it is answered.

    ``if_offset``: only if the first of them gets this offset.
    """

    topic: str
    partition: int
    values: list[int]
    acks: Acks = "quorum"
    if_offset: int | None = None
    delay_ms: int | None = None
    """Queues deliver them after so long, and not before."""


class Read(_Action, frozen=True, tag="read"):
    """One poll from ``offset`` on. In one session of a process each poll continues where the previous one
    ended."""

    topic: str
    partition: int
    offset: int
    session: int = 0


class Take(_Action, frozen=True, tag="take"):
    """A member of a group reads on, in a topic that is deleted and made again: only how far it came counts.
    Such a topic is called by its name and id, as in ``renewed#17``."""

    topic: str
    partition: int
    offset: int


class Tail(_Action, frozen=True, tag="tail"):
    """The partition's bounds, confirmed by a majority after the call began."""

    topic: str
    partition: int


class Create(_Action, frozen=True, tag="create"):
    """Create a topic. ``config`` is its whole configuration."""

    topic: str
    partitions: int
    config: Config = {}


class Alter(_Action, frozen=True, tag="alter"):
    """Change only the settings in ``config``."""

    topic: str
    config: Config


class Delete(_Action, frozen=True, tag="delete"):
    """Remove a topic."""

    topic: str


class Describe(_Action, frozen=True, tag="describe"):
    """How many partitions and which configuration a topic has."""

    topic: str


class At(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An offset in a partition: the next one to read."""

    topic: str
    partition: int
    offset: int


class Join(_Action, frozen=True, tag="join"):
    """Become a member of a group, under an id that nobody had before."""

    group: str
    member: str


class Beat(_Action, frozen=True, tag="beat"):
    """A heartbeat: the member has the partitions ``owned`` (topic id and number), and has given up others."""

    group: str
    member: str
    epoch: int
    owned: list[tuple[int, int]]


class Leave(_Action, frozen=True, tag="leave"):
    """A member goes, and has given up all that it had."""

    group: str
    member: str
    epoch: int


class Commit(_Action, frozen=True, tag="commit"):
    """A member commits how far it has read."""

    group: str
    member: str
    epoch: int
    offsets: list[At]


class FetchOffsets(_Action, frozen=True, tag="fetch_offsets"):
    """What a group has committed in a topic."""

    group: str
    topic: str


class Breaker(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A queue pauses where most of at least so many deliveries have failed within the window."""

    deliveries: int
    window_ms: int
    pause_ms: int


class MakeQueue(_Action, frozen=True, tag="make_queue"):
    """Make a queue of a topic, whose dead letters go to another one."""

    queue: str
    topic: str
    dead_letter_topic: str
    by_key: bool = False
    """Whether records of one key (``chaos.record_value.key_of``) are delivered one after the other."""
    max_deliveries: int = 1
    breaker: Breaker | None = None
    """None: it never pauses."""


class Settling(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How a worker ends one delivery (ack, nack, reject) or keeps it (extend).

    ``deliveries``: which one of that record it was. ``again``: of a dead letter, which is where it says in
    the topic of these.
    """

    partition: int
    offset: int
    deliveries: int
    action: str
    again: bool = False


class Receive(_Action, frozen=True, tag="receive"):
    """A worker asks for records. ``settle``: done before, in the same step."""

    queue: str
    settle: list[Settling] = []


class Settle(_Action, frozen=True, tag="settle"):
    """A worker says what became of records."""

    queue: str
    settle: list[Settling]


class LookAtQueue(_Action, frozen=True, tag="look_at_queue"):
    """How much there is in a queue."""

    queue: str


class LetterAt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a dead letter is in their topic."""

    partition: int
    offset: int


class ListDead(_Action, frozen=True, tag="list_dead"):
    """All dead letters of a queue."""

    queue: str


class Replay(_Action, frozen=True, tag="replay"):
    """Deliver dead letters again: the ones named, or those whose key begins like that, or that died in that
    partition; all that are listed where nothing is said."""

    queue: str
    letters: list[LetterAt] | None = None
    key_prefix: str | None = None
    died_in: int | None = None
    per_second: float = 0.0
    """So many of them; 0: all at once."""


class PurgeDead(_Action, frozen=True, tag="purge_dead"):
    """Take these off the list."""

    queue: str
    letters: list[LetterAt]


GroupAction = Join | Beat | Leave | Commit | FetchOffsets
QueueAction = MakeQueue | Receive | Settle | LookAtQueue | ListDead | Replay | PurgeDead
Action = Produce | Read | Take | Tail | Create | Alter | Delete | Describe | GroupAction | QueueAction

# Results ------------------------------------------------------------------------------------------------


class Produced(_Result, frozen=True, tag="produced"):
    """The values are stored from ``first_offset`` on, without a gap. -1: the answer has no offset."""

    first_offset: int


class Run(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Values at consecutive offsets. ``FOREIGN`` (-1) stands for a record that no workload wrote."""

    first_offset: int
    values: list[int]


class Page(_Result, frozen=True, tag="page"):
    """The records of a poll, in order: one run, unless offsets are missing."""

    runs: list[Run]
    next_offset: int
    high_watermark: int


class Took(_Result, frozen=True, tag="took"):
    """It got all before ``next_offset``."""

    next_offset: int


class Bounds(_Result, frozen=True, tag="bounds"):
    """What a tail answered."""

    start_offset: int
    high_watermark: int


class Done(_Result, frozen=True, tag="done"):
    """A topic was created, altered or deleted. ``changed`` is false if an equal topic existed already."""

    changed: bool = True


class Described(_Result, frozen=True, tag="described"):
    """What a describe answered."""

    partitions: int
    config: Config = {}


class Has(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A partition that a member has, and the epoch in which it got that."""

    topic: str
    topic_id: int
    partition: int
    since: int


class Membership(_Result, frozen=True, tag="membership"):
    """What a member was told to have. What it had besides, it is to give up."""

    epoch: int
    has: list[Has]


class Offsets(_Result, frozen=True, tag="offsets"):
    """What is committed."""

    offsets: list[At]


class Delivery(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A record that a worker has got. ``deliveries``: how many there have been of it, with this one.
    ``again``: it is a dead letter, which is where it says in the topic of these."""

    partition: int
    offset: int
    value: int
    deliveries: int
    again: bool = False


class Deliveries(_Result, frozen=True, tag="deliveries"):
    """What a worker has got. ``settled``: of ``Receive.settle``, in its order (done, already, late).
    ``paused``: why there is nothing, where a reason was told."""

    records: list[Delivery]
    settled: list[str] = []
    paused: str = ""


class Settlements(_Result, frozen=True, tag="settlements"):
    """What became of each (done, already, late)."""

    settled: list[str]


class QueueState(_Result, frozen=True, tag="queue_state"):
    """``depth``: records that are not settled. ``dead``: dead letters. ``breaker``: closed, open,
    half_open."""

    depth: int
    dead: int
    breaker: str = "closed"


class Letter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A dead letter that is listed. ``replaying``: it is on its way through the queue again."""

    partition: int
    offset: int
    replaying: bool


class Letters(_Result, frozen=True, tag="letters"):
    """What is listed."""

    letters: list[Letter]


class Counted(_Result, frozen=True, tag="counted"):
    """So many dead letters are delivered again, or are off the list."""

    letters: int


Result = (
    Produced
    | Page
    | Took
    | Bounds
    | Done
    | Described
    | Membership
    | Offsets
    | Deliveries
    | Settlements
    | QueueState
    | Letters
    | Counted
)

RESULT_OF: Final[dict[type[Action], type[Result]]] = {
    Produce: Produced,
    Read: Page,
    Take: Took,
    Tail: Bounds,
    Create: Done,
    Alter: Done,
    Delete: Done,
    Describe: Described,
    Join: Membership,
    Beat: Membership,
    Leave: Done,
    Commit: Offsets,
    FetchOffsets: Offsets,
    MakeQueue: Done,
    Receive: Deliveries,
    Settle: Settlements,
    LookAtQueue: QueueState,
    ListDead: Letters,
    Replay: Counted,
    PurgeDead: Counted,
}

# Lines --------------------------------------------------------------------------------------------------


class History(_Line, frozen=True, tag="history"):
    """The first line."""

    version: int
    time_ns: int
    seed: int | None = None


class Producer(_Line, frozen=True, tag="producer"):
    """A producer, before its first record. ``ordered``: its records of a partition are in the order of its
    sends."""

    time_ns: int
    producer: int
    name: str
    idempotent: bool
    ordered: bool = True


class Invoke(_Line, frozen=True, tag="invoke"):
    """An operation begins. ``op`` rises within a file. ``node`` is the one asked, where that is known."""

    op: int
    time_ns: int
    process: str
    action: Action
    node: str = ""


class Ok(_Line, frozen=True, tag="ok"):
    """It was done. ``node`` is the one that answered."""

    op: int
    time_ns: int
    result: Result
    node: str = ""


class Fail(_Line, frozen=True, tag="fail"):
    """It was not done and will not be. ``high_watermark`` is told with ``offset_past_end``, ``next_offset``
    with ``offset_mismatch``."""

    op: int
    time_ns: int
    error: str
    node: str = ""
    high_watermark: int | None = None
    next_offset: int | None = None


class Unknown(_Line, frozen=True, tag="unknown"):
    """It may or may not have been done, or may still be."""

    op: int
    time_ns: int
    error: str
    node: str = ""


class PauseBegan(_Line, frozen=True, tag="pause_began"):
    """From here on no write to a partition begins: that nothing is stored there is not an outage."""

    time_ns: int
    topic: str
    partition: int


class PauseEnded(_Line, frozen=True, tag="pause_ended"):
    """Writes to it begin again."""

    time_ns: int
    topic: str
    partition: int


class FaultBegan(_Line, frozen=True, tag="fault_began"):
    """A fault is put into force from here on. ``fault`` is its number in this file."""

    time_ns: int
    fault: int
    name: str
    nodes: list[str] = []


class FaultEnded(_Line, frozen=True, tag="fault_ended"):
    """A fault is over; its consequences may last."""

    time_ns: int
    fault: int


class GivenUp(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a recovery may cost a partition: all from ``offset`` on; -1: everything, it starts over empty."""

    topic: str
    partition: int
    offset: int


class Recovered(_Line, frozen=True, tag="recovered"):
    """A majority was lost for good, and the cluster goes on without it from here on. No node runs just then.

    Partitions that are not named may not lose anything. Groups may use terms again: leaders from here on
    are not compared with earlier ones.
    """

    time_ns: int
    given_up: list[GivenUp] = []


class Healed(_Line, frozen=True, tag="healed"):
    """All faults are over and all nodes are started: from here on the cluster has to recover."""

    time_ns: int


class Leads(_Line, frozen=True, tag="leads"):
    """A node's log or metrics say that it leads a group in a term. ``group`` is any name that is its own."""

    time_ns: int
    node: str
    group: str
    term: int


End = Ok | Fail | Unknown
Pause = PauseBegan | PauseEnded
Event = History | Producer | Invoke | End | Pause | FaultBegan | FaultEnded | Recovered | Healed | Leads
