"""``floodmark queue``, against a node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from floodmark import Client
from structlog.testing import capture_logs

from cli.main import floodmark
from tests.support.nodes import NodeCluster


class Shell:
    """Runs commands, each in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __call__(self, *args: str, code: int = 0, stdin: str = "") -> Result:
        """``floodmark queue ...``; ends with this code."""
        command = ["queue", *args, "--server", self.url]
        invoke = CliRunner().invoke
        result = await asyncio.to_thread(invoke, floodmark, command, input=stdin, prog_name="floodmark")
        assert result.exit_code == code, (args, result.output)
        return result

    async def documents(self, *args: str) -> list[dict[str, Any]]:
        """What it prints with ``-o jsonl``."""
        return [json.loads(line) for line in (await self(*args, "-o", "jsonl")).stdout.splitlines()]


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """Of a node with a topic of three records."""
    # Its log would be taken for what commands print, which run in the same process.
    with capture_logs():
        async with NodeCluster.running(tmp_path, 1) as cluster:
            url = cluster["n1"].url
            async with Client(url) as client:
                await client.topics.create("t", partitions=1)
                async with client.producer("t") as producer:
                    values = [{"exact": 1}, b"\xff", "text"]
                    await (await producer.send_many(values, keys=["a", "b", "a"]))
            yield Shell(url)


async def test_a_queue_is_made_changed_described_purged_and_deleted(shell: Shell) -> None:
    """Settings as options; what is left out stays as it is."""
    made = await shell(
        *("create", "jobs", "--topic", "t", "--ordering", "key", "--backoff", "1s,500ms", "-o", "json"),
        *("--visibility-timeout", "5m", "--breaker-failures", "0", "--breaker-pause", "1s"),
    )
    config = json.loads(made.stdout)["config"]
    assert (config["backoff_ms"], config["visibility_timeout_ms"]) == ([1000, 500], 300_000)
    assert (config["breaker"]["failures"], config["breaker"]["pause_ms"]) == (0, 1000)
    assert "created queue jobs on topic t; dead letters go to jobs.dead" in made.stderr
    again = await shell(
        "create", "jobs", "--topic", "t", "--max-deliveries", "2", "--dead-letter-topic", "none"
    )
    assert "there already" in again.stderr
    assert "dead letters go to nowhere" in again.stderr
    for wrong in (("--backoff", "soon"), ("--visibility-timeout", "none"), ("--max-deliveries", "0")):
        await shell("create", "jobs", "--topic", "t", *wrong, code=2)
    await shell("create", "jobs", "--topic", "t", "--ordering", "none", code=4)
    await shell("create", "other", "--topic", "nowhere", code=3)
    assert (await shell("list", "-o", "name")).stdout == "jobs\n"
    assert (await shell("list", "--prefix", "x", "-o", "name")).stdout == ""
    described = (await shell("describe", "jobs")).stdout.splitlines()
    assert described[0].split()[:3] == ["QUEUE", "TOPIC", "ORDERING"]
    assert described[1].split()[:4] == ["jobs", "t", "key", "3"]
    assert [one["end"] for one in await shell.documents("describe", "jobs", "--partitions")] == [3]
    assert "settled about 3 records" in (await shell("purge", "jobs", "--yes")).stderr
    assert (await shell.documents("receive", "jobs")) == []
    await shell("delete", "jobs", "--yes")
    await shell("describe", "jobs", code=3)
    await shell("receive", "jobs", code=3)


