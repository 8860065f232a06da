"""``floodmark recover`` used wrongly: nothing is written, and what to do is said."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from cli.exits import CONFLICT
from tests.node.test_recovery import run, stop
from tests.support.nodes import NodeCluster


def refused(*args: object) -> str:
    """What a command that ends with a conflict says."""
    result = run(*args)
    assert result.exit_code == CONFLICT, (args, result.stdout, result.stderr)
    return result.stderr


def content(folder: Path) -> dict[str, bytes]:
    """All that stands in a folder, but for the number of the process that looked at it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in files}


async def test_wrong_uses_change_nothing(tmp_path: Path) -> None:
    """Running nodes, no --yes, folders that the plan does not know or that have been started since, a plan
    for another time, and what was done already.
    """
    async with NodeCluster.running(tmp_path) as cluster:
        n1, n2, n3 = cluster.nodes.values()
        await cluster.create("orders")
        plan, file = tmp_path / "plan.json", tmp_path / "n1.survey"

        said = await asyncio.to_thread(refused, "survey", n1.data_dir, "--to", file)
        assert "in use by another process" in said
        assert "All nodes have to be stopped before a recovery" in said
        await stop(n1, n2, n3)
        shutil.copytree(n3.data_dir, tmp_path / "before")
        before = content(tmp_path)

        def while_stopped() -> None:
            assert run("survey", n1.data_dir, "--to", file).exit_code == 0
            assert "no node is missing" in refused("plan", file, n2.data_dir, n3.data_dir)
            assert "every group has a majority without n2" in refused("plan", file, n3.data_dir)
            assert "is not a node's data folder" in refused("survey", tmp_path, "--to", tmp_path / "x")
            assert "is not a survey" in refused("plan", n1.data_dir / "node.json")
            told = run("plan", file, "--to", plan)
            assert told.exit_code == 0
            assert "n1: term" in told.stdout
            assert "lost for good: n2, n3" in told.stderr
            assert "is not a plan" in refused("apply", file, n1.data_dir, "--yes")
            assert "nothing was written" in refused("apply", plan, n1.data_dir)
            assert "the plan was made without" in refused("apply", plan, n2.data_dir, "--yes")
            assert "the plan was made without" in refused("apply", plan, n1.data_dir, n2.data_dir, "--yes")
            newer = tmp_path / "newer.json"
            newer.write_text(plan.read_text().replace('"plan_version":1', '"plan_version":2'))
            assert "made by a newer Floodmark" in refused("apply", newer, n1.data_dir, "--yes")
            for written in (plan, file, newer):
                assert written.stat().st_mode & 0o777 == 0o600 or written == newer
                written.rename(tmp_path.parent / f"{tmp_path.name}-{written.name}")
            assert content(tmp_path) == before

        await asyncio.to_thread(while_stopped)
        plan = tmp_path.parent / f"{tmp_path.name}-plan.json"

        n1.start()
        await cluster.until(lambda: n1.parts is not None, "n1 runs")
        await n1.stop()
        said = await asyncio.to_thread(refused, "apply", plan, n1.data_dir, "--yes")
        assert "n1 has been started since the plan was made" in said

        def done() -> None:
            other = tmp_path / "other.json"
            assert run("plan", n1.data_dir, "--to", plan).exit_code == 0
            assert run("plan", n1.data_dir, "--to", other).exit_code == 0
            assert run("apply", plan, n1.data_dir, "--yes").exit_code == 0
            after = content(n1.data_dir)
            again = run("apply", plan, n1.data_dir, "--yes", "-o", "json")
            assert again.exit_code == 0
            assert "everything is written already" in again.stderr
            assert json.loads(again.stdout)["folders"] == [{"folder": str(n1.data_dir), "written": False}]
            assert "was recovered by another plan meanwhile" in refused("apply", other, n1.data_dir, "--yes")
            assert content(n1.data_dir) == after

        await asyncio.to_thread(done)
