"""A recovery is cut short at every durable step, by a loss of power: run again, it comes to the same end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest
from floodmark.format.frame import Frame

from consensus.core import checkpoint_format
from node.membership.identity import IdentityProblem, load, load_or_create
from node.metadata.group import SEGMENT_BYTES
from node.recovery.apply import apply
from node.recovery.errors import NotRecoverable
from node.recovery.plan import Plan, decide
from node.recovery.survey import survey
from storage.errors import StorageError
from storage.filesystem import FileSystem
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.vote import VoteFile
from tests.node.test_recovery import fill
from tests.support.nodes import NodeCluster

STEPS = ("open", "write", "truncate", "sync", "rename", "unlink", "mkdir", "sync_folder")
Content = dict[str, bytes]


def taken(folder: Path, name: str) -> Content:
    """All files of a data folder, by the path that they get in memory."""
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def in_memory(content: Content) -> MemoryFileSystem:
    """The same on a disk that can fail."""
    fs = MemoryFileSystem()
    for path, data in content.items():
        fs.mkdir(path.rpartition("/")[0])
        fs.set_content(path, data)
    return fs


def outcome(fs: FileSystem, data_dir: str) -> object:
    """All that matters of a folder: whose it is, the groups' logs, votes, stages and markers."""
    groups = []
    for name in fs.listdir(f"{data_dir}/groups"):
        folder = f"{data_dir}/groups/{name}"
        if "vote" not in fs.listdir(folder):
            groups.append((name, fs.listdir(folder)))
            continue
        votes = VoteFile(fs, folder)
        log = Log.open(fs, folder, LogOptions(segment_bytes=SEGMENT_BYTES))
        frames: list[Frame] = list(log.frames(log.base_index, log.last_index))
        stage = checkpoint_format.decode(log.checkpoint_state).stage if log.checkpoint_state else None
        vote = (votes.term, votes.voted_for, votes.recover_until)
        groups.append((name, frames, log.start_offset, stage, vote, fs.exists(f"{folder}/lost")))
        log.close()
        votes.close()
    return load(fs, data_dir), groups


async def folders(tmp_path: Path) -> tuple[Content, Content]:
    """Of n1 and n2, of five nodes that hold partitions of all kinds; the logs of the two are not equal."""
    async with NodeCluster.running(tmp_path, 5) as cluster:
        await cluster.create("wide", replicas=5)
        await cluster.create("single", partitions=5, replicas=1)
        await fill(cluster, "single", 5)
        await cluster["n2"].stop()
        await fill(cluster, "wide", 1)
        await asyncio.gather(*(node.stop() for node in cluster.nodes.values()))
        return taken(cluster["n1"].data_dir, "n1"), taken(cluster["n2"].data_dir, "n2")


def planned(content: Content) -> Plan:
    """From the surveys of both."""
    surveys = [survey(in_memory(content), node) for node in ("n1", "n2")]
    return decide(surveys, name="r1", at_ms=1, segment_bytes=SEGMENT_BYTES).plan


async def test_cut_short_anywhere_it_is_run_again(tmp_path: Path) -> None:
    """On the node that is chosen and on the one that is not. In between no node starts on the folder, unless
    it is still as it was or done already.
    """
    one, other = await folders(tmp_path)
    content = {**one, **other}
    plan = planned(content)
    assert any(group.is_emptied for group in plan.groups)
    for node in ("n1", "n2"):
        whole = in_memory(content)
        steps = list(apply(whole, node, plan))
        assert len(steps) > 1
        expected = outcome(whole, node)
        before = load(in_memory(content), node)
        after = load(whole, node)
        cuts = [(step, number) for step in STEPS for number in range(whole.calls[step])]
        assert len(cuts) > 30
        seen = set()
        for step, number in cuts:
            seed = random.SystemRandom().getrandbits(32)
            fs = in_memory(content)
            fs.fail(step, after=number, times=1 << 30)
            with contextlib.suppress(OSError, StorageError, IdentityProblem):
                list(apply(fs, node, plan))
            fs.heal()
            fs.crash(random.Random(seed))
            now = load(fs, node)
            seen.add((now == before, now == after))
            if now not in (before, after):
                with pytest.raises(IdentityProblem, match="recover apply' with its plan once more"):
                    load_or_create(fs, node, node_id=node, cluster_id=plan.cluster_id)
                with pytest.raises(NotRecoverable, match="begun and is not done"):
                    survey(fs, node)
            list(apply(fs, node, plan))
            assert outcome(fs, node) == expected, (node, step, number, seed)
        assert seen == {(True, False), (False, False), (False, True)}, "before, in the middle, and at the end"
