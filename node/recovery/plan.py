"""Which log each group continues from: the second step of a recovery, computed from surveys alone.

Of the folders that are left, the replica with the highest (term, index) of its last entry is chosen, as in an
election: whatever any of them knows to be committed is in its log. It alone becomes the group's voter; the
others are learners, and count as lost until they have all that it has, so that none of them can be elected
before. They become voters again automatically (``controller.py``). This is done for every group that had a
replica on a lost node, even if a majority of it is left: then the chosen replica has all that was
acknowledged, and no group's members name nodes that never return.

A partition that has no replica left keeps its number and starts over empty: its producers go on, and its
topic's other partitions stay usable. Its offsets continue far above all that it can have had, so no offset
ever denotes another record, and a reader that asks for an old one is told that it is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from node.metadata.domains.recoveries import RecordRecovery
from node.metadata.holders import holders as holders_of
from node.metadata.levels import Levels
from node.metadata.machine import MetadataMachine
from node.metadata.state import METADATA_GROUP, MetadataState
from node.metadata.this_build import THIS_BUILD
from node.recovery.errors import NotRecoverable
from node.recovery.replica_survey import ReplicaSurvey
from node.recovery.survey import Survey
from storage.vote import TERM_MAX

PLAN_VERSION: Final = 1


class PlannedNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder in the state for which the plan was made; in another state it is refused."""

    incarnation: str
    boot: int


class PlannedGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to one group that had a replica on a lost node."""

    raft_group: int
    chosen: str
    """The node whose replica the group continues from, or on which it starts over."""
    others: tuple[str, ...]
    """The nodes that fetch it from there."""
    term: int
    """The term of the entries that are written: above all that any of its replicas has met."""
    last_index: int
    last_term: int
    """The last entry that is kept."""
    segment_bytes: int
    is_damaged: bool
    """Whether damage follows that entry; it is quarantined."""
    is_emptied: bool
    """Whether none of its replicas is left."""
    keeps_state: bool = False
    """Whether its machine keeps its state in files, as the coordinator's does."""
    state_is_ahead: bool = False
    """Whether the chosen replica's state has more than the entries that are kept: it was being brought in, or
    its log is damaged."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery: what is written on which node. Each node's folder needs nothing else."""

    plan_version: int
    name: str
    cluster_id: str
    formation: str
    epoch: int
    """The cluster's new epoch; the previous one was one less, and ``recovery`` was its name."""
    recovery: str
    nodes: dict[str, PlannedNode]
    lost: tuple[str, ...]
    groups: tuple[PlannedGroup, ...]
    """The metadata's among them."""
    command: RecordRecovery
    """What the metadata keeps of it."""


class Decision(msgspec.Struct, frozen=True):
    """A plan with its reasons, for people."""

    plan: Plan
    state: MetadataState
    """The metadata before the recovery."""
    majorities: frozenset[int]
    """Groups with enough replicas left: the chosen one has all that was acknowledged."""


