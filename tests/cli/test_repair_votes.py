"""Taking terms back into their range from the command line."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.options import LogOptions
from storage.vote_repair import REPAIRED_TERM
from tests.cli.conftest import Invoke
from tests.support.votes import write_vote


def _data(tmp_path: Path) -> Path:
    folder = str(tmp_path / "n1" / "groups" / "1")
    Log.open(RealFileSystem(), folder, LogOptions()).close()
    write_vote(RealFileSystem(), folder, 1 << 62, None)
    return tmp_path / "n1"


def test_a_stopped_nodes_terms_are_repaired_and_shown(invoke: Invoke, tmp_path: Path) -> None:
    """What each was before, and is now; a second time there is nothing to lose either."""
    data = _data(tmp_path)
    for before in (1 << 62, REPAIRED_TERM):
        result = invoke("repair-votes", data, "-o", "json")
        assert (result.exit_code, result.stderr) == (0, "")
        (replica,) = json.loads(result.stdout)["replicas"]
        assert (replica["term_before"], replica["term"]) == (before, REPAIRED_TERM)


def test_a_running_nodes_folder_is_left_alone(invoke: Invoke, tmp_path: Path) -> None:
    """Exit code 4, with what to do."""
    data = _data(tmp_path)
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = invoke("repair-votes", data)
    assert result.exit_code == 4
    assert "its node is running" in result.stderr
    assert "stop all nodes" in result.stderr
