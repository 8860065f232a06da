"""One Raft group's replica: takes in messages, proposals and time, and gives out messages and outcomes.

No I/O but its log, no clock but the one it is given, no thread: everything here belongs to one thread, only
``log.write()`` and ``log.sync()`` run elsewhere, between ``needs_flush`` and ``flushed``. The contract with
whoever runs it (``host.py``, or the simulator):

1. After any input (``propose``, ``receive``, ``peer_up``, ``flushed``, ...), and at ``next_deadline``, it
   calls ``step()``. Where ``receive`` or ``flushed`` returns False, a step decides nothing and may wait.
2. After a step it sends what ``take_outbox()`` returns: only what may leave now. An acknowledgement waits in
   the group for the fsync that it depends on.
3. While ``needs_vote_saved``, it runs ``save_vote()``, in a thread if it likes, then calls ``vote_saved()``.
   Until then the group stands still: it takes nothing in, sends nothing and has nothing written.
4. While ``needs_flush``, it runs ``log.write()`` and ``log.sync()``, one thread at a time, then calls
   ``flushed()`` with the durable index; after an error ``flush_failed()``, which ends the replica.
5. A machine with a large state gives it jobs as well (``take_jobs``): run in threads, then ``job_done()``,
   which returns whether a step is due.

A proposal ends as exactly one of ``Stored``, ``NotStored`` and ``Unknown``, in the thread that steps.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import IMPLIED, PayloadForm

from consensus.core import membership as members
from consensus.core.catch_up import CatchUp
from consensus.core.group_disk import GroupDisk
from consensus.core.journal import Pending
from consensus.core.large_state import LargeMachine
from consensus.core.parts import Parts
from consensus.core.safeguards import ALL
from consensus.core.safeguards import Safeguard as Safeguard  # noqa: PLC0414 # tests take it from here
from consensus.core.state_files import StateFiles
from consensus.messages import Message, ReplicaGone
from consensus.types import (
    ChangeRefused,
    Fetch,
    GroupOptions,
    GroupStopped,
    Membership,
    NotLeader,
    Proposal,
    ReadIndex,
    StateMachine,
)
from consensus.wire import COMMIT_WITH_QUIESCE, NEWEST_VERSION
from storage.errors import LogCorrupt, LogFailed, StorageError
from storage.log import Log
from storage.vote import VoteFile


class Group(GroupDisk):
    """One replica of one group; the module says what its owner has to do.

    ``voting=False``: this replica's data, votes included, is gone. ``safeguards``: tests take some away.
    ``files``: of a machine that keeps its state there. ``catch_up``: the node's, of all its groups.
    """

    def __init__(
        self,
        *,
        raft_group: int,
        node_id: str,
        log: Log,
        vote: VoteFile,
        machine: StateMachine | LargeMachine,
        membership: Membership,
        clock: Callable[[], float],
        random: Random,
        options: GroupOptions,
        voting: bool = True,
        safeguards: frozenset[Safeguard] = ALL,
        files: StateFiles | None = None,
        catch_up: CatchUp | None = None,
    ) -> None:
        self.raft_group = raft_group
        self.node_id = node_id
        self.log = log
        self.failed = None
        self._stopped = False
        self._clock = clock
        self._machine = machine
        self._inbox: list[tuple[str, Message]] = []
        self._released: list[tuple[str, Message]] = []
        self._parts = Parts(
            raft_group=raft_group,
            node_id=node_id,
            log=log,
            vote=vote,
            machine=machine,
            membership=membership,
            now=clock(),
            random=random,
            options=options,
            voting=voting,
            safeguards=safeguards,
            files=files,
            catch_up=catch_up,
        )
        self._core = self._parts.core
        self._granted_after: float | None = None
        """When the leader had last been heard as time was granted it that this process did not run."""
        self._parts.checkpoints.store_stage()

    # Inputs.

    def propose(
        self,
        kind: FrameKind,
        payload: bytes,
        *,
        append_time: int,
        record_count: int = 0,
        form: PayloadForm = IMPLIED,
    ) -> Proposal:
        """Have an entry appended in the next step. Raises ``NotLeader``, ``GroupStopped``."""
        core = self._core
        self._check_runs()
        if not core.engine.is_leader or core.transfer_target is not None:
            raise NotLeader(core.transfer_target or core.engine.leader)
        # What it appends is heard as a heartbeat is.
        self._begin(says_something=True)
        proposal = Proposal()
        self._parts.proposals.add(Pending(kind, payload, append_time, record_count, proposal, form))
        return proposal

    def propose_membership(self, membership: Membership) -> Proposal:
        """Change the members. Raises ``NotLeader``, ``GroupStopped``, ``ChangeRefused`` with the reason."""
        self._begin()
        if self._parts.proposals.membership_is_queued:
            raise ChangeRefused("another membership change is not committed yet")
        if self._core.engine.is_leader and Safeguard.C7 in self._core.safeguards:
            if not self.is_ready_leader:
                raise ChangeRefused("this leader has not committed an entry of its own yet")
            replication = self._parts.replication
            self._core.members.check_change(
                membership,
                commit_index=self.commit_index,
                match=replication.match_of,
                is_trusted=replication.is_trusted,
            )
        return self.propose(FrameKind.MEMBERSHIP, members.encode(membership), append_time=0)

    def receive(self, source: str, message: Message) -> bool:
        """Queue a message of another replica; whether a step is due, or it can wait for the next one."""
        self._inbox.append((source, message))
        return not self._parts.can_wait(source, message)

    def peer_up(self, node: str, version: int = NEWEST_VERSION) -> None:
        """A new connection to ``node`` stands, which speaks this version of the peer protocol; nothing that
        was sent before will arrive any more.

        A group that sleeps is woken where its leader is concerned alone: those of a node that joins or comes
        back are many, and to wake all of them would be more work than the node is.
        """
        if self.failed is not None:
            self._released += [(to, words) for to, words in self.last_words() if to == node]
            return
        engine, is_member = self._core.engine, node in self._core.members.others
        self._core.up.add(node)
        if not self._core.asleep or engine.leader == node or (engine.is_leader and is_member):
            self._begin()
        if version < COMMIT_WITH_QUIESCE:
            self._core.older.add(node)
            self._parts.quiescence.busy()
        if engine.is_leader and is_member:
            self._parts.replication.link_up(node)
            engine.heartbeat_at(0.0)

    def peer_down(self, node: str) -> None:
        """The connection to ``node`` is lost. A group that sleeps has said all that it had to say there."""
        self._core.up.discard(node)
        self._core.older.discard(node)

    def peer_silent(self, node: str) -> None:
        """Nothing at all has come from ``node`` for a while, or somebody was told by it that it does not
        lead: groups that rely on it wake up.
        """
        engine, is_member = self._core.engine, node in self._core.members.others
        if self._core.asleep and (engine.leader == node or (engine.is_leader and is_member)):
            self._begin()

    def peer_gone(self, node: str) -> None:
        """The process of ``node`` ended, or nothing has come from there for so long that it counts as that:
        groups that it led elect another leader without waiting for a timeout.
        """
        engine = self._core.engine
        if self.failed is None and not self._stopped and engine.leader == node:
            self._begin()
            self._parts.prevote.leader_is_gone()

    def held_up(self, seconds: float) -> None:
        """This process did not run for so long: that nobody was heard meanwhile says nothing about them.

        A follower grants that once between two words of a leader: where processes never run in time,
        elections must begin all the same. Of a leader that is known to be gone nothing is to be heard.
        """
        core = self._core
        if self.failed is not None or self._stopped or core.asleep or self._parts.prevote.is_hurried:
            return
        if core.engine.is_leader or self._granted_after != core.leader_heard_at:
            self._granted_after = core.leader_heard_at
            self._parts.begin(self._clock())
            core.engine.allow(seconds)

    def read_index(self) -> ReadIndex:
        """Ask up to where a read must have applied; see ``ReadIndex``. Raises ``GroupStopped``."""
        self._check_runs()
        self._begin(says_something=True)
        return self._parts.reads.ask()

    def fetch(self, first: int, last: int) -> Fetch:
        """Ask the peers for committed frames that cannot be read here. Raises ``GroupStopped``."""
        self._check_runs()
        self._begin()
        return self._parts.fetching.ask(first, last)

    def take_damage(self) -> LogCorrupt | None:
        """What could not be read for a peer since the last call."""
        damage, self._core.damage = self._core.damage, None
        return damage

    def take_member_news(self) -> bool:
        """Whether a member was found sound, lost or caught up since the last call."""
        news, self._core.member_news = self._core.member_news, False
        return news

    def campaign(self) -> None:
        """Ask for votes now and not after a timeout, where no leader is known; the others may refuse."""
        if self.failed is None and not self._stopped and self._core.engine.leader is None:
            self._begin()
            self._parts.prevote.cancel()
            self._core.engine.end_election_clock()

    def leave(self) -> None:
        """Begin to lead no more: this replica is about to stop. One that leads goes on."""
        self._parts.prevote.leaving = True

    def transfer(self, to: str | None = None) -> bool:
        """Begin to hand over the leadership; False when this replica does not lead or nobody can."""
        if self.failed is not None or self._stopped or not self._core.engine.is_leader:
            return False
        self._begin()
        return self._parts.transfer.start(to)

    def flushed(self, durable_index: int) -> bool:
        """``log.sync()`` has returned this; whether a step is due, in which what waited for it goes on."""
        assert durable_index >= 0, "an index"
        self._parts.was_flushed = True
        return bool(self._inbox) or self.needs_flush or self.needs_vote_saved or self._parts.flush_decides

    def flush_failed(self, error: StorageError) -> None:
        """A write or fsync of the log or the vote failed: this replica is of no more use."""
        self._fail(error)

    def vote_saved(self) -> None:
        """``save_vote()`` has returned: what waited for it may leave, and the next step goes on."""
        self._parts.journal.vote_is_unsaved = False
        if self.failed is None:
            self._released += self._core.outbox
        self._core.outbox = []

    def step(self) -> None:
        """Take in what is queued, look at the deadlines, resolve what is decided, fill the outbox.

        Ends early where the term or vote changes, and does nothing until that is saved: whatever a replica
        says or writes after it depends on it (C4). Nor does it while the log is replaced.
        """
        parts, core = self._parts, self._core
        journal = parts.journal
        if (journal.vote_is_unsaved or core.installing) and self.failed is None and not self._stopped:
            return
        inbox, self._inbox = self._inbox, []
        if self.failed is not None or self._stopped or (core.asleep and not inbox):
            return
        try:
            parts.begin(self._clock())
            for taken, (source, message) in enumerate(inbox, start=1):
                parts.dispatcher.take(source, message)
                if journal.vote_is_unsaved:
                    self._inbox = inbox[taken:]
                    return
            if not core.asleep:
                parts.turn()
        except StorageError as error:
            self._fail(error)
        except BaseException:
            # A defect. Whoever runs this replica learns of it, and nobody hears of the replica again.
            self._fail(LogFailed("an unexpected error in a step"))
            raise

    def stop(self) -> None:
        """Open proposals and read indexes end as unknown. The log stays open: it is the host's."""
        if not self._stopped:
            self._stopped = True
            self._parts.proposals.abandon("this replica was stopped")
            self._parts.reads.abandon()
            self._parts.fetching.abandon()

    def take_outbox(self) -> list[tuple[str, Message]]:
        """Messages that may leave now, in order, as (node, message)."""
        outbox, self._released = self._released, []
        if not self._parts.journal.vote_is_unsaved:
            outbox += self._core.outbox
            self._core.outbox = []
        return outbox

    def last_words(self) -> list[tuple[str, Message]]:
        """What the others, who may sleep, are told of a replica that ended: no link does, its node lives."""
        message = ReplicaGone(self._core.vote.term)
        return [(node, message) for node in sorted(self._core.members.others)]

    # Inside.

    def _begin(self, *, says_something: bool = False) -> None:
        self._parts.begin(self._clock())
        self._parts.quiescence.wake(says_something=says_something)

    def _check_runs(self) -> None:
        if self.failed is not None or self._stopped:
            raise GroupStopped(f"this replica does not run: {self.failed or 'it was stopped'}")

    def _fail(self, error: Exception) -> None:
        if self.failed is None:
            self.failed = error
            self._core.outbox.clear()
            self._released.clear()
            self._core.asleep = False
            self._released += self.last_words()
            self._core.engine.step_down()
            self._parts.proposals.abandon(f"this replica failed: {error}")
            self._parts.reads.abandon()
            self._parts.fetching.abandon()