def decide(
    surveys: Sequence[Survey], *, name: str, at_ms: int, segment_bytes: int, levels: Levels = THIS_BUILD
) -> Decision:
    """The plan for the folders that are left; all others count as lost for good.

    ``segment_bytes``: of the metadata's log. Raises ``NotRecoverable``.
    """
    _check_one_cluster(surveys)
    found = {survey.node_id: survey.by_group() for survey in surveys}
    state, metadata = _metadata(surveys, found, levels)
    _check_known(found, state)
    members = _members(metadata, surveys)
    strangers = sorted(found.keys() - state.nodes.keys() - members)
    if strangers:
        raise NotRecoverable(
            f"{strangers[0]} is not, or no longer, one of the cluster's nodes: leave its folder out"
        )
    lost = sorted((state.nodes.keys() | members) - found.keys())
    if not lost:
        raise NotRecoverable("no node is missing, so nothing has to be recovered: start the nodes")
    groups = [_group(METADATA_GROUP, sorted(found), found, segment_bytes)]
    initial = {METADATA_GROUP: tuple(sorted(members))}
    replicas: dict[int, list[str]] = {}
    load = Counter(
        node for topic in state.topics.values() for entry in topic.partitions for node in entry.replicas
    )
    for topic in state.topics.values():
        for entry in topic.partitions:
            holders = holders_of(entry, state.moves.get(entry.raft_group))
            if found.keys() >= set(holders):
                continue
            initial[entry.raft_group] = entry.replicas
            left = [node for node in holders if node in found]
            if not any(_usable(found, node, entry.raft_group) for node in left):
                _check_nothing_in_the_way(found, left, entry.raft_group)
                left = left or [min(found, key=lambda node: (load[node], node))]
                load[left[0]] += 1
            group = _group(
                entry.raft_group,
                left,
                found,
                topic.config.segment_bytes,
                keeps_state=topic.is_coordinator,
            )
            groups.append(group)
            replicas[entry.raft_group] = left
    majorities = frozenset(
        group.raft_group for group in groups if _has_majority(group, found, initial[group.raft_group])
    )
    if len(majorities) == len(groups):
        raise NotRecoverable(
            f"every group has a majority without {', '.join(lost)}: nothing has to be recovered. Start the "
            "nodes whose folders these are; what is missing is replaced while they run"
        )
    first = surveys[0]
    command = RecordRecovery(
        epoch=first.epoch + 1,
        name=name,
        at_ms=at_ms,
        lost=lost,
        replicas=replicas,
        chosen={group.raft_group: group.chosen for group in groups if group.raft_group not in majorities},
        emptied=[group.raft_group for group in groups if group.is_emptied],
    )
    plan = Plan(
        PLAN_VERSION,
        name,
        first.cluster_id,
        first.formation,
        first.epoch + 1,
        first.recovery,
        {survey.node_id: PlannedNode(survey.incarnation, survey.boot) for survey in surveys},
        tuple(lost),
        tuple(groups),
        command,
    )
    return Decision(plan, state, majorities)


def _check_one_cluster(surveys: Sequence[Survey]) -> None:
    if not surveys:
        raise NotRecoverable("no folder is given")
    first = surveys[0]
    for survey in surveys[1:]:
        for what in ("cluster_id", "formation", "epoch", "recovery"):
            mine, other = getattr(first, what), getattr(survey, what)
            if mine != other:
                raise NotRecoverable(
                    f"{first.node_id} and {survey.node_id} are not of one cluster, or not as of one time: "
                    f"{what} is {mine!r} and {other!r}. Leave out what does not belong to it"
                )
    twice = [node for node, count in Counter(survey.node_id for survey in surveys).items() if count > 1]
    if twice:
        raise NotRecoverable(f"{twice[0]} is given twice: give only its newest folder")
    for survey in surveys:
        for replica in survey.replicas:
            if not replica.is_usable and "start a newer Floodmark" in replica.damage:
                raise NotRecoverable(f"{survey.node_id}: {replica.damage}")


def _metadata(
    surveys: Sequence[Survey], found: Mapping[str, Mapping[int, ReplicaSurvey]], levels: Levels
) -> tuple[MetadataState, ReplicaSurvey]:
    """The cluster's description, as the best of the replicas has it."""
    best = _best(METADATA_GROUP, sorted(found), found)
    if best is None:
        problems = "; ".join(f"{survey.node_id}: {survey.metadata_problem}" for survey in surveys)
        raise NotRecoverable(f"nothing tells what the cluster's topics are ({problems}). Give another folder")
    survey = next(survey for survey in surveys if survey.node_id == best)
    if not survey.metadata:
        raise NotRecoverable(
            f"{best} has the newest metadata, and they cannot be used: {survey.metadata_problem}"
        )
    machine = MetadataMachine(levels)
    machine.restore(survey.metadata)
    if machine.halted is not None:
        raise NotRecoverable(f"{best}: {machine.halted}")
    if not machine.state.nodes:
        raise NotRecoverable(
            f"the metadata of {best} know of no node: it was stopped before its cluster formed"
        )
    return machine.state, found[best][METADATA_GROUP]


