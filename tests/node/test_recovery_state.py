"""A replica that was being brought in has its leader's state, which may be ahead of its log: what is in that
state and not in the log is lost by a recovery, and must not be taken for stored.
"""

from __future__ import annotations

from dataclasses import replace

from floodmark.format.batch import decode_header, producer_id_of
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.position import Source

from consensus.core import checkpoint_format
from consensus.core.checkpoint_format import State
from consensus.core.disk_loss_recovery import Stage
from consensus.types import Membership
from node.membership.identity import NodeIdentity, Standing, save
from node.metadata.domains.recoveries import RecordRecovery
from node.partition.producers import ProducerTable, cut
from node.partition.sequences import Sequences
from node.partition.source_positions import Begun
from node.recovery.apply import apply
from node.recovery.plan import PLAN_VERSION, Plan, PlannedGroup, PlannedNode
from node.recovery.replica_survey import look_at
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.node.test_producers import frame, header, payload

GROUP = 7
KEPT = 4
"""The last entry that the log has. Up to it each entry has one record, at the offset of two less."""
SOURCE = Source("billing", 1, 0)
OPTIONS = LogOptions(segment_bytes=1 << 20)


def table_after(last: int) -> ProducerTable:
    """Of entries 2 to ``last``, each a batch of producer p, and one of q at 6; and a position."""
    table = ProducerTable()
    for index in range(2, last + 1):
        name, sequence = ("q", 0) if index == 6 else ("p", index - 2 - (index > 6))
        table.apply(frame(index, payload(sequence, name=name), offset=index - 2))
    table.positions.begin(Begun(*SOURCE, 1))
    return table


def folder(node: str, applied_to: int, ends_at: int) -> MemoryFileSystem:
    """Of a node whose replica's state has all up to ``applied_to``, and its log up to ``ends_at``."""
    fs = MemoryFileSystem()
    fs.mkdir(node)
    save(fs, node, NodeIdentity(1, node, "c", f"i-{node}", Standing.MEMBER, formation="f", boot=1))
    log = Log.open(fs, f"{node}/groups/{GROUP}", OPTIONS)
    for index in range(2, ends_at + 1):
        body = payload(index - 2)
        log.append(Frame(index, 1, index - 2, 0, 1, FrameKind.RECORDS, body, crc_of(body)))
    log.write()
    log.sync()
    # As of an install: where the log begins, with the leader's present state.
    state = State(1, 1, 0, [(1, Membership(frozenset({"n1", "n2", "n3"})))], Stage.SOUND)
    log.checkpoint(replace(state, machine=table_after(applied_to).snapshot()).encode(), index=1)
    log.close()
    return fs


def recovered(fs: MemoryFileSystem, node: str, *, state_is_ahead: bool) -> None:
    """By a plan that goes on from n1."""
    nodes = {name: PlannedNode(f"i-{name}", 1) for name in ("n1", "n2")}
    group = PlannedGroup(
        GROUP, "n1", ("n2",), 2, KEPT, 1, 1 << 20, False, False, state_is_ahead=state_is_ahead
    )
    command = RecordRecovery(epoch=1, name="r1", at_ms=1, lost=["n3"], replicas={}, chosen={}, emptied=[])
    plan = Plan(PLAN_VERSION, "r1", "c", "f", 1, "", nodes, ("n3",), (group,), command)
    assert list(apply(fs, node, plan))


def table_of(fs: MemoryFileSystem, node: str) -> ProducerTable:
    """What its next start begins with, its log applied."""
    log = Log.open(fs, f"{node}/groups/{GROUP}", OPTIONS)
    table = ProducerTable()
    table.restore(checkpoint_format.decode(log.checkpoint_state).machine)
    log.close()
    return table


def test_what_is_not_in_the_log_is_not_taken_for_stored() -> None:
    """A batch that is lost is stored when it comes again, and so is known then; one that is there is a
    duplicate as before. Positions may be of what is lost."""
    fs = folder("n1", applied_to=9, ends_at=KEPT)
    found = look_at(fs, f"n1/groups/{GROUP}", GROUP, None)
    assert found is not None
    assert (found.last_index, found.state_index, found.committed) == (KEPT, 9, 9)
    recovered(fs, "n1", state_is_ahead=True)
    table = table_of(fs, "n1")
    sequences = Sequences(table)
    sequences.begin(2)
    kept = sequences.find(header(2))
    assert kept is not None, "entry 4 is there"
    assert sequences.find(header(3)) is None, "entry 5 is not: it was answered as a duplicate"
    assert producer_id_of("q") not in table.producers
    assert table.forgotten == 1
    assert not table.positions.kept
    body = payload(3)
    table.apply(frame(KEPT + 3, body, offset=KEPT - 1))
    assert sequences.find(decode_header(body)) is not None, "entries of the same indexes count again"


def test_who_fetches_the_log_has_no_state_of_its_own_that_is_ahead() -> None:
    """It takes the chosen replica's, as it takes its log; one whose state is of what is kept goes on."""
    for applied_to, state_is_ahead, stays in ((9, False, False), (KEPT, True, False), (KEPT, False, True)):
        fs = folder("n2", applied_to=applied_to, ends_at=KEPT)
        recovered(fs, "n2", state_is_ahead=state_is_ahead)
        names = fs.listdir(f"n2/groups/{GROUP}")
        assert ("checkpoint" in names) is stays, (applied_to, state_is_ahead, names)
        assert "lost" in names


def test_a_state_of_what_is_kept_stays_as_it_is() -> None:
    """To the byte, positions included."""
    fs = folder("n1", applied_to=KEPT, ends_at=KEPT)
    before = table_of(fs, "n1").snapshot()
    recovered(fs, "n1", state_is_ahead=False)
    assert table_of(fs, "n1").snapshot() == before == cut(before, (), index=KEPT, offset=3)
    assert SOURCE in table_of(fs, "n1").positions.kept
