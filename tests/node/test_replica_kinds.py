"""A third kind of replicated machine runs through the manager that metadata and partitions run through.

It is a small keyed state whose snapshots lie in files, as a coordinator's will. All that is particular to it
is its spec, here in the test.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from floodmark.format.frame import FrameKind

from consensus.core.keyed_state import KeyedState, command
from consensus.core.member_steps import next_step
from consensus.types import ChangeRefused, Membership, NotLeader
from node.metadata.state import COORDINATOR_GROUPS_FROM
from node.replicas import retention
from node.replicas.replica_spec import KeepState, OpenReplica, ReplicaSpec
from storage.errors import LogFailed
from tests.support.nodes import NodeCluster, TestNode

GROUP = COORDINATOR_GROUPS_FROM + 7
NODES = Membership(frozenset({"n1", "n2", "n3"}))


class Keyed:
    """The kind's owner on one node."""

    def __init__(self, node: TestNode) -> None:
        self.node = node
        self.replica: OpenReplica | None = None
        self.opened = 0

    def want(self) -> None:
        """Have the replica run."""
        self.node.running.manager.want(
            ReplicaSpec(
                kind="keyed",
                raft_group=GROUP,
                members=NODES,
                machine=KeyedState,
                keep=KeepState(log_bytes_max=16 << 10),
                segment_bytes=8 << 10,
                campaign_new_s=(0.05,) if self.node.node_id == "n1" else (),
                on_open=self._opened,
                on_closed=self._closed,
            )
        )

    def _opened(self, replica: OpenReplica) -> None:
        self.replica = replica
        self.opened += 1

    def _closed(self, _replica: OpenReplica) -> None:
        self.replica = None

    @property
    def state(self) -> KeyedState:
        """What the replica here holds; nothing where none runs."""
        if self.replica is None:
            return KeyedState()
        assert isinstance(self.replica.machine, KeyedState)
        return self.replica.machine

    @property
    def folder(self) -> Path:
        """Of the replica."""
        return self.node.data_dir / "groups" / str(GROUP)

    @property
    def leads(self) -> bool:
        """Whether entries can be proposed here."""
        return self.replica is not None and self.replica.group.is_ready_leader


class Kind:
    """On all nodes."""

    def __init__(self, cluster: NodeCluster) -> None:
        self.cluster = cluster
        self.here = {name: Keyed(node) for name, node in cluster.nodes.items()}
        self._keys = 0

    async def leader(self) -> Keyed:
        """The one that leads."""
        await self.cluster.until(
            lambda: any(one.leads for one in self.here.values()), "the group has a leader"
        )
        return next(one for one in self.here.values() if one.leads)

    async def store(self, count: int) -> None:
        """So many further keys, of a kilobyte each."""
        leader = await self.leader()
        for _ in range(count):
            self._keys += 1
            payload = command([(b"key %d" % self._keys, bytes(1 << 10))])
            await leader.node.running.host.propose(GROUP, FrameKind.COMMAND, payload, deadline_s=10)

    async def alike(self, *names: str) -> None:
        """These nodes, or all, hold all keys."""
        chosen = [self.here[name] for name in names or self.here]
        await self.cluster.until(
            lambda: all(len(one.state) == self._keys for one in chosen), f"{self._keys} keys everywhere"
        )
        assert len({one.state.digest() for one in chosen}) == 1

    def step(self) -> None:
        """What the owner of a kind does on the leader: members that lost their data are taken in again."""
        for one in self.here.values():
            if one.leads and one.replica is not None:
                step = next_step(one.replica.group.followers, NODES, alive=NODES.voters)
                try:
                    if isinstance(step, Membership):
                        one.node.running.host.change_members(GROUP, step)
                except (ChangeRefused, NotLeader):
                    return


async def test_a_third_kind_is_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened, replicated, its log kept short, stopped and started, its disk failed, lost and regained, closed
    and removed; partitions beside it are not concerned.
    """
    monkeypatch.setattr(retention, "STATE_LOGS_S", 0.05)
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        kind = Kind(cluster)
        n3 = kind.here["n3"]
        for one in kind.here.values():
            one.want()
        await kind.store(40)
        await kind.alike()
        await cluster.until(
            lambda: all(one.replica and one.replica.log.base_index > 10 for one in kind.here.values()),
            "logs are cut behind what the state's files hold",
        )

        await n3.node.stop()
        n3.replica = None
        await kind.store(5)
        n3.node.start()
        await cluster.ready()
        assert n3.replica is None, "nobody has asked for it yet"
        assert n3.folder.is_dir()
        n3.want()
        await kind.alike()

        opened = n3.opened
        n3.node.running.host.disk.failed(GROUP, LogFailed("a test"))
        await cluster.until(lambda: n3.replica is None, "it is closed at once")
        await kind.store(5)
        await kind.alike()
        assert n3.opened == opened + 1

        await n3.node.stop()
        n3.replica = None
        shutil.rmtree(n3.folder)
        await kind.store(5)
        n3.node.start()
        await cluster.ready()
        n3.want()
        await cluster.until(lambda: n3.replica is not None, "it is there")
        assert n3.replica is not None
        assert not n3.replica.group.may_vote, "its votes are lost with its data"
        await kind.alike()

        def regained() -> bool:
            kind.step()
            return n3.replica is not None and n3.replica.group.may_vote

        await cluster.until(regained, "it votes again")

        n3.node.running.manager.close([GROUP])
        await cluster.until(lambda: n3.replica is None, "it is closed")
        assert n3.folder.is_dir()
        n3.want()
        await kind.alike()

        for one in kind.here.values():
            one.node.running.manager.remove([GROUP])
        await cluster.until(
            lambda: not any(one.folder.exists() for one in kind.here.values()), "all of it is removed"
        )
        await cluster.until(
            lambda: not any(GROUP in one.node.running.registry.groups for one in kind.here.values()),
            "no node takes it for lost any more",
        )
        await cluster.ready()
        assert all(len(node.running.replicas.local) == 1 for node in cluster.up)