def _check_known(found: Mapping[str, Mapping[int, ReplicaSurvey]], state: MetadataState) -> None:
    for node, replicas in sorted(found.items()):
        newer = max(replicas, default=0)
        if newer >= state.next_raft_group:
            raise NotRecoverable(
                f"{node} has a replica of group {newer}, of which the metadata know nothing: they are older "
                "than what they describe. Give the folder of a node that has newer ones"
            )


def _members(metadata: ReplicaSurvey, surveys: Sequence[Survey]) -> set[str]:
    """All members of the metadata's group by its newest membership."""
    if metadata.memberships:
        voters, learners = metadata.memberships[-1]
        return {*voters, *learners}
    return set(surveys[0].nodes)


def _usable(
    found: Mapping[str, Mapping[int, ReplicaSurvey]], node: str, raft_group: int
) -> ReplicaSurvey | None:
    replica = found[node].get(raft_group)
    return replica if replica is not None and replica.is_usable else None


def _best(
    raft_group: int, nodes: Collection[str], found: Mapping[str, Mapping[int, ReplicaSurvey]]
) -> str | None:
    """Whose log ends with the highest (term, index); of equal ones the first that has lost nothing."""
    ranks = {
        node: (replica.last_term, replica.last_index, replica.may_vote)
        for node in nodes
        if (replica := _usable(found, node, raft_group)) is not None
    }
    return max(ranks, key=lambda node: ranks[node], default=None)


def _group(
    raft_group: int,
    nodes: Sequence[str],
    found: Mapping[str, Mapping[int, ReplicaSurvey]],
    segment_bytes: int,
    *,
    keeps_state: bool = False,
) -> PlannedGroup:
    best = _best(raft_group, nodes, found)
    chosen = best or nodes[0]
    replica = found[chosen].get(raft_group) if best is not None else None
    met = [each.term for node in found if (each := found[node].get(raft_group)) is not None]
    term = max(met, default=0) + 1
    if term > TERM_MAX:
        raise NotRecoverable(
            f"group {raft_group} has met term {term - 1}: run 'floodmark repair-votes' first"
        )
    return PlannedGroup(
        raft_group,
        chosen,
        tuple(node for node in nodes if node != chosen),
        max(term, 2),
        replica.last_index if replica is not None else 0,
        replica.last_term if replica is not None else 0,
        segment_bytes,
        replica is not None and bool(replica.damage),
        best is None,
        keeps_state,
        replica is not None and replica.state_index > replica.last_index,
    )


def _has_majority(
    group: PlannedGroup, found: Mapping[str, Mapping[int, ReplicaSurvey]], initial: Collection[str]
) -> bool:
    """Whether the replicas left that have all they acknowledged are enough to elect a leader."""
    replica = found[group.chosen].get(group.raft_group)
    if group.is_emptied or replica is None:
        return False
    sound = {
        node
        for node in (group.chosen, *group.others)
        if (each := _usable(found, node, group.raft_group)) is not None and each.may_vote
    }
    memberships = replica.memberships or ((tuple(initial), ()),)
    return all(len(sound & set(voters)) > len(voters) // 2 for voters, _ in memberships)


def _check_nothing_in_the_way(
    found: Mapping[str, Mapping[int, ReplicaSurvey]], left: Sequence[str], raft_group: int
) -> None:
    """Refuse to start a partition over while an unusable replica might still be restored."""
    for node in left:
        replica = found[node].get(raft_group)
        if replica is not None:
            raise NotRecoverable(
                f"{node} has the only replica of group {raft_group} that is left, and it cannot be used: "
                f"{replica.damage}. Restore it, or move groups/{raft_group} of its data folder elsewhere: "
                "then the partition starts over, empty. Make a new survey afterwards"
            )
