"""``floodmark dev`` whose nodes are killed, or cannot start."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import signal
import socket
from pathlib import Path

import floodmark
import psutil
import pytest

from local.ports import LOOPBACK
from local.restarts import VAIN_STARTS_MAX, Restarts
from tests.cli.dev_process import STARTED, DevProcess, dev_process
from tests.process.ledger import Ledger


async def _make_topic(dev: DevProcess) -> Ledger:
    async with floodmark.Client(dev.urls) as client:
        await client.topics.create("numbers", partitions=3, replication_factor=3)
    return Ledger("numbers", 3)


async def _all_gone(nodes: list[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, nodes, timeout=30)
    return not alive


async def _stop(node: asyncio.subprocess.Process) -> None:
    node.terminate()
    await node.wait()


async def _server_at(port: int) -> socket.socket:
    """At the port of a node that was killed, once it is free."""
    async with asyncio.timeout(30):
        while True:
            try:
                return socket.create_server((LOOPBACK, port))
            except OSError:
                await asyncio.sleep(0.01)


async def test_a_killed_node_comes_back_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Under a producer at full speed, each node once; the line that `dev` prints to try it is the first."""
    async with dev_process(tmp_path, "--restart-after", "0.5") as dev:
        await dev.says(STARTED)
        ledger = await _make_topic(dev)
        assert (offered := re.search(r"^  kill -9 (\d+)    # n2$", dev.text, re.MULTILINE)), dev.text
        assert f"n2 {dev.urls[1]} (pid {offered[1]})" in dev.text
        async with ledger.writing(dev.urls):
            for name, others in (("n2", "n1, n3"), ("n1", "n2, n3"), ("n3", "n1, n2")):
                await ledger.wait_acknowledged(500)
                dev.kill(name)
                await dev.says(
                    f"{name} was killed (signal 9); {others} go on; {name} is started again in 0.5 s"
                )
                await dev.says(f"{name} is started again (pid ")
                await dev.says(f"{name} is ready again, ")
            await ledger.wait_acknowledged(500)
        await ledger.check(dev.urls)
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0


async def test_without_restarts_the_others_serve_and_the_node_is_started_by_hand(tmp_path: Path) -> None:
    """With the very words that `dev` says; after that nobody else's node is stopped by `dev`."""
    async with dev_process(tmp_path, "--no-restart") as dev:
        await dev.says(STARTED)
        ledger = await _make_topic(dev)
        async with contextlib.AsyncExitStack() as by_hand:
            async with ledger.writing(dev.urls):
                dev.kill("n2")
                await dev.says("n2 was killed (signal 9); n1, n3 go on; to start n2 again: ")
                await ledger.wait_acknowledged(500)
                command = shlex.split(dev.text.rpartition("to start n2 again: ")[2].splitlines()[0])
                process = await asyncio.create_subprocess_exec(
                    *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
                )
                by_hand.push_async_callback(_stop, process)
                dev.kill("n3")
                await dev.says("n1 goes on, short of a majority (2 nodes)")
                await ledger.wait_acknowledged(500)
            # All that was sent is settled; without the node that was started by hand nothing would be.
            assert ledger.unsettled == {}
            await ledger.check(dev.urls)
        dev.kill("n1")
        assert await dev.ends() == 1
        assert "error: no node is left: n1 was killed (signal 9); n2 was" in dev.text


async def test_a_node_that_cannot_be_started_again_is_left_alone(tmp_path: Path) -> None:
    """After five vain starts with longer and longer pauses; the others serve, and Ctrl-C ends well."""
    async with dev_process(tmp_path, "--restart-after", "0.1") as dev:
        await dev.says(STARTED)
        ledger = await _make_topic(dev)
        (tmp_path / "data" / "n2.toml").write_text("[node]\nshoe_size = 44\n")
        dev.kill("n2")
        await dev.says("n2 is started again in 0.2 s")
        assert "n2 ended by itself with exit code 2; n1, n3 go on; " in dev.text
        assert "shoe_size" in dev.text, "the last lines of its log"
        await dev.says("after 5 failed starts it is not restarted any more; to start n2 again: ")
        assert re.findall(r"again in (\S+) s", dev.text) == ["0.1", "0.2", "0.4", "0.8", "1.6"]
        async with ledger.writing(dev.urls):
            await ledger.wait_acknowledged(500)
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0
        assert dev.text.endswith("stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_a_node_is_away_stops_the_others(tmp_path: Path, number: signal.Signals) -> None:
    """Without waiting for the node's next start."""
    async with dev_process(tmp_path, "--restart-after", "3600") as dev:
        await dev.says(STARTED)
        nodes = dev.nodes()
        dev.kill("n1")
        await dev.says("n1 is started again in 3600 s")
        dev.process.send_signal(number)
        assert await dev.ends() == 0
        assert dev.text.endswith("stopped\n")
        assert await _all_gone(nodes)


async def test_ctrl_c_while_nodes_are_being_started_again_leaves_none(tmp_path: Path) -> None:
    """Two of three are not ready yet and cannot be for want of each other."""
    async with dev_process(tmp_path, "--restart-after", "0.1") as dev:
        await dev.says(STARTED)
        nodes = dev.nodes()
        dev.kill("n1")
        dev.kill("n2")
        await dev.says("n2 is started again (pid ")
        nodes += dev.nodes()
        dev.process.send_signal(signal.SIGINT)
        assert await dev.ends() == 0
        assert dev.text.endswith("stopped\n")
        assert await _all_gone(nodes)


async def test_a_node_that_cannot_start_ends_the_command(tmp_path: Path) -> None:
    """Before all have been ready once: exit code 1, its name, the last it said; the others are stopped."""
    damaged = tmp_path / "data" / "n2"
    damaged.mkdir(parents=True)
    (damaged / "node.json").write_text("not JSON")
    async with dev_process(tmp_path, "-n", "3") as dev:
        await dev.says("starting 3 nodes")
        assert await dev.ends() == 1
        assert "error: n2 ended by itself with exit code 1 before the cluster was ready" in dev.text
        assert "can_not_run" in dev.text
        assert "ready:" not in dev.text


async def test_a_node_whose_port_is_taken_meanwhile_is_not_started_again(tmp_path: Path) -> None:
    """Who answers there would be taken for it; as no other node is left, that is the end."""
    async with dev_process(tmp_path, "-n", "1", "--restart-after", "0.1") as dev:
        await dev.says(STARTED)
        port = int(dev.urls[0].rpartition(":")[2])
        dev.process.send_signal(signal.SIGSTOP)  # It hears that the node is gone once the port is taken.
        dev.kill("n1")
        with await _server_at(port):
            dev.process.send_signal(signal.SIGCONT)
            await dev.says("n1 was killed (signal 9); no other node runs; n1 is started again in 0.1 s")
            assert await dev.ends() == 1
        assert f"n1 is not started again: its port {port} is taken" in dev.text
        assert "error: no node is left: n1 was killed (signal 9)" in dev.text


def test_each_vain_start_doubles_the_pause_up_to_a_minute() -> None:
    """And the fifth is the last; a longer pause that was asked for stays as it is."""
    pauses = [Restarts(10).pause_s(vain) for vain in range(VAIN_STARTS_MAX + 1)]
    assert pauses == [10, 20, 40, 60, 60, None]
    assert Restarts(300).pause_s(2) == 300
    assert Restarts(None).pause_s(0) is None
