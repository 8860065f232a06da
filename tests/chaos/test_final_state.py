"""Data folders as the checker reads them."""

from __future__ import annotations

from collections.abc import Sequence

from floodmark.format import batch
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.record import Record

from chaos.checker.final_state import MISSING, Death, ReplicaState, by_place, read_final_state
from chaos.checker.options import CheckOptions
from chaos.checker.replicas import check_replicas
from chaos.checker.violation import Findings, Kind
from chaos.record_value import FOREIGN, encode, value_id
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.storage.frames import last_segment
from tests.support.compaction import compact, compactable

OPTIONS = LogOptions(segment_bytes=4096, index_interval_bytes=256, tail_bytes_max=2048)
V = [value_id(1, number) for number in range(200)]


def append(log: Log, data: Sequence[bytes], *, term: int = 1) -> None:
    """One frame with these records; without any, a frame that has none."""
    payload = batch.encode([Record(1, None, value) for value in data]) if data else b""
    kind = FrameKind.RECORDS if data else FrameKind.NOOP
    log.append(Frame(log.last_index + 1, term, log.next_offset, 1, len(data), kind, payload, crc_of(payload)))
    log.write()
    log.sync()


def store(fs: MemoryFileSystem, folder: str, values: Sequence[int], *, topic: str = "orders") -> None:
    """A replica with a first frame of its leader and then records, two in a frame."""
    log = Log.open(fs, folder, OPTIONS)
    append(log, [])
    for at in range(0, len(values), 2):
        append(log, [encode(value, topic, 0, size_bytes=60) for value in values[at : at + 2]])
    log.close()


def test_replicas_are_read_and_recognised_by_their_records() -> None:
    """Also one that has no record left; the metadata group and empty groups are left out."""
    fs = MemoryFileSystem()
    store(fs, "/a/groups/7", V)
    store(fs, "/b/groups/7", V)
    store(fs, "/c/groups/7", [])
    store(fs, "/a/groups/0", V)
    store(fs, "/a/groups/8", [])
    store(fs, "/a/groups/9.deleted", V)
    found = by_place(read_final_state(fs, {"n1": "/a", "n2": "/b", "n3": "/c", "n4": "/nothing"}))
    assert list(found) == [("orders", 0)]
    one, two, three = found[("orders", 0)]
    assert [one.node, two.node, three.node] == ["n1", "n2", "n3"]
    assert (list(one.values), one.start_offset, one.next_offset, one.findings) == (V, 0, 200, ())
    assert (one.base_index, one.last_index, len(one.frames)) == (2, 102, 101)
    assert (one.digest, one.frames) == (two.digest, two.frames)
    assert (list(three.values), three.next_offset) == ([], 0)
    assert [one.value_at(-1), one.value_at(199), one.value_at(200)] == [None, V[199], None]


def test_records_of_others_and_of_other_partitions_are_foreign() -> None:
    """A record that is astray is none that belongs there."""
    fs = MemoryFileSystem()
    log = Log.open(fs, "/a/groups/7", OPTIONS)
    append(log, [encode(V[0], "orders", 0), b"something else", encode(V[1], "orders", 1)])
    log.close()
    (state,) = read_final_state(fs, {"n1": "/a"})
    assert list(state.values) == [V[0], FOREIGN, FOREIGN]


def test_a_damaged_frame_is_a_hole_and_a_finding() -> None:
    """Everything else stands at its place."""
    fs = MemoryFileSystem()
    store(fs, "/a/groups/7", V)
    fs.flip_bit(f"/a/groups/7/{2:020d}.log", 64 + 64 + 64 + 80)
    (state,) = read_final_state(fs, {"n1": "/a"})
    assert list(state.values) == [MISSING, MISSING, *V[2:]]
    assert [index for index, frame in enumerate(state.frames) if frame == 0] == [1]
    assert [finding.index for finding in state.findings] == [3, 4]  # The next frame does not follow.


def test_a_trimmed_replica_begins_where_its_log_does() -> None:
    """Offsets and indexes count from there, also when no frame is left at all."""
    fs = MemoryFileSystem()
    store(fs, "/a/groups/7", V)
    log = Log.open(fs, "/a/groups/7", OPTIONS)
    log.checkpoint(b"", index=log.last_index)
    log.truncate_head(before_index=50)
    start, base = log.start_offset, log.base_index
    log.close()
    (state,) = read_final_state(fs, {"n1": "/a"})
    assert 0 < start == state.start_offset
    assert base == state.base_index
    assert list(state.values) == V[start:]


