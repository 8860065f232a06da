"""Replicas over disks in memory, on virtual time and ordered links: deterministic, message by message.

``Replicas`` runs whole groups against each other; ``Lone`` is one replica whose peers the test plays itself.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.core.catch_up import CatchUp
from consensus.core.group import Group
from consensus.core.jobs import Job
from consensus.core.keyed_state import KeyedState
from consensus.core.large_state import is_large
from consensus.core.safeguards import ALL, Safeguard
from consensus.core.state_files import StateFiles
from consensus.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Message,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVoteResponse,
)
from consensus.types import GroupOptions, Membership, Proposal, Role
from storage.errors import LogFailed
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.vote import VoteFile

HOP_S = 0.0002
"""From one replica to the next."""
OPTIONS = GroupOptions(quiesce_after_s=1e9)


Said = tuple[str, Message]
"""To whom, and what."""

M = TypeVar("M", bound=Message)


def of_kind(kind: type[M], said: Iterable[Said], node: str | None = None) -> list[M]:
    """The messages of a kind, to all or to one."""
    return [message for to, message in said if isinstance(message, kind) and node in (None, to)]


def example_of(kind: type[Message]) -> Message:
    """A message with a value of the right type in every field that travels in a packet's header."""
    examples = {"Term": 7, "Number": 7, "bool": True, "NodeIds": ["n1", "n2"]}
    return kind(**{name: examples[hint] for name, hint in hints_of(kind).items()})


def hints_of(kind: type[Message]) -> dict[str, str]:
    """The fields that travel in a packet's header, each with the name of its type, in their order."""
    hints = {
        name: hint
        for base in reversed(kind.__mro__)
        for name, hint in vars(base).get("__annotations__", {}).items()
    }
    return {name: hints[name] for name in kind.__struct_fields__ if name not in ("frames", "state")}


def frame(index: int, term: int, payload: bytes = b"x", *, offset: int = 0, records: int = 0) -> Frame:
    """A frame with records, or a command where it has none."""
    kind = FrameKind.RECORDS if records else FrameKind.COMMAND
    return Frame(index, term, offset, 0, records, kind, payload, crc_of(payload))


class Machine:
    """Remembers what it was given; its state is the payloads so far."""

    def __init__(self, *, install_at_applied: bool = False) -> None:
        self.applied: list[tuple[int, bytes]] = []
        self.restored: list[bytes] = []
        self.install_at_applied = install_at_applied

    def apply(self, frame: Frame) -> None:
        self.applied.append((frame.index, frame.payload))

    def snapshot(self) -> bytes:
        return b",".join(payload for _, payload in self.applied) or (self.restored or [b""])[-1]

    def restore(self, state: bytes) -> None:
        self.restored.append(state)
        self.applied.clear()


class Node:
    """One disk, and the replica that lives on it for now."""

    def __init__(
        self, name: str, clock: Callable[[], float], *, log_options: LogOptions | None = None
    ) -> None:
        self.name = name
        self.fs = MemoryFileSystem()
        self.fs.mkdir("g")
        self._clock = clock
        self._log_options = log_options or LogOptions()
        self._lives = 0
        self._jobs: deque[Job] = deque()
        self._said: list[Said] = []
        self.member_news = 0
        """How often it had some."""

    def open_log(self) -> Log:
        return Log.open(self.fs, "g", self._log_options)

    def start(
        self,
        membership: Membership,
        *,
        options: GroupOptions = OPTIONS,
        safeguards: frozenset[Safeguard] = ALL,
        voting: bool = True,
        machine: Machine | KeyedState | None = None,
        catch_up: CatchUp | None = None,
        raft_group: int = 1,
    ) -> Group:
        self._lives += 1
        self.machine: Any = Machine() if machine is None else machine
        self.log = self.open_log()
        self.files = StateFiles(self.fs, "g") if is_large(self.machine) else None
        if self.files is not None:
            self.files.load(self.log, self.machine)
        self.vote = VoteFile(self.fs, "g")
        self.group = Group(
            raft_group=raft_group,
            node_id=self.name,
            log=self.log,
            vote=self.vote,
            machine=self.machine,
            membership=membership,
            clock=self._clock,
            random=random.Random(f"{self.name} {self._lives}"),
            options=options,
            voting=voting,
            safeguards=safeguards,
            files=self.files,
            catch_up=catch_up,
        )
        return self.group

    def said(self) -> list[Said]:
        """What the replica has said since the last call, and what may leave."""
        self._take()
        said, self._said = self._said, []
        return said

    def _take(self) -> None:
        ready = self.group.ready()
        self._said += ready.messages
        self._jobs += ready.jobs
        self.member_news += ready.member_news

    def run_job(self) -> bool:
        """Do one of the things that the host does in threads; whether there was any."""
        self._take()
        if not self._jobs:
            return False
        job = self._jobs.popleft()
        result, error = None, None
        try:
            result = job.work()
        except Exception as raised:  # noqa: BLE001 - as a thread does
            error = raised
        self.group.job_done(job, result, error)
        return True

    def save_vote(self) -> bool:
        """What the host does in a thread before anything leaves; whether there was anything to do."""
        if not self.group.needs_vote_saved:
            return False
        self.group.save_vote()
        self.group.vote_saved()
        return True

    def flush(self) -> None:
        """What the host does in a thread."""
        self.log.write()
        self.group.flushed(self.log.sync())

    def crash(self) -> None:
        """Lose power: what was not synced is gone."""
        self.group.stop()
        self._jobs.clear()
        self._said.clear()
        self.fs.crash(random.Random(0))
        self.fs.restart()


