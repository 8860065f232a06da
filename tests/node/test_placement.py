"""Placement: even over nodes and racks, and deterministic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from floodmark.errors import InvalidRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.metadata.placement import even_leaders, place


def spread(counter: Counter[str], nodes: dict[str, str]) -> int:
    """Difference between the most and the least loaded node."""
    return max(counter[node] for node in nodes) - min(counter[node] for node in nodes)


@settings(max_examples=400)
@given(st.integers(1, 9), st.integers(1, 60), st.data())
def test_replicas_and_leaders_are_even_without_racks(
    count: int, partitions: int, data: st.DataObject
) -> None:
    """No node has more than one replica or preferred leadership above another."""
    nodes = {f"n{number}": "" for number in range(count)}
    factor = data.draw(st.integers(1, count))
    placed = place(nodes, partitions=partitions, replication_factor=factor)
    assert all(len(set(replicas)) == factor for replicas in placed)
    assert spread(Counter(node for replicas in placed for node in replicas), nodes) <= 1
    assert spread(Counter(replicas[0] for replicas in placed), nodes) <= 1
    assert placed == place(nodes, partitions=partitions, replication_factor=factor)


@given(st.dictionaries(st.text("nm", min_size=1), st.sampled_from("abc"), min_size=1, max_size=9), st.data())
def test_a_partition_lives_in_as_many_racks_as_it_can(racks: dict[str, str], data: st.DataObject) -> None:
    """Losing a rack costs no more replicas than it must."""
    factor = data.draw(st.integers(1, len(racks)))
    for replicas in place(racks, partitions=7, replication_factor=factor):
        assert len({racks[node] for node in replicas}) == min(factor, len(set(racks.values())))


def test_a_new_topic_goes_where_there_is_room() -> None:
    """Existing load is counted, leaderships too."""
    nodes = {"n1": "", "n2": "", "n3": ""}
    existing = [["n1", "n2"], ["n1", "n2"]]
    placed = place(nodes, partitions=2, replication_factor=1, existing=existing)
    assert placed == [["n3"], ["n3"]]
    leaders = place(nodes, partitions=2, replication_factor=3, existing=existing)
    assert [replicas[0] for replicas in leaders] == ["n2", "n3"]


def test_six_partitions_on_three_nodes_lead_two_each() -> None:
    """The cluster that `make run` starts."""
    placed = place({"n1": "", "n2": "", "n3": ""}, partitions=6, replication_factor=3)
    assert Counter(replicas[0] for replicas in placed) == {"n1": 2, "n2": 2, "n3": 2}


class _Walked(list[list[str]]):
    """Counts how often all of it is looked through."""

    walks = 0

    def __iter__(self) -> Iterator[list[str]]:
        self.walks += 1
        return super().__iter__()


def test_looking_for_uneven_leaders_reads_the_placement_once_however_many_nodes_there_are() -> None:
    """One of 100 nodes leads two more than another: a walk to pass a leadership on, and one to end."""
    names = [f"n{number:03}" for number in range(100)]
    ring = [[names[number], names[(number + 1) % 100]] for number in range(100)]
    placed, leads = _Walked([*ring, ["n000", "n001"]]), Counter(names)
    leads.update({"n000": 1, "n050": -1})
    assert even_leaders(placed, leads, names)
    assert placed.walks == 1
    assert not even_leaders(placed, leads, names)
    assert placed.walks == 2
    assert set(leads.values()) == {1}


@pytest.mark.parametrize("factor", [0, 3])
def test_too_few_nodes_are_told_by_number(factor: int) -> None:
    """The message says how many there are."""
    with pytest.raises(InvalidRequest, match="has 2 nodes"):
        place({"n1": "", "n2": ""}, partitions=1, replication_factor=factor)
