"""At the end every replica exists, is undamaged, and holds the same as the others."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping

from chaos.checker.final_state import MISSING, UNKNOWN, ReplicaState
from chaos.checker.options import CheckOptions, Place
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.record_value import name_of

_NO_FRAME = 0


def check_replicas(
    replicas: Mapping[Place, list[ReplicaState]], options: CheckOptions, findings: Findings
) -> None:
    """Compare the replicas of every partition."""
    for place in sorted(replicas.keys() | options.replicas.keys()):
        topic, partition = place
        wanted = options.replicas.get(place)
        # A node whose replica has moved away may not have deleted all of it yet.
        held = [each for each in replicas.get(place, []) if wanted is None or each.node in wanted]
        for node in sorted((wanted or frozenset()) - {replica.node for replica in held}):
            summary = f"{node} has no replica"
            findings.add(
                Kind.REPLICA_MISSING, summary, Evidence(summary, node=node), topic=topic, partition=partition
            )
        for replica in held:
            if replica.findings:
                evidence = [
                    Evidence(f"{found.path} at byte {found.position}: {found.what}", node=replica.node)
                    for found in replica.findings
                ]
                summary = f"the replica on {replica.node} is damaged"
                findings.add(Kind.REPLICA_DAMAGED, summary, *evidence, topic=topic, partition=partition)
        if held:
            _compare_all(place, held, options, findings)


def _compare_all(place: Place, held: list[ReplicaState], options: CheckOptions, findings: Findings) -> None:
    digests = Counter(replica.digest for replica in held)
    model = max(held, key=lambda replica: (digests[replica.digest], replica.last_index))
    for replica in held:
        if (replica.digest, replica.base_index, replica.last_index) == (
            model.digest,
            model.base_index,
            model.last_index,
        ):
            continue
        evidence = _differences(replica, model, is_trimmed=place[0] in options.trimmed_topics)
        if evidence:
            summary = f"{replica.node} differs from {model.node}: {evidence[0].what}"
            findings.add(Kind.REPLICAS_DIFFER, summary, *evidence, topic=place[0], partition=place[1])


def _differences(replica: ReplicaState, model: ReplicaState, *, is_trimmed: bool) -> list[Evidence]:
    """The first difference of each kind. Holes are reported as damage; frames without records may lag."""
    found: list[Evidence] = []
    offset = _first_difference(
        replica.values, replica.start_offset, model.values, model.start_offset, hole=MISSING
    )
    if offset is not None:
        for one in (replica, model):
            value = one.value_at(offset)
            assert value is not None
            what = f"{one.node} holds {name_of(value)} at offset {offset}"
            found.append(Evidence(what, None, offset, value, one.node))
    index = _first_difference(
        replica.frames, replica.base_index, model.frames, model.base_index, hole=_NO_FRAME
    )
    if index is not None:
        found.append(Evidence(f"frame {index} is not the same", node=replica.node))
    # If one of both was compacted there are no frames to compare; removed entries keep their places.
    for what, mine, theirs, hole in (
        ("term", replica.terms, model.terms, _NO_FRAME),
        ("first offset", replica.firsts, model.firsts, UNKNOWN),
    ):
        index = _first_difference(mine, replica.base_index, theirs, model.base_index, hole=hole)
        if index is not None:
            found.append(Evidence(f"entry {index} has another {what}", node=replica.node))
    if replica.next_offset != model.next_offset:
        for one in (replica, model):
            what = f"{one.node} ends before offset {one.next_offset}"
            found.append(Evidence(what, None, one.next_offset, None, one.node))
    if replica.start_offset != model.start_offset and not is_trimmed:
        for one in (replica, model):
            what = f"{one.node} begins at offset {one.start_offset}"
            found.append(Evidence(what, None, one.start_offset, None, one.node))
    return found


def _first_difference(
    mine: array[int], my_first: int, theirs: array[int], their_first: int, *, hole: int
) -> int | None:
    first = max(my_first, their_first)
    end = min(my_first + len(mine), their_first + len(theirs))
    for at in range(first, end):
        a, b = mine[at - my_first], theirs[at - their_first]
        if a != b and hole not in (a, b):
            return at
    return None
