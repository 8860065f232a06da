"""Every node knows who leads what, because leaders say so: in deltas, and nothing where nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from node.leader_gossip import LeaderGossip, LeadsTold
from node.leader_table import LeaderTable, Led
from node.service import inside_requests
from node.service.answer_budget import AnswerBudget, Hold
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_requests import InsideRequest, R
from tests.support.nodes import NodeCluster

VERSION = 6


class _Net:
    """Carries what gossips say to each other, counted in bytes, and loses what goes to who is cut off."""

    def __init__(self, *names: str) -> None:
        self.gossips = {name: LeaderGossip(name) for name in names}
        self.bytes = 0
        self.messages = 0
        self._answers = {name: InsideAnswers() for name in names}
        for name, gossip in self.gossips.items():
            gossip.register(self._answers[name])
            gossip.line = _Line(self, name)

    def table(self, name: str) -> LeaderTable:
        return self.gossips[name].table

    def connect(self, *names: str) -> None:
        """Have all of them hear each other from now on."""
        for name in names:
            for other in names:
                if name != other:
                    self.gossips[name].peer_up(other, VERSION)

    def cut(self, name: str) -> None:
        """Nothing gets from or to this one any more."""
        for other in self.gossips.keys() - {name}:
            self.gossips[name].peer_down(other)
            self.gossips[other].peer_down(name)

    def leads(self, name: str, group: int, term: int) -> None:
        """The replica of ``name`` was elected; the others' replicas are elsewhere."""
        for gossip in self.gossips.values():
            if gossip.table.get(group) == Led(gossip._node_id, term - 1):
                gossip.leadership(group, None, term)
        self.gossips[name].leadership(group, name, term)

    async def settle(self) -> None:
        """Until nobody has anything to tell."""
        while tasks := [task for gossip in self.gossips.values() for task in gossip._telling.values()]:
            await asyncio.gather(*tasks)
            await asyncio.sleep(0)

    async def carry(self, source: str, node: str, request: InsideRequest[R]) -> R:
        envelope, raw = inside_requests.encode_request(request)
        self.bytes += len(envelope) + len(raw)
        self.messages += 1
        await asyncio.sleep(0)
        asked = Asked(source, 1.0, AnswerBudget(1).hold(source))
        result: R = await self._answers[node].answer(inside_requests.decode_request(envelope, raw), asked)
        return result


class _Line:
    def __init__(self, net: _Net, node: str) -> None:
        self._net = net
        self._node = node

    async def ask(
        self,
        node: str,
        request: InsideRequest[R],
        *,
        timeout_s: float,
        hold: Hold | None = None,
        order: Hashable = None,
    ) -> R:
        assert timeout_s > 0
        assert (hold, order) == (None, None)
        return await self._net.carry(self._node, node, request)


def test_a_lower_term_never_replaces_a_higher_one() -> None:
    """Whatever order words come in; and who left does not take away who came."""
    table = LeaderTable()
    table.led("n1", 5, 3)
    table.led("n2", 5, 4)
    table.led("n1", 5, 3)
    assert table.get(5) == Led("n2", 4)
    table.left("n1", 5, 3)
    assert table.get(5) == Led("n2", 4)
    table.all_led("n1", {5: 2, 6: 1})
    assert (table.get(5), table.get(6)) == (Led("n2", 4), Led("n1", 1))
    table.all_led("n2", {})
    assert (table.get(5), table.get(6)) == (None, Led("n1", 1))


def test_what_is_told_of_a_deleted_group_is_void() -> None:
    """Words under way when a topic is deleted come after it; a group that is newer than all known is kept."""
    table = LeaderTable()
    for group in (5, 6, 7):
        table.led("n1", group, 1)
    table.forget_deleted({6}, 8)
    table.led("n1", 5, 2)
    table.all_led("n1", {6: 1, 7: 1, 8: 1})
    assert [table.get(group) for group in (5, 6, 7, 8)] == [None, Led("n1", 1), None, Led("n1", 1)]