async def test_records_are_received_and_settled_by_their_receipts(shell: Shell) -> None:
    """From arguments or a pipe; what is late is told, and ends with the code of a conflict."""
    await shell("create", "jobs", "--topic", "t", "--backoff", "0s", "--visibility-timeout", "1m")
    got = await shell.documents("receive", "jobs", "-n", "10", "--wait", "5s", "--worker", "me")
    assert [(one["key"], one["deliveries"]) for one in got] == [("a", 1), ("b", 1), ("a", 1)]
    assert (got[0]["value"], got[1]["value_b64"], got[2]["value"]) == ({"exact": 1}, "/w==", "text")
    first, second, third = (str(one["receipt"]) for one in got)
    acked = await shell("ack", "jobs", first, "-o", "jsonl")
    assert json.loads(acked.stdout) == {"receipt": first, "result": "done"}
    assert "ack: 1 of 1" in acked.stderr
    await shell("extend", "jobs", second, "--for", "2m")
    await shell("nack", "jobs", second, "--delay", "0s")
    late = await shell(
        "reject", "jobs", "--reason", "bad", "-o", "jsonl", stdin=f"{second}\n\n{third}\n", code=4
    )
    assert [json.loads(line)["result"] for line in late.stdout.splitlines()] == ["late", "done"]
    assert "1 of 2, the others came too late" in late.stderr
    assert "error:" in (await shell("ack", "jobs", second, code=4)).stderr
    await shell("ack", "jobs", code=2)
    await shell("ack", "jobs", "nonsense", code=1)
    table = (await shell("receive", "jobs", "--wait", "5s", "--ack")).stdout.splitlines()
    assert table[0].split() == ["DELIVERIES", "PARTITION", "OFFSET", "KEY", "VALUE", "RECEIPT"]
    assert table[1].split()[:4] == ["2", "0", "1", "b"]
    assert (await shell("receive", "jobs", "-o", "name")).stdout == ""


async def test_why_nothing_is_received_is_told(shell: Shell) -> None:
    """Where records wait, or never come any more; an empty queue says nothing."""
    await shell("create", "jobs", "--topic", "t")
    received = await shell("receive", "jobs", "-n", "3", "--ack", "--wait", "20s")
    assert "delivers nothing" not in received.stderr
    assert "delivers nothing" not in (await shell("receive", "jobs")).stderr
    async with Client(shell.url) as client:
        await client.topics.delete("t")
        assert (await client.queues.receive("jobs")).paused == "topic_gone"
    nothing = await shell("receive", "jobs", "-o", "jsonl")
    assert nothing.stdout == ""
    assert "the queue delivers nothing at the moment: topic_gone" in nothing.stderr


async def test_dead_letters_are_shown_replayed_and_purged(shell: Shell) -> None:
    """By id, by key, all; a record is shown to the letter."""
    await shell("create", "jobs", "--topic", "t")
    names = (await shell("receive", "jobs", "-n", "10", "--wait", "5s", "-o", "name")).stdout
    await shell("reject", "jobs", "--reason", "never", stdin=names)
    async with asyncio.timeout(10):
        while len(letters := await shell.documents("dead", "list", "jobs")) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    ids = [str(letter["id"]) for letter in letters]
    assert [letter["reason"] for letter in letters] == ["never"] * 3
    shown = json.loads((await shell("dead", "show", "jobs", ids[0])).stdout)
    assert (shown["id"], shown["record"]["value"], shown["record"]["key"]) == (ids[0], {"exact": 1}, "a")
    assert shown["record"]["headers"]["floodmark-dead-reason"] == "never"
    assert "exact: 1" in (await shell("dead", "show", "jobs", ids[0], "-o", "yaml")).stdout
    assert '{"exact":1}' in (await shell("dead", "show", "jobs", ids[0], "-o", "table")).stdout
    await shell("dead", "show", "jobs", "1-2-99", code=3)
    for wrong in ((), (ids[0], "--all"), ("--header", "x")):
        await shell("dead", "replay", "jobs", *wrong, code=2)
    assert "2 dead letters" in (await shell("dead", "replay", "jobs", "--key-prefix", "a")).stderr
    back = await shell.documents("receive", "jobs", "-n", "10", "--wait", "5s", "--ack")
    assert {one["topic"] for one in back} == {"jobs.dead"}
    await shell("create", "jobs", "--topic", "t", "--dead-letter-topic", "others")
    async with Client(shell.url) as client:
        await client.topics.delete("jobs.dead")
    (gone,) = (await shell("dead", "list", "jobs", "-o", "wide")).stdout.splitlines()[1:]
    assert ids[1] in gone
    assert "jobs.dead" not in gone
    assert "None" not in gone
    assert "1 dead letters" in (await shell("dead", "purge", "jobs", ids[1], "--yes")).stderr
    await shell("dead", "purge", "jobs", "--all", "--yes")
    assert await shell.documents("dead", "list", "jobs") == []
