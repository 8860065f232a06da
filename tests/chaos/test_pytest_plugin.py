"""The fixtures for users' own tests, in pytest processes as users run them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 200
_NOT_OURS = ("-p", "no:schemathesis", "-p", "no:hypothesispytest")
"""Plugins that are here for other tests: users have none of them, and they take a second of each start."""
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
STORIES = """
import os
import signal
import time

import floodmark

from chaos.faults import Aim, Bridge, Cut, Kill, Pause, Target

TOPIC = "stories"


def test_fails_while_a_node_is_paused(floodmark_client, floodmark_faults):
    floodmark_client.topics.create(TOPIC, partitions=1, replication_factor=3)
    with floodmark_faults.inject(Pause(aim=Aim(node="n2"))) as pause:
        assert pause.nodes == []


def test_leaves_faults_behind(floodmark_faults):
    floodmark_faults.inject(Cut(aim=Aim(node="n2")))
    floodmark_faults.inject(Kill(aim=Aim(node="n1")))


def test_finds_all_healed(floodmark_cluster, floodmark_url):
    assert [floodmark_cluster.runs(name) for name in floodmark_cluster.names] == [True, True, True]
    assert floodmark_url == floodmark_cluster.url("n1") != floodmark_cluster.direct_url("n1")


async def test_with_an_event_loop(floodmark_urls, floodmark_faults):
    async with floodmark.Client(floodmark_urls, request_timeout_s=1) as client:
        async with floodmark_faults.inject_async(Kill(aim=Aim(target=Target.LEADER, topic=TOPIC))) as kill:
            assert (await client.produce(TOPIC, 1)).offset == 0
            async with floodmark_faults.inject_async(Cut(aim=Aim(node=kill.nodes[0]))):
                pass
    assert [fault.healed_s is not None for fault in floodmark_faults.history] == [True, True]


def test_ends_a_node_behind_the_back(floodmark_cluster, floodmark_faults):
    os.kill(floodmark_cluster.chaos.processes.children["n3"].process.pid, signal.SIGKILL)
    while floodmark_cluster.runs("n3"):
        time.sleep(0.01)


def test_goes_on_afterwards(floodmark_cluster, floodmark_client):
    assert floodmark_cluster.runs("n3")
    assert len(list(floodmark_client.read(TOPIC))) == 1
    assert floodmark_cluster.metadata_leader() in floodmark_cluster.names


def test_is_always_drawn_alike(floodmark_faults):
    found = [floodmark_faults.inject(Cut()).nodes for _ in range(12)]
    print("drawn", sum(found, []))
    assert not found
"""
ALONE = """
import pytest

seen = []

@pytest.mark.parametrize("number", [0, 1])
def test_alone(number, floodmark_cluster):
    seen.append(floodmark_cluster.folder)
    assert floodmark_cluster.names == ["n1"]
    assert len(set(seen)) == number + 1
"""


async def _pytest(folder: Path, *args: str | Path, binary: Path, **variables: str) -> tuple[int, str]:
    """Run it in a folder: exit code and all that it said. Its temporary files go to folder/tmp."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    of_ours = ("PYTEST", "FLOODMARK_", "CI")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(of_ours)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *_NOT_OURS, "-v", *args),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**environment, "TOXIPROXY_SERVER": str(binary), "TMPDIR": str(temporary), **variables},
    )
    try:
        async with asyncio.timeout(WAIT_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert list(temporary.glob("floodmark-*")) == [], "its cluster leaves nothing behind"
    return process.returncode, out.decode()


def _project(folder: Path, tests: str) -> None:
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_mine.py").write_text(tests)


async def test_the_example_passes(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The order service of examples/ holds out against all that its tests do to the cluster."""
    shutil.copytree(ROOT / "examples" / "chaos_pytest", tmp_path, dirs_exist_ok=True)
    code, out = await _pytest(tmp_path, binary=toxiproxy_binary)
    assert code == 0, out
    assert "5 passed" in out


async def test_faults_end_with_their_test_and_failures_tell_of_them(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """Tests on one cluster do not disturb each other, and a failed one has a section on its cluster."""
    _project(tmp_path, STORIES)
    args = ("--floodmark-seed", "7", "--floodmark-keep", "kept")
    code, out = await _pytest(tmp_path, *args, binary=toxiproxy_binary)
    assert code == 1, out
    lines = [line.split() for line in out.splitlines() if line.startswith("test_mine.py::")]
    assert [(words[0].removeprefix("test_mine.py::test_"), words[1]) for words in lines] == [
        ("fails_while_a_node_is_paused", "FAILED"),
        ("leaves_faults_behind", "PASSED"),
        ("finds_all_healed", "PASSED"),
        ("with_an_event_loop", "PASSED"),
        ("ends_a_node_behind_the_back", "PASSED"),
        ("ends_a_node_behind_the_back", "ERROR"),
        ("goes_on_afterwards", "PASSED"),
        ("is_always_drawn_alike", "FAILED"),
    ], out
    assert "seed of the faults: 7 (--floodmark-seed=7)" in out
    assert "fault: pause on one (n2), from" in out
    assert "s, in force when the test failed" in out
    assert "fault: cut on one (n1), in force since" in out
    assert "NodesEnded: nodes ended by themselves: n3 (exit code -9)" in out
    assert re.search(r"\n  n2  [\d:.]{12} info    listening http=", out), "the last lines of the logs"
    (folder,) = (tmp_path / "kept").iterdir()
    assert {"n1", "n1.log", "n1.toml", "n3"} <= {each.name for each in folder.iterdir()}


async def test_a_cluster_of_its_own_for_every_test(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """As large as it is asked to be."""
    _project(tmp_path, ALONE)
    args = ("--floodmark-scope", "function", "--floodmark-nodes", "1")
    code, out = await _pytest(tmp_path, *args, binary=toxiproxy_binary)
    assert code == 0, out
    assert "2 passed" in out


async def test_without_toxiproxy_tests_are_skipped_but_not_by_ci(tmp_path: Path) -> None:
    """The reason and the fix are shown."""
    _project(tmp_path, ALONE)
    code, out = await _pytest(tmp_path, "-rs", binary=tmp_path / "nothing")
    assert (code, "2 skipped" in out) == (0, True), out
    assert "no Toxiproxy: TOXIPROXY_SERVER=" in out
    assert "correct or unset TOXIPROXY_SERVER" in out
    code, out = await _pytest(tmp_path, binary=tmp_path / "nothing", CI="true")
    assert (code, "2 errors" in out) == (1, True), out


async def test_it_costs_nothing_where_it_is_not_used() -> None:
    """The module that every pytest run loads imports neither the client nor the cluster's parts."""
    program = (
        "import sys, pytest; before = set(sys.modules); import chaos.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", program), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "['chaos', 'chaos.pytest_plugin']"