async def test_what_changes_just_as_a_telling_ends_is_told() -> None:
    """A change after the last answer, and before the loop has seen that the task is over."""
    net = _Net("n1", "n2")
    net.connect("n1", "n2")
    await net.settle()
    net.leads("n1", 1, 1)
    line = net.gossips["n1"].line

    class _AtTheEnd:
        async def ask(self, node: str, request: InsideRequest[R], **options: Any) -> R:
            result = await line.ask(node, request, **options)
            asyncio.get_running_loop().call_soon(net.leads, "n1", 2, 1)
            net.gossips["n1"].line = line
            return result

    net.gossips["n1"].line = _AtTheEnd()
    await net.settle()
    assert net.table("n2").get(2) == Led("n1", 1)


async def test_three_thousand_partitions_cost_their_rows_once_and_a_change_costs_its_own() -> None:
    """Bytes counted: up to eight for each row and node, some dozens for a change, none at rest."""
    net = _Net("n1", "n2", "n3")
    net.connect("n1", "n2", "n3")
    await net.settle()
    for group in range(1, 3001):
        net.leads(f"n{1 + group % 3}", group, 1)
    await net.settle()
    for name in net.gossips:
        assert len(net.table(name)) == 3000
    assert net.bytes < 3000 * 2 * 8
    before, messages = net.bytes, net.messages
    await asyncio.sleep(0.05)
    assert (net.bytes, net.messages) == (before, messages)
    net.leads("n2", 3, 2)
    await net.settle()
    assert {net.table(name).get(3) for name in net.gossips} == {Led("n2", 2)}
    assert net.bytes - before < 4 * 60


async def test_who_joins_late_and_who_was_cut_off_learn_all_at_once() -> None:
    """Leaders changed meanwhile; what the one that was away led itself is told and outlived."""
    net = _Net("n1", "n2", "n3")
    net.connect("n1", "n2")
    for group in range(1, 11):
        net.leads("n1", group, 1)
    await net.settle()
    assert len(net.table("n3")) == 0
    net.connect("n1", "n2", "n3")
    await net.settle()
    assert len(net.table("n3")) == 10
    net.cut("n1")
    for group in range(1, 6):  # n1 does not hear of it.
        net.gossips["n2"].leadership(group, "n2", 2)
    await net.settle()
    assert net.table("n3").get(1) == Led("n2", 2)
    assert net.table("n1").get(1) == Led("n1", 1)
    net.connect("n1", "n2", "n3")
    await net.settle()
    for name in net.gossips:
        assert [net.table(name).get(group) for group in (1, 10)] == [Led("n2", 2), Led("n1", 1)]


async def test_a_node_without_a_replica_knows_who_leads_and_forgets_what_is_deleted(tmp_path: Path) -> None:
    """Real nodes: leaders and terms, after a leader went away as well; nobody is asked."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        await cluster.create("t", partitions=6, replicas=3)

        def known(name: str) -> dict[int, Led | None]:
            state, table = cluster[name].running.metadata.state, cluster[name].running.gossip.table
            return {entry.number: table.get(entry.raft_group) for entry in state.topics["t"].partitions}

        def led() -> dict[int, Led]:
            return {
                entry.number: Led(node.node_id, node.running.host.group(entry.raft_group).term)
                for node in cluster.up
                for entry in node.running.metadata.state.topics["t"].partitions
                if entry.raft_group in node.groups_led()
            }

        def all_know() -> bool:
            return len(led()) == 6 and all(known(node.node_id) == led() for node in cluster.up)

        await cluster.until(all_know, "all nodes know all leaders")
        gone = cluster[led()[0].leader]
        await gone.stop()
        await cluster.until(all_know, "they know the next ones")
        asker = next(node for node in cluster.up if node.running.metadata.leads_here)
        await asker.broker.topics.delete("t", timeout_s=10)
        await cluster.until(
            lambda: not any(len(node.running.gossip.table) for node in cluster.up), "its rows are gone"
        )


def test_the_word_of_a_leader_is_small() -> None:
    """So that one in each election costs nothing to speak of."""
    envelope, raw = inside_requests.encode_request(LeadsTold({3000: 7}, {}))
    assert len(envelope) + len(raw) < 60
