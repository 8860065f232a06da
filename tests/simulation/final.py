"""The last look: every byte that every replica holds, against what was promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.errors import InvalidBatch
from floodmark.format.frame import Frame, FrameKind, iterate

from consensus.core import state_incoming
from storage.errors import LogCorrupt
from tests.simulation.disk import FOLDER
from tests.simulation.ledger import VIRTUAL_FIRST_INDEX, brief
from tests.simulation.machine import AppliedHistory, ChainMachine, LargeMachine
from tests.simulation.shard import ShardMachine
from tests.simulation.violation import Violation, require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica

READ_BYTES = 3000


def check_everything(cluster: Cluster) -> None:
    """Raise a ``Violation`` when a replica's log, reads or state differ from the ledger."""
    _states_are_those_of_the_ledger(cluster)
    for replica in cluster.in_order():
        if replica.group is not None and not replica.outside:
            try:
                _log_holds_what_was_committed(cluster, replica)
                _reads_give_the_same_bytes(cluster, replica)
            except (LogCorrupt, InvalidBatch):
                # Damage that nobody has read yet is found by whoever reads it, and never served.
                require(replica.damaged, "no corruption by itself", replica.name)
    if cluster.profile.large:
        for replica in cluster.in_order():
            if not replica.outside:
                _nothing_is_left_over(replica)


def _states_are_those_of_the_ledger(cluster: Cluster) -> None:
    expected = AppliedHistory()
    reference: ChainMachine | LargeMachine | ShardMachine = ChainMachine(
        "the ledger", expected, cluster.ledger.committed, {}
    )
    if cluster.profile.large:
        reference = cluster.large_machine("the ledger", expected, lambda _: None)
    for index in range(VIRTUAL_FIRST_INDEX + 1, cluster.ledger.highest + 1):
        frame = cluster.ledger.committed[index]
        if frame.kind in (FrameKind.RECORDS, FrameKind.COMMAND):
            reference.apply(frame)
            if index not in cluster.history.cuts:
                cluster.history.check("the ledger", index, reference.state)
        if isinstance(reference, ChainMachine) and (made := cluster.history.cuts.get(index)) is not None:
            expected.forget_after(index - 1)
            reference.restore(made)


def _nothing_is_left_over(replica: Replica) -> None:
    """Of the files of a large state one is there after a start, or one and what is on its way."""
    if replica.running:
        replica.crash(power_loss=False)
    replica.start()
    if replica.group is None:
        return  # Its disk was damaged.
    files = replica.group._parts.large._files  # type: ignore[union-attr]
    found = {name for name in replica.disk.fs.listdir(FOLDER) if "state" in name}
    expected = set() if files.reference is None else {files.reference.name}
    expected |= set() if files.incoming_index is None else {state_incoming.NAME}
    require(found == expected, "no file is left over", lambda: f"{replica.name} has {found}, not {expected}")


def _log_holds_what_was_committed(cluster: Cluster, replica: Replica) -> None:
    log, group = replica.log, replica.group
    assert log is not None
    assert group is not None
    expected = log.base_index
    for frame in log.frames(log.base_index, group.commit_index):
        _is_committed(cluster, replica, frame)
        require(
            frame.index == expected,
            "committed logs agree",
            f"{replica.name} holds another entry {expected}",
        )
        expected = frame.last_index + 1
    require(
        expected == group.commit_index + 1 or group.commit_index < log.base_index,
        "what is committed is in the log",
        lambda: f"{replica.name} lists entries up to {expected - 1} of {group.commit_index}",
    )


def _is_committed(cluster: Cluster, replica: Replica, frame: Frame) -> None:
    if frame.kind is FrameKind.GAP:
        cluster.ledger.gap(replica.name, frame, cluster.removed)
    elif frame != cluster.ledger.committed.get(frame.index):
        raise Violation("committed logs agree", f"{replica.name} holds {brief(frame)}")


def _reads_give_the_same_bytes(cluster: Cluster, replica: Replica) -> None:
    """Read as consumers do, from the log's start to the high watermark."""
    log, group = replica.log, replica.group
    assert log is not None
    assert group is not None
    offset, end = log.start_offset, group.high_watermark
    while offset < end:
        read = log.read(offset, end_offset=end, max_bytes=READ_BYTES)
        next_offset = _read_on(cluster, replica, read.frames, offset)
        require(read.next_offset == next_offset, "a slice says where it ends", f"{replica.name}: {offset}")
        require(next_offset > offset, "reads go on", f"{replica.name} is stuck at {offset} of {end}")
        offset = next_offset


def _read_on(cluster: Cluster, replica: Replica, data: bytes, offset: int) -> int:
    """Check one answer that begins at ``offset``; returns where the next one begins."""
    for frame in iterate(data):
        _is_committed(cluster, replica, frame)
        if frame.offset_count and frame.first_offset != offset:
            raise Violation("consumers skip no offset", f"{replica.name} at {offset}: {brief(frame)}")
        offset = frame.next_offset
    return offset
