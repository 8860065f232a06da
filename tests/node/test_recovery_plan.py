"""Which replica is chosen, what is said to be lost, and which surveys lead to no plan."""

from __future__ import annotations

import msgspec
import pytest

from node.metadata import commands
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.moves import MoveReplicas, Reassignment, StartMoves
from node.metadata.domains.recoveries import (
    NUMBERS_SKIPPED,
    OFFSETS_PER_EPOCH,
    PRODUCER_IDS_SKIPPED,
    RecordRecovery,
)
from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.metadata.state import MetadataState
from node.recovery.errors import NotRecoverable
from node.recovery.plan import Decision, decide
from node.recovery.replica_survey import ReplicaSurvey
from node.recovery.report import report
from node.recovery.survey import SURVEY_VERSION, Survey
from tests.node.test_metadata_state import create, frame, machine_after, register

NAMES = ("n1", "n2", "n3", "n4", "n5")
KNOWS = (1, MEMBERSHIP)
ALL = (NAMES, ())


def replica(group: int, term: int, index: int, **fields: object) -> ReplicaSurvey:
    """One that has as many records as entries, and can vote."""
    made = ReplicaSurvey(group, index, term, 0, index, 9, term, 0, may_vote=True, memberships=())
    return msgspec.structs.replace(made, **fields)


def machine() -> MetadataMachine:
    """Five nodes; group 1 on the first three, group 2 on the last three, group 3 on n5 alone."""
    return machine_after(
        *(register(name, f"i-{name}", KNOWS) for name in NAMES),
        create("t", ["n1", "n2", "n3"], ["n3", "n4", "n5"]),
        create("one", ["n5"]),
        RaiseLevel(MEMBERSHIP),
    )


def survey(
    node: str, *replicas: ReplicaSurvey, of: MetadataMachine | None = None, **fields: object
) -> Survey:
    """Of one of the five; entry 20 of term 3 is the last of its metadata."""
    metadata = replica(0, 3, 20, memberships=(ALL,))
    state = (of or machine()).snapshot()
    replicas = (metadata, *replicas)
    made = Survey(SURVEY_VERSION, node, "c", "f", f"i-{node}", 4, 0, "", NAMES, replicas, state)
    return msgspec.structs.replace(made, **fields)


def plan_of(*surveys: Survey) -> Decision:
    """The plan that they lead to."""
    return decide(surveys, name="r1", at_ms=7, segment_bytes=1 << 20)


def losses(*surveys: Survey) -> dict[int, tuple[str, str]]:
    """Group -> how much of it is lost, and where it goes on from."""
    told = report(surveys, plan_of(*surveys))
    return {group["group"]: (group["loss"], group["chosen"]) for group in told["groups"]}


def test_the_highest_term_counts_before_the_highest_index() -> None:
    """As in an election: what a later leader has committed is in its log, however much another one has."""
    n1 = survey("n1", replica(1, 2, 900))
    n2 = survey("n2", replica(1, 3, 40))
    assert losses(n1, n2)[1] == ("none", "n2"), "two of three are a majority"
    (group,) = [group for group in plan_of(n1, n2).plan.groups if group.raft_group == 1]
    assert (group.others, group.last_index, group.last_term, group.term) == (("n1",), 40, 3, 4)


def test_of_equal_logs_one_that_has_lost_nothing_is_chosen() -> None:
    """And its majority counts such replicas only."""
    n1 = survey("n1", replica(1, 3, 40, may_vote=False))
    n2 = survey("n2", replica(1, 3, 40))
    assert losses(n1, n2)[1] == ("possible", "n2")


def test_what_cannot_be_used_is_not_chosen() -> None:
    """However high it stood; the term that it has met is not given again."""
    bad = msgspec.structs.replace(replica(1, 0, 0, damage="bad"), term=9, is_usable=False)
    n1 = survey("n1", bad)
    n2 = survey("n2", replica(1, 3, 40))
    (group,) = [group for group in plan_of(n1, n2).plan.groups if group.raft_group == 1]
    assert (group.chosen, group.term) == ("n2", 10)


def test_what_is_known_to_be_missing_is_said() -> None:
    """Somebody knows that an entry was committed, and its log was cut since: no word of perhaps."""
    n1 = survey("n1", replica(1, 3, 30, committed=45, may_vote=False))
    n2 = survey("n2", replica(1, 3, 40))
    assert losses(n1, n2)[1] == ("certain", "n2")


def test_what_a_later_leader_may_have_had_in_its_place_is_said() -> None:
    """The chosen log may end with entries that were never committed, where lost nodes had others."""
    n1 = survey("n1", replica(1, 3, 40, committed=25, committed_offset=25))
    n4 = survey("n4")
    surveys = (n1, n4)
    (row,) = [row for row in report(surveys, plan_of(*surveys))["groups"] if row["group"] == 1]
    assert (row["loss"], row["safe_offset"]) == ("possible", 25)
    assert "acknowledged from offset 40 on" in row["text"]
    assert "gone on without n1, so may what was acknowledged from offset 25 on" in row["text"]


