"""One pass over a history and one over the final state; then the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chaos.checker.conditional import Conditional
from chaos.checker.final_state import DEAD_SUFFIX, ReplicaState, by_place
from chaos.checker.freshness import Freshness
from chaos.checker.gaps import Gap, Gaps
from chaos.checker.given_up import without_given_up
from chaos.checker.groups import Groups
from chaos.checker.idle_time import IdleTime
from chaos.checker.leaders import Leaders
from chaos.checker.loss import Loss
from chaos.checker.metadata import Metadata
from chaos.checker.options import CheckOptions
from chaos.checker.order import Order
from chaos.checker.origin import check_origin
from chaos.checker.placement import Placement
from chaos.checker.polls import Polls
from chaos.checker.progress import Progress, Recovery
from chaos.checker.queues import Queues
from chaos.checker.records import Places, Records
from chaos.checker.replicas import check_replicas
from chaos.checker.violation import Findings, Kind, Violation
from chaos.history import Delete, End, Event, Fail, Invoke, Produce


class Watcher(Protocol):
    """One check's part in the pass over the history."""

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in the next event; ``call`` is the operation that it ends, if it ends one."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How much was checked: a clean verdict on nothing would mean nothing."""

    events: int
    operations: int
    records_sent: int
    records_acknowledged: int
    records_seen: int
    replicas: int
    metadata_operations: int
    conditional_operations: int = 0
    """Operations on partitions that are appended to with If-Offset."""
    group_commits: int = 0
    """Of offsets, that were acknowledged."""
    group_hand_overs: int = 0
    """Partitions that were given up in order and gone on with by another member."""
    queue_acknowledged: int = 0
    """Records of a queue whose acknowledgement was confirmed."""
    queue_dead_letters: int = 0
    queue_replayed: int = 0
    """Dead letters that were delivered again."""
    queue_pauses: int = 0
    """Of their breakers, that somebody was told of."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict. ``counts`` has all violations by kind, ``violations`` the first thousand of each kind."""

    violations: tuple[Violation, ...]
    counts: Mapping[Kind, int]
    gaps: tuple[Gap, ...]
    recoveries: tuple[Recovery, ...]
    figures: Figures

    @property
    def is_clean(self) -> bool:
        """Whether nothing was violated."""
        return not self.counts


class TopicDeleted(ValueError):
    """Records were written to a topic that was also deleted, so they cannot be checked."""


def check(
    history: Iterable[Event], final: Sequence[ReplicaState], options: CheckOptions | None = None
) -> CheckResult:
    """Check a run. Raises ``TopicDeleted``, and ``HistoryInvalid`` while the history is read."""
    options = options or CheckOptions()
    if options.recoveries:
        history = without_given_up(history, options.recoveries)
    findings = Findings()
    records = Records(Places())
    placement = Placement(records, findings)
    order, metadata = Order(records, findings), Metadata(options, findings)
    idle_time = IdleTime()
    progress, gaps = Progress(options, idle_time, findings), Gaps(options, idle_time, findings)
    watchers: list[Watcher] = [idle_time, records, placement, order]
    conditional = Conditional(options, records, findings)
    watchers += [Polls(options, findings), Freshness(options, findings), Leaders(findings)]
    groups, queues = Groups(findings), Queues(findings)
    watchers += [metadata, conditional, progress, gaps, groups, queues]
    events, operations = _watch(history, watchers)
    replicas = by_place([each for each in final if not each.topic.endswith(DEAD_SUFFIX)])
    for held in replicas.values():
        for replica in held:
            placement.see_replica(replica)
    held_all = by_place(list(final))
    queues.finish(held_all)
    placement.finish()
    order.check_logs(placement)
    check_origin(records, placement, findings)
    Loss(records, placement, replicas, options, findings).check()
    # A topic of dead letters may have partitions without any, which cannot be recognised.
    wanted = {
        place: nodes
        for place, nodes in options.replicas.items()
        if place in held_all or not place[0].endswith(DEAD_SUFFIX)
    }
    check_replicas(held_all, replace(options, replicas=wanted), findings)
    metadata.finish()
    conditional.finish(placement, replicas.keys())
    progress.finish()
    longest_gaps = gaps.finish()
    figures = Figures(
        events=events,
        operations=operations,
        records_sent=records.sent,
        records_acknowledged=sum(1 for _ in records.acknowledged.items()),
        records_seen=sum(1 for _ in placement.place.items()),
        replicas=len(final),
        metadata_operations=metadata.operations,
        conditional_operations=conditional.operations,
        group_commits=groups.commits,
        group_hand_overs=groups.hand_overs,
        queue_acknowledged=queues.acknowledged,
        queue_dead_letters=queues.dead_letters,
        queue_replayed=queues.replayed,
        queue_pauses=queues.pauses,
    )
    return CheckResult(
        tuple(findings.kept), dict(findings.counts), longest_gaps, tuple(progress.recoveries), figures
    )


def _watch(history: Iterable[Event], watchers: Sequence[Watcher]) -> tuple[int, int]:
    """Show every event to all; returns how many events and operations there were."""
    open_calls: dict[int, Invoke] = {}
    written: set[str] = set()
    deleted: set[str] = set()
    events = operations = 0
    for event in history:
        events += 1
        call: Invoke | None = None
        if isinstance(event, Invoke):
            operations += 1
            open_calls[event.op] = event
            if isinstance(event.action, Produce):
                written.add(event.action.topic)
        elif isinstance(event, End):
            call = open_calls.pop(event.op)
            if isinstance(call.action, Delete) and not isinstance(event, Fail):
                deleted.add(call.action.topic)
        for watcher in watchers:
            watcher.see(event, call)
    deleted.update(call.action.topic for call in open_calls.values() if isinstance(call.action, Delete))
    if written & deleted:
        raise TopicDeleted(f"written to and deleted: {', '.join(sorted(written & deleted))}")
    return events, operations
