"""One replica of a Raft group, as its host sees it: inputs, a step, and what is to be done after it.

The contract with the host is the docstring of this package. Beside ``Group`` stand ``group.followers``
(what a leader knows of its members), ``group.links`` (told of links to other nodes) and ``group.storage``
(checkpoints); group_parts.py is what is inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import IMPLIED, PayloadForm

from consensus.core import membership as members
from consensus.core.catch_up import CatchUp
from consensus.core.followers import Followers
from consensus.core.group_links import GroupLinks
from consensus.core.group_parts import GroupParts
from consensus.core.group_storage import GroupStorage
from consensus.core.jobs import Job
from consensus.core.journal import ProposedEntry
from consensus.core.large_state import LargeMachine
from consensus.core.ready import Ready
from consensus.core.safeguards import ALL
from consensus.core.safeguards import Safeguard as Safeguard  # noqa: PLC0414 # tests take it from here
from consensus.core.state_files import StateFiles
from consensus.messages import Message
from consensus.types import (
    ChangeRefused,
    Fetch,
    GroupOptions,
    GroupStopped,
    Membership,
    NotLeader,
    Proposal,
    ReadIndex,
    Role,
    StateMachine,
)
from storage.errors import LogFailed, StorageError
from storage.log import Log
from storage.vote import VoteFile


class Group:
    """One replica of one group.

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
        self._stopped = False
        self._inbox: list[tuple[str, Message]] = []
        parts = self._parts = GroupParts(
            raft_group=raft_group,
            node_id=node_id,
            log=log,
            vote=vote,
            machine=machine,
            membership=membership,
            clock=clock,
            random=random,
            options=options,
            voting=voting,
            safeguards=safeguards,
            files=files,
            catch_up=catch_up,
        )
        self._core = parts.core
        self.followers = Followers(parts)
        """What a leader knows of its members."""
        self.links = GroupLinks(parts)
        """Told when links to other nodes come and go."""
        self.storage = GroupStorage(parts)
        """Checkpoints, and what else lies beside the log."""
        self._granted_after: float | None = None
        """When the leader had last been heard as time was granted it that this process did not run."""
        parts.checkpoints.store_stage()

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
        self._parts.begin_awake(says_something=True)
        proposal = Proposal()
        self._parts.proposals.add(ProposedEntry(kind, payload, append_time, record_count, proposal, form))
        return proposal

    def propose_membership(self, membership: Membership) -> Proposal:
        """Change the members. Raises ``NotLeader``, ``GroupStopped``, ``ChangeRefused`` with the reason."""
        self._parts.begin_awake()
        if self._parts.proposals.membership_is_queued:
            raise ChangeRefused("another membership change is not committed yet")
        if self._core.engine.is_leader and Safeguard.C7 in self._core.safeguards:
            if not self._core.is_ready_leader:
                raise ChangeRefused("this leader has not committed an entry of its own yet")
            replication = self._parts.replication
            self._core.members.check_change(
                membership,
                commit_index=self._core.engine.commit_index,
                match=replication.match_of,
                is_trusted=replication.is_trusted,
            )
        return self.propose(FrameKind.MEMBERSHIP, members.encode(membership), append_time=0)

    def receive(self, source: str, message: Message) -> bool:
        """Queue a message of another replica; whether a step is due, or it can wait for the next one."""
        self._inbox.append((source, message))
        return not self._parts.can_wait(source, message)

    def held_up(self, seconds: float) -> None:
        """This process was stalled for so long, so silence of the peers is not evidence of their failure.

        A follower extends its election timeout for that at most once per contact with the leader: where
        processes are always late, elections must begin all the same. A leader that is known to be gone is not
        waited for.
        """
        core = self._core
        if not core.runs or core.asleep or self._parts.prevote.is_hurried:
            return
        if core.engine.is_leader or self._granted_after != core.leader_heard_at:
            self._granted_after = core.leader_heard_at
            self._parts.begin()
            core.engine.allow(seconds)

    def read_index(self) -> ReadIndex:
        """Ask up to where a read must have applied; see ``ReadIndex``. Raises ``GroupStopped``."""
        self._check_runs()
        self._parts.begin_awake(says_something=True)
        return self._parts.reads.ask()

    def fetch(self, first: int, last: int) -> Fetch:
        """Ask the peers for committed frames that cannot be read here. Raises ``GroupStopped``."""
        self._check_runs()
        self._parts.begin_awake()
        return self._parts.fetching.ask(first, last)

    def campaign(self) -> None:
        """Ask for votes now and not after a timeout, where no leader is known; the others may refuse."""
        if self._core.runs and self._core.engine.leader is None:
            self._parts.begin_awake()
            self._parts.prevote.cancel()
            self._core.engine.end_election_clock()

    def leave(self) -> None:
        """Begin to lead no more: this replica is about to stop. One that leads goes on."""
        self._parts.prevote.leaving = True

    def transfer(self, to: str | None = None) -> bool:
        """Begin to hand over the leadership; False where this replica does not lead, or no voter is up."""
        if not self._core.runs or not self._core.engine.is_leader:
            return False
        self._parts.begin_awake()
        return self._parts.transfer.start(to)

    def flushed(self, durable_index: int) -> bool:
        """``log.sync()`` has returned this; whether a step is due, in which what waited for it goes on."""
        assert durable_index >= 0, "an index"
        parts = self._parts
        parts.was_flushed = True
        return bool(self._inbox) or parts.needs_flush or parts.journal.vote_is_unsaved or parts.flush_decides

    def flush_failed(self, error: StorageError) -> None:
        """A write or fsync of the log or the vote failed: this replica is of no more use."""
        self._fail(error)

    def save_vote(self) -> None:
        """Make term and vote durable, while ``Ready.save_vote``; in any thread. Raises ``StorageError``."""
        self._parts.journal.save_vote()

    def vote_saved(self) -> None:
        """``save_vote()`` has returned: what waited for it may leave, and the next step goes on."""
        self._parts.journal.vote_is_unsaved = False
        if self._core.failed is None:
            self._core.released += self._core.outbox
        self._core.outbox = []

    def step(self) -> None:
        """Take in what is queued, look at the deadlines, resolve what is decided; ``ready`` has the rest.

        Ends early where the term or vote changes, and does nothing until that is saved: whatever a replica
        says or writes after it depends on it (C4). Nor does it while the log is replaced.
        """
        parts, core = self._parts, self._core
        journal = parts.journal
        if (journal.vote_is_unsaved or core.installing) and core.runs:
            return
        inbox, self._inbox = self._inbox, []
        if not core.runs or (core.asleep and not inbox):
            return
        try:
            parts.begin()
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
            # A defect: it is raised to the host, and this replica takes part in nothing any more.
            self._fail(LogFailed("an unexpected error in a step"))
            raise

    def ready(self) -> Ready:
        """What is to be done now. Called after each step, and the only way in which anything leaves."""
        parts, core = self._parts, self._core
        messages, core.released = core.released, []
        save_vote = parts.journal.vote_is_unsaved
        if core.outbox and not save_vote:
            messages += core.outbox
            core.outbox = []
        jobs = core.jobs
        if jobs:
            core.jobs = []
        damage, core.damage = core.damage, None
        news, core.member_news = core.member_news, False
        log, is_sound = self.log, core.failed is None
        return Ready(
            messages=messages,
            save_vote=save_vote and is_sound,
            # ``needs_flush``, without the calls: this is part of every step.
            flush=log.durable_index < log.last_index and is_sound and not (save_vote or core.installing),
            jobs=jobs,
            deadline=parts.deadline if core.runs else math.inf,
            member_news=news,
            damage=damage,
        )

    def job_done(self, job: Job, result: object, error: BaseException | None) -> bool:
        """A job has ended, with its result or an error; whether a step is due."""
        core = self._core
        if not core.runs:
            return False
        self._parts.begin()
        try:
            job.ended(result, error)
        except StorageError as failure:
            self._fail(failure)
        except BaseException:
            self._fail(LogFailed("an unexpected error behind a job"))
            raise
        return job.exclusive or core.failed is not None or bool(core.outbox) or bool(core.jobs)

    def stop(self) -> None:
        """Open proposals and read indexes end as unknown. The log stays open: it is the host's."""
        if not self._stopped:
            self._stopped, self._core.runs = True, False
            self._abandon("this replica was stopped")

    # What may be read between steps.

    @property
    def failed(self) -> Exception | None:
        """Why this replica is of no more use; after this it takes part in nothing."""
        return self._core.failed

    @property
    def needs_flush(self) -> bool:
        """What the next ``Ready.flush`` would be."""
        return self._core.failed is None and self._parts.needs_flush

    @property
    def needs_vote_saved(self) -> bool:
        """What the next ``Ready.save_vote`` would be."""
        return self._core.failed is None and self._parts.journal.vote_is_unsaved

    @property
    def next_deadline(self) -> float:
        """What the next ``Ready.deadline`` would be."""
        return self._parts.deadline if self._core.runs else math.inf

    @property
    def role(self) -> Role:
        """What this replica is now."""
        return self._core.engine.role if self._core.members.is_voter else Role.LEARNER

    @property
    def term(self) -> int:
        """The highest term that this replica knows of."""
        return self._core.engine.term

    @property
    def leader(self) -> str | None:
        """Who leads that term, as far as is known here; None once this replica asks for votes."""
        return None if self._parts.prevote.is_asking else self._core.engine.leader

    @property
    def membership(self) -> Membership:
        """The members in force."""
        return self._core.members.current

    @property
    def commit_index(self) -> int:
        """The last entry that is known committed."""
        return self._core.engine.commit_index

    @property
    def applied_index(self) -> int:
        """The last entry that the machine has seen: committed, and durable here."""
        return self._core.applied_index

    @property
    def high_watermark(self) -> int:
        """Records below this offset are committed, and durable here."""
        return self._core.applied_offset

    @property
    def is_ready_leader(self) -> bool:
        """Whether this replica leads and has applied all that was committed before it did."""
        return self._core.is_ready_leader

    @property
    def terms_refused(self) -> int:
        """How many messages were not taken in because they would have moved the term too far."""
        return self._core.terms_refused

    @property
    def asleep(self) -> bool:
        """Quiescent: nothing to do, and no heartbeats."""
        return self._core.asleep

    @property
    def may_vote(self) -> bool:
        """False while this replica has lost data and not regained it."""
        return self._parts.disk_loss_recovery.may_vote

    # Inside.

    def _check_runs(self) -> None:
        if not self._core.runs:
            raise GroupStopped(f"this replica does not run: {self._core.failed or 'it was stopped'}")

    def _fail(self, error: Exception) -> None:
        core = self._core
        if core.failed is None:
            core.failed, core.runs = error, False
            core.outbox.clear()
            core.asleep = False
            core.released = self.links.last_words()
            core.engine.step_down()
            self._abandon(f"this replica failed: {error}")

    def _abandon(self, reason: str) -> None:
        self._parts.proposals.abandon(reason)
        self._parts.reads.abandon()
        self._parts.fetching.abandon()