class Lone:
    """One replica named ``a``; the test is everybody else."""

    def __init__(
        self,
        voters: str = "abc",
        *,
        without: Safeguard | None = None,
        frames: list[Frame] | None = None,
        term: int = 0,
        **start: Any,
    ) -> None:
        self.now = 100.0
        self.node = Node("a", lambda: self.now)
        if frames:
            log = self.node.open_log()
            for each in frames:
                log.append(each)
            log.write()
            log.sync()
            log.close()
        if term:
            vote = VoteFile(self.node.fs, "g")
            vote.save(term, None)
            vote.close()
        self.membership = Membership(frozenset(voters))
        self.group = self.node.start(self.membership, safeguards=_without(without), **start)
        self.log = self.node.log
        for name in voters:
            if name != "a":
                self.group.links.peer_up(name)

    def hear(self, source: str, message: Message) -> list[Said]:
        """Deliver one message; returns what the replica then says."""
        self.group.receive(source, message)
        return self.step()

    def append(
        self, prev: tuple[int, int], frames: list[Frame], *, term: int, commit: int = 1, source: str = "b"
    ) -> list[Said]:
        """Deliver an append of a leader."""
        message = AppendEntries(term, *prev, commit=commit, round=1, attempt=0, frames=frames)
        return self.hear(source, message)

    def ack(
        self, source: str, next_index: int, *, term: int | None = None, round_: int = 1, trusted: bool = True
    ) -> list[Said]:
        """Deliver a follower's success."""
        message = AppendEntriesResponse(
            self.group.term if term is None else term,
            next_index,
            success=True,
            reset=False,
            round=round_,
            attempt=0,
            trusted=trusted,
        )
        return self.hear(source, message)

    def step(self) -> list[Said]:
        self.group.step()
        while self.node.save_vote():
            self.group.step()
        return self.node.said()

    def flush(self) -> list[Said]:
        self.node.flush()
        return self.step()

    def until_deadline(self) -> list[Said]:
        """Let time pass until something is due, and do it."""
        self.now = max(self.now, self.group.next_deadline)
        return self.step()

    def campaign(self, helpers: str = "b") -> int:
        """Become a candidate, with pre-votes of ``helpers``; returns the term."""
        said = self.until_deadline()
        for name in helpers:
            asked = of_kind(RequestPreVote, said)[0]
            said += self.hear(
                name, RequestPreVoteResponse(asked.term, granted=True, own_term=self.group.term)
            )
        assert self.group.role in (Role.CANDIDATE, Role.LEADER)
        return self.group.term

    def lead(self, helpers: str = "b") -> int:
        """Become the leader with the votes of ``helpers``; returns the term."""
        term = self.campaign(helpers)
        for name in helpers:
            self.hear(name, RequestVoteResponse(term=term))
        assert self.group.role is Role.LEADER
        return term


