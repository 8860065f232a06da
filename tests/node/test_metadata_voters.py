"""Who votes in the metadata group, and that a lost voter is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.control import members
from node.membership.liveness import Silence
from node.metadata.domains.shape import DrainNode
from node.metadata.first_members import VOTERS_MAX
from node.planning.voters import metadata_voters
from tests.support.newer import lead_metadata
from tests.support.nodes import NodeCluster

SEVEN = {"n1": "a", "n2": "a", "n3": "a", "n4": "b", "n5": "b", "n6": "c", "n7": "c"}


def _voters(voters: str, *, unfit: str = "", alive: str = "1234567") -> set[str]:
    def names(text: str) -> list[str]:
        return [f"n{digit}" for digit in text]

    return set(metadata_voters(SEVEN, names(voters), unfit=names(unfit), alive=names(alive)))


def test_who_votes_stays_and_who_comes_is_of_the_rack_that_has_fewest() -> None:
    """A voter that is fit keeps its vote; one that is not gives it up only to somebody who is there."""
    assert _voters("12345") == {"n1", "n2", "n3", "n4", "n5"}, "no vote wanders for the sake of racks"
    assert _voters("12345", unfit="2") == {"n1", "n3", "n4", "n5", "n6"}
    assert _voters("12345", unfit="2", alive="13456") == {"n1", "n3", "n4", "n5", "n6"}
    assert _voters("12345", unfit="2", alive="1345") == {"n1", "n2", "n3", "n4", "n5"}, "nobody can have it"
    assert _voters("1") == {"n1", "n4", "n6", "n2", "n5"}
    assert _voters("1234567") == {"n1", "n2", "n4", "n5", "n6"}


some = st.sets(st.sampled_from(sorted(SEVEN)))


@given(some.filter(bool), some, some)
def test_there_are_as_many_votes_as_can_be_and_the_choice_is_stable(
    voters: set[str], unfit: set[str], alive: set[str]
) -> None:
    """Never more than five, never fewer than before where they fit; asked again it says the same."""
    chosen = metadata_voters(SEVEN, voters, unfit=unfit, alive=alive)
    assert min(VOTERS_MAX, len(voters)) <= len(chosen) <= VOTERS_MAX
    assert chosen - voters <= alive - unfit
    assert metadata_voters(SEVEN, chosen, unfit=unfit, alive=alive) == chosen
    fit = voters - unfit
    assert fit <= chosen or len(fit) > VOTERS_MAX
    if len(chosen) < VOTERS_MAX:
        assert not (alive - unfit - chosen), "somebody could vote"


def test_silence_is_counted_from_the_first_look_that_missed_a_node() -> None:
    """And from anew after it was heard."""
    now, alive = 0.0, {"a"}
    silence = Silence(lambda: alive, lambda: now)
    assert silence.longer_than(5, ["a", "b"]) == set()
    now = 5.0
    assert silence.longer_than(5, ["a", "b"]) == {"b"}
    alive = {"a", "b"}
    assert silence.longer_than(5, ["a", "b"]) == set()
    alive = {"a"}
    assert silence.longer_than(5, ["a", "b"]) == set()
    now = 10.0
    assert silence.longer_than(5, ["a", "b"]) == {"b"}
    assert silence.longer_than(0, ["a"]) == set()


async def test_a_lost_voter_and_a_drained_one_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seven nodes: two that learned vote in their place, and those that were replaced learn."""
    monkeypatch.setattr(members, "VOTER_SILENT_S", 0.5)
    async with NodeCluster.running(tmp_path, 7) as cluster:

        def voters() -> list[set[str]]:
            groups = [node.running.metadata.group for node in cluster.up]
            return [set(group.membership.voters) for group in groups if group is not None]

        assert all(each == {"n1", "n2", "n3", "n4", "n5"} for each in voters())
        await lead_metadata(cluster, "n1")
        await cluster["n3"].stop()
        await cluster.until(
            lambda: all(each == {"n1", "n2", "n4", "n5", "n6"} for each in voters()), "n6 votes for n3"
        )
        leader = await lead_metadata(cluster, "n1")
        await leader.running.metadata.propose(DrainNode("n1"), timeout_s=5)
        await cluster.until(
            lambda: all(each == {"n2", "n4", "n5", "n6", "n7"} for each in voters()), "n7 votes for n1"
        )
        assert not leader.running.metadata.leads_here
        cluster["n3"].start()
        await cluster.ready()
        await cluster.until(
            lambda: len(voters()) == 7 and all(each == {"n2", "n4", "n5", "n6", "n7"} for each in voters()),
            "n3 learns",
        )
        await cluster.create("t", replicas=3)
