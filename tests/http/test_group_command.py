"""``floodmark group`` and ``floodmark consume -g``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from node.metadata.levels import GROUPS, MOVED_POSITIONS
from tests.http.conftest import Harness


@pytest.fixture(autouse=True)
async def filled(http: Harness) -> None:
    """Two partitions, of five records and of three."""
    http.cluster.level = GROUPS
    await http.make_topic(partitions=2)
    for partition, count in ((0, 5), (1, 3)):
        records = [{"value": f"{partition}/{number}"} for number in range(count)]
        path = f"/v1/topics/t/partitions/{partition}/records"
        answer = await http.call("POST", path, json={"records": records})
        assert answer.status == 200, answer.body


async def run(http: Harness, *args: str) -> Result:
    """One command, in a thread of its own."""
    command = [*args, "--server", http.url("")]
    return await asyncio.to_thread(CliRunner().invoke, floodmark, command, prog_name="floodmark")


async def test_consume_as_a_group_goes_on_where_it_was(http: Harness) -> None:
    """What was printed is committed: exactly so many, then the rest, then nothing."""
    first = await run(http, "consume", "t", "-g", "g", "-n", "3", "-f", r"%v\n")
    assert first.exit_code == 0, first.output
    rest = await run(http, "consume", "t", "-g", "g", "-f", r"%v\n")
    printed = [json.loads(line) for line in (first.stdout + rest.stdout).split()]
    assert len(first.stdout.split()) == 3
    assert sorted(printed) == [
        *(f"0/{number}" for number in range(5)),
        *(f"1/{number}" for number in range(3)),
    ]
    assert (await run(http, "consume", "t", "-g", "g")).stdout == ""
    assert (await run(http, "consume", "t", "-g", "new", "--from", "latest")).stdout == ""
    for wrong in (("-p", "0"), ("--from", "7")):
        assert (await run(http, "consume", "t", "-g", "g", *wrong)).exit_code == 2


async def test_groups_are_listed_sent_elsewhere_and_deleted(http: Harness, tmp_path: Path) -> None:
    """Positions in words and from a file; nothing is changed by a dry run."""
    assert (await run(http, "consume", "t", "-g", "g")).exit_code == 0
    assert (await run(http, "group", "list", "-o", "name")).stdout == "g\n"
    assert json.loads((await run(http, "group", "describe", "g", "-o", "json")).stdout)["state"] == "empty"
    assert (await run(http, "group", "members", "g", "-o", "name")).stdout == ""
    looked = await run(http, "group", "seek", "g", "--to", "-2", "--dry-run", "-o", "jsonl")
    assert [json.loads(line)["after"] for line in looked.stdout.splitlines()] == [3, 1]
    lags = (await run(http, "group", "lag", "g", "-o", "jsonl")).stdout.splitlines()
    assert [json.loads(line)["lag"] for line in lags] == [0, 0], "nothing was changed"
    file = tmp_path / "offsets"
    file.write_text(looked.stdout)
    assert (await run(http, "group", "seek", "g", "--file", str(file))).exit_code == 0
    assert len((await run(http, "consume", "t", "-g", "g")).stdout.split()) == 4
    file.write_text("t,0,1\n\nt, 1, 0\n")
    assert (await run(http, "group", "seek", "g", "--file", str(file))).exit_code == 0
    sent = await run(http, "group", "seek", "g", "--to", "latest", "--partition", "t/1")
    assert "g goes on here" in sent.stderr
    table = (await run(http, "group", "lag", "g")).stdout.splitlines()
    assert [line.split()[:5] for line in table[1:]] == [["t", "0", "1", "5", "4"], ["t", "1", "3", "3", "0"]]
    for text in ("t,0", "t,x,1", "{}", ""):
        file.write_text(text)
        assert (await run(http, "group", "seek", "g", "--file", str(file))).exit_code == 2
    for wrong in ((), ("--to", "1", "--file", str(file)), ("--to", "1", "--partition", "t")):
        assert (await run(http, "group", "seek", "g", *wrong)).exit_code == 2
    assert (await run(http, "group", "delete", "g", "--topic", "t", "--yes")).exit_code == 0
    assert (await run(http, "group", "lag", "g", "-o", "jsonl")).stdout == ""
    assert (await run(http, "group", "delete", "g", "--yes")).exit_code == 0
    assert (await run(http, "group", "describe", "g")).exit_code == 3


async def test_positions_in_partitions_are_shown_and_deleted(http: Harness) -> None:
    """With the source's name while there is one; what other groups keep stays."""
    await http.make_topic("source")
    source = json.loads((await http.call("GET", "/v1/topics/source")).body)["topic_id"]
    for group, topic_id, partition in (("g", source, 1), ("g", 1 << 40, 0), ("h", source, 1)):
        path = f"/v1/topics/t/partitions/{partition}/positions/{group}"
        begun = await http.call("POST", path, json={"topic_id": topic_id, "partition": 3})
        assert begun.status == 200, begun.body
    http.cluster.level = MOVED_POSITIONS
    moved = {"topic_id": source, "partition": 3, "next_offset": 42, "producer": "p", "producer_epoch": 0}
    assert (await http.call("PUT", "/v1/topics/t/partitions/1/positions/g", json=moved)).status == 200
    shown = (await run(http, "group", "positions", "g", "t")).stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["t", "0", f"#{1 << 40}", "3", "-"],
        ["t", "1", "source", "3", "42"],
    ]
    assert (await run(http, "group", "positions", "g", "none")).exit_code == 3
    deleted = await run(http, "group", "positions", "g", "t", "--delete", "--yes", "-o", "name")
    assert (deleted.stdout, "deleted 2 positions of g in t" in deleted.stderr) == ("t/0\nt/1\n", True)
    assert (await run(http, "group", "positions", "g", "t", "-o", "name")).stdout == ""
    assert (await run(http, "group", "positions", "h", "t", "-o", "name")).stdout == "t/1\n"
