"""What consumer groups promise: committed offsets never go back, a partition has one owner in each epoch,
what a group commits some member got, and what is handed over in order is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.checker.options import Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import (
    At,
    Beat,
    Commit,
    Event,
    FetchOffsets,
    GroupAction,
    Has,
    Invoke,
    Join,
    Leave,
    Membership,
    Offsets,
    Ok,
    Page,
    Read,
    Take,
    Took,
)

_Of = tuple[str, str, int]
"""A group, and a partition that it reads."""


@dataclass(slots=True)
class _Member:
    """A member as its process knew it."""

    group: str
    id: str
    has: dict[tuple[int, int], Has] = field(default_factory=dict)
    """What it has, or has not given up yet, by topic id and number."""
    read: dict[Place, int] = field(default_factory=dict)
    """Where it would read on."""
    committed: dict[Place, int] = field(default_factory=dict)


class Groups:
    """Follows members by their processes; a process has one member after the other."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._members: dict[str, _Member] = {}
        self._owners: dict[tuple[str, int, int, int], tuple[str, Evidence]] = {}
        self._since: dict[_Of, list[int]] = {}
        """The epochs in which a partition was given to somebody."""
        self._committed: dict[_Of, Evidence] = {}
        self._floors: dict[int, dict[_Of, Evidence]] = {}
        """What was committed when an operation began."""
        self._covered: dict[_Of, int] = {}
        """Members got everything before it."""
        self._given: dict[_Of, tuple[int, Evidence]] = {}
        self._begun: set[tuple[_Of, int]] = set()
        self.commits = 0
        self.hand_overs = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke):
            if isinstance(event.action, GroupAction):
                self._begins(event, event.action)
        elif isinstance(event, Ok) and call is not None:
            if isinstance(call.action, GroupAction):
                self._told(event, call, call.action)
            elif isinstance(call.action, Read | Take) and isinstance(event.result, Page | Took):
                self._got(event, call, call.action, event.result)

    def _begins(self, call: Invoke, action: GroupAction) -> None:
        member = self._members.get(call.process)
        match action:
            case Join():
                self._members[call.process] = _Member(action.group, action.member)
            case Beat() if member is not None:
                self._gives_up(call, member, [each for each in member.has if each not in action.owned])
            case Leave() if member is not None:
                self._gives_up(call, member, list(member.has))
            case Commit():
                self._floors[call.op] = self._floor(action.group, action.offsets)
                self._covers(call, action)
            case FetchOffsets():
                wanted = (action.group, action.topic)
                self._floors[call.op] = {of: at for of, at in self._committed.items() if of[:2] == wanted}

    def _floor(self, group: str, offsets: Iterable[At]) -> dict[_Of, Evidence]:
        of = ((group, at.topic, at.partition) for at in offsets)
        return {each: self._committed[each] for each in of if each in self._committed}

    def _covers(self, call: Invoke, commit: Commit) -> None:
        for at in commit.offsets:
            covered = self._covered.get((commit.group, at.topic, at.partition), 0)
            if at.offset > covered:
                self._findings.add(
                    Kind.GROUP_SKIPPED,
                    f"{commit.group} committed {at.offset}, and nobody got offset {covered}",
                    _evidence(f"{commit.member} commits", call, call.time_ns, at.offset),
                    topic=at.topic,
                    partition=at.partition,
                )

    def _gives_up(self, call: Invoke, member: _Member, gone: list[tuple[int, int]]) -> None:
        """In order, if all that it got is committed."""
        for each in gone:
            has = member.has.pop(each)
            place = (has.topic, has.partition)
            read = member.read.pop(place, None)
            if read is not None and read == member.committed.get(place):
                given = _evidence(f"{member.id} gives it up", call, call.time_ns, read)
                self._given[member.group, *place] = (has.since, given)

    def _told(self, event: Ok, call: Invoke, action: GroupAction) -> None:
        member = self._members.get(call.process)
        if isinstance(event.result, Membership) and member is not None:
            self._owns(event, call, member, event.result)
        elif isinstance(event.result, Offsets):
            floors = self._floors.pop(call.op, {})
            now = {(action.group, at.topic, at.partition): at.offset for at in event.result.offsets}
            for of, floor in floors.items():
                if of not in now and _is_renewed(of[1]):
                    continue  # The topic is gone, and what was committed in it.
                self._compare(of, floor, _evidence("is committed", call, event.time_ns, now.get(of, 0)))
            if isinstance(action, Commit):
                self._commits(event, call, action, member)

    def _commits(self, event: Ok, call: Invoke, commit: Commit, member: _Member | None) -> None:
        self.commits += 1
        for at in commit.offsets:
            of = (commit.group, at.topic, at.partition)
            before = self._committed.get(of)
            if before is None or (before.offset or 0) < at.offset:
                self._committed[of] = _evidence("was committed", call, event.time_ns, at.offset)
            if member is not None and member.id == commit.member:
                member.committed[at.topic, at.partition] = at.offset

    def _compare(self, of: _Of, before: Evidence, now: Evidence) -> None:
        if (now.offset or 0) < (before.offset or 0):
            summary = f"{of[0]} had committed {before.offset}, and later {now.offset}"
            self._findings.add(Kind.OFFSET_WENT_BACK, summary, before, now, topic=of[1], partition=of[2])

    def _owns(self, event: Ok, call: Invoke, member: _Member, told: Membership) -> None:
        for has in told.has:
            key = (member.group, has.topic_id, has.partition, has.since)
            mine = _evidence(f"{member.id} has it since epoch {has.since}", call, event.time_ns, None)
            owner, theirs = self._owners.setdefault(key, (member.id, mine))
            if owner != member.id:
                self._findings.add(
                    Kind.TWO_OWNERS,
                    f"{owner} and {member.id} had it in epoch {has.since}",
                    theirs,
                    mine,
                    topic=has.topic,
                    partition=has.partition,
                )
            place = (has.topic, has.partition)
            before = member.has.get((has.topic_id, has.partition))
            if before is None or before.since != has.since:
                member.read.pop(place, None)
                member.committed.pop(place, None)
                self._since.setdefault((member.group, *place), []).append(has.since)
            member.has[has.topic_id, has.partition] = has

    def _got(self, event: Ok, call: Invoke, read: Read | Take, page: Page | Took) -> None:
        member = self._members.get(call.process)
        if member is None:
            return
        place = (read.topic, read.partition)
        of = (member.group, *place)
        covered = self._covered.get(of, 0)
        if read.offset <= covered:
            self._covered[of] = max(covered, page.next_offset)
        member.read[place] = page.next_offset
        since = next((has.since for has in member.has.values() if (has.topic, has.partition) == place), None)
        if since is None or (of, since) in self._begun:
            return
        self._begun.add((of, since))
        given = self._given.get(of)
        earlier = max((each for each in self._since[of] if each < since), default=None)
        if given is None or given[0] != earlier:
            return
        self.hand_overs += 1
        if read.offset < (given[1].offset or 0):
            self._findings.add(
                Kind.HANDED_OVER_TWICE,
                f"{member.id} begins at {read.offset}, and it was given up at {given[1].offset}",
                given[1],
                _evidence(f"{member.id} reads", call, event.time_ns, read.offset),
                topic=read.topic,
                partition=read.partition,
            )


def _is_renewed(topic: str) -> bool:
    """Whether it may be deleted at any time: see ``Take``."""
    return "#" in topic


def _evidence(what: str, call: Invoke, time_ns: int, offset: int | None) -> Evidence:
    return Evidence(what, time_ns, offset, None, call.node, call.process, call.op)
