"""What the replicas of one Raft group say to each other: one class for each kind of message.

The classes are the schema of the wire as well (wire.py): a message travels as the list of its fields in the
order in which they stand here, and a list with another number of fields, another type, or a value outside of
the bounds given here is refused. So fields are only ever added at the end, and with a new version of the peer
protocol. ``frames`` and ``state`` are not among them: they travel as raw bytes behind the fields.

Messages may be lost, and arrive in order otherwise. None of them is changed once it is made.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from floodmark.format.frame import Frame
from msgspec import Meta

from storage.vote import TERM_MAX

MEMBERS_MAX: Final = 64
"""Voters, or learners, of one group."""
NODE_ID_CHARACTERS_MAX: Final = 249
"""A node's id."""

Term = Annotated[int, Meta(ge=0, le=TERM_MAX)]
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""An index, an offset, a counter, a size."""
NodeId = Annotated[str, Meta(min_length=1, max_length=NODE_ID_CHARACTERS_MAX)]
NodeIds = Annotated[list[NodeId], Meta(max_length=MEMBERS_MAX)]


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Any of them."""

    @property
    def claimed_term(self) -> int:
        """The highest term that the receiver is told of; 0 where there is none."""
        return 0


class TermMessage(Message, frozen=True, array_like=True, gc=False):
    """One that is said in a term, the sender's unless the class says otherwise."""

    term: Term

    @property
    def claimed_term(self) -> int:
        """See ``Message``."""
        return self.term


# Replication.


class AppendEntries(TermMessage, frozen=True, array_like=True, gc=False):
    """The leader's entries behind (prev_index, prev_term); a heartbeat where it has none."""

    prev_index: Number
    prev_term: Term
    commit: Number
    round: Number
    """Counts the leader's broadcasts in its term; the answer repeats it."""
    attempt: Number
    """Counts how often the leader moved this follower's next index back; the answer repeats it."""
    frames: list[Frame] = []


class AppendEntriesResponse(TermMessage, frozen=True, array_like=True, gc=False):
    """The answer to ``AppendEntries`` and to ``InstallSnapshot``."""

    next_index: Number
    success: bool
    """Everything below ``next_index`` is durable here, and the same as the leader's."""
    reset: bool
    """The leader is to continue at ``next_index``, also where it had been further."""
    round: Number
    attempt: Number
    trusted: bool
    """False after a loss of data: this acknowledgement must not count towards a commit (H5)."""


class StaleTerm(TermMessage, frozen=True, array_like=True, gc=False):
    """The answer to an ``AppendEntries`` or ``InstallSnapshot`` of an older term: its sender is deposed."""


# Elections.


class RequestVote(TermMessage, frozen=True, array_like=True, gc=False):
    """A candidate of this term asks for a vote."""

    last_index: Number
    last_term: Term


class RequestVoteResponse(TermMessage, frozen=True, array_like=True, gc=False):
    """The vote is granted. A vote that is refused has no answer."""


class RequestPreVote(TermMessage, frozen=True, array_like=True, gc=False):
    """Asked before an election: would the receiver vote for the sender in this term, which nobody has entered
    yet? Changes nothing at the receiver."""

    last_index: Number
    last_term: Term


class RequestPreVoteResponse(TermMessage, frozen=True, array_like=True, gc=False):
    """The answer, about the term that was asked for."""

    granted: bool
    own_term: Term
    """The sender's."""

    @property
    def claimed_term(self) -> int:
        """See ``Message``."""
        return max(self.term, self.own_term)


class TimeoutNow(TermMessage, frozen=True, array_like=True, gc=False):
    """A leader that hands over asks its successor to start an election at once."""


# A follower whose log ends before the leader's begins, where the machine's state is small.


class InstallSnapshot(TermMessage, frozen=True, array_like=True, gc=False):
    """Replaces a follower's log: empty after entry ``index``, with ``state`` as the machine's."""

    index: Number
    entry_term: Term
    offset: Number
    voters: NodeIds
    learners: NodeIds
    round: Number
    attempt: Number
    state: bytes = b""


# Reads.


class ReadIndexRequest(Message, frozen=True, array_like=True, gc=False):
    """A follower asks the leader how far it must have applied to serve a read."""

    id: Number


class ReadIndexResponse(Message, frozen=True, array_like=True, gc=False):
    """The answer. Not ``ok``: whoever was asked does not lead."""

    id: Number
    index: Number
    ok: bool


# Idle groups, and replicas that ended.


class Quiesce(TermMessage, frozen=True, array_like=True, gc=False):
    """The leader has nothing to say and stops its heartbeats; followers with this log stop their clocks.

    Followers that do not speak version 5 of the protocol do so only if they know of the commit already.
    """

    commit: Number
    last_index: Number
    last_term: Term


class ReplicaGone(TermMessage, frozen=True, array_like=True, gc=False):
    """The sender's replica of this group does not run any more: its disk failed, or it was removed. Or it is
    about to stop, and takes no leadership over.
    """


# Damaged frames.


class FramesRequest(Message, frozen=True, array_like=True, gc=False):
    """A replica cannot read committed frames of its own log, both ends included."""

    id: Number
    first: Number
    last: Number


class FramesResponse(Message, frozen=True, array_like=True, gc=False):
    """The first of them, or none."""

    id: Number
    frames: list[Frame] = []


# A follower whose log ends before the leader's begins, where the machine's state is large.


class SnapshotOffer(TermMessage, frozen=True, array_like=True, gc=False):
    """The leader would send a file with the state, in place of ``InstallSnapshot``."""

    index: Number
    entry_term: Term
    offset: Number
    voters: NodeIds
    learners: NodeIds
    id: Number
    length: Number
    """Bytes of the file."""
    crc: Number
    """CRC-32C of all of them."""


class SnapshotPosition(TermMessage, frozen=True, array_like=True, gc=False):
    """The answer to an offer, and after that to chunks: how far the file is durable there."""

    id: Number
    position: Number
    again: bool
    """All that follows ``position`` is to be sent once more."""


class SnapshotChunk(TermMessage, frozen=True, array_like=True, gc=False):
    """Whole blocks of the file, as ``state``; at position 0 its header before them."""

    id: Number
    position: Number
    state: bytes = b""


KINDS: Final[tuple[type[Message], ...]] = (
    AppendEntries,
    AppendEntriesResponse,
    StaleTerm,
    RequestVote,
    RequestVoteResponse,
    RequestPreVote,
    RequestPreVoteResponse,
    TimeoutNow,
    InstallSnapshot,
    ReadIndexRequest,
    ReadIndexResponse,
    Quiesce,
    ReplicaGone,
    FramesRequest,
    FramesResponse,
    SnapshotOffer,
    SnapshotPosition,
    SnapshotChunk,
)
"""A kind's place here is its number on the wire: new ones are added at the end."""
