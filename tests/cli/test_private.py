"""Data folders are for their owner only: new ones, and those that an earlier build has made."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

from local.children import start_child, stop_children
from local.folder import LocalFolder
from node.membership.identity import FolderLock
from storage.filesystem import RealFileSystem


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_node_s_data_folder(tmp_path: Path) -> None:
    """Made, or tightened at the start, with what storage makes in it."""
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir(mode=0o755)
        FolderLock(str(folder)).release()
        RealFileSystem().mkdir(f"{folder}/groups/1")
        RealFileSystem().open(f"{folder}/groups/1/file", create=True).close()
        assert [_mode(path) for path in (folder, folder / "groups", folder / "groups/1")] == [0o700] * 3
        assert [_mode(path) for path in (folder / "lock", folder / "groups/1/file")] == [0o600] * 2


async def test_a_local_cluster_s_folder(tmp_path: Path) -> None:
    """Settings and logs as well."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "n1.log").write_text("old")
    (data / "n1.log").chmod(0o644)
    with closing(LocalFolder(data)) as folder:
        (node,) = folder.write_settings(1, http_port=20_000, peer_port=21_000)
        child = await start_child("n1", config=node.config, log=node.log)
        await stop_children([child])
    assert _mode(data) == 0o700
    assert {path.name: _mode(path) for path in (node.config, node.log, data / "secret")} == dict.fromkeys(
        ("n1.toml", "n1.log", "secret"), 0o600
    )
