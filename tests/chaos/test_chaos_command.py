"""``floodmark chaos`` with real nodes and real faults, from the command line to the verdict."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from collections.abc import Set
from pathlib import Path

import psutil
import pytest

from chaos.checker.violation import Kind
from chaos.history import FaultBegan, Healed, Leads
from chaos.history_file import read_history
from chaos.run import judge
from tests.chaos.chaos_process import SHORT, chaos, ended
from tests.chaos.lateness import broken


async def test_a_killed_leader_is_survived_and_a_damaged_disk_is_not(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """A run that kills the leader is clean, exit code 0; judged again with a flipped bit it is not: 6."""
    scenario = tmp_path / "short.toml"
    scenario.write_text(SHORT.format(name="short", kind="kill"))
    args = ("run", scenario, "--seed", "5", "--out", tmp_path / "runs", "-o", "json")
    code, out, err = await ended(await chaos(*args, binary=toxiproxy_binary))
    assert code in (0, 6), err
    found = json.loads(out)
    folder = tmp_path / "runs" / "short-5"
    late = await _was_late(folder)
    assert (code, found["clean"], found["counts"].keys()) == _expected(late), err
    assert found["records_acknowledged"] > 100
    assert ("promises were broken" if late else "every promise was kept") in err
    events = list(read_history(folder / "history.jsonl"))
    assert [event.name for event in events if isinstance(event, FaultBegan)] == ["kill on leader"]
    assert sum(isinstance(event, Healed) for event in events) == 1
    groups = {event.group for event in events if isinstance(event, Leads)}
    assert groups == {"metadata", "orders/0", "orders/1", "races/0"}
    result = judge(folder)
    assert (result.seed, result.scenario.seed, result.nodes) == (5, 5, ["n1", "n2", "n3"])
    assert result.began_ns < result.healed_ns < result.ended_ns

    segment = max((folder / "cluster" / "n2" / "groups").rglob("*.log"), key=lambda file: file.stat().st_size)
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    code, out, err = await ended(await chaos("check", folder, "-o", "json", binary=toxiproxy_binary))
    assert code == 6, err
    assert json.loads(out)["counts"] == {**found["counts"], "replica_damaged": 1}
    assert "violated: replica_damaged (1)" in err
    assert "the replica on n2 is damaged" in err


async def test_an_isolated_leader_is_survived(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The network fault goes through real proxies; the folder has all that it takes to run it again."""
    scenario = tmp_path / "cut.toml"
    scenario.write_text(SHORT.format(name="alone", kind="cut"))
    args = ("run", scenario, "--out", tmp_path / "runs", "-o", "name")
    code, out, err = await ended(await chaos(*args, binary=toxiproxy_binary))
    assert code in (0, 6), err
    folder = Path(out.strip())
    assert code == _expected(await _was_late(folder))[0], err
    assert {"scenario.toml", "history.jsonl", "report.html", "report.json", "cluster"} <= {
        each.name for each in await asyncio.to_thread(lambda: list(folder.iterdir()))
    }
    again = (folder / "scenario.toml").read_text()
    assert f"seed = {folder.name.removeprefix('alone-')}\n" in again


async def _was_late(folder: Path) -> bool:
    """Nothing worse: on a machine that has much else to do."""
    result = await asyncio.to_thread(judge, folder)
    assert (broken(result.check), result.deaths, result.unready) == ([], {}, {})
    return bool(result.check.counts)


def _expected(late: bool) -> tuple[int, bool, Set[str]]:
    """The exit code, whether that is clean, and what is counted."""
    return (6, False, {str(Kind.NO_PROGRESS)}) if late else (0, True, set())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_run_and_all_its_processes(
    number: signal.Signals, toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """On a terminal, where the nodes are shown as they run; the exit code is that of what Ctrl-C ends."""
    terminal, shown_on = pty.openpty()
    args = ("run", "no-fault", "--out", tmp_path / "runs")
    process = await chaos(*args, binary=toxiproxy_binary, stderr=shown_on)
    os.close(shown_on)
    try:
        text = await asyncio.to_thread(_read_until, terminal, "leads orders/")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4, "three nodes and Toxiproxy"
        process.send_signal(number)
        reading = asyncio.create_task(asyncio.to_thread(_read_until, terminal, None))
        code, _, _ = await ended(process)
        text += await reading
    finally:
        os.close(terminal)
    assert code == 130, text
    assert "records/s" in text
    assert "Traceback" not in text
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=20)
    assert alive == []


async def test_without_toxiproxy_it_says_why_and_what_to_do(tmp_path: Path) -> None:
    """Nothing is started, and the exit code is that of something unavailable."""
    process = await chaos("run", "no-fault", "--out", tmp_path, binary=tmp_path / "nothing")
    code, out, err = await ended(process)
    assert (code, out) == (5, "")
    assert "is not an executable file" in err
    assert "hint: correct or unset TOXIPROXY_SERVER" in err


async def test_a_scenario_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    """Every mistake in the file is told; a name that there is none of is told with those there are."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('name = "x"\nnodes = 0\n[[fault]]\nat_s = 1\nfor_s = 1\nkind = "?"\n')
    code, _, err = await ended(await chaos("run", wrong, binary=tmp_path))
    assert code == 2
    assert "'nodes' must be" in err
    assert "fault 1: 'kind' is '?'" in err
    code, _, err = await ended(await chaos("run", "no-such", binary=tmp_path))
    assert code == 3
    assert "kill-leader" in err


def _read_until(terminal: int, words: str | None) -> str:
    """What a terminal shows, up to ``words`` or its end. The caller's process ends it in bounded time."""
    text = ""
    while words is None or words not in text:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # Linux says so when nobody holds the other side any more
            break
        if not read:
            break
        text += read.decode(errors="replace")
    return text