def test_reading_changes_nothing() -> None:
    """Not even what the next start would put in order."""
    fs = MemoryFileSystem()
    store(fs, "/a/groups/7", V)
    path = last_segment(fs, "/a/groups/7")
    fs.flip_bit(path, fs.size(path) - 1)
    before = {name: fs.content(f"/a/groups/7/{name}") for name in fs.listdir("/a/groups/7")}
    read_final_state(fs, {"n1": "/a"})
    assert before == {name: fs.content(f"/a/groups/7/{name}") for name in fs.listdir("/a/groups/7")}


def test_a_compacted_replica_is_equal_to_one_that_is_not() -> None:
    """Where one has a gap, index, term and offsets are compared; a real difference is found all the same."""
    sides = {}
    for node in ("a", "b", "c"):
        fs = MemoryFileSystem()
        log = Log.open(fs, f"/{node}/groups/7", OPTIONS)
        append(log, [])
        for at in range(0, 100, 2):
            values = [V[at] if (node, at) != ("c", 90) else V[199], V[at + 1]]
            append(log, [encode(value, "orders", 0, size_bytes=60) for value in values])
        log.write()
        log.sync()
        log.checkpoint(b"")
        if node == "a":
            log.seal(log.last_index)
            assert [compact(log, index, lambda each: each.index % 4 == 0) for index in compactable(log)]
        log.close()
        (sides[node],) = read_final_state(fs, {node: f"/{node}"})
    assert sides["a"].digest != sides["b"].digest
    assert sides["a"].frames.count(0) > 20
    assert (sides["a"].next_offset, sides["a"].last_index) == (sides["b"].next_offset, sides["b"].last_index)
    place = ("orders", 0)
    same, differs = Findings(), Findings()
    check_replicas({place: [sides["a"], sides["b"]]}, CheckOptions(), same)
    assert same.counts == {}
    for other in ("a", "b"):
        check_replicas({place: [sides[other], sides["c"]]}, CheckOptions(), differs)
    assert differs.counts == {Kind.REPLICAS_DIFFER: 2}
    for column, value in (("terms", 9), ("firsts", 5)):
        getattr(sides["b"], column)[10] = value
        found = Findings()
        check_replicas({place: [sides["a"], sides["b"]]}, CheckOptions(), found)
        assert found.counts == {Kind.REPLICAS_DIFFER: 1}, column
        sides["b"].terms[10], sides["b"].firsts[10] = sides["b"].terms[11], -1


def test_what_a_replica_left_behind_where_it_moved_away_is_no_replica() -> None:
    """It may be old and not deleted yet; but the node that it went to has to have all."""
    left, stayed = ReplicaState("n1"), ReplicaState("n2")
    for state, value in ((left, V[1]), (stayed, V[2])):
        state.digest = str(value)
        for column, what in ((state.frames, 7 + value), (state.terms, 1), (state.firsts, 0)):
            column.append(what)
        state.values.append(value)
    place = ("orders", 0)
    for wanted, counts in (
        (frozenset({"n1", "n2"}), {Kind.REPLICAS_DIFFER: 1}),
        (frozenset({"n2"}), {}),
        (frozenset({"n2", "n3"}), {Kind.REPLICA_MISSING: 1}),
    ):
        found = Findings()
        check_replicas({place: [left, stayed]}, CheckOptions(replicas={place: wanted}), found)
        assert found.counts == counts, wanted


def test_dead_letters_are_a_topic_of_their_own_and_say_how_they_died() -> None:
    """By the headers that queues give them."""
    fs = MemoryFileSystem()
    log = Log.open(fs, "/a/groups/7", OPTIONS)
    said = {"queue": "q", "deliveries": "3", "number": "5", "first-delivered": "10", "died": "20"}
    headers = [(f"floodmark-dead-{name}", text.encode()) for name, text in said.items()]
    payload = batch.encode([Record(1, b"k", encode(value, "orders", 2), False, headers) for value in V[:2]])
    log.append(Frame(log.last_index + 1, 1, 0, 1, 2, FrameKind.RECORDS, payload, crc_of(payload)))
    log.write()
    log.sync()
    log.close()
    (replica,) = read_final_state(fs, {"n1": "/a"})
    assert (replica.topic, replica.partition, list(replica.values)) == ("orders.dead", 2, V[:2])
    assert replica.deaths == dict.fromkeys((0, 1), Death(3, "5", "10", "20"))
