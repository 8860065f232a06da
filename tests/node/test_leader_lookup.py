"""Who leads a partition, for a node that has no replica of it or hears too few others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from floodmark.errors import Unavailable

from node.leader_table import LeaderTable
from node.metadata.state import PartitionEntry
from node.partition import remote_partition
from node.partition.remote_partition import AskLeader, LeaderLookup

NODES = ("n1", "n2", "n3")
GROUP = 7
ENTRY = PartitionEntry(number=0, raft_group=GROUP, replicas=NODES, incarnations=())


@pytest.fixture(autouse=True)
def _remembers_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as a test takes: what is forgotten is asked anew."""
    monkeypatch.setattr(remote_partition, "REMEMBERED_S", 60)


def lookup(
    ask: AskLeader, *, alive: frozenset[str], is_older: Callable[[str], bool] = lambda _node: False
) -> LeaderLookup:
    return LeaderLookup("n1", LeaderTable(), lambda: alive, is_older=is_older, ask=ask)


async def find(by: LeaderLookup, *, deadline_s: float = 30) -> str:
    return await by.find("numbers", 1, ENTRY, NODES, deadline_s=deadline_s)


async def test_a_node_that_hears_nobody_asks_all_at_once_and_believes_nobody_that_it_leads_itself() -> None:
    async def ask(node: str, _topic: str, _topic_id: int, _partition: int) -> str | None:
        if node == "n2":
            await asyncio.Event().wait()  # It cannot be reached.
        return "n3"

    async def ask_behind(node: str, _topic: str, _topic_id: int, _partition: int) -> str | None:
        return "n1" if node == "n2" else "n3"

    assert await find(lookup(ask, alive=frozenset({"n1"}))) == "n3"
    assert await find(lookup(ask_behind, alive=frozenset({"n1"}))) == "n3"


async def test_whoever_waits_shares_what_is_asked() -> None:
    asked: list[str] = []

    async def ask(node: str, _topic: str, _topic_id: int, _partition: int) -> str | None:
        asked.append(node)
        await asyncio.sleep(0)
        return "n2"

    by = lookup(ask, alive=frozenset({"n1"}))
    assert await asyncio.gather(*(find(by) for _ in range(50))) == ["n2"] * 50
    assert sorted(asked) == ["n2", "n3"]


async def test_where_enough_are_heard_only_older_nodes_that_are_there_are_asked() -> None:
    asked: list[str] = []

    async def ask(node: str, _topic: str, _topic_id: int, _partition: int) -> str | None:
        asked.append(node)
        return "n2"

    with pytest.raises(Unavailable, match="no leader"):
        await find(lookup(ask, alive=frozenset(NODES)), deadline_s=0.01)
    assert asked == []
    older = lookup(ask, alive=frozenset({"n1", "n2"}), is_older=lambda node: node != "n1")
    assert await find(older) == "n2"
    assert asked == ["n2"]
