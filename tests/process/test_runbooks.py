"""Runbooks of docs/OPERATIONS.md, run as they are written on real node processes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import floodmark
import pytest

from cli.main import floodmark as command_line
from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster
from tests.support.runbook import blocks, shell

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "OPERATIONS.md"
RESTART = ["systemctl", "restart", "floodmark"]


@pytest.mark.long
async def test_the_rolling_restart_loses_nothing_and_fails_nothing(tmp_path: Path) -> None:
    """Under a producer at full speed; every node is a new process afterwards, and each was restarted once."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create("numbers", partitions=3, replication_factor=3)
        restarted: list[str] = []

        async def on_host(host: str, command: list[str]) -> None:
            assert command == RESTART
            restarted.append(host)
            await cluster.stop(host)
            await cluster.start(host)

        ledger = Ledger("numbers", 3)
        (script,) = blocks("### Rolling restart")
        async with shell(tmp_path, cluster.urls[0], on_host) as runs, ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            await runs.run(script)
            await ledger.wait_acknowledged(500)
        assert restarted == ["n1", "n2", "n3"]
        assert not ledger.unsettled
        await ledger.check(cluster.urls)


@pytest.mark.long
async def test_a_cluster_is_formed_grows_shrinks_and_gets_other_machines(tmp_path: Path) -> None:
    """One runbook after the other, under a producer at full speed from the time that there is a cluster."""
    cluster = ProcessCluster(tmp_path / "cluster")
    server = cluster.nodes["n1"].url
    done: list[tuple[str, str]] = []

    async def on_host(host: str, command: list[str]) -> None:
        program, what, unit = command
        assert (program, unit) == ("systemctl", "floodmark")
        done.append((what, host))
        if what == "start":
            await cluster.start(host)
        else:
            assert what == "stop"
            assert await cluster.stop(host) == {host: 0}

    async def machine_lost(name: str) -> None:
        await cluster.kill(name)
        shutil.rmtree(cluster.data_dir(name))

    try:
        async with shell(tmp_path, server, on_host) as runs:
            (script,) = blocks("### Forming a cluster")
            said = await runs.run(script)
            assert all(f"\n{name} " in said for name in ("n1", "n2", "n3")), said
            async with floodmark.Client([server]) as client:
                await client.topics.create("numbers", partitions=3, replication_factor=3)
            ledger = Ledger("numbers", 3)
            async with ledger.writing([server]):
                await ledger.wait_acknowledged(200)
                for heading, before, members in (
                    ("### Growing", lambda: _added(cluster, "n4"), "n1 n2 n3 n4"),
                    ("### Shrinking", _nothing, "n1 n2 n4"),
                    ("### Replacing a machine under its name", lambda: machine_lost("n2"), "n1 n2 n4"),
                    ("### Replacing a machine under another name", lambda: _lost(cluster, "n2"), "n1 n4 n5"),
                ):
                    await before()
                    (script,) = blocks(heading)
                    await runs.run(script)
                    async with floodmark.Client([server]) as client:
                        assert [node.node_id for node in await client.nodes()] == members.split()
                        topic = await client.topics.describe("numbers")
                    assert all(len(part.in_sync) == 3 for part in topic.partitions), topic
                    await ledger.wait_acknowledged(200)
            assert ledger.unsettled == {}
            await ledger.check([server])
        assert done == [
            *(("start", name) for name in ("n1", "n2", "n3", "n4")),
            ("stop", "n3"),
            *(("start", name) for name in ("n2", "n5")),
        ]
    except BaseException:
        print(cluster.logs())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await cluster.kill(*cluster.children)
        cluster.close()


async def _nothing() -> None:
    pass


async def _added(cluster: ProcessCluster, name: str) -> None:
    cluster.add(name)


async def _lost(cluster: ProcessCluster, name: str) -> None:
    await cluster.kill(name)
    cluster.add("n5")


def test_every_runbook_uses_commands_and_options_that_there_are() -> None:
    """The long tests run them; this one finds a name that was changed, and nowhere else."""
    used = 0
    for block in re.findall(r"^```bash\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE):
        for line in re.findall(r"\bfloodmark (?!floodmark)([a-z][^|;<>#\n]*)", block):
            words = shlex.split(line)
            command: click.Command = command_line
            while isinstance(command, click.Group):
                found = command.get_command(click.Context(command), words.pop(0)) if words else None
                assert found is not None, line
                command = found
            known = {option for parameter in command.params for option in (*parameter.opts,)}
            assert {word for word in words if word.startswith("--")} <= known, line
            used += 1
    assert used >= 20
