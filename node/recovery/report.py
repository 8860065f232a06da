"""Reports a plan before anything is done: what each node has, and what may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.metadata.domains.recoveries import OFFSETS_PER_EPOCH
from node.metadata.state import METADATA_GROUP
from node.recovery.plan import Decision, PlannedGroup
from node.recovery.replica_survey import ReplicaSurvey
from node.recovery.survey import Survey

Document = dict[str, Any]


def report(surveys: Sequence[Survey], decision: Decision) -> Document:
    """``groups`` are those that had a replica on a lost node, the metadata's first; others are untouched.

    ``loss`` is one of none, possible, certain, all. Below ``safe_offset`` all that was acknowledged is there.
    """
    plan, found = decision.plan, {survey.node_id: survey.by_group() for survey in surveys}
    names: dict[int, tuple[str, int | None]] = {METADATA_GROUP: ("(metadata)", None)}
    for entry in decision.state.topics.values():
        names |= {partition.raft_group: (entry.name, partition.number) for partition in entry.partitions}
    rows = []
    for group in plan.groups:
        replicas = {
            node: replicas[group.raft_group]
            for node, replicas in found.items()
            if group.raft_group in replicas
        }
        loss, safe, text = _loss(
            group, replicas, plan.epoch, is_whole=group.raft_group in decision.majorities
        )
        topic, partition = names[group.raft_group]
        rows.append(
            {
                "topic": topic,
                "partition": partition,
                "group": group.raft_group,
                "replicas": [_replica(node, replica) for node, replica in sorted(replicas.items())],
                "chosen": group.chosen,
                "others": list(group.others),
                "loss": loss,
                "safe_offset": safe,
                "text": text,
            }
        )
    return {
        "recovery": plan.name,
        "cluster_epoch": plan.epoch,
        "nodes": sorted(plan.nodes),
        "lost": list(plan.lost),
        "groups": rows,
        "untouched": len(names) - len(rows),
    }


def _replica(node: str, replica: ReplicaSurvey) -> Document:
    if not replica.is_usable:
        return {"node": node, "usable": False, "damage": replica.damage}
    return {
        "node": node,
        "usable": True,
        "term": replica.last_term,
        "index": replica.last_index,
        "start_offset": replica.start_offset,
        "next_offset": replica.next_offset,
        "bytes": replica.size_bytes,
        "may_vote": replica.may_vote,
        "damage": replica.damage or None,
    }


def _loss(
    group: PlannedGroup, replicas: dict[str, ReplicaSurvey], epoch: int, *, is_whole: bool
) -> tuple[str, int, str]:
    if group.is_emptied:
        begins = epoch * OFFSETS_PER_EPOCH
        return (
            "all",
            0,
            f"no replica is left, all of its records are lost: it starts over, empty, at offset {begins}",
        )
    best = replicas[group.chosen]
    knows = max(replicas.values(), key=lambda replica: replica.committed)
    if knows.committed > best.last_index:
        return (
            "certain",
            best.next_offset,
            f"entries up to {knows.committed} were acknowledged, and no folder has them" + _damage(best),
        )
    if is_whole:
        return "none", best.next_offset, "a majority is left: all that was acknowledged is there"
    if group.raft_group == METADATA_GROUP:
        text = "changes to topics and settings that were acknowledged last may be lost"
    else:
        text = f"what was acknowledged from offset {best.next_offset} on, if there was anything, is lost"
        if knows.committed_offset < best.next_offset:
            # Its last entries may never have been committed: then a later leader, of which nothing is left,
            # had others in their place.
            text += (
                f"; if the lost nodes had gone on without {group.chosen}, so may what was acknowledged from "
                f"offset {knows.committed_offset} on, with other records in its place"
            )
    met = max(replica.term for replica in replicas.values())
    if met > best.last_term:
        text += f" (term {met} has begun, and there is nothing of it)"
    return "possible", knows.committed_offset, text + _damage(best)


def _damage(replica: ReplicaSurvey) -> str:
    return f"; damaged, what stands behind is set aside: {replica.damage}" if replica.damage else ""
