"""A queue's leader that is deposed with deliveries and settlements in hand, and never learns what became of
them: whoever asked is told so, or is answered by its successor; nothing is lost, and nothing comes twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from node.service import queue_delivery, queue_receiving
from tests.node.test_group_routes import Asking
from tests.support.deposed import deposed
from tests.support.nodes import NodeCluster, TestNode

QUEUE = "/v1/queues/jobs"
SHARD = shard_of("jobs", SHARDS)
VISIBLE_MS = 4_000
"""Above what a busy machine takes to elect a successor and ask it for the rest."""
LONG_MS = 3_600_000


def _receipts(*records: Any) -> dict[str, list[str]]:
    return {"receipts": [record["receipt"] for record in records]}


def _results(answer: Any) -> list[str]:
    return [each["result"] for each in answer["settled"]]


@pytest.mark.parametrize("is_stored", [True, pytest.param(False, marks=pytest.mark.long)])
async def test_what_a_deposed_leader_does_not_know_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    """Of what it proposed last either all is stored by its successor, or nothing.

    What had an answer in time is unknown, in words that say what to do, and may be sent again at any node.
    What is still waited for goes on to the successor. A delivery that nobody was told of times out.
    """
    async with NodeCluster.running(tmp_path) as cluster:
        ask = Asking(cluster)
        await cluster.create("orders", replicas=3)
        settings = {"topic": "orders", "backoff_ms": [0], "visibility_timeout_ms": VISIBLE_MS}
        await ask.done(cluster["n1"], "PUT", QUEUE, settings)
        await ask.produce("orders", 0, 6)
        old = await cluster.leader(COORDINATOR_TOPIC, SHARD)
        got = (await ask.done(old, "POST", f"{QUEUE}/receive?max=3&wait=20s"))["records"]
        assert [record["value"] for record in got] == [0, 1, 2]
        acked, waited, failed = got
        await ask.done(old, "POST", f"{QUEUE}/extend", {**_receipts(*got), "visible_ms": LONG_MS})
        asked: list[asyncio.Task[Any]] = []

        async def last_words(node: TestNode) -> None:
            replicas = [each.running.host.group(_raft_group(node)) for each in cluster.up]
            tally = node.running.coordinator.tally
            before = tally.entries
            with monkeypatch.context() as patched:  # Records are asked for with no other limit.
                for module in (queue_delivery, queue_receiving):
                    patched.setattr(module, "STEP_S", 0.5)
                told = [
                    ask(node, "POST", f"{QUEUE}/ack?timeout=500ms", _receipts(acked)),
                    ask(node, "POST", f"{QUEUE}/reject?timeout=500ms", _receipts(failed)),
                    ask(node, "POST", f"{QUEUE}/receive"),
                ]
                asked.append(asyncio.create_task(ask(node, "POST", f"{QUEUE}/ack", _receipts(waited))))
                for status, problem in await asyncio.gather(*told):
                    assert (status, problem["code"]) == (504, "outcome_unknown"), problem
                    assert "an idempotent retry is safe" in problem["detail"]
            if is_stored:
                # Acknowledged, rejected, delivered, and acknowledged again: nothing that follows is proposed.
                await cluster.until(
                    lambda: (
                        tally.entries >= before + 4 and len({each.log.last_index for each in replicas}) == 1
                    ),
                    "others have it all",
                )

        async with deposed(
            cluster, COORDINATOR_TOPIC, SHARD, last_words=last_words if is_stored else None
        ) as at:
            if not is_stored:
                await last_words(at.old)
            (first,) = asked
            assert not first.done()
            result = "already" if is_stored else "done"
            for node, results in ((at.new, [result]), (at.new, ["already"])):
                assert _results(await ask.done(node, "POST", f"{QUEUE}/ack", _receipts(acked))) == results
            assert _results(await ask.done(at.new, "POST", f"{QUEUE}/reject", _receipts(failed))) == [result]
            rest = await ask.done(at.new, "POST", f"{QUEUE}/receive?max=10&wait=20s")
            lost = [3] if is_stored else []
            assert [record["value"] for record in rest["records"]] == sorted({3, 4, 5} - {*lost})
            assert {record["deliveries"] for record in rest["records"]} == {1}
            await ask.done(at.new, "POST", f"{QUEUE}/ack", _receipts(*rest["records"]))
            assert at.believes
            at.heal()
            status, answer = await first
            assert (status, _results(answer)) == (200, [result])
        while lost:
            for record in (await ask.done(old, "POST", f"{QUEUE}/receive?max=10&wait=20s"))["records"]:
                lost.remove(record["value"])
                assert record["deliveries"] == 2
                await ask.done(old, "POST", f"{QUEUE}/ack", _receipts(record))
        for node in cluster.up:
            done = await ask.done(node, "POST", f"{QUEUE}/ack", _receipts(acked, waited))
            assert _results(done) == ["already", "already"]
            assert (await ask.done(node, "POST", f"{QUEUE}/receive?max=10"))["records"] == []
        info = await _described(ask, old)
        assert (info["depth"], info["in_flight"], info["settled"], info["dead"]) == (0, 0, 6, 1)
        letters = (await ask.done(old, "GET", "/v1/topics/jobs.dead/records?from=earliest"))["records"]
        assert [record["value"] for record in letters] == [2], "rejected twice, and dead once"


async def _described(ask: Asking, node: TestNode) -> Any:
    """Once no dead letter is on its way."""
    async with asyncio.timeout(20):
        while (info := await ask.done(node, "GET", QUEUE))["dying"]:  # noqa: ASYNC110 - other nodes do it
            await asyncio.sleep(0.02)
    return info


def _raft_group(node: TestNode) -> int:
    raft_group: int = node.running.metadata.state.topics[COORDINATOR_TOPIC].partitions[SHARD].raft_group
    return raft_group