def test_partitions_without_a_replica_begin_anew_on_the_node_with_the_least() -> None:
    """Each keeps its number; the plan says so, and the metadata too, with all numbers above the old ones."""
    n1, n2 = survey("n1", replica(1, 3, 40)), survey("n2", replica(1, 3, 40))
    decision = plan_of(n1, n2)
    emptied = {group.raft_group: group.chosen for group in decision.plan.groups if group.is_emptied}
    assert emptied == {2: "n1", 3: "n2"}
    before = msgspec.structs.replace(decision.state)
    after = machine_after_recovery(decision.plan.command)
    assert [entry.replicas for entry in after.topics["t"].partitions] == [("n1", "n2"), ("n1",)]
    assert [entry.replicas for entry in after.topics["one"].partitions] == [("n2",)]
    assert after.topics["t"].replication_factor == 3, "what was asked for stays known"
    assert sorted(after.nodes) == ["n1", "n2"]
    assert after.next_raft_group == before.next_raft_group + NUMBERS_SKIPPED
    assert after.next_topic_id == before.next_topic_id + NUMBERS_SKIPPED
    assert after.next_producer_id == before.next_producer_id + PRODUCER_IDS_SKIPPED
    (kept,) = after.recoveries
    assert (kept.epoch, kept.name, kept.at_ms, kept.lost) == (1, "r1", 7, ("n3", "n4", "n5"))
    assert (kept.emptied, kept.chosen) == ((2, 3), {0: "n1", 2: "n1", 3: "n2"})
    assert OFFSETS_PER_EPOCH > 1 << 39


def machine_after_recovery(command: RecordRecovery) -> MetadataState:
    """The state of the five nodes' cluster after it."""
    made = machine()
    made.apply(frame(90, commands.encode(command)))
    made.apply(frame(91, commands.encode(command)))  # A second time it is of the past.
    restored = MetadataMachine()
    restored.restore(made.snapshot())
    assert restored.state == made.state
    return restored.state


def test_replicas_on_their_way_are_replicas() -> None:
    """A node that a partition was moving to may have the only log that is left; the move is off."""
    moving = machine()
    wanted = Reassignment(2, ["n3", "n4", "n5"], ["n1", "n4", "n5"])
    queued = Reassignment(3, ["n5"], ["n4"])
    for index, command in ((90, MoveReplicas([wanted, queued])), (91, StartMoves({2: 1}))):
        moving.apply(frame(index, commands.encode(command)))
    n1 = survey("n1", replica(1, 3, 40), replica(2, 2, 7), of=moving)
    n2 = survey("n2", replica(1, 3, 40), of=moving)
    decision = plan_of(n1, n2)
    (group,) = [group for group in decision.plan.groups if group.raft_group == 2]
    assert (group.chosen, group.last_index, group.is_emptied) == ("n1", 7, False)
    moving.apply(frame(92, commands.encode(decision.plan.command)))
    assert moving.state.moves == {}
    assert moving.state.topics["t"].partitions[1].replicas == ("n1",)


@pytest.mark.parametrize(
    ("surveys", "why"),
    [
        pytest.param([], "no folder", id="none"),
        pytest.param([survey(name) for name in NAMES], "no node is missing", id="all"),
        pytest.param(
            [
                survey("n1", replica(1, 3, 4)),
                survey("n2", replica(1, 3, 4)),
                survey("n4", replica(2, 3, 4)),
                survey("n5", replica(2, 3, 4), replica(3, 3, 4)),
            ],
            "every group has a majority without n3",
            id="majority",
        ),
        pytest.param([survey("n1"), survey("n2", cluster_id="d")], "not of one cluster", id="cluster"),
        pytest.param([survey("n1"), survey("n2", formation="g")], "not of one cluster", id="formation"),
        pytest.param([survey("n1"), survey("n2", epoch=1)], "epoch is 0 and 1", id="epoch"),
        pytest.param([survey("n1"), survey("n1")], "n1 is given twice", id="twice"),
        pytest.param(
            [survey("n1"), survey("n9")], "n9 is not, or no longer, one of the cluster", id="stranger"
        ),
        pytest.param(
            [survey("n1", metadata=b"", metadata_problem="broken")], "cannot be used: broken", id="metadata"
        ),
        pytest.param(
            [survey("n1", replicas=())], "nothing tells what the cluster's topics are", id="no metadata"
        ),
        pytest.param([survey("n1", replica(9, 1, 1))], "of which the metadata know nothing", id="older"),
        pytest.param(
            [
                survey(
                    "n1",
                    msgspec.structs.replace(replica(1, 0, 0, damage="a bad frame"), is_usable=False),
                )
            ],
            "n1 has the only replica of group 1 that is left, and it cannot be used: a bad frame",
            id="only one",
        ),
        pytest.param(
            [
                survey(
                    "n5",
                    msgspec.structs.replace(
                        replica(3, 0, 0, damage="frame 7 needs level 9: start a newer Floodmark"),
                        is_usable=False,
                    ),
                )
            ],
            "start a newer Floodmark",
            id="too new",
        ),
    ],
)
def test_what_leads_to_no_plan(surveys: list[Survey], why: str) -> None:
    """Each with words that say what to do instead."""
    with pytest.raises(NotRecoverable, match=why):
        plan_of(*surveys)
