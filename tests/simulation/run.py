"""One run from one seed: faults and load first, then healing, then a last look at everything."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from dataclasses import dataclass

from consensus.core.safeguards import Safeguard
from tests.simulation.broken import IN_THE_GROUP, Rule
from tests.simulation.cluster import Cluster
from tests.simulation.final import check_everything
from tests.simulation.healing import Healing
from tests.simulation.nemesis import Nemesis
from tests.simulation.profile import Profile, profile_of
from tests.simulation.trace import Trace
from tests.simulation.violation import Violation


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run. ``rule`` and ``failure`` are None when every promise was kept."""

    seed: int
    profile: str
    digest: str
    virtual_s: float
    cpu_s: float
    stored: int
    repeated: int
    """Batches that idempotent producers sent again."""
    wrapped: int
    """Batches behind which the sequences of their producer went on at 0."""
    processed: int
    """How far programs that process have come."""
    taken_over: int
    """How often one took over."""
    passed: int
    """How often one moved its position alone."""
    compacted: int
    """Segments that replicas have compacted."""
    faults: int
    leaders: int
    moves: int
    """Of replicas, that came to their end while faults struck."""
    recovered: int
    """How often a majority was lost for good, and the rest went on."""
    lost: int
    """Entries that were committed and are no more: those that a recovery said may be lost."""
    refused: int
    """Connections between nodes that a recovery left out and others."""
    members: Counter[str]
    """What members of groups did that was committed, by kind, and what came about."""
    rule: str | None
    failure: str | None


def simulate(
    seed: int,
    *,
    disabled: frozenset[Safeguard] = frozenset(),
    profile: Profile | None = None,
    listener: list[str] | None = None,
    broken: frozenset[Rule] = frozenset(),
) -> Result:
    """Run one seed to its end or to the first broken promise. The same seed gives the same run, anywhere.

    ``disabled`` safeguards of the groups and ``broken`` rules of whoever changes their members are left out.
    """
    if broken & IN_THE_GROUP:
        disabled |= {Safeguard.C7}
    began = time.process_time()
    trace = Trace()
    trace.listener = listener
    profile = profile or profile_of(seed)
    cluster: Cluster | None = None
    nemesis: Nemesis | None = None
    rule = failure = None
    try:
        cluster = Cluster(seed, profile, frozenset(Safeguard) - disabled, trace, broken)
        nemesis = Nemesis(cluster, cluster.rng("nemesis"))
        cluster.scheduler.run(profile.duration_s)
        nemesis.stop()
        cluster.workload.stop()
        cluster.retrying.stop()
        cluster.processing.stop()
        cluster.operator.stop()
        if cluster.members is not None:
            cluster.members.rests = True
        Healing(cluster, cluster.rng("healing")).run()
        if cluster.members is not None:
            cluster.members.settle()
        check_everything(cluster)
        cluster.retrying.check()
        cluster.processing.check()
    except Violation as violation:
        rule, failure = violation.rule, str(violation)
    except Exception as error:  # noqa: BLE001 - whatever the code under test raises is a finding.
        rule, failure = f"no {type(error).__name__}", traceback.format_exc()
    if failure is not None:
        failure = explain(seed, profile, failure, trace, disabled | broken)
    return Result(
        seed=seed,
        profile=profile.name,
        digest=trace.digest,
        virtual_s=cluster.scheduler.now if cluster else 0.0,
        cpu_s=time.process_time() - began,
        stored=cluster.workload.stored if cluster else 0,
        repeated=cluster.retrying.repeated if cluster else 0,
        wrapped=cluster.retrying.wrapped if cluster else 0,
        processed=cluster.processing.stored if cluster else 0,
        taken_over=cluster.processing.taken_over if cluster else 0,
        passed=cluster.processing.moved if cluster else 0,
        compacted=cluster.compacted if cluster else 0,
        faults=sum(nemesis.struck.values()) if nemesis else 0,
        leaders=len(cluster.watch.leader_of) if cluster else 0,
        moves=cluster.moves.finished if cluster and cluster.moves else 0,
        recovered=cluster.recoveries.done if cluster and cluster.recoveries else 0,
        lost=cluster.recoveries.lost if cluster and cluster.recoveries else 0,
        refused=cluster.recoveries.refused if cluster and cluster.recoveries else 0,
        members=cluster.members.promises.counts if cluster and cluster.members else Counter(),
        rule=rule,
        failure=failure,
    )


def explain(
    seed: int, profile: Profile, failure: str, trace: Trace, disabled: frozenset[Safeguard | Rule]
) -> str:
    """All that a person needs to start looking."""
    switches = "".join(f" --disable {safeguard.name}" for safeguard in sorted(disabled, key=str))
    return (
        f"{trace.tail()}\n\nseed {seed} (profile {profile.name!r}, {trace.count} events): {failure}\n"
        f"replay: scripts/simulate --seed {seed}{switches}\n"
    )