class Replicas:
    """A whole group. Links deliver in order; ``cut`` holds pairs that nothing passes between."""

    def __init__(
        self,
        names: str = "abc",
        *,
        learners: str = "",
        without: Safeguard | None = None,
        options: GroupOptions = OPTIONS,
        log_options: LogOptions | None = None,
        machines: Callable[[], Machine | KeyedState] = Machine,
    ) -> None:
        self.now = 0.0
        self.options = options
        self.membership = Membership(frozenset(names) - frozenset(learners), frozenset(learners))
        self.nodes = {name: Node(name, lambda: self.now, log_options=log_options) for name in names}
        self.up: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        self.flushing = True
        self.jobs_run = True
        self.hop_s = HOP_S
        self.sent: list[tuple[str, str, Message]] = []
        self._machines = machines
        self._safeguards = _without(without)
        self._queue: deque[tuple[str, str, Message]] = deque()

    def start(self, names: str | None = None, **options: Any) -> None:
        """Start replicas (all of them by default) and link them with those that run."""
        for name in names if names is not None else self.nodes:
            self.nodes[name].start(
                self.membership,
                options=self.options,
                safeguards=self._safeguards,
                machine=self._machines(),
                **options,
            )
            for other in self.up:
                self._link(name, other)
            self.up.add(name)

    def stop(self, name: str, *, crash: bool = True) -> None:
        """End a replica, by a power failure unless told otherwise."""
        self.up.discard(name)
        self._queue = deque(item for item in self._queue if name not in item[:2])
        if crash:
            self.nodes[name].crash()
        for other in self.up:
            self.group(other).links.peer_down(name)
            self.group(other).links.peer_silent(name)
            self.group(other).links.peer_gone(name)

    def fail(self, name: str) -> None:
        """A replica's disk fails and the replica ends; its node lives, so no link tells the others."""
        group = self.group(name)
        group.flush_failed(LogFailed("a test"))
        group.step()
        for target, message in self.nodes[name].said():
            self.sent.append((name, target, message))
            self._queue.append((name, target, message))
        group.stop()
        self.up.discard(name)
        self.nodes[name].crash()

    def reopen(self, name: str) -> None:
        """It is opened anew within its node: it learns which links stand, and nobody else notices."""
        self.nodes[name].start(
            self.membership, options=self.options, safeguards=self._safeguards, machine=self._machines()
        )
        for other in self.up:
            self.group(name).links.peer_up(other)
        self.up.add(name)

    def isolate(self, name: str) -> None:
        """Cut a replica off from all others."""
        for other in self.nodes:
            if other != name:
                self.cut |= {(name, other), (other, name)}
                self.group(name).links.peer_down(other)
                if other in self.up:
                    self.group(other).links.peer_down(name)

    def heal(self) -> None:
        """Every link stands again, anew."""
        cut, self.cut = self.cut, set()
        for a, b in cut:
            if a < b and a in self.up and b in self.up:
                self._link(a, b)

    def group(self, name: str) -> Group:
        return self.nodes[name].group

    def groups(self) -> list[Group]:
        return [self.group(name) for name in sorted(self.up)]

    def leader(self) -> Group:
        """The only leader of the highest term."""
        return max((g for g in self.groups() if g.role is Role.LEADER), key=lambda g: g.term)

    def followers(self) -> list[Group]:
        leader = self.leader()
        return [group for group in self.groups() if group is not leader]

    def propose(self, payload: bytes = b"x", *, records: int = 0, to: Group | None = None) -> Proposal:
        """Propose at the leader; nothing moves yet."""
        kind = FrameKind.RECORDS if records else FrameKind.COMMAND
        return (to or self.leader()).propose(kind, payload, append_time=1, record_count=records)

    def run(self, seconds: float) -> None:
        """Let everything happen that happens within this time."""
        end = self.now + seconds
        while self.now < end:
            if self._turn():
                self.now += self.hop_s
                continue
            due = min((group.next_deadline for group in self.groups()), default=end)
            self.now = max(self.now, min(due, end))

    def until(self, holds: Callable[[], object], seconds: float = 30.0) -> None:
        """Run until something holds."""
        end = self.now + seconds
        while not holds():
            assert self.now < end, f"not within {seconds} virtual seconds"
            self.run(0.01)

    def elect(self) -> Group:
        """Run until there is a leader that is ready."""
        self.until(lambda: any(group.is_ready_leader for group in self.groups()))
        return self.leader()

    def _turn(self) -> bool:
        moved = False
        for name in sorted(self.up):
            node = self.nodes[name]
            node.group.step()
            if node.save_vote():
                moved = True
            for target, message in node.said():
                moved = True
                if target in self.up and (name, target) not in self.cut:
                    self.sent.append((name, target, message))
                    self._queue.append((name, target, message))
            if self.flushing and node.group.needs_flush:
                node.flush()
                moved = True
            if self.jobs_run and node.run_job():
                moved = True
        while self._queue:
            source, target, message = self._queue.popleft()
            moved = True
            if target in self.up:
                self.group(target).receive(source, message)
        return moved

    def _link(self, a: str, b: str) -> None:
        if (a, b) not in self.cut:
            self.group(a).links.peer_up(b)
            self.group(b).links.peer_up(a)


def _without(safeguard: Safeguard | None) -> frozenset[Safeguard]:
    return ALL - {safeguard} if safeguard is not None else ALL
